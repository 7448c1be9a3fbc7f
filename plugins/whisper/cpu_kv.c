/*
 * Keys and values of all rows or slots, layers and heads, each head as num/cpu/kv.h lays it out:
 * see struct wh_kv.
 */
#include "whisper/cpu.h"

void wh_kv_init(struct wh_kv *kv, enum num_compute type, size_t len, size_t d, size_t n_heads,
                size_t n_layers) {
    *kv = (struct wh_kv){.n_heads = n_heads, .n_layers = n_layers};
    num_kv_init(&kv->head, type, len, d);
    kv->row_words = kv->head.head_words * n_heads * n_layers;
}

uint32_t *wh_kv_head(const struct wh_kv *kv, size_t row, size_t layer, size_t head) {
    return kv->base + row * kv->row_words + (layer * kv->n_heads + head) * kv->head.head_words;
}

void wh_kv_prepare(const struct wh_kv *kv, size_t row, size_t n) {
    for (size_t i = 0; i < kv->n_layers * kv->n_heads; i++)
        num_kv_prepare(&kv->head, wh_kv_head(kv, row, 0, i), n);
}

void wh_kv_copy(const struct wh_kv *kv, size_t n, uint32_t *to, const uint32_t *from) {
    size_t words = kv->head.head_words;
    for (size_t i = 0; i < kv->n_layers * kv->n_heads; i++)
        num_kv_copy(&kv->head, n, to + i * words, from + i * words);
}
