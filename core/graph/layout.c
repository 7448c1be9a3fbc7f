/*
 * Layered layout, see layout.h. The steps in order: longest-path layers (inputs pulled towards
 * their takers, outputs pushed to the last layer), bends, a fixed number of barycentre sweeps, then
 * positions by averaging two packings, one pushed up and one pushed down, which both keep the order
 * and the gaps, and so does their mean.
 */
#include "graph/layout.h"

#include <stdlib.h>
#include <string.h>

#define MAX_BENDS    4000
#define ORDER_SWEEPS 12
#define PLACE_SWEEPS 12

static int node_of_stage(const struct sl_plan *plan, int stage) {
    return plan->n_inputs + stage;
}

static int source_node(const struct sl_plan *plan, const struct sl_plan_input *in) {
    return in->from_stage < 0 ? in->from_port : node_of_stage(plan, in->from_stage);
}

/* ---- Layers --------------------------------------------------------------------------------- */

static void assign_layers(struct sl_layout *l) {
    const struct sl_plan *plan = l->plan;
    int last = 0;
    for (int i = 0; i < plan->n_stages; i++) {
        struct sl_layout_node *node = &l->nodes[node_of_stage(plan, i)];
        node->layer = plan->n_inputs > 0;
        for (int k = 0; k < plan->stages[i].n_inputs; k++) {
            int before = l->nodes[source_node(plan, &plan->stages[i].inputs[k])].layer;
            node->layer = node->layer > before ? node->layer : before + 1;
        }
        last = node->layer > last ? node->layer : last;
    }
    for (int i = 0; i < plan->n_stages; i++)
        if (plan->stages[i].is_output)
            l->nodes[node_of_stage(plan, i)].layer = last;
    l->n_layers = last + 1;
}

static void pull_inputs(struct sl_layout *l) {
    const struct sl_plan *plan = l->plan;
    for (int n = 0; n < plan->n_inputs; n++) {
        int nearest = l->n_layers;
        for (int i = 0; i < plan->n_stages; i++)
            for (int k = 0; k < plan->stages[i].n_inputs; k++)
                if (source_node(plan, &plan->stages[i].inputs[k]) == n &&
                    l->nodes[node_of_stage(plan, i)].layer < nearest)
                    nearest = l->nodes[node_of_stage(plan, i)].layer;
        l->nodes[n].layer = nearest < l->n_layers ? nearest - 1 : 0;
    }
}

static void make_nodes(struct sl_layout *l) {
    const struct sl_plan *plan = l->plan;
    l->n_real = l->n_nodes = plan->n_inputs + plan->n_stages;
    l->nodes = sl_xcalloc((size_t)l->n_nodes, sizeof *l->nodes);
    for (int i = 0; i < l->n_nodes; i++) {
        l->nodes[i].input = i < plan->n_inputs ? i : -1;
        l->nodes[i].stage = i < plan->n_inputs ? -1 : i - plan->n_inputs;
    }
    assign_layers(l);
    pull_inputs(l);
}

/* ---- Lines and bends ------------------------------------------------------------------------ */

/* An output and the bends its lines go through: one for each layer between it and its last taker.
 */
struct net {
    int node, last_layer, first_bend;
};

/* base[node] + port is the net of an output. */
static int *net_bases(struct sl_layout *l) {
    int *base = sl_xcalloc((size_t)l->n_real + 1, sizeof *base);
    for (int i = 0; i < l->n_real; i++)
        base[i + 1] =
            base[i] + (l->nodes[i].stage < 0 ? 1 : l->plan->stages[l->nodes[i].stage].n_outputs);
    l->n_nets = base[l->n_real];
    return base;
}

static int net_of(const struct sl_layout *l, const int *base, const struct sl_plan_input *in) {
    return base[source_node(l->plan, in)] + (in->from_stage < 0 ? 0 : in->from_port);
}

static struct net *make_nets(struct sl_layout *l, const int *base) {
    struct net *nets = sl_xcalloc((size_t)l->n_nets, sizeof *nets);
    for (int i = 0; i < l->plan->n_stages; i++)
        for (int k = 0; k < l->plan->stages[i].n_inputs; k++) {
            const struct sl_plan_input *in = &l->plan->stages[i].inputs[k];
            struct net *net = &nets[net_of(l, base, in)];
            int layer = l->nodes[node_of_stage(l->plan, i)].layer;
            net->node = source_node(l->plan, in);
            net->last_layer = layer > net->last_layer ? layer : net->last_layer;
        }
    return nets;
}

static void add_line(struct sl_layout *l, struct sl_layout_line line) {
    SL_PUSH_ROOM(l->lines, l->n_lines, l->cap_lines);
    l->lines[l->n_lines++] = line;
}

static int bends_of(const struct sl_layout *l, const struct net *net) {
    int n = net->last_layer - l->nodes[net->node].layer - 1;
    return n > 0 ? n : 0;
}

static void make_bends(struct sl_layout *l, struct net *nets) {
    int total = 0;
    for (int i = 0; i < l->n_nets && total <= MAX_BENDS; i++)
        total += bends_of(l, &nets[i]);
    l->bends = total <= MAX_BENDS;
    if (!l->bends)
        return;
    l->nodes = sl_xrealloc(l->nodes, (size_t)(l->n_nodes + total), sizeof *l->nodes);
    for (int i = 0; i < l->n_nets; i++) {
        int n = bends_of(l, &nets[i]), layer = l->nodes[nets[i].node].layer;
        nets[i].first_bend = l->n_nodes;
        for (int k = 0; k < n; k++) {
            l->nodes[l->n_nodes++] =
                (struct sl_layout_node){.stage = -1, .input = -1, .layer = layer + 1 + k};
            add_line(l, (struct sl_layout_line){.from = k ? l->n_nodes - 2 : nets[i].node,
                                                .to = l->n_nodes - 1,
                                                .net = i,
                                                .port = -1});
        }
    }
}

static void make_lines(struct sl_layout *l) {
    sl_autofree int *base = net_bases(l);
    sl_autofree struct net *nets = make_nets(l, base);
    make_bends(l, nets);
    for (int i = 0; i < l->plan->n_stages; i++)
        for (int k = 0; k < l->plan->stages[i].n_inputs; k++) {
            int id = net_of(l, base, &l->plan->stages[i].inputs[k]), to = node_of_stage(l->plan, i);
            int away = l->nodes[to].layer - l->nodes[nets[id].node].layer;
            int from = away > 1 && l->bends ? nets[id].first_bend + away - 2 : nets[id].node;
            add_line(l, (struct sl_layout_line){.from = from, .to = to, .net = id, .port = k});
        }
}

static void sort_lines(struct sl_layout *l) {
    struct sl_layout_line *sorted = sl_xcalloc((size_t)l->n_lines, sizeof *sorted);
    l->first_line = sl_xcalloc((size_t)l->n_layers + 2, sizeof *l->first_line);
    for (int i = 0; i < l->n_lines; i++)
        l->first_line[l->nodes[l->lines[i].from].layer + 2]++;
    for (int i = 2; i <= l->n_layers + 1; i++)
        l->first_line[i] += l->first_line[i - 1];
    for (int i = 0; i < l->n_lines; i++)
        sorted[l->first_line[l->nodes[l->lines[i].from].layer + 1]++] = l->lines[i];
    free(l->lines);
    l->lines = sorted;
    l->cap_lines = l->n_lines;
}

/* ---- Order in a layer ----------------------------------------------------------------------- */

static void fill_layers(struct sl_layout *l) {
    l->layers = sl_xcalloc((size_t)l->n_layers, sizeof *l->layers);
    l->layer_sizes = sl_xcalloc((size_t)l->n_layers, sizeof *l->layer_sizes);
    for (int i = 0; i < l->n_nodes; i++)
        l->layer_sizes[l->nodes[i].layer]++;
    for (int i = 0; i < l->n_layers; i++) {
        l->layers[i] = sl_xcalloc((size_t)l->layer_sizes[i], sizeof **l->layers);
        l->layer_sizes[i] = 0;
    }
    for (int i = 0; i < l->n_nodes; i++) {
        struct sl_layout_node *node = &l->nodes[i];
        node->place = l->layer_sizes[node->layer]++;
        l->layers[node->layer][node->place] = i;
    }
}

struct ranked {
    double key;
    int node, place;
};

static int compare_ranked(const void *a, const void *b) {
    const struct ranked *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->place - y->place;
}

/* Orders a layer by the mean place of its neighbours in the layer before (down) or after. */
static void order_layer(struct sl_layout *l, int layer, bool down, double *sum, int *count) {
    int bucket = down ? layer - 1 : layer, n = l->layer_sizes[layer];
    sl_autofree struct ranked *ranks = sl_xcalloc((size_t)n, sizeof *ranks);
    for (int k = 0; k < n; k++)
        sum[l->layers[layer][k]] = count[l->layers[layer][k]] = 0;
    for (int i = l->first_line[bucket]; i < l->first_line[bucket + 1]; i++) {
        int mine = down ? l->lines[i].to : l->lines[i].from,
            other = down ? l->lines[i].from : l->lines[i].to;
        sum[mine] += l->nodes[other].place;
        count[mine]++;
    }
    for (int k = 0; k < n; k++) {
        int node = l->layers[layer][k];
        ranks[k] = (struct ranked){count[node] ? sum[node] / count[node] : k, node, k};
    }
    if (n)
        qsort(ranks, (size_t)n, sizeof *ranks, compare_ranked);
    for (int k = 0; k < n; k++) {
        l->layers[layer][k] = ranks[k].node;
        l->nodes[ranks[k].node].place = k;
    }
}

static void order_layers(struct sl_layout *l) {
    sl_autofree double *sum = sl_xcalloc((size_t)l->n_nodes, sizeof *sum);
    sl_autofree int *count = sl_xcalloc((size_t)l->n_nodes, sizeof *count);
    for (int sweep = 0; sweep < ORDER_SWEEPS; sweep++) {
        for (int i = 1; sweep % 2 == 0 && i < l->n_layers; i++)
            order_layer(l, i, true, sum, count);
        for (int i = l->n_layers - 2; sweep % 2 == 1 && i >= 0; i--)
            order_layer(l, i, false, sum, count);
    }
}

void sl_layout_build(const struct sl_plan *plan, struct sl_layout *ret_layout) {
    struct sl_layout *l = ret_layout;
    *l = (struct sl_layout){.plan = plan};
    make_nodes(l);
    make_lines(l);
    sort_lines(l);
    fill_layers(l);
    order_layers(l);
}

/* ---- Positions ------------------------------------------------------------------------------ */

/* The two packings of a layer around `wish`, and their mean. */
static void pack_layer(struct sl_layout *l, int layer, const double *wish, double gap) {
    int n = l->layer_sizes[layer];
    sl_autofree double *low = sl_xcalloc((size_t)n, sizeof *low);
    double edge = 0;
    for (int k = 0; k < n; k++) {
        int node = l->layers[layer][k];
        double half = l->nodes[node].extent / 2, at = wish[node];
        low[k] = k > 0 && at < edge + half ? edge + half : at;
        edge = low[k] + half + gap;
    }
    for (int k = n - 1; k >= 0; k--) {
        int node = l->layers[layer][k];
        double half = l->nodes[node].extent / 2, at = wish[node];
        double high = k < n - 1 && at > edge - half ? edge - half : at;
        edge = high - half - gap;
        l->nodes[node].center = (low[k] + high) / 2;
    }
}

/* Moves each node of a layer to the mean of its neighbours, those before (down), after, or both
 * (0). */
static void place_layer(struct sl_layout *l, int layer, int side, double gap, double *wish,
                        int *count) {
    for (int k = 0; k < l->layer_sizes[layer]; k++)
        wish[l->layers[layer][k]] = count[l->layers[layer][k]] = 0;
    for (int i = layer > 0 && side >= 0 ? l->first_line[layer - 1] : 0;
         layer > 0 && side >= 0 && i < l->first_line[layer]; i++)
        if (l->nodes[l->lines[i].to].layer == layer) {
            wish[l->lines[i].to] += l->nodes[l->lines[i].from].center;
            count[l->lines[i].to]++;
        }
    for (int i = l->first_line[layer]; side <= 0 && i < l->first_line[layer + 1]; i++) {
        wish[l->lines[i].from] += l->nodes[l->lines[i].to].center;
        count[l->lines[i].from]++;
    }
    for (int k = 0; k < l->layer_sizes[layer]; k++) {
        int node = l->layers[layer][k];
        wish[node] = count[node] ? wish[node] / count[node] : l->nodes[node].center;
    }
    pack_layer(l, layer, wish, gap);
}

/* A line, or all of one net that leave a node, ready to be ranked among those of the same node. */
struct meeting {
    int node, net, line;
    double key; /* centre at the other end */
};

static int compare_meetings(const void *a, const void *b) {
    const struct meeting *x = a, *y = b;
    if (x->node != y->node)
        return x->node - y->node;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->net != y->net ? x->net - y->net : x->line - y->line;
}

/* Lines arrive in the order of where they come from. */
static void place_arrivals(struct sl_layout *l, struct meeting *m) {
    for (int i = 0; i < l->n_lines; i++)
        m[i] =
            (struct meeting){l->lines[i].to, l->lines[i].net, i, l->nodes[l->lines[i].from].center};
    if (l->n_lines)
        qsort(m, (size_t)l->n_lines, sizeof *m, compare_meetings);
    for (int i = 0; i < l->n_lines; i++)
        l->lines[m[i].line].to_place = l->nodes[m[i].node].n_in++;
}

/* Nets leave in the order of the middle of where they go to. Two passes over the nets of each node:
 * sum, then rank. */
static void place_departures(struct sl_layout *l, struct meeting *m) {
    sl_autofree double *sum = sl_xcalloc((size_t)(l->n_nets + l->n_nodes), sizeof *sum);
    sl_autofree int *count = sl_xcalloc((size_t)(l->n_nets + l->n_nodes), sizeof *count);
    sl_autofree int *place = sl_xcalloc((size_t)(l->n_nets + l->n_nodes), sizeof *place);
    int n = 0;
    for (int i = 0; i < l->n_lines; i++) {
        const struct sl_layout_line *line = &l->lines[i];
        /* A bend has one net. */
        int slot = line->from < l->n_real ? line->net : l->n_nets + line->from;
        if (count[slot]++ == 0)
            m[n++] = (struct meeting){line->from, slot, i, 0};
        sum[slot] += l->nodes[line->to].center;
    }
    for (int i = 0; i < n; i++)
        m[i].key = sum[m[i].net] / count[m[i].net];
    if (n)
        qsort(m, (size_t)n, sizeof *m, compare_meetings);
    for (int i = 0; i < n; i++)
        place[m[i].net] = l->nodes[m[i].node].n_out++;
    for (int i = 0; i < l->n_lines; i++) {
        struct sl_layout_line *line = &l->lines[i];
        line->from_place = place[line->from < l->n_real ? line->net : l->n_nets + line->from];
    }
}

static void place_lines(struct sl_layout *l) {
    sl_autofree struct meeting *m = sl_xcalloc((size_t)l->n_lines, sizeof *m);
    place_arrivals(l, m);
    place_departures(l, m);
}

double sl_layout_place(struct sl_layout *l, double gap) {
    sl_autofree double *wish = sl_xcalloc((size_t)l->n_nodes, sizeof *wish);
    sl_autofree int *count = sl_xcalloc((size_t)l->n_nodes, sizeof *count);
    double low = 0, high = 0;
    for (int i = 0; i < l->n_layers; i++)
        pack_layer(l, i, wish, gap);
    for (int sweep = 0; sweep < PLACE_SWEEPS; sweep++) {
        for (int i = 1; sweep % 2 == 0 && i < l->n_layers; i++)
            place_layer(l, i, sweep < PLACE_SWEEPS / 2 ? 1 : 0, gap, wish, count);
        for (int i = l->n_layers - 1; sweep % 2 == 1 && i >= 0; i--)
            place_layer(l, i, sweep < PLACE_SWEEPS / 2 ? -1 : 0, gap, wish, count);
    }
    for (int i = 0; i < l->n_nodes; i++) {
        double from = l->nodes[i].center - l->nodes[i].extent / 2,
               to = l->nodes[i].center + l->nodes[i].extent / 2;
        low = i == 0 || from < low ? from : low;
        high = i == 0 || to > high ? to : high;
    }
    for (int i = 0; i < l->n_nodes; i++)
        l->nodes[i].center -= low;
    place_lines(l);
    return high - low;
}

void sl_layout_finish(struct sl_layout *l) {
    for (int i = 0; i < l->n_layers; i++)
        free(l->layers[i]);
    free(l->layers);
    free(l->layer_sizes);
    free(l->first_line);
    free(l->lines);
    free(l->nodes);
    *l = (struct sl_layout){0};
}

/* ---- Words ---------------------------------------------------------------------------------- */

const char *sl_layout_line_type(const struct sl_layout *l, const struct sl_layout_line *line) {
    return line->port < 0 ? "" : l->plan->stages[l->nodes[line->to].stage].inputs[line->port].type;
}

const char *sl_layout_title(const struct sl_layout *l, int node) {
    const struct sl_layout_node *n = &l->nodes[node];
    return n->stage >= 0   ? l->plan->stages[n->stage].name
           : n->input >= 0 ? l->plan->inputs[n->input].name
                           : "";
}

const char *sl_layout_subtitle(const struct sl_layout *l, int node) {
    const struct sl_layout_node *n = &l->nodes[node];
    return n->stage >= 0   ? l->plan->stages[n->stage].use
           : n->input >= 0 ? l->plan->inputs[n->input].type
                           : "";
}
