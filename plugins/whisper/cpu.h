/*
 * The CPU backend's own structures, shared by cpu.c (load, rows and slots), cpu_encoder.c and
 * cpu_decoder.c. Letters for sizes as in model.h; H is the number of heads, d = D / H the width of
 * one, d32 and T32 are d and T rounded up to whole panels.
 */
#ifndef WH_CPU_H
#define WH_CPU_H

#include "num/cpu/kernels.h"
#include "num/cpu/linear.h"
#include "num/pool.h"
#include "whisper/model.h"

#define WH_LOGITS_ROWS 8 /* rows that share one pass over the vocabulary */

struct wh_norm {
    float *gamma, *beta; /* (D) */
};

/* A wide layer: row-major, for oneDNN. */
struct wh_dense {
    float *weight; /* (n_out, k) */
    float *bias;   /* (n_out) */
};

struct wh_encoder_layer {
    struct wh_norm attn_norm, mlp_norm;
    struct wh_dense qkv; /* (3 D, D): queries, keys, values; the keys' bias is zero */
    struct wh_dense out; /* (D, D) */
    struct wh_dense fc1; /* (F, D) */
    struct wh_dense fc2; /* (D, F) */
};

struct wh_decoder_layer {
    struct wh_norm attn_norm, cross_norm, mlp_norm;
    struct num_linear qkv;     /* D -> 3 D */
    struct num_linear out;     /* D -> D */
    struct num_linear cross_q; /* D -> D */
    struct num_linear cross_out;
    struct num_linear fc1, fc2;
    struct wh_dense cross_kv; /* (2 D, D): wide, run once a window */
};

/*
 * Keys and values of one (layer, row or slot, head), in panels, so that attention is two narrow
 * products:
 *     keys   (len / 32, d, 32)    scores = panels(q)    position p: panel p / 32, column p % 32
 *     values (d32 / 32, len, 32)  out = panels(scores)  element e: panel e / 32, column e % 32
 */
struct wh_kv {
    float *base;
    size_t len32;                     /* positions, whole panels */
    size_t head_floats, layer_floats; /* strides */
    size_t row_floats;                /* of one row or slot */
};

struct wh_cpu {
    struct wh_dims dims;
    struct wh_limits limits;
    const struct num_kernels *kernels;
    struct num_pool *pool;
    size_t d, d32, T32, C32, V32; /* V32: V rounded up to whole panels */
    size_t text_d, text_d32;

    float *floats; /* owns all weights that are not panels */
    size_t n_floats, used_floats;
    struct wh_dense conv1, conv2; /* (D, 3 M), (D, 3 D): [out][tap][in] */
    float *audio_positions;       /* (T, D) */
    struct wh_encoder_layer *encoder;
    struct wh_norm encoder_norm;

    float *embedding;      /* (V, D), rows for look-up */
    float *text_positions; /* (C, D) */
    struct wh_decoder_layer *decoder;
    struct wh_norm decoder_norm;
    struct num_linear logits; /* D -> V */

    struct wh_kv self_kv;  /* a row each */
    struct wh_kv cross_kv; /* a slot each */
    uint32_t *row_len;     /* tokens in each row */
    uint32_t *row_slot;    /* the slot that it reads */

    float *encoder_work; /* buffers of cpu_encoder.c */
    float *encoded;      /* (n_slots, T, D) */
    float *decoder_work; /* buffers of cpu_decoder.c */
    float *logits_work;  /* (WH_LOGITS_ROWS, V32) */
    float *reorder_work; /* one row of self_kv for each row */
};

/* Keys and values of one head. */
float *wh_kv_keys(const struct wh_kv *kv, size_t row, size_t layer, size_t head);
float *wh_kv_values(const struct wh_kv *kv, size_t row, size_t layer, size_t head, size_t d);

size_t wh_encoder_work_floats(const struct wh_cpu *cpu);
int32_t wh_cpu_encode(void *self, const float *const *mel, const uint32_t *slots, uint32_t n,
                      const struct wh_watch *watch, struct num_err *err);

size_t wh_decoder_work_floats(const struct wh_cpu *cpu);
int32_t wh_cpu_prefill(void *self, const struct wh_prompt *prompts, uint32_t n,
                       struct num_err *err);
int32_t wh_cpu_step(void *self, const struct wh_step *steps, uint32_t n, float *ret_logits,
                    struct num_err *err);
int32_t wh_cpu_attention(void *self, const struct wh_alignment *alignment, struct num_err *err);

#endif
