/*
 * Weights of the Silero voice activity detector (versions 5 and 6, the network for 16 kHz), from
 * the files that people have.
 */
#ifndef AUDIO_VAD_SILERO_FILE_H
#define AUDIO_VAD_SILERO_FILE_H

#include <stddef.h>

#include "num/err.h"

/* Convolutions are (outputs, inputs, taps). The four gates of the LSTM are input, forget, cell,
 * output. */
struct vad_silero_weights {
    float basis[258][256]; /* 129 windowed cosines, then 129 sines */
    float conv1[128][129][3], conv1_bias[128];
    float conv2[64][128][3], conv2_bias[64];
    float conv3[64][64][3], conv3_bias[64];
    float conv4[128][64][3], conv4_bias[128];
    float lstm_input[4][128][128], lstm_input_bias[4][128];
    float lstm_state[4][128][128], lstm_state_bias[4][128];
    float output[128], output_bias;
};

/*
 * Reads the file's bytes: the ggml file of whisper.cpp or Silero's safetensors, told apart by their
 * first bytes; F16 (and BF16) become float. `name` is for messages. SLUICE_INPUT: damaged or
 * another file; SLUICE_UNSUPPORTED: weights of another network.
 */
int32_t vad_silero_parse(const void *data, size_t len, const char *name,
                         struct vad_silero_weights *ret, struct num_err *err);

/* The same for the file at `path`, or for model.safetensors in the folder there; SLUICE_INPUT where
 * it cannot be read. */
int32_t vad_silero_load(const char *path, struct vad_silero_weights *ret, struct num_err *err);

#endif
