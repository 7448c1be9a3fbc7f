/*
 * Flash attention over panels: see attend.h. A group of queries, as many as block() likes, passes
 * over the blocks of keys that any of them sees; scores, weights and sums of a group stay in the
 * caches. Where all queries see all of a block, their rows go through the softmax together.
 */
#include "num/cpu/attend.h"

#include <math.h>
#include <string.h>

#define QUERIES 48 /* at most in a group; else what block() likes */
#define KEYS    NUM_ATTEND_KEYS
#define LD      (KEYS + 32) /* spreads rows over the cache's sets */

struct group {
    const struct num_attend *a;
    size_t first, n;  /* queries */
    size_t low, high; /* positions that any of them sees */
    size_t ld_out;
    float scale;
    float *scores; /* (n, LD) */
    void *weights; /* (n, LD) in the keys' type; the scores themselves where that is float */
    float *out;    /* (n, ld_out) */
    struct num_running run[QUERIES];
};

static size_t padded(size_t n) {
    return NUM_PANELS(n) * NUM_PANEL;
}

static size_t clamp(size_t x, size_t low, size_t high) {
    return x < low ? low : x > high ? high : x;
}

static struct num_sight sight_of(const struct group *g, size_t row) {
    return g->a->sight ? g->a->sight[g->first + row] : (struct num_sight){0, g->a->n_keys};
}

static size_t block_bytes(const struct num_kv *kv) {
    return QUERIES * (LD * (sizeof(float) + sizeof(uint16_t)) + padded(kv->d) * sizeof(float));
}

/* Where kernels have a way of their own, rows that it cannot do need the other one as well. */
size_t num_attend_bytes(const struct num_kernels *kernels, const struct num_kv *kv) {
    return block_bytes(kv) + NUM_FLASH_ROWS * 64 * sizeof(float) + kernels->flash_bytes;
}

static void group_init(struct group *g, const struct num_attend *a, size_t first, size_t n,
                       void *work) {
    *g = (struct group){.a = a, .first = first, .n = n, .ld_out = padded(a->kv->d), .scores = work};
    g->low = sight_of(g, 0).low / KEYS * KEYS;
    g->high = sight_of(g, n - 1).high;
    g->scale = (float)(M_LOG2E / sqrt((double)a->kv->d)); /* powers of 2, not of e */
    g->out = g->scores + QUERIES * LD;
    g->weights = a->kv->type == NUM_COMPUTE_F32 ? g->scores : g->out + QUERIES * g->ld_out;
    for (size_t r = 0; r < n; r++)
        g->run[r] = (struct num_running){.max = -INFINITY};
}

/* ---- A block of keys ------------------------------------------------------------------------ */

/* n keys from t on become scores of whole panels. */
static void score(const struct group *g, size_t t, size_t n) {
    const struct num_attend *a = g->a;
    size_t panel_words = a->kv->d_words * NUM_PANEL;
    struct num_product qk = {.type = a->kv->type,
                             .x = (const char *)a->q + g->first * a->ldq,
                             .ldx = a->ldq,
                             .n_words = a->kv->d_words,
                             .w = a->head + t / NUM_PANEL * panel_words,
                             .panel_words = panel_words,
                             .n_panels = NUM_PANELS(n)};
    a->kernels->block(&qk, g->n, false, g->scores, LD);
}

/* out (+)= weights of n positions from t on, times their values. */
static void mix(const struct group *g, size_t t, size_t n) {
    const struct num_attend *a = g->a;
    enum num_compute type = a->kv->type;
    size_t per_word = num_per_word(type);
    struct num_product pv = {.type = type,
                             .x = g->weights,
                             .ldx = LD * sizeof(float) / per_word,
                             .n_words = padded(n) / per_word,
                             .w = a->head + a->kv->key_words + t / per_word * NUM_PANEL,
                             .panel_words = a->kv->len_words * NUM_PANEL,
                             .n_panels = NUM_PANELS(a->kv->d)};
    a->kernels->block(&pv, g->n, t > g->low, g->out, g->ld_out);
}

/* Weights of one row, zeros for what it does not see of n positions from t on. */
static void weigh_row(struct group *g, size_t row, size_t t, size_t n) {
    enum num_compute type = g->a->kv->type;
    size_t size = sizeof(float) / num_per_word(type), all = padded(n);
    struct num_sight sight = sight_of(g, row);
    size_t low = clamp(sight.low, t, t + n) - t, high = clamp(sight.high, t, t + n) - t;
    const float *x = g->scores + row * LD;
    char *weights = (char *)g->weights + row * LD * size;
    if (low == high) {
        g->run[row].fix = 1;
        memset(weights, 0, all * size);
        return;
    }
    memset(weights, 0, low * size);
    g->a->kernels->running_softmax(type, x + low, LD, 1, high - low, all - low, g->scale,
                                   &g->run[row], weights + low * size, LD);
}

static void weigh(struct group *g, size_t t, size_t n) {
    const struct num_kernels *k = g->a->kernels;
    if (sight_of(g, g->n - 1).low <= t && sight_of(g, 0).high >= t + n)
        k->running_softmax(g->a->kv->type, g->scores, LD, g->n, n, padded(n), g->scale, g->run,
                           g->weights, LD);
    else
        for (size_t r = 0; r < g->n; r++)
            weigh_row(g, r, t, n);
    for (size_t r = 0; r < g->n && t > g->low; r++)
        if (g->run[r].fix != 1)
            k->scale(g->out + r * g->ld_out, g->run[r].fix, g->ld_out);
}

/* ---- A group -------------------------------------------------------------------------------- */

static void write_row(const struct num_attend *a, size_t row, float *out, float sum) {
    char *to = (char *)a->out + row * a->ld_out;
    a->kernels->scale(out, 1 / sum, a->kv->d);
    if (a->out_type == NUM_COMPUTE_F32)
        memcpy(to, out, a->kv->d * sizeof *out);
    else
        a->kernels->to_bf16(out, a->kv->d, (uint16_t *)to);
}

static void group_run(struct group *g) {
    for (size_t t = g->low; t < g->high; t += KEYS) {
        size_t n = g->high - t < KEYS ? g->high - t : KEYS;
        score(g, t, n);
        weigh(g, t, n);
        mix(g, t, n);
    }
}

/* All of it at once; rows whose sums are too large are done as others are. */
static void group_flash(struct group *g, void *work) {
    const struct num_attend *a = g->a;
    float sums[NUM_FLASH_ROWS], *out = work;
    bool again = false;
    struct num_flash f = {.q = (const char *)a->q + g->first * a->ldq,
                          .ldq = a->ldq,
                          .n_queries = g->n,
                          .n_keys = a->n_keys,
                          .len_words = a->kv->len_words,
                          .keys = a->head,
                          .values = a->head + a->kv->key_words,
                          .scale = g->scale,
                          .out = out,
                          .ld_out = 64,
                          .sums = sums};
    a->kernels->flash(&f, out + NUM_FLASH_ROWS * f.ld_out);
    for (size_t r = 0; r < g->n; r++)
        again = again || !(sums[r] < NUM_FLASH_MOST);
    if (again)
        group_run(g);
    for (size_t r = 0; r < g->n; r++)
        if (sums[r] < NUM_FLASH_MOST)
            write_row(a, g->first + r, out + r * f.ld_out, sums[r]);
        else
            write_row(a, g->first + r, g->out + r * g->ld_out, g->run[r].sum);
}

static bool has_flash(const struct num_attend *a) {
    return a->kernels->flash && a->kv->type == NUM_COMPUTE_BF16 && !a->sight && a->kv->d > 32 &&
           a->kv->d <= 64;
}

void num_attend(const struct num_attend *a, void *work) {
    size_t step = a->kernels->block_rows < QUERIES ? a->kernels->block_rows : QUERIES;
    struct group g;
    a->kernels->enter();
    for (size_t r = 0; r < a->n_queries; r += step) {
        group_init(&g, a, r, a->n_queries - r < step ? a->n_queries - r : step, work);
        if (has_flash(a)) {
            group_flash(&g, (char *)work + block_bytes(a->kv));
            continue;
        }
        group_run(&g);
        for (size_t i = 0; i < g.n; i++)
            write_row(a, r + i, g.out + i * g.ld_out, g.run[i].sum);
    }
    a->kernels->leave();
}
