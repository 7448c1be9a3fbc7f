/* sluice check and sluice graph: a pipeline, looked at and not run. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/confine.h"
#include "cli/cli.h"
#include "cli/fit.h"
#include "cli/graphviz.h"
#include "graph/render.h"
#include "proc/limits.h"
#include "proc/machine.h"

struct arguments {
    struct sl_words settings, plugins, rest;
    const char *format;
};

static void finish(struct arguments *a, struct sl_loaded *l) {
    sl_loaded_finish(l);
    free(a->settings.items);
    free(a->plugins.items);
    free(a->rest.items);
}

/* Parses the command line and loads the one pipeline it names. -1: loaded; else the exit status. */
static int load(const struct sl_command *self, const char *help, const struct sl_option *table,
                int argc, char **argv, struct arguments *a, struct sl_loaded *l) {
    int status = sl_cli_parse(self, help, table, argc, argv, &a->rest);
    if (status >= 0)
        return status;
    if (a->rest.n != 1) {
        fprintf(stderr, "sluice: expected one pipeline file\nusage: sluice %s\n", self->usage);
        return SL_EXIT_USAGE;
    }
    status = sl_cli_load_plan(a->rest.items[0], NULL, &a->plugins, &a->settings, l);
    return status == 0 ? -1 : status;
}

static void print_limits(void) {
    struct sl_limiter limiter;
    sl_limiter_init(&limiter);
    printf("limits: %s\n", limiter.text);
    sl_limiter_finish(&limiter);
}

/* Looks at the machine; at its cards only where a stage could use one. With `into`, it is a key of
 * that object, else it is printed. */
static int look_at_plan(const struct sl_plan *plan, json_t *into) {
    struct sl_install install = sl_install_find();
    struct sl_machine_room room;
    struct sl_gpus gpus = {0};
    struct sl_peaks peaks;
    sl_autostr struct sl_str out = {0};
    cpu_set_t set;
    int cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    sl_machine_room(&room);
    sl_peaks_load(&peaks);
    if (sl_plan_wants_cards(plan))
        sl_gpus_look(install.worker, &gpus);
    struct sl_machine machine = {room.capacity, &gpus, &peaks};
    json_t *found = into ? sl_fit_json(plan, &machine, cpus) : NULL;
    bool fits = into ? json_is_true(json_object_get(found, "fits"))
                     : sl_fit_print(plan, &machine, cpus, &out);
    sl_json_set(into, "plan", found);
    fputs(sl_str_text(&out), stdout);
    sl_gpus_finish(&gpus);
    sl_peaks_finish(&peaks);
    sl_install_finish(&install);
    return fits ? SL_EXIT_OK : SL_EXIT_USAGE;
}

/* Names of the stages that are not confined; or of those that are, but have the network. */
static json_t *open_stages(const struct sl_plan *plan, bool network) {
    json_t *names = json_array();
    for (int s = 0; s < plan->n_stages; s++) {
        const struct sl_plan_stage *stage = &plan->stages[s];
        if (network ? stage->sandbox && stage->network : !stage->sandbox)
            json_array_append_new(names, sl_json_text(stage->name));
    }
    return names;
}

static int print_json(const struct sl_plan *plan, const char *file, int n_outputs, bool with_plan) {
    struct sl_confinement c = sl_confinement_detect();
    struct sl_limiter limiter;
    sl_autojson json_t *o = json_object();
    sl_limiter_init(&limiter);
    sl_json_set(o, "file", sl_json_text(file));
    sl_json_set(o, "pipeline", sl_json_text(plan->name));
    sl_json_set(o, "n_stages", json_integer(plan->n_stages - n_outputs));
    sl_json_set(o, "n_outputs", json_integer(n_outputs));
    sl_json_set(o, "limits", sl_json_text(limiter.text));
    sl_json_set(o, "sandbox", sl_json_text(sl_confinement_text(&c)));
    sl_json_set(o, "not_confined", open_stages(plan, false));
    sl_json_set(o, "with_network", open_stages(plan, true));
    int status = with_plan ? look_at_plan(plan, o) : SL_EXIT_OK;
    sl_autofree char *line = sl_json_line(o);
    puts(line);
    sl_limiter_finish(&limiter);
    return status;
}

/* Which way stages are confined, and those that are not. */
static void print_sandbox(const struct sl_plan *plan) {
    struct sl_confinement c = sl_confinement_detect();
    sl_autostr struct sl_str open = {0}, network = {0};
    for (int s = 0; s < plan->n_stages; s++) {
        const struct sl_plan_stage *stage = &plan->stages[s];
        struct sl_str *list = !stage->sandbox ? &open : stage->network ? &network : NULL;
        if (list)
            sl_str_addf(list, "%s%s", list->len ? ", " : "", stage->name);
    }
    printf("sandbox: %s\n", sl_confinement_text(&c));
    if (open.len)
        printf("  not confined: %s\n", open.data);
    if (network.len)
        printf("  with network: %s\n", network.data);
}

static int print_text(const struct sl_plan *plan, const char *file, int n_outputs, bool with_plan) {
    printf("%s: ok: pipeline \"%s\", %d stages, %d outputs\n", file, plan->name,
           plan->n_stages - n_outputs, n_outputs);
    print_limits();
    print_sandbox(plan);
    return with_plan ? look_at_plan(plan, NULL) : SL_EXIT_OK;
}

int sl_cmd_check(const struct sl_command *self, int argc, char **argv) {
    struct arguments a = {0};
    struct sl_loaded l = {0};
    bool plan = false, json = false;
    const struct sl_option table[] = {
        {"plan", 0, SL_OPT_FLAG, &plan, NULL, "say whether and how it fits this machine"},
        {"json", 0, SL_OPT_FLAG, &json, NULL, "the same as one JSON object"},
        {"set", 0, SL_OPT_LIST, &a.settings, "NAME=VALUE", "set a parameter of the pipeline"},
        {"plugins", 0, SL_OPT_LIST, &a.plugins, "DIR", "look for plugins here first"},
        {0},
    };
    int status = load(
        self,
        "Checks a pipeline against the plugins that are installed and prints every error at once,\n"
        "each with its position. Nothing is run. With --plan, also what each stage needs of this\n"
        "machine, what fits beside what, and what can never run here. Exit status: 0 without "
        "errors,\n"
        "else 2, also where the pipeline does not fit.",
        table, argc, argv, &a, &l);
    if (status < 0) {
        int outputs = 0;
        for (int i = 0; i < l.plan->n_stages; i++)
            outputs += l.plan->stages[i].is_output;
        status = (json ? print_json : print_text)(l.plan, a.rest.items[0], outputs, plan);
    }
    finish(&a, &l);
    return status;
}

/* By Graphviz where it is there and works, else by our own layout. */
static void render_svg(const struct sl_plan *plan, struct sl_str *out) {
    sl_autostr struct sl_str dot = {0};
    struct sl_err err = {0};
    sl_render_dot(plan, &dot);
    int rc = sl_graphviz_svg(&dot, SL_DOT_LIMIT_MS, out, &err);
    if (rc < 0)
        fprintf(stderr, "sluice: warning: %s; drawn without Graphviz\n", err.msg);
    if (rc <= 0)
        sl_render_svg(plan, out);
}

static int render(const struct sl_plan *plan, const char *format) {
    sl_autostr struct sl_str out = {0};
    if (strcmp(format, "text") == 0)
        sl_render_text(plan, &out);
    else if (strcmp(format, "dot") == 0)
        sl_render_dot(plan, &out);
    else if (strcmp(format, "svg") == 0)
        render_svg(plan, &out);
    else {
        fprintf(stderr, "sluice: --format %s: expected text, dot or svg\n", format);
        return SL_EXIT_USAGE;
    }
    fputs(sl_str_text(&out), stdout);
    return SL_EXIT_OK;
}

int sl_cmd_graph(const struct sl_command *self, int argc, char **argv) {
    struct arguments a = {.format = "text"};
    struct sl_loaded l = {0};
    const struct sl_option table[] = {
        {"format", 0, SL_OPT_TEXT, &a.format, "FORMAT", "text (default), dot or svg"},
        {"set", 0, SL_OPT_LIST, &a.settings, "NAME=VALUE", "set a parameter of the pipeline"},
        {"plugins", 0, SL_OPT_LIST, &a.plugins, "DIR", "look for plugins here first"},
        {0},
    };
    int status = load(self,
                      "Draws a pipeline: its stages, and what goes from one to the next. svg is "
                      "laid out by\nGraphviz (dot) where that is installed.",
                      table, argc, argv, &a, &l);
    if (status < 0)
        status = render(l.plan, a.format);
    finish(&a, &l);
    return status;
}
