/*
 * Keys and values of one head in panels (kv.h): one position at a time, as tokens come, or a block
 * of them, as windows and prompts have.
 */
#include "num/cpu/kv.h"

#include <string.h>

#include "num/half.h"

void num_kv_init(struct num_kv *ret, enum num_compute type, size_t len, size_t d) {
    struct num_kv kv = {.type = type, .d = d, .len = NUM_PANELS(len) * NUM_PANEL};
    kv.d_words = num_words(type, d);
    kv.len_words = num_words(type, kv.len);
    kv.key_words = kv.len * kv.d_words;
    kv.head_words = kv.key_words + NUM_PANELS(d) * NUM_PANEL * kv.len_words;
    *ret = kv;
}

/* The word of element e at position t. */
static size_t key_word(const struct num_kv *kv, size_t t, size_t e) {
    return (t / NUM_PANEL * kv->d_words + e / num_per_word(kv->type)) * NUM_PANEL + t % NUM_PANEL;
}

static size_t value_word(const struct num_kv *kv, size_t t, size_t e) {
    return (e / NUM_PANEL * kv->len_words + t / num_per_word(kv->type)) * NUM_PANEL + e % NUM_PANEL;
}

void num_kv_set(const struct num_kv *kv, uint32_t *head, size_t t, const float *k, const float *v) {
    uint32_t *keys = head, *values = head + kv->key_words;
    for (size_t e = 0; e < kv->d; e++) {
        if (kv->type == NUM_COMPUTE_F32) {
            memcpy(&keys[key_word(kv, t, e)], &k[e], 4);
            memcpy(&values[value_word(kv, t, e)], &v[e], 4);
            continue;
        }
        uint16_t k16 = num_f32_to_bf16(k[e]), v16 = num_f32_to_bf16(v[e]);
        memcpy((uint16_t *)&keys[key_word(kv, t, e)] + e % 2, &k16, 2);
        memcpy((uint16_t *)&values[value_word(kv, t, e)] + t % 2, &v16, 2);
    }
}

/* A panel at a time, so that what is written lies side by side. */
static void fill_f32(const struct num_kv *kv, uint32_t *keys, uint32_t *values, size_t first,
                     size_t n, const uint32_t *k, const uint32_t *v, size_t ld) {
    for (size_t t = first; t < first + n;) {
        size_t in_panel = NUM_PANEL - t % NUM_PANEL, left = first + n - t;
        size_t some = in_panel < left ? in_panel : left;
        const uint32_t *rows = k + (t - first) * ld;
        for (size_t e = 0; e < kv->d; e++) {
            uint32_t *to = keys + key_word(kv, t, e);
            for (size_t i = 0; i < some; i++)
                to[i] = rows[i * ld + e];
        }
        t += some;
    }
    for (size_t i = 0; i < n; i++)
        for (size_t e = 0; e < kv->d; e += NUM_PANEL)
            memcpy(values + value_word(kv, first + i, e), v + i * ld + e,
                   (kv->d - e < NUM_PANEL ? kv->d - e : NUM_PANEL) * sizeof *v);
}

/* Word e / 2 of n rows side by side; an odd d leaves half a word. */
static void key_words(const uint16_t *rows, size_t ld, size_t n, size_t e, size_t d, uint32_t *to) {
    for (size_t i = 0; i < n && e + 1 < d; i++)
        memcpy(&to[i], rows + i * ld + e, 4);
    for (size_t i = 0; i < n && e + 1 == d; i++)
        to[i] = rows[i * ld + e];
}

/* A panel at a time, word by word: what is written lies side by side. */
static void fill_keys(const struct num_kv *kv, uint32_t *keys, size_t first, size_t n,
                      const uint16_t *k, size_t ld) {
    for (size_t t = first; t < first + n;) {
        size_t in_panel = NUM_PANEL - t % NUM_PANEL, left = first + n - t;
        size_t some = in_panel < left ? in_panel : left;
        const uint16_t *rows = k + (t - first) * ld;
        for (size_t e = 0; e < kv->d; e += 2)
            key_words(rows, ld, some, e, kv->d, keys + key_word(kv, t, e));
        t += some;
    }
}

static void fill_values(const struct num_kv *kv, uint32_t *values, size_t first, size_t n,
                        const uint16_t *v, size_t ld) {
    for (size_t i = 0; i < n; i += 2) {
        const uint16_t *a = v + i * ld, *b = a + ld;
        for (size_t e = 0; e < kv->d;) {
            size_t some = kv->d - e < NUM_PANEL ? kv->d - e : NUM_PANEL;
            uint32_t *to = values + value_word(kv, first + i, e);
            for (size_t j = 0; j < some && i + 1 < n; j++)
                to[j] = a[e + j] | (uint32_t)b[e + j] << 16;
            for (size_t j = 0; j < some && i + 1 == n; j++)
                to[j] = a[e + j];
            e += some;
        }
    }
}

void num_kv_fill(const struct num_kv *kv, uint32_t *head, size_t first, size_t n, const void *k,
                 const void *v, size_t ld) {
    uint32_t *keys = head, *values = head + kv->key_words;
    if (kv->type == NUM_COMPUTE_F32) {
        fill_f32(kv, keys, values, first, n, k, v, ld);
        return;
    }
    fill_keys(kv, keys, first, n, k, ld);
    fill_values(kv, values, first, n, v, ld);
}

void num_kv_prepare(const struct num_kv *kv, uint32_t *head, size_t n) {
    size_t per_word = num_per_word(kv->type), used = (n + per_word - 1) / per_word;
    uint32_t *values = head + kv->key_words;
    if (kv->d < kv->d_words * per_word)
        memset(head, 0, kv->key_words * sizeof *head);
    for (size_t p = 0; p < NUM_PANELS(kv->d); p++)
        memset(values + (p * kv->len_words + used) * NUM_PANEL, 0,
               (kv->len_words - used) * NUM_PANEL * sizeof *values);
}

void num_kv_copy(const struct num_kv *kv, size_t n, uint32_t *to, const uint32_t *from) {
    size_t keys = NUM_PANELS(n) * NUM_PANEL * kv->d_words, panel = kv->len_words * NUM_PANEL;
    size_t used = num_words(kv->type, n) * NUM_PANEL;
    memcpy(to, from, keys * sizeof *to);
    for (size_t p = 0; p < NUM_PANELS(kv->d); p++)
        memcpy(to + kv->key_words + p * panel, from + kv->key_words + p * panel, used * sizeof *to);
}
