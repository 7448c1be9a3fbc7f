/*
 * The CPU backend's own structures, shared by cpu.c (the table, buffers, rows and slots),
 * cpu_load.c (weights), cpu_kv.c (keys and values), cpu_encoder.c and cpu_decoder.c. Letters for
 * sizes as in model.h; H is the number of heads, d = D / H the width of one, W is D rounded up to
 * whole panels.
 *
 * Types. `compute` is what the weights of the transformer's layers are packed in: float, bfloat16
 * or bytes. `act` is what convolutions, attention and keys and values are computed in: float where
 * `compute` is float, else bfloat16. The residual stream, norms and softmax are float always.
 *
 * Stored layers. Where a file holds blocks of few bits and bytes are allowed, the decoder's layers
 * are not packed but copied as they are and multiplied like that: fewer bytes in memory, and to
 * read for every token.
 */
#ifndef WH_CPU_H
#define WH_CPU_H

#include "num/cpu/kernels.h"
#include "num/cpu/kv.h"
#include "num/cpu/linear.h"
#include "num/cpu/quant.h"
#include "num/pool.h"
#include "whisper/model.h"

#define WH_LOGITS_ROWS 8 /* rows that share one pass over the vocabulary */

struct wh_norm {
    float *gamma, *beta; /* (D) */
};

struct wh_encoder_layer {
    struct wh_norm attn_norm, mlp_norm;
    struct num_linear q, kv; /* D -> D, D -> 2 D: keys and values; the keys' bias is zero */
    struct num_linear out;   /* D -> D */
    struct num_linear fc1;   /* D -> F */
    struct num_linear fc2;   /* F -> D */
};

/* A layer of the decoder, in one of two forms. */
struct wh_linear {
    struct num_stored stored; /* its k is 0: packed */
    struct num_linear packed;
};

struct wh_decoder_layer {
    struct wh_norm attn_norm, cross_norm, mlp_norm;
    struct wh_linear qkv; /* D -> 3 D */
    struct wh_linear out, cross_q, cross_out, fc1, fc2;
    struct num_linear cross_kv; /* D -> 2 D, run once a window */
};

/* Keys and values of each (row or slot, layer, head). What was never written is zero in self_kv; in
 * cross_kv it may be anything, since the encoder keeps its own buffers in a slot's row until it
 * fills it. */
struct wh_kv {
    struct num_kv head; /* the layout of one */
    size_t n_heads, n_layers, row_words;
    uint32_t *base; /* (rows, n_layers, n_heads, head.head_words) */
};

struct wh_cpu {
    struct wh_dims dims;
    struct wh_limits limits;
    enum num_compute compute, act;
    bool stored; /* blocks of the file are multiplied as they are, where that pays */
    const struct num_kernels *kernels;
    const struct num_quant_kernels *quant;
    struct num_pool *pool;
    struct num_arena arena; /* owns all that follows, but for ... */
    struct num_arena rows;  /* ... self_kv.base and reorder_work, which are filled as tokens come */
    size_t W, V32;          /* V32: V rounded up to whole panels */

    struct num_linear conv1; /* 3 M -> D, inputs [tap][mel] */
    struct num_linear conv2; /* 3 W -> D, inputs [tap][channel, W of them] */
    float *audio_positions;  /* (T, D) */
    struct wh_encoder_layer *encoder;
    struct wh_norm encoder_norm;

    float *text_positions; /* (C, D) */
    struct wh_decoder_layer *decoder;
    struct wh_norm decoder_norm;
    struct wh_linear vocabulary; /* D -> V: embeds tokens and makes logits */

    struct wh_kv self_kv;  /* a row each */
    struct wh_kv cross_kv; /* a slot each */
    uint32_t *row_len;     /* tokens in each row */
    uint32_t *row_slot;    /* the slot that it reads */

    float *encoded;         /* (n_slots, T, D) */
    void *work;             /* buffers of cpu_encoder.c and of cpu_decoder.c, in turn */
    float *logits_work;     /* (WH_LOGITS_ROWS, V32) */
    uint32_t *reorder_work; /* one row of self_kv for each row */
};

/* Bytes of one value of `act`. */
static inline size_t wh_act_bytes(const struct wh_cpu *cpu) {
    return cpu->act == NUM_COMPUTE_F32 ? 4 : 2;
}

/* ---- cpu_load.c ----------------------------------------------------------------------------- */

/* Reads all weights into the layers of `cpu`, whose sizes, pool and arrays of layers are there. */
int32_t wh_cpu_read(struct wh_cpu *cpu, const struct wh_weights *weights, struct num_err *err);

/* Finds one tensor for every size of the configuration, so that no size is believed before memory
 * is taken. */
int32_t wh_cpu_check_sizes(const struct wh_weights *w, const struct wh_dims *s,
                           struct num_err *err);

/* ---- cpu_kv.c ------------------------------------------------------------------------------- */

/* Sizes for `len` positions; base is left to the caller, row_words words a row, zeros. */
void wh_kv_init(struct wh_kv *kv, enum num_compute type, size_t len, size_t d, size_t n_heads,
                size_t n_layers);
uint32_t *wh_kv_head(const struct wh_kv *kv, size_t row, size_t layer, size_t head);

/* num_kv_prepare() for all layers and heads of a row. */
void wh_kv_prepare(const struct wh_kv *kv, size_t row, size_t n);

/* Copies the first n positions of all layers and heads from one row, or buffer, to another. */
void wh_kv_copy(const struct wh_kv *kv, size_t n, uint32_t *to, const uint32_t *from);

/* ---- cpu_encoder.c -------------------------------------------------------------------------- */

size_t wh_encoder_work_bytes(const struct wh_cpu *cpu);
int32_t wh_cpu_encode(void *self, const float *const *mel, const uint32_t *slots, uint32_t n,
                      const struct num_watch *watch, struct num_err *err);

/* ---- cpu_decoder.c -------------------------------------------------------------------------- */

size_t wh_decoder_work_bytes(const struct wh_cpu *cpu);
int32_t wh_cpu_prefill(void *self, const struct wh_prompt *prompts, uint32_t n,
                       struct num_err *err);
int32_t wh_cpu_step(void *self, const struct wh_step *steps, uint32_t n, float *ret_logits,
                    struct num_err *err);
int32_t wh_cpu_attention(void *self, const struct wh_alignment *alignments, uint32_t n,
                         struct num_err *err);

#endif
