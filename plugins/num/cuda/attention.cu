/*
 * Attention with tensor cores: see attention.h.
 *
 * A block of four warps owns 128 queries of a head, a warp 32 of them, and walks over the keys 64
 * at a time (attention_flash.cuh). Keys and values of the next step are copied to shared memory
 * while this one is computed: one barrier a step. 32 rows a warp, because each fragment of keys or
 * values that is read then serves four matrix instructions; with 16 rows shared memory would be the
 * limit.
 *
 * 11.5 GFLOP for a layer and a window of large-v3 (20 heads, 1500 keys; 12.1 with rows and keys
 * that fill up tiles). On sm_90 these instructions reach about 62 % of the tensor cores' rate, and
 * two warps of a scheduler overlap softmax with products: 330 TFLOP/s expected, 35 us a layer. For
 * each step of 64 keys a warp issues 128 matrix instructions (820 cycles at that rate), 64
 * exponentials (512 cycles of their unit), 32 loads of fragments.
 */
#include "num/cuda/attention.h"

#include "num/cuda/attention_flash.cuh"

namespace {

constexpr int HEAD = NUM_CUDA_HEAD;
constexpr int WARPS = 4, THREADS = 32 * WARPS;
constexpr int WARP_ROWS = 32, ROWS = WARPS * WARP_ROWS; /* queries */
constexpr int KEYS = 64;                                /* of a step */
constexpr int PIECES = HEAD / 8;                        /* of 16 bytes, of a row */

/* Shared memory of a block: 48 KB. */
template <typename T> struct workspace {
    T q[ROWS * HEAD]; /* of a warp: its queries, at last its results */
    T k[2][KEYS * HEAD], v[2][KEYS * HEAD];
};

template <typename T> using warp_part = num::flash<T, HEAD, WARP_ROWS / 16, KEYS>;

__device__ inline int place(int row, int piece) {
    return num::flash_place<HEAD>(row, piece);
}

/* Starts to copy rows [first, first + N) of one head; rows from n on become zeros. A thread copies
 * one piece of every 16th row: its place in a row does not change. */
template <int N, typename T>
__device__ void copy_rows(T *to, const T *from, size_t ld, unsigned first, unsigned n) {
    const unsigned row = threadIdx.x / PIECES, piece = threadIdx.x % PIECES;
    const T *at = from + (first + row) * ld + piece * 8;
    to += place(row, piece);
#pragma unroll
    for (int i = 0; i < N; i += THREADS / PIECES) {
        const bool there = first + row + i < n;
        num::cp_async_16(to + i * HEAD, there ? at + i * ld : from, there);
    }
}

/* Hides the keys behind the last of a step that has `left` of them. */
template <typename T> __device__ void hide(warp_part<T> &w, int left, int lane) {
    const int low[2][2] = {}, high[2][2] = {{left, left}, {left, left}};
    w.hide(low, high, lane);
}

/* Divides by the sums and stores a warp's rows, by way of its part of shared memory: whole rows of
 * 128 bytes reach memory. */
template <typename T>
__device__ void store(const warp_part<T> &w, T *work, int lane, T *ret, size_t ld,
                      unsigned n_rows) {
    __syncwarp(); /* all lanes have their queries */
#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const float scale = w.weight(m, h);
            const int row = m * 16 + h * 8 + lane / 4;
#pragma unroll
            for (int c = 0; c < HEAD / 8; c++)
                *reinterpret_cast<uint32_t *>(work + place(row, c) + lane % 4 * 2) =
                    num::pack2<T>(w.out[m][c][2 * h] * scale, w.out[m][c][2 * h + 1] * scale);
        }
    __syncwarp();
#pragma unroll
    for (int i = lane; i < WARP_ROWS * PIECES; i += 32) {
        const unsigned row = i / PIECES, piece = i % PIECES;
        if (row < n_rows)
            *reinterpret_cast<uint4 *>(ret + row * ld + piece * 8) =
                *reinterpret_cast<const uint4 *>(work + place(row, piece));
    }
}

/* Grid: (queries / ROWS, heads, windows): blocks that share keys run side by side. */
template <typename T> __global__ void __launch_bounds__(THREADS, 2) attend(num_cuda_attention a) {
    workspace<T> &s = *num::dynamic_shared<workspace<T>>();
    const unsigned n = (unsigned)a.n, first = blockIdx.x * ROWS;
    const int lane = threadIdx.x % 32, row = threadIdx.x / 32 * WARP_ROWS;
    const size_t window = (size_t)blockIdx.z * n, head = (size_t)blockIdx.y * HEAD;
    const T *k = (const T *)a.k + window * a.ld + head, *v = (const T *)a.v + window * a.ld + head;
    const float scale = a.scale * num::LOG2_E;
    copy_rows<ROWS>(s.q, (const T *)a.q + window * a.ld + head, a.ld, first, n);
    copy_rows<KEYS>(s.k[0], k, a.ld, 0, n);
    copy_rows<KEYS>(s.v[0], v, a.ld, 0, n);
    num::cp_async_commit();
    warp_part<T> w;
    w.begin();
    for (unsigned at = 0; at < n; at += KEYS) {
        const int now = at / KEYS % 2;
        num::cp_async_wait<0>();
        __syncthreads(); /* this step's rows are there, and nobody reads the last step's */
        if (at + KEYS < n) {
            copy_rows<KEYS>(s.k[1 - now], k, a.ld, at + KEYS, n);
            copy_rows<KEYS>(s.v[1 - now], v, a.ld, at + KEYS, n);
        }
        num::cp_async_commit();
        if (at == 0)
            w.load_queries(s.q, row, lane);
        w.multiply_keys(s.k[now], lane);
        if (n - at < KEYS)
            hide<T>(w, (int)(n - at), lane);
        w.soften(scale);
        w.multiply_values(s.v[now], lane);
    }
    if (first + row < n)
        store(w, s.q + row * HEAD, lane, (T *)a.ret + (window + first + row) * a.ld_ret + head,
              a.ld_ret, n - first - row);
}

template <typename T> cudaError_t launch_attend(const num_cuda_attention &a, cudaStream_t stream) {
    const dim3 grid((unsigned)((a.n + ROWS - 1) / ROWS), (unsigned)a.n_heads, (unsigned)a.n_batch);
    return num::launch(attend<T>, grid, dim3(THREADS), sizeof(workspace<T>), stream, a);
}

} // namespace

cudaError_t num_cuda_attention_run(const struct num_cuda_attention *a, enum num_cuda_type type,
                                   cudaStream_t stream) {
    if (a->n == 0 || a->n_batch == 0)
        return cudaSuccess;
    switch (type) {
    case NUM_CUDA_F32:
        return num_cuda_attention_exact(a, stream);
    case NUM_CUDA_F16:
        return launch_attend<__half>(*a, stream);
    case NUM_CUDA_BF16:
        return launch_attend<__nv_bfloat16>(*a, stream);
    }
    return cudaErrorInvalidValue;
}
