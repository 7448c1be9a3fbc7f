/*
 * Copies of segments: see held.h. A copy is one block: the struct, words, attention, tokens, and
 * texts, in falling order of alignment.
 */
#include "whisper/held.h"

#include <stdlib.h>
#include <string.h>

static size_t attention_values(const struct wh_attention *a) {
    return a->weights ? (size_t)a->n_heads * a->n_tokens * a->n_frames : 0;
}

static size_t text_bytes(const struct wh_segment *s) {
    size_t n = strlen(s->text) + 1;
    for (uint32_t i = 0; i < s->n_words; i++)
        n += strlen(s->words[i].text) + 1;
    return n;
}

/* Copies n bytes to *at, moves it behind them, and returns where they are. */
static void *put(char **at, const void *data, size_t n) {
    void *copy = *at;
    if (n)
        memcpy(copy, data, n);
    *at += n;
    return copy;
}

/* The heads' rows, which lie head_stride apart, one behind the other. */
static void put_attention(char **at, const struct wh_attention *a, struct wh_attention *ret) {
    size_t each = (size_t)a->n_tokens * a->n_frames;
    *ret = *a;
    ret->head_stride = each;
    ret->weights = (const float *)(void *)*at;
    for (uint32_t h = 0; h < a->n_heads; h++)
        put(at, a->weights + h * a->head_stride, each * sizeof *a->weights);
}

static void put_words(char **at, const struct wh_segment *s, struct wh_word *words) {
    for (uint32_t i = 0; i < s->n_words; i++)
        words[i].text = put(at, s->words[i].text, strlen(s->words[i].text) + 1);
}

int32_t wh_held_add(struct wh_held *held, const struct wh_segment *s, struct num_err *err) {
    size_t n_attention = attention_values(&s->attention);
    size_t bytes = sizeof(struct wh_held_segment) + s->n_words * sizeof *s->words +
                   n_attention * sizeof(float) + s->n_tokens * sizeof *s->tokens + text_bytes(s);
    struct wh_held_segment *copy = malloc(bytes);
    if (!copy)
        return num_fail_memory(err, "a segment", bytes);
    char *at = (char *)(copy + 1);
    struct wh_segment *c = &copy->segment;
    *copy = (struct wh_held_segment){.segment = *s};
    struct wh_word *words = put(&at, s->words, s->n_words * sizeof *s->words);
    if (n_attention)
        put_attention(&at, &s->attention, &c->attention);
    c->tokens = put(&at, s->tokens, s->n_tokens * sizeof *s->tokens);
    c->text = put(&at, s->text, strlen(s->text) + 1);
    put_words(&at, s, words);
    c->words = s->words ? words : NULL;
    if (held->last)
        held->last->next = copy;
    else
        held->first = copy;
    held->last = copy;
    return SLUICE_OK;
}

struct wh_held_segment *wh_held_take(struct wh_held *held) {
    struct wh_held_segment *s = held->first;
    if (s)
        held->first = s->next;
    if (!held->first)
        held->last = NULL;
    return s;
}

void wh_held_finish(struct wh_held *held) {
    for (struct wh_held_segment *s; (s = wh_held_take(held));)
        free(s);
}
