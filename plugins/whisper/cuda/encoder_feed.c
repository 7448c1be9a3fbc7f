/*
 * What a pass of the encoder reads, brought from the host: mel frames, or samples of which the
 * device makes mel frames.
 *
 * There are two feeds, each a pinned buffer and one on the device, taken in turn: a pass is copied
 * on a stream of its own while the pass before it is computed. The host waits for the copy of the
 * pass before the last, no more. A feed of samples holds, for the windows of config.n_windows,
 *
 *     struct num_cuda_mel_piece (n) | samples of window 0 | samples of window 1 | ...
 *
 * the samples from n x WH_CUDA_PIECE_BYTES on. How loud an audio is, is found and kept on the
 * device.
 */
#include "whisper/cuda/encoder.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "num/cuda/mel.h"

/* Takes the next feed, once its last copy is over. */
static char *begin(struct wh_cuda_pass *p) {
    struct wh_cuda_encoder *e = p->m->encoder;
    p->feed = e->next;
    e->next = 1 - e->next;
    wh_cuda_check(p, "waiting for a copy", cudaEventSynchronize(e->copied[p->feed]));
    return e->pinned[p->feed];
}

/* Starts the copy, once the device has read what was there. */
static void copy(struct wh_cuda_pass *p, size_t bytes) {
    struct wh_cuda_encoder *e = p->m->encoder;
    const int f = p->feed;
    wh_cuda_check(p, "copying windows", cudaStreamWaitEvent(e->copy_stream, e->consumed[f], 0));
    wh_cuda_check(p, "copying windows",
                  cudaMemcpyAsync(e->work.feed[f], e->pinned[f], bytes, cudaMemcpyHostToDevice,
                                  e->copy_stream));
    wh_cuda_check(p, "copying windows", cudaEventRecord(e->copied[f], e->copy_stream));
}

const float *wh_cuda_feed_mel(struct wh_cuda_pass *p, const float *const *mel) {
    const struct wh_dims *s = &p->m->c.dims;
    const size_t bytes = 2 * (size_t)s->n_audio_ctx * s->n_mels * sizeof(float);
    char *to = begin(p);
    for (uint32_t i = 0; !p->status && i < p->n; i++)
        memcpy(to + i * bytes, mel[i], bytes);
    copy(p, p->n * bytes);
    wh_cuda_check(p, "copying windows",
                  cudaStreamWaitEvent(p->m->encode_stream, p->m->encoder->copied[p->feed], 0));
    return p->work->feed[p->feed];
}

/* ---- Samples -------------------------------------------------------------------------------- */

/* The parts of a feed of samples, on the host or on the device. */
struct parts {
    struct num_cuda_mel_piece *pieces;
    char *samples;
};

_Static_assert(sizeof(struct num_cuda_mel_piece) <= WH_CUDA_PIECE_BYTES,
               "a window's description has room");

static struct parts parts_of(const struct wh_cuda_config *c, void *feed) {
    return (struct parts){feed, (char *)feed + (size_t)c->n_windows * WH_CUDA_PIECE_BYTES};
}

/* Describes an excerpt of what `slot` listens to as piece i, and copies the samples that it
 * sees. */
static void put_piece(struct wh_cuda_pass *p, uint32_t i, const struct wh_excerpt *a, uint32_t slot,
                      float *ret_mel) {
    const struct wh_cuda_config *c = &p->m->c;
    const size_t room = wh_cuda_window_samples(c);
    const uint64_t start = num_cuda_mel_start(a->first);
    const struct parts host = parts_of(c, p->m->encoder->pinned[p->feed]);
    const struct parts device = parts_of(c, p->work->feed[p->feed]);
    assert(a->n_frames <= 2 * c->dims.n_audio_ctx);
    uint64_t n = a->n_samples > start ? a->n_samples - start : 0;
    n = n < room ? n : room;
    if (n)
        memcpy(host.samples + i * room * sizeof(float), a->pcm + start, n * sizeof(float));
    host.pieces[i] = (struct num_cuda_mel_piece){
        .pcm = (const float *)device.samples + i * room,
        .start = start,
        .n_samples = start + n,
        .first = a->first,
        .n_frames = a->n_frames,
        .group = slot,
        .ret_log = ret_mel,
        .ret_mel = ret_mel,
        .n_rows = 2 * c->dims.n_audio_ctx,
    };
}

static size_t sample_bytes(const struct wh_cuda_pass *p) {
    const struct wh_cuda_config *c = &p->m->c;
    return (size_t)c->n_windows * WH_CUDA_PIECE_BYTES +
           p->n * wh_cuda_window_samples(c) * sizeof(float);
}

/* Powers may be added to the maximum again: no frame is louder than what was listened to. */
const float *wh_cuda_feed_audio(struct wh_cuda_pass *p, const struct wh_excerpt *windows,
                                const uint32_t *slots) {
    const struct wh_cuda *m = p->m;
    const size_t M = m->c.dims.n_mels, rows = 2 * (size_t)m->c.dims.n_audio_ctx;
    begin(p);
    for (uint32_t i = 0; !p->status && i < p->n; i++)
        put_piece(p, i, &windows[i], slots[i], p->work->mel + i * rows * M);
    copy(p, sample_bytes(p));
    wh_cuda_check(p, "copying windows",
                  cudaStreamWaitEvent(m->encode_stream, m->encoder->copied[p->feed], 0));
    const struct num_cuda_mel_piece *pieces = parts_of(&m->c, p->work->feed[p->feed]).pieces;
    if (!p->status)
        wh_cuda_check(p, "the spectrogram",
                      num_cuda_mel_power(p->work->mel_tables, M, pieces, p->n, rows,
                                         p->work->mel_max, m->encode_stream));
    if (!p->status)
        wh_cuda_check(p, "the spectrogram",
                      num_cuda_mel_normalise(M, pieces, p->n, rows, p->work->mel_max, NUM_CUDA_F32,
                                             m->encode_stream));
    return p->work->mel;
}

/* One feed's worth of frames from *at on, towards the slot's maximum. On the copy stream alone. */
static void look_at(struct wh_cuda_pass *p, const struct wh_excerpt *all, uint32_t slot,
                    uint64_t n_frames, uint64_t *at) {
    const struct wh_cuda *m = p->m;
    const size_t M = m->c.dims.n_mels, rows = 2 * (size_t)m->c.dims.n_audio_ctx;
    begin(p);
    for (p->n = 0; !p->status && p->n < m->c.n_windows && *at < n_frames; p->n++) {
        struct wh_excerpt piece = *all;
        piece.first = *at;
        piece.n_frames = n_frames - *at < rows ? (uint32_t)(n_frames - *at) : (uint32_t)rows;
        put_piece(p, p->n, &piece, slot, NULL);
        *at += piece.n_frames;
    }
    copy(p, sample_bytes(p));
    const struct num_cuda_mel_piece *pieces = parts_of(&m->c, p->work->feed[p->feed]).pieces;
    if (!p->status)
        wh_cuda_check(p, "the spectrogram's maximum",
                      num_cuda_mel_power(p->work->mel_tables, M, pieces, p->n, rows,
                                         p->work->mel_max, m->encoder->copy_stream));
}

int32_t wh_cuda_listen(struct wh_cuda *m, uint32_t slot, const float *pcm, uint64_t n_samples,
                       uint64_t n_frames, struct num_err *err) {
    struct wh_cuda_encoder *e = m->encoder;
    struct wh_cuda_pass p = {.m = m, .work = &e->work, .err = err};
    const struct wh_excerpt all = {.pcm = pcm, .n_samples = n_samples};
    for (int i = 0; i < 2; i++) /* windows of what was listened to before are past their maximum */
        wh_cuda_check(&p, "the spectrogram's maximum",
                      cudaStreamWaitEvent(e->copy_stream, e->consumed[i], 0));
    wh_cuda_check(&p, "the spectrogram's maximum",
                  cudaMemsetAsync(e->work.mel_max + slot, 0, sizeof(float), e->copy_stream));
    for (uint64_t at = 0; !p.status && at < n_frames;)
        look_at(&p, &all, slot, n_frames, &at);
    return p.status;
}

/* ---- Create and destroy --------------------------------------------------------------------- */

static int32_t fill_tables(struct wh_cuda *m, struct num_err *err) {
    const size_t M = m->c.dims.n_mels, bytes = num_cuda_mel_tables_bytes(M);
    void *host = calloc(1, bytes);
    if (!host)
        return num_fail_memory(err, "a mel filterbank", bytes);
    num_cuda_mel_tables_fill(M, host);
    cudaError_t error =
        bytes > WH_CUDA_MEL_TABLES(M)
            ? cudaErrorInvalidValue
            : cudaMemcpy(m->encoder->work.mel_tables, host, bytes, cudaMemcpyHostToDevice);
    free(host);
    return num_cuda_fail(err, "a mel filterbank", error);
}

int32_t wh_cuda_feed_create(struct wh_cuda *m, struct num_err *err) {
    struct wh_cuda_encoder *e = m->encoder;
    cudaError_t error = cudaStreamCreateWithFlags(&e->copy_stream, cudaStreamNonBlocking);
    for (int i = 0; i < 2; i++) {
        if (!error)
            error = cudaHostAlloc(&e->pinned[i], wh_cuda_feed_bytes(&m->c), cudaHostAllocDefault);
        if (!error)
            error = cudaEventCreateWithFlags(&e->copied[i], cudaEventDisableTiming);
        if (!error)
            error = cudaEventCreateWithFlags(&e->consumed[i], cudaEventDisableTiming);
    }
    int32_t status = num_cuda_fail(err, "the encoder's stream and pinned memory", error);
    return status ? status : fill_tables(m, err);
}

void wh_cuda_feed_destroy(struct wh_cuda_encoder *e) {
    for (int i = 0; i < 2; i++) {
        if (e->consumed[i])
            cudaEventDestroy(e->consumed[i]);
        if (e->copied[i])
            cudaEventDestroy(e->copied[i]);
        if (e->pinned[i])
            cudaFreeHost(e->pinned[i]);
    }
    if (e->copy_stream)
        cudaStreamDestroy(e->copy_stream);
}
