/*
 * The steps of an LSTM: see kernels.h. One launch takes all steps: a block holds a few sequences in
 * one direction, whose states are in shared memory, and so are the weights in bfloat16 (128 KB of
 * the published model); floats come from the second-level cache. A thread adds up gates of all the
 * block's sequences, so that a weight is read once for all of them.
 *
 * A step of 8 sequences is 4,096 reads and additions a thread group of 512: about 3 us, so that a
 * layer of 589 steps takes 1.8 ms, the same for one window as for 500 on a card with 132
 * multiprocessors. Not measured.
 */
#include "diarize/cuda/kernels.h"

#include "num/cuda/launch.cuh"
#include "num/cuda/vec8.cuh"

namespace {

constexpr unsigned THREADS = 512, GROUP = 8; /* sequences of a block */

__device__ float logistic(float x) {
    return 1 / (1 + expf(-x));
}

/* What a block keeps: states and memories (h, GROUP), gates (4 h, GROUP), and weights (h, 4 h)
 * where they fit. */
size_t kept_floats(size_t h) {
    return (2 * h + 4 * h) * GROUP;
}

/* Grid: groups, directions. */
template <typename T>
__global__ void __launch_bounds__(THREADS) steps(dz_cuda_lstm a, int weights_fit) {
    float *states = num::dynamic_shared<float>();
    const unsigned h = (unsigned)a.n_hidden, d = blockIdx.y, first = blockIdx.x * GROUP;
    const unsigned n = (unsigned)(a.n - first < GROUP ? a.n - first : GROUP);
    float *memory = states + h * GROUP, *gates = memory + h * GROUP;
    const T *w = (const T *)a.w + (size_t)d * h * 4 * h;
    if (weights_fit) {
        T *near = (T *)(gates + 4 * h * GROUP);
        for (unsigned i = threadIdx.x; i < 4 * h * h; i += THREADS)
            near[i] = w[i];
        w = near;
    }
    for (unsigned i = threadIdx.x; i < h * GROUP; i += THREADS)
        states[i] = memory[i] = 0;
    __syncthreads();
    for (size_t i = 0; i < a.n_steps; i++) {
        const size_t t = d == 0 ? i : a.n_steps - 1 - i;
        const float *from = a.gates + ((t * a.n + first) * a.n_directions + d) * 4 * h;
        for (unsigned j = threadIdx.x; j < 4 * h; j += THREADS) {
            float sums[GROUP];
#pragma unroll
            for (unsigned s = 0; s < GROUP; s++)
                sums[s] = s < n ? from[(size_t)s * a.n_directions * 4 * h + j] : 0;
            for (unsigned k = 0; k < h; k++) {
                const float v = num::to_float(w[k * 4 * h + j]);
#pragma unroll
                for (unsigned s = 0; s < GROUP; s++)
                    sums[s] += v * states[k * GROUP + s];
            }
#pragma unroll
            for (unsigned s = 0; s < GROUP; s++)
                gates[j * GROUP + s] = sums[s];
        }
        __syncthreads();
        for (unsigned e = threadIdx.x; e < h * GROUP; e += THREADS) {
            const unsigned unit = e / GROUP, s = e % GROUP;
            const float in = logistic(gates[e]), forget = logistic(gates[h * GROUP + e]);
            const float cell = tanhf(gates[2 * h * GROUP + e]),
                        out = logistic(gates[3 * h * GROUP + e]);
            memory[e] = forget * memory[e] + in * cell;
            states[e] = out * tanhf(memory[e]);
            if (s < n)
                ((T *)a.ret)[((t * a.n + first + s) * a.n_directions + d) * h + unit] =
                    T(states[e]);
        }
        __syncthreads();
    }
}

template <typename T> cudaError_t launch_steps(const dz_cuda_lstm &a, cudaStream_t stream) {
    const size_t kept = kept_floats(a.n_hidden) * sizeof(float);
    const size_t weights = 4 * a.n_hidden * a.n_hidden * sizeof(T);
    const bool fit = kept + weights <= a.shared_bytes;
    const dim3 grid((unsigned)((a.n + GROUP - 1) / GROUP), (unsigned)a.n_directions);
    if (kept > a.shared_bytes)
        return cudaErrorInvalidValue;
    return num::launch(steps<T>, grid, dim3(THREADS), kept + (fit ? weights : 0), stream, a,
                       (int)fit);
}

} // namespace

cudaError_t dz_cuda_lstm_run(const struct dz_cuda_lstm *a, enum num_cuda_type type,
                             cudaStream_t stream) {
    return type == NUM_CUDA_F32 ? launch_steps<float>(*a, stream)
                                : launch_steps<__nv_bfloat16>(*a, stream);
}
