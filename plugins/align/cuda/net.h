/*
 * A wav2vec 2.0 or HuBERT network on a card: what backend.c creates, and what the steps of a run
 * work on. Everything on the card lies in one block that is taken at create; nothing is allocated
 * after. Letters for sizes as in align/net_own.h; `type`, BF16 or F32, is what matrices are
 * multiplied in, while the residual stream, norms, biases and sums are float always. The first
 * convolution sees samples and is float inside.
 */
#ifndef ALIGN_CUDA_NET_H
#define ALIGN_CUDA_NET_H

#include <cuda_runtime_api.h>

#include "align/backend.h"
#include "align/sound.h"
#include "num/cuda/device.h"
#include "num/cuda/gemm.h"

#ifdef __cplusplus
extern "C" {
#endif

#define AL_CUDA_HEAD       64          /* values of a head: what the attention's kernel takes */
#define AL_CUDA_LAYERS     64          /* at most */
#define AL_CUDA_UNFOLD     128         /* frames whose neighbours are unfolded at a time */
#define AL_CUDA_GEMM_BYTES (32u << 20) /* workspace of a product, at most: what cuBLASLt advises */
#define AL_CUDA_TEXTS      32          /* aligned at a time, */
#define AL_CUDA_TEXT_BYTES                                                                         \
    ((size_t)32 << 20) /* in so much memory; what is larger, the processor aligns */

struct al_cuda_norm {
    float *gamma, *beta;
};

struct al_cuda_matrix {
    void *w;     /* (n_out, k) in the type, or float */
    float *bias; /* (n_out) */
    size_t n_out, k;
};

struct al_cuda_layer {
    struct al_cuda_norm attention_norm, final_norm, adapter_norm;
    struct al_cuda_matrix qkv, out, fc1, fc2;
    struct al_cuda_matrix adapter_in, adapter_out; /* float */
    void *qkv_bias; /* in the type, as the library's epilogue wants it */
};

struct al_cuda_weights {
    /* (taps, dim), (dim): made anew for every sound where it has a norm */
    float *first, *first_bias;
    struct al_cuda_norm conv_norms[AL_MAX_CONVS];
    struct al_cuda_matrix convs[AL_MAX_CONVS]; /* from 1 on; inputs [tap][channel] */
    struct al_cuda_norm projection_norm, encoder_norm;
    struct al_cuda_matrix projection;
    struct al_cuda_matrix positions; /* (D, taps, width): groups one below the other */
    struct al_cuda_layer layers[AL_CUDA_LAYERS];
    struct al_cuda_matrix head;
};

struct al_cuda_buffers {
    float *samples;
    void *convs[2];  /* outputs of convolutions with an even number, and an odd one; type */
    float *x, *y;    /* (T, D): the residual stream; what positions and adapters make */
    void *unfolded;  /* (groups, AL_CUDA_UNFOLD, taps, width) type */
    void *input;     /* (T, max(D, features)) type: of products; then what attention found */
    void *wide;      /* (T, max(3 D, F)) type: queries, keys and values; the MLP's hidden layer */
    void *add;       /* (T, D) float or type: what is added to the stream next */
    float *logits;   /* (T, V up to whole 16 bytes); an adapter's hidden layer */
    float *logp;     /* (T, V) */
    char *texts;     /* AL_CUDA_TEXT_BYTES */
    char *workspace; /* AL_CUDA_GEMM_BYTES */
};

struct al_cuda_net {
    struct al_config config;
    enum num_cuda_type type;
    size_t max_frames, bytes;
    struct num_cuda_device device;
    struct al_cuda_weights w; /* pointers into `block`, as in b */
    struct al_cuda_buffers b;
    char *block;
    cudaStream_t stream;
    struct num_cuda_gemm *gemm;

    /* on the host: the first convolution and its norm over time */
    float *first_weight, *gamma, *beta;
    float *folded; /* (taps, dim) and (dim): the same for the sound at hand */
    struct al_sound sound;
    char *pinned; /* what goes to the card and comes back */
};

/* ---- net_load.c: gives every weight and buffer its place from `base` on (NULL: only counts);
 * returns the bytes. */
size_t al_cuda_place(struct al_cuda_net *net, char *base);
int32_t al_cuda_load(struct al_cuda_net *net, const struct al_files *files, struct num_err *err);
/* SLUICE_UNSUPPORTED for sizes that the kernels do not take. */
int32_t al_cuda_check(const struct al_config *config, struct num_err *err);

/* Samples that a run of n frames reads. */
size_t al_cuda_samples(const struct al_config *config, size_t n);
/* Floats of a row of logits. */
size_t al_cuda_logits(const struct al_config *config);

/* ---- net_run.c: queues a run and waits for it; ret (n, V) on the host. */
int32_t al_cuda_run(struct al_cuda_net *net, size_t first, size_t n, const struct num_watch *watch,
                    float *ret, struct num_err *err);

#ifdef __cplusplus
}
#endif

#endif
