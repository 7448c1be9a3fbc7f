/*
 * A plan as SVG, layers from left to right over the layout of layout.c. A box has one row for each
 * line that arrives, so that the types written beside the arrow heads never meet. Colours are
 * classes: light by default, dark where the reader's scheme is; the background stays the page's.
 * Text widths are estimated (no font is at hand), generously.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/layout.h"
#include "graph/render.h"

#define TITLE_PX    8.2 /* of a character of the 14 px bold title */
#define SUBTITLE_PX 7.2 /* of the 12 px monospaced line below */
#define LABEL_PX    6.7 /* of the 11 px monospaced labels */
#define PADDING     14.0
#define BOX_HEIGHT  48.0
#define ROW         20.0 /* between arriving lines */
#define GAP         22.0 /* between boxes of a layer */
#define MARGIN      16.0
#define LANE        46.0 /* room for the curves beside the labels */

struct picture {
    const struct sl_plan *plan;
    const struct sl_mark *marks; /* one a stage, or NULL */
    struct sl_layout layout;
    double *left, *width; /* of each layer */
    double total_width, total_height;
    struct sl_str *out;
};

static const char style[] =
    "<style>\n"
    "text{font-family:system-ui,-apple-system,\"Segoe UI\",\"DejaVu "
    "Sans\",sans-serif;fill:#1f2933}\n"
    ".t{font-size:14px;font-weight:600}.u,.l{font-family:ui-monospace,\"DejaVu Sans "
    "Mono\",monospace}\n"
    ".u{font-size:12px;fill:#52606d}.l{font-size:11px;fill:#616e7c}\n"
    ".b{fill:#eef4fb;stroke:#5b7fa6;stroke-width:1.4}.i{fill:#f4f4f5;stroke:#7b8794;stroke-width:1."
    "4}\n"
    ".o{fill:#eaf6ec;stroke:#5a9367;stroke-width:1.4}.d{stroke-dasharray:5 4}\n"
    ".e{fill:none;stroke:#8a97a6;stroke-width:1.5}.a{fill:#8a97a6}\n"
    ".m{font-size:11px;fill:#52606d}.mark-ok{stroke:#2f8f4e}"
    ".mark-warn{stroke:#b7791f;stroke-width:2.2}.mark-bad{stroke:#c53030;stroke-width:2.2}\n"
    "@media (prefers-color-scheme:dark){text{fill:#e4e7eb}.u{fill:#a9b4c0}.l{fill:#9aa5b1}\n"
    ".b{fill:#1d2b3a;stroke:#6f9bc8}.i{fill:#2a2d31;stroke:#9aa5b1}.o{fill:#1c2f22;stroke:#6fb07e}"
    "\n"
    ".e{stroke:#77828f}.a{fill:#77828f}.m{fill:#a9b4c0}\n"
    ".mark-ok{stroke:#5fbf7f}.mark-warn{stroke:#e0a94a}.mark-bad{stroke:#f07178}}\n"
    "</style>\n";

static void add_escaped(struct sl_str *out, const char *text) {
    for (; *text; text++) {
        const char *entity = *text == '&'   ? "&amp;"
                             : *text == '<' ? "&lt;"
                             : *text == '>' ? "&gt;"
                             : *text == '"' ? "&quot;"
                                            : NULL;
        if (entity)
            sl_str_add(out, entity);
        else if ((unsigned char)*text >= 0x20 || *text == '\n' || *text == '\t')
            sl_str_addn(out, text, 1);
    }
}

static double larger(double a, double b) {
    return a > b ? a : b;
}

static bool is_bend(const struct sl_layout_node *node) {
    return node->stage < 0 && node->input < 0;
}

/* ---- Geometry ------------------------------------------------------------------------------- */

static double box_height(const struct sl_layout_node *node, int n_in) {
    return is_bend(node) ? ROW : larger(BOX_HEIGHT, ROW * n_in + 14);
}

/* Extents come before places, so arriving lines are counted here. */
static void set_extents(struct sl_layout *l) {
    sl_autofree int *n_in = sl_xcalloc((size_t)l->n_nodes, sizeof *n_in);
    for (int i = 0; i < l->n_lines; i++)
        n_in[l->lines[i].to]++;
    for (int i = 0; i < l->n_nodes; i++)
        l->nodes[i].extent = box_height(&l->nodes[i], n_in[i]);
}

static double box_width(const struct sl_layout *l, int node) {
    if (is_bend(&l->nodes[node]))
        return 0;
    return 2 * PADDING + larger(TITLE_PX * sl_utf8_columns(sl_layout_title(l, node)),
                                SUBTITLE_PX * sl_utf8_columns(sl_layout_subtitle(l, node)));
}

/* Columns as wide as their widest box, and gaps as wide as their widest label. */
static void set_columns(struct picture *p) {
    struct sl_layout *l = &p->layout;
    double at = MARGIN;
    for (int i = 0; i < l->n_layers; i++) {
        double widest = 0, label = 0;
        for (int k = 0; k < l->layer_sizes[i]; k++)
            widest = larger(widest, box_width(l, l->layers[i][k]));
        for (int k = l->first_line[i]; k < l->first_line[i + 1]; k++)
            label = larger(label, LABEL_PX * sl_utf8_columns(sl_layout_line_type(l, &l->lines[k])));
        p->left[i] = at;
        p->width[i] = widest;
        at += widest + (i + 1 < l->n_layers ? label + LANE + 12 : MARGIN);
    }
    p->total_width = at;
}

/* The height of place `k` of `n` at a node. */
static double place_y(const struct sl_layout_node *node, int k, int n) {
    double room = (node->extent - 14) / n, pitch = room < ROW ? room : ROW;
    return MARGIN + node->center + (k - (n - 1) / 2.0) * pitch;
}

/* ---- Lines ---------------------------------------------------------------------------------- */

static void add_curve(struct picture *p, double x0, double y0, double x1, double y1) {
    double bow = larger(12, (x1 - x0) * 0.5);
    sl_str_addf(p->out, "C%.1f %.1f %.1f %.1f %.1f %.1f", x0 + bow, y0, x1 - bow, y1, x1, y1);
}

static void add_line(struct picture *p, const struct sl_layout_line *line) {
    const struct sl_layout_node *from = &p->layout.nodes[line->from],
                                *to = &p->layout.nodes[line->to];
    double x0 = p->left[from->layer] + p->width[from->layer], x1 = p->left[to->layer];
    double y0 = place_y(from, line->from_place, from->n_out),
           y1 = place_y(to, line->to_place, to->n_in);
    const char *type = sl_layout_line_type(&p->layout, line);
    double flat = line->port < 0 ? 0 : LABEL_PX * sl_utf8_columns(type) + 16;
    double turn = x1 - flat > x0 + LANE / 2 ? x1 - flat : x1;
    sl_str_addf(p->out, "<path class=\"e\" d=\"M%.1f %.1f", x0, y0);
    add_curve(p, x0, y0, turn, y1);
    if (is_bend(to))
        sl_str_addf(p->out, "H%.1f", x1 + p->width[to->layer]);
    else
        sl_str_addf(p->out, "H%.1f", x1 - 6);
    sl_str_add(p->out, "\"/>\n");
    if (is_bend(to))
        return;
    sl_str_addf(p->out, "<path class=\"a\" d=\"M%.1f %.1fl-8 -4v8z\"/>", x1, y1);
    sl_str_addf(p->out, "<text class=\"l\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", x1 - 11,
                y1 - 5);
    add_escaped(p->out, type);
    sl_str_add(p->out, "</text>\n");
}

/* ---- Boxes ---------------------------------------------------------------------------------- */

static void add_mark(struct picture *p, const struct sl_mark *mark, double x, double y) {
    if (!mark || !*mark->text)
        return;
    sl_str_addf(p->out, "<text class=\"m\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", x, y);
    add_escaped(p->out, mark->text);
    sl_str_add(p->out, "</text>");
}

static void add_box(struct picture *p, int index) {
    const struct sl_layout_node *node = &p->layout.nodes[index];
    const struct sl_plan_stage *stage = node->stage >= 0 ? &p->plan->stages[node->stage] : NULL;
    double x = p->left[node->layer], w = p->width[node->layer],
           y = MARGIN + node->center - node->extent / 2;
    double middle = MARGIN + node->center, center = x + w / 2;
    const char *class = !stage ? "i" : stage->is_output ? "o" : "b";
    const struct sl_mark *mark = stage && p->marks ? &p->marks[node->stage] : NULL;
    sl_str_addf(p->out, "<g><title>");
    add_escaped(p->out, stage ? stage->desc->summary : p->plan->inputs[node->input].help);
    sl_str_addf(
        p->out,
        "</title><rect class=\"%s%s%s%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
        "rx=\"%.0f\"/>",
        class, stage && stage->retry.ignore ? " d" : "", mark && mark->class ? " " : "",
        mark && mark->class ? mark->class : "", x, y, w, node->extent, stage ? 8.0 : 22.0);
    add_mark(p, mark, x + w, y - 5);
    sl_str_addf(p->out, "<text class=\"t\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">", center,
                middle - 3);
    add_escaped(p->out, sl_layout_title(&p->layout, index));
    sl_str_addf(p->out, "</text><text class=\"u\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">",
                center, middle + 14);
    add_escaped(p->out, sl_layout_subtitle(&p->layout, index));
    sl_str_add(p->out, "</text></g>\n");
}

int sl_render_svg(const struct sl_plan *plan, struct sl_str *out) {
    return sl_render_svg_marked(plan, NULL, out);
}

int sl_render_svg_marked(const struct sl_plan *plan, const struct sl_mark *marks,
                         struct sl_str *out) {
    struct picture p = {.plan = plan, .marks = marks, .out = out};
    struct sl_layout *l = &p.layout;
    sl_layout_build(plan, l);
    p.left = sl_xcalloc((size_t)l->n_layers, sizeof *p.left);
    p.width = sl_xcalloc((size_t)l->n_layers, sizeof *p.width);
    set_extents(l);
    p.total_height = sl_layout_place(l, GAP) + 2 * MARGIN;
    set_columns(&p);
    sl_str_addf(out,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
                "viewBox=\"0 0 %.0f %.0f\" role=\"img\">\n<title>Pipeline ",
                ceil(p.total_width), ceil(p.total_height), ceil(p.total_width),
                ceil(p.total_height));
    add_escaped(out, plan->name);
    sl_str_addf(out, "</title>\n%s", style);
    for (int i = 0; i < l->n_lines; i++)
        add_line(&p, &l->lines[i]);
    for (int i = 0; i < l->n_real; i++)
        add_box(&p, i);
    sl_str_add(out, "</svg>\n");
    sl_layout_finish(l);
    free(p.left);
    free(p.width);
    return 0;
}
