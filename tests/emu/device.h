/*
 * The device side of the emulation, as kernels see it: where a thread is, barriers, and what the
 * threads of a warp do together. Included by cuda_runtime.h; block.cpp runs the threads.
 *
 * A block's threads are fibers of one thread of the host. A thread runs until it has to wait: at a
 * barrier, or at an operation of the warp until every lane of the mask has come to the same one.
 * The last lane to come does the operation for all of them; between the two, the others keep their
 * arguments on their stacks.
 *
 * With ThreadSanitizer every thread of a block counts as a thread; barriers order their accesses,
 * shuffles and votes do not (as CUDA has it), and two accesses that nothing orders are reported.
 */
#ifndef EMU_DEVICE_H
#define EMU_DEVICE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "vector_types.h"

/* A place in the source at which threads wait for each other. */
struct emu_site {
    const char *file;
    int line;
    const char *kind;
    int state; /* 0: not reached yet, 1: works, 2: dropped */
    struct emu_site *next;
};
#define EMU_SITE(kind)                                                                             \
    ([]() -> struct emu_site * {                                                                   \
        static struct emu_site site = {__FILE__, __LINE__, kind, 0, nullptr};                      \
        return &site;                                                                              \
    }())

/* A copy of 16 bytes that a thread has started and that has not happened yet (cp.async). */
struct emu_copy {
    void *dst;
    const void *src;
    unsigned group; /* its place in the order of groups */
    bool there;     /* false: zeros */
};
enum { EMU_MAX_COPIES = 128, EMU_WARP = 32, EMU_BLOCK_THREADS = 1024, EMU_BARRIERS = 16 };

struct emu_lane {
    uint3 thread_idx;
    unsigned lane, warp;
    unsigned n_copies, n_groups; /* copies started and not waited for; groups closed so far */
    struct emu_copy copies[EMU_MAX_COPIES];
};

extern struct emu_lane *emu_self; /* the running thread */
extern uint3 emu_block_idx;
extern dim3 emu_block_dim, emu_grid_dim;

#define threadIdx (emu_self->thread_idx)
#define blockIdx  emu_block_idx
#define blockDim  emu_block_dim
#define gridDim   emu_grid_dim
static const int warpSize = 32;

/* Prints what is wrong and where (block, thread), and ends the process. */
[[noreturn]] void emu_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Waits until n_threads of the block (0: all of them) have come to barrier `id`. */
void emu_barrier(struct emu_site *site, int id, unsigned n_threads);

/* Waits for the lanes of `mask`, each with the same `complete`; the last calls it once with the
 * arguments of all of them by lane. order: this is a barrier too (memory accesses before it come
 * before those after it). */
typedef void emu_complete(void *const *args, unsigned mask);
void emu_together(struct emu_site *site, unsigned mask, emu_complete *complete, void *args,
                  bool order);

/* Lets other threads of the block run. */
void emu_pause(void);
void emu_fence(void);

/* Behind an atomic operation: by chance, other blocks run to their end before this one goes on. */
void emu_overtake(void);
unsigned emu_active_mask(void); /* the lanes of the warp that have not ended */
uint32_t emu_random(void);      /* 0 where the seed is 0 */
void *emu_dynamic_shared(void);

/* Ends the process unless `size` bytes at p, a multiple of size, are shared memory. */
void emu_check_shared(const void *p, size_t size, const char *what);

/* Whether the wait at this place is to be left out. */
bool emu_place_dropped(const char *file, int line, const char *kind);

#define __syncthreads()        emu_barrier(EMU_SITE("__syncthreads"), 0, 0)
#define __syncwarp(...)        emu_syncwarp(EMU_SITE("__syncwarp"), ##__VA_ARGS__)
#define __threadfence()        emu_fence()
#define __threadfence_block()  emu_fence()
#define __threadfence_system() emu_fence()
#define __nanosleep(ns)        ((void)(ns), emu_pause())
#define __trap()               emu_die("__trap() in %s:%d", __FILE__, __LINE__)

static inline void emu_syncwarp(struct emu_site *site, unsigned mask = 0xffffffffu) {
    emu_together(site, mask, nullptr, nullptr, true);
}

/* Shuffles. The value of a lane that is not in the mask is unspecified in CUDA; here it ends the
 * process. */
enum emu_shuffle_kind { EMU_IDX, EMU_UP, EMU_DOWN, EMU_XOR };
template <typename T> struct emu_shuffle_args {
    T value, result;
    int by, width;
    enum emu_shuffle_kind kind;
};

static inline int emu_shuffle_source(int lane, int by, int width, enum emu_shuffle_kind kind) {
    int first = lane & ~(width - 1), last = first + width - 1, from = lane;
    switch (kind) {
    case EMU_IDX:
        return first + (by & (width - 1));
    case EMU_UP:
        from = lane - by;
        return from < first ? lane : from;
    case EMU_DOWN:
        from = lane + by;
        return from > last ? lane : from;
    case EMU_XOR:
        from = lane ^ by;
        return from > last ? lane : from;
    }
    return from;
}

template <typename T> static void emu_shuffle_complete(void *const *args, unsigned mask) {
    for (int lane = 0; lane < EMU_WARP; lane++) {
        if (!(mask >> lane & 1))
            continue;
        auto *a = (struct emu_shuffle_args<T> *)args[lane];
        int from = emu_shuffle_source(lane, a->by, a->width, a->kind);
        if (!(mask >> from & 1))
            emu_die("a shuffle: lane %d takes the value of lane %d, which is not in the mask %08x",
                    lane, from, mask);
        a->result = ((struct emu_shuffle_args<T> *)args[from])->value;
    }
}

template <typename T>
static inline T emu_shuffle(struct emu_site *site, enum emu_shuffle_kind kind, unsigned mask,
                            T value, int by, int width = EMU_WARP) {
    struct emu_shuffle_args<T> a;
    a.value = value;
    a.by = by;
    a.width = width;
    a.kind = kind;
    emu_together(site, mask, emu_shuffle_complete<T>, &a, false);
    return a.result;
}
#define __shfl_sync(mask, ...)    emu_shuffle(EMU_SITE("__shfl_sync"), EMU_IDX, mask, __VA_ARGS__)
#define __shfl_up_sync(mask, ...) emu_shuffle(EMU_SITE("__shfl_up_sync"), EMU_UP, mask, __VA_ARGS__)
#define __shfl_down_sync(mask, ...)                                                                \
    emu_shuffle(EMU_SITE("__shfl_down_sync"), EMU_DOWN, mask, __VA_ARGS__)
#define __shfl_xor_sync(mask, ...)                                                                 \
    emu_shuffle(EMU_SITE("__shfl_xor_sync"), EMU_XOR, mask, __VA_ARGS__)

/* Votes and reductions: every lane gets what `Fold` makes of the values of all. */
template <typename T> struct emu_fold_args { T value, result; };
template <typename T, T (*Fold)(T, T)>
static void emu_fold_complete(void *const *args, unsigned mask) {
    T sum = ((struct emu_fold_args<T> *)args[__builtin_ctz(mask)])->value;
    for (unsigned rest = mask & (mask - 1); rest; rest &= rest - 1)
        sum = Fold(sum, ((struct emu_fold_args<T> *)args[__builtin_ctz(rest)])->value);
    for (unsigned rest = mask; rest; rest &= rest - 1)
        ((struct emu_fold_args<T> *)args[__builtin_ctz(rest)])->result = sum;
}
template <typename T, T (*Fold)(T, T)>
static inline T emu_fold(struct emu_site *site, unsigned mask, T value) {
    struct emu_fold_args<T> a = {
        value, value
    };
    emu_together(site, mask, emu_fold_complete<T, Fold>, &a, false);
    return a.result;
}
template <typename T> static T emu_fold_add(T a, T b) {
    return (T)((uint32_t)a + (uint32_t)b);
}
template <typename T> static T emu_fold_min(T a, T b) {
    return b < a ? b : a;
}
template <typename T> static T emu_fold_max(T a, T b) {
    return a < b ? b : a;
}
template <typename T> static T emu_fold_and(T a, T b) {
    return a & b;
}
template <typename T> static T emu_fold_or(T a, T b) {
    return a | b;
}
template <typename T> static T emu_fold_xor(T a, T b) {
    return a ^ b;
}
static inline unsigned emu_ballot(struct emu_site *site, unsigned mask, bool vote) {
    return emu_fold<unsigned, emu_fold_or<unsigned>>(site, mask, (unsigned)vote << emu_self->lane);
}
#define __ballot_sync(mask, p) emu_ballot(EMU_SITE("__ballot_sync"), mask, p)
#define __any_sync(mask, p)    (emu_ballot(EMU_SITE("__any_sync"), mask, p) != 0)
#define __all_sync(mask, p)    (emu_ballot(EMU_SITE("__all_sync"), mask, !(p)) == 0)
#define __activemask()         emu_active_mask()

#define EMU_REDUCE(name)                                                                           \
    static inline unsigned emu_reduce_##name(struct emu_site *site, unsigned mask,                 \
                                             unsigned value) {                                     \
        return emu_fold<unsigned, emu_fold_##name<unsigned>>(site, mask, value);                   \
    }                                                                                              \
    static inline int emu_reduce_##name(struct emu_site *site, unsigned mask, int value) {         \
        return emu_fold<int, emu_fold_##name<int>>(site, mask, value);                             \
    }
EMU_REDUCE(add)
EMU_REDUCE(min)
EMU_REDUCE(max)
EMU_REDUCE(and)
EMU_REDUCE(or)
EMU_REDUCE(xor)
#undef EMU_REDUCE
#define __reduce_add_sync(mask, v) emu_reduce_add(EMU_SITE("__reduce_add_sync"), mask, v)
#define __reduce_min_sync(mask, v) emu_reduce_min(EMU_SITE("__reduce_min_sync"), mask, v)
#define __reduce_max_sync(mask, v) emu_reduce_max(EMU_SITE("__reduce_max_sync"), mask, v)
#define __reduce_and_sync(mask, v) emu_reduce_and(EMU_SITE("__reduce_and_sync"), mask, v)
#define __reduce_or_sync(mask, v)  emu_reduce_or(EMU_SITE("__reduce_or_sync"), mask, v)
#define __reduce_xor_sync(mask, v) emu_reduce_xor(EMU_SITE("__reduce_xor_sync"), mask, v)

/* The lanes whose value is equal to one's own. */
template <typename T> struct emu_match_args {
    T value;
    unsigned result;
};
template <typename T> static void emu_match_complete(void *const *args, unsigned mask) {
    for (unsigned rest = mask; rest; rest &= rest - 1) {
        auto *a = (struct emu_match_args<T> *)args[__builtin_ctz(rest)];
        a->result = 0;
        for (unsigned other = mask; other; other &= other - 1)
            if (((struct emu_match_args<T> *)args[__builtin_ctz(other)])->value == a->value)
                a->result |= other & -other;
    }
}
template <typename T>
static inline unsigned emu_match(struct emu_site *site, unsigned mask, T value) {
    struct emu_match_args<T> a = {
        value, 0
    };
    emu_together(site, mask, emu_match_complete<T>, &a, false);
    return a.result;
}
#define __match_any_sync(mask, v) emu_match(EMU_SITE("__match_any_sync"), mask, v)

/* A barrier of the block that also counts votes. */
int emu_barrier_count(struct emu_site *site, bool vote);
#define __syncthreads_count(p) emu_barrier_count(EMU_SITE("__syncthreads_count"), p)
#define __syncthreads_or(p)    (emu_barrier_count(EMU_SITE("__syncthreads_or"), p) != 0)
#define __syncthreads_and(p)   (emu_barrier_count(EMU_SITE("__syncthreads_and"), !(p)) == 0)

#endif
