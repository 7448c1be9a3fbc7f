/* sluice stage: one stage by hand, under a debugger if wanted. It runs as a pipeline of one stage
 * that is made here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "cli/cli.h"

static const char help[] = "Runs one stage once. Every --in gives a port a file: the file itself "
                           "for ports of type file/1, else a file in\n"
                           "the format of the port's type. Every output is written as "
                           "DIR/<port>.<json|txt|safetensors>.\n\n"
                           "--wrap puts a command before the worker's, which then uses this "
                           "terminal: --wrap 'gdb --args',\n"
                           "--wrap valgrind.";

struct arguments {
    const char *out, *wrap;
    struct sl_words inputs, with, plugins, rest;
    bool json, quiet, keep;
};

/* "name=value" words as names and values that live in the arena. */
struct pairs {
    const char **names, **values;
    int n;
};

static int split_all(const struct sl_words *words, const char *option, struct sl_arena *arena,
                     struct pairs *ret, struct sl_err *err) {
    ret->names = sl_arena_alloc(arena, (size_t)(words->n + 1) * sizeof *ret->names);
    ret->values = sl_arena_alloc(arena, (size_t)(words->n + 1) * sizeof *ret->values);
    for (int i = 0; i < words->n; i++) {
        sl_autofree char *name = NULL;
        int rc = sl_cli_split(words->items[i], option, &name, &ret->values[i], err);
        if (rc < 0)
            return rc;
        if (!sl_is_identifier(name))
            return sl_err_set(err, SL_USAGE, "--%s %s: \"%s\" is not a name", option,
                              words->items[i], name);
        ret->names[i] = sl_arena_strdup(arena, name);
        ret->n = i + 1;
    }
    return 0;
}

static const char *port_type(const struct sl_stage_desc *desc, const char *port) {
    for (int i = 0; i < desc->n_inputs; i++)
        if (strcmp(desc->inputs[i].name, port) == 0)
            return desc->inputs[i].type;
    return SLUICE_TYPE_FILE;
}

/* The pipeline file of this one stage. Values of parameters come as settings, so that they are
 * typed as usual. */
static void write_pipeline(const char *use, const struct sl_stage_desc *desc,
                           const struct pairs *inputs, const struct pairs *with,
                           struct sl_str *out) {
    sl_str_add(out, "sluice: 1\nname: stage\n");
    sl_str_add(out, inputs->n ? "inputs:\n" : "");
    for (int i = 0; i < inputs->n; i++)
        sl_str_addf(out, "  %s: { type: \"%s\" }\n", inputs->names[i],
                    desc ? port_type(desc, inputs->names[i]) : SLUICE_TYPE_FILE);
    sl_str_add(out, with->n ? "params:\n" : "");
    for (int i = 0; i < with->n; i++)
        sl_str_addf(out, "  %s: {}\n", with->names[i]);
    sl_str_addf(out, "stages:\n  stage:\n    use: \"%s\"\n    in: {", use);
    for (int i = 0; i < inputs->n; i++)
        sl_str_addf(out, "%s %s: inputs.%s", i ? "," : "", inputs->names[i], inputs->names[i]);
    sl_str_add(out, " }\n    with: {");
    for (int i = 0; i < with->n; i++)
        sl_str_addf(out, "%s %s: \"${params.%s}\"", i ? "," : "", with->names[i], with->names[i]);
    sl_str_add(out, " }\n    retry: { attempts: 1 }\n");
}

static int run_stage(const struct arguments *a, const struct pairs *inputs,
                     const struct sl_plan *plan, const char *text, struct sl_arena *arena) {
    const char **paths = sl_arena_alloc(arena, (size_t)(inputs->n + 1) * sizeof *paths),
               **wrap = NULL;
    for (int i = 0; i < inputs->n; i++) {
        sl_autofree char *absolute = sl_path_absolute(inputs->values[i]);
        paths[i] = sl_arena_strdup(arena, absolute);
    }
    if (a->wrap)
        wrap = sl_cli_wrap(a->wrap, arena);
    struct sl_item item = {.name = "stage", .file = inputs->n ? paths[0] : ""};
    sl_autofree char *out = sl_path_absolute(a->out);
    return sl_cli_execute(&(struct sl_cli_run){.plan = plan,
                                               .out_dir = out,
                                               .items = &item,
                                               .n_items = 1,
                                               .inputs = paths,
                                               .wrap = wrap,
                                               .json = a->json,
                                               .quiet = a->quiet,
                                               .keep_artifacts = a->keep,
                                               .outputs_by_port = true,
                                               .pipeline_text = text,
                                               .settings = &a->with,
                                               .plugins = &a->plugins});
}

/* Settings "name=value" of --with, as --set words: they are the same text. */
static int load_and_run(const struct arguments *a, struct sl_arena *arena) {
    struct pairs inputs = {0}, with = {0};
    struct sl_err err = {0};
    struct sl_loaded l = {0};
    struct sl_catalog catalog = {0};
    sl_autostr struct sl_str text = {0};
    if (split_all(&a->inputs, "in", arena, &inputs, &err) < 0 ||
        split_all(&a->with, "with", arena, &with, &err) < 0) {
        sl_cli_error(&err);
        return SL_EXIT_USAGE;
    }
    int status = sl_cli_load_catalog(&a->plugins, false, &catalog);
    if (status == 0) {
        write_pipeline(a->rest.items[0], sl_catalog_stage(&catalog, a->rest.items[0]), &inputs,
                       &with, &text);
        status = sl_cli_load_plan("stage", sl_str_text(&text), &a->plugins, &a->with, &l);
    }
    if (status == 0)
        status = run_stage(a, &inputs, l.plan, sl_str_text(&text), arena);
    sl_loaded_finish(&l);
    sl_catalog_finish(&catalog);
    return status;
}

int sl_cmd_stage(const struct sl_command *self, int argc, char **argv) {
    struct arguments a = {.out = "."};
    const struct sl_option table[] = {
        {"in", 0, SL_OPT_LIST, &a.inputs, "PORT=FILE", "what an input port gets"},
        {"with", 0, SL_OPT_LIST, &a.with, "NAME=VALUE", "a parameter of the stage"},
        {"out", 'o', SL_OPT_TEXT, &a.out, "DIR", "where outputs are written (default: here)"},
        {"wrap", 0, SL_OPT_TEXT, &a.wrap, "COMMAND", "run the worker under a command"},
        {"keep-artifacts", 0, SL_OPT_FLAG, &a.keep, NULL,
         "keep the payloads in the run folder too"},
        {"json", 0, SL_OPT_FLAG, &a.json, NULL, "print events as JSON lines on standard output"},
        {"quiet", 'q', SL_OPT_FLAG, &a.quiet, NULL, "print failures only"},
        {"plugins", 0, SL_OPT_LIST, &a.plugins, "DIR", "look for plugins here first"},
        {0},
    };
    struct sl_arena arena = {0};
    int status = sl_cli_parse(self, help, table, argc, argv, &a.rest);
    if (status < 0 && (a.rest.n != 1 || strpbrk(a.rest.items[0], "\"\\\n"))) {
        fprintf(stderr, "sluice: expected one stage, such as audio/decode\nusage: sluice %s\n",
                self->usage);
        status = SL_EXIT_USAGE;
    }
    if (status < 0)
        status = load_and_run(&a, &arena);
    sl_arena_finish(&arena);
    free(a.inputs.items);
    free(a.with.items);
    free(a.plugins.items);
    free(a.rest.items);
    return status;
}
