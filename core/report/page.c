/* The page, see report.h: from what went wrong to everything that was done. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "report/html.h"
#include "report/report.h"
#include "report/style.h"

/* An item and what decides its place in the table. */
struct ranked {
    const json_t *item;
    size_t index;
    bool failed;
    double wall_s;
};

struct page {
    const json_t *state;
    const char *run_path;
    struct sl_str *out;
    struct ranked *items; /* failed ones first, then the slowest */
    size_t n_items, n_shown;
};

static void add(struct page *p, const char *html) {
    sl_str_add(p->out, html);
}

static void text(struct page *p, const char *value) {
    sl_html_text(p->out, value);
}

static void cell(struct page *p, const char *value) {
    add(p, "<td>");
    text(p, value);
    add(p, "</td>");
}

static void number_cell(struct page *p, double value) {
    sl_str_addf(p->out, "<td class=\"n\">%.0f</td>", value);
}

static void duration_cell(struct page *p, double seconds) {
    add(p, "<td class=\"n\">");
    sl_html_duration(p->out, seconds);
    add(p, "</td>");
}

/* ---- order of items ---- */

static double wall_of(const json_t *item) {
    json_t *stage, *attempt;
    size_t s, a;
    double sum = 0;
    json_array_foreach(json_object_get(item, "stages"), s, stage)
        json_array_foreach(json_object_get(stage, "attempts"), a, attempt) sum +=
        fmax(sl_json_num(attempt, "wall_s", 0), 0);
    return sum;
}

static int by_rank(const void *a, const void *b) {
    const struct ranked *x = a, *y = b;
    if (x->failed != y->failed)
        return x->failed ? -1 : 1;
    if (x->wall_s != y->wall_s)
        return x->wall_s > y->wall_s ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static void rank_items(struct page *p) {
    json_t *item;
    size_t i;
    p->n_items = json_array_size(json_object_get(p->state, "items"));
    p->n_shown = p->n_items < SL_REPORT_MAX_ITEMS ? p->n_items : SL_REPORT_MAX_ITEMS;
    p->items = sl_xcalloc(p->n_items + 1, sizeof *p->items);
    json_array_foreach(json_object_get(p->state, "items"), i, item) p->items[i] = (struct ranked){
        item, i, strcmp(sl_json_str(item, "state", ""), "failed") == 0, wall_of(item)};
    qsort(p->items, p->n_items, sizeof *p->items, by_rank);
}

/* ---- head ---- */

static void add_fact(struct page *p, const char *name, const char *value) {
    if (!*value)
        return;
    sl_str_addf(p->out, "<dt>%s</dt><dd>", name);
    if (value[0] == '/')
        sl_html_file(p->out, value, value);
    else
        text(p, value);
    add(p, "</dd>\n");
}

static void add_head(struct page *p) {
    const char *state = sl_json_str(p->state, "state", "");
    add(p, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
           "<meta name=\"viewport\" content=\"width=device-width\">\n<title>Run ");
    text(p, sl_json_str(p->state, "id", ""));
    sl_str_addf(p->out, "</title>\n<style>\n%s</style>\n</head>\n<body>\n<main>\n<h1>",
                sl_report_style);
    text(p, sl_json_str(p->state, "pipeline", ""));
    sl_str_addf(p->out, " <span class=\"badge %s\">", sl_html_tone(state));
    text(p, state);
    add(p, "</span></h1>\n");
}

static void add_counts(struct page *p) {
    sl_str_addf(p->out,
                "<p class=\"counts\"><b>%zu</b> %s: <b>%.0f</b> ok, <b>%.0f</b> failed, "
                "<b>%.0f</b> cancelled",
                p->n_items, p->n_items == 1 ? "item" : "items", sl_json_num(p->state, "ok", 0),
                sl_json_num(p->state, "failed", 0), sl_json_num(p->state, "cancelled", 0));
    double seconds = sl_json_num(p->state, "seconds", -1);
    if (seconds >= 0) {
        add(p, "; took <b>");
        sl_html_duration(p->out, seconds);
        add(p, "</b>");
    }
    add(p, "</p>\n");
}

static void add_facts(struct page *p) {
    static const struct {
        const char *name, *key;
    } facts[] = {{"Run", "id"},        {"Started", "started"}, {"Ended", "ended"},
                 {"Pipeline", "file"}, {"Outputs", "out"},     {"Containment", "containment"},
                 {"Limits", "limits"}, {"Sandbox", "sandbox"}, {"Watched folder", "watch"},
                 {"Sluice", "sluice"}};
    add(p, "<dl>\n");
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        add_fact(p, facts[i].name, sl_json_str(p->state, facts[i].key, ""));
    add_fact(p, "Run folder", p->run_path);
    add(p, "</dl>\n");
}

/* ---- failures and retries ---- */

static void add_log_link(struct page *p, const json_t *attempt) {
    const char *log = sl_json_str(attempt, "log", "");
    add(p, "<td>");
    if (*log) {
        sl_autofree char *path = sl_path_join(p->run_path, log);
        sl_html_file(p->out, path, "log");
    }
    add(p, "</td>");
}

static void open_table(struct page *p, const char *caption, const char *const *heads) {
    sl_str_addf(p->out, "<div class=\"wide\"><table>\n<caption>%s</caption>\n<thead><tr>", caption);
    for (; *heads; heads++)
        sl_str_addf(p->out, "<th scope=\"col\">%s</th>", *heads);
    add(p, "</tr></thead>\n<tbody>\n");
}

static void close_table(struct page *p) {
    add(p, "</tbody></table></div>\n");
}

static void add_failure(struct page *p, const struct ranked *r) {
    json_t *stage;
    size_t s;
    bool named = false;
    json_array_foreach(json_object_get(r->item, "stages"), s, stage) {
        if (strcmp(sl_json_str(stage, "state", ""), "failed") != 0)
            continue;
        const json_t *attempts = json_object_get(stage, "attempts");
        add(p, "<tr><th scope=\"row\">");
        text(p, sl_json_str(r->item, "name", ""));
        add(p, "</th>");
        cell(p, sl_json_str(stage, "name", ""));
        sl_html_outcome(p->out, sl_json_str(stage, "class", "failed"));
        cell(p, sl_json_str(stage, "message", ""));
        add_log_link(p, json_array_get(attempts, json_array_size(attempts) - 1));
        add(p, "</tr>\n");
        named = true;
    }
    if (named)
        return;
    add(p, "<tr><th scope=\"row\">");
    text(p, sl_json_str(r->item, "name", ""));
    add(p, "</th><td></td>");
    sl_html_outcome(p->out, "failed");
    cell(p, sl_json_str(r->item, "message", ""));
    add(p, "<td></td></tr>\n");
}

static void add_failures(struct page *p) {
    static const char *const heads[] = {"Item", "Stage", "Class", "Why", "Log", NULL};
    if (p->n_items == 0 || !p->items[0].failed)
        return;
    add(p, "<h2 id=\"failures\">What failed</h2>\n");
    open_table(p, "Items that failed, and why", heads);
    for (size_t i = 0; i < p->n_shown && p->items[i].failed; i++)
        add_failure(p, &p->items[i]);
    close_table(p);
}

/* The attempts of a stage that were followed by another one. */
static size_t add_retried(struct page *p, const struct ranked *r, const json_t *stage, bool write) {
    json_t *attempt;
    size_t a, n = 0;
    json_array_foreach(json_object_get(stage, "attempts"), a, attempt) {
        if (!json_object_get(attempt, "retry_delay_s"))
            continue;
        n++;
        if (!write)
            continue;
        add(p, "<tr><th scope=\"row\">");
        text(p, sl_json_str(r->item, "name", ""));
        add(p, "</th>");
        cell(p, sl_json_str(stage, "name", ""));
        number_cell(p, sl_json_num(attempt, "attempt", 0));
        sl_html_outcome(p->out, sl_json_str(attempt, "class", "unfinished"));
        cell(p, sl_json_str(attempt, "message", ""));
        duration_cell(p, sl_json_num(attempt, "retry_delay_s", 0));
        cell(p, sl_json_str(stage, "state", ""));
        add_log_link(p, attempt);
        add(p, "</tr>\n");
    }
    return n;
}

static size_t each_retry(struct page *p, bool write) {
    json_t *stage;
    size_t s, n = 0;
    for (size_t i = 0; i < p->n_shown; i++)
        json_array_foreach(json_object_get(p->items[i].item, "stages"), s, stage) n +=
            add_retried(p, &p->items[i], stage, write);
    return n;
}

static void add_retries(struct page *p) {
    static const char *const heads[] = {"Item",   "Stage",         "Attempt", "Ended as", "Why",
                                        "Waited", "The task then", "Log",     NULL};
    if (each_retry(p, false) == 0)
        return;
    add(p, "<h2 id=\"retries\">What was tried again</h2>\n");
    open_table(p, "Attempts that were followed by another one", heads);
    each_retry(p, true);
    close_table(p);
}

/* ---- stages ---- */

/* A bar in a cell: value of limit. */
static void add_meter(struct page *p, double value, double most, const char *class) {
    if (most <= 0)
        return;
    sl_str_addf(p->out,
                "<svg class=\"meter\" viewBox=\"0 0 100 8\" width=\"100\" height=\"8\" "
                "aria-hidden=\"true\">"
                "<rect class=\"rail\" width=\"100\" height=\"8\" rx=\"2\"/>"
                "<rect class=\"%s\" width=\"%.1f\" height=\"8\" rx=\"2\"/></svg>",
                class, 100 * fmin(value / most, 1));
}

/* Peak and limit of a memory, and the share: of the limit, else of the largest peak of any
 * stage. */
static void memory_cells(struct page *p, double peak, double limit, double largest) {
    add(p, "<td class=\"n\">");
    sl_html_size(p->out, peak);
    add(p, "</td><td class=\"n\">");
    sl_html_size(p->out, limit);
    add(p, "</td><td>");
    add_meter(p, peak, limit > 0 ? limit : largest,
              limit > 0 && peak > 0.9 * limit ? "bar warn" : "bar ok");
    add(p, "</td>");
}

/* The largest peaks of all stages; on a card 0 where none was seen and none is limited. */
struct largest {
    double host, card;
};

static void add_sum(struct page *p, const struct sl_stage_sum *s, const struct largest *largest) {
    add(p, "<tr><th scope=\"row\">");
    text(p, s->name);
    add(p, "</th>");
    cell(p, s->use);
    number_cell(p, (double)s->done);
    number_cell(p, (double)s->failed);
    number_cell(p, (double)s->absent);
    number_cell(p, (double)s->open);
    number_cell(p, (double)s->retries);
    duration_cell(p, s->wall_s);
    duration_cell(p, s->wall_max_s);
    duration_cell(p, s->cpu_s);
    memory_cells(p, s->peak_bytes, s->memory_limit, largest->host);
    if (largest->card > 0)
        memory_cells(p, s->gpu_peak_bytes, s->gpu_memory_limit, largest->card);
    add(p, "</tr>\n");
}

static void add_stages(struct page *p) {
    static const char *const heads[] = {"Stage",
                                        "Uses",
                                        "Done",
                                        "Failed",
                                        "Absent",
                                        "Not run",
                                        "Retries",
                                        "Wall, all",
                                        "Wall, most",
                                        "CPU, all",
                                        "Peak memory",
                                        "Limit",
                                        "Of the limit, else of the largest peak",
                                        "Peak on the card",
                                        "Limit",
                                        "Of the limit, else of the largest peak",
                                        NULL};
    enum { HEADS_WITHOUT_CARD = 13 };
    struct sl_stage_sum *sums;
    size_t n = sl_report_sums(p->state, &sums);
    struct largest largest = {0};
    for (size_t i = 0; i < n; i++) {
        largest.host = fmax(largest.host, sums[i].peak_bytes);
        largest.card = fmax(largest.card, fmax(sums[i].gpu_peak_bytes, sums[i].gpu_memory_limit));
    }
    const char *shown[sizeof heads / sizeof *heads];
    memcpy(shown, heads, sizeof heads);
    if (largest.card == 0)
        shown[HEADS_WITHOUT_CARD] = NULL;
    add(p, "<h2 id=\"stages\">Stages</h2>\n");
    open_table(p, "What each stage came to, over all items", shown);
    for (size_t i = 0; i < n; i++)
        add_sum(p, &sums[i], &largest);
    close_table(p);
    free(sums);
}

/* ---- items ---- */

static void add_attempt(struct page *p, const struct ranked *r, const json_t *stage,
                        const json_t *attempt) {
    double number = sl_json_num(attempt, "attempt", 0);
    add(p, "<tr id=\"");
    sl_html_attempt_id(p->out, r->index, sl_json_str(stage, "name", ""), number);
    add(p, "\" tabindex=\"-1\"><th scope=\"row\">");
    text(p, sl_json_str(stage, "name", ""));
    add(p, "</th>");
    number_cell(p, number);
    sl_html_outcome(p->out, sl_json_str(attempt, "class", "unfinished"));
    duration_cell(p, sl_json_num(attempt, "wall_s", -1));
    duration_cell(p, sl_json_num(attempt, "cpu_s", -1));
    add(p, "<td class=\"n\">");
    sl_html_size(p->out, sl_json_num(attempt, "peak_bytes", 0));
    add(p, "</td>");
    cell(p, sl_json_str(attempt, "message", ""));
    add_log_link(p, attempt);
    add(p, "</tr>\n");
}

static void add_outputs(struct page *p, const json_t *item) {
    json_t *path;
    size_t i;
    if (json_array_size(json_object_get(item, "outputs")) == 0)
        return;
    add(p, "<p>Outputs: ");
    json_array_foreach(json_object_get(item, "outputs"), i, path) {
        const char *whole = json_string_value(path), *slash = strrchr(whole, '/');
        if (i > 0)
            add(p, ", ");
        sl_html_file(p->out, whole, slash ? slash + 1 : whole);
    }
    add(p, "</p>\n");
}

/* The parameters that a manifest gives this item. */
static void add_params(struct page *p, json_t *item) {
    const char *name;
    json_t *value, *params = json_object_get(item, "params");
    int n = 0;
    if (json_object_size(params) == 0)
        return;
    add(p, "<p>Parameters: ");
    json_object_foreach(params, name, value) {
        add(p, n++ ? ", " : "");
        text(p, name);
        add(p, " = ");
        text(p, json_is_string(value) ? json_string_value(value) : "");
    }
    add(p, "</p>\n");
}

static void add_item(struct page *p, const struct ranked *r) {
    static const char *const heads[] = {"Stage",       "Attempt", "Outcome", "Wall", "CPU",
                                        "Peak memory", "Message", "Log",     NULL};
    const char *state = sl_json_str(r->item, "state", "");
    json_t *stage, *attempt;
    size_t s, a;
    sl_str_addf(p->out, "<details%s><summary><span class=\"badge %s\">",
                p->n_items <= 20 ? " open" : "", sl_html_tone(state));
    text(p, state);
    add(p, "</span> ");
    text(p, sl_json_str(r->item, "name", ""));
    add(p, " <span class=\"quiet\">");
    sl_html_duration(p->out, r->wall_s);
    add(p, " in all stages</span></summary>\n");
    add_params(p, (json_t *)r->item);
    add_outputs(p, r->item);
    open_table(p, "Attempts", heads);
    json_array_foreach(json_object_get(r->item, "stages"), s, stage)
        json_array_foreach(json_object_get(stage, "attempts"), a, attempt)
            add_attempt(p, r, stage, attempt);
    close_table(p);
    add(p, "</details>\n");
}

static void add_items(struct page *p) {
    add(p, "<h2 id=\"items\">Items</h2>\n<p class=\"quiet\">Failed ones first, then those that "
           "took longest.");
    if (p->n_shown < p->n_items)
        sl_str_addf(p->out, " %zu of %zu are listed.", p->n_shown, p->n_items);
    add(p, "</p>\n");
    for (size_t i = 0; i < p->n_shown; i++)
        add_item(p, &p->items[i]);
}

void sl_report_html(const json_t *state, const char *graph_svg, const char *run_path,
                    struct sl_str *out) {
    struct page p = {.state = state, .run_path = run_path, .out = out};
    rank_items(&p);
    add_head(&p);
    add_counts(&p);
    add_failures(&p);
    if (graph_svg) {
        add(&p, "<h2 id=\"pipeline\">Pipeline</h2>\n<figure class=\"wide\">");
        add(&p, graph_svg);
        add(&p, "<figcaption>Above each stage: items done, of all.</figcaption></figure>\n");
    }
    add(&p, "<h2 id=\"timeline\">Timeline</h2>\n");
    sl_html_timeline(out, state);
    add_retries(&p);
    add_stages(&p);
    add_items(&p);
    add(&p, "<h2 id=\"run\">The run</h2>\n");
    add_facts(&p);
    add(&p, "</main>\n</body>\n</html>\n");
    free(p.items);
}
