/* Pieces are sorted, so that the longest that a text begins with is found by a few searches. */
#include "align/vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wctype.h>

#include <jansson.h>

#include "align/script.h"
#include "num/unicode.h"
#include "num/utf8.h"

#define MOST_LISTED 8 /* languages, in a message */

/* ---- vocab.json ------------------------------------------------------------------------------ */

/* "<s>", "[UNK]": names, not text. */
static bool is_special(const char *text, size_t len) {
    return len > 2 &&
           ((text[0] == '<' && text[len - 1] == '>') || (text[0] == '[' && text[len - 1] == ']'));
}

static int by_text(const void *a, const void *b) {
    const struct al_piece *x = a, *y = b;
    int order = memcmp(x->text, y->text, x->len < y->len ? x->len : y->len);
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

static int32_t add_piece(struct al_vocab *v, const char *text, int32_t id, int32_t *pad) {
    size_t len = strlen(text);
    if (strcmp(text, "|") == 0)
        v->delimiter = id;
    else if (*pad < 0 && (strcmp(text, "<pad>") == 0 || strcmp(text, "[PAD]") == 0))
        *pad = id;
    else if (len > 0 && id != *pad && !is_special(text, len)) {
        struct al_piece *piece = &v->pieces[v->n_pieces];
        *piece = (struct al_piece){strdup(text), len, id};
        if (!piece->text)
            return SLUICE_RESOURCE;
        v->n_pieces++;
        v->longest = len > v->longest ? len : v->longest;
    }
    return SLUICE_OK;
}

static int32_t read_pieces(json_t *root, uint32_t n_vocab, int32_t pad, struct al_vocab *v,
                           struct num_err *err) {
    const char *text;
    json_t *value;
    v->pieces = calloc(json_object_size(root) + 1, sizeof *v->pieces);
    if (!v->pieces)
        return num_fail_memory(err, "the vocabulary", json_object_size(root) * sizeof *v->pieces);
    json_object_foreach(root, text, value) {
        if (!json_is_integer(value) || json_integer_value(value) < 0 ||
            json_integer_value(value) >= n_vocab)
            return num_fail(err, SLUICE_INPUT,
                            "vocab.json: the number of \"%.40s\" is not below vocab_size, %u", text,
                            n_vocab);
        if (add_piece(v, text, (int32_t)json_integer_value(value), &pad))
            return num_fail_memory(err, "the vocabulary", strlen(text));
    }
    if (pad < 0)
        return num_fail(err, SLUICE_INPUT,
                        "neither config.json (pad_token_id) nor vocab.json (<pad>) says which "
                        "token is the blank");
    if (v->n_pieces == 0)
        return num_fail(err, SLUICE_INPUT, "vocab.json has no pieces of text");
    v->blank = pad;
    qsort(v->pieces, v->n_pieces, sizeof *v->pieces, by_text);
    return SLUICE_OK;
}

/* Bytes that two texts begin with alike. */
static size_t alike(const char *a, const char *b) {
    size_t n = 0;
    while (a[n] && a[n] == b[n])
        n++;
    return n;
}

/* Some languages of a file, those first that begin most like `language`, with commas between. */
static void list_languages(json_t *root, const char *language, char *ret, size_t size) {
    size_t n = 0, used = 0;
    ret[0] = '\0';
    for (size_t letters = strlen(language) + 1; letters-- > 0 && n < MOST_LISTED;) {
        const char *name;
        json_t *value;
        json_object_foreach(root, name, value) if (alike(name, language) == letters &&
                                                   n < MOST_LISTED && used < size) {
            used += (size_t)snprintf(ret + used, size - used, "%s%.40s", n ? ", " : "", name);
            n++;
        }
    }
}

/* The vocabulary of the language, of those in the file. */
static int32_t choose_language(json_t *root, const char *language, json_t **ret,
                               struct num_err *err) {
    char some[MOST_LISTED * 44];
    *ret = json_object_get(root, language);
    if (json_is_object(*ret))
        return SLUICE_OK;
    list_languages(root, language, some, sizeof some);
    if (!*language)
        return num_fail(err, SLUICE_INPUT,
                        "vocab.json has the vocabularies of %zu languages; say with `language` "
                        "which is spoken, such as %s",
                        json_object_size(root), some);
    return num_fail(err, SLUICE_INPUT,
                    "vocab.json has no vocabulary of the language \"%.40s\"; of the %zu that it "
                    "has, these are nearest by name: %s",
                    language, json_object_size(root), some);
}

/* Whether the file maps languages to vocabularies. */
static bool has_languages(json_t *root) {
    return json_is_object(json_object_iter_value(json_object_iter(root)));
}

int32_t al_vocab_parse(const char *json, size_t len, const char *language, uint32_t n_vocab,
                       int32_t pad, struct al_vocab *ret, struct num_err *err) {
    json_error_t why;
    struct al_vocab v = {.delimiter = -1};
    json_t *root = json_loadb(json, len, 0, &why), *pieces = root;
    int32_t status = SLUICE_OK;
    if (!root)
        status = num_fail(err, SLUICE_INPUT, "vocab.json, line %d: %s", why.line, why.text);
    else if (!json_is_object(root))
        status = num_fail(err, SLUICE_INPUT, "vocab.json is not a map of texts to numbers");
    else if ((v.of_many = has_languages(root)))
        status = choose_language(root, language, &pieces, err);
    if (!status)
        status = read_pieces(pieces, n_vocab, pad, &v, err);
    json_decref(root);
    if (status) {
        al_vocab_finish(&v);
        return status;
    }
    v.locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    *ret = v;
    return SLUICE_OK;
}

void al_vocab_finish(struct al_vocab *vocab) {
    for (size_t i = 0; i < vocab->n_pieces; i++)
        free(vocab->pieces[i].text);
    free(vocab->pieces);
    if (vocab->locale)
        freelocale(vocab->locale);
    *vocab = (struct al_vocab){0};
}

/* ---- Spelling -------------------------------------------------------------------------------- */

/* The piece of exactly these bytes, or NULL. */
static const struct al_piece *find(const struct al_vocab *v, const char *text, size_t len) {
    struct al_piece key = {(char *)(uintptr_t)text, len, 0};
    return bsearch(&key, v->pieces, v->n_pieces, sizeof key, by_text);
}

/* The longest piece that `text` (len bytes) begins with. */
static const struct al_piece *find_longest(const struct al_vocab *v, const char *text, size_t len) {
    const struct al_piece *piece = NULL;
    for (size_t n = len < v->longest ? len : v->longest; n > 0 && !piece; n--)
        piece = find(v, text, n);
    return piece;
}

static const struct al_piece *find_char(const struct al_vocab *v, uint32_t c) {
    uint8_t text[4];
    size_t n = num_utf8_put(c, text);
    return find(v, (const char *)text, n);
}

/* A character in its other case, or another sign for the same. */
static const struct al_piece *find_other(const struct al_vocab *v, uint32_t c) {
    const struct al_piece *piece = NULL;
    if (c == 0x2019 || c == 0x02bc)
        return find_char(v, '\'');
    if (c < 0x80 || v->locale) {
        uint32_t lower = v->locale ? (uint32_t)towlower_l((wint_t)c, v->locale) : c | 0x20;
        uint32_t upper = v->locale ? (uint32_t)towupper_l((wint_t)c, v->locale) : c & ~0x20u;
        if (num_char_kind(c) == NUM_LETTER && lower <= 0x10ffff && upper <= 0x10ffff)
            piece = (piece = find_char(v, lower)) ? piece : find_char(v, upper);
    }
    return piece;
}

static bool is_said(uint32_t c) {
    static const uint32_t signs[] = {'$',  '%',  '&',  '@',  '#',  '+',  '=',    0xa2, 0xa3,
                                     0xa5, 0xa7, 0xb0, 0xb1, 0xd7, 0xf7, 0x2030, 0};
    enum num_char_kind kind = num_char_kind(c);
    if (kind == NUM_LETTER || kind == NUM_NUMBER || (c >= 0x20a0 && c <= 0x20cf))
        return true;
    for (size_t i = 0; signs[i]; i++)
        if (signs[i] == c)
            return true;
    return false;
}

size_t al_vocab_spell(const struct al_vocab *v, const char *word, int32_t *ret_tokens,
                      size_t max_tokens) {
    size_t n = 0, len = strlen(word), step;
    for (size_t at = 0; at < len && n < max_tokens; at += step) {
        uint32_t c;
        const struct al_piece *piece = find_longest(v, word + at, len - at);
        step = piece ? piece->len : al_next_char(word + at, &c);
        if (!piece)
            piece = find_other(v, c);
        if (piece)
            ret_tokens[n++] = piece->id;
        else if (is_said(c) && (n == 0 || ret_tokens[n - 1] != AL_STAR))
            ret_tokens[n++] = AL_STAR;
    }
    return n;
}
