/* What the programs that measure a card share: time, random numbers, and the card's ceilings. */
#ifndef TESTS_GPU_BENCH_H
#define TESTS_GPU_BENCH_H

#include <stddef.h>
#include <stdint.h>

/* Says what failed and why, and ends the program. */
__attribute__((noreturn)) void bench_die(const char *what, const char *why);

/* Ends the program with 77, and says that nothing was measured, where no card is. */
void bench_need_card(void);

double bench_now_s(void); /* of a clock that never goes back */

float bench_random(uint32_t *state); /* in [-1, 1) */

/* n numbers in [shift - scale, shift + scale), the same for the same n; owned by the caller. */
float *bench_values(size_t n, float scale, float shift);

/* The card's FLOP/s in a bf16 product of 8192 on all sides, the best of several. */
double bench_flop_per_s(void);

/* Bytes read and written a second by a copy of 2 GiB within the card, the best of several. */
double bench_bytes_per_s(void);

#endif
