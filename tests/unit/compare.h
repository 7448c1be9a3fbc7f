/* Floats against floats. */
#ifndef TESTS_UNIT_COMPARE_H
#define TESTS_UNIT_COMPARE_H

#include <math.h>
#include <stddef.h>

/* Root mean square of a - b over that of b. */
static inline double relative_error(const float *a, const float *b, size_t n) {
    double difference = 0, square = 0;
    for (size_t i = 0; i < n; i++) {
        difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        square += (double)b[i] * b[i];
    }
    return sqrt(difference / square);
}

#endif
