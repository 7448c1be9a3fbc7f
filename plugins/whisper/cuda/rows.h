/*
 * Which self-attention keys and values a row reads. Position q of a row lies in one of n_rows cells
 * of that position; rows that were copied from one another read the same cells, so that a copy
 * costs a list of numbers instead of keys and values. A token is always written to a cell that no
 * other row reads: each row reads at most one cell of a position, so one is free.
 *
 * The host's side, without a device: it decides, and keeps what the device's table has to say.
 */
#ifndef WH_CUDA_ROWS_H
#define WH_CUDA_ROWS_H

#include "num/err.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WH_CUDA_MAX_ROWS 4096 /* cells are 16-bit numbers, and uses are counted in 16 bits */

struct wh_cuda_rows {
    uint32_t n_rows, n_positions;
    uint32_t *len;   /* (n_rows): tokens in each row */
    uint32_t *slot;  /* (n_rows): the window that it reads */
    uint16_t *cells; /* (n_rows, n_positions); the first len count */
    uint16_t *uses;  /* (n_positions, n_rows): rows that read each cell */
    uint16_t *copy;  /* (n_rows, n_positions): for copies that cross */
};

int32_t wh_cuda_rows_create(uint32_t n_rows, uint32_t n_positions, struct wh_cuda_rows *ret,
                            struct num_err *err);
/* Takes a zeroed struct too. */
void wh_cuda_rows_finish(struct wh_cuda_rows *rows);

/* Empties the row; it reads `slot` from now on. */
void wh_cuda_rows_start(struct wh_cuda_rows *rows, uint32_t row, uint32_t slot);

/* The cell of the row's next token, whose position is len[row] before the call; there must be
 * room. A row's own number where that cell is free. */
uint16_t wh_cuda_rows_append(struct wh_cuda_rows *rows, uint32_t row);

/* Room for rows that will be copied from each other on the device: list[0] starts anew with
 * n_shared tokens, the others with those, and each gets n tokens of its own, at most n_positions in
 * all. */
void wh_cuda_rows_reserve(struct wh_cuda_rows *rows, const uint32_t *list, uint32_t n_list,
                          uint32_t slot, uint32_t n_shared, uint32_t n);

/* Row to[i] reads what row from[i] read before the call, for different rows `to`. */
void wh_cuda_rows_copy(struct wh_cuda_rows *rows, const uint32_t *to, const uint32_t *from,
                       uint32_t n);

#ifdef __cplusplus
}
#endif

#endif
