/*
 * Graph algorithms over an edge list, see graph.h. Graphs are small (SL_PIPELINE_MAX_STAGES nodes),
 * so the simple forms are taken: a scan for the next free node, and one breadth-first search for
 * each node that may be on a cycle.
 */
#include "graph/graph.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void sl_graph_init(struct sl_graph *g, int n) {
    *g = (struct sl_graph){.n = n};
}

void sl_graph_add_edge(struct sl_graph *g, int from, int to) {
    int cap = g->cap;
    SL_PUSH_ROOM(g->from, g->n_edges, cap);
    SL_PUSH_ROOM(g->to, g->n_edges, g->cap);
    g->from[g->n_edges] = from;
    g->to[g->n_edges++] = to;
}

void sl_graph_finish(struct sl_graph *g) {
    free(g->from);
    free(g->to);
    *g = (struct sl_graph){0};
}

/* Edges sorted by one end: those of node i are items[first[i]..first[i + 1]). */
struct adjacency {
    int *first, *items;
};

static struct adjacency adjacency_make(const struct sl_graph *g, const int *key, const int *other) {
    struct adjacency a = {sl_xcalloc((size_t)g->n + 2, sizeof(int)),
                          sl_xcalloc((size_t)g->n_edges, sizeof(int))};
    for (int e = 0; e < g->n_edges; e++)
        a.first[key[e] + 2]++;
    for (int i = 2; i <= g->n + 1; i++)
        a.first[i] += a.first[i - 1];
    for (int e = 0; e < g->n_edges; e++)
        a.items[a.first[key[e] + 1]++] = other[e];
    return a;
}

static void adjacency_finish(struct adjacency *a) {
    free(a->first);
    free(a->items);
}

int sl_graph_sort(const struct sl_graph *g, int *ret_order) {
    struct adjacency takers = adjacency_make(g, g->from, g->to);
    sl_autofree int *waiting = sl_xcalloc((size_t)g->n, sizeof *waiting);
    sl_autofree bool *done = sl_xcalloc((size_t)g->n, sizeof *done);
    int n = 0;
    for (int e = 0; e < g->n_edges; e++)
        waiting[g->to[e]]++;
    for (int i = 0; i < g->n;) {
        if (done[i] || waiting[i] > 0) {
            i++;
            continue;
        }
        done[i] = true;
        ret_order[n++] = i;
        for (int k = takers.first[i]; k < takers.first[i + 1]; k++)
            waiting[takers.items[k]]--;
        i = 0;
    }
    adjacency_finish(&takers);
    return n;
}

/* Breadth-first from `start`: before[v] is the node v was reached from, -1 where it was not.
 * `start` itself is entered only when an edge leads back to it. */
static void search(const struct sl_graph *g, const struct adjacency *next, int start, int *before,
                   int *queue) {
    int n_queue = 0;
    for (int i = 0; i < g->n; i++)
        before[i] = -1;
    queue[n_queue++] = start;
    for (int head = 0; head < n_queue; head++)
        for (int k = next->first[queue[head]]; k < next->first[queue[head] + 1]; k++) {
            int v = next->items[k];
            if (before[v] >= 0)
                continue;
            before[v] = queue[head];
            if (v != start)
                queue[n_queue++] = v;
        }
}

/* The path that a search left behind, from `start` round to `start`. */
static int trace(const int *before, int start, int *path) {
    int n = 0, at = start;
    do {
        path[n++] = at;
        at = before[at];
    } while (at != start);
    path[n++] = start;
    return n;
}

void sl_graph_cycles(const struct sl_graph *g, sl_graph_on_cycle *on_cycle, void *context) {
    struct adjacency needs = adjacency_make(g, g->to, g->from),
                     takers = adjacency_make(g, g->from, g->to);
    sl_autofree int *down = sl_xcalloc((size_t)g->n, sizeof *down),
                    *up = sl_xcalloc((size_t)g->n, sizeof *up);
    sl_autofree int *queue = sl_xcalloc((size_t)g->n + 1, sizeof *queue);
    sl_autofree int *path = sl_xcalloc((size_t)g->n + 1, sizeof *path);
    sl_autofree bool *told = sl_xcalloc((size_t)g->n, sizeof *told);
    for (int i = 0; i < g->n; i++) {
        if (told[i])
            continue;
        search(g, &needs, i, down, queue);
        if (down[i] < 0)
            continue;
        search(g, &takers, i, up, queue);
        for (int v = 0; v < g->n; v++)
            told[v] |= down[v] >= 0 && up[v] >= 0;
        on_cycle(context, path, trace(down, i, path));
    }
    adjacency_finish(&needs);
    adjacency_finish(&takers);
}
