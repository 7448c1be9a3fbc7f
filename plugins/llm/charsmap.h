/*
 * SentencePiece's table of a vocabulary's own normalisation ("precompiled_charsmap", such as
 * nmt_nfkc), and what it does with white space. The table: the size of a trie in bytes (32 bits),
 * the trie, and strings that end with NUL. The trie is a double array of 32-bit units as
 * Darts-clone writes it (github.com/s-yata/darts-clone); its values are where in the strings a
 * replacement begins. All numbers are little-endian.
 *
 * The rules are those of sentencepiece/src/normalizer.cc (Kudo and Richardson, 2018).
 */
#ifndef LM_CHARSMAP_H
#define LM_CHARSMAP_H

#include "num/buf.h"
#include "num/err.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LM_CHARSMAP_MAX         (16u << 20) /* bytes of a table */
#define LM_CHARSMAP_REPLACEMENT 255         /* bytes of one string */

struct lm_charsmap {
    uint32_t *units;
    size_t n_units;   /* 0: no table, characters stay as they are */
    char *strings;    /* the last byte is NUL */
    size_t n_strings; /* bytes */
};

/* A table of `len` bytes, copied. SLUICE_INPUT where it is cut short, too large, or has a string
 * that is too long or no UTF-8; `file` is for messages. */
int32_t lm_charsmap_parse(const void *data, size_t len, const char *file, struct lm_charsmap *ret,
                          struct num_err *err);
void lm_charsmap_finish(struct lm_charsmap *map); /* takes a zeroed struct too */

struct lm_charsmap_rules {
    bool trims;   /* blanks go from both ends, and all but one of those side by side */
    bool prepend; /* a blank comes before texts that are not empty then */
};

/*
 * Appends the normal form of `len` bytes of valid UTF-8, with U+2581 for blanks. The longest entry
 * of the table wins at each place. At most 3 * LM_CHARSMAP_REPLACEMENT bytes for each of the text
 * and 3 more. Pure.
 */
void lm_charsmap_apply(const struct lm_charsmap *map, struct lm_charsmap_rules rules,
                       const char *text, size_t len, struct num_buf *out);

#ifdef __cplusplus
}
#endif

#endif
