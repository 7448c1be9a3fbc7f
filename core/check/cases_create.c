/* Tests of create() and destroy(): with default parameters, and with each parameter at its bounds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "check/case.h"

#define MAX_VALUES 40 /* tried for one parameter */
#define LONG_TEXT  4096
#define LARGE_REAL 1e300

/* ---- Defaults -------------------------------------------------------------------------------- */

/* What create() says to the parameters of the stage: READY, or a refusal with a reason, which is a
 * reason to skip. */
static void test_defaults(struct sl_case *c) {
    char message[SL_ERR_SIZE] = "";
    int status = 0;
    if (c->unusable[0] && c->usable == SL_STAGE_UNKNOWN) {
        sl_case_skip(c, "%s", c->unusable);
        return;
    }
    struct sl_drive *d = sl_case_spawn(c, NULL, 0);
    if (!d)
        return;
    enum sl_drive_end end = sl_drive_ready(d, sl_case_limit_ms(c), &status, message);
    if (sl_case_judge_create(c, "default parameters", end, status, message) && status < 0)
        sl_case_skip(c, "create() refuses them as %s: %s", sl_class_name(status), message);
    sl_case_release(c, d);
}

static void test_destroy(struct sl_case *c) {
    struct sl_arena arena = {0};
    struct sl_drive_job job;
    struct sl_drive *d = sl_case_spawn(c, NULL, 0);
    char message[SL_ERR_SIZE];
    int status = 0;
    struct sl_err err;
    if (d && sl_drive_ready(d, sl_case_limit_ms(c), &status, message) == SL_DRIVE_ENDED &&
        status == 0) {
        sl_case_job(c, SL_INPUTS_ALL, &arena, &job);
        sl_case_run_job(c, d, &job);
        sl_drive_job_finish(&job);
        if (!sl_drive_alive(d) || job.end != SL_DRIVE_ENDED)
            sl_case_skip(
                c, "a typical job does not end, or takes the process along, see inputs.typical");
        else if (sl_drive_stop(d, SL_CASE_STOP_MS, &err) < 0)
            sl_case_fail(c, "%s", err.msg);
    }
    sl_drive_destroy(d);
    sl_arena_finish(&arena);
}

/* ---- Bounds ---------------------------------------------------------------------------------- */

/* Values of one parameter, as the JSON that a worker receives. */
struct values {
    json_t *items[MAX_VALUES]; /* owned */
    int n;
};

static void add(struct values *v, json_t *value) {
    if (v->n < MAX_VALUES)
        v->items[v->n++] = value;
    else
        json_decref(value);
}

static void add_integers(struct values *v, const struct sl_param_desc *p) {
    bool size = p->kind == SLUICE_PARAM_SIZE;
    if (p->ranged) {
        add(v, json_integer((json_int_t)p->min));
        add(v, json_integer((json_int_t)(p->max < 9e18 ? p->max : 9e18)));
        return;
    }
    add(v, json_integer(0));
    add(v, json_integer(1));
    add(v, json_integer(INT64_MAX));
    if (!size)
        add(v, json_integer(-1));
    if (!size)
        add(v, json_integer(INT64_MIN));
}

static void add_reals(struct values *v, const struct sl_param_desc *p) {
    bool duration = p->kind == SLUICE_PARAM_DURATION;
    add(v, json_real(p->ranged ? p->min : 0));
    add(v, json_real(p->ranged ? p->max : duration ? 1e9 : LARGE_REAL));
    if (!p->ranged && !duration)
        add(v, json_real(-LARGE_REAL));
}

static void add_texts(struct values *v, const struct sl_param_desc *p) {
    static const char *const texts[] = {"", "/no/such/folder/of-sluice", "Grüße \xf0\x9f\x8e\xa4",
                                        "%s%n%d"};
    for (int i = 0; i < p->n_choices; i++)
        add(v, json_string(p->choices[i]));
    if (p->n_choices)
        return;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        add(v, json_string(texts[i]));
    char text[LONG_TEXT + 1];
    memset(text, 'x', LONG_TEXT);
    text[0] = '/'; /* as a path it leads nowhere that can be written */
    text[LONG_TEXT] = 0;
    add(v, json_string(text));
}

static void add_structures(struct values *v) {
    static const char *const texts[] = {
        "{}", "[]", "[null]", "[[[[]]]]", "{\"\":{}}", "{\"a\":[1,2.5,\"x\",null,true]}", "[\"\"]"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        add(v, json_loads(texts[i], JSON_DECODE_ANY, NULL));
}

static void fill(struct values *v, const struct sl_param_desc *p) {
    switch (p->kind) {
    case SLUICE_PARAM_BOOL:
        add(v, json_true());
        add(v, json_false());
        break;
    case SLUICE_PARAM_INT:
    case SLUICE_PARAM_SIZE:
        add_integers(v, p);
        break;
    case SLUICE_PARAM_FLOAT:
    case SLUICE_PARAM_DURATION:
        add_reals(v, p);
        break;
    case SLUICE_PARAM_STRING:
        add_texts(v, p);
        break;
    default:
        add_structures(v);
    }
}

/* Only where the declaration itself says what is accepted is the value also tried with a job. */
static bool is_bounded(const struct sl_param_desc *p) {
    return p->ranged || p->n_choices > 0 || p->kind == SLUICE_PARAM_BOOL;
}

static void run_job(struct sl_case *c, struct sl_drive *d, const char *what) {
    struct sl_arena arena = {0};
    struct sl_drive_job job;
    sl_case_job(c, SL_INPUTS_ALL, &arena, &job);
    sl_case_run_job(c, d, &job);
    sl_case_judge(c, d, &job, SL_VALID_INPUT, what);
    sl_drive_job_finish(&job);
    sl_arena_finish(&arena);
}

/* True where create() took it. */
static bool try_value(struct sl_case *c, const struct sl_param_desc *p, json_t *value) {
    sl_autojson json_t *params = json_copy(c->params);
    json_object_set(params, p->name, value);
    sl_autofree char *text = sl_json_line(params), *shown = sl_json_line(value);
    sl_autofree char *what =
        sl_xasprintf("%s = %.60s%s", p->name, shown, strlen(shown) > 60 ? "..." : "");
    char message[SL_ERR_SIZE] = "";
    int status = 0;
    struct sl_err err;
    struct sl_drive *d = sl_case_spawn(c, text, 0);
    if (!d)
        return false;
    enum sl_drive_end end = sl_drive_ready(d, sl_case_limit_ms(c), &status, message);
    bool ready =
        sl_case_judge_create(c, what, end, status, message) && end == SL_DRIVE_ENDED && status == 0;
    if (ready && is_bounded(p))
        run_job(c, d, what);
    if (ready && !sl_case_failed(c) && sl_drive_alive(d) &&
        sl_drive_stop(d, SL_CASE_STOP_MS, &err) < 0)
        sl_case_fail(c, "%s: %s", what, err.msg);
    sl_drive_destroy(d);
    return ready;
}

static void test_bounds(struct sl_case *c) {
    int tried = 0, taken = 0;
    for (int i = 0; i < c->stage->n_params && !sl_case_failed(c); i++) {
        struct values v = {.n = 0};
        fill(&v, &c->stage->params[i]);
        for (int k = 0; k < v.n; k++) {
            if (!sl_case_failed(c))
                taken += try_value(c, &c->stage->params[i], v.items[k]);
            tried++;
            json_decref(v.items[k]);
        }
    }
    if (tried)
        sl_case_note(c, "%d values, %d taken", tried, taken);
    else
        sl_case_skip(c, "it has no parameters");
}

const struct sl_test sl_create_tests[] = {
    {"create.defaults", "create() takes the default parameters", .per_stage = true,
     .run = test_defaults},
    {"create.destroy", "after a job it ends in order, with exit status 0", .per_stage = true,
     .needs_worker = true, .run = test_destroy},
    {"create.bounds", "parameters at their bounds are taken or refused with a reason",
     .per_stage = true, .needs_worker = true, .run = test_bounds},
    {0},
};
