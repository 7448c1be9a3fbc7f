/*
 * Attention of a prompt's tokens in bfloat16, where the processor multiplies that: keys and values
 * of each head become panels once for all tokens of a pass, and many queries at a time meet them
 * (num/cpu/attend.h).
 */
#include <string.h>

#include "llm/cpu.h"
#include "num/cpu/attend.h"

#define TILE_ROWS 64 /* queries of a task, unless one item has more */

static struct num_kv panels_of(const struct lm_model *m, uint32_t context) {
    struct num_kv kv;
    num_kv_init(&kv, NUM_COMPUTE_BF16, context, m->config.head_dim);
    return kv;
}

bool lm_attend_prompt_pays(const struct lm_model *m) {
    return m->compute != LM_F32 && m->kernels->native_bf16;
}

size_t lm_attend_prompt_bytes(const struct lm_model *m, uint32_t context) {
    struct num_kv kv = panels_of(m, context);
    return lm_attend_prompt_pays(m) ? m->config.n_kv_heads * kv.head_words * sizeof(uint32_t) : 0;
}

/* ---- Panels --------------------------------------------------------------------------------- */

struct run {
    const struct lm_attention *a;
    struct num_kv kv;
    uint32_t *heads;  /* (n_kv_heads, kv.head_words) */
    size_t low, high; /* positions that any item sees, low on a page's first */
    size_t n_rep, per_tile, n_tiles;
};

/* One page of one head. */
static void unpack_task(void *ctx, uint32_t index, uint32_t thread) {
    const struct run *r = ctx;
    size_t n_heads = r->a->cpu->model->config.n_kv_heads, head = index % n_heads;
    size_t t = r->low + index / n_heads * LM_PAGE;
    struct num_cache_block block = lm_attention_block(r->a, 0, head, t);
    uint32_t *keys = r->heads + head * r->kv.head_words, *values = keys + r->kv.key_words;
    (void)thread;
    r->a->cpu->model->kernels->cache_unpack(&block, r->high - t < LM_PAGE ? r->high - t : LM_PAGE,
                                            keys + t * r->kv.d_words, values + t / 2 * NUM_PANEL,
                                            r->kv.len_words * NUM_PANEL);
}

/* ---- One tile ------------------------------------------------------------------------------- */

struct tile {
    const struct run *r;
    size_t first, head, n_rows; /* first item; queries */
    uint32_t *q;                /* (n_rows, d_words) */
    struct num_sight *sight;    /* (n_rows) */
    float *out;                 /* (n_rows, d) */
    void *work;
};

static size_t max_rows(const struct lm_model *m) {
    size_t n_rep = m->config.n_heads / m->config.n_kv_heads;
    return ((n_rep > TILE_ROWS ? n_rep : TILE_ROWS) + NUM_ROW_PAD - 1) / NUM_ROW_PAD * NUM_ROW_PAD;
}

size_t lm_attend_prompt_scratch(const struct lm_model *m) {
    struct num_kv kv = panels_of(m, 1);
    size_t row = kv.d_words * sizeof(uint32_t) + kv.d * sizeof(float) + sizeof(struct num_sight);
    return max_rows(m) * row + num_attend_bytes(m->kernels, &kv) + 4 * 64;
}

static char *place(char *at, size_t bytes, void *ret) {
    memcpy(ret, &at, sizeof at);
    return at + (bytes + 63) / 64 * 64;
}

/* Where a row's head begins in a row of queries, or of what was mixed. */
static size_t column(const struct tile *t, size_t row) {
    size_t head = t->head * t->r->n_rep + row % t->r->n_rep;
    return head * t->r->kv.d;
}

static size_t item_of(const struct tile *t, size_t row) {
    return t->first + row / t->r->n_rep;
}

static void tile_init(struct tile *t, char *scratch) {
    const struct num_kv *kv = &t->r->kv;
    const struct lm_cpu *cpu = t->r->a->cpu;
    size_t rows = max_rows(cpu->model);
    float ignored;
    scratch = place(scratch, rows * kv->d_words * sizeof *t->q, &t->q);
    scratch = place(scratch, rows * sizeof *t->sight, &t->sight);
    scratch = place(scratch, rows * kv->d * sizeof(float), &t->out);
    t->work = scratch;
    for (size_t r = 0; r < t->n_rows; r++) {
        size_t item = item_of(t, r);
        lm_attention_visible(t->r->a, item, &t->sight[r].low, &t->sight[r].high);
        num_row_convert(cpu->model->kernels, NUM_COMPUTE_BF16,
                        cpu->q + item * cpu->ld_q + column(t, r), kv->d, t->q + r * kv->d_words,
                        &ignored);
    }
}

static void tile_run(const struct tile *t) {
    const struct lm_cpu *cpu = t->r->a->cpu;
    const struct num_kv *kv = &t->r->kv;
    struct num_attend attend = {.kernels = cpu->model->kernels,
                                .kv = kv,
                                .head = t->r->heads + t->head * kv->head_words,
                                .sight = t->sight,
                                .n_queries = t->n_rows,
                                .q = t->q,
                                .ldq = kv->d_words * sizeof *t->q,
                                .out = t->out,
                                .ld_out = kv->d * sizeof *t->out};
    num_attend(&attend, t->work);
    for (size_t r = 0; r < t->n_rows; r++)
        memcpy(cpu->mixed + item_of(t, r) * cpu->ld_q + column(t, r), t->out + r * kv->d,
               kv->d * sizeof *t->out);
}

static void tile_task(void *ctx, uint32_t index, uint32_t thread) {
    const struct run *r = ctx;
    const struct lm_cpu *cpu = r->a->cpu;
    size_t n_heads = cpu->model->config.n_kv_heads;
    struct tile t = {.r = r, .first = index / n_heads * r->per_tile, .head = index % n_heads};
    size_t left = r->a->n - t.first;
    t.n_rows = (left < r->per_tile ? left : r->per_tile) * r->n_rep;
    tile_init(&t, cpu->scratch + thread * lm_attend_bytes(cpu->model));
    tile_run(&t);
}

void lm_attend_prompt(const struct lm_attention *a) {
    const struct lm_model *m = a->cpu->model;
    const struct lm_config *c = &m->config;
    size_t ignored;
    struct run r = {.a = a,
                    .kv = panels_of(m, a->cpu->context),
                    .heads = (uint32_t *)a->cpu->prompt_work,
                    .n_rep = c->n_heads / c->n_kv_heads};
    r.per_tile = r.n_rep > TILE_ROWS ? 1 : TILE_ROWS / r.n_rep;
    r.n_tiles = (a->n + r.per_tile - 1) / r.per_tile;
    lm_attention_visible(a, 0, &r.low, &ignored);
    lm_attention_visible(a, a->n - 1, &ignored, &r.high);
    r.low = r.low / NUM_ATTEND_KEYS * NUM_ATTEND_KEYS;
    size_t n_pages = (r.high - r.low + LM_PAGE - 1) / LM_PAGE;
    num_pool_run(m->pool, (uint32_t)(n_pages * c->n_kv_heads), unpack_task, &r);
    num_pool_run(m->pool, (uint32_t)(r.n_tiles * c->n_kv_heads), tile_task, &r);
}
