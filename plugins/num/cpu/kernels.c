/*
 * Chooses among the kernel tables by what the processor and its operating system support. See
 * kernels.h.
 */
#include "num/cpu/kernels.h"

#include <stdbool.h>

extern const struct num_kernels num_kernels_sse2;
#ifdef __x86_64__
extern const struct num_kernels num_kernels_avx2, num_kernels_avx512;

static bool has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
}
#endif

size_t num_kernels_all(const struct num_kernels *ret[3]) {
    size_t n = 0;
#ifdef __x86_64__
    if (has_avx512())
        ret[n++] = &num_kernels_avx512;
    if (has_avx2())
        ret[n++] = &num_kernels_avx2;
#endif
    ret[n++] = &num_kernels_sse2;
    return n;
}

const struct num_kernels *num_kernels(void) {
    const struct num_kernels *all[3];
    num_kernels_all(all);
    return all[0];
}
