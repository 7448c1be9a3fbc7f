/*
 * Weight views: a matrix as it lies in a weight file, mapped and not copied, in one of the types
 * that model files use. A backend takes the bytes as they are, or dequantises rows.
 *
 * Elements run along a row (the last dimension of a shape, ggml's ne[0]). Types other than F32, F16
 * and BF16 cut every row into blocks of NUM_BLOCK (32) or NUM_SUPER_BLOCK (256) elements; a row is
 * a whole number of blocks. Numbers in a block are little-endian, `d` and `m` are binary16:
 *
 *   Q4_0   18 bytes  d, 16 bytes of two 4-bit q     x = d (q - 8)
 *   Q4_1   20        d, m, 16 bytes of two q        x = d q + m
 *   Q5_0   22        d, 4 bytes high bits, 16       x = d (q - 16)
 *   Q5_1   24        d, m, 4 bytes high bits, 16    x = d q + m
 *   Q8_0   34        d, 32 signed bytes             x = d q
 *          Byte i of `qs` holds element i in its low half and element i + 16 in its high half; bit
 * j of `qh` (as one 32-bit number) is the fifth bit of element j. Q4_K  144        d, dmin, 12
 * bytes scales, 128 bytes of two 4-bit q Q5_K  176        d, dmin, 12 bytes scales, 32 bytes high
 * bits, 128 Eight parts of 32; part p has a 6-bit scale and a 6-bit minimum (num_k_scale()): x = (d
 * scale) q - (dmin minimum). Bytes 32 c to 32 c + 31 of `qs` hold part 2 c in their low halves and
 * part 2 c + 1 in their high ones; bit p of qh[i] is the fifth bit of element i of part p. Q6_K 210
 * 128 bytes low 4 bits, 64 bytes high 2 bits, 16 signed scales, d Two halves of 128, each four
 * parts of 32: element i of part p of half h has its low bits in byte 64 h + 32 (p % 2) + i of `ql`
 * (low half of the byte for p < 2), its high bits in bits 2 p and 2 p + 1 of qh[32 h + i]; x = (d
 * scales[8 h + 2 p + i / 16]) (q - 32).
 *
 * All products above are exact in float, so dequantised values do not depend on how they are
 * evaluated. Formats as published by ggml (github.com/ggml-org/ggml, MIT).
 */
#ifndef NUM_WEIGHTS_H
#define NUM_WEIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "num/safetensors.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NUM_BLOCK       32
#define NUM_SUPER_BLOCK 256

enum num_weight_type {
    NUM_WEIGHT_F32,
    NUM_WEIGHT_F16,
    NUM_WEIGHT_BF16,
    NUM_WEIGHT_Q4_0,
    NUM_WEIGHT_Q4_1,
    NUM_WEIGHT_Q5_0,
    NUM_WEIGHT_Q5_1,
    NUM_WEIGHT_Q8_0,
    NUM_WEIGHT_Q4_K,
    NUM_WEIGHT_Q5_K,
    NUM_WEIGHT_Q6_K,
    NUM_N_WEIGHT_TYPES
};

/* The blocks. Packed: they may lie at any address. */
#define NUM_PACKED __attribute__((packed))

struct NUM_PACKED num_q4_0 {
    uint16_t d;
    uint8_t qs[16];
};
struct NUM_PACKED num_q4_1 {
    uint16_t d, m;
    uint8_t qs[16];
};
struct NUM_PACKED num_q5_0 {
    uint16_t d;
    uint8_t qh[4], qs[16];
};
struct NUM_PACKED num_q5_1 {
    uint16_t d, m;
    uint8_t qh[4], qs[16];
};
struct NUM_PACKED num_q8_0 {
    uint16_t d;
    int8_t qs[32];
};
struct NUM_PACKED num_q4_k {
    uint16_t d, dmin;
    uint8_t scales[12], qs[128];
};
struct NUM_PACKED num_q5_k {
    uint16_t d, dmin;
    uint8_t scales[12], qh[32], qs[128];
};
struct NUM_PACKED num_q6_k {
    uint8_t ql[128], qh[64];
    int8_t scales[16];
    uint16_t d;
};

/*
 * Scale and minimum of part `p` (0 to 7) of a Q4_K or Q5_K block. The low six bits of bytes 0 to 3
 * are scales 0 to 3, those of bytes 4 to 7 minima 0 to 3; parts 4 to 7 have their low four bits in
 * bytes 8 to 11 (scale in the low half) and their high two on top of bytes 0 to 3 and 4 to 7.
 */
static inline void num_k_scale(const uint8_t scales[12], int p, int *ret_scale, int *ret_min) {
    if (p < 4) {
        *ret_scale = scales[p] & 63;
        *ret_min = scales[p + 4] & 63;
    } else {
        *ret_scale = (scales[p + 4] & 15) | scales[p - 4] >> 6 << 4;
        *ret_min = scales[p + 4] >> 4 | scales[p] >> 6 << 4;
    }
}

/* "Q5_0"; elements and bytes of a block (1 element for F32, F16 and BF16). */
const char *num_weight_name(enum num_weight_type type);
uint32_t num_weight_block(enum num_weight_type type);
uint32_t num_weight_block_bytes(enum num_weight_type type);

/* The type that has that number in ggml's files (.gguf, whisper.cpp's .bin); false: none of
 * ours. */
bool num_weight_of_ggml(uint32_t number, enum num_weight_type *ret);

/*
 * A tensor, seen as a matrix of rows x cols: cols is the product of all dimensions but the first,
 * so that a convolution (out, in, 3) has rows of 3 in; a vector is one row.
 */
struct num_weights {
    const char *name;
    enum num_weight_type type;
    uint32_t n_dims;
    uint64_t shape[NUM_MAX_DIMS]; /* outermost first */
    uint64_t rows, cols;
    uint64_t row_bytes; /* from one row to the next */
    const void *data;   /* rows * row_bytes bytes, of any alignment, inside the mapped file */
};

/*
 * Sets rows, cols and row_bytes from type, n_dims and shape, and *ret_bytes to the size of the
 * data. False where a size is 0 or overflows, or where the innermost dimension is not whole blocks.
 */
bool num_weights_measure(struct num_weights *w, uint64_t *ret_bytes);

/* The view of a safetensors tensor; false where its type is none of F32, F16 and BF16, or it is
 * empty. */
bool num_weights_of_tensor(const struct num_tensor *t, struct num_weights *ret);

/* Rows [row, row + n) as floats, ret (n, cols): exact for every type. Any thread. */
void num_weights_to_f32(const struct num_weights *w, uint64_t row, uint64_t n, float *ret);

#ifdef __cplusplus
}
#endif

#endif
