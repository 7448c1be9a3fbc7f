/*
 * What attention kernels with tensor cores share: one warp's queries on their walk over the keys,
 * KEYS at a time with a running softmax (Dao, "FlashAttention-2", 2023). Queries stay in registers
 * as operands; scores become the operand that meets the values without leaving registers, since the
 * result of one matrix instruction has the layout that the next one wants.
 *
 * The maximum of a row is a reference point, not a result: it is only moved, and what was added
 * before corrected, where a score of the row lies more than 2^8 above it. That spares most of the
 * corrections and the shuffles that find the maximum; the sums have the same reference, so nothing
 * is lost. (The same in "FlashAttention-4", 2025.) Rows know nothing of each other, and a step
 * without a key that a row sees changes nothing of it: its bits follow from its own keys and from
 * where steps begin.
 *
 * Shared memory: rows of HEAD numbers, their pieces of 16 bytes exchanged by the row's number, so
 * that the eight rows of a matrix lie in different banks.
 */
#ifndef NUM_CUDA_ATTENTION_FLASH_CUH
#define NUM_CUDA_ATTENTION_FLASH_CUH

#include <math.h>

#include "num/cuda/fast.cuh"
#include "num/cuda/launch.cuh"
#include "num/cuda/mma.cuh"
#include "num/cuda/vec8.cuh"
#include "num/cuda/warp.cuh"

namespace num {

constexpr float FLASH_SLACK = 8; /* powers of 2 that a score may lie above its row's reference */
constexpr float LOG2_E = 1.44269504f;

/* Where piece `piece` of row `row` lies. */
template <int HEAD> __device__ static __forceinline__ int flash_place(int row, int piece) {
    return row * HEAD + (piece ^ row % 8) * 8;
}

/* 16 M queries of a warp; a lane has rows 16 m + 8 h + lane / 4. All lanes of the warp call all
 * functions. */
template <typename T, int HEAD, int M, int KEYS> struct flash {
    uint32_t q[M][HEAD / 16][4];
    float scores[M][KEYS / 8][4]; /* of a step, then weights */
    float out[M][HEAD / 8][4];
    float top[M][2]; /* reference of the row, in powers of 2; the same in four lanes */
    float sum[M][2]; /* of this lane's weights */

    __device__ void begin() {
#pragma unroll
        for (int m = 0; m < M; m++) {
#pragma unroll
            for (int h = 0; h < 2; h++) {
                top[m][h] = -INFINITY;
                sum[m][h] = 0;
            }
#pragma unroll
            for (int c = 0; c < HEAD / 8; c++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    out[m][c][i] = 0;
        }
    }

    /* Queries from row `row` of shared memory on. */
    __device__ void load_queries(const T *from, int row, int lane) {
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
            for (int e = 0; e < HEAD / 16; e++)
                ldmatrix_x4(q[m][e],
                            from + flash_place<HEAD>(row + m * 16 + lane % 16, e * 2 + lane / 16));
    }

    /* Scores with the keys of a step. */
    __device__ void multiply_keys(const T *k, int lane) {
        const int key = lane / 16 * 8 + lane % 8, piece = lane / 8 % 2;
#pragma unroll
        for (int m = 0; m < M; m++)
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
                ldmatrix_x4(b, k + flash_place<HEAD>(c * 16 + key, e * 2 + piece));
#pragma unroll
                for (int m = 0; m < M; m++) {
                    mma_m16n8k16<T>(scores[m][2 * c], q[m][e], b);
                    mma_m16n8k16<T>(scores[m][2 * c + 1], q[m][e], b + 2);
                }
            }
    }

    /* Hides the keys of a step outside [low, high) of a row, which lane's rows have in low[m][h],
     * high[m][h]. */
    __device__ void hide(const int (&low)[M][2], const int (&high)[M][2], int lane) {
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
            for (int c = 0; c < KEYS / 8; c++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const int key = c * 8 + lane % 4 * 2 + i % 2;
                    if (key < low[m][i / 2] || key >= high[m][i / 2])
                        scores[m][c][i] = -INFINITY;
                }
    }

    /* Moves references that lie too low to their rows' maxima and corrects what has them. */
    __device__ void rescale(const float (&most)[M][2]) {
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                float max = most[m][h];
                max = fmaxf(max, __shfl_xor_sync(ALL_LANES, max, 1));
                max = fmaxf(max, __shfl_xor_sync(ALL_LANES, max, 2));
                if (!(max > top[m][h] + FLASH_SLACK))
                    continue;
                const float fix = fast_exp2(top[m][h] - max);
                top[m][h] = max;
                sum[m][h] *= fix;
#pragma unroll
                for (int c = 0; c < HEAD / 8; c++) {
                    out[m][c][2 * h] *= fix;
                    out[m][c][2 * h + 1] *= fix;
                }
            }
    }

    /* Turns scores into weights. `scale` brings scores to powers of 2. */
    __device__ void soften(float scale) {
        float most[M][2];
        bool above = false;
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                float x = -INFINITY;
#pragma unroll
                for (int c = 0; c < KEYS / 8; c++)
                    x = fmaxf(x, fmaxf(scores[m][c][2 * h], scores[m][c][2 * h + 1]));
                most[m][h] = x * scale;
                above |= most[m][h] > top[m][h] + FLASH_SLACK;
            }
        if (__any_sync(ALL_LANES, above))
            rescale(most);
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const float by = top[m][h] == -INFINITY ? 0 : top[m][h]; /* it has seen no key */
#pragma unroll
                for (int c = 0; c < KEYS / 8; c++)
#pragma unroll
                    for (int i = 2 * h; i < 2 * h + 2; i++) {
                        scores[m][c][i] = fast_exp2(fmaf(scores[m][c][i], scale, -by));
                        sum[m][h] += scores[m][c][i];
                    }
            }
    }

    /* Adds weights times values. Weights are rounded to T and packed on the way. */
    __device__ void multiply_values(const T *v, int lane) {
#pragma unroll
        for (int t = 0; t < KEYS / 16; t++) {
            uint32_t a[M][4];
#pragma unroll
            for (int m = 0; m < M; m++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const float *pair = scores[m][2 * t + i / 2] + i % 2 * 2;
                    a[m][i] = pack2<T>(pair[0], pair[1]);
                }
#pragma unroll
            for (int e = 0; e < HEAD / 16; e++) {
                uint32_t b[4]; /* two groups of eight elements */
                ldmatrix_x4_trans(b, v + flash_place<HEAD>(t * 16 + lane % 16, e * 2 + lane / 16));
#pragma unroll
                for (int m = 0; m < M; m++) {
                    mma_m16n8k16<T>(out[m][2 * e], a[m], b);
                    mma_m16n8k16<T>(out[m][2 * e + 1], a[m], b + 2);
                }
            }
        }
    }

    /* What a row's sums are to be multiplied by at last. */
    __device__ float weight(int m, int h) const {
        float all = sum[m][h];
        all += __shfl_xor_sync(ALL_LANES, all, 1);
        all += __shfl_xor_sync(ALL_LANES, all, 2);
        return 1 / all;
    }
};

} /* namespace num */

#endif
