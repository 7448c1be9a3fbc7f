/*
 * Convolutions as products with packed weights, without unfolding: a map keeps the channels of a
 * place side by side and places one after the other, so the values under a kernel of width w are
 * w * channels neighbours, and the next output's begin stride * channels further. A kernel of
 * several lines is the sum of as many products.
 */
#ifndef DIARIZE_CONV_H
#define DIARIZE_CONV_H

#include "num/cpu/linear.h"

#define DZ_MAX_LINES 3

struct dz_conv {
    size_t n_lines, width; /* of the kernel */
    size_t n_in, n_out, stride;
    struct num_linear lines[DZ_MAX_LINES];
    float *bias;     /* (n_padded) */
    size_t n_padded; /* n_out up to whole panels: floats from row to row of sums */
};

/*
 * weight (n_out, n_in, n_lines, width) and bias (n_out) or NULL, as torch has them; borrowed. F32
 * or BF16.
 */
int32_t dz_conv_init(struct dz_conv *ret, enum num_compute type, size_t n_out, size_t n_in,
                     size_t n_lines, size_t width, size_t stride, const float *weight,
                     const float *bias, struct num_arena *arena, struct num_err *err);

/*
 * Sums, without bias, of n outputs side by side: ret (n, n_padded). lines[i] is what lies under
 * line i of the kernel at the first output, of the type of the weights, or NULL for zeros; at least
 * one is not. Up to NUM_ROW_PAD rows more are read and written. Between the kernels' enter() and
 * leave(). Any thread.
 */
void dz_conv_run(const struct dz_conv *conv, const struct num_kernels *kernels,
                 const void *const *lines, size_t n, float *ret);

#endif
