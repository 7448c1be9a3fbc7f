/*
 * How kernels are launched and find their dynamic shared memory, the same for nvcc and for the
 * emulated card.
 *
 * Kernels live in an anonymous namespace (in .cu files) or are `static` (templates in headers):
 * nothing outside the file needs them, and the emulated card finds their __shared__ arrays. A
 * kernel takes its arguments by value: numbers, pointers to memory of the device (or pinned), plain
 * structs of these.
 */
#ifndef NUM_CUDA_LAUNCH_CUH
#define NUM_CUDA_LAUNCH_CUH

#include <cuda_runtime.h>

#include <stddef.h>
#include <tuple>
#include <type_traits>

namespace num {

/* Starts of dynamic shared memory, aligned to 128 bytes. */
template <typename T> __device__ static __forceinline__ T *dynamic_shared() {
#ifdef SLUICE_CUDA_EMU
    return (T *)emu_dynamic_shared();
#else
    extern __shared__ __align__(128) unsigned char num_dynamic_shared[];
    return reinterpret_cast<T *>(num_dynamic_shared);
#endif
}

constexpr size_t DEFAULT_SHARED = 48 * 1024; /* more has to be asked for, kernel by kernel */

/* Lets the kernel have so much dynamic shared memory. What it had before it keeps: a recorded
 * launch may need it. */
static inline cudaError_t allow_shared(const void *kernel, size_t shared_bytes) {
    cudaFuncAttributes has;
    if (shared_bytes <= DEFAULT_SHARED)
        return cudaSuccess;
    cudaError_t error = cudaFuncGetAttributes(&has, kernel);
    if (error != cudaSuccess || has.maxDynamicSharedSizeBytes >= (int)shared_bytes)
        return error;
    return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                (int)shared_bytes);
}

#ifdef SLUICE_CUDA_EMU
template <typename T> static void check_argument(const T &argument, int index) {
    if constexpr (std::is_pointer_v<T>)
        emu_check_argument((const void *)argument, index);
}
#endif

/* kernel<<<grid, block, shared_bytes, stream>>>(args...). Returns what the launch itself returned;
 * what goes wrong in the kernel comes with a later call. */
template <typename... Params, typename... Args>
static inline cudaError_t launch(void (*kernel)(Params...), dim3 grid, dim3 block,
                                 size_t shared_bytes, cudaStream_t stream, Args... args) {
    static_assert(sizeof...(Params) == sizeof...(Args),
                  "as many arguments as the kernel has parameters");
    std::tuple<Params...> values(args...);
    cudaError_t error = allow_shared((const void *)kernel, shared_bytes);
    if (error != cudaSuccess)
        return error;
#ifdef SLUICE_CUDA_EMU
    int index = 0;
    std::apply([&](auto &...value) { (check_argument(value, index++), ...); }, values);
    return emu_launch((const void *)kernel, grid, block, shared_bytes, stream,
                      [kernel, values] { std::apply(kernel, values); });
#else
    void *pointers[sizeof...(Params) + 1] = {};
    int index = 0;
    std::apply([&](auto &...value) { ((pointers[index++] = (void *)&value), ...); }, values);
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared_bytes;
    config.stream = stream;
    return cudaLaunchKernelExC(&config, (const void *)kernel, pointers);
#endif
}

__host__ __device__ constexpr int div_up(int a, int b) {
    return (a + b - 1) / b;
}

} /* namespace num */

#endif
