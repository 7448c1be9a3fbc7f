/*
 * The timeline as SVG: time to the right, a lane for each worker that ran at the same time, a bar
 * for each attempt in the colour of its outcome, named where there is room.
 */
#include <math.h>

#include "report/html.h"
#include "report/lanes.h"
#include "report/report.h"

#define WIDTH       1200.0
#define LEFT        8.0
#define LANE_HEIGHT 24.0
#define BAR_HEIGHT  18.0
#define AXIS_HEIGHT 26.0
#define LETTER_PX   6.6
#define MAX_LANES   200 /* drawn; what is in others is in the tables */

/* A round step that gives at most ten marks. */
static double step_of(double length) {
    double step = pow(10, floor(log10(fmax(length, 1e-3) / 10)));
    while (length / step > 10)
        step *= length / step > 20 ? 5 : 2;
    return step;
}

static double x_of(const struct sl_lanes *l, double seconds) {
    return LEFT + (WIDTH - 2 * LEFT) * seconds / fmax(l->length_s, 1e-3);
}

static void add_axis(struct sl_str *out, const struct sl_lanes *l, double height) {
    double step = step_of(l->length_s);
    for (int i = 0; i * step <= l->length_s * 1.0001; i++) {
        double x = x_of(l, i * step);
        sl_str_addf(
            out,
            "<path class=\"grid\" d=\"M%.1f %.1fV%.1f\"/><text class=\"tick\" x=\"%.1f\" y=\"16\">",
            x, AXIS_HEIGHT - 4, height, x + 3);
        i == 0 ? sl_str_add(out, "0") : sl_html_duration(out, i * step);
        sl_str_add(out, "</text>\n");
    }
}

static void add_label(struct sl_str *out, const struct sl_bar *bar) {
    sl_html_text(out, sl_json_str(bar->stage, "name", ""));
    sl_str_add(out, " of ");
    sl_html_text(out, sl_json_str(bar->item, "name", ""));
    sl_str_addf(out, ", attempt %.0f, ", sl_json_num(bar->attempt, "attempt", 0));
    sl_html_text(out, sl_json_str(bar->attempt, "class", "unfinished"));
    sl_str_add(out, ", ");
    sl_html_duration(out, bar->end_s - bar->start_s);
}

static void add_bar(struct sl_str *out, const struct sl_lanes *l, const struct sl_bar *bar) {
    const char *stage = sl_json_str(bar->stage, "name", "");
    double x = x_of(l, bar->start_s), width = fmax(x_of(l, bar->end_s) - x, 1.5);
    double y = AXIS_HEIGHT + LANE_HEIGHT * bar->lane;
    sl_str_add(out, "<a href=\"#");
    sl_html_attempt_id(out, bar->item_index, stage, sl_json_num(bar->attempt, "attempt", 0));
    sl_str_add(out, "\" aria-label=\"");
    add_label(out, bar);
    sl_str_add(out, "\"><title>");
    add_label(out, bar);
    sl_str_addf(out,
                "</title><rect class=\"bar %s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                "height=\"%.0f\" rx=\"2\"/>",
                sl_html_tone(sl_json_str(bar->attempt, "class", "unfinished")), x, y, width,
                BAR_HEIGHT);
    if (width > LETTER_PX * sl_utf8_columns(stage) + 8) {
        sl_str_addf(out, "<text class=\"name\" x=\"%.1f\" y=\"%.1f\">", x + 4, y + 13);
        sl_html_text(out, stage);
        sl_str_add(out, "</text>");
    }
    sl_str_add(out, "</a>\n");
}

static void add_caption(struct sl_str *out, const struct sl_lanes *l) {
    sl_str_add(
        out,
        "<figcaption>Each lane is a worker process, each bar an attempt: <span "
        "class=\"ok\">ok</span>, "
        "<span class=\"warn\">cancelled or to be tried again</span>, <span "
        "class=\"bad\">failed</span>, "
        "<span class=\"open\">not ended</span>. A bar leads to its row in the table of items.");
    if (l->n_left_out > 0)
        sl_str_addf(out, " The longest %zu attempts are shown, %zu are not.", l->n_bars,
                    l->n_left_out);
    if (l->n_lanes > MAX_LANES)
        sl_str_addf(out, " %d lanes are not shown.", l->n_lanes - MAX_LANES);
    sl_str_add(out, "</figcaption>\n");
}

void sl_html_timeline(struct sl_str *out, const json_t *state) {
    struct sl_lanes lanes;
    sl_lanes_init(&lanes, state, SL_REPORT_MAX_BARS);
    int n_shown = lanes.n_lanes < MAX_LANES ? lanes.n_lanes : MAX_LANES;
    double height = AXIS_HEIGHT + LANE_HEIGHT * n_shown + 4;
    sl_str_addf(
        out,
        "<figure class=\"wide\"><svg class=\"timeline\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" "
        "height=\"%.0f\" role=\"group\" aria-label=\"Timeline\">\n",
        WIDTH, height, WIDTH, height);
    add_axis(out, &lanes, height);
    for (size_t i = 0; i < lanes.n_bars; i++)
        if (lanes.bars[i].lane < MAX_LANES)
            add_bar(out, &lanes, &lanes.bars[i]);
    sl_str_add(out, "</svg>\n");
    add_caption(out, &lanes);
    sl_str_add(out, "</figure>\n");
    sl_lanes_finish(&lanes);
}
