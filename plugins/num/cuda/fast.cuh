/*
 * Elementary functions for kernels whose results are rounded to half types: as precise as those
 * need, and no more.
 */
#ifndef NUM_CUDA_FAST_CUH
#define NUM_CUDA_FAST_CUH

#include <cuda_runtime.h>
#include <math.h>

namespace num {

/* 2^x in one instruction: two units in the last place, denormal results are zero. */
__device__ inline float fast_exp2(float x) {
#ifdef SLUICE_CUDA_EMU
    return exp2f(x);
#else
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}

/* x times the normal distribution's integral, the exact GELU: within 5e-7. The integral's error
 * function is Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26 (1.5e-7). */
__device__ inline float fast_gelu(float x) {
    const float z = fabsf(x) * 0.70710678f, t = __fdividef(1.0f, 1.0f + 0.3275911f * z);
    float p = 1.061405429f;
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    const float half_tail = 0.5f * p * t * fast_exp2(-1.44269504f * z * z);
    return x * (x < 0 ? half_tail : 1 - half_tail);
}

} // namespace num

#endif
