/*
 * The network's own structures, shared by net.c (buffers, runs), net_load.c (weights), net_conv.c
 * (from samples to features and positions) and net_layers.c (the transformer). D is the width of
 * the residual stream, F that of the MLP, H the number of heads, d = D / H, T frames of a run.
 *
 * `act` is the type of weights and of inputs of products; the residual stream, norms and softmax
 * are float always. The first convolution sees samples and stays float.
 */
#ifndef ALIGN_NET_OWN_H
#define ALIGN_NET_OWN_H

#include "align/net.h"
#include "align/sound.h"
#include "num/cpu/arena.h"
#include "num/cpu/kv.h"
#include "num/cpu/linear.h"

#define AL_PAD        32 /* values between rows: reads in whole words go past the end of a row */
#define AL_SLACK_ROWS 32 /* behind matrices: rows are read in groups */

struct al_layer_norm {
    float *gamma, *beta;
};

struct al_layer {
    struct al_layer_norm attention_norm, final_norm, adapter_norm;
    struct num_linear q, kv, out, fc1, fc2;
    struct num_linear adapter_in, adapter_out; /* float */
};

struct al_conv {
    struct num_linear linear;  /* inputs [tap][channel] */
    struct al_layer_norm norm; /* of layers, or the group norm of the first */
};

struct al_net {
    struct al_config config;
    enum num_compute act;
    size_t act_bytes, max_frames, n_threads;
    const struct num_kernels *kernels;
    struct num_pool *pool;
    struct num_arena arena; /* owns all that follows */

    struct al_conv convs[AL_MAX_CONVS];
    float *first_weight, *folded; /* (dim, kernel): as loaded, and with the norm in it */
    struct al_layer_norm projection_norm, encoder_norm;
    struct num_linear projection;
    struct num_linear *positions; /* one for each group: (kernel, D / groups) -> D / groups */
    struct al_layer *layers;
    struct num_linear head; /* D -> vocabulary */

    struct al_sound sound;

    size_t first, T;  /* the run at hand */
    float *features;  /* (T, last conv_dim) */
    float *x;         /* (T, D): the residual stream */
    char *queries;    /* (T, D + AL_PAD) act: then attention's output */
    struct num_kv kv; /* the layout of one head's keys and values */
    uint32_t *heads;  /* (H, kv.head_words) */
    float *ret;       /* (T, n_vocab) */
    const struct al_layer *layer;
    char *scratch; /* of each thread: scratch_bytes */
    size_t scratch_bytes;

    al_tap *tap;
    void *tap_ctx;
};

/* ---- net_load.c */
int32_t al_net_load(struct al_net *net, const struct al_files *files, struct num_err *err);

/* ---- net_conv.c */
size_t al_conv_scratch(const struct al_net *net);
void al_conv_listen(struct al_net *net);
int32_t al_conv_run(struct al_net *net, const struct num_watch *watch, struct num_err *err);

/* ---- net_layers.c */
size_t al_layers_scratch(const struct al_net *net);
int32_t al_layers_run(struct al_net *net, const struct num_watch *watch, struct num_err *err);

/* ---- attend.c */
/* All heads of all queries; the output takes the place of the queries. */
void al_attend(struct al_net *net);

/* ---- net.c */
static inline size_t al_lines(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

/* All outputs of a layer for n rows. */
void al_linear(const struct al_net *net, const struct num_linear *linear, const void *x, size_t ldx,
               size_t n, enum num_form form, void *y, size_t ldy);
/* A row of n floats as `act`. */
void al_to_act(const struct al_net *net, const float *x, size_t n, char *to);

#endif
