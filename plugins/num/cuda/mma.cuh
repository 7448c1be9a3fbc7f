/*
 * Matrix instructions and asynchronous copies: the only inline PTX of the kernels. Every wrapper
 * has a twin for the emulated card with the same layouts (emu_mma.h there).
 *
 * A warp multiplies a (16 x 16, rows) by b (16 x 8, columns) and adds to c (16 x 8, f32). With g =
 * lane / 4 and t = lane % 4 a lane holds (PTX ISA, "Matrix fragments for mma.m16n8k16"):
 *     a[0]: row g,     columns 2t, 2t+1      a[1]: row g + 8, columns 2t, 2t+1
 *     a[2]: row g,     columns 2t+8, 2t+9    a[3]: row g + 8, columns 2t+8, 2t+9
 *     b[0]: column g,  rows 2t, 2t+1         b[1]: column g,  rows 2t+8, 2t+9
 *     c[0], c[1]: row g, columns 2t, 2t+1    c[2], c[3]: row g + 8, columns 2t, 2t+1
 * Two numbers in a word: the first in the lower half.
 */
#ifndef NUM_CUDA_MMA_CUH
#define NUM_CUDA_MMA_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

#include "num/cuda/launch.cuh"

#ifdef SLUICE_CUDA_EMU
#include <emu_mma.h>
#else

namespace num {

/* c += a b. T: __half or __nv_bfloat16. All lanes of the warp. */
template <typename T>
__device__ static __forceinline__ void mma_m16n8k16(float (&c)[4], const uint32_t (&a)[4],
                                                    const uint32_t *b);

template <>
__device__ __forceinline__ void mma_m16n8k16<__half>(float (&c)[4], const uint32_t (&a)[4],
                                                     const uint32_t *b) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

template <>
__device__ __forceinline__ void mma_m16n8k16<__nv_bfloat16>(float (&c)[4], const uint32_t (&a)[4],
                                                            const uint32_t *b) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ static __forceinline__ uint32_t shared_address(const void *p) {
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* Loads 8 x 8 matrices of 16-bit numbers from shared memory, a row being 16 bytes (aligned so):
 * lane i gives the address of row i % 8 of matrix i / 8. Of each matrix a lane gets row lane / 4,
 * columns 2 (lane % 4) and the next; with _trans, of the transposed matrix. All lanes of the
 * warp. */
__device__ static __forceinline__ void ldmatrix_x4(uint32_t (&to)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(shared_address(row))
                 : "memory");
}

__device__ static __forceinline__ void ldmatrix_x4_trans(uint32_t (&to)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(shared_address(row))
                 : "memory");
}

/* The same with two matrices: the addresses of lanes 0 to 15 count, every lane gives a valid
 * one. */
__device__ static __forceinline__ void ldmatrix_x2(uint32_t (&to)[2], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(to[0]), "=r"(to[1])
                 : "r"(shared_address(row))
                 : "memory");
}

__device__ static __forceinline__ void ldmatrix_x2_trans(uint32_t (&to)[2], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(to[0]), "=r"(to[1])
                 : "r"(shared_address(row))
                 : "memory");
}

/* Starts to copy 16 bytes of global to shared memory, both aligned to 16, past the first cache;
 * zeros where `there` is false (the address must be valid all the same). Copies belong to the group
 * that the next commit closes. */
__device__ static __forceinline__ void cp_async_16(void *to, const void *from, bool there = true) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
                 "l"(from), "r"(there ? 16 : 0)
                 : "memory");
}

__device__ static __forceinline__ void cp_async_commit() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Waits until at most the N youngest groups of this thread are under way. What other threads copied
 * is there after their wait and a barrier. */
template <int N> __device__ static __forceinline__ void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

} /* namespace num */

#endif

#endif
