/* Bytes written as pairs of hexadecimal digits. */
#ifndef TESTS_UNIT_HEX_H
#define TESTS_UNIT_HEX_H

#include "unit/test.h"

/* Returns their number. */
static inline size_t unhex(const char *text, void *ret) {
    size_t n = strlen(text) / 2;
    for (size_t i = 0; i < n; i++)
        CHECK_INT(sscanf(text + 2 * i, "%2hhx", (unsigned char *)ret + i), 1);
    return n;
}

#endif
