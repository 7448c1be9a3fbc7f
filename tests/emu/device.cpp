/*
 * The made-up card: its properties, its errors, and the faults that a test asks for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

emu_state::emu_state() {
    if (const char *text = getenv("SLUICE_EMU_SEED"))
        seed = strtoull(text, nullptr, 10);
    emu_seed_random(seed);
}

struct emu_state &emu(void) {
    static struct emu_state *state = new struct emu_state;
    return *state;
}

/* ---- errors ---- */

static const struct {
    cudaError_t error;
    const char *name, *words;
} error_names[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInitializationError, "cudaErrorInitializationError", "initialization error"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration",
     "invalid configuration argument"},
    {cudaErrorInvalidMemcpyDirection, "cudaErrorInvalidMemcpyDirection", "invalid copy direction"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "the driver is older than the runtime needs"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no card is there"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "no such card"},
    {cudaErrorNoKernelImageForDevice, "cudaErrorNoKernelImageForDevice", "no code for this card"},
    {cudaErrorECCUncorrectable, "cudaErrorECCUncorrectable", "uncorrectable error of the memory"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "illegal memory access"},
    {cudaErrorLaunchOutOfResources, "cudaErrorLaunchOutOfResources",
     "too many resources for a launch"},
    {cudaErrorLaunchTimeout, "cudaErrorLaunchTimeout", "the launch timed out"},
    {cudaErrorAssert, "cudaErrorAssert", "an assertion failed"},
    {cudaErrorIllegalInstruction, "cudaErrorIllegalInstruction", "illegal instruction"},
    {cudaErrorMisalignedAddress, "cudaErrorMisalignedAddress", "misaligned address"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "a launch failed"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "not supported"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "not permitted while a stream is captured"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "the capture has failed"},
    {cudaErrorStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched",
     "no capture was begun here"},
    {cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined",
     "a captured stream was not joined"},
    {cudaErrorStreamCaptureImplicit, "cudaErrorStreamCaptureImplicit",
     "the default stream would wait for one that is captured"},
    {cudaErrorGraphExecUpdateFailure, "cudaErrorGraphExecUpdateFailure",
     "the graph has another shape"},
};

const char *cudaGetErrorName(cudaError_t error) {
    for (const auto &e : error_names)
        if (e.error == error)
            return e.name;
    return "cudaErrorUnknown";
}

const char *cudaGetErrorString(cudaError_t error) {
    for (const auto &e : error_names)
        if (e.error == error)
            return e.words;
    return "unknown error";
}

bool emu_is_sticky(cudaError_t error) {
    return error == cudaErrorECCUncorrectable || error == cudaErrorUnknown ||
           error == cudaErrorExternalDevice || (error >= cudaErrorIllegalAddress && error < 800);
}

cudaError_t emu_error(cudaError_t error) {
    if (error)
        emu().last_error = error;
    return error;
}

cudaError_t emu_enter(const char *function) {
    struct emu_state &state = emu();
    if (state.sticky)
        return state.sticky;
    bool counts =
        state.fail_call_in &&
        (!state.fail_function || strcmp(state.fail_function, function) == 0 ||
         (strcmp(state.fail_function, "launch") == 0 && strcmp(function, "emu_launch") == 0));
    if (!counts || --state.fail_call_in)
        return cudaSuccess;
    if (emu_is_sticky(state.fail_call))
        state.sticky = state.fail_call;
    return state.fail_call;
}

cudaError_t cudaPeekAtLastError(void) {
    std::lock_guard<std::recursive_mutex> guard(emu().lock);
    return emu().sticky ? emu().sticky : emu().last_error;
}

cudaError_t cudaGetLastError(void) {
    std::lock_guard<std::recursive_mutex> guard(emu().lock);
    cudaError_t error = cudaPeekAtLastError();
    emu().last_error = cudaSuccess;
    return error;
}

/* ---- what a test asks for ---- */

void emu_set_seed(uint64_t seed) {
    std::lock_guard<std::recursive_mutex> guard(emu().lock);
    emu().seed = seed;
    emu_seed_random(seed);
}

void emu_fail_call(const char *function, int n, cudaError_t error) {
    std::lock_guard<std::recursive_mutex> guard(emu().lock);
    emu().fail_function = function;
    emu().fail_call_in = n;
    emu().fail_call = error;
}

void emu_fail_kernel(int n, cudaError_t error) {
    std::lock_guard<std::recursive_mutex> guard(emu().lock);
    emu().fail_kernel_in = n;
    emu().fail_kernel = error;
}

void emu_counts(struct emu_counts *ret_counts) {
    std::lock_guard<std::recursive_mutex> guard(emu().lock);
    *ret_counts = emu().counts;
}

/* ---- the card ---- */

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *prop, int device) {
    if (device != 0)
        return emu_error(cudaErrorInvalidDevice);
    struct cudaDeviceProp p = {};
    size_t free_bytes;
    snprintf(p.name, sizeof p.name, "emulated card");
    emu_memory_info(&free_bytes, &p.totalGlobalMem);
    p.sharedMemPerBlock = 48 * 1024;
    p.sharedMemPerBlockOptin = 163 * 1024; /* of compute capability 8.0 */
    p.sharedMemPerMultiprocessor = 164 * 1024;
    p.regsPerBlock = p.regsPerMultiprocessor = 65536;
    p.warpSize = EMU_WARP;
    p.maxThreadsPerBlock = EMU_BLOCK_THREADS;
    p.maxThreadsDim[0] = p.maxThreadsDim[1] = 1024;
    p.maxThreadsDim[2] = 64;
    p.maxGridSize[0] = INT32_MAX;
    p.maxGridSize[1] = p.maxGridSize[2] = 65535;
    p.totalConstMem = 64 * 1024;
    p.major = 8;
    p.minor = 0;
    p.multiProcessorCount = 4;
    p.canMapHostMemory = 1;
    p.asyncEngineCount = 2;
    p.memoryBusWidth = 5120;
    p.l2CacheSize = 4 << 20;
    p.maxThreadsPerMultiProcessor = 2048;
    *prop = p;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attr, int device) {
    EMU_CALL();
    struct cudaDeviceProp p;
    if (cudaError_t failed = cudaGetDeviceProperties(&p, device))
        return failed;
    switch (attr) {
    case cudaDevAttrMaxThreadsPerBlock:
        *value = p.maxThreadsPerBlock;
        return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock:
        *value = (int)p.sharedMemPerBlock;
        return cudaSuccess;
    case cudaDevAttrWarpSize:
        *value = p.warpSize;
        return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
        *value = p.multiProcessorCount;
        return cudaSuccess;
    case cudaDevAttrL2CacheSize:
        *value = p.l2CacheSize;
        return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
        *value = p.major;
        return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
        *value = p.minor;
        return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
        *value = (int)p.sharedMemPerMultiprocessor;
        return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *value = (int)p.sharedMemPerBlockOptin;
        return cudaSuccess;
    }
    return emu_error(cudaErrorInvalidValue);
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
    EMU_CALL();
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total) {
    EMU_CALL();
    emu_memory_info(free_bytes, total);
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version) {
    EMU_CALL();
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version) {
    EMU_CALL();
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count) {
    EMU_CALL();
    *count = 1;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
    EMU_CALL();
    return device == 0 ? cudaSuccess : emu_error(cudaErrorInvalidDevice);
}

cudaError_t cudaGetDevice(int *device) {
    EMU_CALL();
    *device = 0;
    return cudaSuccess;
}

cudaError_t cudaSetDeviceFlags(unsigned flags) {
    EMU_CALL();
    (void)flags;
    return cudaSuccess;
}

cudaError_t cudaDeviceReset(void) {
    std::lock_guard<std::recursive_mutex> guard(emu().lock);
    emu_drain_all();
    emu().sticky = emu().last_error = cudaSuccess;
    return cudaSuccess;
}

cudaError_t cudaHostGetDevicePointer(void **device, void *host, unsigned flags) {
    EMU_CALL();
    (void)flags;
    if (!emu_is_pinned(host))
        return emu_error(cudaErrorInvalidValue);
    *device = host;
    return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *attributes, const void *ptr) {
    EMU_CALL();
    struct cudaPointerAttributes a = {cudaMemoryTypeUnregistered, -1, nullptr, nullptr};
    if (emu_is_device_range(ptr, 0))
        a = {cudaMemoryTypeDevice, 0, (void *)ptr, nullptr};
    else if (emu_is_pinned(ptr))
        a = {cudaMemoryTypeHost, 0, (void *)ptr, (void *)ptr};
    *attributes = a;
    return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void *func, enum cudaFuncAttribute attr, int value) {
    EMU_CALL();
    struct cudaDeviceProp p;
    cudaGetDeviceProperties(&p, 0);
    const bool shared = attr == cudaFuncAttributeMaxDynamicSharedMemorySize;
    if (!func || (shared && (value < 0 || (size_t)value > p.sharedMemPerBlockOptin)))
        return emu_error(cudaErrorInvalidValue);
    if (shared)
        emu().dynamic_shared[func] = (size_t)value;
    return cudaSuccess;
}

size_t emu_dynamic_limit(const void *func) {
    const auto at = emu().dynamic_shared.find(func);
    return at == emu().dynamic_shared.end() ? 48 * 1024 : at->second;
}

cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *attr, const void *func) {
    EMU_CALL();
    memset(attr, 0, sizeof *attr);
    attr->maxThreadsPerBlock = EMU_BLOCK_THREADS;
    attr->numRegs = 64;
    attr->maxDynamicSharedSizeBytes = (int)emu_dynamic_limit(func);
    return cudaSuccess;
}

/* By threads and shared memory alone: registers are not known. */
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *n_blocks, const void *func,
                                                          int block_size, size_t shared_bytes) {
    EMU_CALL();
    struct cudaDeviceProp p;
    cudaGetDeviceProperties(&p, 0);
    if (!func || block_size <= 0 || block_size > EMU_BLOCK_THREADS)
        return emu_error(cudaErrorInvalidValue);
    int by_threads = p.maxThreadsPerMultiProcessor / block_size;
    int by_shared = (int)(p.sharedMemPerMultiprocessor / (shared_bytes + 1024));
    *n_blocks = by_threads < by_shared ? by_threads : by_shared;
    return cudaSuccess;
}

cudaError_t cudaProfilerStart(void) {
    return cudaSuccess;
}

cudaError_t cudaProfilerStop(void) {
    return cudaSuccess;
}
