/*
 * The card, its memory and its errors: see device.h. Nothing here runs before a backend asks for a
 * card, so a process that never does loads no CUDA library.
 */
#include "num/cuda/device.h"

#include <stdio.h>
#include <string.h>

#ifdef SLUICE_CUDA_EMU
#include <emu.h>
#endif

bool num_cuda_is_sticky(cudaError_t error) {
    switch ((int)error) {
    case cudaErrorECCUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorExternalDevice:
    case cudaErrorUnknown:
        return true;
    default:
        return false;
    }
}

bool num_cuda_is_broken(void) {
    return num_cuda_is_sticky(cudaPeekAtLastError());
}

static int32_t class_of(cudaError_t error) {
    switch ((int)error) {
    case cudaErrorMemoryAllocation:
        return SLUICE_RESOURCE;
    case cudaErrorInsufficientDriver:
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice:
        return SLUICE_UNSUPPORTED;
    default:
        return SLUICE_INTERNAL;
    }
}

/* "13.0" */
static const char *version_text(int version, char (*text)[16]) {
    snprintf(*text, sizeof *text, "%d.%d", version / 1000, version % 1000 / 10);
    return *text;
}

static int32_t fail_driver(struct num_err *err) {
    int driver = 0, runtime = 0;
    char found[16], needed[16];
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    version_text(runtime, &needed);
    if (driver == 0)
        return num_fail(err, SLUICE_UNSUPPORTED,
                        "no NVIDIA driver is loaded; CUDA %s needs one, or use device: cpu",
                        needed);
    return num_fail(
        err, SLUICE_UNSUPPORTED,
        "the NVIDIA driver is for CUDA %s and this program needs CUDA %s; update the driver, or "
        "use device: cpu",
        version_text(driver, &found), needed);
}

int32_t num_cuda_fail(struct num_err *err, const char *what, cudaError_t error) {
    if (error == cudaSuccess)
        return SLUICE_OK;
    cudaGetLastError();
    if (error == cudaErrorInsufficientDriver)
        return fail_driver(err);
    const char *after =
        num_cuda_is_sticky(error) ? "; the card cannot be used by this process any more" : "";
    return num_fail(err, class_of(error), "%s: %s (%s)%s", what, cudaGetErrorString(error),
                    cudaGetErrorName(error), after);
}

static int32_t check_index(int index, struct num_err *err) {
    int n = 0;
    cudaError_t error = cudaGetDeviceCount(&n);
    if (error == cudaErrorNoDevice || (error == cudaSuccess && n == 0))
        return num_fail(err, SLUICE_UNSUPPORTED, "no NVIDIA card is visible; use device: cpu");
    if (error != cudaSuccess)
        return num_cuda_fail(err, "looking for NVIDIA cards", error);
    if (index < 0 || index >= n)
        return num_fail(err, SLUICE_UNSUPPORTED,
                        "card %d was asked for and %d are visible, counted from 0", index, n);
    return SLUICE_OK;
}

int32_t num_cuda_device_open(int index, struct num_cuda_device *ret_device, struct num_err *err) {
    struct num_cuda_device d = {.index = index};
    struct cudaDeviceProp prop;
    int32_t status = check_index(index, err);
    if (status)
        return status;
    cudaError_t error = cudaSetDevice(index);
    if (!error)
        error = cudaGetDeviceProperties(&prop, index);
    if (!error)
        error = cudaMemGetInfo(&d.free_bytes, &d.total_bytes);
    if (!error)
        error = cudaDriverGetVersion(&d.driver);
    if (!error)
        error = cudaRuntimeGetVersion(&d.runtime);
    if (error)
        return num_cuda_fail(err, "opening the card", error);
    snprintf(d.name, sizeof d.name, "%.63s", prop.name);
    d.capability = prop.major * 10 + prop.minor;
    d.sm_count = prop.multiProcessorCount;
    d.shared_bytes = prop.sharedMemPerBlockOptin;
    if (d.capability < NUM_CUDA_LEAST_CAPABILITY)
        return num_fail(
            err, SLUICE_UNSUPPORTED,
            "%s has compute capability %d.%d and the kernels need %d.%d; use device: cpu", d.name,
            prop.major, prop.minor, NUM_CUDA_LEAST_CAPABILITY / 10, NUM_CUDA_LEAST_CAPABILITY % 10);
    *ret_device = d;
    return SLUICE_OK;
}

int32_t num_cuda_block_alloc(void **ret_block, size_t bytes, uint64_t cap, struct num_err *err) {
    void *block = NULL;
    if (cap && bytes > cap)
        return num_fail(err, SLUICE_RESOURCE,
                        "%zu bytes of the card's memory are needed and %llu are allowed", bytes,
                        (unsigned long long)cap);
    cudaError_t error = cudaMalloc(&block, bytes);
    if (error == cudaErrorMemoryAllocation) {
        size_t free_bytes = 0, total = 0;
        cudaGetLastError();
        cudaMemGetInfo(&free_bytes, &total);
        return num_fail(err, SLUICE_RESOURCE,
                        "%zu bytes of the card's memory are needed and %zu of %zu are free", bytes,
                        free_bytes, total);
    }
    if (error)
        return num_cuda_fail(err, "taking memory of the card", error);
    *ret_block = block;
    return SLUICE_OK;
}

void num_cuda_block_free(void *block) {
    if (block)
        cudaFree(block);
}

void num_cuda_mark_gap(void *at, size_t bytes) {
    (void)at;
    (void)bytes;
#ifdef SLUICE_CUDA_EMU
    emu_gap(at, bytes);
#endif
}
