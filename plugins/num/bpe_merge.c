/*
 * Byte-pair merging: see bpe_merge.h. Parts are a linked list; a heap holds the pairs of neighbours
 * that join. Two offers follow each join, so a piece of n parts makes less than 3 n. An entry of
 * the heap is stale where its parts have changed since; it is skipped.
 */
#include "num/bpe_merge.h"

#include <stdbool.h>

static bool before(struct num_bpe_pair a, struct num_bpe_pair b) {
    return a.order != b.order ? a.order < b.order : a.left < b.left;
}

static void heap_push(struct num_bpe_work *w, struct num_bpe_pair p) {
    size_t at = w->n_heap++;
    for (; at > 0 && before(p, w->heap[(at - 1) / 2]); at = (at - 1) / 2)
        w->heap[at] = w->heap[(at - 1) / 2];
    w->heap[at] = p;
}

static struct num_bpe_pair heap_pop(struct num_bpe_work *w) {
    struct num_bpe_pair top = w->heap[0], p = w->heap[--w->n_heap];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < w->n_heap; at = child) {
        child += child + 1 < w->n_heap && before(w->heap[child + 1], w->heap[child]);
        if (!before(w->heap[child], p))
            break;
        w->heap[at] = w->heap[child];
    }
    w->heap[at] = p;
    return top;
}

/* Puts the pair that starts with part `left` on the heap, where it joins. */
static void offer(struct num_bpe_work *w, uint32_t left) {
    float order;
    if (left == NUM_BPE_NONE || w->parts[left].next == NUM_BPE_NONE)
        return;
    const struct num_bpe_part *a = &w->parts[left], *b = &w->parts[a->next];
    int32_t to = w->join(w->ctx, a, b, &order);
    if (to >= 0)
        heap_push(w, (struct num_bpe_pair){order, left, a->len + b->len, to});
}

static void join(struct num_bpe_work *w, struct num_bpe_pair p) {
    struct num_bpe_part *a = &w->parts[p.left];
    float order;
    if (a->len == 0 || a->next == NUM_BPE_NONE)
        return;
    struct num_bpe_part *b = &w->parts[a->next];
    if (a->len + b->len != p.len || w->join(w->ctx, a, b, &order) != p.to)
        return;
    a->len += b->len;
    a->token = p.to;
    a->next = b->next;
    b->len = 0;
    if (a->next != NUM_BPE_NONE)
        w->parts[a->next].previous = p.left;
    offer(w, a->previous);
    offer(w, p.left);
}

void num_bpe_add(struct num_bpe_work *w, size_t at, size_t len, int32_t token) {
    uint32_t i = w->n_parts++, previous = i ? i - 1 : NUM_BPE_NONE;
    w->parts[i] = (struct num_bpe_part){(uint32_t)at, (uint32_t)len, previous, NUM_BPE_NONE, token};
    if (i)
        w->parts[previous].next = i;
}

void num_bpe_merge(struct num_bpe_work *w) {
    for (uint32_t i = 0; i < w->n_parts; i++)
        offer(w, i);
    while (w->n_heap)
        join(w, heap_pop(w));
}
