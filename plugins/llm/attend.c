/*
 * Attention over pages. A task is one head of keys and values and a few items of one request: the
 * queries that share the head, of all those items, pass over the positions in blocks of SPAN, with
 * a running softmax (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018).
 * Blocks begin at multiples of SPAN, whatever an item sees, so that its sums have one order.
 */
#include <math.h>
#include <string.h>

#include "llm/cpu.h"

#define SPAN      256 /* positions between two steps of the softmax */
#define TILE_ROWS 16  /* queries of a task, unless one item has more */

struct tile {
    const struct lm_attention *a;
    size_t first, n; /* items */
    size_t head;     /* of keys and values */
    size_t n_rows, n_rep, d, dp;
    float *q;      /* (n_rows, d) */
    float *scores; /* (n_rows, SPAN) */
    float *sums;   /* (n_rows, dp) */
    struct num_running *running;
};

/* How many queries a task has at most: those of one item, or as many items as fit. */
static size_t max_rows(const struct lm_config *c) {
    size_t n_rep = c->n_heads / c->n_kv_heads;
    return n_rep > TILE_ROWS ? n_rep : TILE_ROWS;
}

size_t lm_attend_bytes(const struct lm_model *model) {
    const struct lm_config *c = &model->config;
    size_t floats = c->head_dim + SPAN + num_cache_width(c->head_dim);
    size_t bytes = max_rows(c) * (floats * sizeof(float) + sizeof(struct num_running)) + 4 * 64;
    size_t prompt = lm_attend_prompt_scratch(model);
    return bytes > prompt ? bytes : prompt;
}

struct num_cache_block lm_attention_block(const struct lm_attention *a, size_t item, size_t head,
                                          size_t position) {
    const struct lm_cpu *cpu = a->cpu;
    size_t page = a->items[item].pages[position / LM_PAGE];
    return (struct num_cache_block){cpu->kv_type, cpu->model->config.head_dim,
                                    cpu->pages + page * cpu->page_bytes +
                                        a->layer * cpu->layer_bytes + head * cpu->head_bytes};
}

static struct num_cache_block block_of(const struct tile *t, size_t position) {
    return lm_attention_block(t->a, t->first, t->head, position);
}

/* ---- Keys and values ------------------------------------------------------------------------- */

static void put_task(void *ctx, uint32_t index, uint32_t thread) {
    const struct lm_attention *a = ctx;
    const struct lm_config *c = &a->cpu->model->config;
    size_t n_tasks = (a->n + TILE_ROWS - 1) / TILE_ROWS;
    (void)thread;
    for (size_t i = a->n * index / n_tasks; i < a->n * (index + 1) / n_tasks; i++) {
        struct tile t = {.a = a, .first = i, .d = c->head_dim};
        for (t.head = 0; t.head < c->n_kv_heads; t.head++) {
            struct num_cache_block block = block_of(&t, a->items[i].position);
            size_t at = i * a->cpu->ld_kv + t.head * t.d;
            a->cpu->model->kernels->cache_put(&block, a->items[i].position % LM_PAGE,
                                              a->cpu->k + at, a->cpu->v + at);
        }
    }
}

/* ---- One tile ------------------------------------------------------------------------------- */

static char *place(char *at, size_t bytes, void *ret) {
    memcpy(ret, &at, sizeof at);
    return at + (bytes + 63) / 64 * 64;
}

static void tile_init(struct tile *t, char *scratch) {
    const struct lm_cpu *cpu = t->a->cpu;
    scratch = place(scratch, t->n_rows * t->d * sizeof(float), &t->q);
    scratch = place(scratch, t->n_rows * SPAN * sizeof(float), &t->scores);
    scratch = place(scratch, t->n_rows * t->dp * sizeof(float), &t->sums);
    place(scratch, t->n_rows * sizeof *t->running, &t->running);
    memset(t->sums, 0, t->n_rows * t->dp * sizeof(float));
    for (size_t r = 0; r < t->n_rows; r++) {
        t->running[r] = (struct num_running){.max = -INFINITY};
        size_t item = t->first + r / t->n_rep, head = t->head * t->n_rep + r % t->n_rep;
        memcpy(t->q + r * t->d, cpu->q + item * cpu->ld_q + head * t->d, t->d * sizeof(float));
    }
}

void lm_attention_visible(const struct lm_attention *a, size_t item, size_t *ret_low,
                          size_t *ret_high) {
    *ret_high = a->items[item].position + 1;
    *ret_low = a->window && *ret_high > a->window ? *ret_high - a->window : 0;
}

static size_t clamp(size_t x, size_t low, size_t high) {
    return x < low ? low : x > high ? high : x;
}

/* Scores of the block from `base` on to weights, for one row; zeros for what it does not see. */
static void weigh_row(struct tile *t, size_t row, size_t base, size_t n) {
    const struct num_kernels *kernels = t->a->cpu->model->kernels;
    float *x = t->scores + row * SPAN, scale = (float)(M_LOG2E / sqrt((double)t->d));
    size_t low, high;
    lm_attention_visible(t->a, t->first + row / t->n_rep, &low, &high);
    low = clamp(low, base, base + n) - base;
    high = clamp(high, base, base + n) - base;
    if (low >= high) {
        memset(x, 0, n * sizeof *x);
        return;
    }
    kernels->running_softmax(NUM_COMPUTE_F32, x + low, SPAN, 1, high - low, high - low, scale,
                             &t->running[row], x + low, SPAN);
    memset(x, 0, low * sizeof *x);
    memset(x + high, 0, (n - high) * sizeof *x);
    if (t->running[row].fix != 1)
        kernels->scale(t->sums + row * t->dp, t->running[row].fix, t->dp);
}

/* Positions [base, base + n), n at most SPAN. */
static void span(struct tile *t, size_t base, size_t n, size_t low) {
    const struct num_kernels *kernels = t->a->cpu->model->kernels;
    size_t first = low > base ? (low - base) / LM_PAGE * LM_PAGE : 0;
    for (size_t i = first; i < n; i += LM_PAGE) {
        struct num_cache_block block = block_of(t, base + i);
        kernels->cache_scores(&block, t->q, t->d, t->n_rows, t->scores + i, SPAN);
    }
    for (size_t r = 0; r < t->n_rows; r++)
        weigh_row(t, r, base, n);
    for (size_t i = first; i < n; i += LM_PAGE) {
        struct num_cache_block block = block_of(t, base + i);
        kernels->cache_mix(&block, n - i < LM_PAGE ? n - i : LM_PAGE, t->scores + i, SPAN,
                           t->n_rows, t->sums, t->dp);
    }
}

static void tile_run(struct tile *t, char *scratch) {
    const struct lm_cpu *cpu = t->a->cpu;
    size_t low, ignored, high;
    lm_attention_visible(t->a, t->first, &low, &ignored);
    lm_attention_visible(t->a, t->first + t->n - 1, &ignored, &high);
    tile_init(t, scratch);
    for (size_t base = low / SPAN * SPAN; base < high; base += SPAN)
        span(t, base, high - base < SPAN ? high - base : SPAN, low);
    for (size_t r = 0; r < t->n_rows; r++) {
        size_t item = t->first + r / t->n_rep, head = t->head * t->n_rep + r % t->n_rep;
        float *sums = t->sums + r * t->dp;
        cpu->model->kernels->scale(sums, 1 / t->running[r].sum, t->d);
        memcpy(cpu->mixed + item * cpu->ld_q + head * t->d, sums, t->d * sizeof *sums);
    }
}

/* ---- All of them ---------------------------------------------------------------------------- */

struct run {
    const struct lm_attention *a;
    size_t per_tile, n_tiles; /* items of a tile; tiles of one head */
};

static void attend_task(void *ctx, uint32_t index, uint32_t thread) {
    const struct run *r = ctx;
    const struct lm_config *c = &r->a->cpu->model->config;
    struct tile t = {.a = r->a,
                     .first = index / c->n_kv_heads * r->per_tile,
                     .head = index % c->n_kv_heads,
                     .n_rep = c->n_heads / c->n_kv_heads,
                     .d = c->head_dim,
                     .dp = num_cache_width(c->head_dim)};
    t.n = r->a->n - t.first < r->per_tile ? r->a->n - t.first : r->per_tile;
    t.n_rows = t.n * t.n_rep;
    tile_run(&t, r->a->cpu->scratch + thread * lm_attend_bytes(r->a->cpu->model));
}

#define SCORES_WORTH_A_THREAD 4096 /* some 20 us */

void lm_attend(const struct lm_attention *a) {
    const struct lm_config *c = &a->cpu->model->config;
    struct num_pool *pool = a->cpu->model->pool;
    size_t n_rep = c->n_heads / c->n_kv_heads, work = 0;
    struct run run = {.a = a, .per_tile = a->prompt ? max_rows(c) / n_rep : 1};
    run.n_tiles = (a->n + run.per_tile - 1) / run.per_tile;
    for (size_t i = 0; i < a->n; i++)
        work += (a->items[i].position + 1) * c->n_heads;
    uint32_t n_tasks = (uint32_t)(run.n_tiles * c->n_kv_heads);
    num_pool_run(pool, (uint32_t)((a->n + TILE_ROWS - 1) / TILE_ROWS), put_task, (void *)a);
    if (a->prompt && lm_attend_prompt_pays(a->cpu->model)) {
        lm_attend_prompt(a);
        return;
    }
    if (work >= SCORES_WORTH_A_THREAD) {
        num_pool_run(pool, n_tasks, attend_task, &run);
        return;
    }
    for (uint32_t i = 0; i < n_tasks; i++)
        attend_task(&run, i, 0);
}
