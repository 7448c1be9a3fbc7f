/* What tests share, see case.h: parameters, workers, jobs and how they are judged. */
#include "check/case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "check/payload.h"
#include "graph/param.h"
#include "ipc/portcheck.h"

#define SANITIZER_BYTES                                                                            \
    (1ull << 40) /* AddressSanitizer and ThreadSanitizer reserve more than that */

/* ---- Parameters ------------------------------------------------------------------------------ */

json_t *sl_case_param_value(const struct sl_param_desc *param, const char *text,
                            struct sl_err *err) {
    struct sl_arena arena = {0};
    struct sl_diags diags = {0};
    json_t *value = NULL;
    const struct sl_yaml *node =
        param->kind == SLUICE_PARAM_JSON
            ? sl_yaml_parse(text, strlen(text), &arena, &diags)
            : sl_yaml_scalar(&arena, (struct sl_pos){0}, SL_YAML_EITHER, text);
    if (node)
        sl_param_read(param, param->name, node, &diags, &value);
    if (!value)
        sl_err_set(err, SL_USAGE, "%s", diags.n ? diags.items[0].text : "cannot be read");
    sl_diags_finish(&diags);
    sl_arena_finish(&arena);
    return value;
}

/* What the options give for a parameter of the stage, by its full id or the part after the slash;
 * NULL: nothing. */
static const char *given(const struct sl_case *c, const char *param) {
    sl_autofree char *full = sl_xasprintf("%s.%s", c->stage->id, param);
    const char *bare = strchr(full, '/') + 1, *value = NULL;
    for (int i = 0; i < c->options->n_with; i++)
        if (strcmp(c->options->with[i].name, full) == 0 ||
            strcmp(c->options->with[i].name, bare) == 0)
            value = c->options->with[i].value;
    return value;
}

int sl_case_read_params(struct sl_case *c, struct sl_err *err) {
    c->params = json_object();
    for (int i = 0; i < c->stage->n_params; i++) {
        const struct sl_param_desc *p = &c->stage->params[i];
        const char *text = given(c, p->name);
        json_t *value = text ? sl_case_param_value(p, text, err) : sl_param_default(p);
        if (text && !value)
            return sl_err_wrap(err, "--with %s.%s=%s", c->stage->id, p->name, text);
        if (value)
            json_object_set_new(c->params, p->name, value);
        else if (p->required && !c->unusable[0])
            snprintf(c->unusable, sizeof c->unusable,
                     "parameter \"%s\" is required: --with %s.%s=VALUE", p->name, c->stage->id,
                     p->name);
    }
    c->params_text = sl_json_line(c->params);
    return 0;
}

/* ---- Workers --------------------------------------------------------------------------------- */

struct sl_drive *sl_case_spawn(struct sl_case *c, const char *params, uint64_t data_limit) {
    const struct sl_conform_options *o = c->options;
    struct sl_drive_spec spec = {.worker = o->worker,
                                 .plugin = c->path,
                                 .stage = c->stage->id,
                                 .share = o->share,
                                 .params = params ? params : c->params_text,
                                 .scratch = c->folder,
                                 .wrap = o->wrap,
                                 .containment = c->containment,
                                 .no_init = o->in_process || o->wrap,
                                 .stop_fd = o->stop_fd,
                                 .data_limit = data_limit};
    struct sl_drive *d = NULL;
    struct sl_err err;
    if (sl_drive_create(&spec, &d, &err) < 0)
        sl_case_fail(c, "no worker can be run: %s", err.msg);
    return d;
}

static const char *ms_text(int ms, char buf[32]) {
    snprintf(buf, 32, "%g s", ms / 1000.0);
    return buf;
}

bool sl_case_judge_create(struct sl_case *c, const char *what, enum sl_drive_end end, int status,
                          const char *message) {
    char limit[32];
    if (end == SL_DRIVE_SILENT)
        sl_case_fail(c, "%s: create() did not end within %s", what,
                     ms_text(sl_case_limit_ms(c), limit));
    else if (end == SL_DRIVE_DIED)
        sl_case_fail(c, "%s: in create(), %s", what, message);
    else if (end == SL_DRIVE_ENDED && status < 0 && strstr(message, "without saying why"))
        sl_case_fail(c, "%s: create() refuses it without a message (host->error)", what);
    else if (end == SL_DRIVE_ENDED && status < 0 && !*message)
        sl_case_fail(c, "%s: create() refuses it with an empty message", what);
    else if (end == SL_DRIVE_ENDED && status == SLUICE_INTERNAL)
        sl_case_fail(c, "%s: create() fails as internal, which means a defect: %s", what, message);
    return !sl_case_failed(c);
}

struct sl_drive *sl_case_worker(struct sl_case *c, const char *params) {
    bool own_params = !params || strcmp(params, c->params_text) == 0;
    if (c->shared && own_params && sl_drive_alive(c->shared))
        return sl_steal(&c->shared);
    struct sl_drive *d = sl_case_spawn(c, params, 0);
    char message[SL_ERR_SIZE] = "";
    int status = 0;
    if (!d)
        return NULL;
    enum sl_drive_end end = sl_drive_ready(d, sl_case_limit_ms(c), &status, message);
    if (end == SL_DRIVE_ENDED && status == 0)
        return d;
    if (sl_case_judge_create(c, params ? "these parameters" : "default parameters", end, status,
                             message))
        sl_case_fail(c, "a second create() with the same parameters is refused: %s", message);
    sl_drive_destroy(d);
    return NULL;
}

void sl_case_release(struct sl_case *c, struct sl_drive *d) {
    struct sl_err err;
    if (!d)
        return;
    if (*sl_drive_complaint(d))
        sl_case_fail(c, "%s", sl_drive_complaint(d));
    if (c->options->in_process && sl_drive_alive(d) && !c->shared) {
        c->shared = d;
        return;
    }
    if (!sl_case_failed(c) && sl_drive_alive(d) && sl_drive_stop(d, SL_CASE_STOP_MS, &err) < 0)
        sl_case_fail(c, "after the last job, %s", err.msg);
    sl_drive_destroy(d);
}

bool sl_case_sanitized(struct sl_case *c, struct sl_drive *d) {
    struct sl_drive_usage usage;
    sl_drive_usage(d, &usage);
    if (sl_drive_data_seen(d) < SANITIZER_BYTES)
        return false;
    sl_case_skip(c, "built with a sanitizer, which uses memory in ways of its own");
    return true;
}

/* ---- Jobs ------------------------------------------------------------------------------------ */

const char *sl_case_file(struct sl_case *c, const struct sl_str *bytes, struct sl_arena *arena) {
    const char *path = sl_arena_printf(arena, "%s/payload-%d", c->folder, ++c->n_files);
    struct sl_err err;
    if (sl_write_file(path, sl_str_text(bytes), bytes->len, &err) < 0)
        sl_case_fail(c, "no payload can be written: %s", err.msg);
    return path;
}

static void add_input(struct sl_case *c, const struct sl_port_desc *port, bool large,
                      struct sl_arena *arena, struct sl_drive_job *job) {
    sl_autostr struct sl_str bytes = {0};
    struct sl_drive_input *in = &job->inputs[job->n_inputs++];
    in->port = strcmp(port->name, "*") == 0 ? "extra" : port->name;
    in->type = strcmp(port->type, "*") == 0 ? SLUICE_TYPE_TEXT : port->type;
    if (large)
        sl_payload_large(in->type, &bytes);
    else
        sl_payload_typical(in->type, &bytes);
    in->path = sl_case_file(c, &bytes, arena);
}

static void add_output(struct sl_drive_job *job, const char *port, const char *type,
                       bool optional) {
    if (job->n_outputs < SL_DRIVE_MAX_PORTS)
        job->outputs[job->n_outputs++] =
            (struct sl_drive_output){.port = port, .type = type, .optional = optional, .fd = -1};
}

void sl_case_job(struct sl_case *c, enum sl_case_inputs which, struct sl_arena *arena,
                 struct sl_drive_job *ret) {
    const struct sl_stage_desc *s = c->stage;
    const char *name;
    json_t *type;
    *ret = (struct sl_drive_job){.item = "item"};
    for (int i = 0; i < s->n_inputs && i < SL_DRIVE_MAX_PORTS; i++)
        if (which != SL_INPUTS_REQUIRED || !s->inputs[i].optional)
            add_input(c, &s->inputs[i], which == SL_INPUTS_LARGE, arena, ret);
    for (int i = 0; i < s->n_outputs; i++)
        if (strcmp(s->outputs[i].name, "*") != 0)
            add_output(ret, s->outputs[i].name, s->outputs[i].type, s->outputs[i].optional);
    for (int i = 0; i < s->n_outputs; i++)
        if (strcmp(s->outputs[i].name, "*") == 0)
            json_object_foreach(json_object_get(c->params, "outputs"), name,
                                type) if (json_is_string(type))
                add_output(ret, name, json_string_value(type), false);
}

void sl_case_run_job(struct sl_case *c, struct sl_drive *d, struct sl_drive_job *job) {
    struct sl_err err;
    if (sl_drive_send(d, job, &err) < 0)
        sl_case_fail(c, "a job cannot be sent: %s", err.msg);
    else
        sl_drive_wait(d, job, sl_case_limit_ms(c));
}

/* ---- Judging --------------------------------------------------------------------------------- */

static void *map_output(const struct sl_drive_output *out) {
    return out->len ? mmap(NULL, out->len, PROT_READ, MAP_SHARED, out->fd, 0) : MAP_FAILED;
}

static bool judge_output(struct sl_case *c, const struct sl_drive_output *out, const char *what) {
    struct stat st;
    struct sl_err err;
    if (!out->committed) {
        if (!out->optional)
            sl_case_fail(c, "%s: it ended well without output \"%s\"", what, out->port);
        return !sl_case_failed(c);
    }
    if (fstat(out->fd, &st) < 0 || (uint64_t)st.st_size != out->len) {
        sl_case_fail(c, "%s: output \"%s\" is not as long as what was committed", what, out->port);
        return false;
    }
    void *data = map_output(out);
    if (sl_port_check(out->type, data == MAP_FAILED ? "" : data, out->len, &err) < 0)
        sl_case_fail(c, "%s: output \"%s\" is not of type %s: %s", what, out->port, out->type,
                     err.msg);
    if (data != MAP_FAILED)
        munmap(data, out->len);
    return !sl_case_failed(c);
}

static bool judge_failure(struct sl_case *c, const struct sl_drive_job *job,
                          enum sl_case_input_kind kind, const char *what) {
    const char *cls = sl_class_name(job->status);
    if (!job->message[0] || strstr(job->message, "without saying why"))
        sl_case_fail(c, "%s: it fails as %s without a message (host->fail)", what, cls);
    else if (strpbrk(job->message, "\n\r"))
        sl_case_fail(c, "%s: its message is more than one line", what);
    else if (job->status == SLUICE_INTERNAL && kind == SL_VALID_INPUT)
        sl_case_fail(c, "%s: it fails as internal, which means a defect: %s", what, job->message);
    else if (job->status == SLUICE_INTERNAL)
        sl_case_warn(c, "%s: it fails as internal, which is retried; bad input is SLUICE_INPUT: %s",
                     what, job->message);
    return !sl_case_failed(c);
}

static void judge_death(struct sl_case *c, const struct sl_drive *d, const struct sl_drive_job *job,
                        const char *what) {
    if (sl_drive_exit_status(d) == SL_CASE_OUT_OF_MEMORY)
        sl_case_note(c, "%s: memory ran out in the worker itself, which said so", what);
    else
        sl_case_fail(c, "%s: %s", what, job->message);
}

bool sl_case_judge(struct sl_case *c, struct sl_drive *d, struct sl_drive_job *job,
                   enum sl_case_input_kind kind, const char *what) {
    char limit[32];
    if (sl_case_failed(c))
        return false;
    if (*sl_drive_complaint(d))
        sl_case_fail(c, "%s: %s", what, sl_drive_complaint(d));
    else if (job->end == SL_DRIVE_SILENT)
        sl_case_fail(c, "%s: it did not end within %s", what, ms_text(sl_case_limit_ms(c), limit));
    else if (job->end == SL_DRIVE_DIED)
        judge_death(c, d, job, what);
    else if (job->end == SL_DRIVE_ENDED && job->status < 0)
        judge_failure(c, job, kind, what);
    for (int i = 0; job->end == SL_DRIVE_ENDED && job->status == 0 && i < job->n_outputs; i++)
        if (!judge_output(c, &job->outputs[i], what))
            break;
    return !sl_case_failed(c);
}

static bool same_output(const struct sl_drive_output *a, const struct sl_drive_output *b) {
    if (a->committed != b->committed || !a->committed)
        return a->committed == b->committed;
    if (a->len != b->len)
        return false;
    void *x = map_output(a), *y = map_output(b);
    bool same = a->len == 0 || (x != MAP_FAILED && y != MAP_FAILED && memcmp(x, y, a->len) == 0);
    if (x != MAP_FAILED)
        munmap(x, a->len);
    if (y != MAP_FAILED)
        munmap(y, b->len);
    return same;
}

bool sl_case_same_outputs(const struct sl_drive_job *a, const struct sl_drive_job *b) {
    bool same = a->n_outputs == b->n_outputs && a->status == b->status;
    for (int i = 0; same && i < a->n_outputs; i++)
        same = same_output(&a->outputs[i], &b->outputs[i]);
    return same;
}
