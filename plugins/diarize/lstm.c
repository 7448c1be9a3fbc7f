/* See lstm.h. A thread's workspace holds the gates of STEPS steps of a group, what its cells
 * remember and its states. */
#include "diarize/lstm.h"

#include <string.h>

#define STEPS 8 /* whose gates, with the weights, fit into a second-level cache of 1 MiB */

int32_t dz_lstm_set(struct dz_lstm *lstm, size_t d, const float *weight_ih, const float *weight_hh,
                    const float *bias, struct num_arena *arena, struct num_err *err) {
    size_t n = 4 * lstm->n_hidden;
    int32_t status =
        num_linear_init(&lstm->input[d], lstm->type, n, lstm->n_in, weight_ih, bias, arena, err);
    if (status != SLUICE_OK)
        return status;
    return num_linear_init(&lstm->state[d], lstm->type, n, lstm->n_hidden, weight_hh, NULL, arena,
                           err);
}

/* ---- workspace ---- */

/* Rows of gates: those of STEPS steps, and of one more for sums that must not touch their
 * neighbours. */
#define GATE_ROWS ((STEPS + 1) * DZ_LSTM_GROUP)

static size_t state_floats(const struct dz_lstm *l) {
    return DZ_LSTM_GROUP * num_rows_bytes(l->type, l->n_hidden) / sizeof(float);
}

size_t dz_lstm_work(const struct dz_lstm *lstm) {
    size_t n = GATE_ROWS * 4 * lstm->n_hidden + DZ_LSTM_GROUP * lstm->n_hidden + state_floats(lstm);
    return (n + 15) / 16 * 16;
}

/* One group in one direction. */
struct group {
    const struct dz_lstm *lstm;
    const struct num_kernels *kernels;
    const struct dz_cells *cells;
    size_t d, n, n_steps;
    const char *x; /* of the group's first step */
    char *y;
    size_t x_bytes, y_bytes, state_bytes; /* from row to row */
    float *gates;                         /* (STEPS, n, 4 n_hidden), from the earliest step on */
    float *sums;                          /* (DZ_LSTM_GROUP, 4 n_hidden) */
    float *memory;                        /* (DZ_LSTM_GROUP, n_hidden) */
    char *states;                         /* (DZ_LSTM_GROUP) rows of the layer's type */
};

/* ---- steps ---- */

/* The gates of n_steps steps from `first` on, as far as inputs make them. */
static void project(const struct group *g, size_t first, size_t n_steps) {
    const struct num_linear *l = &g->lstm->input[g->d];
    struct num_rows rows = {.x = g->x + first * g->n * g->x_bytes, .ldx = g->x_bytes};
    struct num_finish finish = {.form = NUM_FORM_F32, .y = g->gates, .ldy = 4 * g->lstm->n_hidden};
    g->kernels->leave(); /* num_linear_rows() enters by itself */
    num_linear_rows(l, g->kernels, 0, NUM_PANELS(l->n_out), &rows, 0, n_steps * g->n, &finish);
    g->kernels->enter();
}

/* Adds the product with the states before. Products touch whole NUM_ROW_PAD rows, so that what is
 * no multiple of them takes a place of its own. */
static float *add_states(const struct group *g, float *gates) {
    size_t width = 4 * g->lstm->n_hidden;
    const struct num_linear *l = &g->lstm->state[g->d];
    struct num_product p = {.type = l->type,
                            .x = g->states,
                            .ldx = g->state_bytes,
                            .n_words = l->n_words,
                            .w = l->panels,
                            .panel_words = l->n_words * NUM_PANEL,
                            .n_panels = NUM_PANELS(width)};
    if (g->n % NUM_ROW_PAD != 0)
        gates = memcpy(g->sums, gates, g->n * width * sizeof *gates);
    num_product_run(g->kernels, &p, g->n, true, gates, width);
    return gates;
}

static void run_step(const struct group *g, size_t t, float *gates) {
    size_t h = g->lstm->n_hidden;
    bool bf16 = g->lstm->type == NUM_COMPUTE_BF16;
    size_t bytes = h * (bf16 ? 2 : 4);
    gates = add_states(g, gates);
    for (size_t i = 0; i < g->n; i++) {
        char *state = g->states + i * g->state_bytes;
        g->cells->lstm(gates + i * 4 * h, h, g->memory + i * h, bf16, state);
        memcpy(g->y + (t * g->n + i) * g->y_bytes + g->d * bytes, state, bytes);
    }
}

static void run_group(const struct group *g) {
    size_t width = 4 * g->lstm->n_hidden, T = g->n_steps;
    g->kernels->enter();
    for (size_t at = 0; at < T; at += STEPS) {
        size_t n = T - at < STEPS ? T - at : STEPS, first = g->d == 0 ? at : T - at - n;
        project(g, first, n);
        for (size_t i = 0; i < n; i++) {
            size_t step = g->d == 0 ? i : n - 1 - i;
            run_step(g, first + step, g->gates + step * g->n * width);
        }
    }
    g->kernels->leave();
}

/* ---- groups ---- */

struct run {
    const struct dz_lstm *lstm;
    const struct num_kernels *kernels;
    const struct dz_cells *cells;
    const char *x;
    size_t n_steps, n;
    float *work;
    char *y;
};

static void run_task(void *ctx, uint32_t index, uint32_t thread) {
    const struct run *r = ctx;
    const struct dz_lstm *l = r->lstm;
    size_t d = index % l->n_directions, first = index / l->n_directions * DZ_LSTM_GROUP;
    size_t left = r->n - first, row = first * r->n_steps;
    struct group g = {
        .lstm = l,
        .kernels = r->kernels,
        .cells = r->cells,
        .d = d,
        .n = left < DZ_LSTM_GROUP ? left : DZ_LSTM_GROUP,
        .n_steps = r->n_steps,
        .x_bytes = num_rows_bytes(l->type, l->n_in),
        .y_bytes = num_rows_bytes(l->type, dz_lstm_n_out(l)),
        .state_bytes = num_rows_bytes(l->type, l->n_hidden),
        .gates = r->work + thread * dz_lstm_work(l),
    };
    g.x = r->x + row * g.x_bytes;
    g.y = r->y + row * g.y_bytes;
    g.sums = g.gates + (GATE_ROWS - DZ_LSTM_GROUP) * 4 * l->n_hidden;
    g.memory = g.gates + GATE_ROWS * 4 * l->n_hidden;
    g.states = (char *)(g.memory + DZ_LSTM_GROUP * l->n_hidden);
    memset(g.memory, 0, (DZ_LSTM_GROUP * l->n_hidden + state_floats(l)) * sizeof(float));
    run_group(&g);
}

void dz_lstm_run(const struct dz_lstm *lstm, const struct num_kernels *kernels,
                 const struct dz_cells *cells, struct num_pool *pool, const void *x, size_t n_steps,
                 size_t n, float *work, void *y) {
    struct run run = {lstm, kernels, cells, x, n_steps, n, work, y};
    size_t n_groups = (n + DZ_LSTM_GROUP - 1) / DZ_LSTM_GROUP;
    num_pool_run(pool, (uint32_t)(lstm->n_directions * n_groups), run_task, &run);
}
