/*
 * Attention over the frames of a run. Some queries of one head meet KEYS keys at a time, with a
 * running softmax (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018; Dao et
 * al., "FlashAttention", 2022), so that no more than a few scores are ever held.
 */
#include <math.h>
#include <string.h>

#include "align/net_own.h"

#define QUERIES 48 /* at most; else what block() likes */
#define KEYS    256
#define LD      (KEYS + AL_PAD)

void al_heads_init(struct al_heads *heads, enum num_compute act, size_t T, size_t d) {
    size_t len = NUM_PANELS(T) * NUM_PANEL;
    heads->d_words = num_words(act, d);
    heads->len_words = num_words(act, len);
    heads->key_words = len * heads->d_words;
    heads->head_words = heads->key_words + NUM_PANELS(d) * NUM_PANEL * heads->len_words;
}

static void fill_f32(const struct al_heads *h, uint32_t *keys, uint32_t *values, size_t t, size_t d,
                     const uint32_t *k, const uint32_t *v) {
    uint32_t *key = keys + t / NUM_PANEL * h->d_words * NUM_PANEL + t % NUM_PANEL;
    for (size_t e = 0; e < d; e++)
        key[e * NUM_PANEL] = k[e];
    for (size_t e = 0; e < d; e += NUM_PANEL)
        memcpy(values + (e / NUM_PANEL * h->len_words + t) * NUM_PANEL, v + e,
               (d - e < NUM_PANEL ? d - e : NUM_PANEL) * sizeof *v);
}

/* Positions t and t + 1; the second may be past the end and is then zero. */
static void fill_bf16(const struct al_heads *h, uint32_t *keys, uint32_t *values, size_t t,
                      size_t d, const uint16_t *k, const uint16_t *v, size_t ld, size_t n) {
    for (size_t i = 0; i < n; i++) {
        size_t at = t + i;
        uint32_t *key = keys + at / NUM_PANEL * h->d_words * NUM_PANEL + at % NUM_PANEL;
        for (size_t e = 0; e < d; e += 2)
            memcpy(&key[e / 2 * NUM_PANEL], k + i * ld + e, 4);
    }
    for (size_t e = 0; e < d; e++) {
        uint32_t second = n > 1 ? v[ld + e] : 0;
        values[(e / NUM_PANEL * h->len_words + t / 2) * NUM_PANEL + e % NUM_PANEL] =
            v[e] | second << 16;
    }
}

void al_heads_fill(const struct al_net *net, size_t head, size_t first, size_t n, const char *k,
                   const char *v, size_t ld) {
    const struct al_heads *h = &net->heads;
    size_t d = net->config.n_state / net->config.n_heads;
    uint32_t *keys = h->base + head * h->head_words, *values = keys + h->key_words;
    if (net->act == NUM_COMPUTE_F32) {
        for (size_t i = 0; i < n; i++)
            fill_f32(h, keys, values, first + i, d, (const uint32_t *)k + i * ld,
                     (const uint32_t *)v + i * ld);
        return;
    }
    for (size_t i = 0; i < n; i += 2)
        fill_bf16(h, keys, values, first + i, d, (const uint16_t *)k + i * ld,
                  (const uint16_t *)v + i * ld, ld, n - i);
}

/* ---- Queries --------------------------------------------------------------------------------- */

struct attention {
    const struct al_net *net;
    size_t first, n, d, ld_out;
    const uint32_t *keys, *values;
    char *queries; /* of the head: row i at i * ldq bytes */
    size_t ldq;
    float *scores; /* (n, LD) */
    void *weights; /* (n, LD) act; the scores themselves where it is float */
    float *out;    /* (n, ld_out) */
    struct num_running run[QUERIES];
};

/* All queries against at most KEYS keys from t on. */
static void attend_keys(struct attention *a, size_t t) {
    const struct al_net *net = a->net;
    const struct num_kernels *k = net->kernels;
    const struct al_heads *h = &net->heads;
    size_t left = net->T - t, keys = left < KEYS ? left : KEYS;
    size_t panels = NUM_PANELS(keys), per_word = num_per_word(net->act);
    float scale = 1.44269504f / sqrtf((float)a->d); /* powers of 2, not of e */
    struct num_product qk = {.type = net->act,
                             .x = a->queries,
                             .ldx = a->ldq,
                             .n_words = h->d_words,
                             .w = a->keys + t / NUM_PANEL * h->d_words * NUM_PANEL,
                             .panel_words = h->d_words * NUM_PANEL,
                             .n_panels = panels};
    k->block(&qk, a->n, false, a->scores, LD);
    k->running_softmax(net->act, a->scores, LD, a->n, keys, panels * NUM_PANEL, scale, a->run,
                       a->weights, LD);
    for (size_t r = 0; r < a->n && t > 0; r++)
        if (a->run[r].fix != 1)
            k->scale(a->out + r * a->ld_out, a->run[r].fix, a->ld_out);
    struct num_product pv = {.type = net->act,
                             .x = a->weights,
                             .ldx = net->act_bytes * LD,
                             .n_words = panels * NUM_PANEL / per_word,
                             .w = a->values + t / per_word * NUM_PANEL,
                             .panel_words = h->len_words * NUM_PANEL,
                             .n_panels = NUM_PANELS(a->d)};
    k->block(&pv, a->n, t > 0, a->out, a->ld_out);
}

static void attend(struct attention *a) {
    for (size_t r = 0; r < a->n; r++)
        a->run[r] = (struct num_running){.max = -INFINITY};
    for (size_t t = 0; t < a->net->T; t += KEYS)
        attend_keys(a, t);
    for (size_t r = 0; r < a->n; r++) {
        a->net->kernels->scale(a->out + r * a->ld_out, 1 / a->run[r].sum, a->d);
        al_to_act(a->net, a->out + r * a->ld_out, a->d, a->queries + r * a->ldq);
    }
}

static size_t queries_at_once(const struct al_net *net) {
    return net->kernels->block_rows < QUERIES ? net->kernels->block_rows : QUERIES;
}

/* One head and one block of queries. */
static void attend_task(void *ctx, uint32_t index, uint32_t thread) {
    struct al_net *net = ctx;
    size_t H = net->config.n_heads, step = queries_at_once(net), d = net->config.n_state / H;
    size_t head = index % H, first = index / H * step, ldq = net->config.n_state + AL_PAD;
    char *scratch = net->scratch + thread * net->scratch_bytes;
    struct attention a = {.net = net,
                          .first = first,
                          .n = net->T - first < step ? net->T - first : step,
                          .d = d,
                          .ld_out = NUM_PANELS(d) * NUM_PANEL,
                          .keys = net->heads.base + head * net->heads.head_words,
                          .ldq = ldq * net->act_bytes};
    a.values = a.keys + net->heads.key_words;
    a.queries = net->queries + (first * ldq + head * d) * net->act_bytes;
    a.scores = (float *)scratch;
    a.out = a.scores + QUERIES * LD;
    a.weights = net->act == NUM_COMPUTE_F32 ? a.scores : a.out + QUERIES * a.ld_out;
    net->kernels->enter();
    attend(&a);
    net->kernels->leave();
}

size_t al_attend_scratch(const struct al_net *net) {
    size_t d = net->config.n_state / net->config.n_heads;
    return al_lines(QUERIES * (2 * LD + NUM_PANELS(d) * NUM_PANEL) * sizeof(float));
}

void al_attend(struct al_net *net) {
    size_t step = queries_at_once(net), n_blocks = (net->T + step - 1) / step;
    num_pool_run(net->pool, (uint32_t)(n_blocks * net->config.n_heads), attend_task, net);
}
