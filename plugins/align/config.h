/*
 * The sizes of a wav2vec 2.0 or HuBERT network with a CTC head, from config.json and
 * preprocessor_config.json. Architecture: Baevski et al., "wav2vec 2.0" (2020); Hsu et al.,
 * "HuBERT" (2021); names as in github.com/huggingface/transformers.
 */
#ifndef ALIGN_CONFIG_H
#define ALIGN_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "num/err.h"

#define AL_MAX_CONVS 16

struct al_config {
    bool hubert;           /* tensors are called hubert.*, not wav2vec2.* */
    bool layer_norm_convs; /* each convolution has a layer norm; else the first a group norm */
    bool conv_bias;
    bool stable; /* norms before attention and MLP, not behind them */
    bool projection_norm;
    bool normalize; /* the sound is brought to mean 0 and variance 1 */
    uint32_t n_convs, conv_dim[AL_MAX_CONVS], conv_kernel[AL_MAX_CONVS], conv_stride[AL_MAX_CONVS];
    uint32_t n_state, n_layers, n_heads, n_ffn, n_vocab;
    uint32_t pos_kernel, pos_groups;
    uint32_t n_adapter; /* width of the adapter of each layer, as in MMS; 0: none */
    int32_t pad;        /* pad_token_id, the blank; -1: not said */
};

/*
 * Parses both; `preprocessor` may be NULL. Refuses what the network here does not do, and says
 * what it is. SLUICE_INPUT, SLUICE_UNSUPPORTED.
 */
int32_t al_config_parse(const char *config, size_t config_len, const char *preprocessor,
                        size_t preprocessor_len, struct al_config *ret, struct num_err *err);

/* Samples that one frame steps by, and that it sees. */
uint32_t al_config_stride(const struct al_config *config);
uint32_t al_config_field(const struct al_config *config);

/* Frames that the convolutions make of n samples. */
size_t al_config_frames(const struct al_config *config, size_t n_samples);

#endif
