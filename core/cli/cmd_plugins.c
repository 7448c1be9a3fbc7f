/* sluice plugins: what is installed, and what a stage takes, gives and understands. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "cli/cli.h"

static const char help[] =
    "Without an argument: every plugin and its stages; plugins that cannot be used, with the "
    "reason.\n"
    "With NAME: the stages of one plugin. With NAME/STAGE: ports, parameters, defaults.\n\n"
    "Plugins are found in --plugins DIR, SLUICE_PLUGIN_PATH and the installation's "
    "lib/sluice/plugins.";

static void print_stage_line(const struct sl_stage_desc *s) {
    sl_autostr struct sl_str line = {0};
    sl_str_add(&line, "  ");
    sl_str_add_column(&line, s->id, 20);
    sl_str_addf(&line, " %s", s->summary);
    puts(sl_str_text(&line));
}

static void print_plugin(const struct sl_plugin_desc *p) {
    if (p->broken) {
        printf("%s\n  cannot be used: %s\n", p->path, p->broken);
        return;
    }
    printf("%s %s (%s) %s\n", p->name, p->version, p->licence, p->path);
    for (int i = 0; i < p->n_stages; i++)
        print_stage_line(&p->stages[i]);
}

static void print_ports(const char *title, const struct sl_port_desc *ports, int n) {
    printf("\n%s\n", title);
    if (n == 0)
        puts("  none");
    for (int i = 0; i < n; i++) {
        sl_autostr struct sl_str line = {0};
        sl_str_add(&line, "  ");
        sl_str_add_column(&line, ports[i].name, 15);
        sl_str_add(&line, " ");
        sl_str_add_column(&line, ports[i].type, 14);
        sl_str_addf(&line, "%s%s", ports[i].optional ? "(optional) " : "", ports[i].doc);
        puts(sl_str_text(&line));
    }
}

static void add_range(struct sl_str *line, const struct sl_param_desc *p) {
    if (p->ranged)
        sl_str_addf(line, ", %g to %g", p->min, p->max);
    if (*p->unit)
        sl_str_addf(line, " %s", p->unit);
    if (p->n_choices) {
        sl_str_add(line, ": ");
        sl_str_add_list(line, p->choices, (size_t)p->n_choices, "or");
    }
}

static void print_param(const struct sl_param_desc *p) {
    sl_autostr struct sl_str line = {0};
    sl_str_add(&line, "  ");
    sl_str_add_column(&line, p->name, 15);
    sl_str_add(&line, " ");
    sl_str_add(&line, sl_param_kind_name(p->kind));
    add_range(&line, p);
    if (p->required)
        sl_str_add(&line, " (required)");
    else if (p->default_value)
        sl_str_addf(&line, " (default %s)", *p->default_value ? p->default_value : "empty");
    printf("%s\n                  %s\n", sl_str_text(&line), p->doc);
}

static void print_stage(const struct sl_stage_desc *s) {
    printf("%s version %s\n%s\n", s->id, s->version, s->summary);
    if (s->flags & SLUICE_STAGE_CUDA)
        puts("runs on: cpu, cuda");
    if (s->flags & SLUICE_STAGE_DETERMINISTIC)
        puts("deterministic: same inputs and parameters give the same bytes");
    if (s->max_jobs > 1)
        printf("takes up to %d items at a time in one process\n", s->max_jobs);
    print_ports("inputs", s->inputs, s->n_inputs);
    print_ports("outputs", s->outputs, s->n_outputs);
    puts("\nparameters");
    if (s->n_params == 0)
        puts("  none");
    for (int i = 0; i < s->n_params; i++)
        print_param(&s->params[i]);
}

static json_t *ports_json(const struct sl_port_desc *ports, int n) {
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_pack("{s:s,s:s,s:b,s:s}", "name", ports[i].name, "type",
                                              ports[i].type, "optional", ports[i].optional, "doc",
                                              ports[i].doc));
    return list;
}

static json_t *param_json(const struct sl_param_desc *p) {
    json_t *one =
        json_pack("{s:s,s:s,s:b,s:s,s:s}", "name", p->name, "kind", sl_param_kind_name(p->kind),
                  "required", p->required, "unit", p->unit, "doc", p->doc);
    sl_json_set(one, "default", p->default_value ? json_string(p->default_value) : NULL);
    if (p->ranged) {
        sl_json_set(one, "min", json_real(p->min));
        sl_json_set(one, "max", json_real(p->max));
    }
    json_t *choices = json_array();
    for (int i = 0; i < p->n_choices; i++)
        json_array_append_new(choices, json_string(p->choices[i]));
    sl_json_set(one, "choices", choices);
    return one;
}

static json_t *stage_json(const struct sl_stage_desc *s) {
    json_t *params = json_array();
    for (int i = 0; i < s->n_params; i++)
        json_array_append_new(params, param_json(&s->params[i]));
    return json_pack("{s:s,s:s,s:s,s:i,s:b,s:b,s:o,s:o,s:o}", "id", s->id, "version", s->version,
                     "summary", s->summary, "max_jobs", s->max_jobs, "cuda",
                     !!(s->flags & SLUICE_STAGE_CUDA), "deterministic",
                     !!(s->flags & SLUICE_STAGE_DETERMINISTIC), "inputs",
                     ports_json(s->inputs, s->n_inputs), "outputs",
                     ports_json(s->outputs, s->n_outputs), "params", params);
}

static void print_plugin_json(const struct sl_plugin_desc *p, const char *only_stage) {
    sl_autojson json_t *one = json_object();
    json_t *stages = json_array();
    sl_json_set(one, "path", sl_json_text(p->path));
    sl_json_set(one, "broken", p->broken ? sl_json_text(p->broken) : NULL);
    if (!p->broken) {
        sl_json_set(one, "name", json_string(p->name));
        sl_json_set(one, "version", json_string(p->version));
        sl_json_set(one, "licence", json_string(p->licence));
        sl_json_set(one, "build", json_string(p->build));
    }
    for (int i = 0; i < p->n_stages; i++)
        if (!only_stage || strcmp(p->stages[i].id, only_stage) == 0)
            json_array_append_new(stages, stage_json(&p->stages[i]));
    sl_json_set(one, "stages", stages);
    sl_autofree char *line = sl_json_line(one);
    puts(line);
}

static const struct sl_plugin_desc *find_plugin(const struct sl_catalog *c, const char *name) {
    for (int i = 0; i < c->n_plugins; i++)
        if (!c->plugins[i]->broken && strcmp(c->plugins[i]->name, name) == 0)
            return c->plugins[i];
    return NULL;
}

static int not_found(const struct sl_catalog *c, const char *name) {
    const char *names[512];
    size_t n = 0;
    for (int i = 0; i < c->n_plugins; i++) {
        if (!c->plugins[i]->broken && n < 512)
            names[n++] = c->plugins[i]->name;
        for (int k = 0; k < c->plugins[i]->n_stages && n < 512; k++)
            names[n++] = c->plugins[i]->stages[k].id;
    }
    const char *near = sl_nearest(name, names, n);
    fprintf(stderr, "sluice: there is no plugin or stage \"%s\"", name);
    if (near)
        fprintf(stderr, " (did you mean \"%s\"?)", near);
    fputs("; `sluice plugins` lists them\n", stderr);
    return SL_EXIT_USAGE;
}

static int show_one(const struct sl_catalog *c, const char *name, bool json) {
    const struct sl_stage_desc *stage = sl_catalog_stage(c, name);
    const struct sl_plugin_desc *plugin = stage ? stage->plugin : find_plugin(c, name);
    if (!plugin)
        return not_found(c, name);
    if (json)
        print_plugin_json(plugin, stage ? name : NULL);
    else if (stage)
        print_stage(stage);
    else
        print_plugin(plugin);
    return SL_EXIT_OK;
}

int sl_cmd_plugins(const struct sl_command *self, int argc, char **argv) {
    struct sl_words folders = {0}, rest = {0};
    struct sl_catalog catalog = {0};
    bool json = false, refresh = false;
    const struct sl_option table[] = {
        {"json", 0, SL_OPT_FLAG, &json, NULL, "one JSON object a plugin and line"},
        {"plugins", 0, SL_OPT_LIST, &folders, "DIR", "look for plugins here first"},
        {"refresh", 0, SL_OPT_FLAG, &refresh, NULL, "load and describe every plugin again"},
        {0},
    };
    int status = sl_cli_parse(self, help, table, argc, argv, &rest);
    if (status < 0)
        status = sl_cli_at_most(self, &rest, 1);
    if (status < 0 && (status = sl_cli_load_catalog(&folders, refresh, &catalog)) == 0) {
        if (rest.n > 0)
            status = show_one(&catalog, rest.items[0], json);
        else
            for (int i = 0; i < catalog.n_plugins; i++)
                json ? print_plugin_json(catalog.plugins[i], NULL)
                     : print_plugin(catalog.plugins[i]);
    }
    sl_catalog_finish(&catalog);
    free(folders.items);
    free(rest.items);
    return status;
}
