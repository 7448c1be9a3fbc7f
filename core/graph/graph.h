/* A directed graph over 0..n-1: stable topological order, and cycles for people. Pure data, no
 * pipeline words. */
#ifndef GRAPH_GRAPH_H
#define GRAPH_GRAPH_H

#include <stdbool.h>

struct sl_graph {
    int n;
    int *from, *to; /* edges: `to` needs `from`; owned */
    int n_edges, cap;
};

void sl_graph_init(struct sl_graph *g, int n);
void sl_graph_add_edge(struct sl_graph *g, int from, int to);
void sl_graph_finish(struct sl_graph *g);

/*
 * Writes the nodes that stand on no cycle and behind none, each after all that it needs, to
 * ret_order[n]; of several that could come next the lowest comes first (Kahn 1962). Returns their
 * number: below n where there is a cycle.
 */
int sl_graph_sort(const struct sl_graph *g, int *ret_order);

/*
 * For each strongly connected set of nodes the shortest cycle through its lowest node: `path` holds
 * `n` nodes, each needing the one before it, path[0] == path[n - 1]. One call a set.
 */
typedef void sl_graph_on_cycle(void *context, const int *path, int n);
void sl_graph_cycles(const struct sl_graph *g, sl_graph_on_cycle *on_cycle, void *context);

#endif
