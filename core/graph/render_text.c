/*
 * A plan drawn with box characters, layers from top to bottom over the layout of layout.c:
 *
 *     ╭──┬───╮        a box a node: an input round, a stage square, an output doubled
 *        ├─────╮      lines of one output share a run; each gap has as many rows of runs as overlap
 *        │a/1  │a/1   the type, beside the arrow
 *     ┌──▼───┐┌▼──┐
 *
 * A cell of the grid holds the four directions in which lines leave it, and is turned into a
 * character at the end; text overlays it. A picture wider than MAX_COLUMNS becomes a list.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/layout.h"
#include "graph/render.h"

#define MAX_COLUMNS 160
#define MAX_LINES   600
#define GAP         3 /* columns between boxes */
#define BOX_ROWS    4 /* top, title, subtitle, bottom */

enum { NORTH = 1, EAST = 2, SOUTH = 4, WEST = 8 };

struct cell {
    unsigned char lines; /* directions */
    bool doubled;        /* of an output's box */
    bool square;         /* corner of a stage's box */
    char text[5];        /* a character that hides the lines; "" none */
};

/* A line in the picture: its two ends, and the row of its run. */
struct route {
    int from_x, to_x, run; /* run: -1 straight down */
};

struct picture {
    struct sl_layout layout;
    struct route *routes;        /* one a line of the layout */
    int *runs;                   /* rows of runs below each layer */
    int *top;                    /* first row of each layer's boxes */
    struct cell *cells, outside; /* what is drawn beyond the grid goes nowhere */
    int columns, rows;
};

static int round_int(double x) {
    return (int)lround(x);
}

static bool is_bend(const struct sl_layout_node *node) {
    return node->stage < 0 && node->input < 0;
}

static const char *subtitle_suffix(const struct picture *p, int node) {
    int stage = p->layout.nodes[node].stage;
    return stage >= 0 && p->layout.plan->stages[stage].retry.ignore ? " (optional)" : "";
}

/* ---- Sizes ---------------------------------------------------------------------------------- */

static int label_columns(const struct sl_layout *l, const struct sl_layout_line *line) {
    return 1 + sl_utf8_columns(sl_layout_line_type(l, line));
}

/* Boxes hold their words, and the labels of what arrives. */
static void set_extents(struct picture *p) {
    struct sl_layout *l = &p->layout;
    sl_autofree int *labels = sl_xcalloc((size_t)l->n_nodes, sizeof *labels);
    for (int i = 0; i < l->n_lines; i++)
        labels[l->lines[i].to] += label_columns(l, &l->lines[i]) + 2;
    for (int i = 0; i < l->n_nodes; i++) {
        int words = sl_utf8_columns(sl_layout_title(l, i));
        int below = sl_utf8_columns(sl_layout_subtitle(l, i)) + (int)strlen(subtitle_suffix(p, i));
        int widest = words > below ? words : below;
        widest = widest > labels[i] - 2 ? widest : labels[i] - 2;
        l->nodes[i].extent = is_bend(&l->nodes[i]) ? 1 : widest + 4;
    }
}

static int box_left(const struct sl_layout_node *node) {
    return round_int(node->center - node->extent / 2);
}

static int box_right(const struct sl_layout_node *node) {
    return box_left(node) + round_int(node->extent) - 1;
}

/* ---- Ends of lines -------------------------------------------------------------------------- */

static int departure_x(const struct sl_layout_node *node, int place) {
    int width = round_int(node->extent), pitch = node->n_out * 4 < width ? 4 : 2;
    return box_left(node) + (width - 1) / 2 + place * pitch - (node->n_out - 1) * pitch / 2;
}

/* Labels of one box stand side by side around its middle. */
static int arrival_x(const struct sl_layout *l, const struct sl_layout_line *line) {
    const struct sl_layout_node *node = &l->nodes[line->to];
    const struct sl_layout_node *from = &l->nodes[line->from];
    int total = -2, before = 0;
    if (is_bend(node))
        return box_left(node);
    for (int i = l->first_line[from->layer]; i < l->first_line[from->layer + 1]; i++)
        if (l->lines[i].to == line->to) {
            int columns = label_columns(l, &l->lines[i]) + 2;
            total += columns;
            before += l->lines[i].to_place < line->to_place ? columns : 0;
        }
    return box_left(node) + (round_int(node->extent) - total + 1) / 2 + before;
}

/* Whether another net ends or begins at column `x` of this gap; lines routed before `upto` count
 * with their ends. */
static bool is_taken(const struct picture *p, int layer, int upto, int x) {
    const struct sl_layout *l = &p->layout;
    for (int i = l->first_line[layer]; i < l->first_line[layer + 1]; i++)
        if (l->lines[i].net != l->lines[upto].net &&
            (p->routes[i].from_x == x || (i < upto && p->routes[i].to_x == x)))
            return true;
    return false;
}

static void set_ends(struct picture *p, int layer) {
    const struct sl_layout *l = &p->layout;
    int first = l->first_line[layer], last = l->first_line[layer + 1];
    for (int i = first; i < last; i++)
        p->routes[i].from_x = departure_x(&l->nodes[l->lines[i].from], l->lines[i].from_place);
    for (int i = first; i < last; i++) {
        const struct sl_layout_node *to = &l->nodes[l->lines[i].to];
        int x = arrival_x(l, &l->lines[i]), from_x = p->routes[i].from_x;
        int last_column = from_x + label_columns(l, &l->lines[i]) - 1; /* of its label */
        bool fits = !is_bend(to) && from_x > box_left(to) && last_column <= box_right(to) + 1;
        if (fits && abs(from_x - x) <= (to->n_in == 1 ? round_int(to->extent) : 1))
            x = from_x; /* straight down */
        while (!is_bend(to) && is_taken(p, layer, i, x) && x + 1 < box_right(to))
            x++;
        p->routes[i].to_x = x;
    }
}

/* ---- Runs ----------------------------------------------------------------------------------- */

struct span {
    int net, low, high;
};

static int compare_spans(const void *a, const void *b) {
    const struct span *x = a, *y = b;
    return x->low != y->low ? x->low - y->low : x->high - y->high;
}

/* One span a net that does not go straight down. */
static int collect_spans(const struct picture *p, int layer, struct span *spans) {
    const struct sl_layout *l = &p->layout;
    int n = 0;
    for (int i = l->first_line[layer]; i < l->first_line[layer + 1]; i++) {
        const struct route *r = &p->routes[i];
        int low = r->from_x < r->to_x ? r->from_x : r->to_x, high = r->from_x + r->to_x - low,
            k = 0;
        while (k < n && spans[k].net != l->lines[i].net)
            k++;
        if (k == n)
            spans[n++] = (struct span){l->lines[i].net, low, high};
        spans[k].low = low < spans[k].low ? low : spans[k].low;
        spans[k].high = high > spans[k].high ? high : spans[k].high;
    }
    return n;
}

/* Greedy interval colouring: the first row whose last span ends before this one begins. */
static void set_runs(struct picture *p, int layer) {
    const struct sl_layout *l = &p->layout;
    int n_lines = l->first_line[layer + 1] - l->first_line[layer];
    sl_autofree struct span *spans = sl_xcalloc((size_t)n_lines, sizeof *spans);
    sl_autofree int *ends = sl_xcalloc((size_t)n_lines + 1, sizeof *ends);
    int n = collect_spans(p, layer, spans);
    if (n)
        qsort(spans, (size_t)n, sizeof *spans, compare_spans);
    for (int k = 0; k < n; k++) {
        int row = 0;
        while (row < p->runs[layer] && ends[row] >= spans[k].low)
            row++;
        bool straight = spans[k].low == spans[k].high;
        if (!straight) {
            ends[row] = spans[k].high + 1;
            p->runs[layer] = row + 1 > p->runs[layer] ? row + 1 : p->runs[layer];
        }
        for (int i = l->first_line[layer]; i < l->first_line[layer + 1]; i++)
            if (l->lines[i].net == spans[k].net)
                p->routes[i].run = straight ? -1 : row;
    }
}

/* ---- Drawing -------------------------------------------------------------------------------- */

static struct cell *cell_at(struct picture *p, int row, int column) {
    bool inside = row >= 0 && row < p->rows && column >= 0 && column < p->columns;
    return inside ? &p->cells[row * p->columns + column] : &p->outside;
}

static void draw_down(struct picture *p, int column, int from, int to) {
    for (int row = from; row <= to; row++)
        cell_at(p, row, column)->lines |=
            (unsigned char)((row > from ? NORTH : 0) | (row < to ? SOUTH : 0));
}

static void draw_across(struct picture *p, int row, int from, int to) {
    for (int column = from; column <= to; column++)
        cell_at(p, row, column)->lines |=
            (unsigned char)((column > from ? WEST : 0) | (column < to ? EAST : 0));
}

static void draw_text(struct picture *p, int row, int column, const char *text) {
    while (*text) {
        size_t n = sl_utf8_prefix(text, 1);
        struct cell *cell = cell_at(p, row, column++);
        if (n == 0 || n >= sizeof cell->text)
            return;
        memcpy(cell->text, text, n);
        cell->text[n] = 0;
        text += n;
    }
}

static void draw_box(struct picture *p, int index) {
    const struct sl_layout_node *node = &p->layout.nodes[index];
    int top = p->top[node->layer], left = box_left(node), right = box_right(node),
        bottom = top + BOX_ROWS - 1;
    bool doubled = node->stage >= 0 && p->layout.plan->stages[node->stage].is_output;
    sl_autostr struct sl_str below = {0};
    draw_across(p, top, left, right);
    draw_across(p, bottom, left, right);
    draw_down(p, left, top, bottom);
    draw_down(p, right, top, bottom);
    for (int row = top; row <= bottom; row++)
        for (int column = left; column <= right; column++) {
            cell_at(p, row, column)->doubled = doubled;
            cell_at(p, row, column)->square = node->stage >= 0;
        }
    sl_str_addf(&below, "%s%s", sl_layout_subtitle(&p->layout, index), subtitle_suffix(p, index));
    draw_text(p, top + 1, left + 2, sl_layout_title(&p->layout, index));
    draw_text(p, top + 2, left + 2, sl_str_text(&below));
}

static void draw_line(struct picture *p, int index) {
    const struct sl_layout_line *line = &p->layout.lines[index];
    const struct route *r = &p->routes[index];
    const struct sl_layout_node *from = &p->layout.nodes[line->from],
                                *to = &p->layout.nodes[line->to];
    int bottom = p->top[from->layer] + BOX_ROWS - 1, end = p->top[to->layer];
    int run = r->run < 0 ? bottom : bottom + 1 + r->run;
    if (run > bottom) {
        draw_down(p, r->from_x, bottom, run);
        draw_across(p, run, r->from_x < r->to_x ? r->from_x : r->to_x,
                    r->from_x < r->to_x ? r->to_x : r->from_x);
    }
    draw_down(p, r->to_x, run, is_bend(to) ? end + BOX_ROWS - 1 : end);
    if (is_bend(to))
        return;
    draw_text(p, end, r->to_x, "▼");
    draw_text(p, end - 1, r->to_x + 1, sl_layout_line_type(&p->layout, line));
}

static const char *cell_text(const struct cell *cell) {
    static const char *const plain[] = {" ", "│", "─", "╰", "│", "│", "╭", "├",
                                        "─", "╯", "─", "┴", "╮", "┤", "┬", "┼"};
    static const char *const square[] = {" ", "│", "─", "└", "│", "│", "┌", "├",
                                         "─", "┘", "─", "┴", "┐", "┤", "┬", "┼"};
    static const char *const doubled[] = {" ", "║", "═", "╚", "║", "║", "╔", "╠",
                                          "═", "╝", "═", "╩", "╗", "╣", "╦", "╬"};
    if (*cell->text)
        return cell->text;
    return (cell->doubled ? doubled : cell->square ? square : plain)[cell->lines];
}

static void print_cells(const struct picture *p, struct sl_str *out) {
    for (int row = 0; row < p->rows; row++) {
        const struct cell *cells = &p->cells[row * p->columns];
        int end = p->columns;
        while (end > 0 && !*cells[end - 1].text && !cells[end - 1].lines)
            end--;
        for (int column = 0; column < end; column++)
            sl_str_add(out, cell_text(&cells[column]));
        sl_str_add(out, "\n");
    }
}

/* ---- The list ------------------------------------------------------------------------------- */

static void list_stages(const struct sl_plan *plan, struct sl_str *out) {
    for (int i = 0; i < plan->n_stages; i++) {
        const struct sl_plan_stage *s = &plan->stages[i];
        sl_str_addf(out, "%s  %s%s%s\n", s->name, s->use, s->is_output ? " (output)" : "",
                    s->retry.ignore ? " (optional)" : "");
        for (int k = 0; k < s->n_inputs; k++) {
            const struct sl_plan_input *in = &s->inputs[k];
            if (in->from_stage < 0)
                sl_str_addf(out, "    %s ◀ inputs.%s", in->port, plan->inputs[in->from_port].name);
            else
                sl_str_addf(out, "    %s ◀ %s.%s", in->port, plan->stages[in->from_stage].name,
                            plan->stages[in->from_stage].outputs[in->from_port].port);
            sl_str_addf(out, "  %s\n", in->type);
        }
    }
}

/* ---- The picture ---------------------------------------------------------------------------- */

/* Columns, rows and routes; false where it would be too large. */
static bool arrange(struct picture *p) {
    struct sl_layout *l = &p->layout;
    int row = 0;
    set_extents(p);
    p->columns = round_int(ceil(sl_layout_place(l, GAP))) + 1;
    if (p->columns > MAX_COLUMNS || l->n_lines > MAX_LINES)
        return false;
    for (int i = 0; i < l->n_layers; i++) {
        p->top[i] = row;
        set_ends(p, i);
        set_runs(p, i);
        row += BOX_ROWS + (i + 1 < l->n_layers ? p->runs[i] + 1 : 0);
    }
    p->rows = row;
    return true;
}

static void draw(struct picture *p, struct sl_str *out) {
    p->cells = sl_xcalloc((size_t)p->rows * (size_t)p->columns, sizeof *p->cells);
    for (int i = 0; i < p->layout.n_real; i++)
        draw_box(p, i);
    for (int i = 0; i < p->layout.n_lines; i++)
        draw_line(p, i);
    print_cells(p, out);
    free(p->cells);
}

int sl_render_text(const struct sl_plan *plan, struct sl_str *out) {
    struct picture p = {0};
    sl_layout_build(plan, &p.layout);
    p.routes = sl_xcalloc((size_t)p.layout.n_lines, sizeof *p.routes);
    p.runs = sl_xcalloc((size_t)p.layout.n_layers, sizeof *p.runs);
    p.top = sl_xcalloc((size_t)p.layout.n_layers, sizeof *p.top);
    sl_str_addf(out, "%s%s%s\n\n", plan->name, *plan->description ? ": " : "", plan->description);
    if (p.layout.bends && p.layout.n_lines <= MAX_LINES && arrange(&p))
        draw(&p, out);
    else
        list_stages(plan, out);
    free(p.routes);
    free(p.runs);
    free(p.top);
    sl_layout_finish(&p.layout);
    return 0;
}
