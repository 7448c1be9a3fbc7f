/*
 * Tokens to words: see split.h.
 *
 * First into the smallest runs of tokens that decode to whole characters, then, in spaced scripts,
 * runs that start neither with a blank nor are punctuation join the one before. A run that decodes
 * to U+FFFD counts as whole only where the text as a whole has that character there.
 */
#include "whisper/split.h"

#include <stdlib.h>
#include <string.h>

#include "num/unicode.h"
#include "num/utf8.h"
#include "whisper/text.h"

#define REPLACEMENT 0xfffdu

struct splitter {
    const struct wh_model *model;
    const int32_t *tokens;
    uint32_t n_tokens;
    uint8_t *bytes; /* of all tokens */
    size_t n_bytes;
    uint32_t *points; /* code points of `bytes` */
    size_t n_points;
    struct wh_split split;
    size_t n_text;
};

bool wh_is_unspaced(const char *language) {
    static const char *const codes[] = {"zh", "ja", "th", "lo", "my", "yue"};
    for (size_t i = 0; language && i < sizeof codes / sizeof *codes; i++)
        if (strcmp(language, codes[i]) == 0)
            return true;
    return false;
}

/* The code point at bytes[at], U+FFFD where there is none; *ret_n: its bytes. */
static uint32_t point_at(const uint8_t *bytes, size_t len, size_t at, size_t *ret_n) {
    uint32_t c;
    *ret_n = num_utf8_next(bytes + at, len - at, &c);
    if (*ret_n)
        return c;
    *ret_n = c;
    return REPLACEMENT;
}

static int32_t prepare(struct splitter *s, struct num_err *err) {
    size_t total = 0;
    for (uint32_t i = 0; i < s->n_tokens; i++)
        total += wh_token_bytes(s->model, s->tokens[i])->len;
    s->bytes = malloc(total + 1);
    s->points = malloc((total + 1) * sizeof *s->points);
    s->split.text = malloc(3 * total + 1);
    s->split.pieces = malloc((s->n_tokens + 1) * sizeof *s->split.pieces);
    if (!s->bytes || !s->points || !s->split.text || !s->split.pieces)
        return num_fail_memory(err, "the words of a text", 8 * total);
    for (uint32_t i = 0; i < s->n_tokens; i++) {
        const struct num_bpe_token *t = wh_token_bytes(s->model, s->tokens[i]);
        if (t->len)
            memcpy(s->bytes + s->n_bytes, t->bytes, t->len);
        s->n_bytes += t->len;
    }
    for (size_t at = 0, n; at < s->n_bytes; at += n)
        s->points[s->n_points++] = point_at(s->bytes, s->n_bytes, at, &n);
    return SLUICE_OK;
}

/* Whether bytes [from, end) are whole characters, the text's from number `point` on; *ret_points:
 * how many. */
static bool is_whole(const struct splitter *s, size_t from, size_t end, size_t point,
                     size_t *ret_points) {
    size_t n_points = 0, n, first_bad = SIZE_MAX;
    for (size_t at = from; at < end; at += n, n_points++)
        if (point_at(s->bytes, end, at, &n) == REPLACEMENT && first_bad == SIZE_MAX)
            first_bad = n_points;
    *ret_points = n_points;
    return first_bad == SIZE_MAX ||
           (point + first_bad < s->n_points && s->points[point + first_bad] == REPLACEMENT);
}

static void add_piece(struct splitter *s, size_t from, size_t end, uint32_t n_tokens) {
    struct wh_piece piece = {.text = s->n_text, .n_tokens = n_tokens};
    piece.len = num_utf8_clean(s->bytes + from, end - from, s->split.text + s->n_text);
    s->n_text += piece.len;
    s->split.pieces[s->split.n++] = piece;
}

static void split_characters(struct splitter *s) {
    size_t from = 0, end = 0, point = 0, n_points;
    uint32_t first = 0;
    for (uint32_t i = 0; i < s->n_tokens; i++) {
        end += wh_token_bytes(s->model, s->tokens[i])->len;
        if (!is_whole(s, from, end, point, &n_points))
            continue;
        add_piece(s, from, end, i + 1 - first);
        from = end;
        first = i + 1;
        point += n_points;
    }
    if (first < s->n_tokens)
        add_piece(s, from, end, s->n_tokens - first);
}

static bool is_punctuation(const char *text, size_t len) {
    static const char signs[] = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
    char word[sizeof signs];
    size_t first, n = num_text_trim(text, len, &first);
    if (n >= sizeof word)
        return false;
    memcpy(word, text + first, n);
    word[n] = '\0';
    return strstr(signs, word) != NULL;
}

static void join_words(struct splitter *s) {
    uint32_t n = 0, token = 0;
    for (uint32_t i = 0; i < s->split.n; i++) {
        struct wh_piece piece = s->split.pieces[i];
        const char *text = s->split.text + piece.text;
        bool special = s->tokens[token] >= s->model->rules.eot;
        token += piece.n_tokens;
        if (n == 0 || special || (piece.len && text[0] == ' ') || is_punctuation(text, piece.len)) {
            s->split.pieces[n++] = piece;
            continue;
        }
        s->split.pieces[n - 1].len += piece.len;
        s->split.pieces[n - 1].n_tokens += piece.n_tokens;
    }
    s->split.n = n;
}

int32_t wh_split(const struct wh_model *model, const int32_t *tokens, uint32_t n_tokens,
                 const char *language, struct wh_split *ret, struct num_err *err) {
    struct splitter s = {.model = model, .tokens = tokens, .n_tokens = n_tokens};
    int32_t status = prepare(&s, err);
    if (!status) {
        s.split.text[0] = '\0';
        split_characters(&s);
        if (!wh_is_unspaced(language))
            join_words(&s);
        *ret = s.split;
    } else {
        wh_split_finish(&s.split);
    }
    free(s.bytes);
    free(s.points);
    return status;
}

void wh_split_finish(struct wh_split *split) {
    free(split->text);
    free(split->pieces);
    *split = (struct wh_split){0};
}
