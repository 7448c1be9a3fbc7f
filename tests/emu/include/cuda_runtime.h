/*
 * CUDA C++ for an ordinary C++17 compiler: the emulated card's cuda_runtime.h. Kernels include it
 * unchanged.
 *
 * __shared__ arrays are static and live in a section of their own, which is filled with NaNs before
 * every block (so they must be in functions of internal linkage); dynamic shared memory is
 * num::dynamic_shared. The intrinsics compute what their exact counterparts compute: __expf is
 * expf.
 */
#ifndef EMU_CUDA_RUNTIME_H
#define EMU_CUDA_RUNTIME_H

#include "cuda_runtime_api.h"

#ifdef __cplusplus
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmath>
#include <functional>
#include <tuple>
#include <type_traits>

#include "../device.h"

#define SLUICE_CUDA_EMU 1
#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__    __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __grid_constant__
#define __shared__ static __attribute__((section("emu_shared")))

#define EMU_MAKE(type, name)                                                                       \
    static inline name##2 make_##name##2(type x, type y) {                                         \
        return name##2 {x, y};                                                                     \
    }                                                                                              \
    static inline name##3 make_##name##3(type x, type y, type z) {                                 \
        return name##3 {x, y, z};                                                                  \
    }                                                                                              \
    static inline name##4 make_##name##4(type x, type y, type z, type w) {                         \
        return name##4 {x, y, z, w};                                                               \
    }
EMU_MAKE(signed char, char)
EMU_MAKE(unsigned char, uchar)
EMU_MAKE(short, short)
EMU_MAKE(unsigned short, ushort)
EMU_MAKE(int, int)
EMU_MAKE(unsigned int, uint)
EMU_MAKE(long long, longlong)
EMU_MAKE(float, float)
EMU_MAKE(double, double)
#undef EMU_MAKE

/* Bits and arithmetic. */
template <typename To, typename From> static inline To emu_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "same size");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
static inline int __float_as_int(float x) {
    return emu_bits<int>(x);
}
static inline unsigned __float_as_uint(float x) {
    return emu_bits<unsigned>(x);
}
static inline float __int_as_float(int x) {
    return emu_bits<float>(x);
}
static inline float __uint_as_float(unsigned x) {
    return emu_bits<float>(x);
}
static inline long long __double_as_longlong(double x) {
    return emu_bits<long long>(x);
}
static inline double __longlong_as_double(long long x) {
    return emu_bits<double>(x);
}
static inline int __popc(unsigned x) {
    return __builtin_popcount(x);
}
static inline int __popcll(unsigned long long x) {
    return __builtin_popcountll(x);
}
static inline int __clz(int x) {
    return x ? __builtin_clz((unsigned)x) : 32;
}
static inline int __clzll(long long x) {
    return x ? __builtin_clzll((unsigned long long)x) : 64;
}
static inline int __ffs(int x) {
    return __builtin_ffs(x);
}
static inline int __ffsll(long long x) {
    return __builtin_ffsll(x);
}
static inline unsigned __brev(unsigned x) {
    unsigned y = 0;
    for (int i = 0; i < 32; i++)
        y |= (x >> i & 1u) << (31 - i);
    return y;
}
static inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
    uint64_t both = (uint64_t)b << 32 | a;
    unsigned y = 0;
    for (int i = 0; i < 4; i++) {
        unsigned which = selector >> (4 * i) & 0xf;
        unsigned byte = (unsigned)(both >> (8 * (which & 7)) & 0xff);
        if (which & 8)
            byte = byte & 0x80 ? 0xff : 0;
        y |= byte << (8 * i);
    }
    return y;
}
static inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned by) {
    return (unsigned)(((uint64_t)high << 32 | low) << (by & 31) >> 32);
}
static inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) {
    return (unsigned)(((uint64_t)high << 32 | low) >> (by & 31));
}
static inline int __dp4a(int a, int b, int c) {
    for (int i = 0; i < 4; i++)
        c += (int)(int8_t)(a >> (8 * i)) * (int)(int8_t)(b >> (8 * i));
    return c;
}
static inline unsigned __umulhi(unsigned a, unsigned b) {
    return (unsigned)((uint64_t)a * b >> 32);
}
static inline int __mulhi(int a, int b) {
    return (int)((int64_t)a * b >> 32);
}
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}

/* Floating point. glibc declares names such as __expf, so these are macros. */
#define __expf(x)          expf(x)
#define __exp10f(x)        exp10f(x)
#define __logf(x)          logf(x)
#define __log2f(x)         log2f(x)
#define __log10f(x)        log10f(x)
#define __sinf(x)          sinf(x)
#define __cosf(x)          cosf(x)
#define __tanf(x)          tanf(x)
#define __powf(x, y)       powf(x, y)
#define __sincosf(x, s, c) sincosf(x, s, c)
static inline float __fadd_rn(float a, float b) {
    return a + b;
}
static inline float __fsub_rn(float a, float b) {
    return a - b;
}
static inline float __fmul_rn(float a, float b) {
    return a * b;
}
static inline float __fdiv_rn(float a, float b) {
    return a / b;
}
static inline float __fdividef(float a, float b) {
    return a / b;
}
static inline float __fmaf_rn(float a, float b, float c) {
    return fmaf(a, b, c);
}
static inline float __frcp_rn(float x) {
    return 1.0f / x;
}
static inline float __fsqrt_rn(float x) {
    return sqrtf(x);
}
static inline float __frsqrt_rn(float x) {
    return (float)(1.0 / sqrt((double)x));
}
static inline float rsqrtf(float x) {
    return (float)(1.0 / sqrt((double)x));
}
static inline double rsqrt(double x) {
    return 1.0 / sqrt(x);
}
static inline float __saturatef(float x) {
    return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f;
}
static inline void sincospif(float x, float *s, float *c) {
    *s = (float)sin((double)x * M_PI);
    *c = (float)cos((double)x * M_PI);
}
static inline float cospif(float x) {
    return (float)cos((double)x * M_PI);
}
static inline float sinpif(float x) {
    return (float)sin((double)x * M_PI);
}
static inline float normcdff(float x) {
    return 0.5f * erfcf(-x * 0.70710678118654752f);
}
static inline int __float2int_rn(float x) {
    return x != x               ? 0
           : x >= 2147483648.0f ? INT32_MAX
           : x < -2147483648.0f ? INT32_MIN
                                : (int)nearbyintf(x);
}
static inline int __float2int_rz(float x) {
    return x != x ? 0 : x >= 2147483648.0f ? INT32_MAX : x < -2147483648.0f ? INT32_MIN : (int)x;
}
static inline int __float2int_rd(float x) {
    return __float2int_rz(floorf(x));
}
static inline float __int2float_rn(int x) {
    return (float)x;
}
static inline float __uint2float_rn(unsigned x) {
    return (float)x;
}
using std::isfinite;
using std::isinf;
using std::isnan;

#define EMU_MINMAX(type)                                                                           \
    static inline type min(type a, type b) {                                                       \
        return b < a ? b : a;                                                                      \
    }                                                                                              \
    static inline type max(type a, type b) {                                                       \
        return a < b ? b : a;                                                                      \
    }
EMU_MINMAX(int)
EMU_MINMAX(unsigned)
EMU_MINMAX(long)
EMU_MINMAX(unsigned long)
EMU_MINMAX(long long)
EMU_MINMAX(unsigned long long)
#undef EMU_MINMAX
static inline float min(float a, float b) {
    return fminf(a, b);
}
static inline float max(float a, float b) {
    return fmaxf(a, b);
}
static inline double min(double a, double b) {
    return fmin(a, b);
}
static inline double max(double a, double b) {
    return fmax(a, b);
}

/* Loads and stores with a hint to the caches. */
#define EMU_LOAD(name)                                                                             \
    template <typename T> static inline T name(const T *p) {                                       \
        return *p;                                                                                 \
    }
EMU_LOAD(__ldg)
EMU_LOAD(__ldcg)
EMU_LOAD(__ldca)
EMU_LOAD(__ldcs)
EMU_LOAD(__ldlu)
EMU_LOAD(__ldcv)
#undef EMU_LOAD
#define EMU_STORE(name)                                                                            \
    template <typename T> static inline void name(T *p, T value) {                                 \
        *p = value;                                                                                \
    }
EMU_STORE(__stcg)
EMU_STORE(__stcs)
EMU_STORE(__stwb)
EMU_STORE(__stwt)
#undef EMU_STORE
static inline size_t __cvta_generic_to_shared(const void *p) {
    return (size_t)p;
}

/* Atomics: relaxed, as CUDA has them. Each returns the value before. */
template <typename T, typename Next> static inline T emu_atomic(T *p, Next next) {
    using bits = std::conditional_t<sizeof(T) == 8, uint64_t,
                                    std::conditional_t<sizeof(T) == 4, uint32_t, uint16_t>>;
    bits old = __atomic_load_n((bits *)p, __ATOMIC_RELAXED), to;
    do
        to = emu_bits<bits>(next(emu_bits<T>(old)));
    while (!__atomic_compare_exchange_n((bits *)p, &old, to, false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED));
    emu_overtake();
    return emu_bits<T>(old);
}
template <typename T> static inline T atomicAdd(T *p, std::common_type_t<T> v) {
    return emu_atomic(p, [=](T x) { return (T)(x + v); });
}
template <typename T> static inline T atomicSub(T *p, std::common_type_t<T> v) {
    return emu_atomic(p, [=](T x) { return (T)(x - v); });
}
template <typename T> static inline T atomicExch(T *p, std::common_type_t<T> v) {
    return emu_atomic(p, [=](T) { return v; });
}
template <typename T> static inline T atomicMin(T *p, std::common_type_t<T> v) {
    return emu_atomic(p, [=](T x) { return v < x ? v : x; });
}
template <typename T> static inline T atomicMax(T *p, std::common_type_t<T> v) {
    return emu_atomic(p, [=](T x) { return x < v ? v : x; });
}
template <typename T> static inline T atomicAnd(T *p, std::common_type_t<T> v) {
    return emu_atomic(p, [=](T x) { return (T)(x & v); });
}
template <typename T> static inline T atomicOr(T *p, std::common_type_t<T> v) {
    return emu_atomic(p, [=](T x) { return (T)(x | v); });
}
template <typename T> static inline T atomicXor(T *p, std::common_type_t<T> v) {
    return emu_atomic(p, [=](T x) { return (T)(x ^ v); });
}
static inline unsigned atomicInc(unsigned *p, unsigned last) {
    return emu_atomic(p, [=](unsigned x) { return x >= last ? 0u : x + 1; });
}
static inline unsigned atomicDec(unsigned *p, unsigned last) {
    return emu_atomic(p, [=](unsigned x) { return x == 0 || x > last ? last : x - 1; });
}
template <typename T>
static inline T atomicCAS(T *p, std::common_type_t<T> expected, std::common_type_t<T> v) {
    return emu_atomic(p, [=](T x) { return x == expected ? v : x; });
}

/* Launches (the template of launch.cuh calls this): `run` is called once a thread. */
cudaError_t emu_launch(const void *kernel, dim3 grid, dim3 block, size_t shared_bytes,
                       cudaStream_t stream, std::function<void()> run);
/* Ends the process if p is memory of the host that no kernel could reach. */
void emu_check_argument(const void *p, int index);

template <typename T> static inline cudaError_t cudaMalloc(T **ptr, size_t size) {
    return cudaMalloc((void **)ptr, size);
}
template <typename T> static inline cudaError_t cudaMallocHost(T **ptr, size_t size) {
    return cudaMallocHost((void **)ptr, size);
}
template <typename T, typename Kernel>
static inline cudaError_t cudaFuncSetAttribute(Kernel *kernel, enum cudaFuncAttribute attr,
                                               T value) {
    return cudaFuncSetAttribute((const void *)kernel, attr, (int)value);
}
template <typename Kernel>
static inline cudaError_t
cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *n_blocks, Kernel *kernel, int block_size,
                                              size_t shared) {
    return cudaOccupancyMaxActiveBlocksPerMultiprocessor(n_blocks, (const void *)kernel, block_size,
                                                         shared);
}
template <typename T>
static inline cudaError_t cudaMemcpyToSymbol(T &symbol, const void *src, size_t count) {
    memcpy((void *)&symbol, src, count);
    return cudaSuccess;
}
#endif

#endif
