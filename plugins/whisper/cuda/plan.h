/*
 * Where everything of a Whisper model lies on a CUDA device: one block, cut up before anything is
 * loaded. Pure functions on the host, without a CUDA type, so that a limit can be tested without a
 * device. Letters for sizes as in model.h; L decoder layers, H heads, d = D / H = 64.
 *
 * Types. `type` is what matrices are multiplied in: weights, activations, keys and values.
 * Norms, biases, positions and the residual stream are float always, and sums are float always.
 *
 * Matrices are row-major (n_out, n_in), as in the files: an output is a row, 16-byte aligned.
 */
#ifndef WH_CUDA_PLAN_H
#define WH_CUDA_PLAN_H

#include "num/cuda/type.h"
#include "whisper/model.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WH_CUDA_HEAD      64   /* d: all published models have it, and the kernels count on it */
#define WH_CUDA_ALIGN     256  /* bytes: start of every part */
#define WH_CUDA_LAYERS    64   /* at most, of each tower */
#define WH_CUDA_POSITIONS 1536 /* of a window, at most */

/* What the decoder's matrices are stored in. INT8: a byte with a scale for each output. INT4: two
 * to a byte with a scale for each WH_CUDA_GROUP inputs of an output. */
enum wh_cuda_packing { WH_CUDA_PLAIN, WH_CUDA_INT8, WH_CUDA_INT4 };
#define WH_CUDA_GROUP 64

/* Cross-attention: keys and values of every layer stored, or made from the encoder's output as it
 * is read (ABSORBED: nothing is stored but the output); BY_BATCH: stored, and not used by passes of
 * WH_CUDA_ABSORB_FROM windows and more. */
enum wh_cuda_cross { WH_CUDA_STORED, WH_CUDA_ABSORBED, WH_CUDA_BY_BATCH };
#define WH_CUDA_ABSORB_FROM 24

/* What stored keys and values are kept in: the type, or bytes with scales, kept.cuh. */
enum wh_cuda_kept { WH_CUDA_KEPT_PLAIN, WH_CUDA_KEPT_FP8, WH_CUDA_KEPT_INT8 };

struct wh_cuda_config {
    struct wh_dims dims;
    enum num_cuda_type type;
    enum wh_cuda_packing packing;
    enum wh_cuda_cross cross; /* not STORED only in half types */
    enum wh_cuda_kept kept;   /* likewise not PLAIN */
    uint32_t n_slots;         /* windows that are held */
    uint32_t n_rows;          /* sequences that are decoded at the same time */
    uint32_t n_windows;       /* encoded in one pass, at most n_slots */
    uint32_t n_tokens; /* of one pass of the decoder, at least wh_cuda_logits_rows(), and C */
};

/* ---- Weights on the device ------------------------------------------------------------------ */

struct wh_cuda_norm {
    float *gamma, *beta; /* (D) */
};

struct wh_cuda_matrix {
    void *w;       /* (n_out, n_in) in the config's type, or packed */
    float *scales; /* (n_out) INT8, (n_out, n_in / WH_CUDA_GROUP) INT4; NULL */
    float *bias;   /* (n_out); NULL: none */
    uint32_t n_out, n_in;
    enum wh_cuda_packing packing;
};

struct wh_cuda_encoder_layer {
    struct wh_cuda_norm attn_norm, mlp_norm;
    struct wh_cuda_matrix qkv; /* D -> 3 D: queries, keys, values; the keys' bias is zero */
    struct wh_cuda_matrix out; /* D -> D */
    struct wh_cuda_matrix fc1; /* D -> F */
    struct wh_cuda_matrix fc2; /* F -> D */
};

struct wh_cuda_decoder_layer {
    struct wh_cuda_norm attn_norm, cross_norm, mlp_norm;
    struct wh_cuda_matrix qkv, out, cross_q, cross_out, fc1, fc2;
    struct wh_cuda_matrix cross_kv; /* D -> 2 D: keys, values; a part of the whole below. Its bias
                                       holds zeros for the keys; see cross_kv of the slots. */
};

struct wh_cuda_weights {
    struct wh_cuda_matrix conv1; /* (D, 3 M), an output [tap][mel]: a filter in NHWC order */
    struct wh_cuda_matrix conv2; /* (D, 3 D), an output [tap][channel] */
    float *audio_positions;      /* (T, D) */
    struct wh_cuda_encoder_layer encoder[WH_CUDA_LAYERS];
    struct wh_cuda_norm encoder_norm;
    float *text_positions; /* (C, D) */
    struct wh_cuda_decoder_layer decoder[WH_CUDA_LAYERS];
    struct wh_cuda_norm decoder_norm;
    struct wh_cuda_matrix vocabulary; /* (V, D): embeds tokens and makes logits */
    struct wh_cuda_matrix cross_kv;   /* (L 2 D, D): of all layers, one below the other */
};

/* Gives every weight its place from `base` on, which may be NULL: then only the bytes count.
 * Returns the bytes. */
size_t wh_cuda_weights_place(struct wh_cuda_weights *w, const struct wh_cuda_config *c, void *base);

/* ---- The block ------------------------------------------------------------------------------ */

/* Offsets from the start of the block. WH_CUDA_ALIGN bytes before each part but the first are a
 * gap. */
struct wh_cuda_plan {
    size_t weights;
    size_t encoded;      /* (n_slots, T, D) in `type`: the encoder's output, normed */
    size_t cross_kv;     /* (L, n_slots) of wh_cuda_cross_bytes(): keys, and values without their
                            bias; ABSORBED: nothing */
    size_t self_kv;      /* (L, n_rows, C, 2 D): cells of keys and values, see decoder.h */
    size_t encoder_work; /* wh_cuda_encoder_bytes() */
    size_t decoder_work; /* wh_cuda_decoder_bytes() */
    size_t logits;       /* (wh_cuda_logits_rows(), V) float */
    size_t gemm_work[2]; /* of the encoder's and of the decoder's stream */
    size_t bytes;        /* of the whole block */
};

#define WH_CUDA_LEAST_LOGITS 16 /* rows of logits that are made at a time, at least */
/* Workspace of a product, at most: what cuBLASLt advises. */
#define WH_CUDA_GEMM_BYTES (32u << 20)

/* Rows of logits: n_rows, or somewhat more. A pass takes at least as many tokens. */
uint32_t wh_cuda_logits_rows(const struct wh_cuda_config *c);
size_t wh_cuda_gemm_bytes(const struct wh_cuda_config *c);

/* Keys and values of a layer and a slot, as they are kept. */
size_t wh_cuda_cross_bytes(const struct wh_cuda_config *c);

/* What the two towers need between their kernels. encoder_plan.c and decoder_plan.c. */
size_t wh_cuda_encoder_bytes(const struct wh_cuda_config *c);
size_t wh_cuda_decoder_bytes(const struct wh_cuda_config *c);

/*
 * Plans `c` within `cap` bytes (0: no limit). Windows are made fewer where they do not fit, never
 * below least_slots, and least_rows rows are kept for each; *c says what is left. SLUICE_RESOURCE
 * with the bytes needed and the cap where that is not enough, SLUICE_UNSUPPORTED for sizes that the
 * kernels do not take.
 */
int32_t wh_cuda_plan_make(struct wh_cuda_config *c, uint32_t least_slots, uint32_t least_rows,
                          uint64_t cap, struct wh_cuda_plan *ret, struct num_err *err);

#ifdef __cplusplus
}
#endif

#endif
