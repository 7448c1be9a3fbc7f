/* What the tests of kernels share: every table of this processor, and numbers. */
#ifndef TESTS_UNIT_NUM_TABLES_H
#define TESTS_UNIT_NUM_TABLES_H

#include <stdlib.h>

#include "num/cpu/kernels.h"
#include "unit/test.h"

/* n floats in [-1, 1) and 64 behind them, to be freed. */
static inline float *values(size_t n, uint32_t seed) {
    float *x = malloc((n + 64) * sizeof *x);
    for (size_t i = 0; i < n + 64; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) / (1 << 23) - 1;
    }
    return x;
}

#define FOR_EACH_TABLE(k)                                                                          \
    const struct num_kernels *tables[NUM_MAX_KERNELS];                                             \
    size_t n_tables = num_kernels_all(tables);                                                     \
    CHECK(n_tables >= 1);                                                                          \
    for (size_t table = 0; table < n_tables; table++)                                              \
        for (const struct num_kernels *k = tables[table]; k; k = NULL)

#endif
