/* Journals out of any bytes. */
#ifndef TESTS_FUZZ_JOURNAL_TEXT_H
#define TESTS_FUZZ_JOURNAL_TEXT_H

#include <inttypes.h>
#include <string.h>
#include <xxhash.h>

#include "base/str.h"

/* Appends every line of `text` as a line of a journal, with its checksum. */
static inline void journal_of_lines(const char *text, size_t size, struct sl_str *journal) {
    for (size_t at = 0, len; at < size; at += len + 1) {
        const char *newline = memchr(text + at, '\n', size - at);
        len = newline ? (size_t)(newline - text) - at : size - at;
        sl_str_addf(journal, "%016" PRIx64 " ", (uint64_t)XXH3_64bits(text + at, len));
        sl_str_addn(journal, text + at, len);
        sl_str_add(journal, "\n");
    }
}

#endif
