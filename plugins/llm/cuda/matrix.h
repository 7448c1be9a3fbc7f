/*
 * Matrices on the card, in the bits that the file has, cut so that a warp reads whole lines.
 *
 * Inputs of an output are groups of 32; rows are filled up with zeros to whole groups. 32 groups
 * side by side are a tile (the last of a row may have fewer), one for each lane. Four planes:
 *
 *   low     pieces of 16 bytes: [output][tile][piece][group of the tile]. A group is one piece of
 *           4-bit numbers (number 8 w + j in nibble j of word w), two of bytes, four of halves,
 *           eight of floats, in order
 *   high    Q5: a word a group, bit i of number i. Q6_K: two words, bits 2 (i % 16) of word i / 16
 *   meta    of a group. Q4_0, Q5_0, Q8_0: d. Q4_1, Q5_1: d, m. Q4_K, Q5_K: scale and minimum, a
 *           byte each. Q6_K: the two signed scales
 *   super   K types: d and dmin of eight groups (Q6_K: d, 0)
 *
 * What a number is worth: num/weights.h. K types take 2 % more than in a file (bytes for 6-bit
 * scales).
 */
#ifndef LM_CUDA_MATRIX_H
#define LM_CUDA_MATRIX_H

#include <stdint.h>

#include "num/cuda/type.h"
#include "num/weights.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LM_CUDA_GROUP 32
#define LM_CUDA_TILE  32 /* groups */

struct lm_cuda_matrix {
    enum num_weight_type type;
    uint32_t n_out, k;
    uint32_t groups; /* of a row */
    char *low, *high, *meta, *super;
    float *bias; /* (n_out), or NULL */
};

/* Bytes of a group in each plane; super: of eight groups. */
struct lm_cuda_planes {
    uint32_t low, high, meta, super;
};

static inline struct lm_cuda_planes lm_cuda_planes_of(enum num_weight_type type) {
    static const struct lm_cuda_planes all[NUM_N_WEIGHT_TYPES] = {
        {128, 0, 0, 0}, {64, 0, 0, 0}, {64, 0, 0, 0}, {16, 0, 2, 0}, /* F32, F16, BF16, Q4_0 */
        {16, 0, 4, 0},  {16, 4, 2, 0}, {16, 4, 4, 0}, {32, 0, 2, 0}, /* Q4_1, Q5_0, Q5_1, Q8_0 */
        {16, 0, 2, 4},  {16, 4, 2, 4}, {16, 8, 2, 4},                /* Q4_K, Q5_K, Q6_K */
    };
    return all[type];
}

#ifdef __cplusplus
}
#endif

#endif
