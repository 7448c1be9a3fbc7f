/*
 * The wrappers of num/cuda/mma.cuh for the emulated card, with the same layouts of fragments.
 *
 * A matrix instruction happens when the warp's last lane comes to it. Each lane reads its own row
 * for ldmatrix (so that races are seen). An asynchronous copy happens when it is started or when it
 * is waited for, by chance (with seed 0: as late as possible); one that nobody waits for ends the
 * process.
 */
#ifndef EMU_MMA_H
#define EMU_MMA_H

#include "cuda_bf16.h"
#include "cuda_fp16.h"

namespace num {

constexpr unsigned EMU_ALL = 0xffffffffu;

/* ---- mma.m16n8k16 ---- */

struct emu_mma_args {
    const uint32_t *a, *b;
    float *c;
};

static inline float emu_number(uint16_t bits, const __half *) {
    return emu_f16_value(bits);
}
static inline float emu_number(uint16_t bits, const __nv_bfloat16 *) {
    return emu_bf16_value(bits);
}

template <typename T> static void emu_mma_complete(void *const *args, unsigned) {
    float a[16][16], b[16][8], c[16][8];
    const T *type = nullptr;
    for (int lane = 0; lane < 32; lane++) {
        const emu_mma_args *l = (const emu_mma_args *)args[lane];
        int g = lane / 4, t = lane % 4;
        for (int i = 0; i < 8; i++) {
            uint16_t bits = (uint16_t)(l->a[i / 2] >> (i % 2 * 16));
            a[g + i / 2 % 2 * 8][2 * t + i / 4 * 8 + i % 2] = emu_number(bits, type);
        }
        for (int i = 0; i < 4; i++) {
            uint16_t bits = (uint16_t)(l->b[i / 2] >> (i % 2 * 16));
            b[2 * t + i / 2 * 8 + i % 2][g] = emu_number(bits, type);
        }
        for (int i = 0; i < 4; i++)
            c[g + i / 2 * 8][2 * t + i % 2] = l->c[i];
    }
    for (int m = 0; m < 16; m++)
        for (int k = 0; k < 16; k++)
            for (int n = 0; n < 8; n++)
                c[m][n] += a[m][k] * b[k][n];
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < 4; i++)
            ((emu_mma_args *)args[lane])->c[i] = c[lane / 4 + i / 2 * 8][2 * (lane % 4) + i % 2];
}

template <typename T>
static inline void mma_m16n8k16(float (&c)[4], const uint32_t (&a)[4], const uint32_t *b) {
    emu_mma_args args = {a, b, c};
    emu_together(EMU_SITE("mma.m16n8k16"), EMU_ALL, emu_mma_complete<T>, &args, false);
}

/* ---- ldmatrix ---- */

struct emu_ldmatrix_args {
    uint16_t row[8];
    uint32_t *to;
};

template <int Matrices, bool Trans> static void emu_ldmatrix_complete(void *const *args, unsigned) {
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < Matrices; i++) {
            uint32_t pair[2];
            for (int j = 0; j < 2; j++) {
                int row = Trans ? lane % 4 * 2 + j : lane / 4,
                    column = Trans ? lane / 4 : lane % 4 * 2 + j;
                pair[j] = ((const emu_ldmatrix_args *)args[i * 8 + row])->row[column];
            }
            ((emu_ldmatrix_args *)args[lane])->to[i] = pair[1] << 16 | pair[0];
        }
}

template <int Matrices, bool Trans> static inline void emu_ldmatrix(uint32_t *to, const void *row) {
    emu_ldmatrix_args args;
    emu_check_shared(row, 16, "ldmatrix");
    if (emu_self->lane < Matrices * 8)
        for (int i = 0; i < 8; i++)
            args.row[i] = ((const uint16_t *)row)[i];
    args.to = to;
    emu_together(EMU_SITE("ldmatrix"), EMU_ALL, emu_ldmatrix_complete<Matrices, Trans>, &args,
                 false);
}

static inline void ldmatrix_x4(uint32_t (&to)[4], const void *row) {
    emu_ldmatrix<4, false>(to, row);
}
static inline void ldmatrix_x4_trans(uint32_t (&to)[4], const void *row) {
    emu_ldmatrix<4, true>(to, row);
}
static inline void ldmatrix_x2(uint32_t (&to)[2], const void *row) {
    emu_ldmatrix<2, false>(to, row);
}
static inline void ldmatrix_x2_trans(uint32_t (&to)[2], const void *row) {
    emu_ldmatrix<2, true>(to, row);
}

/* ---- cp.async ---- */

static inline void emu_copy_do(const emu_copy &c) {
    const uint64_t zeros[2] = {0, 0};
    const uint64_t *from = c.there ? (const uint64_t *)c.src : zeros;
    ((uint64_t *)c.dst)[0] = from[0];
    ((uint64_t *)c.dst)[1] = from[1];
}

static inline void cp_async_16(void *to, const void *from, bool there = true) {
    emu_check_shared(to, 16, "cp.async");
    if ((uintptr_t)from % 16)
        emu_die("cp.async from %p, which is no multiple of 16", from);
    emu_copy copy = {to, from, emu_self->n_groups, there};
    if (emu_random() & 1) {
        emu_copy_do(copy);
        return;
    }
    if (emu_self->n_copies == EMU_MAX_COPIES)
        emu_die("more than %d cp.async of a thread are under way", EMU_MAX_COPIES);
    emu_self->copies[emu_self->n_copies++] = copy;
}

static inline void cp_async_commit() {
    emu_self->n_groups++;
}

template <int N>
static inline void cp_async_wait(const char *file = __builtin_FILE(), int line = __builtin_LINE()) {
    if (emu_place_dropped(file, line, "cp.async.wait"))
        return;
    emu_lane *self = emu_self;
    unsigned n_left = 0;
    for (unsigned i = 0; i < self->n_copies; i++) {
        if (self->copies[i].group + N < self->n_groups)
            emu_copy_do(self->copies[i]);
        else
            self->copies[n_left++] = self->copies[i];
    }
    self->n_copies = n_left;
}

} /* namespace num */

#endif
