/*
 * Convolutions of the embedding network: see kernels.h. The channels of a place lie side by side,
 * so a kernel's taps are rows of a product that begin a place further each: nothing is unfolded.
 *
 * Tiled: a block of four warps makes 64 frames of 32 or 64 channels of a band. For each line of the
 * kernel and 32 input channels the frames and weights are brought to shared memory, and every tap
 * multiplies other rows of the same frames. A warp owns 16 frames. 22.6 G multiplications a window
 * of 10 s: 0.24 ms at 190 TFLOP/s, which a kernel without overlapped copies may reach. Not
 * measured.
 *
 * Plain: a thread makes four frames of one channel, for floats, the first convolution and narrow
 * models.
 */
#include "diarize/cuda/kernels.h"

#include "num/cuda/launch.cuh"
#include "num/cuda/mma.cuh"
#include "num/cuda/vec8.cuh"

namespace {

/* Of a tile: frames, input channels. */
constexpr unsigned WARPS = 4, FRAMES = 16 * WARPS, CHUNK = 32;
/* From row to row in shared memory: rows of a matrix in banks of their own. */
constexpr unsigned PITCH = CHUNK + 8;
constexpr unsigned PLAIN_CHANNELS = 32, PLAIN_GROUPS = 8, PLAIN_FRAMES = 4;

struct place {
    unsigned map, band, frame;  /* of the output; frame: the block's first */
    unsigned n_bands, n_frames; /* of the output */
};

__device__ place place_of(const dz_cuda_conv &a, unsigned frames) {
    place p;
    p.n_bands = (unsigned)((a.n_bands + a.stride - 1) / a.stride);
    p.n_frames = (unsigned)((a.n_frames + a.stride - 1) / a.stride);
    p.map = blockIdx.z / p.n_bands;
    p.band = blockIdx.z % p.n_bands;
    p.frame = blockIdx.x * frames;
    return p;
}

/* The line of x under line i of the kernel; NULL: there is none. */
template <typename X>
__device__ const X *line_of(const dz_cuda_conv &a, const place &p, unsigned i) {
    const long band = (long)(p.band * a.stride + i) - (long)(a.width / 2);
    if (band < 0 || band >= (long)a.n_bands)
        return NULL;
    return (const X *)a.x + ((size_t)p.map * a.n_bands + band) * a.n_frames * a.n_in;
}

/* ---- Tiled ----------------------------------------------------------------------------------- */

/* Grid: frames / FRAMES, channels / N, maps x bands. Rows of frames, then of weights for each tap,
 * in shared memory. */
template <typename T, unsigned N>
__global__ void __launch_bounds__(32 * WARPS) tiled(dz_cuda_conv a) {
    const place p = place_of(a, FRAMES);
    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32, stride = (unsigned)a.stride;
    const unsigned taps = (unsigned)a.width, rows = (FRAMES - 1) * stride + taps;
    T *frames = num::dynamic_shared<T>(), *weights = frames + rows * PITCH;
    const size_t first_out = blockIdx.y * N;
    float sums[N / 8][4] = {};
    for (unsigned i = 0; i < taps; i++) {
        const T *line = line_of<T>(a, p, i);
        if (!line)
            continue;
        for (unsigned c = 0; c < a.n_in; c += CHUNK) {
            __syncthreads();
            for (unsigned v = threadIdx.x; v < rows * (CHUNK / 8); v += 32 * WARPS) {
                const unsigned row = v / (CHUNK / 8), at = v % (CHUNK / 8) * 8;
                const long frame = (long)(p.frame * stride + row) - (long)(taps / 2);
                uint4 values = make_uint4(0, 0, 0, 0);
                if (frame >= 0 && frame < (long)a.n_frames)
                    values = *reinterpret_cast<const uint4 *>(line + frame * a.n_in + c + at);
                *reinterpret_cast<uint4 *>(frames + row * PITCH + at) = values;
            }
            for (unsigned v = threadIdx.x; v < taps * N * (CHUNK / 8); v += 32 * WARPS) {
                const unsigned row = v / (CHUNK / 8), at = v % (CHUNK / 8) * 8, tap = row / N,
                               o = row % N;
                const size_t from = (((first_out + o) * taps + i) * taps + tap) * a.n_in + c + at;
                *reinterpret_cast<uint4 *>(weights + row * PITCH + at) =
                    *reinterpret_cast<const uint4 *>((const T *)a.w + from);
            }
            __syncthreads();
            for (unsigned tap = 0; tap < taps; tap++)
#pragma unroll
                for (unsigned k = 0; k < CHUNK; k += 16) {
                    const unsigned row = (warp * 16 + lane % 16) * stride + tap;
                    uint32_t x[4], w[4];
                    num::ldmatrix_x4(x, frames + row * PITCH + k + lane / 16 * 8);
#pragma unroll
                    for (unsigned o = 0; o < N; o += 16) {
                        const unsigned out = tap * N + o + lane / 16 * 8 + lane % 8;
                        num::ldmatrix_x4(w, weights + out * PITCH + k + lane / 8 % 2 * 8);
                        num::mma_m16n8k16<T>(sums[o / 8], x, w);
                        num::mma_m16n8k16<T>(sums[o / 8 + 1], x, w + 2);
                    }
                }
        }
    }
#pragma unroll
    for (unsigned tile = 0; tile < N / 8; tile++)
#pragma unroll
        for (unsigned half = 0; half < 2; half++) {
            const unsigned frame = p.frame + warp * 16 + half * 8 + lane / 4;
            const size_t o = first_out + tile * 8 + lane % 4 * 2;
            if (frame >= p.n_frames)
                continue;
            const size_t at =
                (((size_t)p.map * p.n_bands + p.band) * p.n_frames + frame) * a.n_out + o;
            float y[2] = {sums[tile][2 * half] + a.bias[o],
                          sums[tile][2 * half + 1] + a.bias[o + 1]};
#pragma unroll
            for (unsigned i = 0; i < 2; i++) {
                y[i] += a.more ? num::to_float(((const T *)a.more)[at + i]) : 0;
                y[i] = a.relu && !(y[i] > 0) ? 0 : y[i];
            }
            *reinterpret_cast<uint32_t *>((T *)a.ret + at) = num::pack2<T>(y[0], y[1]);
        }
}

/* ---- Plain ----------------------------------------------------------------------------------- */

/* Grid: frames / (PLAIN_GROUPS x PLAIN_FRAMES), channels / PLAIN_CHANNELS, maps x bands. */
template <typename T, typename X>
__global__ void __launch_bounds__(PLAIN_CHANNELS *PLAIN_GROUPS) plain(dz_cuda_conv a) {
    const place p = place_of(a, PLAIN_GROUPS * PLAIN_FRAMES);
    const size_t o = blockIdx.y * PLAIN_CHANNELS + threadIdx.x, taps = a.width;
    const unsigned first = p.frame + threadIdx.y * PLAIN_FRAMES;
    float sums[PLAIN_FRAMES] = {0};
    if (o >= a.n_out)
        return;
    for (unsigned i = 0; i < taps; i++) {
        const X *line = line_of<X>(a, p, i);
        if (!line)
            continue;
        for (unsigned tap = 0; tap < taps; tap++)
            for (size_t c = 0; c < a.n_in; c++) {
                const float w = ((const float *)a.w)[((i * taps + tap) * a.n_in + c) * a.n_out + o];
#pragma unroll
                for (unsigned r = 0; r < PLAIN_FRAMES; r++) {
                    const long frame = (long)((first + r) * a.stride + tap) - (long)(taps / 2);
                    if (frame >= 0 && frame < (long)a.n_frames)
                        sums[r] += w * num::to_float(line[frame * a.n_in + c]);
                }
            }
    }
#pragma unroll
    for (unsigned r = 0; r < PLAIN_FRAMES; r++) {
        if (first + r >= p.n_frames)
            continue;
        const size_t at =
            (((size_t)p.map * p.n_bands + p.band) * p.n_frames + first + r) * a.n_out + o;
        float y = sums[r] + a.bias[o] + (a.more ? num::to_float(((const T *)a.more)[at]) : 0);
        ((T *)a.ret)[at] = T(a.relu && !(y > 0) ? 0 : y);
    }
}

unsigned groups_of(size_t n, size_t of) {
    return (unsigned)((n + of - 1) / of);
}

template <typename T, unsigned N>
cudaError_t launch_tiled(const dz_cuda_conv &a, unsigned frames, unsigned bands,
                         cudaStream_t stream) {
    const dim3 grid(groups_of(frames, FRAMES), (unsigned)(a.n_out / N), bands);
    const size_t rows = (FRAMES - 1) * a.stride + a.width + a.width * N;
    return num::launch(tiled<T, N>, grid, dim3(32 * WARPS), rows * PITCH * sizeof(T), stream, a);
}

template <typename T>
cudaError_t launch_plain(const dz_cuda_conv &a, unsigned frames, unsigned bands,
                         cudaStream_t stream) {
    const dim3 grid(groups_of(frames, PLAIN_GROUPS * PLAIN_FRAMES),
                    groups_of(a.n_out, PLAIN_CHANNELS), bands);
    const dim3 block(PLAIN_CHANNELS, PLAIN_GROUPS);
    return a.x_float ? num::launch(plain<T, float>, grid, block, 0, stream, a)
                     : num::launch(plain<T, T>, grid, block, 0, stream, a);
}

} // namespace

int dz_cuda_conv_tiled(enum num_cuda_type type, size_t n_in, size_t n_out) {
    return type != NUM_CUDA_F32 && n_in % CHUNK == 0 && n_out % 32 == 0;
}

cudaError_t dz_cuda_conv_run(const struct dz_cuda_conv *a, enum num_cuda_type type,
                             cudaStream_t stream) {
    const unsigned frames = groups_of(a->n_frames, a->stride);
    const size_t bands = a->n_maps * groups_of(a->n_bands, a->stride);
    if (bands > 65535)
        return cudaErrorInvalidValue;
    if (!a->x_float && dz_cuda_conv_tiled(type, a->n_in, a->n_out))
        return a->n_out % 64 ? launch_tiled<__nv_bfloat16, 32>(*a, frames, (unsigned)bands, stream)
                             : launch_tiled<__nv_bfloat16, 64>(*a, frames, (unsigned)bands, stream);
    return type == NUM_CUDA_F32 ? launch_plain<float>(*a, frames, (unsigned)bands, stream)
                                : launch_plain<__nv_bfloat16>(*a, frames, (unsigned)bands, stream);
}
