/*
 * The card a backend works on, its memory, and what errors of the CUDA runtime mean to the host.
 */
#ifndef NUM_CUDA_DEVICE_H
#define NUM_CUDA_DEVICE_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>

#include "num/err.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NUM_CUDA_LEAST_CAPABILITY 80 /* Ampere: what the kernels are built for */

/* How graphs are recorded. What libraries and the driver do when a kernel is used for the first
 * time (load it, take memory for it) is allowed meanwhile: a shape may be recorded before it has
 * run. The emulated card allows nothing of the kind. */
#define NUM_CUDA_CAPTURE cudaStreamCaptureModeRelaxed

struct num_cuda_device {
    int index;
    char name[64];
    int capability; /* 80, 90, ... */
    int sm_count;
    size_t total_bytes, free_bytes; /* free: when it was opened */
    size_t shared_bytes;            /* most of a block */
    int driver, runtime;            /* 1000 x major + 10 x minor of CUDA */
};

/* Makes card `index` (of those visible) this thread's device. SLUICE_UNSUPPORTED where there is no
 * driver, no such card, or one too old for the kernels or the driver too old for the runtime: the
 * sentence names what was found and what is needed. */
int32_t num_cuda_device_open(int index, struct num_cuda_device *ret_device, struct num_err *err);

/* Fills err for a call that failed, "WHAT: ...", and returns its class: SLUICE_RESOURCE where
 * memory ran out, SLUICE_UNSUPPORTED where the driver or the card lacks what is needed, else
 * SLUICE_INTERNAL. With cudaSuccess returns SLUICE_OK and leaves err. Clears errors that can be
 * cleared. */
int32_t num_cuda_fail(struct num_err *err, const char *what, cudaError_t error);

/* Whether an error leaves this process's use of the card dead: every later call returns it too, and
 * only a new process helps. */
bool num_cuda_is_sticky(cudaError_t error);

/* Whether one has happened. */
bool num_cuda_is_broken(void);

/* One allocation of the card. cap: the most it may take, 0 for no limit. SLUICE_RESOURCE, with the
 * bytes needed and those allowed or free, where it is too large. Destroyed by
 * num_cuda_block_free(), which takes NULL. */
int32_t num_cuda_block_alloc(void **ret_block, size_t bytes, uint64_t cap, struct num_err *err);
void num_cuda_block_free(void *block);

/* For checks: that nothing lies in these bytes of a block, a gap between two buffers. Does nothing
 * on a card; the emulated card under AddressSanitizer reports who reads or writes there. */
void num_cuda_mark_gap(void *at, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
