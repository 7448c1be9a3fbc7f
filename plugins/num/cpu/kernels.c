/*
 * Chooses among the kernel tables by what the processor and its operating system support. See
 * kernels.h.
 */
#include "num/cpu/kernels.h"

#include <stdlib.h>
#include <string.h>

#ifdef __aarch64__
extern const struct num_kernels num_kernels_neon;
#define BASE num_kernels_neon
#else
extern const struct num_kernels num_kernels_sse2;
#define BASE num_kernels_sse2
#endif

#ifdef __x86_64__
#include <sys/syscall.h>
#include <unistd.h>

extern const struct num_kernels num_kernels_avx2, num_kernels_avx512, num_kernels_avx512bf16,
    num_kernels_amx;

static bool has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
}

static bool has_avx512bf16(void) {
    return has_avx512() && __builtin_cpu_supports("avx512bf16") &&
           __builtin_cpu_supports("avx512vnni");
}

/* Linux wants a process to ask for the tiles' state before their first use. */
static bool has_amx(void) {
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18, LEAF = 7, BF16 = 22, TILE = 24, INT8 = 25 };
    unsigned a, b, c, d;
    if (!has_avx512bf16())
        return false;
    __asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(LEAF), "c"(0));
    unsigned wanted = 1u << BF16 | 1u << TILE | 1u << INT8;
    return (d & wanted) == wanted && syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}
#endif

size_t num_kernels_all(const struct num_kernels *ret[NUM_MAX_KERNELS]) {
    size_t n = 0;
#ifdef __x86_64__
    if (has_amx())
        ret[n++] = &num_kernels_amx;
    if (has_avx512bf16())
        ret[n++] = &num_kernels_avx512bf16;
    if (has_avx512())
        ret[n++] = &num_kernels_avx512;
    if (has_avx2())
        ret[n++] = &num_kernels_avx2;
#endif
    ret[n++] = &BASE;
    return n;
}

const struct num_kernels *num_kernels(void) {
    const struct num_kernels *all[NUM_MAX_KERNELS];
    const char *wanted = getenv("SLUICE_CPU");
    size_t n = num_kernels_all(all);
    for (size_t i = 0; wanted && i < n; i++)
        if (strcmp(all[i]->name, wanted) == 0)
            return all[i];
    return all[0];
}
