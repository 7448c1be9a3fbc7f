/*
 * The log-mel spectrogram of num/mel.h on a CUDA device, for many pieces of audio in one launch:
 * samples in, normalised frames out, nothing on the way through the host.
 *
 *     num_cuda_mel_power(pieces)      log10 of the mel power of each piece, and each group's
 *                                     maximum
 *     num_cuda_mel_normalise(pieces)  clamps 8 below the group's maximum and scales, into windows
 *
 * A group is what shares a maximum: the whole audio. Its maximum may come from a first pass over
 * pieces whose frames nobody keeps.
 */
#ifndef NUM_CUDA_MEL_H
#define NUM_CUDA_MEL_H

#include <cuda_runtime.h>
#include <stddef.h>
#include <stdint.h>

#include "num/cuda/type.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Frames [first, first + n_frames) of a signal of n_samples, 16 kHz, followed by silence; NaN and
 * infinity count as silence. `pcm`, on the device, holds the samples from `start` on that the
 * frames see: from num_cuda_mel_start(first), or any before.
 */
struct num_cuda_mel_piece {
    const float *pcm;
    uint64_t start, n_samples, first;
    uint32_t n_frames;
    uint32_t group;  /* index into the maxima */
    float *ret_log;  /* (n_frames, n_mels), or NULL: only the maximum counts */
    void *ret_mel;   /* (n_rows, n_mels) in the type; rows behind the frames are zeros */
    uint32_t n_rows; /* at least n_frames, of ret_mel */
};

/* The first sample that frame `first` and those behind it see; the first two frames see the
 * signal's start mirrored. */
static inline uint64_t num_cuda_mel_start(uint64_t first) {
    return first < 2 ? 0 : first * 160 - 200;
}

/* Filters and window: built on the host, copied to the device by the caller. */
size_t num_cuda_mel_tables_bytes(size_t n_mels);
void num_cuda_mel_tables_fill(size_t n_mels, void *host);

/*
 * pieces (n_pieces) and tables lie on the device; maxima (groups) too: the largest mel power of
 * each group, zeros before the first call. max_frames is the most n_frames of a piece.
 */
cudaError_t num_cuda_mel_power(const void *tables, size_t n_mels,
                               const struct num_cuda_mel_piece *pieces, size_t n_pieces,
                               size_t max_frames, float *maxima, cudaStream_t stream);

/* ret_mel = (max(log, max - 8) + 4) / 4 for every piece, from its ret_log; max_rows is the most
 * n_rows. n_mels is a multiple of 8. */
cudaError_t num_cuda_mel_normalise(size_t n_mels, const struct num_cuda_mel_piece *pieces,
                                   size_t n_pieces, size_t max_rows, const float *maxima,
                                   enum num_cuda_type type, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
