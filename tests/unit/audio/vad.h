/*
 * For the tests of audio/vad: recordings, stored expectations, a Silero file of random weights.
 */
#ifndef TESTS_UNIT_AUDIO_VAD_H
#define TESTS_UNIT_AUDIO_VAD_H

#include <jansson.h>

#include "audio/vad/detector.h"
#include "audio/vad/segment.h"
#include "audio/vad/silero_file.h"
#include "unit/test.h"

#define SILERO_DIR SHARED_DIR "/data/models/silero/"

/* Samples of a 16-bit mono 16 kHz WAV file, to be freed with free(.data); no data where there is no
 * such file. */
static inline struct vad_samples vad_wav(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f)
        return (struct vad_samples){0};
    uint8_t chunk[8];
    uint32_t bytes = 0;
    CHECK_INT(fseek(f, 12, SEEK_SET), 0);
    while (fread(chunk, 1, 8, f) == 8 && memcmp(chunk, "data", 4) != 0) {
        memcpy(&bytes, chunk + 4, 4);
        CHECK_INT(fseek(f, (long)bytes, SEEK_CUR), 0);
    }
    CHECK(memcmp(chunk, "data", 4) == 0);
    memcpy(&bytes, chunk + 4, 4);
    int16_t *raw = malloc(bytes);
    size_t n = fread(raw, 2, bytes / 2, f);
    float *pcm = malloc(n * sizeof *pcm);
    for (size_t i = 0; i < n; i++)
        pcm[i] = (float)raw[i] / 32768;
    free(raw);
    fclose(f);
    return (struct vad_samples){pcm, (int64_t)n};
}

/* tests/data/NAME.wav */
static inline struct vad_samples vad_clip(const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/data/%s.wav", TESTS_DIR, name);
    struct vad_samples clip = vad_wav(path);
    CHECK(clip.n > 0);
    return clip;
}

/* vad_expected.json; the caller drops the reference. */
static inline json_t *vad_expectations(void) {
    json_error_t why;
    json_t *all = json_load_file(TESTS_DIR "/unit/audio/vad_expected.json", 0, &why);
    if (!all)
        TEST_FAIL("vad_expected.json: %s", why.text);
    return all;
}

/* All probabilities of a recording, in calls of `step` frames; to be freed. */
static inline float *vad_run(const struct vad_detector *d, const struct vad_samples *samples,
                             int step) {
    int64_t n = vad_n_frames(samples);
    float *ret = malloc(((size_t)n + 1) * sizeof *ret);
    d->reset(d->self);
    for (int64_t at = 0; at < n; at += step)
        d->run(d->self, samples, at, (int)(n - at < step ? n - at : step), ret + at);
    return ret;
}

/* Regions collected by vad_collect(). */
struct vad_regions {
    struct vad_region all[1000];
    int n;
};

static inline void vad_collect(void *ctx, const struct vad_region *region) {
    struct vad_regions *r = ctx;
    CHECK(r->n < 1000);
    r->all[r->n++] = *region;
}

/* Pseudo-random numbers in [-1, 1). */
static inline float vad_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (float)(*state >> 40) / (float)(1 << 23) - 1;
}

/* ---- a ggml file of random weights ---- */

struct vad_file {
    uint8_t *data; /* owned */
    size_t len;
};

static inline void vad_put(struct vad_file *f, const void *data, size_t len) {
    f->data = realloc(f->data, f->len + len + 1);
    if (len > 0)
        memcpy(f->data + f->len, data, len);
    f->len += len;
}

static inline void vad_put_int(struct vad_file *f, int32_t value) {
    vad_put(f, &value, sizeof value);
}

/* A tensor of F32 of the given dimensions (ended by 0), fastest first, from `weights`. */
static inline void vad_put_tensor(struct vad_file *f, const char *name, const int32_t *dims,
                                  const float *weights) {
    int n_dims = 0;
    size_t n = 1;
    while (dims[n_dims])
        n *= (size_t)dims[n_dims++];
    vad_put_int(f, n_dims);
    vad_put_int(f, (int32_t)strlen(name));
    vad_put_int(f, 0);
    vad_put(f, dims, (size_t)n_dims * sizeof *dims);
    vad_put(f, name, strlen(name));
    vad_put(f, weights, n * sizeof *weights);
}

/* What the file below holds, of a size that keeps all layers alive. */
static inline struct vad_silero_weights *vad_random_weights(void) {
    struct vad_silero_weights *w = malloc(sizeof *w);
    uint64_t state = 88172645463325252u;
    for (size_t i = 0; i < sizeof *w / sizeof(float); i++)
        ((float *)w)[i] = (i < 258 * 256 ? 2.0f : 0.2f) * vad_random(&state);
    return w;
}

static inline struct vad_file vad_ggml_file(const struct vad_silero_weights *w) {
    static const int32_t header[] = {10},
                         shape[] = {6, 2,  0,  512, 64, 4,   129, 128, 3,   128, 64,
                                    3, 64, 64, 3,   64, 128, 3,   128, 128, 128, 1};
    struct vad_file f = {0};
    vad_put_int(&f, 0x67676d6c);
    vad_put(&f, header, sizeof header);
    vad_put(&f, "silero-16k", 10);
    vad_put(&f, shape, sizeof shape);
#define PUT(name, member, ...)                                                                     \
    vad_put_tensor(&f, "_model." name, (const int32_t[]){__VA_ARGS__, 0}, (const float *)&w->member)
    PUT("encoder.0.reparam_conv.weight", conv1, 3, 129, 128);
    PUT("encoder.0.reparam_conv.bias", conv1_bias, 128);
    PUT("encoder.1.reparam_conv.weight", conv2, 3, 128, 64);
    PUT("encoder.1.reparam_conv.bias", conv2_bias, 64);
    PUT("encoder.2.reparam_conv.weight", conv3, 3, 64, 64);
    PUT("encoder.2.reparam_conv.bias", conv3_bias, 64);
    PUT("encoder.3.reparam_conv.weight", conv4, 3, 64, 128);
    PUT("encoder.3.reparam_conv.bias", conv4_bias, 128);
    PUT("decoder.rnn.weight_ih", lstm_input, 128, 512);
    PUT("decoder.rnn.weight_hh", lstm_state, 128, 512);
    PUT("decoder.rnn.bias_ih", lstm_input_bias, 512);
    PUT("decoder.rnn.bias_hh", lstm_state_bias, 512);
    PUT("decoder.decoder.2.weight", output, 128);
    PUT("decoder.decoder.2.bias", output_bias, 1);
    PUT("stft.forward_basis_buffer", basis, 256, 1, 258);
#undef PUT
    return f;
}

#endif
