/*
 * Cells of rows: see rows.h. Every cell's readers are counted, so that a write finds a free one
 * without asking all rows.
 */
#include "whisper/cuda/rows.h"

#include <stdlib.h>
#include <string.h>

int32_t wh_cuda_rows_create(uint32_t n_rows, uint32_t n_positions, struct wh_cuda_rows *ret,
                            struct num_err *err) {
    struct wh_cuda_rows r = {.n_rows = n_rows, .n_positions = n_positions};
    size_t cells = (size_t)n_rows * n_positions;
    r.len = calloc(n_rows, sizeof *r.len);
    r.slot = calloc(n_rows, sizeof *r.slot);
    r.cells = calloc(cells, sizeof *r.cells);
    r.uses = calloc(cells, sizeof *r.uses);
    r.copy = calloc(cells, sizeof *r.copy);
    if (!r.len || !r.slot || !r.cells || !r.uses || !r.copy) {
        wh_cuda_rows_finish(&r);
        return num_fail_memory(err, "the rows", cells * 6);
    }
    *ret = r;
    return SLUICE_OK;
}

void wh_cuda_rows_finish(struct wh_cuda_rows *rows) {
    free(rows->len);
    free(rows->slot);
    free(rows->cells);
    free(rows->uses);
    free(rows->copy);
    *rows = (struct wh_cuda_rows){0};
}

static uint16_t *uses_of(struct wh_cuda_rows *r, uint32_t position, uint32_t cell) {
    return r->uses + (size_t)position * r->n_rows + cell;
}

static uint16_t *cells_of(struct wh_cuda_rows *r, uint32_t row) {
    return r->cells + (size_t)row * r->n_positions;
}

static void release(struct wh_cuda_rows *r, uint32_t row) {
    const uint16_t *cells = cells_of(r, row);
    for (uint32_t q = 0; q < r->len[row]; q++)
        (*uses_of(r, q, cells[q]))--;
    r->len[row] = 0;
}

void wh_cuda_rows_start(struct wh_cuda_rows *rows, uint32_t row, uint32_t slot) {
    release(rows, row);
    rows->slot[row] = slot;
}

uint16_t wh_cuda_rows_append(struct wh_cuda_rows *rows, uint32_t row) {
    uint32_t position = rows->len[row]++, cell = row;
    for (uint32_t i = 0; *uses_of(rows, position, cell) && i < rows->n_rows; i++)
        cell = i;
    (*uses_of(rows, position, cell))++;
    cells_of(rows, row)[position] = (uint16_t)cell;
    return (uint16_t)cell;
}

void wh_cuda_rows_copy(struct wh_cuda_rows *rows, const uint32_t *to, const uint32_t *from,
                       uint32_t n) {
    struct wh_cuda_rows *r = rows;
    uint32_t lens[WH_CUDA_MAX_ROWS], slots[WH_CUDA_MAX_ROWS];
    for (uint32_t i = 0; i < n; i++) {
        lens[i] = r->len[from[i]];
        slots[i] = r->slot[from[i]];
        memcpy(r->copy + (size_t)i * r->n_positions, cells_of(r, from[i]),
               lens[i] * sizeof *r->cells);
    }
    for (uint32_t i = 0; i < n; i++)
        release(r, to[i]);
    for (uint32_t i = 0; i < n; i++) {
        const uint16_t *copy = r->copy + (size_t)i * r->n_positions;
        memcpy(cells_of(r, to[i]), copy, lens[i] * sizeof *copy);
        for (uint32_t q = 0; q < lens[i]; q++)
            (*uses_of(r, q, copy[q]))++;
        r->len[to[i]] = lens[i];
        r->slot[to[i]] = slots[i];
    }
}

void wh_cuda_rows_reserve(struct wh_cuda_rows *rows, const uint32_t *list, uint32_t n_list,
                          uint32_t slot, uint32_t n_shared, uint32_t n) {
    wh_cuda_rows_start(rows, list[0], slot);
    for (uint32_t i = 0; i < n_shared; i++)
        wh_cuda_rows_append(rows, list[0]);
    for (uint32_t i = 1; i < n_list; i++)
        wh_cuda_rows_copy(rows, &list[i], list, 1);
    for (uint32_t i = 0; i < n_list; i++)
        for (uint32_t k = 0; k < n; k++)
            wh_cuda_rows_append(rows, list[i]);
}
