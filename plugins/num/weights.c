/*
 * Weight views and dequantisation: the formats are drawn in weights.h.
 *
 * One function a block type, plain loops over one block; a table binds type, block size and
 * function. They are for loading and for tests: a backend that computes with quantised weights has
 * kernels of its own, which agree with these.
 */
#include "num/weights.h"

#include <string.h>

#include "num/half.h"

/* ---- Blocks --------------------------------------------------------------------------------- */

static void f16_block(const void *block, float *x) {
    uint16_t bits;
    memcpy(&bits, block, sizeof bits);
    *x = num_f16_to_f32(bits);
}

static void bf16_block(const void *block, float *x) {
    uint16_t bits;
    memcpy(&bits, block, sizeof bits);
    *x = num_bf16_to_f32(bits);
}

static void q4_0_block(const void *block, float *x) {
    const struct num_q4_0 *b = block;
    float d = num_f16_to_f32(b->d);
    for (int i = 0; i < 16; i++) {
        x[i] = d * (float)((b->qs[i] & 15) - 8);
        x[i + 16] = d * (float)((b->qs[i] >> 4) - 8);
    }
}

static void q4_1_block(const void *block, float *x) {
    const struct num_q4_1 *b = block;
    float d = num_f16_to_f32(b->d), m = num_f16_to_f32(b->m);
    for (int i = 0; i < 16; i++) {
        x[i] = d * (float)(b->qs[i] & 15) + m;
        x[i + 16] = d * (float)(b->qs[i] >> 4) + m;
    }
}

/* The fifth bits of a block as one number. */
static uint32_t fifth_bits(const uint8_t qh[4]) {
    return (uint32_t)qh[0] | (uint32_t)qh[1] << 8 | (uint32_t)qh[2] << 16 | (uint32_t)qh[3] << 24;
}

/* The 32 numbers of 0 to 31 that a block of Q5_0 or Q5_1 holds. */
static void five_bits(const uint8_t qh[4], const uint8_t qs[16], int q[32]) {
    uint32_t high = fifth_bits(qh);
    for (int i = 0; i < 16; i++) {
        q[i] = (qs[i] & 15) | (int)(high >> i & 1) << 4;
        q[i + 16] = qs[i] >> 4 | (int)(high >> (i + 16) & 1) << 4;
    }
}

static void q5_0_block(const void *block, float *x) {
    const struct num_q5_0 *b = block;
    float d = num_f16_to_f32(b->d);
    int q[32];
    five_bits(b->qh, b->qs, q);
    for (int i = 0; i < 32; i++)
        x[i] = d * (float)(q[i] - 16);
}

static void q5_1_block(const void *block, float *x) {
    const struct num_q5_1 *b = block;
    float d = num_f16_to_f32(b->d), m = num_f16_to_f32(b->m);
    int q[32];
    five_bits(b->qh, b->qs, q);
    for (int i = 0; i < 32; i++)
        x[i] = d * (float)q[i] + m;
}

static void q8_0_block(const void *block, float *x) {
    const struct num_q8_0 *b = block;
    float d = num_f16_to_f32(b->d);
    for (int i = 0; i < 32; i++)
        x[i] = d * (float)b->qs[i];
}

static void q4_k_block(const void *block, float *x) {
    const struct num_q4_k *b = block;
    float d = num_f16_to_f32(b->d), dmin = num_f16_to_f32(b->dmin);
    for (int p = 0; p < 8; p++) {
        int scale, min;
        num_k_scale(b->scales, p, &scale, &min);
        const uint8_t *qs = b->qs + p / 2 * 32;
        for (int i = 0; i < 32; i++) {
            int q = p % 2 ? qs[i] >> 4 : qs[i] & 15;
            x[32 * p + i] = d * (float)scale * (float)q - dmin * (float)min;
        }
    }
}

static void q5_k_block(const void *block, float *x) {
    const struct num_q5_k *b = block;
    float d = num_f16_to_f32(b->d), dmin = num_f16_to_f32(b->dmin);
    for (int p = 0; p < 8; p++) {
        int scale, min;
        num_k_scale(b->scales, p, &scale, &min);
        const uint8_t *qs = b->qs + p / 2 * 32;
        for (int i = 0; i < 32; i++) {
            int q = (p % 2 ? qs[i] >> 4 : qs[i] & 15) | (b->qh[i] >> p & 1) << 4;
            x[32 * p + i] = d * (float)scale * (float)q - dmin * (float)min;
        }
    }
}

static void q6_k_block(const void *block, float *x) {
    const struct num_q6_k *b = block;
    float d = num_f16_to_f32(b->d);
    for (int h = 0; h < 2; h++)
        for (int p = 0; p < 4; p++)
            for (int i = 0; i < 32; i++) {
                int low = b->ql[64 * h + 32 * (p % 2) + i];
                int q = (p < 2 ? low & 15 : low >> 4) | (b->qh[32 * h + i] >> (2 * p) & 3) << 4;
                float scale = d * (float)b->scales[8 * h + 2 * p + i / 16];
                x[128 * h + 32 * p + i] = scale * (float)(q - 32);
            }
}

/* The loop over blocks, once for each type, so that the compiler sees through it. */
#define BLOCKS(type, elements, bytes)                                                              \
    static void type##_blocks(const uint8_t *from, uint64_t n, float *x) {                         \
        for (uint64_t i = 0; i < n; i++)                                                           \
            type##_block(from + i * (bytes), x + i * (elements));                                  \
    }

BLOCKS(f16, 1, 2)
BLOCKS(bf16, 1, 2)
BLOCKS(q4_0, NUM_BLOCK, sizeof(struct num_q4_0))
BLOCKS(q4_1, NUM_BLOCK, sizeof(struct num_q4_1))
BLOCKS(q5_0, NUM_BLOCK, sizeof(struct num_q5_0))
BLOCKS(q5_1, NUM_BLOCK, sizeof(struct num_q5_1))
BLOCKS(q8_0, NUM_BLOCK, sizeof(struct num_q8_0))
BLOCKS(q4_k, NUM_SUPER_BLOCK, sizeof(struct num_q4_k))
BLOCKS(q5_k, NUM_SUPER_BLOCK, sizeof(struct num_q5_k))
BLOCKS(q6_k, NUM_SUPER_BLOCK, sizeof(struct num_q6_k))

static void f32_blocks(const uint8_t *from, uint64_t n, float *x) {
    memcpy(x, from, n * sizeof *x);
}

static const struct {
    const char *name;
    uint32_t ggml; /* its number in ggml's files */
    uint32_t block, bytes;
    void (*to_f32)(const uint8_t *from, uint64_t n_blocks, float *x);
} types[NUM_N_WEIGHT_TYPES] = {
    [NUM_WEIGHT_F32] = {"F32", 0, 1, 4, f32_blocks},
    [NUM_WEIGHT_F16] = {"F16", 1, 1, 2, f16_blocks},
    [NUM_WEIGHT_BF16] = {"BF16", 30, 1, 2, bf16_blocks},
    [NUM_WEIGHT_Q4_0] = {"Q4_0", 2, NUM_BLOCK, sizeof(struct num_q4_0), q4_0_blocks},
    [NUM_WEIGHT_Q4_1] = {"Q4_1", 3, NUM_BLOCK, sizeof(struct num_q4_1), q4_1_blocks},
    [NUM_WEIGHT_Q5_0] = {"Q5_0", 6, NUM_BLOCK, sizeof(struct num_q5_0), q5_0_blocks},
    [NUM_WEIGHT_Q5_1] = {"Q5_1", 7, NUM_BLOCK, sizeof(struct num_q5_1), q5_1_blocks},
    [NUM_WEIGHT_Q8_0] = {"Q8_0", 8, NUM_BLOCK, sizeof(struct num_q8_0), q8_0_blocks},
    [NUM_WEIGHT_Q4_K] = {"Q4_K", 12, NUM_SUPER_BLOCK, sizeof(struct num_q4_k), q4_k_blocks},
    [NUM_WEIGHT_Q5_K] = {"Q5_K", 13, NUM_SUPER_BLOCK, sizeof(struct num_q5_k), q5_k_blocks},
    [NUM_WEIGHT_Q6_K] = {"Q6_K", 14, NUM_SUPER_BLOCK, sizeof(struct num_q6_k), q6_k_blocks},
};

const char *num_weight_name(enum num_weight_type type) {
    return types[type].name;
}

uint32_t num_weight_block(enum num_weight_type type) {
    return types[type].block;
}

uint32_t num_weight_block_bytes(enum num_weight_type type) {
    return types[type].bytes;
}

bool num_weight_of_ggml(uint32_t number, enum num_weight_type *ret) {
    for (int i = 0; i < NUM_N_WEIGHT_TYPES; i++)
        if (types[i].ggml == number) {
            *ret = (enum num_weight_type)i;
            return true;
        }
    return false;
}

/* ---- Views ---------------------------------------------------------------------------------- */

bool num_weights_measure(struct num_weights *w, uint64_t *ret_bytes) {
    uint32_t block = types[w->type].block;
    uint64_t rows = w->n_dims > 1 ? w->shape[0] : 1, cols = 1, row_bytes, bytes;
    for (uint32_t i = w->n_dims > 1; i < w->n_dims; i++)
        if (__builtin_mul_overflow(cols, w->shape[i], &cols))
            return false;
    uint64_t inner = w->n_dims ? w->shape[w->n_dims - 1] : 1;
    if (rows == 0 || cols == 0 || inner % block ||
        __builtin_mul_overflow(cols / block, (uint64_t)types[w->type].bytes, &row_bytes) ||
        __builtin_mul_overflow(rows, row_bytes, &bytes))
        return false;
    w->rows = rows;
    w->cols = cols;
    w->row_bytes = row_bytes;
    *ret_bytes = bytes;
    return true;
}

bool num_weights_of_tensor(const struct num_tensor *t, struct num_weights *ret) {
    if (!num_tensor_is_float(t))
        return false;
    struct num_weights w = {.name = t->name, .n_dims = t->n_dims, .data = t->data};
    w.type = t->dtype == NUM_F32   ? NUM_WEIGHT_F32
             : t->dtype == NUM_F16 ? NUM_WEIGHT_F16
                                   : NUM_WEIGHT_BF16;
    memcpy(w.shape, t->shape, sizeof w.shape);
    uint64_t bytes;
    if (!num_weights_measure(&w, &bytes))
        return false;
    *ret = w;
    return true;
}

void num_weights_to_f32(const struct num_weights *w, uint64_t row, uint64_t n, float *ret) {
    uint32_t block = types[w->type].block;
    const uint8_t *from = (const uint8_t *)w->data + row * w->row_bytes;
    types[w->type].to_f32(from, n * (w->cols / block), ret); /* rows lie back to back */
}
