/* Pictures of a plan for `sluice graph`. Each adds to `out` and returns 0. */
#ifndef GRAPH_RENDER_H
#define GRAPH_RENDER_H

#include "base/str.h"
#include "graph/plan.h"

/* Boxes and lines in UTF-8 for a terminal, from top to bottom; a plain list where that would be too
 * wide. */
int sl_render_text(const struct sl_plan *plan, struct sl_str *out);
/* Graphviz. */
int sl_render_dot(const struct sl_plan *plan, struct sl_str *out);
/* A self-contained SVG, from left to right, that follows the reader's light or dark scheme. */
int sl_render_svg(const struct sl_plan *plan, struct sl_str *out);

/* What became of a stage, for a picture of a run. */
struct sl_mark {
    /* "mark-ok", "mark-warn" or "mark-bad", CSS classes of the box; NULL: none */
    const char *class;
    char text[40]; /* above the box: "6 of 6" */
};

/* The same with a mark for each stage of the plan (NULL: none). */
int sl_render_svg_marked(const struct sl_plan *plan, const struct sl_mark *marks,
                         struct sl_str *out);

#endif
