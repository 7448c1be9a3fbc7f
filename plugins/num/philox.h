/*
 * Philox4x32-10: random numbers as a function of a key and a counter, so that any of them can be
 * had at once, in any order, on any device. From Salmon, Moraes, Dror, Shaw, "Parallel random
 * numbers: as easy as 1, 2, 3" (2011).
 */
#ifndef NUM_PHILOX_H
#define NUM_PHILOX_H

#include <stdint.h>

#ifdef __CUDACC__
#define NUM_FN __host__ __device__ static inline
#else
#define NUM_FN static inline
#endif

struct num_philox {
    uint32_t v[4];
};

NUM_FN struct num_philox num_philox(struct num_philox counter, uint64_t key) {
    struct num_philox x = counter;
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xd2511f53u * x.v[0], b = (uint64_t)0xcd9e8d57u * x.v[2];
        struct num_philox next = {{(uint32_t)(b >> 32) ^ x.v[1] ^ k0, (uint32_t)b,
                                   (uint32_t)(a >> 32) ^ x.v[3] ^ k1, (uint32_t)a}};
        x = next;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    return x;
}

/* A uniform number in (0, 1) of 32 random bits. */
NUM_FN double num_uniform(uint32_t bits) {
    return ((double)bits + 0.5) * (1.0 / 4294967296.0);
}

#endif
