/*
 * Layers of stored blocks: which table runs, tiles of outputs into panels of sums, and the split
 * over threads. The products are in quant.inc, once for each instruction set.
 *
 * A tile is as many outputs as a table has lanes. The last tile of a matrix moves back until it
 * is whole and keeps what is its own; a matrix of fewer outputs than lanes goes one by one, all
 * lanes on the same.
 */
#include "num/cpu/quant.h"

#include <string.h>

#define MAX_ROWS           16         /* of inputs that share one pass over the weights */
#define BYTES_WORTH_A_TASK (48 << 10) /* of weights: some microseconds */

extern const struct num_quant_kernels num_quant_sse2;

#ifdef __x86_64__
extern const struct num_quant_kernels num_quant_avx2, num_quant_avx512vnni;

static bool has_vbmi(void) {
    return __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni");
}
#endif

const struct num_quant_kernels *num_quant_kernels(const struct num_kernels *kernels) {
#ifdef __x86_64__
    bool vnni = strcmp(kernels->name, "amx") == 0 || strcmp(kernels->name, "avx512bf16") == 0;
    if (vnni && has_vbmi())
        return &num_quant_avx512vnni;
    if (strcmp(kernels->name, "sse2") != 0)
        return &num_quant_avx2;
#endif
    (void)kernels;
    return &num_quant_sse2;
}

/* ---- Layers --------------------------------------------------------------------------------- */

bool num_stored_fits(const struct num_weights *const *parts, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!num_quant_has(parts[i]->type) || parts[i]->type != parts[0]->type)
            return false;
    return n > 0 && n <= NUM_QUANT_MAX_PARTS;
}

int32_t num_stored_init(struct num_stored *ret, const struct num_weights *const *parts, size_t n,
                        struct num_arena *arena, struct num_err *err) {
    struct num_stored s = {.type = parts[0]->type,
                           .n_out = n * parts[0]->rows,
                           .k = parts[0]->cols,
                           .part_rows = parts[0]->rows,
                           .row_bytes = parts[0]->row_bytes};
    for (size_t i = 0; i < n; i++)
        s.parts[i] = parts[i]->data;
    int32_t status = num_arena_take(arena, NUM_PANELS(s.n_out) * NUM_PANEL * sizeof(float),
                                    "the bias of a layer", &s.bias, err);
    if (!status)
        *ret = s;
    return status;
}

int32_t num_stored_copy(struct num_stored *s, struct num_arena *arena, struct num_err *err) {
    size_t bytes = s->part_rows * s->row_bytes;
    uint8_t *copy;
    int32_t status =
        num_arena_take(arena, s->n_out * s->row_bytes, "the weights of a layer", &copy, err);
    if (status)
        return status;
    for (size_t i = 0; i < s->n_out / s->part_rows; i++) {
        memcpy(copy + i * bytes, s->parts[i], bytes);
        s->parts[i] = copy + i * bytes;
    }
    return SLUICE_OK;
}

size_t num_stored_bytes(enum num_weight_type type, size_t n_out, size_t k) {
    size_t row = k / num_weight_block(type) * num_weight_block_bytes(type);
    return NUM_PANELS(n_out) * NUM_PANEL * (row + sizeof(float)) + 2 * 64;
}

int32_t num_stored_create(struct num_stored *ret, enum num_weight_type type, size_t n_out, size_t k,
                          struct num_arena *arena, struct num_err *err) {
    struct num_stored s = {.type = type, .n_out = n_out, .k = k, .turned = true};
    size_t n = NUM_PANELS(n_out) * NUM_PANEL;
    uint8_t *blocks;
    s.part_rows = n;
    s.row_bytes = k / num_weight_block(type) * num_weight_block_bytes(type);
    int32_t status = num_arena_take(arena, n * s.row_bytes, "the weights of a layer", &blocks, err);
    if (!status)
        status = num_arena_take(arena, n * sizeof(float), "the bias of a layer", &s.bias, err);
    s.parts[0] = blocks;
    if (!status)
        *ret = s;
    return status;
}

/* Where 16 bits stand apart from a block's words: they come first, or (Q6_K) last. */
static size_t halves_at(enum num_weight_type type) {
    size_t bytes = num_weight_block_bytes(type);
    return bytes % 4 == 0 ? bytes : type == NUM_WEIGHT_Q6_K ? bytes - 2 : 0;
}

/* One block of `lanes` rows, side by side. */
static void turn_block(enum num_weight_type type, const uint8_t *const *rows, size_t offset,
                       size_t lanes, uint8_t *to) {
    size_t bytes = num_weight_block_bytes(type), halves = halves_at(type);
    for (size_t at = 0, n; at < bytes; at += n) {
        n = at == halves ? 2 : 4;
        for (size_t lane = 0; lane < lanes; lane++)
            if (rows[lane])
                memcpy(to + at * lanes + lane * n, rows[lane] + offset + at, n);
    }
}

void num_stored_turn(const struct num_stored *s, const struct num_kernels *kernels, size_t panel,
                     const uint8_t *const rows[NUM_PANEL]) {
    size_t lanes = num_quant_kernels(kernels)->lanes, bytes = num_weight_block_bytes(s->type);
    uint8_t *to = (uint8_t *)s->parts[0] + panel * NUM_PANEL * s->row_bytes;
    for (size_t o = 0; o < NUM_PANEL; o += lanes)
        for (size_t at = 0; at < s->row_bytes; at += bytes)
            turn_block(s->type, rows + o, at, lanes, to + o * s->row_bytes + at * lanes);
}

void num_stored_unpack(const struct num_stored *s, const struct num_kernels *kernels, size_t panel,
                       uint32_t *ret) {
    const struct num_quant_kernels *quant = num_quant_kernels(kernels);
    const uint8_t *from = s->parts[0] + panel * NUM_PANEL * s->row_bytes;
    for (size_t o = 0; o < NUM_PANEL; o += quant->lanes)
        quant->unpack[s->type](from + o * s->row_bytes, s->row_bytes, s->k, ret + o);
}

void num_stored_row(const struct num_stored *s, size_t out, float *ret) {
    struct num_weights view = {
        .type = s->type, .rows = s->part_rows, .cols = s->k, .row_bytes = s->row_bytes};
    view.data = s->parts[out / s->part_rows];
    num_weights_to_f32(&view, out % s->part_rows, 1, ret);
}

/* ---- Products ------------------------------------------------------------------------------- */

struct product {
    const struct num_stored *layer;
    const struct num_quant_kernels *quant;
    const char *x;
    size_t ldx, n_rows; /* at most MAX_ROWS */
};

static void run_tile(const struct product *p, const uint8_t *w, size_t stride, float *sums) {
    p->quant->tile[p->layer->type](w, stride, p->layer->k, p->x, p->ldx, p->n_rows, sums);
}

/* Outputs [first, first + n) of one part, n at most the lanes, to `to` (rows NUM_PANEL apart). */
static void part_outputs(const struct product *p, const uint8_t *part, size_t first, size_t n,
                         float *to) {
    _Alignas(64) float sums[MAX_ROWS * NUM_QUANT_MAX_LANES];
    size_t lanes = p->quant->lanes, bytes = p->layer->row_bytes;
    if (first + n < lanes) {
        for (size_t o = 0; o < n; o++) {
            run_tile(p, part + (first + o) * bytes, 0, sums);
            for (size_t r = 0; r < p->n_rows; r++)
                to[r * NUM_PANEL + o] = sums[r * lanes];
        }
        return;
    }
    size_t back = lanes - n;
    run_tile(p, part + (first - back) * bytes, bytes, sums);
    for (size_t r = 0; r < p->n_rows; r++)
        memcpy(to + r * NUM_PANEL, sums + r * lanes + back, n * sizeof *to);
}

/* A panel of turned rows. */
static void turned_outputs(const struct product *p, size_t first, float *to) {
    _Alignas(64) float sums[MAX_ROWS * NUM_QUANT_MAX_LANES];
    const struct num_stored *s = p->layer;
    size_t lanes = p->quant->lanes;
    for (size_t o = 0; o < NUM_PANEL; o += lanes) {
        p->quant->turned[s->type](s->parts[0] + (first + o) * s->row_bytes, s->row_bytes, s->k,
                                  p->x, p->ldx, p->n_rows, sums);
        for (size_t r = 0; r < p->n_rows; r++)
            memcpy(to + r * NUM_PANEL + o, sums + r * lanes, lanes * sizeof *to);
    }
}

/* Outputs [first, first + n), at most a panel, of whatever parts. */
static void panel_outputs(const struct product *p, size_t first, size_t n, float *to) {
    const struct num_stored *s = p->layer;
    if (s->turned) {
        turned_outputs(p, first, to);
        return;
    }
    for (size_t o = 0, some; o < n; o += some) {
        size_t out = first + o, at = out % s->part_rows, left = s->part_rows - at;
        some = p->quant->lanes;
        some = some > n - o ? n - o : some;
        some = some > left ? left : some;
        part_outputs(p, s->parts[out / s->part_rows], at, some, to + o);
    }
}

void num_stored_rows(const struct num_stored *s, const struct num_kernels *kernels,
                     size_t first_out, size_t n_out, const void *x, size_t ldx, size_t n_rows,
                     const struct num_finish *finish) {
    _Alignas(64) float sums[MAX_ROWS * NUM_PANEL];
    struct num_finish f = *finish;
    f.bias = s->bias;
    f.out_scale = f.row_scale = NULL;
    for (size_t r = 0; r < n_rows; r += MAX_ROWS) {
        struct product p = {s, num_quant_kernels(kernels), (const char *)x + r * ldx, ldx,
                            n_rows - r < MAX_ROWS ? n_rows - r : MAX_ROWS};
        for (size_t o = 0; o < n_out; o += NUM_PANEL) {
            size_t n = n_out - o < NUM_PANEL ? n_out - o : NUM_PANEL;
            if (n < NUM_PANEL)
                memset(sums, 0, sizeof sums);
            panel_outputs(&p, first_out + o, n, sums);
            kernels->finish(&f, sums, NUM_PANEL, r, p.n_rows, first_out + o, NUM_PANEL);
        }
    }
}

struct run {
    const struct num_stored *layer;
    const struct num_kernels *kernels;
    const void *x;
    size_t ldx, n_rows, n_panels, n_tasks;
    const struct num_finish *finish;
};

static void run_task(void *ctx, uint32_t index, uint32_t thread) {
    const struct run *r = ctx;
    (void)thread;
    size_t first = r->n_panels * index / r->n_tasks * NUM_PANEL;
    size_t end = r->n_panels * (index + 1) / r->n_tasks * NUM_PANEL;
    end = end < r->layer->n_out ? end : r->layer->n_out;
    num_stored_rows(r->layer, r->kernels, first, end - first, r->x, r->ldx, r->n_rows, r->finish);
}

void num_stored_run(const struct num_stored *s, const struct num_kernels *kernels,
                    struct num_pool *pool, const void *x, size_t ldx, size_t n_rows,
                    const struct num_finish *finish) {
    struct run run = {s, kernels, x, ldx, n_rows, NUM_PANELS(s->n_out), 1, finish};
    size_t n_tasks = s->n_out * s->row_bytes * n_rows / BYTES_WORTH_A_TASK;
    size_t limit = 4 * (size_t)num_pool_threads(pool);
    n_tasks = n_tasks > limit ? limit : n_tasks;
    run.n_tasks = n_tasks > run.n_panels ? run.n_panels : n_tasks < 1 ? 1 : n_tasks;
    num_pool_run(pool, (uint32_t)run.n_tasks, run_task, &run);
}
