/*
 * What a test can ask of the emulated card: its size, the order of things, faults, and what has
 * happened.
 *
 * Environment (read at the first call): SLUICE_EMU_SEED (0: blocks, warps and lanes in ascending
 * order; any other number: a random order drawn from it), SLUICE_EMU_MEMORY (bytes of the card),
 * SLUICE_EMU_DROP ("norm.cu:45": the barrier written there does nothing, to see whether a test
 * notices), SLUICE_EMU_SITES (a file to which every barrier that ran is added, one "file:line kind"
 * a line).
 *
 * What the emulation finds wrong in a kernel (a barrier not reached by all, an access outside an
 * allocation, a pointer of the host) is said on standard error, and the process aborts.
 */
#ifndef EMU_H
#define EMU_H

#include "cuda_runtime_api.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Orders from now on. */
void emu_set_seed(uint64_t seed);

/* The memory of the card from now on, at least what is allocated already. Starts at 1 GiB. */
void emu_set_memory(size_t bytes);

/* The n-th call from now (1: the next) that can fail, of the function of that name or, with NULL,
 * of any, returns `error`; sticky errors are returned by every later call too. */
void emu_fail_call(const char *function, int n, cudaError_t error);

/* The n-th kernel from now that comes to run leaves `error`, which the next synchronising call
 * returns. */
void emu_fail_kernel(int n, cudaError_t error);

struct emu_counts {
    size_t bytes_used; /* device memory allocated */
    size_t bytes_peak;
    size_t n_allocations; /* cudaMalloc calls so far */
    size_t n_live;        /* allocations that live */
    size_t n_kernels;     /* kernels run so far, those of graphs counted */
    size_t n_launches;    /* calls of the host that launch: kernels and graphs */
    size_t n_copies;
    size_t n_host_waits; /* synchronising calls */
};
void emu_counts(struct emu_counts *ret_counts);

/* Makes a part of an allocation of the device inaccessible (a gap between two buffers), or
 * accessible with unspecified content. Only AddressSanitizer builds notice accesses to a gap. */
void emu_gap(void *ptr, size_t size);
void emu_fresh(void *ptr, size_t size);

#ifdef __cplusplus
}
#endif

#endif
