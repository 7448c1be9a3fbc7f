/* Any bytes as a matrix of blocks, of the type and width that the first two say: products read no
 * further than the matrix goes, whatever the kernels. */
#include <stdlib.h>
#include <string.h>

#include "num/cpu/quant.h"

enum { MAX_OUT = 40, MAX_K = 1024, N_ROWS = 2 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _Alignas(64) static float x[MAX_K], y[N_ROWS * 64], row[MAX_K];
    _Alignas(64) static char inputs[N_ROWS * 2 * MAX_K];
    const struct num_kernels *tables[NUM_MAX_KERNELS];
    struct num_weights w = {.n_dims = 2};
    struct num_arena arena = {0};
    struct num_stored layer;
    struct num_err err;
    uint64_t bytes;
    if (size < 2)
        return 0;
    w.type = NUM_WEIGHT_Q4_0 + data[0] % 8u;
    w.shape[1] = num_weight_block(w.type) * (1u + data[1] % (MAX_K / num_weight_block(w.type)));
    w.shape[0] = 1;
    num_weights_measure(&w, &bytes);
    w.shape[0] = (size - 2) / bytes < MAX_OUT ? (size - 2) / bytes : MAX_OUT;
    if (w.shape[0] == 0 || !num_weights_measure(&w, &bytes))
        return 0;
    void *copy = malloc(bytes); /* exactly: a sanitizer sees a read past the end */
    w.data = memcpy(copy, data + 2, bytes);
    const struct num_weights *part = &w;
    if (num_stored_init(&layer, &part, 1, &arena, &err))
        abort();
    for (size_t i = 0; i < w.cols; i++)
        x[i] = (float)(i % 7) - 3;
    num_stored_row(&layer, w.rows - 1, row);
    for (size_t i = num_kernels_all(tables); i-- > 0;) {
        size_t ldx = num_quant_row_bytes(w.cols);
        struct num_finish finish = {.form = NUM_FORM_F32, .y = y, .ldy = 64};
        for (size_t r = 0; r < N_ROWS; r++)
            num_quant_kernels(tables[i])->convert(w.type, x, w.cols, inputs + r * ldx);
        for (size_t n = 1; n <= N_ROWS; n++)
            num_stored_rows(&layer, tables[i], 0, w.rows, inputs, ldx, n, &finish);
    }
    num_arena_finish(&arena);
    free(copy);
    return 0;
}
