/*
 * A layered drawing of a plan (Sugiyama, Tagawa and Toda 1981): every node stands in a layer after
 * all that it takes from; lines that pass layers go through a bend in each; nodes are ordered in
 * their layer by the barycentre of their neighbours and moved towards them. Which way the layers
 * run is the renderer's choice.
 */
#ifndef GRAPH_LAYOUT_H
#define GRAPH_LAYOUT_H

#include "graph/plan.h"

struct sl_layout_node {
    int stage, input; /* index into the plan's stages or inputs, or -1; both -1: a bend */
    int layer;
    double extent; /* along the layer; the caller's, 0 for bends */
    double center; /* along the layer, set by sl_layout_place() */
    /* places where lines arrive and leave; all lines of one output leave at one place */
    int n_in, n_out;
    int place; /* in its layer */
};

/* A piece of a line, from one layer to the next. */
struct sl_layout_line {
    int from, to;             /* nodes */
    int net;                  /* lines of one output belong together */
    int port;                 /* index into the taking stage's inputs; -1: leads to a bend */
    int from_place, to_place; /* among n_out and n_in, set by sl_layout_place() */
};

struct sl_layout {
    const struct sl_plan *plan;
    struct sl_layout_node *nodes; /* owned, as all below; inputs, then stages, then bends */
    int n_nodes, n_real;
    struct sl_layout_line *lines; /* sorted by the layer they leave */
    int n_lines, cap_lines;
    int n_layers;
    int *first_line;            /* n_layers + 1: lines leaving layer i */
    int **layers, *layer_sizes; /* node indices in order */
    int n_nets;
    bool bends; /* false: too many would be needed, lines may pass layers */
};

/* Layers, bends and their order. */
void sl_layout_build(const struct sl_plan *plan, struct sl_layout *ret_layout);
/* Centres (the least edge at 0) with `gap` between neighbours, and the places of lines. Set the
 * extents first. Returns the extent of all. */
double sl_layout_place(struct sl_layout *l, double gap);
void sl_layout_finish(struct sl_layout *l);

/* The type a line carries, and what a node is called. */
const char *sl_layout_line_type(const struct sl_layout *l, const struct sl_layout_line *line);
const char *sl_layout_title(const struct sl_layout *l, int node); /* "asr" */
/* "whisper/transcribe", "file/1". */
const char *sl_layout_subtitle(const struct sl_layout *l, int node);

#endif
