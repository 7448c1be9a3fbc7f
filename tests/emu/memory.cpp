/*
 * Memory of the emulated card, and pinned memory of the host.
 *
 * Device memory is one reserved range of addresses. Every allocation ends at most 255 bytes before
 * a page that cannot be touched, and no address is used twice, so what runs over the end or comes
 * after a free faults. The pages can be touched only while kernels or copies run: a host that
 * follows a device pointer faults as well. What is allocated holds 0xff, which is NaN in every
 * float format and -1 as an index. AddressSanitizer, where it is built in, guards the exact bytes.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "internal.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size)   ((void)(at))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at))
#endif

enum { PAGE = 4096, ALIGNMENT = 256 };
static const size_t RESERVED = (size_t)64 << 30;

struct allocation {
    char *pages;
    size_t n_bytes_pages, size;
};

struct memory {
    char *base = nullptr, *next = nullptr;
    std::map<const char *, struct allocation> device, pinned;
    size_t total = (size_t)1 << 30;
    int open = 0;
};

static struct memory &memory(void) {
    static struct memory *memory = new struct memory;
    return *memory;
}

static bool in_reserved(const void *p) {
    struct memory &mem = memory();
    return mem.base && (const char *)p >= mem.base && (const char *)p < mem.base + RESERVED;
}

/* The allocation that p is in or, failing that, the last one before it. */
static const char *allocation_below(const std::map<const char *, struct allocation> &all,
                                    const void *p) {
    auto it = all.upper_bound((const char *)p);
    return it == all.begin() ? NULL : std::prev(it)->first;
}

static bool inside(const std::map<const char *, struct allocation> &all, const void *p,
                   size_t size) {
    const char *start = allocation_below(all, p);
    if (!start)
        return false;
    size_t offset = (size_t)((const char *)p - start), length = all.at(start).size;
    return offset < length && size <= length - offset;
}

bool emu_is_device(const void *ptr) {
    return in_reserved(ptr);
}

bool emu_is_device_range(const void *ptr, size_t size) {
    return inside(memory().device, ptr, size);
}

bool emu_is_pinned(const void *ptr) {
    return inside(memory().pinned, ptr, 0);
}

bool emu_is_host(const void *ptr) {
    return !emu_is_device(ptr) && !emu_is_pinned(ptr);
}

/* ---- faults ---- */

static void explain(int signal_number, siginfo_t *info, void *context) {
    (void)context;
    const char *at = (const char *)info->si_addr;
    char where[160], text[512];
    emu_describe_running(where, sizeof where);
    int n = 0;
    if (signal_number == SIGILL)
        n = snprintf(text, sizeof text, "emulated card: %s; %s\n",
                     emu_in_kernel() ? "an access that is not aligned as its type is"
                                     : "an illegal instruction",
                     where);
    else if (in_reserved(at) && !emu_in_kernel() && memory().open == 0)
        n = snprintf(text, sizeof text, "emulated card: the host touches device memory at %p\n",
                     (void *)at);
    else if (in_reserved(at)) {
        const char *start = allocation_below(memory().device, at);
        n = snprintf(
            text, sizeof text,
            "emulated card: access outside any allocation at %p; the last one before it is %p with "
            "%zu bytes; %s\n",
            (void *)at, (void *)start, start ? memory().device.at(start).size : 0, where);
    } else if (emu_is_stack_guard(at))
        n = snprintf(text, sizeof text, "emulated card: the stack of a thread is used up; %s\n",
                     where);
    else if (emu_in_kernel())
        n = snprintf(text, sizeof text, "emulated card: access to %p, which is nowhere; %s\n",
                     (void *)at, where);
    if (n > 0)
        fwrite(text, 1, (size_t)n, stderr);
    signal(signal_number, SIG_DFL);
}

static void watch_faults(void) {
    static char stack[64 * 1024];
    stack_t alternative = {};
    alternative.ss_sp = stack;
    alternative.ss_size = sizeof stack;
    sigaltstack(&alternative, NULL);
    struct sigaction action = {};
    action.sa_sigaction = explain;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    sigaction(SIGILL, &action, NULL);
}

/* ---- the card's memory ---- */

static bool reserve(struct memory &mem) {
    if (mem.base)
        return true;
    void *p = mmap(NULL, RESERVED, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return false;
    mem.base = mem.next = (char *)p;
    if (const char *text = getenv("SLUICE_EMU_MEMORY"))
        mem.total = strtoull(text, NULL, 10);
    watch_faults();
    return true;
}

void emu_set_memory(size_t bytes) {
    reserve(memory());
    memory().total = bytes;
}

void emu_memory_info(size_t *ret_free, size_t *ret_total) {
    size_t used = emu().counts.bytes_used, total = memory().total;
    *ret_free = used < total ? total - used : 0;
    *ret_total = total;
}

static size_t round_up(size_t n, size_t to) {
    return (n + to - 1) / to * to;
}

cudaError_t emu_memory_alloc(void **ret_ptr, size_t size) {
    struct memory &mem = memory();
    struct emu_counts &counts = emu().counts;
    if (size == 0) {
        *ret_ptr = NULL;
        return cudaSuccess;
    }
    size_t taken = round_up(size, ALIGNMENT);
    if (!reserve(mem) || taken > mem.total || counts.bytes_used > mem.total - taken)
        return cudaErrorMemoryAllocation;
    size_t pages = round_up(taken, PAGE);
    if (pages + 2 * PAGE > (size_t)(mem.base + RESERVED - mem.next) ||
        mprotect(mem.next + PAGE, pages, PROT_READ | PROT_WRITE) != 0)
        return cudaErrorMemoryAllocation;
    char *start = mem.next + PAGE, *ptr = start + pages - taken;
    memset(start, 0xff, pages);
    ASAN_POISON_MEMORY_REGION(start, pages);
    ASAN_UNPOISON_MEMORY_REGION(ptr, size);
    if (mem.open == 0)
        mprotect(start, pages, PROT_NONE);
    mem.next += pages + 2 * PAGE;
    mem.device[ptr] = {start, pages, size};
    counts.bytes_used += taken;
    counts.n_allocations++;
    counts.n_live++;
    if (counts.bytes_used > counts.bytes_peak)
        counts.bytes_peak = counts.bytes_used;
    *ret_ptr = ptr;
    return cudaSuccess;
}

cudaError_t emu_memory_free(void *ptr) {
    struct memory &mem = memory();
    if (!ptr)
        return cudaSuccess;
    auto it = mem.device.find((const char *)ptr);
    if (it == mem.device.end())
        return cudaErrorInvalidValue;
    madvise(it->second.pages, it->second.n_bytes_pages, MADV_DONTNEED);
    mprotect(it->second.pages, it->second.n_bytes_pages, PROT_NONE);
    emu().counts.bytes_used -= round_up(it->second.size, ALIGNMENT);
    emu().counts.n_live--;
    mem.device.erase(it);
    return cudaSuccess;
}

static void protect_all(int protection) {
    for (auto &entry : memory().device)
        mprotect(entry.second.pages, entry.second.n_bytes_pages, protection);
}

void emu_memory_open(void) {
    if (memory().open++ == 0)
        protect_all(PROT_READ | PROT_WRITE);
}

void emu_memory_close(void) {
    if (--memory().open == 0)
        protect_all(PROT_NONE);
}

void emu_gap(void *ptr, size_t size) {
    std::lock_guard<std::recursive_mutex> guard(emu().lock);
    emu_fresh(ptr, size);
    ASAN_POISON_MEMORY_REGION(ptr, size);
}

void emu_fresh(void *ptr, size_t size) {
    std::lock_guard<std::recursive_mutex> guard(emu().lock);
    emu_memory_open();
    ASAN_UNPOISON_MEMORY_REGION(ptr, size);
    memset(ptr, 0xff, size);
    emu_memory_close();
}

/* ---- pinned memory ---- */

cudaError_t emu_pinned_alloc(void **ret_ptr, size_t size) {
    char *ptr = (char *)aligned_alloc(ALIGNMENT, round_up(size ? size : 1, ALIGNMENT));
    if (!ptr)
        return cudaErrorMemoryAllocation;
    memset(ptr, 0xff, round_up(size ? size : 1, ALIGNMENT));
    memory().pinned[ptr] = {ptr, size, size ? size : 1};
    *ret_ptr = ptr;
    return cudaSuccess;
}

cudaError_t emu_pinned_free(void *ptr) {
    if (!ptr)
        return cudaSuccess;
    if (memory().pinned.erase((const char *)ptr) == 0)
        return cudaErrorInvalidValue;
    free(ptr);
    return cudaSuccess;
}
