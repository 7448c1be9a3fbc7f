/*
 * Attention with tensor cores: see attention.h.
 *
 * A block of four warps owns 128 queries of a head, a warp 32 of them, and walks over the keys 64 at
 * a time with a running softmax (Dao, "FlashAttention-2", 2023). Queries stay in registers as
 * operands; scores become the operand that meets the values without leaving registers, since the
 * result of one matrix instruction has the layout that the next one wants. Keys and values of the
 * next step are copied to shared memory while this one is computed: one barrier a step.
 *
 * The maximum of a row is a reference point, not a result: it is only moved, and what was added
 * before corrected, where a score lies more than 2^8 above it. That spares most of the corrections
 * and the shuffles that find the maximum; the sums have the same reference, so nothing is lost. (The
 * same in "FlashAttention-4", 2025.)
 *
 * Shared memory: rows of 128 bytes, their eight pieces of 16 bytes exchanged by the row's number, so
 * that the eight rows of a matrix lie in different banks. 32 rows a warp, because each fragment of
 * keys or values that is read then serves four matrix instructions; with 16 rows shared memory would
 * be the limit.
 *
 * 11.5 GFLOP for a layer and a window of large-v3 (20 heads, 1500 keys; 12.1 with rows and keys that
 * fill up tiles). On sm_90 these instructions reach about 62 % of the tensor cores' rate, and two
 * warps of a scheduler overlap softmax with products: 330 TFLOP/s expected, 35 us a layer. For each
 * step of 64 keys a warp issues 128 matrix instructions (820 cycles at that rate), 64 exponentials
 * (512 cycles of their unit), 32 loads of fragments.
 */
#include "num/cuda/attention.h"

#include <math.h>

#include "num/cuda/fast.cuh"
#include "num/cuda/launch.cuh"
#include "num/cuda/mma.cuh"
#include "num/cuda/vec8.cuh"

namespace {

constexpr int HEAD = NUM_CUDA_HEAD;
constexpr int WARPS = 4, THREADS = 32 * WARPS;
constexpr int WARP_ROWS = 32, ROWS = WARPS * WARP_ROWS; /* queries */
constexpr int KEYS = 64;                                /* of a step */
constexpr int PIECES = HEAD / 8;                        /* of 16 bytes, of a row */
constexpr float SLACK = 8; /* powers of 2 that a score may lie above its row's reference */
constexpr float LOG2_E = 1.44269504f;

/* Shared memory of a block: 48 KB. */
template <typename T> struct workspace {
    T q[ROWS * HEAD]; /* of a warp: its queries, at last its results */
    T k[2][KEYS * HEAD], v[2][KEYS * HEAD];
};

/* Where piece `piece` of row `row` lies. */
__device__ inline int place(int row, int piece) {
    return row * HEAD + (piece ^ row % 8) * 8;
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

/* One warp's queries as operands: [half of its rows][16 elements]. */
template <typename T>
__device__ void load_queries(const T *q, int row, int lane, uint32_t (&to)[2][HEAD / 16][4]) {
#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
        for (int e = 0; e < HEAD / 16; e++)
            num::ldmatrix_x4(to[m][e], q + place(row + m * 16 + lane % 16, e * 2 + lane / 16));
}

/* Scores of a warp's queries with the keys of a step. */
template <typename T>
__device__ void multiply_keys(const uint32_t (&q)[2][HEAD / 16][4], const T *k, int lane,
                              float (&scores)[2][KEYS / 8][4]) {
    const int key = lane / 16 * 8 + lane % 8, piece = lane / 8 % 2;
#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
        for (int c = 0; c < KEYS / 8; c++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                scores[m][c][i] = 0;
#pragma unroll
    for (int e = 0; e < HEAD / 16; e++)
#pragma unroll
        for (int c = 0; c < KEYS / 16; c++) {
            uint32_t b[4]; /* two groups of eight keys */
            num::ldmatrix_x4(b, k + place(c * 16 + key, e * 2 + piece));
#pragma unroll
            for (int m = 0; m < 2; m++) {
                num::mma_m16n8k16<T>(scores[m][2 * c], q[m][e], b);
                num::mma_m16n8k16<T>(scores[m][2 * c + 1], q[m][e], b + 2);
            }
        }
}

/* Adds weights times values. Weights are rounded to T and packed on the way. */
template <typename T>
__device__ void multiply_values(const float (&weights)[2][KEYS / 8][4], const T *v, int lane,
                                float (&out)[2][HEAD / 8][4]) {
#pragma unroll
    for (int t = 0; t < KEYS / 16; t++) {
        uint32_t a[2][4];
#pragma unroll
        for (int m = 0; m < 2; m++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float *pair = weights[m][2 * t + i / 2] + i % 2 * 2;
                a[m][i] = num::pack2<T>(pair[0], pair[1]);
            }
#pragma unroll
        for (int e = 0; e < HEAD / 16; e++) {
            uint32_t b[4]; /* two groups of eight elements */
            num::ldmatrix_x4_trans(b, v + place(t * 16 + lane % 16, e * 2 + lane / 16));
#pragma unroll
            for (int m = 0; m < 2; m++) {
                num::mma_m16n8k16<T>(out[m][2 * e], a[m], b);
                num::mma_m16n8k16<T>(out[m][2 * e + 1], a[m], b + 2);
            }
        }
    }
}

/* What a lane knows of its four rows: [half of the warp's rows][upper or lower eight of 16]. */
struct running {
    float top[2][2]; /* reference of the row, in powers of 2; the same in four lanes */
    float sum[2][2]; /* of this lane's weights */
};

/* Moves the references to the rows' maxima and corrects what has that reference. Whole warp. */
__device__ void rescale(const float (&most)[2][2], running &r, float (&out)[2][HEAD / 8][4]) {
#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float top = fmaxf(r.top[m][h], most[m][h]);
            top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
            top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
            const float fix = num::fast_exp2(r.top[m][h] - top);
            r.top[m][h] = top;
            r.sum[m][h] *= fix;
#pragma unroll
            for (int c = 0; c < HEAD / 8; c++) {
                out[m][c][2 * h] *= fix;
                out[m][c][2 * h + 1] *= fix;
            }
        }
}

/* Turns scores into weights. `scale` brings scores to powers of 2. */
__device__ void soften(float (&scores)[2][KEYS / 8][4], float scale, running &r,
                       float (&out)[2][HEAD / 8][4]) {
    float most[2][2];
    bool above = false;
#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float x = -INFINITY;
#pragma unroll
            for (int c = 0; c < KEYS / 8; c++)
                x = fmaxf(x, fmaxf(scores[m][c][2 * h], scores[m][c][2 * h + 1]));
            most[m][h] = x * scale;
            above |= most[m][h] > r.top[m][h] + SLACK;
        }
    if (__any_sync(0xffffffffu, above))
        rescale(most, r, out);
#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
        for (int c = 0; c < KEYS / 8; c++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                scores[m][c][i] = num::fast_exp2(fmaf(scores[m][c][i], scale, -r.top[m][i / 2]));
                r.sum[m][i / 2] += scores[m][c][i];
            }
}

/* Hides the keys behind the last of a step that has `left` of them. */
__device__ void hide(float (&scores)[2][KEYS / 8][4], int left, int lane) {
#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
        for (int c = 0; c < KEYS / 8; c++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                if (c * 8 + lane % 4 * 2 + i % 2 >= left)
                    scores[m][c][i] = -INFINITY;
}

/* Divides by the sums and stores a warp's rows, by way of its part of shared memory: whole rows of
 * 128 bytes reach memory. */
template <typename T>
__device__ void store(float (&out)[2][HEAD / 8][4], const running &r, T *work, int lane, T *ret,
                      size_t ld, unsigned n_rows) {
    __syncwarp(); /* all lanes have their queries */
#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float sum = r.sum[m][h];
            sum += __shfl_xor_sync(0xffffffffu, sum, 1);
            sum += __shfl_xor_sync(0xffffffffu, sum, 2);
            const float scale = 1 / sum;
            const int row = m * 16 + h * 8 + lane / 4;
#pragma unroll
            for (int c = 0; c < HEAD / 8; c++)
                *reinterpret_cast<uint32_t *>(work + place(row, c) + lane % 4 * 2) =
                    num::pack2<T>(out[m][c][2 * h] * scale, out[m][c][2 * h + 1] * scale);
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
    const float scale = a.scale * LOG2_E;
    copy_rows<ROWS>(s.q, (const T *)a.q + window * a.ld + head, a.ld, first, n);
    copy_rows<KEYS>(s.k[0], k, a.ld, 0, n);
    copy_rows<KEYS>(s.v[0], v, a.ld, 0, n);
    num::cp_async_commit();
    uint32_t q[2][HEAD / 16][4];
    float out[2][HEAD / 8][4] = {{{0}}};
    running r;
#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            r.top[m][h] = -INFINITY;
            r.sum[m][h] = 0;
        }
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
            load_queries(s.q, row, lane, q);
        float scores[2][KEYS / 8][4];
        multiply_keys(q, s.k[now], lane, scores);
        if (n - at < KEYS)
            hide(scores, (int)(n - at), lane);
        soften(scores, scale, r, out);
        multiply_values(scores, s.v[now], lane, out);
    }
    if (first + row < n)
        store(out, r, s.q + row * HEAD, lane, (T *)a.ret + (window + first + row) * a.ld_ret + head,
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
