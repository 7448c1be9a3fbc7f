/*
 * What a machine can do at most, measured: products in registers, and reading memory.
 */
#ifndef BENCH_CEILINGS_H
#define BENCH_CEILINGS_H

#include "num/cpu/kernels.h"
#include "num/pool.h"

/* Operations a second (a multiplication and an addition are two) of the best instruction for the
 * type, on all threads of the pool, best of `rounds`; `kernels` tells what the processor has. */
double ceiling_products(struct num_pool *pool, const struct num_kernels *kernels,
                        enum num_compute type, int rounds);

/* The same for operands that come from the first and second cache, sums being stored. Matrix tiles
 * wait for them; others do not, and have the ceiling of registers. */
double ceiling_cached(struct num_pool *pool, const struct num_kernels *kernels,
                      enum num_compute type, int rounds);

/* Bytes a second of reading `bytes` once over, again and again, in one part for each thread; best
 * of `rounds`. Lies in cache where it fits. */
double ceiling_read(struct num_pool *pool, size_t bytes, int rounds);

/* Seconds of a clock that only goes forward. */
double bench_now_s(void);

#endif
