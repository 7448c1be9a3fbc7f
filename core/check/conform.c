/*
 * Conformance, see conform.h: the table of tests, and the loop over it. What belongs to the plugin
 * as a whole is tested once, the rest for each stage. A plugin that does not load or describe
 * itself has no stages, so only the first kind is run.
 */
#include "check/conform.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/io.h"
#include "check/case.h"
#include "proc/registry.h"

#define MAX_PLUGIN_BYTES (1u << 30)

static const struct sl_test *const families[] = {
    sl_elf_tests,    sl_load_tests,   sl_describe_tests, sl_create_tests, sl_input_tests,
    sl_repeat_tests, sl_cancel_tests, sl_memory_tests,   sl_batch_tests};
enum { N_FAMILIES = sizeof families / sizeof *families };

static const struct sl_test *nth_test(int i) {
    for (int f = 0; f < N_FAMILIES; f++)
        for (const struct sl_test *t = families[f]; t->name; t++)
            if (i-- == 0)
                return t;
    return NULL;
}

const char *sl_conform_test(int i, const char **ret_what, bool *ret_per_stage) {
    const struct sl_test *t = nth_test(i);
    if (!t)
        return NULL;
    *ret_what = t->what;
    *ret_per_stage = t->per_stage;
    return t->name;
}

const char *sl_conform_outcome_name(enum sl_conform_outcome o) {
    static const char *const names[] = {"ok", "warn", "skip", "FAIL"};
    return names[o];
}

/* ---- Verdicts -------------------------------------------------------------------------------- */

/* A verdict replaces a weaker one, and a note. */
static void verdict(struct sl_case *c, enum sl_conform_outcome outcome, const char *fmt,
                    va_list args) {
    if (c->why.len && c->outcome >= outcome)
        return;
    c->outcome = outcome;
    sl_str_clear(&c->why);
    sl_str_vaddf(&c->why, fmt, args);
}

#define VERDICT(name, outcome)                                                                     \
    void name(struct sl_case *c, const char *fmt, ...) {                                           \
        va_list args;                                                                              \
        va_start(args, fmt);                                                                       \
        verdict(c, outcome, fmt, args);                                                            \
        va_end(args);                                                                              \
    }
VERDICT(sl_case_fail, SL_CONFORM_FAIL)
VERDICT(sl_case_warn, SL_CONFORM_WARN)
VERDICT(sl_case_skip, SL_CONFORM_SKIP)
VERDICT(sl_case_note, SL_CONFORM_OK)

int sl_case_limit_ms(const struct sl_case *c) {
    return c->options->wrap ? 1 << 30 : c->options->limit_s * 1000;
}

/* ---- Which tests are wanted ------------------------------------------------------------------ */

/* "inputs.empty" is named by itself and by "inputs". */
static bool names_test(const char *word, const char *test) {
    size_t len = strlen(word);
    return strncmp(word, test, len) == 0 && (!test[len] || test[len] == '.');
}

static bool names_stage(const char *word, size_t len, const char *stage) {
    return stage && strlen(stage) == len && strncmp(word, stage, len) == 0;
}

static bool names(const char *word, const char *stage, const char *test) {
    const char *colon = strchr(word, ':');
    if (colon)
        return names_stage(word, (size_t)(colon - word), stage) && names_test(colon + 1, test);
    return names_test(word, test) || names_stage(word, strlen(word), stage);
}

static bool is_wanted(const struct sl_case *c, const char *stage, const char *test) {
    bool wanted = c->options->n_only == 0;
    for (int i = 0; i < c->options->n_only; i++)
        wanted |= names(c->options->only[i], stage, test);
    for (int i = 0; i < c->options->n_except; i++)
        wanted &= !names(c->options->except[i], stage, test);
    return wanted;
}

static bool names_anything(const struct sl_case *c, const char *word) {
    const struct sl_test *t;
    for (int i = 0; (t = nth_test(i)); i++) {
        if (names(word, NULL, t->name))
            return true;
        for (int s = 0; c->plugin && t->per_stage && s < c->plugin->n_stages; s++)
            if (names(word, c->plugin->stages[s].id, t->name))
                return true;
    }
    return false;
}

static int check_words(const struct sl_case *c, const char *const *words, int n,
                       struct sl_err *err) {
    for (int i = 0; i < n; i++)
        if (!names_anything(c, words[i]))
            return sl_err_set(err, SL_USAGE,
                              "there is no test or stage \"%s\"; --list names the tests", words[i]);
    return 0;
}

/* ---- Running --------------------------------------------------------------------------------- */

static bool is_stopped(const struct sl_case *c) {
    struct pollfd p = {c->options->stop_fd, POLLIN, 0};
    return poll(&p, 1, 0) == 1;
}

/* Whether create() takes the default parameters; asked once a stage. */
static void find_usable(struct sl_case *c) {
    if (c->usable != SL_STAGE_UNKNOWN)
        return;
    if (c->unusable[0]) {
        c->usable = SL_STAGE_SKIPPED;
        return;
    }
    struct sl_drive *d = sl_case_spawn(c, NULL, 0);
    int status = 0;
    enum sl_drive_end end =
        d ? sl_drive_ready(d, sl_case_limit_ms(c), &status, c->unusable) : SL_DRIVE_DIED;
    bool refused = end == SL_DRIVE_ENDED && status < 0 && status != SLUICE_INTERNAL;
    c->usable = end == SL_DRIVE_ENDED && status == 0 ? SL_STAGE_USABLE
                : refused                            ? SL_STAGE_SKIPPED
                                                     : SL_STAGE_BROKEN;
    sl_drive_destroy(d);
}

static bool can_run(struct sl_case *c, const struct sl_test *t) {
    if (!t->needs_worker)
        return true;
    find_usable(c);
    c->outcome = SL_CONFORM_OK;
    sl_str_clear(&c->why);
    if (c->usable == SL_STAGE_SKIPPED)
        sl_case_skip(c, "%s", c->unusable);
    else if (c->usable == SL_STAGE_BROKEN)
        sl_case_skip(c, "create() fails with the default parameters, see create.defaults");
    return c->usable == SL_STAGE_USABLE;
}

static void run_test(struct sl_case *c, const struct sl_test *t, struct sl_conform_summary *sum) {
    int64_t begin_ms = sl_now_ms();
    c->outcome = SL_CONFORM_OK;
    sl_str_clear(&c->why);
    if (can_run(c, t))
        t->run(c);
    if (is_stopped(c)) {
        sum->stopped = true;
        return;
    }
    struct sl_conform_result result = {.test = t->name,
                                       .stage = c->stage ? c->stage->id : NULL,
                                       .outcome = c->outcome,
                                       .ms = sl_now_ms() - begin_ms,
                                       .why = sl_str_text(&c->why)};
    sum->counts[c->outcome]++;
    if (c->options->report)
        c->options->report(c->options->to, &result);
}

static void run_all(struct sl_case *c, bool per_stage, struct sl_conform_summary *sum) {
    const struct sl_test *t;
    for (int i = 0; (t = nth_test(i)) && !sum->stopped; i++)
        if (t->per_stage == per_stage && is_wanted(c, c->stage ? c->stage->id : NULL, t->name))
            run_test(c, t, sum);
}

static void leave_stage(struct sl_case *c) {
    sl_drive_destroy(c->shared);
    c->shared = NULL;
    json_decref(c->params);
    free(c->params_text);
    c->params = NULL;
    c->params_text = NULL;
    c->unusable[0] = 0;
    c->usable = SL_STAGE_UNKNOWN;
    c->stage = NULL;
}

static int run_stages(struct sl_case *c, struct sl_conform_summary *sum, struct sl_err *err) {
    int rc = 0;
    for (int i = 0; rc == 0 && c->plugin && i < c->plugin->n_stages && !sum->stopped; i++) {
        c->stage = &c->plugin->stages[i];
        rc = sl_case_read_params(c, err);
        if (rc == 0)
            run_all(c, true, sum);
        leave_stage(c);
    }
    return rc;
}

/* ---- Setting up ------------------------------------------------------------------------------ */

/* Every --with names a stage of the plugin, or all of them, and a parameter there. */
static int check_with(const struct sl_case *c, struct sl_err *err) {
    for (int i = 0; c->plugin && !c->plugin->broken && i < c->options->n_with; i++) {
        const char *name = c->options->with[i].name, *dot = strrchr(name, '.');
        bool found = false;
        for (int s = 0; dot && s < c->plugin->n_stages; s++) {
            const struct sl_stage_desc *stage = &c->plugin->stages[s];
            if (!names_stage(name, (size_t)(dot - name), stage->id) &&
                !names_stage(name, (size_t)(dot - name), strchr(stage->id, '/') + 1))
                continue;
            for (int p = 0; p < stage->n_params; p++)
                found |= strcmp(stage->params[p].name, dot + 1) == 0;
        }
        if (!found)
            return sl_err_set(
                err, SL_USAGE,
                "--with %s: the plugin has no such parameter; expected STAGE.PARAMETER=VALUE",
                name);
    }
    return 0;
}

/* Values that do not fit are found before anything is run. */
static int check_values(struct sl_case *c, struct sl_err *err) {
    int rc = 0;
    for (int i = 0; rc == 0 && c->plugin && i < c->plugin->n_stages; i++) {
        c->stage = &c->plugin->stages[i];
        rc = sl_case_read_params(c, err);
        leave_stage(c);
    }
    return rc;
}

static int make_folder(struct sl_case *c, struct sl_err *err) {
    const char *tmp = getenv("TMPDIR");
    c->folder = sl_xasprintf("%s/sluice-check-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (mkdtemp(c->folder))
        return 0;
    int rc =
        sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s: no temporary folder", c->folder);
    free(c->folder);
    c->folder = NULL;
    return rc;
}

static int set_up(struct sl_case *c, struct sl_err *err) {
    const struct sl_conform_options *o = c->options;
    c->path = sl_path_absolute(o->plugin);
    c->containment = o->in_process || o->wrap ? SL_CONTAIN_KEEPER : sl_containment_detect();
    int rc = sl_read_file(c->path, MAX_PLUGIN_BYTES, &c->file, &c->file_len, err);
    if (rc == 0)
        rc = make_folder(c, err);
    if (rc < 0)
        return rc;
    struct sl_err why = {0};
    if (sl_elf_read(c->file, c->file_len, &c->elf, &why) < 0)
        snprintf(c->elf_failure, sizeof c->elf_failure, "%s", why.msg);
    sl_case_inspect(c);
    if (!c->inspection
             .load_failed) /* else the description would fail in the same way, and as slowly */
        rc = sl_registry_probe(&(struct sl_registry_options){.worker = o->worker, .no_cache = true},
                               c->path, &c->catalog, err);
    if (rc == 0 && c->catalog.n_plugins > 0)
        c->plugin = c->catalog.plugins[0];
    if (rc == 0)
        rc = check_words(c, o->only, o->n_only, err);
    if (rc == 0)
        rc = check_words(c, o->except, o->n_except, err);
    if (rc == 0)
        rc = check_with(c, err);
    return rc < 0 ? rc : check_values(c, err);
}

static void tear_down(struct sl_case *c) {
    leave_stage(c);
    if (c->folder)
        sl_remove_tree(c->folder, NULL);
    json_decref(c->inspection.opened);
    json_decref(c->inspection.libraries);
    sl_catalog_finish(&c->catalog);
    sl_str_finish(&c->why);
    free(c->folder);
    free(c->path);
    free(c->file);
}

int sl_conform_run(const struct sl_conform_options *options, struct sl_conform_summary *ret,
                   struct sl_err *err) {
    struct sl_case c = {.options = options};
    struct sl_conform_summary sum = {.stopped = false};
    int rc = set_up(&c, err);
    if (rc == 0)
        run_all(&c, false, &sum);
    if (rc == 0)
        rc = run_stages(&c, &sum, err);
    tear_down(&c);
    if (rc == 0)
        *ret = sum;
    return rc;
}
