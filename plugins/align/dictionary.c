/*
 * Words are kept as they are compared: in lower case, without signs around them. One buffer holds
 * all texts; entries are sorted, those of one word in the order of the file.
 */
#include "align/dictionary.h"

#include <stdlib.h>
#include <string.h>
#include <wctype.h>

#include "num/files.h"
#include "num/unicode.h"
#include "num/utf8.h"

#define LONGEST_PHONEME 64
#define LONGEST_WORD    256 /* bytes */

/* ---- Words ----------------------------------------------------------------------------------- */

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\0';
}

static uint32_t plain(uint32_t c, locale_t locale) {
    if (c == 0x2019 || c == 0x02bc)
        return '\'';
    uint32_t lower = locale ? (uint32_t)towlower_l((wint_t)c, locale) : c;
    return lower <= 0x10ffff ? lower : c;
}

static bool is_of_word(uint32_t c) {
    enum num_char_kind kind = num_char_kind(c);
    return kind == NUM_LETTER || kind == NUM_NUMBER || c == '\'';
}

/*
 * A word as it is compared, with a NUL, into `ret` of `room` bytes: what is around its first and
 * last letter is left out. Returns its length; 0 where it has none, or no room.
 */
static size_t normalise(const char *word, size_t len, locale_t locale, char *ret, size_t room) {
    size_t n = 0, end = 0, step;
    for (size_t at = 0; at < len; at += step) {
        uint32_t c = plain(num_char_next(word + at, len - at, &step), locale);
        if (n == 0 && !is_of_word(c))
            continue;
        if (n + 5 > room)
            return 0;
        n += num_utf8_put(c, (uint8_t *)ret + n);
        if (is_of_word(c))
            end = n;
    }
    ret[end] = '\0';
    return end;
}

/* ---- Reading --------------------------------------------------------------------------------- */

struct reader {
    struct al_dictionary d;
    size_t used, room; /* of d.text */
    const char *file;
    size_t line;
    struct num_err *err;
};

/* "read(2)" is "read". */
static size_t without_number(const char *word, size_t len) {
    size_t at = len;
    if (len < 4 || word[len - 1] != ')')
        return len;
    for (at--; at > 0 && word[at - 1] >= '0' && word[at - 1] <= '9';)
        at--;
    return at > 1 && word[at - 1] == '(' && at < len - 1 ? at - 1 : len;
}

static int32_t read_line(struct reader *r, const char *line, size_t len) {
    size_t end = 0, at;
    while (len > 0 && is_blank(line[len - 1]))
        len--;
    if (len == 0 || (len >= 3 && memcmp(line, ";;;", 3) == 0))
        return SLUICE_OK;
    while (end < len && !is_blank(line[end]))
        end++;
    for (at = end; at < len && is_blank(line[at]);)
        at++;
    if (at == len)
        return num_fail(r->err, SLUICE_INPUT,
                        "%.200s, line %zu: a line is a word, a TAB and its phonemes; the phonemes "
                        "are missing",
                        r->file, r->line);
    char *word = r->d.text + r->used;
    size_t n = normalise(line, without_number(line, end), r->d.locale, word, r->room - r->used);
    if (n == 0 || n > LONGEST_WORD) /* a sign, or no word: it is never looked up */
        return SLUICE_OK;
    char *phonemes = word + n + 1;
    memcpy(phonemes, line + at, len - at);
    phonemes[len - at] = '\0';
    r->used += n + 1 + len - at + 1;
    r->d.entries[r->d.n_entries++] = (struct al_entry){word, phonemes};
    return SLUICE_OK;
}

static int by_word(const void *a, const void *b) {
    const struct al_entry *x = a, *y = b;
    int order = strcmp(x->word, y->word);
    return order ? order : (x->word > y->word) - (x->word < y->word);
}

static int32_t read_lines(struct reader *r, const char *text, size_t len) {
    int32_t status = SLUICE_OK;
    size_t n_lines = 1;
    for (size_t i = 0; i < len; i++)
        n_lines += text[i] == '\n';
    r->room = 3 * len + 8 * n_lines; /* a bad byte becomes three */
    r->d.text = malloc(r->room);
    r->d.entries = calloc(n_lines, sizeof *r->d.entries);
    if (!r->d.text || !r->d.entries)
        return num_fail_memory(r->err, "the dictionary", r->room);
    for (size_t at = 0, end; !status && at < len; at = end + 1) {
        const char *newline = memchr(text + at, '\n', len - at);
        end = newline ? (size_t)(newline - text) : len;
        r->line++;
        status = read_line(r, text + at, end - at);
    }
    if (!status && r->d.n_entries == 0)
        status = num_fail(r->err, SLUICE_INPUT,
                          "%.200s has no words; a dictionary has lines of a word, a TAB and its "
                          "phonemes",
                          r->file);
    return status;
}

int32_t al_dictionary_parse(const char *text, size_t len, const char *file,
                            struct al_dictionary *ret, struct num_err *err) {
    struct reader r = {.file = file, .err = err};
    r.d.locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    int32_t status = read_lines(&r, text, len);
    if (status) {
        al_dictionary_finish(&r.d);
        return status;
    }
    qsort(r.d.entries, r.d.n_entries, sizeof *r.d.entries, by_word);
    *ret = r.d;
    return SLUICE_OK;
}

int32_t al_dictionary_load(const char *path, struct al_dictionary *ret, struct num_err *err) {
    void *map = NULL;
    size_t len = 0;
    int32_t status = num_file_map(path, &map, &len, err);
    if (status)
        return status;
    status = al_dictionary_parse(map, len, path, ret, err);
    num_file_unmap(map, len);
    return status;
}

void al_dictionary_finish(struct al_dictionary *dictionary) {
    free(dictionary->text);
    free(dictionary->entries);
    if (dictionary->locale)
        freelocale(dictionary->locale);
    *dictionary = (struct al_dictionary){0};
}

/* ---- Words to phonemes to ids ---------------------------------------------------------------- */

const char *al_dictionary_find(const struct al_dictionary *d, const char *word) {
    char key[LONGEST_WORD + 5];
    size_t n = 0, low = 0, high = d->n_entries;
    if (high > 0)
        n = normalise(word, strlen(word), d->locale, key, sizeof key);
    while (n && low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(d->entries[middle].word, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = n && low < d->n_entries && strcmp(d->entries[low].word, key) == 0;
    return found ? d->entries[low].phonemes : NULL;
}

/* A phoneme without its stress: a digit behind it, U+02C8 or U+02CC in it. */
static void remove_stress(char *phoneme) {
    size_t n = 0, len = strlen(phoneme);
    if (len > 1 && phoneme[len - 1] >= '0' && phoneme[len - 1] <= '9')
        phoneme[--len] = '\0';
    for (size_t at = 0; at < len;) {
        bool mark =
            phoneme[at] == '\xcb' && (phoneme[at + 1] == '\x88' || phoneme[at + 1] == '\x8c');
        if (mark)
            at += 2;
        else
            phoneme[n++] = phoneme[at++];
    }
    phoneme[n] = '\0';
}

static bool has_star(const int32_t *ids, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (ids[i] == AL_STAR)
            return true;
    return false;
}

size_t al_dictionary_spell(const struct al_vocab *vocab, const char *phonemes, int32_t *ret_tokens,
                           size_t max_tokens) {
    size_t n = 0;
    for (const char *at = phonemes; *at && n < max_tokens;) {
        char phoneme[LONGEST_PHONEME];
        size_t len = strcspn(at, " \t"), some = len < sizeof phoneme ? len : sizeof phoneme - 1;
        memcpy(phoneme, at, some);
        phoneme[some] = '\0';
        size_t k = al_vocab_spell(vocab, phoneme, ret_tokens + n, max_tokens - n);
        if (has_star(ret_tokens + n, k)) {
            remove_stress(phoneme);
            k = al_vocab_spell(vocab, phoneme, ret_tokens + n, max_tokens - n);
        }
        n += k;
        at += len + strspn(at + len, " \t");
    }
    return n;
}
