/*
 * Memory and descriptors: allocation that cannot fail, clean-up by scope, an arena, checked sizes.
 *
 * The core is small and bounds everything it reads, so running out of memory is not an outcome it
 * plans for: sl_x* functions print one line and exit 70. Plugins never call these; they report
 * SLUICE_RESOURCE.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *sl_xmalloc(size_t size);
void *sl_xcalloc(size_t count, size_t size); /* zeroed */
void *sl_xrealloc(void *p, size_t count, size_t size);
char *sl_xstrdup(const char *s);
char *sl_xstrndup(const char *s, size_t len);
char *sl_xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Makes room for one more element in a heap array: SL_PUSH_ROOM(items, n_items, cap) then
 * items[n++] = x. */
#define SL_PUSH_ROOM(array, count, cap)                                                            \
    do {                                                                                           \
        if ((count) == (cap)) {                                                                    \
            (cap) = (cap) ? 2 * (cap) : 8;                                                         \
            (array) = sl_xrealloc((array), (size_t)(cap), sizeof *(array));                        \
        }                                                                                          \
    } while (0)

/* Scope-bound resources: `sl_autofree char *s = NULL;`, `sl_autoclose int fd = -1;`. */
void sl_cleanup_free(void *pp);
void sl_cleanup_close(int *fd);
#define sl_autofree  __attribute__((cleanup(sl_cleanup_free)))
#define sl_autoclose __attribute__((cleanup(sl_cleanup_close)))

/* Hands a resource over: the variable is left empty. */
static inline void *sl_steal_ptr_(void **p) {
    void *was = *p;
    *p = NULL;
    return was;
}
#define sl_steal(pp) ((__typeof__(*(pp)))sl_steal_ptr_((void **)(pp)))
static inline int sl_steal_fd(int *fd) {
    int was = *fd;
    *fd = -1;
    return was;
}

/* Closes *fd if it is one, and sets it to -1. */
void sl_close(int *fd);

/* a * b and a + b without overflow; false where it would. */
static inline bool sl_mul_ok(uint64_t a, uint64_t b, uint64_t *ret) {
    return !__builtin_mul_overflow(a, b, ret);
}
static inline bool sl_add_ok(uint64_t a, uint64_t b, uint64_t *ret) {
    return !__builtin_add_overflow(a, b, ret);
}

/*
 * An arena: many small allocations that are freed together. Memory is zeroed and aligned to 16
 * bytes. `struct sl_arena a = {0};` is an empty one.
 */
struct sl_arena_block;
struct sl_arena {
    struct sl_arena_block *head;
};
void *sl_arena_alloc(struct sl_arena *a, size_t size);
char *sl_arena_strndup(struct sl_arena *a, const char *s, size_t len);
char *sl_arena_strdup(struct sl_arena *a, const char *s);
char *sl_arena_printf(struct sl_arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void sl_arena_finish(struct sl_arena *a); /* frees all; the arena is empty again */

#endif
