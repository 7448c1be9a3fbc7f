/* Describes a plugin, see describe.h. Reads its constant data only; the one code of its that runs
 * is constructors. */
#include "worker/describe.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/mem.h"
#include "worker/check.h"
#include "worker/loader.h"

#define PRIVATE_FD_FROM 200

static json_t *text(const char *s) {
    return sl_json_text(s ? s : "");
}

static json_t *describe_ports(const struct sluice_port *const *ports) {
    json_t *list = json_array();
    for (int i = 0; ports && ports[i]; i++) {
        json_t *o = json_object();
        sl_json_set(o, "name", text(ports[i]->name));
        sl_json_set(o, "type", text(ports[i]->type));
        sl_json_set(o, "optional", json_boolean(ports[i]->flags & SLUICE_PORT_OPTIONAL));
        sl_json_set(o, "doc", text(ports[i]->doc));
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *describe_param(const struct sluice_param *p) {
    json_t *o = json_object(), *choices = json_array();
    sl_json_set(o, "name", text(p->name));
    sl_json_set(o, "kind", text(sl_check_kind_name(p->kind)));
    sl_json_set(o, "required", json_boolean(p->flags & SLUICE_PARAM_REQUIRED));
    if (p->default_value)
        sl_json_set(o, "default", text(p->default_value));
    if (p->flags & SLUICE_PARAM_RANGED) {
        sl_json_set(o, "min", json_real(p->min));
        sl_json_set(o, "max", json_real(p->max));
    }
    for (int i = 0; p->choices && p->choices[i]; i++)
        json_array_append_new(choices, text(p->choices[i]));
    sl_json_set(o, "choices", choices);
    sl_json_set(o, "unit", text(p->unit));
    sl_json_set(o, "doc", text(p->doc));
    return o;
}

static json_t *describe_stage(const struct sluice_stage *s) {
    json_t *o = json_object(), *flags = json_array(), *params = json_array();
    if (s->flags & SLUICE_STAGE_DETERMINISTIC)
        json_array_append_new(flags, json_string("deterministic"));
    if (s->flags & SLUICE_STAGE_CUDA)
        json_array_append_new(flags, json_string("cuda"));
    for (int i = 0; s->params && s->params[i]; i++)
        json_array_append_new(params, describe_param(s->params[i]));
    sl_json_set(o, "id", text(s->id));
    sl_json_set(o, "version", text(s->version));
    sl_json_set(o, "summary", text(s->summary));
    sl_json_set(o, "flags", flags);
    sl_json_set(o, "max_jobs", json_integer(s->max_jobs ? s->max_jobs : 1));
    sl_json_set(o, "inputs", describe_ports(s->inputs));
    sl_json_set(o, "outputs", describe_ports(s->outputs));
    sl_json_set(o, "params", params);
    return o;
}

json_t *sl_describe_plugin(const struct sluice_plugin *p) {
    json_t *o = json_object(), *stages = json_array();
    for (int i = 0; p->stages[i]; i++)
        json_array_append_new(stages, describe_stage(p->stages[i]));
    sl_json_set(o, "name", text(p->name));
    sl_json_set(o, "version", text(p->version));
    sl_json_set(o, "licence", text(p->licence));
    sl_json_set(o, "abi", json_pack("[i, i]", (int)p->abi_major, (int)p->abi_minor));
    sl_json_set(o, "stages", stages);
    return o;
}

static int print_plugin(const struct sluice_plugin *plugin, int fd) {
    sl_autojson json_t *description = sl_describe_plugin(plugin);
    sl_autofree char *line = sl_json_line(description);
    struct sl_err err;
    if (sl_write_all(fd, line, strlen(line), &err) < 0 || sl_write_all(fd, "\n", 1, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return SL_DESCRIBE_EXIT_LOAD;
    }
    return 0;
}

int sl_describe(const char *path, int fd) {
    fd = fcntl(fd < 0 ? STDOUT_FILENO : fd, F_DUPFD_CLOEXEC, PRIVATE_FD_FROM);
    if (fd < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) {
        perror("no place for the description");
        return SL_DESCRIBE_EXIT_LOAD;
    }
    sl_autofree char *full = sl_path_absolute(path);
    const struct sluice_plugin *plugin;
    struct sl_err err;
    bool load_failed = false;
    if (sl_loader_open(full, &plugin, &load_failed, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return load_failed ? SL_DESCRIBE_EXIT_LOAD : SL_DESCRIBE_EXIT_WRONG;
    }
    return print_plugin(plugin, fd);
}
