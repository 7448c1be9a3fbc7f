/*
 * Layers of a long short-term memory (S. Hochreiter and J. Schmidhuber, 1997), in one or both
 * directions, over many sequences of the same length at once. Sequences run in groups: a task takes
 * one group in one direction through all steps. Each step is one product of the group's states with
 * weights that stay in the second-level cache; the products with the inputs of some steps are made
 * together, just before these steps need them.
 *
 * Products are in float or, inputs and states too, in bfloat16; what a cell remembers and all sums
 * are float.
 */
#ifndef DIARIZE_LSTM_H
#define DIARIZE_LSTM_H

#include "diarize/cells.h"
#include "num/cpu/linear.h"

struct dz_lstm {
    enum num_compute type; /* F32 or BF16; it and the sizes are set before dz_lstm_set() */
    size_t n_in, n_hidden, n_directions;
    struct num_linear input[2], state[2]; /* forward, backward; (4 n_hidden, n_in or n_hidden) */
};

/* weight_ih (4 n_hidden, n_in), weight_hh (4 n_hidden, n_hidden) and bias (4 n_hidden), the sum of
 * torch's two, of direction `d`; borrowed. n_hidden has to be a multiple of 8. */
int32_t dz_lstm_set(struct dz_lstm *lstm, size_t d, const float *weight_ih, const float *weight_hh,
                    const float *bias, struct num_arena *arena, struct num_err *err);

/* Sequences that run together: batches of a multiple of it suit best. */
#define DZ_LSTM_GROUP 32

static inline size_t dz_lstm_n_out(const struct dz_lstm *lstm) {
    return lstm->n_directions * lstm->n_hidden;
}

/* Floats of workspace for each thread of the pool. */
size_t dz_lstm_work(const struct dz_lstm *lstm);

/* Where step `t` of sequence `i` of n lies in x and y: rows of a group's sequences are side by
 * side, its steps follow each other, and so do the groups. */
static inline size_t dz_lstm_row(size_t n_steps, size_t n, size_t t, size_t i) {
    size_t first = i / DZ_LSTM_GROUP * DZ_LSTM_GROUP;
    size_t some = n - first < DZ_LSTM_GROUP ? n - first : DZ_LSTM_GROUP;
    return first * n_steps + t * some + i - first;
}

/*
 * x to y, n_steps * n rows each in the order of dz_lstm_row(): num_rows_bytes() of n_in and of
 * dz_lstm_n_out() values of the layer's type, what fills rows up being finite in x and left alone
 * in y. Rows of x are read up to a multiple of NUM_ROW_PAD beyond the last. work: dz_lstm_work()
 * for each thread. A sequence's result does not depend on the others.
 */
void dz_lstm_run(const struct dz_lstm *lstm, const struct num_kernels *kernels,
                 const struct dz_cells *cells, struct num_pool *pool, const void *x, size_t n_steps,
                 size_t n, float *work, void *y);

#endif
