/* A vocabulary's own normalisation: see charsmap.h. */
#include "llm/charsmap.h"

#include <stdlib.h>
#include <string.h>

#include "num/utf8.h"

#define BLANK_MARK "\xe2\x96\x81" /* U+2581 */

/* ---- The table ------------------------------------------------------------------------------ */

static int32_t check_strings(const char *strings, size_t len, const char *file,
                             struct num_err *err) {
    for (size_t i = 0, n; i < len; i += n + 1) {
        n = strlen(strings + i);
        if (n > LM_CHARSMAP_REPLACEMENT || !num_utf8_is_valid(strings + i, n))
            return num_fail(err, SLUICE_INPUT,
                            "%s: the table of normalisation has a string of %zu bytes at %zu; "
                            "expected UTF-8 of at most %d",
                            file, n, i, LM_CHARSMAP_REPLACEMENT);
    }
    return SLUICE_OK;
}

int32_t lm_charsmap_parse(const void *data, size_t len, const char *file, struct lm_charsmap *ret,
                          struct num_err *err) {
    const uint8_t *bytes = data;
    struct lm_charsmap map = {0};
    uint32_t trie = 0;
    if (len >= sizeof trie)
        memcpy(&trie, bytes, sizeof trie);
    if (len > LM_CHARSMAP_MAX || trie == 0 || trie % 4 || len - sizeof trie <= trie ||
        bytes[len - 1] != '\0')
        return num_fail(err, SLUICE_INPUT,
                        "%s: the table of normalisation (precompiled_charsmap) is damaged: its "
                        "%zu bytes are no trie and strings",
                        file, len);
    const char *strings = (const char *)bytes + sizeof trie + trie;
    int32_t status = check_strings(strings, len - sizeof trie - trie, file, err);
    if (status)
        return status;
    map.n_units = trie / sizeof *map.units;
    map.n_strings = len - sizeof trie - trie;
    map.units = malloc(trie);
    map.strings = malloc(map.n_strings);
    if (!map.units || !map.strings) {
        lm_charsmap_finish(&map);
        return num_fail_memory(err, "a table of normalisation", len);
    }
    memcpy(map.units, bytes + sizeof trie, trie);
    memcpy(map.strings, strings, map.n_strings);
    *ret = map;
    return SLUICE_OK;
}

void lm_charsmap_finish(struct lm_charsmap *map) {
    free(map->units);
    free(map->strings);
    *map = (struct lm_charsmap){0};
}

/* ---- Units of the trie ---------------------------------------------------------------------- */

static bool has_leaf(uint32_t unit) {
    return unit >> 8 & 1;
}

static uint32_t label(uint32_t unit) {
    return unit & (1u << 31 | 0xff);
}

static uint32_t offset(uint32_t unit) {
    return unit >> 10 << (unit >> 6 & 8);
}

/* The replacement of the longest entry that the text begins with, *ret_len: the entry's bytes;
 * NULL: none. */
static const char *find(const struct lm_charsmap *map, const char *text, size_t len,
                        size_t *ret_len) {
    const char *found = NULL;
    size_t at = map->n_units ? offset(map->units[0]) : 0;
    for (size_t i = 0; i < len; i++) {
        at ^= (uint8_t)text[i];
        if (at >= map->n_units || label(map->units[at]) != (uint8_t)text[i])
            break;
        uint32_t unit = map->units[at];
        at ^= offset(unit);
        if (!has_leaf(unit) || at >= map->n_units)
            continue;
        uint32_t value = map->units[at] & ~(1u << 31);
        if (value >= map->n_strings || ((uint8_t)map->strings[value] & 0xc0) == 0x80)
            continue; /* not of this table, or within a character */
        found = map->strings + value;
        *ret_len = i + 1;
    }
    return found;
}

/* ---- Texts ---------------------------------------------------------------------------------- */

/* What stands for the front of the text; *ret_step: how much of it, *ret_len: of what. An entry
 * that ends inside a character takes its bytes and no more. */
static const char *next(const struct lm_charsmap *map, const char *text, size_t len,
                        size_t *ret_step, size_t *ret_len) {
    static const char replacement[] = "\xef\xbf\xbd";
    uint32_t c;
    const char *found = find(map, text, len, ret_step);
    if (found) {
        *ret_len = strlen(found);
        return found;
    }
    *ret_step = *ret_len = num_utf8_next((const uint8_t *)text, len, &c);
    if (*ret_step)
        return text;
    *ret_step = 1;
    *ret_len = 3;
    return replacement;
}

static void add(struct num_buf *out, const char *text, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (text[i] == ' ')
            num_buf_add(out, BLANK_MARK, 3);
        else
            num_buf_addc(out, text[i]);
}

static size_t skip_blanks(const struct lm_charsmap *map, const char *text, size_t len) {
    size_t at = 0, step, n;
    while (at < len) {
        const char *what = next(map, text + at, len - at, &step, &n);
        if (n != 1 || *what != ' ')
            break;
        at += step;
    }
    return at;
}

void lm_charsmap_apply(const struct lm_charsmap *map, struct lm_charsmap_rules rules,
                       const char *text, size_t len, struct num_buf *out) {
    size_t at = rules.trims ? skip_blanks(map, text, len) : 0, begin = out->len;
    bool after_blank = rules.trims;
    if (at == len)
        return;
    if (rules.prepend)
        num_buf_add(out, BLANK_MARK, 3);
    for (size_t step, n; at < len; at += step) {
        const char *what = next(map, text + at, len - at, &step, &n);
        while (after_blank && n && *what == ' ')
            what++, n--;
        add(out, what, n);
        if (n)
            after_blank = rules.trims && what[n - 1] == ' ';
    }
    while (rules.trims && out->len - begin >= 3 &&
           memcmp(out->data + out->len - 3, BLANK_MARK, 3) == 0)
        out->len -= 3;
}
