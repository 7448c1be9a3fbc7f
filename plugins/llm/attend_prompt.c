/*
 * Attention of a prompt's tokens in bfloat16, where the processor multiplies that: keys and values
 * of each head become panels once for all tokens of a pass, and many queries at a time meet them.
 * The softmax is a running one over blocks of SPAN positions, as in attend.c; weights are rounded,
 * their sum is not.
 */
#include <math.h>
#include <string.h>

#include "llm/cpu.h"

#define SPAN        256 /* positions between two steps of the softmax */
#define SPAN_PANELS (SPAN / NUM_PANEL)
#define SPAN_WORDS  (SPAN / 2)
#define TILE_ROWS   64 /* queries of a task, unless one item has more */

/* One head's keys, (context / 32, d_words, 32), and values, (dp / 32, context / 2, 32). */
struct panels {
    size_t d_words, dp, len; /* len: positions, whole spans */
    size_t head_words;       /* from head to head */
    uint32_t *base;
};

static size_t whole_spans(size_t n) {
    return (n + SPAN - 1) / SPAN * SPAN;
}

static struct panels panels_of(const struct lm_model *m, uint32_t context, void *base) {
    struct panels p = {.d_words = num_words(NUM_COMPUTE_BF16, m->config.head_dim),
                       .dp = num_cache_width(m->config.head_dim),
                       .len = whole_spans(context),
                       .base = base};
    p.head_words = p.len * p.d_words + p.len / 2 * p.dp;
    return p;
}

static uint32_t *values_of(const struct panels *p, size_t head) {
    return p->base + head * p->head_words + p->len * p->d_words;
}

bool lm_attend_prompt_pays(const struct lm_model *m) {
    return m->compute != LM_F32 && m->kernels->native_bf16;
}

size_t lm_attend_prompt_bytes(const struct lm_model *m, uint32_t context) {
    struct panels p = panels_of(m, context, NULL);
    return lm_attend_prompt_pays(m) ? m->config.n_kv_heads * p.head_words * sizeof(uint32_t) : 0;
}

/* ---- Panels --------------------------------------------------------------------------------- */

struct run {
    const struct lm_attention *a;
    struct panels panels;
    size_t low, high; /* positions that any item sees */
    size_t n_rep, per_tile, n_tiles;
};

/* One page of one head. */
static void unpack_task(void *ctx, uint32_t index, uint32_t thread) {
    const struct run *r = ctx;
    const struct panels *p = &r->panels;
    size_t n_heads = r->a->cpu->model->config.n_kv_heads, head = index % n_heads;
    size_t t = r->low / SPAN * SPAN + index / n_heads * LM_PAGE;
    struct num_cache_block block = lm_attention_block(r->a, 0, head, t);
    (void)thread;
    r->a->cpu->model->kernels->cache_unpack(&block, r->high - t < LM_PAGE ? r->high - t : LM_PAGE,
                                            p->base + head * p->head_words + t * p->d_words,
                                            values_of(p, head) + t / 2 * NUM_PANEL,
                                            p->len / 2 * NUM_PANEL);
}

/* ---- One tile ------------------------------------------------------------------------------- */

struct tile {
    const struct run *r;
    size_t first, n, head, n_rows; /* items; queries */
    uint32_t *q;                   /* (n_rows, d_words) */
    float *scores;                 /* (n_rows, SPAN) */
    uint16_t *weights;             /* (n_rows, SPAN) */
    float *sums;                   /* (n_rows, dp) */
    struct num_running *running;
};

static size_t max_rows(const struct lm_model *m) {
    size_t n_rep = m->config.n_heads / m->config.n_kv_heads;
    return ((n_rep > TILE_ROWS ? n_rep : TILE_ROWS) + NUM_ROW_PAD - 1) / NUM_ROW_PAD * NUM_ROW_PAD;
}

size_t lm_attend_prompt_scratch(const struct lm_model *m) {
    struct panels p = panels_of(m, 1, NULL);
    size_t row = 4 * p.d_words + SPAN * (sizeof(float) + sizeof(uint16_t)) + 4 * p.dp;
    return max_rows(m) * (row + sizeof(struct num_running)) + 5 * 64;
}

static char *place(char *at, size_t bytes, void *ret) {
    memcpy(ret, &at, sizeof at);
    return at + (bytes + 63) / 64 * 64;
}

/* Where a row's head begins in a row of queries, or of what was mixed. */
static size_t column(const struct tile *t, size_t row) {
    size_t head = t->head * t->r->n_rep + row % t->r->n_rep;
    return head * t->r->a->cpu->model->config.head_dim;
}

static void tile_init(struct tile *t, char *scratch) {
    const struct panels *p = &t->r->panels;
    const struct lm_cpu *cpu = t->r->a->cpu;
    size_t rows = max_rows(cpu->model);
    float ignored;
    scratch = place(scratch, rows * p->d_words * 4, &t->q);
    scratch = place(scratch, rows * SPAN * sizeof(float), &t->scores);
    scratch = place(scratch, rows * SPAN * sizeof(uint16_t), &t->weights);
    scratch = place(scratch, rows * p->dp * sizeof(float), &t->sums);
    place(scratch, rows * sizeof *t->running, &t->running);
    memset(t->sums, 0, rows * p->dp * sizeof(float));
    for (size_t r = 0; r < t->n_rows; r++) {
        size_t item = t->first + r / t->r->n_rep;
        t->running[r] = (struct num_running){.max = -INFINITY};
        num_row_convert(cpu->model->kernels, NUM_COMPUTE_BF16,
                        cpu->q + item * cpu->ld_q + column(t, r), cpu->model->config.head_dim,
                        t->q + r * p->d_words, &ignored);
    }
}

static size_t clamp(size_t x, size_t low, size_t high) {
    return x < low ? low : x > high ? high : x;
}

/* Scores of one row to weights: zeros for what it does not see of positions [base, base + n). */
static void weigh_row(struct tile *t, size_t row, size_t base, size_t n, float scale) {
    const struct num_kernels *kernels = t->r->a->cpu->model->kernels;
    uint16_t *p = t->weights + row * SPAN;
    size_t low, high;
    lm_attention_visible(t->r->a, t->first + row / t->r->n_rep, &low, &high);
    low = clamp(low, base, base + n) - base;
    high = clamp(high, base, base + n) - base;
    t->running[row].fix = 1;
    memset(p, 0, low * sizeof *p);
    if (low < high)
        kernels->running_softmax(NUM_COMPUTE_BF16, t->scores + row * SPAN + low, SPAN, 1,
                                 high - low, n - low, scale, &t->running[row], p + low, SPAN);
    else
        memset(p, 0, n * sizeof *p);
    if (t->running[row].fix != 1)
        kernels->scale(t->sums + row * t->r->panels.dp, t->running[row].fix, t->r->panels.dp);
}

/* Positions [base, base + n), n whole pages. */
static void span(struct tile *t, size_t base, size_t n) {
    const struct lm_model *m = t->r->a->cpu->model;
    const struct panels *p = &t->r->panels;
    struct num_product qk = {.type = NUM_COMPUTE_BF16,
                             .x = t->q,
                             .ldx = 4 * p->d_words,
                             .n_words = p->d_words,
                             .w = p->base + t->head * p->head_words + base * p->d_words,
                             .panel_words = p->d_words * NUM_PANEL,
                             .n_panels = n / NUM_PANEL};
    struct num_product pv = {.type = NUM_COMPUTE_BF16,
                             .x = t->weights,
                             .ldx = SPAN * sizeof(uint16_t),
                             .n_words = n / 2,
                             .w = values_of(p, t->head) + base / 2 * NUM_PANEL,
                             .panel_words = p->len / 2 * NUM_PANEL,
                             .n_panels = p->dp / NUM_PANEL};
    num_product_run(m->kernels, &qk, t->n_rows, false, t->scores, SPAN);
    for (size_t r = 0; r < t->n_rows; r++)
        weigh_row(t, r, base, n, (float)(M_LOG2E / sqrt((double)m->config.head_dim)));
    num_product_run(m->kernels, &pv, t->n_rows, true, t->sums, p->dp);
}

static size_t whole_pages(size_t n) {
    return (n + LM_PAGE - 1) / LM_PAGE * LM_PAGE;
}

static void tile_task(void *ctx, uint32_t index, uint32_t thread) {
    const struct run *r = ctx;
    const struct lm_cpu *cpu = r->a->cpu;
    const struct lm_config *c = &cpu->model->config;
    struct tile t = {
        .r = r, .first = index / c->n_kv_heads * r->per_tile, .head = index % c->n_kv_heads};
    size_t low, high, ignored;
    t.n = r->a->n - t.first < r->per_tile ? r->a->n - t.first : r->per_tile;
    t.n_rows = t.n * r->n_rep;
    lm_attention_visible(r->a, t.first, &low, &ignored);
    lm_attention_visible(r->a, t.first + t.n - 1, &ignored, &high);
    tile_init(&t, cpu->scratch + thread * lm_attend_bytes(cpu->model));
    cpu->model->kernels->enter();
    for (size_t base = low / SPAN * SPAN; base < high; base += SPAN)
        span(&t, base, whole_pages(high - base) < SPAN ? whole_pages(high - base) : SPAN);
    cpu->model->kernels->leave();
    for (size_t row = 0; row < t.n_rows; row++) {
        float *sums = t.sums + row * r->panels.dp;
        cpu->model->kernels->scale(sums, 1 / t.running[row].sum, c->head_dim);
        memcpy(cpu->mixed + (t.first + row / r->n_rep) * cpu->ld_q + column(&t, row), sums,
               c->head_dim * sizeof *sums);
    }
}

void lm_attend_prompt(const struct lm_attention *a) {
    const struct lm_model *m = a->cpu->model;
    const struct lm_config *c = &m->config;
    size_t ignored;
    struct run r = {.a = a,
                    .panels = panels_of(m, a->cpu->context, a->cpu->prompt_work),
                    .n_rep = c->n_heads / c->n_kv_heads};
    r.per_tile = r.n_rep > TILE_ROWS ? 1 : TILE_ROWS / r.n_rep;
    r.n_tiles = (a->n + r.per_tile - 1) / r.per_tile;
    lm_attention_visible(a, 0, &r.low, &ignored);
    lm_attention_visible(a, a->n - 1, &ignored, &r.high);
    size_t n_pages = (r.high - r.low / SPAN * SPAN + LM_PAGE - 1) / LM_PAGE;
    num_pool_run(m->pool, (uint32_t)(n_pages * c->n_kv_heads), unpack_task, &r);
    num_pool_run(m->pool, (uint32_t)(r.n_tiles * c->n_kv_heads), tile_task, &r);
}
