/*
 * Layers over panels; linear.h says what they compute. Variants that were tried, with figures:
 * docs/decisions/cpu-kernels.md.
 *
 * Many rows go panel by panel: a panel's words, at most K_WORDS at a time, stay in the first cache
 * while rows pass by from the second, and the sums of a panel (ROWS x 32) are finished while they
 * are hot. Few rows go over several panels at once, in the order of memory.
 */
#include "num/cpu/linear.h"

#include <stdlib.h>
#include <string.h>

#include "num/half.h"

#define ROWS       256 /* of sums of one panel on the stack, twice */
#define K_WORDS    256 /* at most in one go */
#define K_PIECE    192 /* else in pieces of about so many */
#define FEW_PANELS 8

/* ---- Weights -------------------------------------------------------------------------------- */

static size_t panel_words(const struct num_linear *linear) {
    return linear->n_words * NUM_PANEL;
}

size_t num_linear_bytes(enum num_compute type, size_t n_out, size_t k) {
    size_t n = NUM_PANELS(n_out) * NUM_PANEL, lines = 3 * 64;
    return n * (num_words(type, k) + (type == NUM_COMPUTE_INT8 ? 3 : 1)) * 4 + lines;
}

int32_t num_linear_create(struct num_linear *ret, enum num_compute type, size_t n_out, size_t k,
                          struct num_arena *arena, struct num_err *err) {
    const char *what = "the weights of a layer";
    size_t n = NUM_PANELS(n_out) * NUM_PANEL;
    struct num_linear l = {.type = type, .n_out = n_out, .k = k, .n_words = num_words(type, k)};
    int32_t status = num_arena_take(arena, n * l.n_words * 4, what, &l.panels, err);
    if (!status)
        status = num_arena_take(arena, n * sizeof(float), what, &l.bias, err);
    if (!status && type == NUM_COMPUTE_INT8)
        status = num_arena_take(arena, n * sizeof(float), what, &l.scale, err);
    if (!status && type == NUM_COMPUTE_INT8)
        status = num_arena_take(arena, n * sizeof(int32_t), what, &l.offset, err);
    if (!status)
        *ret = l;
    return status;
}

static void pack_f32(const struct num_linear *l, uint32_t *panel, const float *rows, size_t n) {
    for (size_t i = 0; i < l->k; i++)
        for (size_t o = 0; o < n; o++)
            memcpy(&panel[i * NUM_PANEL + o], &rows[o * l->k + i], 4);
}

static void pack_bf16(const struct num_linear *l, uint32_t *panel, const float *rows, size_t n) {
    for (size_t i = 0; i < l->k; i += 2)
        for (size_t o = 0; o < n; o++) {
            const float *x = rows + o * l->k + i;
            uint32_t low = num_f32_to_bf16(x[0]), high = i + 1 < l->k ? num_f32_to_bf16(x[1]) : 0;
            panel[i / 2 * NUM_PANEL + o] = low | high << 16;
        }
}

static void pack_int8(const struct num_linear *l, const struct num_kernels *kernels, size_t first,
                      uint32_t *panel, const float *rows, size_t n) {
    int8_t q[l->k + 4];
    for (size_t o = 0; o < n; o++) {
        int32_t sum = 0;
        memset(q + l->k, 0, 4);
        l->scale[first + o] = kernels->to_int8(rows + o * l->k, l->k, q);
        for (size_t i = 0; i < l->k; i++)
            sum += q[i];
        for (size_t i = 0; i < l->k; i += 4)
            memcpy(&panel[i / 4 * NUM_PANEL + o], q + i, 4);
        l->offset[first + o] = -128 * sum;
    }
}

void num_linear_pack(struct num_linear *l, const struct num_kernels *kernels, size_t index,
                     const float *rows) {
    uint32_t *panel = l->panels + index * panel_words(l);
    size_t first = index * NUM_PANEL, n = l->n_out - first;
    n = n < NUM_PANEL ? n : NUM_PANEL;
    if (l->type == NUM_COMPUTE_F32)
        pack_f32(l, panel, rows, n);
    else if (l->type == NUM_COMPUTE_BF16)
        pack_bf16(l, panel, rows, n);
    else
        pack_int8(l, kernels, first, panel, rows, n);
}

int32_t num_linear_init(struct num_linear *ret, enum num_compute type, size_t n_out, size_t k,
                        const float *weight, const float *bias, struct num_arena *arena,
                        struct num_err *err) {
    int32_t status = num_linear_create(ret, type, n_out, k, arena, err);
    const struct num_kernels *kernels = num_kernels();
    if (status)
        return status;
    for (size_t p = 0; p < NUM_PANELS(n_out); p++)
        num_linear_pack(ret, kernels, p, weight + p * NUM_PANEL * k);
    if (bias)
        memcpy(ret->bias, bias, n_out * sizeof *bias);
    return SLUICE_OK;
}

void num_linear_row(const struct num_linear *l, size_t out, float *ret) {
    const uint32_t *w = l->panels + out / NUM_PANEL * panel_words(l) + out % NUM_PANEL;
    for (size_t i = 0; i < l->k; i++) {
        uint32_t word = w[i / num_per_word(l->type) * NUM_PANEL];
        if (l->type == NUM_COMPUTE_F32)
            memcpy(&ret[i], &word, 4);
        else if (l->type == NUM_COMPUTE_BF16)
            ret[i] = num_bf16_to_f32((uint16_t)(word >> 16 * (i % 2)));
        else
            ret[i] = l->scale[out] * (float)(int8_t)(word >> 8 * (i % 4));
    }
}

/* ---- Inputs --------------------------------------------------------------------------------- */

size_t num_rows_bytes(enum num_compute type, size_t k) {
    return 4 * num_words(type, k);
}

void num_row_convert(const struct num_kernels *kernels, enum num_compute type, const float *x,
                     size_t k, void *to, float *ret_scale) {
    size_t size = 4 / num_per_word(type), bytes = num_rows_bytes(type, k);
    if (type == NUM_COMPUTE_F32)
        memcpy(to, x, k * sizeof *x);
    else if (type == NUM_COMPUTE_BF16)
        kernels->to_bf16(x, k, to);
    else
        *ret_scale = kernels->to_int8(x, k, to);
    memset((char *)to + k * size, 0, bytes - k * size);
}

/* ---- Products ------------------------------------------------------------------------------- */

/* The product of n_rows rows from first_row on with n_panels panels. */
static struct num_product product(const struct num_linear *l, size_t first_panel, size_t n_panels,
                                  const struct num_rows *x, size_t first_row) {
    return (struct num_product){
        .type = l->type,
        .x = (const char *)x->x + first_row * x->ldx,
        .ldx = x->ldx,
        .n_words = l->n_words,
        .w = l->panels + first_panel * panel_words(l),
        .panel_words = panel_words(l),
        .n_panels = n_panels,
        .offset = l->offset ? l->offset + first_panel * NUM_PANEL : NULL,
    };
}

static void few_rows(const struct num_linear *l, const struct num_kernels *kernels,
                     size_t first_panel, size_t n_panels, const struct num_rows *x,
                     size_t first_row, size_t n_rows, const struct num_finish *f) {
    _Alignas(64) float sums[FEW_PANELS * NUM_PANEL * 4];
    for (size_t p = 0; p < n_panels; p += FEW_PANELS) {
        size_t n = n_panels - p < FEW_PANELS ? n_panels - p : FEW_PANELS;
        struct num_product q = product(l, first_panel + p, n, x, first_row);
        kernels->few(&q, n_rows, sums, FEW_PANELS * NUM_PANEL);
        kernels->finish(f, sums, FEW_PANELS * NUM_PANEL, first_row, n_rows,
                        (first_panel + p) * NUM_PANEL, n * NUM_PANEL);
    }
}

/* Part `turn` of n parts of the panel `next` comes closer while q is multiplied. */
static void set_ahead(struct num_product *q, const uint32_t *next, size_t n_words, size_t turn,
                      size_t n) {
    size_t lines = n_words * NUM_PANEL / 16;
    q->ahead = next + lines * turn / n * 16;
    q->ahead_bytes = (lines * (turn + 1) / n - lines * turn / n) * 64;
}

/*
 * Some rows times a few panels, in pieces of k. Meanwhile the panels behind them (`next`, or NULL)
 * come closer, little by little: their first use would otherwise wait for them line by line.
 */
static void panels_in_pieces(const struct num_kernels *kernels, struct num_product q, size_t n_rows,
                             bool accumulate, float *sums, size_t ld, const uint32_t *next,
                             size_t turn, size_t n_turns) {
    size_t n_words = q.n_words, step = kernels->block_rows;
    size_t n_pieces = n_words > K_WORDS ? (n_words + K_PIECE - 1) / K_PIECE : 1;
    size_t piece = (n_words / n_pieces + 15) / 16 * 16, n_steps = (n_rows + step - 1) / step;
    const char *x = q.x;
    n_turns *= n_pieces * n_steps;
    turn *= n_pieces * n_steps;
    for (size_t i = 0; i < n_words; i += piece) {
        q.n_words = n_words - i < piece ? n_words - i : piece;
        for (size_t r = 0; r < n_rows; r += step, turn++) {
            q.x = x + 4 * i + r * q.ldx;
            q.ahead_bytes = 0;
            if (next && turn < n_turns)
                set_ahead(&q, next, q.n_panels * n_words, turn, n_turns);
            kernels->block(&q, n_rows - r < step ? n_rows - r : step, accumulate || i > 0,
                           sums + r * ld, ld);
        }
        q.w += piece * NUM_PANEL;
    }
}

void num_product_run(const struct num_kernels *kernels, const struct num_product *product,
                     size_t n_rows, bool accumulate, float *sums, size_t ld) {
    struct num_product q = *product;
    q.n_panels = 1;
    for (size_t p = 0; p < product->n_panels; p++) {
        panels_in_pieces(kernels, q, n_rows, accumulate, sums + p * NUM_PANEL, ld, NULL, 0, 1);
        q.w += q.panel_words;
        q.offset += q.offset ? NUM_PANEL : 0;
    }
}

/*
 * Sums that wait to be finished. One block is finished while the next is being multiplied: the sums
 * have then left the multiplier, and both keep the processor busy.
 */
struct pending {
    const struct num_kernels *kernels;
    const struct num_finish *finish;
    const float *sums;
    size_t ld, first_row, n_rows, panel, n_panels; /* n_rows is 0 where nothing waits */
};

static void finish_pending(struct pending *p) {
    if (p->n_rows)
        p->kernels->finish(p->finish, p->sums, p->ld, p->first_row, p->n_rows, p->panel * NUM_PANEL,
                           p->n_panels * NUM_PANEL);
    p->n_rows = 0;
}

/* Rows whose sums are finished together: what a step of block() takes, or, where k comes in pieces,
 * as many such steps as there is room for. */
static size_t rows_at_once(const struct num_linear *l, const struct num_kernels *kernels,
                           size_t n_panels) {
    size_t step = kernels->block_rows, fit = ROWS / n_panels / step * step;
    return l->n_words > K_WORDS && fit > step ? fit : step;
}

static void block_panels(const struct num_linear *l, const struct num_kernels *kernels,
                         size_t first_panel, size_t n_panels, const struct num_rows *x,
                         size_t first_row, size_t n_rows, const struct num_finish *f) {
    _Alignas(64) float sums[2 * ROWS * NUM_PANEL];
    struct pending pending = {.kernels = kernels, .finish = f};
    size_t group = kernels->block_panels[l->type], ld = group * NUM_PANEL, turn = 0;
    size_t step = rows_at_once(l, kernels, group), n_turns = (n_rows + step - 1) / step;
    size_t end = first_panel + n_panels;
    for (size_t p = first_panel; p < end; p += group)
        for (size_t r = 0; r < n_rows; r += step) {
            size_t n = n_rows - r < step ? n_rows - r : step,
                   some = end - p < group ? end - p : group;
            float *to = sums + (turn++ % 2) * step * ld;
            struct num_product q = product(l, p, some, x, first_row + r);
            const uint32_t *next = p + 2 * group <= end ? q.w + group * q.panel_words : NULL;
            panels_in_pieces(kernels, q, n, false, to, ld, next, r / step, n_turns);
            finish_pending(&pending);
            pending = (struct pending){kernels, f, to, ld, first_row + r, n, p, some};
        }
    finish_pending(&pending);
}

void num_linear_rows(const struct num_linear *l, const struct num_kernels *kernels,
                     size_t first_panel, size_t n_panels, const struct num_rows *x,
                     size_t first_row, size_t n_rows, const struct num_finish *finish) {
    struct num_finish f = *finish;
    f.bias = l->bias;
    f.out_scale = l->scale;
    f.row_scale = x->scale;
    if (n_rows <= kernels->few_rows) {
        few_rows(l, kernels, first_panel, n_panels, x, first_row, n_rows, &f);
        return;
    }
    kernels->enter();
    if (kernels->layer && l->type != NUM_COMPUTE_F32) {
        struct num_product all = product(l, first_panel, n_panels, x, first_row);
        kernels->layer(&all, n_rows, &f, first_row, first_panel * NUM_PANEL);
    } else {
        block_panels(l, kernels, first_panel, n_panels, x, first_row, n_rows, &f);
    }
    kernels->leave();
}

#define BYTES_WORTH_A_TASK (64 << 10) /* of weights: some microseconds */

struct run {
    const struct num_linear *linear;
    const struct num_kernels *kernels;
    const struct num_rows *x;
    const struct num_finish *finish;
    size_t n_rows, n_panels, n_tasks;
};

static void run_task(void *ctx, uint32_t index, uint32_t thread) {
    const struct run *r = ctx;
    (void)thread;
    size_t first = r->n_panels * index / r->n_tasks, end = r->n_panels * (index + 1) / r->n_tasks;
    num_linear_rows(r->linear, r->kernels, first, end - first, r->x, 0, r->n_rows, r->finish);
}

void num_linear_run(const struct num_linear *linear, const struct num_kernels *kernels,
                    struct num_pool *pool, const struct num_rows *x, size_t n_rows,
                    const struct num_finish *finish) {
    struct run run = {linear, kernels, x, finish, n_rows, NUM_PANELS(linear->n_out), 1};
    size_t n_tasks = run.n_panels * panel_words(linear) * 4 * (1 + n_rows / 8) / BYTES_WORTH_A_TASK;
    size_t limit = 4 * (size_t)num_pool_threads(pool);
    n_tasks = n_tasks > limit ? limit : n_tasks;
    run.n_tasks = n_tasks > run.n_panels ? run.n_panels : n_tasks < 1 ? 1 : n_tasks;
    num_pool_run(pool, (uint32_t)run.n_tasks, run_task, &run);
}
