/*
 * What the parts of the emulated runtime share. One mutex guards all of it (state().lock), taken by
 * every call of the API; kernels run under it.
 */
#ifndef EMU_INTERNAL_H
#define EMU_INTERNAL_H

#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <vector>

#include "cuda_runtime_api.h"
#include "device.h"
#include "emu.h"

/* ThreadSanitizer's view of who runs and what orders what; nothing without it. */
#ifdef EMU_TSAN
extern "C" {
void *__tsan_get_current_fiber(void);
void *__tsan_create_fiber(unsigned flags);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
void __tsan_acquire(void *at);
void __tsan_release(void *at);
void __tsan_read_range(void *at, unsigned long size);
void __tsan_write_range(void *at, unsigned long size);
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);
}
enum { EMU_NO_SYNC = 1 };
#define EMU_ACQUIRE(at)      __tsan_acquire((void *)(at))
#define EMU_RELEASE(at)      __tsan_release((void *)(at))
#define EMU_BECOME(fiber)    __tsan_switch_to_fiber(fiber, EMU_NO_SYNC)
#define EMU_READS(at, size)  __tsan_read_range((void *)(at), size)
#define EMU_WRITES(at, size) __tsan_write_range(at, size)
#else
#define EMU_ACQUIRE(at)      ((void)(at))
#define EMU_RELEASE(at)      ((void)(at))
#define EMU_BECOME(fiber)    ((void)(fiber))
#define EMU_READS(at, size)  ((void)(at))
#define EMU_WRITES(at, size) ((void)(at))
#endif

/* block.cpp: runs a grid to its end. `clock` is what orders it after the stream's work before
 * it. */
struct emu_grid {
    dim3 grid, block;
    size_t shared_bytes;
    std::function<void()> run;
};
void emu_run_grid(const struct emu_grid *grid, void *clock);
void emu_seed_random(uint64_t seed);
/* "block (0,1,0), thread (3,0,0)", or "" on the host. */
void emu_describe_running(char *text, size_t size);
bool emu_in_kernel(void);
bool emu_is_stack_guard(const void *at);

/* memory.cpp */
cudaError_t emu_memory_alloc(void **ret_ptr, size_t size);
cudaError_t emu_memory_free(void *ptr);
cudaError_t emu_pinned_alloc(void **ret_ptr, size_t size);
cudaError_t emu_pinned_free(void *ptr);
bool emu_is_device(const void *ptr);
bool emu_is_device_range(const void *ptr, size_t size); /* wholly inside one allocation */
bool emu_is_pinned(const void *ptr);
bool emu_is_host(const void *ptr); /* stack or other memory that no kernel may touch */
void emu_memory_open(void);        /* kernels and copies are about to run; nests */
void emu_memory_close(void);
void emu_memory_info(size_t *ret_free, size_t *ret_total);

/* stream.cpp */
struct CUgraph_st;
struct emu_dependency {
    cudaStream_t stream;
    uint64_t seq;
};
struct emu_op {
    std::vector<emu_dependency> after;
    std::function<void(void *clock)> run;
};
void emu_drain_all(void);

/* Puts a function of the host that works on the card's memory at the end of a stream. */
cudaError_t emu_run_on_stream(cudaStream_t stream, std::function<void(void *clock)> run);

struct emu_state {
    std::recursive_mutex lock;
    uint64_t seed = 0;
    cudaError_t last_error = cudaSuccess, sticky = cudaSuccess;
    const char *fail_function = nullptr;
    int fail_call_in = 0, fail_kernel_in = 0;
    cudaError_t fail_call = cudaSuccess, fail_kernel = cudaSuccess;
    struct emu_counts counts = {};
    std::map<const void *, size_t> dynamic_shared; /* what kernels were allowed beyond 48 KiB */
    emu_state();
};
struct emu_state &emu(void);
/* bytes of dynamic shared memory that a kernel may be launched with */
size_t emu_dynamic_limit(const void *func);

/* Every call of the API opens with this: the lock, the injected failure, the sticky error. */
cudaError_t emu_enter(const char *function);
cudaError_t emu_error(cudaError_t error); /* remembers it for cudaGetLastError */
bool emu_is_sticky(cudaError_t error);
#define EMU_CALL()                                                                                 \
    std::lock_guard<std::recursive_mutex> guard(emu().lock);                                       \
    if (cudaError_t injected = emu_enter(__func__))                                                \
    return emu_error(injected)

/* The same for what gives something back: it is given back in any case, and then the failure is
 * told. */
#define EMU_CALL_FREES()                                                                           \
    std::lock_guard<std::recursive_mutex> guard(emu().lock);                                       \
    const cudaError_t injected = emu_enter(__func__)

#endif
