/*
 * The workspace holds, for each direction, the gates of all steps and sequences: first the products
 * with the inputs, to which every step adds those with the state before it; behind them the states.
 */
#include "diarize/lstm.h"

#include <string.h>

int32_t dz_lstm_set(struct dz_lstm *lstm, size_t d, const float *weight_ih, const float *weight_hh,
                    const float *bias, struct num_arena *arena, struct num_err *err) {
    size_t n = 4 * lstm->n_hidden;
    int32_t status = num_linear_init(&lstm->input[d], NUM_COMPUTE_F32, n, lstm->n_in, weight_ih,
                                     bias, arena, err);
    if (status != SLUICE_OK)
        return status;
    return num_linear_init(&lstm->state[d], NUM_COMPUTE_F32, n, lstm->n_hidden, weight_hh, NULL,
                           arena, err);
}

/* What one group needs: output and memory of its rows, with room for the rows that products touch. */
static size_t group_work(const struct dz_lstm *l) {
    return 2 * (size_t)DZ_LSTM_GROUP * l->n_hidden;
}

static size_t n_groups(size_t n) {
    return (n + DZ_LSTM_GROUP - 1) / DZ_LSTM_GROUP;
}

static size_t gates_work(const struct dz_lstm *l, size_t n_steps, size_t n) {
    return (n_steps * n + NUM_ROW_PAD) * 4 * l->n_hidden;
}

size_t dz_lstm_work(const struct dz_lstm *lstm, size_t n_steps, size_t n) {
    return lstm->n_directions *
           (gates_work(lstm, n_steps, n) +
            n_groups(n) * (group_work(lstm) + (size_t)NUM_ROW_PAD * 4 * lstm->n_hidden));
}

struct run {
    const struct dz_lstm *lstm;
    const struct num_kernels *kernels;
    const struct dz_cells *cells;
    const float *x;
    size_t n_steps, n;
    float *work, *y;
};

static float *gates_of(const struct run *r, size_t d) {
    return r->work + d * gates_work(r->lstm, r->n_steps, r->n);
}

/* The products with the inputs. */
static void project(const struct run *r, size_t d, struct num_pool *pool) {
    struct num_rows rows = {.x = r->x, .ldx = r->lstm->n_in * sizeof(float)};
    struct num_finish finish = {
        .form = NUM_FORM_F32, .y = gates_of(r, d), .ldy = 4 * r->lstm->n_hidden};
    num_linear_run(&r->lstm->input[d], r->kernels, pool, &rows, r->n_steps * r->n, &finish);
}

/* One direction of one group. Sums of a step go through `sums`, since rows beyond the group, which a
 * product may write, are another task's. */
static void run_group(void *ctx, uint32_t index, uint32_t thread) {
    const struct run *r = ctx;
    const struct dz_lstm *l = r->lstm;
    size_t h = l->n_hidden, groups = n_groups(r->n), d = index / groups,
           first = index % groups * DZ_LSTM_GROUP;
    size_t n = r->n - first < DZ_LSTM_GROUP ? r->n - first : DZ_LSTM_GROUP;
    float *out = r->work + l->n_directions * gates_work(l, r->n_steps, r->n) +
                 index * (group_work(l) + (size_t)NUM_ROW_PAD * 4 * h);
    float *memory = out + DZ_LSTM_GROUP * h, *sums = memory + DZ_LSTM_GROUP * h;
    struct num_product p = {.type = NUM_COMPUTE_F32,
                            .x = out,
                            .ldx = h * sizeof(float),
                            .n_words = l->state[d].n_words,
                            .w = l->state[d].panels,
                            .panel_words = l->state[d].n_words * NUM_PANEL,
                            .n_panels = NUM_PANELS(4 * h)};
    (void)thread;
    memset(out, 0, group_work(l) * sizeof *out);
    r->kernels->enter();
    for (size_t i = 0; i < r->n_steps; i++) {
        size_t t = d == 0 ? i : r->n_steps - 1 - i;
        const float *gates = gates_of(r, d) + (t * r->n + first) * 4 * h;
        memcpy(sums, gates, n * 4 * h * sizeof *sums);
        num_product_run(r->kernels, &p, n, true, sums, 4 * h);
        for (size_t b = 0; b < n; b++) {
            r->cells->lstm(sums + b * 4 * h, h, memory + b * h, out + b * h);
            memcpy(r->y + ((t * r->n + first + b) * l->n_directions + d) * h, out + b * h,
                   h * sizeof *out);
        }
    }
    r->kernels->leave();
}

void dz_lstm_run(const struct dz_lstm *lstm, const struct num_kernels *kernels,
                 const struct dz_cells *cells, struct num_pool *pool, const float *x,
                 size_t n_steps, size_t n, float *work, float *y) {
    struct run run = {lstm, kernels, cells, x, n_steps, n, work, y};
    for (size_t d = 0; d < lstm->n_directions; d++)
        project(&run, d, pool);
    num_pool_run(pool, (uint32_t)(lstm->n_directions * n_groups(n)), run_group, &run);
}
