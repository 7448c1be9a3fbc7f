/*
 * Places of the encoder's buffers: see encoder_plan.h.
 */
#include "whisper/cuda/encoder_plan.h"

static void *take(uintptr_t *at, size_t bytes) {
    uintptr_t place = *at;
    *at += (bytes + WH_CUDA_ALIGN - 1) / WH_CUDA_ALIGN * WH_CUDA_ALIGN;
    return (void *)place;
}

static size_t largest(size_t a, size_t b, size_t c) {
    size_t most = a > b ? a : b;
    return most > c ? most : c;
}

size_t wh_cuda_feed_bytes(const struct wh_cuda_config *c) {
    const struct wh_dims *s = &c->dims;
    size_t mel = 2 * (size_t)s->n_audio_ctx * s->n_mels * sizeof(float);
    size_t samples = wh_cuda_window_samples(c) * sizeof(float) + WH_CUDA_PIECE_BYTES;
    return c->n_windows * (mel > samples ? mel : samples);
}

void wh_cuda_encoder_place(struct wh_cuda_encoder_work *work, const struct wh_cuda_config *c,
                           void *base) {
    const struct wh_dims *s = &c->dims;
    size_t rows = (size_t)c->n_windows * s->n_audio_ctx, D = s->n_state;
    size_t value = num_cuda_type_bytes(c->type);
    uintptr_t at = (uintptr_t)base;
    for (int i = 0; i < 2; i++)
        work->feed[i] = take(&at, wh_cuda_feed_bytes(c));
    work->mel_tables = take(&at, WH_CUDA_MEL_TABLES(s->n_mels));
    work->mel_max = take(&at, c->n_slots * sizeof *work->mel_max);
    work->mel = work->x = take(&at, rows * largest(2 * (size_t)s->n_mels, D, 0) * sizeof(float));
    work->norm = take(&at, rows * D * value);
    work->wide = work->qkv = work->add = take(&at, rows * 3 * D * value);
    work->cols = work->hidden =
        take(&at, rows * value * largest(6 * (size_t)s->n_mels, 3 * D, s->n_audio_ffn));
    work->qkv_bias = take(&at, s->n_audio_layers * 3 * D * value);
    work->bytes = at - (uintptr_t)base;
}

size_t wh_cuda_encoder_bytes(const struct wh_cuda_config *c) {
    struct wh_cuda_encoder_work work;
    wh_cuda_encoder_place(&work, c, NULL);
    return work.bytes;
}
