/* Allocation that cannot fail, scope clean-up, and a bump arena of 16 KiB blocks. See mem.h. */
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXIT_OUT_OF_MEMORY 70
#define BLOCK_SIZE         16384

struct sl_arena_block {
    struct sl_arena_block *next;
    size_t used, size;
    _Alignas(16) unsigned char data[];
};

static void *need(void *p) {
    if (!p) {
        static const char text[] = "sluice: out of memory\n";
        (void)!write(STDERR_FILENO, text, sizeof text - 1);
        _exit(EXIT_OUT_OF_MEMORY);
    }
    return p;
}

void *sl_xmalloc(size_t size) {
    return need(malloc(size ? size : 1));
}

void *sl_xcalloc(size_t count, size_t size) {
    return need(calloc(count ? count : 1, size ? size : 1));
}

void *sl_xrealloc(void *p, size_t count, size_t size) {
    uint64_t bytes;
    if (!sl_mul_ok(count, size, &bytes))
        need(NULL);
    return need(realloc(p, bytes ? bytes : 1));
}

char *sl_xstrdup(const char *s) {
    return need(strdup(s));
}

char *sl_xstrndup(const char *s, size_t len) {
    return need(strndup(s, len));
}

char *sl_xasprintf(const char *fmt, ...) {
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    if (vasprintf(&text, fmt, args) < 0)
        need(NULL);
    va_end(args);
    return text;
}

void sl_cleanup_free(void *pp) {
    free(*(void **)pp);
}

void sl_cleanup_close(int *fd) {
    sl_close(fd);
}

void sl_close(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void *sl_arena_alloc(struct sl_arena *a, size_t size) {
    size = (size + 15) & ~(size_t)15;
    if (!a->head || a->head->size - a->head->used < size) {
        size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;
        struct sl_arena_block *block = sl_xcalloc(1, sizeof *block + room);
        block->size = room;
        block->next = a->head;
        a->head = block;
    }
    void *p = a->head->data + a->head->used;
    a->head->used += size;
    return p;
}

char *sl_arena_strndup(struct sl_arena *a, const char *s, size_t len) {
    char *copy = sl_arena_alloc(a, len + 1);
    memcpy(copy, s, len);
    return copy;
}

char *sl_arena_strdup(struct sl_arena *a, const char *s) {
    return sl_arena_strndup(a, s, strlen(s));
}

char *sl_arena_printf(struct sl_arena *a, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *text = sl_arena_alloc(a, (size_t)(len < 0 ? 0 : len) + 1);
    vsnprintf(text, (size_t)(len < 0 ? 0 : len) + 1, fmt, again);
    va_end(again);
    return text;
}

void sl_arena_finish(struct sl_arena *a) {
    while (a->head) {
        struct sl_arena_block *next = a->head->next;
        free(a->head);
        a->head = next;
    }
}
