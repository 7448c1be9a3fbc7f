/*
 * What lies before and behind the convolutions of the embedding network: filter banks, and the
 * pooling over a voice's frames. See kernels.h. A frame's spectrum is a plain sum over its 400
 * samples for each of 256 bins, 0.2 G multiplications a window: less than what sorting a fast
 * transform's factors would save. Not measured.
 */
#include <float.h>

#include "diarize/cuda/kernels.h"

#include "num/cuda/launch.cuh"
#include "num/cuda/vec8.cuh"
#include "num/cuda/warp.cuh"

namespace {

constexpr int BINS = 256;
constexpr unsigned FRAME = 400, HOP = 160, PERIOD = 2 * BINS;

/* Grid: frames, windows; a thread makes a bin, then a band. */
__global__ void __launch_bounds__(BINS) spectrum(dz_cuda_fbank a) {
    __shared__ float wave[PERIOD], frame[FRAME], power[BINS], scratch[num::WARP];
    const unsigned t = blockIdx.x, bin = threadIdx.x;
    const float *x = a.x + blockIdx.y * a.n + (size_t)t * HOP;
    float sum = 0, re = 0, im = 0;
    for (unsigned i = bin; i < PERIOD; i += BINS)
        wave[i] = a.bands->wave[i];
    for (unsigned i = bin; i < FRAME; i += BINS) {
        const float v = isfinite(x[i]) ? x[i] * 32768.0f : 0;
        frame[i] = v;
        sum += v;
    }
    const float mean = num::block_sum<BINS>(sum, scratch) / FRAME; /* holds a barrier */
    for (unsigned i = 0; i < FRAME; i++) {
        const float before = frame[i ? i - 1 : 0] - mean;
        const float v = (frame[i] - mean - 0.97f * before) * a.bands->window[i];
        const unsigned at = i * bin % PERIOD;
        re += v * wave[at];
        im += v * wave[(at + PERIOD - PERIOD / 4) % PERIOD];
    }
    power[bin] = re * re + im * im;
    __syncthreads();
    if (bin >= a.n_bands)
        return;
    float band = 0;
    for (unsigned i = 0; i < a.bands->n[bin]; i++)
        band += a.bands->weights[bin * BINS + i] * power[a.bands->first[bin] + i];
    a.ret[(blockIdx.y * a.n_bands + bin) * a.n_frames + t] = logf(fmaxf(band, FLT_EPSILON));
}

/* Grid: bands of all windows. */
__global__ void __launch_bounds__(BINS) take_means(float *x, size_t n) {
    __shared__ float scratch[num::WARP];
    float *row = x + blockIdx.x * n, sum = 0;
    for (size_t i = threadIdx.x; i < n; i += BINS)
        sum += row[i];
    const float mean = num::block_sum<BINS>(sum, scratch) / n;
    for (size_t i = threadIdx.x; i < n; i += BINS)
        row[i] -= mean;
}

/* Grid: channels / BINS, bands, voices. 1e-8 as in the source of the network. */
template <typename T> __global__ void __launch_bounds__(BINS) pool(dz_cuda_pool a) {
    const size_t c = blockIdx.x * BINS + threadIdx.x, band = blockIdx.y, voice = blockIdx.z;
    if (c >= a.n_channels)
        return;
    const T *x =
        (const T *)a.x + (a.which[voice] * a.n_bands + band) * a.n_frames * a.n_channels + c;
    const float *weights = a.weights + voice * a.n_frames;
    float sum = 1e-8f, squares = 0, mean = 0, variance = 0;
    for (size_t t = 0; t < a.n_frames; t++) {
        sum += weights[t];
        squares += weights[t] * weights[t];
        mean += weights[t] * num::to_float(x[t * a.n_channels]);
    }
    mean /= sum;
    for (size_t t = 0; t < a.n_frames; t++) {
        const float d = num::to_float(x[t * a.n_channels]) - mean;
        variance += weights[t] * d * d;
    }
    variance /= sum - squares / sum + 1e-8f;
    float *ret = a.ret + voice * 2 * a.n_channels * a.n_bands + c * a.n_bands + band;
    ret[0] = mean;
    ret[a.n_channels * a.n_bands] = sqrtf(fmaxf(variance, 0));
}

} // namespace

cudaError_t dz_cuda_fbank_run(const struct dz_cuda_fbank *a, cudaStream_t stream) {
    if (a->n_bands > 128)
        return cudaErrorInvalidValue;
    cudaError_t error = num::launch(spectrum, dim3((unsigned)a->n_frames, (unsigned)a->n_windows),
                                    dim3(BINS), 0, stream, *a);
    if (error)
        return error;
    return num::launch(take_means, dim3((unsigned)(a->n_windows * a->n_bands)), dim3(BINS), 0,
                       stream, a->ret, a->n_frames);
}

cudaError_t dz_cuda_pool_run(const struct dz_cuda_pool *a, enum num_cuda_type type,
                             cudaStream_t stream) {
    const dim3 grid((unsigned)((a->n_channels + BINS - 1) / BINS), (unsigned)a->n_bands,
                    (unsigned)a->n);
    if (a->n == 0)
        return cudaSuccess;
    return type == NUM_CUDA_F32 ? num::launch(pool<float>, grid, dim3(BINS), 0, stream, *a)
                                : num::launch(pool<__nv_bfloat16>, grid, dim3(BINS), 0, stream, *a);
}
