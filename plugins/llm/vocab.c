/* Making and searching the vocabulary of a tokenizer: see vocab.h. Hash tables with open
 * addressing; names and bytes lie in one growing block. */
#include "llm/vocab.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "num/utf8.h"

struct lm_tokenizer *lm_tokenizer_new(void) {
    struct lm_tokenizer *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->unk = t->bos = t->eos = -1;
    for (size_t i = 0; i < 256; i++)
        t->bytes[i] = -1;
    return t;
}

void lm_tokenizer_destroy(struct lm_tokenizer *t) {
    if (!t)
        return;
    free(t->tokens);
    free(t->text);
    free(t->slots);
    free(t->merges);
    free(t->added);
    lm_charsmap_finish(&t->charsmap);
    free(t);
}

/* ---- Tokens --------------------------------------------------------------------------------- */

/* Appends `len` bytes and a NUL to the block; *ret_at: where. */
static bool append(struct lm_tokenizer *t, const void *bytes, size_t len, uint32_t *ret_at) {
    if (len > UINT32_MAX / 2 || t->text_len + len + 1 > UINT32_MAX / 2)
        return false;
    if (t->text_len + len + 1 > t->text_room) {
        size_t room = 2 * (t->text_len + len + 1);
        char *text = realloc(t->text, room);
        if (!text)
            return false;
        t->text = text;
        t->text_room = room;
    }
    if (len)
        memcpy(t->text + t->text_len, bytes, len);
    t->text[t->text_len + len] = '\0';
    *ret_at = (uint32_t)t->text_len;
    t->text_len += len + 1;
    return true;
}

static bool make_room(struct lm_tokenizer *t, uint32_t id) {
    uint32_t room = t->room_tokens ? t->room_tokens : 256;
    while (room <= id)
        room *= 2;
    if (room == t->room_tokens)
        return true;
    struct lm_token *tokens = realloc(t->tokens, room * sizeof *tokens);
    if (!tokens)
        return false;
    memset(tokens + t->room_tokens, 0, (room - t->room_tokens) * sizeof *tokens);
    t->tokens = tokens;
    t->room_tokens = room;
    return true;
}

int32_t lm_vocab_set(struct lm_tokenizer *t, uint64_t id, const char *name, size_t len, float score,
                     struct num_err *err) {
    if (id >= LM_MAX_TOKENS)
        return num_fail(err, SLUICE_INPUT,
                        "a token has the number %" PRIu64 ", beyond the %u that are possible", id,
                        LM_MAX_TOKENS);
    if (!make_room(t, (uint32_t)id))
        return num_fail_memory(err, "a vocabulary", id * sizeof *t->tokens);
    struct lm_token token = t->tokens[id];
    if (!append(t, name, len, &token.name))
        return num_fail_memory(err, "a vocabulary", t->text_len + len);
    token.name_len = (uint32_t)len;
    token.score = score;
    token.used = true;
    t->tokens[id] = token;
    t->n_tokens = id >= t->n_tokens ? (uint32_t)id + 1 : t->n_tokens;
    return SLUICE_OK;
}

/* ---- Finding -------------------------------------------------------------------------------- */

static size_t hash(const char *bytes, size_t len) { /* FNV-1a */
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)bytes[i]) * 0x100000001b3u;
    return (size_t)(h ^ h >> 32);
}

static size_t pair_hash(int32_t left, int32_t right) {
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u;
    return (size_t)(h ^ h >> 32);
}

/* The slot of that name, or the free one where it would be. */
static int32_t *slot_of(const struct lm_tokenizer *t, const char *name, size_t len) {
    for (size_t at = hash(name, len) & (t->n_slots - 1);; at = (at + 1) & (t->n_slots - 1)) {
        int32_t id = t->slots[at];
        if (id < 0)
            return &t->slots[at];
        const struct lm_token *token = &t->tokens[id];
        if (token->name_len == len && memcmp(t->text + token->name, name, len) == 0)
            return &t->slots[at];
    }
}

int32_t lm_vocab_find(const struct lm_tokenizer *t, const char *name, size_t len) {
    return len > t->longest_name || t->n_slots == 0 ? -1 : *slot_of(t, name, len);
}

static struct lm_merge *merge_slot(const struct lm_tokenizer *t, int32_t left, int32_t right) {
    size_t mask = t->n_merges - 1;
    for (size_t at = pair_hash(left, right) & mask;; at = (at + 1) & mask) {
        struct lm_merge *m = &t->merges[at];
        if (m->left < 0 || (m->left == left && m->right == right))
            return m;
    }
}

const struct lm_merge *lm_vocab_pair(const struct lm_tokenizer *t, int32_t left, int32_t right) {
    const struct lm_merge *m = merge_slot(t, left, right);
    return m->left < 0 ? NULL : m;
}

int32_t lm_vocab_index(struct lm_tokenizer *t, size_t n_merges, struct num_err *err) {
    t->n_slots = 16;
    while (t->n_slots < 2 * (size_t)t->n_tokens)
        t->n_slots *= 2;
    t->slots = malloc(t->n_slots * sizeof *t->slots);
    if (n_merges) {
        t->n_merges = 16;
        while (t->n_merges < 2 * n_merges)
            t->n_merges *= 2;
        t->merges = malloc(t->n_merges * sizeof *t->merges);
    }
    if (!t->slots || (n_merges && !t->merges))
        return num_fail_memory(err, "a vocabulary", t->n_slots + t->n_merges);
    memset(t->slots, 0xff, t->n_slots * sizeof *t->slots);
    memset(t->merges ? (void *)t->merges : (void *)t->slots, 0xff,
           t->merges ? t->n_merges * sizeof *t->merges : 0);
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        const struct lm_token *token = &t->tokens[i];
        if (!token->used)
            continue;
        int32_t *slot = slot_of(t, t->text + token->name, token->name_len);
        *slot = *slot < 0 ? (int32_t)i : *slot;
        t->longest_name = token->name_len > t->longest_name ? token->name_len : t->longest_name;
    }
    return SLUICE_OK;
}

bool lm_vocab_merge(struct lm_tokenizer *t, const char *both, size_t left_len, size_t right_len,
                    int32_t rank) {
    int32_t left = lm_vocab_find(t, both, left_len);
    int32_t right = lm_vocab_find(t, both + left_len, right_len);
    int32_t to = lm_vocab_find(t, both, left_len + right_len);
    if (left < 0 || right < 0 || to < 0)
        return false;
    struct lm_merge *m = merge_slot(t, left, right);
    if (m->left < 0)
        *m = (struct lm_merge){left, right, to, rank};
    return true;
}

/* ---- What tokens stand for ------------------------------------------------------------------- */

/* The byte that a character of GPT-2's alphabet stands for, or -1: 188 bytes stand for themselves,
 * the others for U+0100 and up, in order. */
static int byte_of(uint32_t c) {
    static const uint8_t gaps[][2] = {{0, '!' - 1}, {0x7f, 0xa0}, {0xad, 0xad}};
    if ((c >= '!' && c <= '~') || (c >= 0xa1 && c <= 0xac) || (c >= 0xae && c <= 0xff))
        return (int)c;
    uint32_t n = c - 0x100;
    for (size_t i = 0; c >= 0x100 && i < 3; i++) {
        uint32_t size = gaps[i][1] - gaps[i][0] + 1u;
        if (n < size)
            return (int)(gaps[i][0] + n);
        n -= size;
    }
    return -1;
}

/* The bytes of a name in that alphabet; false where it has a character that is not in it. */
static bool decode_alphabet(const char *name, size_t len, uint8_t *to, size_t *ret_len) {
    size_t n = 0;
    for (size_t i = 0, step; i < len; i += step) {
        uint32_t c;
        step = num_utf8_next((const uint8_t *)name + i, len - i, &c);
        int byte = step ? byte_of(c) : -1;
        if (byte < 0)
            return false;
        to[n++] = (uint8_t)byte;
    }
    *ret_len = n;
    return true;
}

/* The name with blanks for U+2581. */
static size_t decode_blanks(const char *name, size_t len, uint8_t *to) {
    size_t n = 0;
    for (size_t i = 0; i < len;) {
        bool blank = len - i >= 3 && memcmp(name + i, "\xe2\x96\x81", 3) == 0;
        to[n++] = blank ? ' ' : (uint8_t)name[i];
        i += blank ? 3 : 1;
    }
    return n;
}

/* "<0x41>": that byte, or -1. */
static int byte_name(const char *name, size_t len) {
    static const char digits[] = "0123456789ABCDEF";
    const char *high = len == 6 && memcmp(name, "<0x", 3) == 0 && name[5] == '>' && name[3]
                           ? strchr(digits, name[3])
                           : NULL;
    const char *low = high && name[4] ? strchr(digits, name[4]) : NULL;
    return low ? (int)(16 * (high - digits) + (low - digits)) : -1;
}

static size_t bytes_of(const struct lm_tokenizer *t, const struct lm_token *token, uint8_t *to) {
    const char *name = t->text + token->name;
    size_t len = token->name_len;
    int byte = t->byte_fallback ? byte_name(name, len) : -1;
    if (token->special)
        return 0;
    if (!token->added && t->kind == LM_BYTE_BPE && decode_alphabet(name, len, to, &len))
        return len;
    if (!token->added && t->kind != LM_BYTE_BPE && byte >= 0) {
        to[0] = (uint8_t)byte;
        return 1;
    }
    if (!token->added && t->kind != LM_BYTE_BPE)
        return decode_blanks(name, len, to);
    memcpy(to, name, len);
    return len;
}

static void find_byte_tokens(struct lm_tokenizer *t) {
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        const struct lm_token *token = &t->tokens[i];
        const char *name = t->text + token->name;
        int byte = -1;
        if (!token->used || token->added)
            continue;
        if (t->kind == LM_BYTE_BPE && token->bytes_len == 1)
            byte = (uint8_t)t->text[token->bytes];
        else if (t->kind != LM_BYTE_BPE && t->byte_fallback)
            byte = byte_name(name, token->name_len);
        if (byte >= 0 && t->bytes[byte] < 0)
            t->bytes[byte] = (int32_t)i;
    }
}

/* ---- Added tokens --------------------------------------------------------------------------- */

struct order {
    uint32_t len;
    uint8_t first;
    int32_t id;
};

/* By first byte, then longest first, then by number. */
static int by_first_byte(const void *a, const void *b) {
    const struct order *x = a, *y = b;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    if (x->len != y->len)
        return x->len > y->len ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static int32_t list_added(struct lm_tokenizer *t, struct num_err *err) {
    struct order *list = calloc((size_t)t->n_tokens + 1, sizeof *list);
    uint32_t n = 0;
    t->added = calloc((size_t)t->n_tokens + 1, sizeof *t->added);
    if (!list || !t->added) {
        free(list);
        return num_fail_memory(err, "a vocabulary", t->n_tokens * sizeof *list);
    }
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        const struct lm_token *token = &t->tokens[i];
        if (token->used && token->added && token->name_len)
            list[n++] = (struct order){token->name_len, (uint8_t)t->text[token->name], (int32_t)i};
    }
    if (n)
        qsort(list, n, sizeof *list, by_first_byte);
    for (uint32_t i = 0, byte = 0; i <= n; i++) {
        uint32_t end = i < n ? list[i].first + 1u : 257;
        for (; byte < end; byte++)
            t->first_added[byte] = i;
        if (i < n)
            t->added[i] = list[i].id;
    }
    t->n_added = n;
    free(list);
    return SLUICE_OK;
}

int32_t lm_vocab_finish(struct lm_tokenizer *t, struct num_err *err) {
    float least = 0;
    bool any = false;
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        struct lm_token *token = &t->tokens[i];
        if (!token->used)
            continue;
        uint8_t *work = malloc((size_t)token->name_len + 1);
        if (!work)
            return num_fail_memory(err, "a vocabulary", token->name_len);
        size_t len = bytes_of(t, token, work);
        bool there = append(t, work, len, &token->bytes);
        free(work);
        if (!there)
            return num_fail_memory(err, "a vocabulary", t->text_len);
        token->bytes_len = (uint32_t)len;
        least = !any || token->score < least ? token->score : least;
        any = true;
    }
    t->unk_score = least - 10; /* SentencePiece's and Hugging Face's penalty */
    find_byte_tokens(t);
    return list_added(t, err);
}
