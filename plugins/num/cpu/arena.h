/*
 * Memory that is taken piece by piece and given back all at once: the weights and buffers of one
 * model. Pieces lie in large mappings that ask for huge pages, since weights are read in full for
 * every token and would miss in the address cache at every page.
 */
#ifndef NUM_CPU_ARENA_H
#define NUM_CPU_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "num/err.h"

struct num_arena_chunk;

/* Zero it before its first use. */
struct num_arena {
    struct num_arena_chunk *chunks; /* latest first */
    bool sparse; /* pieces are rarely used in full: plain pages, each taken at its first use */
};

/* `bytes` zero bytes on a cache line's boundary, a page's where `sparse`; `what` names them where
 * memory is short. */
int32_t num_arena_take(struct num_arena *arena, size_t bytes, const char *what, void *ret,
                       struct num_err *err);

/* Gives everything back. Takes a zeroed struct too. */
void num_arena_finish(struct num_arena *arena);

#endif
