/*
 * For tests of kernels: arrays on the (emulated) device in a kernel's type, and what a kernel makes
 * of random numbers against a plain loop in double precision.
 */
#ifndef TESTS_UNIT_CUDA_ENCODER_DEVICE_H
#define TESTS_UNIT_CUDA_ENCODER_DEVICE_H

#include <cuda_runtime.h>
#include <stdbool.h>

#include "num/cuda/type.h"
#include "num/half.h"
#include "unit/test.h"

#define CHECK_CUDA(call) CHECK_INT(call, cudaSuccess)

static const enum num_cuda_type all_types[] = {NUM_CUDA_F32, NUM_CUDA_F16, NUM_CUDA_BF16};
#define N_TYPES 3

/* Half a unit in the last place of 1 in the type: the error of one rounding, relative. */
static inline double rounding_of(enum num_cuda_type type) {
    return type == NUM_CUDA_F32 ? 0x1p-24 : type == NUM_CUDA_F16 ? 0x1p-11 : 0x1p-8;
}

static inline uint16_t half_bits(float x, enum num_cuda_type type) {
    if (type == NUM_CUDA_F16) {
        _Float16 h = (_Float16)x;
        uint16_t bits;
        memcpy(&bits, &h, 2);
        return bits;
    }
    return num_f32_to_bf16(x);
}

static inline float half_value(uint16_t bits, enum num_cuda_type type) {
    return type == NUM_CUDA_F16 ? num_f16_to_f32(bits) : num_bf16_to_f32(bits);
}

static inline void *device_room(size_t bytes) {
    void *at;
    CHECK_CUDA(cudaMalloc(&at, bytes));
    return at;
}

static inline void *device_copy(const void *host, size_t bytes) {
    void *at = device_room(bytes);
    CHECK_CUDA(cudaMemcpy(at, host, bytes, cudaMemcpyHostToDevice));
    return at;
}

/* n values on the device, rounded to the type; so is `values` itself then. */
static inline void *device_values(float *values, size_t n, enum num_cuda_type type) {
    if (type == NUM_CUDA_F32)
        return device_copy(values, n * 4);
    uint16_t *half = malloc(n * 2);
    for (size_t i = 0; i < n; i++) {
        half[i] = half_bits(values[i], type);
        values[i] = half_value(half[i], type);
    }
    void *at = device_copy(half, n * 2);
    free(half);
    return at;
}

/* What a case allocates lives as long as the process, which is the case's own. This remembers it,
 * so that a leak that is reported is one of what is tested. */
static inline void *keep(void *block) {
    static void **kept;
    static size_t n_kept;
    kept = realloc(kept, (n_kept + 1) * sizeof *kept);
    CHECK(kept && block);
    return kept[n_kept++] = block;
}

/* n values from the device. */
static inline float *host_values(const void *device, size_t n, enum num_cuda_type type) {
    float *values = keep(malloc(n * 4 + 1));
    CHECK_CUDA(cudaDeviceSynchronize());
    CHECK_CUDA(cudaMemcpy(values, device, n * num_cuda_type_bytes(type), cudaMemcpyDeviceToHost));
    if (type == NUM_CUDA_F32)
        return values;
    uint16_t *half = (uint16_t *)values;
    float *wide = keep(malloc(n * 4 + 1));
    for (size_t i = 0; i < n; i++)
        wide[i] = half_value(half[i], type);
    return wide;
}

/* About normally distributed, mean 0, deviation 1: the same numbers in every run. */
static inline float random_value(uint32_t *state) {
    float sum = -6;
    for (int i = 0; i < 12; i++) {
        *state = *state * 1664525u + 1013904223u;
        sum += (float)(*state >> 8) * 0x1p-24f;
    }
    return sum;
}

static inline float *random_values(size_t n, float scale, float shift, uint32_t seed) {
    float *values = keep(malloc(n * 4 + 1));
    for (size_t i = 0; i < n; i++)
        values[i] = random_value(&seed) * scale + shift;
    return values;
}

#endif
