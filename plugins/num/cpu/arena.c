/*
 * Chunks are anonymous mappings on a huge page's boundary, with their own record in front. A piece
 * that does not fit into the latest chunk starts a new one; what is never touched takes no memory.
 */
#include "num/cpu/arena.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE   ((size_t)2 << 20)
#define CHUNK_BYTES ((size_t)256 << 20)
#define PAGE        ((size_t)4 << 10)
#define LINE        ((size_t)64)

struct num_arena_chunk {
    struct num_arena_chunk *next;
    size_t used, len;
    void *map; /* what was mapped, and how much */
    size_t map_len;
};

static size_t round_up(size_t n, size_t to) {
    return (n + to - 1) / to * to;
}

static struct num_arena_chunk *chunk_create(size_t bytes, bool sparse) {
    size_t len = round_up(bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES, HUGE_PAGE);
    size_t map_len = len + HUGE_PAGE;
    void *map = mmap(NULL, map_len, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return NULL;
    struct num_arena_chunk *chunk = (void *)round_up((uintptr_t)map, HUGE_PAGE);
    madvise(chunk, len, sparse ? MADV_NOHUGEPAGE : MADV_HUGEPAGE); /* a wish */
    *chunk = (struct num_arena_chunk){
        .used = sparse ? PAGE : LINE, .len = len, .map = map, .map_len = map_len};
    return chunk;
}

int32_t num_arena_take(struct num_arena *arena, size_t bytes, const char *what, void *ret,
                       struct num_err *err) {
    struct num_arena_chunk *chunk = arena->chunks;
    size_t align = arena->sparse ? PAGE : LINE;
    if (bytes > SIZE_MAX / 2)
        return num_fail_memory(err, what, bytes);
    if (!chunk || chunk->len - chunk->used < bytes) {
        chunk = chunk_create(bytes + align, arena->sparse);
        if (!chunk)
            return num_fail_memory(err, what, bytes);
        chunk->next = arena->chunks;
        arena->chunks = chunk;
    }
    void *at = (char *)chunk + chunk->used;
    chunk->used = round_up(chunk->used + bytes, align);
    chunk->used = chunk->used > chunk->len ? chunk->len : chunk->used;
    memcpy(ret, &at, sizeof at);
    return SLUICE_OK;
}

void num_arena_finish(struct num_arena *arena) {
    while (arena->chunks) {
        struct num_arena_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        munmap(chunk->map, chunk->map_len);
    }
}
