/*
 * Tables of the published models: see published.h.
 *
 * The alignment heads are the reference's masks, written as (layer, head). Suppressed symbols are
 * found by their text: a symbol that one piece spells is suppressed, one that takes several is not,
 * except for the music signs, whose first piece is. Pieces of the published vocabularies are
 * numbered in the order of their merges, so that byte-pair encoding needs no other table here.
 */
#include "whisper/published.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Special tokens ------------------------------------------------------------------------- */

static const char *const languages[] = {
    "en", "zh", "de", "es",  "ru", "ko", "fr", "ja", "pt", "tr", "pl", "ca", "nl", "ar", "sv",
    "it", "id", "hi", "fi",  "vi", "he", "uk", "el", "ms", "cs", "ro", "da", "hu", "ta", "no",
    "th", "ur", "hr", "bg",  "lt", "la", "mi", "ml", "cy", "sk", "te", "fa", "lv", "bn", "sr",
    "az", "sl", "kn", "et",  "mk", "br", "eu", "is", "hy", "ne", "mn", "bs", "kk", "sq", "sw",
    "gl", "mr", "pa", "si",  "km", "sn", "yo", "so", "af", "oc", "ka", "be", "tg", "sd", "gu",
    "am", "yi", "lo", "uz",  "fo", "ht", "ps", "tk", "nn", "mt", "sa", "lb", "my", "bo", "tl",
    "mg", "as", "tt", "haw", "ln", "ha", "ba", "jw", "su", "yue"};

static const char *const after_languages[] = {"translate",   "transcribe", "startoflm",
                                              "startofprev", "nospeech",   "notimestamps"};

#define N_LANGUAGES(n_vocab) ((n_vocab) == WH_VOCAB_CANTONESE ? 100u : 99u)
#define N_AFTER              (sizeof after_languages / sizeof *after_languages)
#define NAME_BYTES           24

bool wh_published_vocab(uint32_t n_vocab) {
    return n_vocab >= WH_VOCAB_ENGLISH && n_vocab <= WH_VOCAB_CANTONESE;
}

/* The name of special token i, counted from <|endoftext|>. */
static void special_name(uint32_t i, uint32_t n_languages, char name[NAME_BYTES]) {
    uint32_t after = 2 + n_languages, timestamps = after + N_AFTER;
    if (i == 0)
        snprintf(name, NAME_BYTES, "<|endoftext|>");
    else if (i == 1)
        snprintf(name, NAME_BYTES, "<|startoftranscript|>");
    else if (i < after)
        snprintf(name, NAME_BYTES, "<|%s|>", languages[i - 2]);
    else if (i < timestamps)
        snprintf(name, NAME_BYTES, "<|%s|>", after_languages[i - after]);
    else
        snprintf(name, NAME_BYTES, "<|%.2f|>", (i - timestamps) * WH_TIMESTAMP_S);
}

int32_t wh_published_bpe(const struct num_bpe_token *pieces, size_t n, uint32_t n_vocab,
                         const char *path, struct num_bpe *ret, struct num_err *err) {
    uint32_t eot = n_vocab == WH_VOCAB_ENGLISH ? 50256 : 50257;
    if (n < eot)
        return num_fail(err, SLUICE_INPUT,
                        "%s: the vocabulary has %zu pieces; a Whisper model with %u tokens has %u",
                        path, n, n_vocab, eot);
    struct num_bpe_token *tokens = calloc(n_vocab, sizeof *tokens);
    char(*names)[NAME_BYTES] = calloc(n_vocab - eot, sizeof *names);
    if (!tokens || !names) {
        free(tokens);
        free(names);
        return num_fail_memory(err, "a tokenizer", n_vocab * sizeof *tokens);
    }
    memcpy(tokens, pieces, eot * sizeof *tokens);
    for (uint32_t i = 0; i < n_vocab - eot; i++) {
        special_name(i, N_LANGUAGES(n_vocab), names[i]);
        tokens[eot + i] =
            (struct num_bpe_token){(const uint8_t *)names[i], (uint32_t)strlen(names[i]), true};
    }
    int32_t status = num_bpe_build(tokens, n_vocab, ret, err);
    free(tokens);
    free(names);
    return status;
}

/* ---- Suppressed tokens ---------------------------------------------------------------------- */

#define MAX_PIECE 8 /* bytes of a symbol with a blank before it */

static const char *const symbols[] = {
    "\"",  "#",  "(",  ")",   "*",   "+",   "/",   ":",  ";",   "<",  "=",  ">",
    "@",   "[",  "\\", "]",   "^",   "_",   "`",   "{",  "|",   "}",  "~",  "「",
    "」",  "『", "』", "<<",  ">>",  "<<<", ">>>", "--", "---", "-(", "-[", "('",
    "(\"", "((", "))", "(((", ")))", "[[",  "]]",  "{{", "}}",  "♪♪", "♪♪♪"};

/* Characters of music, suppressed by their first piece. */
static const char *const signs[] = {"♩", "♪", "♫", "♬", "♭", "♮", "♯"};

/* Hyphen and quotation mark are fine inside words, not at their beginning. */
static const char *const at_word_start[] = {" -", " '"};

static const char *const unspoken[] = {"<|startoftranscript|>", "<|translate|>",   "<|transcribe|>",
                                       "<|startoflm|>",         "<|startofprev|>", "<|nospeech|>"};

/* The piece of these bytes, or -1. */
static int32_t piece_find(const struct num_bpe *bpe, const void *bytes, size_t len) {
    for (size_t i = 0; i < bpe->n_tokens; i++) {
        const struct num_bpe_token *t = &bpe->tokens[i];
        if (t->len == len && t->bytes && !t->special && memcmp(t->bytes, bytes, len) == 0)
            return (int32_t)i;
    }
    return -1;
}

/* The first piece of a short text under byte-pair encoding, or -1. */
static int32_t first_piece(const struct num_bpe *bpe, const char *text) {
    size_t end[MAX_PIECE + 1], n = strlen(text);
    for (size_t i = 0; i < n; i++)
        end[i] = i + 1;
    for (;;) {
        int32_t best = INT32_MAX;
        size_t at = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            size_t begin = i ? end[i - 1] : 0;
            int32_t id = piece_find(bpe, text + begin, end[i + 1] - begin);
            if (id >= 0 && id < best) {
                best = id;
                at = i;
            }
        }
        if (best == INT32_MAX)
            break;
        memmove(end + at, end + at + 1, (--n - at) * sizeof *end);
    }
    return piece_find(bpe, text, end[0]);
}

struct list {
    int32_t ids[256];
    int32_t n;
};

static void add(struct list *l, int32_t id) {
    for (int32_t i = 0; i < l->n; i++)
        if (l->ids[i] == id)
            return;
    if (id >= 0 && l->n < (int32_t)(sizeof l->ids / sizeof *l->ids))
        l->ids[l->n++] = id;
}

static int by_id(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static void add_symbols(const struct num_bpe *bpe, struct list *l) {
    char text[16];
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        snprintf(text, sizeof text, " %s", symbols[i]);
        add(l, piece_find(bpe, text, strlen(text)));
        add(l, piece_find(bpe, text + 1, strlen(text + 1)));
    }
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        snprintf(text, sizeof text, " %s", signs[i]);
        add(l, first_piece(bpe, text));
        add(l, first_piece(bpe, text + 1));
    }
    for (size_t i = 0; i < sizeof at_word_start / sizeof *at_word_start; i++)
        add(l, first_piece(bpe, at_word_start[i]));
}

int32_t wh_published_suppress(const struct num_bpe *bpe, struct wh_rules *rules,
                              int32_t **ret_lists, struct num_err *err) {
    struct list l = {.n = 0};
    add_symbols(bpe, &l);
    for (size_t i = 0; i < sizeof unspoken / sizeof *unspoken; i++)
        add(&l, num_bpe_special(bpe, unspoken[i]));
    qsort(l.ids, (size_t)l.n, sizeof *l.ids, by_id);
    int32_t *lists = malloc(((size_t)l.n + 2) * sizeof *lists);
    if (!lists)
        return num_fail_memory(err, "the suppressed tokens", sizeof l.ids);
    memcpy(lists, l.ids, (size_t)l.n * sizeof *lists);
    rules->suppress = lists;
    rules->n_suppress = l.n;
    rules->begin_suppress = lists + l.n;
    rules->n_begin_suppress = 0;
    int32_t begin[2] = {piece_find(bpe, " ", 1), rules->eot};
    for (int i = 0; i < 2; i++)
        if (begin[i] >= 0)
            lists[l.n + rules->n_begin_suppress++] = begin[i];
    *ret_lists = lists;
    return SLUICE_OK;
}

/* ---- Alignment heads ------------------------------------------------------------------------ */

struct pair {
    uint8_t layer, head;
};

static const struct pair tiny_en[] = {{1, 0}, {2, 0}, {2, 5}, {3, 0},
                                      {3, 1}, {3, 2}, {3, 3}, {3, 4}};
static const struct pair tiny[] = {{2, 2}, {3, 0}, {3, 2}, {3, 3}, {3, 4}, {3, 5}};
static const struct pair base_en[] = {{3, 3}, {4, 7}, {5, 1}, {5, 5}, {5, 7}};
static const struct pair base[] = {{3, 1}, {4, 2}, {4, 3}, {4, 7}, {5, 1}, {5, 2}, {5, 4}, {5, 6}};
static const struct pair small_en[] = {
    {6, 6},  {7, 0},  {7, 3},  {7, 8},  {8, 2},  {8, 5},  {8, 7},   {9, 0},  {9, 4}, {9, 8},
    {9, 10}, {10, 0}, {10, 1}, {10, 2}, {10, 3}, {10, 6}, {10, 11}, {11, 2}, {11, 4}};
static const struct pair small[] = {{5, 3}, {5, 9}, {8, 0}, {8, 4}, {8, 7},
                                    {8, 8}, {9, 0}, {9, 7}, {9, 9}, {10, 5}};
static const struct pair medium_en[] = {{11, 4},  {14, 1}, {14, 12}, {14, 14}, {15, 4},  {16, 0},
                                        {16, 4},  {16, 9}, {17, 12}, {17, 14}, {18, 7},  {18, 10},
                                        {18, 15}, {20, 0}, {20, 3},  {20, 9},  {20, 14}, {21, 12}};
static const struct pair medium[] = {{13, 15}, {15, 4}, {15, 15}, {16, 1}, {20, 0}, {23, 4}};
static const struct pair large_v1[] = {{9, 19},  {11, 2},  {11, 4}, {11, 17}, {22, 7},
                                       {22, 11}, {22, 17}, {23, 2}, {23, 15}};
static const struct pair large_v2[] = {{10, 12}, {13, 17}, {16, 11}, {16, 12}, {16, 13}, {17, 15},
                                       {17, 16}, {18, 4},  {18, 11}, {18, 19}, {19, 11}, {21, 2},
                                       {21, 3},  {22, 3},  {22, 9},  {22, 12}, {23, 5},  {23, 7},
                                       {23, 13}, {25, 5},  {26, 1},  {26, 12}, {27, 15}};
static const struct pair large_v3[] = {{7, 0},   {10, 17}, {12, 18}, {13, 12}, {16, 1},
                                       {17, 14}, {19, 11}, {21, 4},  {24, 1},  {25, 6}};
static const struct pair turbo[] = {{2, 4}, {2, 11}, {3, 3}, {3, 6}, {3, 11}, {3, 14}};

#define HEADS(table) table, sizeof table / sizeof *table

/* A shape: the first row that fits counts. */
static const struct {
    uint32_t n_text_layers, n_text_heads, n_vocab;
    const char *in_name; /* part of the path; NULL: any */
    const struct pair *heads;
    size_t n;
} published[] = {
    {4, 6, WH_VOCAB_ENGLISH, NULL, HEADS(tiny_en)},
    {4, 6, WH_VOCAB_MULTILINGUAL, NULL, HEADS(tiny)},
    {6, 8, WH_VOCAB_ENGLISH, NULL, HEADS(base_en)},
    {6, 8, WH_VOCAB_MULTILINGUAL, NULL, HEADS(base)},
    {12, 12, WH_VOCAB_ENGLISH, NULL, HEADS(small_en)},
    {12, 12, WH_VOCAB_MULTILINGUAL, NULL, HEADS(small)},
    {24, 16, WH_VOCAB_ENGLISH, NULL, HEADS(medium_en)},
    {24, 16, WH_VOCAB_MULTILINGUAL, NULL, HEADS(medium)},
    {32, 20, WH_VOCAB_MULTILINGUAL, "large-v1", HEADS(large_v1)},
    {32, 20, WH_VOCAB_MULTILINGUAL, NULL, HEADS(large_v2)},
    {32, 20, WH_VOCAB_CANTONESE, NULL, HEADS(large_v3)},
    {4, 20, WH_VOCAB_CANTONESE, NULL, HEADS(turbo)},
};

static void upper_half(struct wh_dims *dims) {
    uint32_t first = dims->n_text_layers / 2, H = dims->n_text_heads;
    uint32_t most = WH_MAX_ALIGNMENT_HEADS / H;
    if (dims->n_text_layers - first > most)
        first = dims->n_text_layers - most;
    dims->n_alignment_heads = 0;
    for (uint32_t layer = first; layer < dims->n_text_layers; layer++)
        for (uint32_t head = 0; head < H; head++) {
            dims->alignment_heads[dims->n_alignment_heads].layer = layer;
            dims->alignment_heads[dims->n_alignment_heads++].head = head;
        }
}

void wh_published_alignment(struct wh_dims *dims, const char *path) {
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        if (published[i].n_text_layers != dims->n_text_layers ||
            published[i].n_text_heads != dims->n_text_heads ||
            published[i].n_vocab != dims->n_vocab ||
            (published[i].in_name && !strstr(path, published[i].in_name)))
            continue;
        for (size_t k = 0; k < published[i].n; k++) {
            dims->alignment_heads[k].layer = published[i].heads[k].layer;
            dims->alignment_heads[k].head = published[i].heads[k].head;
        }
        dims->n_alignment_heads = (uint32_t)published[i].n;
        return;
    }
    upper_half(dims);
}
