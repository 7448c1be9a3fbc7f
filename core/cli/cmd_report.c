/* sluice report: a run as a page to look at, or as a trace. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "graph/render.h"
#include "report/report.h"
#include "run/rundir.h"
#include "run/state.h"

static const struct sl_stage_sum *find_sum(const struct sl_stage_sum *sums, size_t n,
                                           const char *name) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(sums[i].name, name) == 0)
            return &sums[i];
    return NULL;
}

static struct sl_mark mark_of(const struct sl_stage_sum *sum) {
    struct sl_mark mark = {0};
    if (!sum)
        return mark;
    mark.class = sum->failed > 0                                        ? "mark-bad"
                 : sum->absent > 0 || sum->open > 0 || sum->retries > 0 ? "mark-warn"
                                                                        : "mark-ok";
    snprintf(mark.text, sizeof mark.text, "%zu of %zu", sum->done, sum->n);
    return mark;
}

/* The run's pipeline as it was, with its --set, its folders of plugins behind those given now. */
static bool load(const char *path, const json_t *state, const struct sl_words *plugins,
                 struct sl_loaded *l) {
    const json_t *command = json_object_get(state, "command");
    struct sl_words settings = sl_cli_words(json_object_get(command, "set")),
                    folders = sl_cli_words(json_object_get(command, "plugins")), all = {0};
    for (int i = 0; i < plugins->n + folders.n; i++) {
        const char *folder = i < plugins->n ? plugins->items[i] : folders.items[i - plugins->n];
        if (i >= plugins->n && access(folder, R_OK) < 0)
            continue; /* gone since */
        SL_PUSH_ROOM(all.items, all.n, all.cap);
        all.items[all.n++] = folder;
    }
    int status = sl_cli_load_plan(path, NULL, &all, &settings, l);
    free(all.items);
    free(folders.items);
    free(settings.items);
    return status == 0;
}

/* Adds a picture of the run's pipeline with what became of its stages; false where it cannot be
 * drawn: its plugins may be gone. */
static bool draw(const struct sl_rundir *dir, const json_t *state, const struct sl_words *plugins,
                 struct sl_str *out) {
    sl_autofree char *path = sl_path_join(dir->path, "pipeline.yaml");
    struct sl_loaded l = {0};
    struct sl_stage_sum *sums = NULL;
    if (access(path, R_OK) < 0)
        return false;
    bool loaded = load(path, state, plugins, &l);
    if (loaded) {
        size_t n = sl_report_sums(state, &sums);
        struct sl_mark *marks = sl_xcalloc((size_t)l.plan->n_stages + 1, sizeof *marks);
        for (int i = 0; i < l.plan->n_stages; i++)
            marks[i] = mark_of(find_sum(sums, n, l.plan->stages[i].name));
        sl_render_svg_marked(l.plan, marks, out);
        free(marks);
    } else {
        fprintf(stderr, "sluice: warning: the report has no picture of the pipeline\n");
    }
    free(sums);
    sl_loaded_finish(&l);
    return loaded;
}

/* Writes the text whole, or to standard output where the path is "-"; then says where. */
static int put(const char *path, const struct sl_str *text) {
    struct sl_err err = {0};
    if (strcmp(path, "-") == 0) {
        fwrite(text->data, 1, text->len, stdout);
        return SL_EXIT_OK;
    }
    if (sl_write_file(path, text->data, text->len, &err) < 0) {
        sl_cli_error(&err);
        return SL_EXIT_FAILED;
    }
    puts(path);
    return SL_EXIT_OK;
}

static int write_page(const struct sl_rundir *dir, const json_t *state,
                      const struct sl_words *plugins, const char *out) {
    sl_autostr struct sl_str page = {0}, svg = {0};
    sl_autofree char *inside = sl_path_join(dir->path, "report.html");
    bool drawn = draw(dir, state, plugins, &svg);
    sl_report_html(state, drawn ? sl_str_text(&svg) : NULL, dir->path, &page);
    return put(out ? out : inside, &page);
}

static int write_trace(const json_t *state, const char *out) {
    sl_autostr struct sl_str trace = {0};
    sl_report_trace(state, &trace);
    return put(out, &trace);
}

int sl_cmd_report(const struct sl_command *self, int argc, char **argv) {
    struct sl_words rest = {0}, plugins = {0};
    struct sl_rundir dir = {.lock_fd = -1};
    sl_autojson json_t *state = NULL;
    const char *out = NULL, *trace = NULL;
    const struct sl_option table[] = {
        {"output", 'o', SL_OPT_TEXT, &out, "FILE", "where to write the page; - is standard output"},
        {"plugins", 0, SL_OPT_LIST, &plugins, "DIR",
         "look for plugins here first, for the picture"},
        {"trace", 0, SL_OPT_TEXT, &trace, "FILE",
         "write a trace for Perfetto or chrome://tracing instead"},
        {0},
    };
    int status = sl_cli_parse(
        self,
        "Writes a run as one page of HTML that needs nothing else: its pipeline with outcomes, a\n"
        "timeline, failures, retries, memory, and every attempt. Without -o it goes into the "
        "run's\n"
        "folder; its path is printed. RUN is an id, the beginning of one, or \"last\".",
        table, argc, argv, &rest);
    if (status < 0)
        status = sl_cli_open_run(self, &rest, 1, &dir, &state);
    if (status < 0)
        status = trace ? write_trace(state, trace) : write_page(&dir, state, &plugins, out);
    sl_rundir_finish(&dir);
    free(rest.items);
    free(plugins.items);
    return status;
}
