/*
 * Layers of a long short-term memory (S. Hochreiter and J. Schmidhuber, 1997), in one or both
 * directions, over many sequences of the same length at once: the products with the inputs are one
 * large product, those with the state run for a group of sequences together.
 */
#ifndef DIARIZE_LSTM_H
#define DIARIZE_LSTM_H

#include "diarize/cells.h"
#include "num/cpu/linear.h"

struct dz_lstm {
    size_t n_in, n_hidden, n_directions;
    struct num_linear input[2], state[2]; /* forward, backward; (4 n_hidden, n_in or n_hidden) */
};

/* weight_ih (4 n_hidden, n_in), weight_hh (4 n_hidden, n_hidden) and bias (4 n_hidden), the sum of
 * torch's two, of direction `d`; borrowed. n_hidden has to be a multiple of 8. */
int32_t dz_lstm_set(struct dz_lstm *lstm, size_t d, const float *weight_ih, const float *weight_hh,
                    const float *bias, struct num_arena *arena, struct num_err *err);

/* Sequences that run together: batches of a multiple of it suit best. */
#define DZ_LSTM_GROUP 16

/* Floats of workspace for n_steps steps of n sequences. */
size_t dz_lstm_work(const struct dz_lstm *lstm, size_t n_steps, size_t n);

/* Floats from sequence to sequence of x, and of y. */
static inline size_t dz_lstm_n_out(const struct dz_lstm *lstm) {
    return lstm->n_directions * lstm->n_hidden;
}

/*
 * x (n_steps, n, n_in) to y (n_steps, n, n_directions n_hidden). Rows of x are read up to a multiple
 * of NUM_ROW_PAD beyond the last. A sequence's result does not depend on the others.
 */
void dz_lstm_run(const struct dz_lstm *lstm, const struct num_kernels *kernels,
                 const struct dz_cells *cells, struct num_pool *pool, const float *x,
                 size_t n_steps, size_t n, float *work, float *y);

#endif
