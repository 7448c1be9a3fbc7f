/*
 * Readers of a stage's policies, see policy_read.h. Each has a table over its struct; `retry.on` is
 * a list of class names, `timeout` and `device` also have a short form.
 */
#include "config/policy_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/units.h"
#include "config/schema.h"

static const char *sub(struct sl_diags *diags, const char *what, const char *key) {
    return *what ? sl_arena_printf(&diags->arena, "%s: %s", what, key) : key;
}

/* ---- retry ---------------------------------------------------------------------------------- */

static const char *const then_names[] = {"fail", "ignore", NULL};
static const char *const class_names[] = {"crash", "timeout", "transient", "resource", "internal"};
#define N_CLASSES (sizeof class_names / sizeof *class_names)

struct retry_keys {
    struct sl_retry_policy policy;
    int then; /* index into then_names */
    const struct sl_yaml *on, *grow;
};

static const struct sl_field retry_fields[] = {
    {"attempts", SL_FIELD_INT, offsetof(struct retry_keys, policy.attempts), .min = 1, .max = 100},
    {"backoff", SL_FIELD_DURATION, offsetof(struct retry_keys, policy.backoff_s)},
    {"factor", SL_FIELD_FLOAT, offsetof(struct retry_keys, policy.factor), .min = 1, .max = 100},
    {"max_backoff", SL_FIELD_DURATION, offsetof(struct retry_keys, policy.max_backoff_s)},
    {"on", SL_FIELD_NODE, offsetof(struct retry_keys, on)},
    {"then", SL_FIELD_CHOICE, offsetof(struct retry_keys, then), .choices = then_names},
    {"grow", SL_FIELD_NODE, offsetof(struct retry_keys, grow)},
    {"quarantine", SL_FIELD_INT, offsetof(struct retry_keys, policy.quarantine), .min = 0,
     .max = 100},
};

static const struct sl_field grow_fields[] = {
    {"memory", SL_FIELD_FLOAT, offsetof(struct sl_retry_policy, grow_memory), .min = 1, .max = 100},
    {"gpu_memory", SL_FIELD_FLOAT, offsetof(struct sl_retry_policy, grow_gpu_memory), .min = 1,
     .max = 100},
};

static void read_class(const char *what, const struct sl_yaml *node, uint32_t *bits,
                       struct sl_diags *diags) {
    const char *text = NULL;
    for (size_t i = 0; sl_yaml_text(node, &text) && i < N_CLASSES; i++)
        if (strcmp(text, class_names[i]) == 0) {
            *bits |= SL_RETRY_BIT(sl_class_from_name(text));
            return;
        }
    sl_autostr struct sl_str list = {0};
    sl_str_add_list(&list, class_names, N_CLASSES, "or");
    sl_diag_expected(diags, what, node, "one of %s%s", sl_str_text(&list),
                     text ? sl_suggest(diags, text, class_names, N_CLASSES) : "");
}

static void read_on(const char *what, const struct sl_yaml *node, uint32_t *ret_on,
                    struct sl_diags *diags) {
    uint32_t bits = 0;
    if (node->kind != SL_YAML_LIST) {
        sl_diag_expected(diags, what, node, "a list such as [crash, timeout]");
        return;
    }
    for (int i = 0; i < node->n; i++)
        read_class(what, node->items[i], &bits, diags);
    *ret_on = bits;
}

void sl_retry_read(const char *what, const struct sl_yaml *node, struct sl_retry_policy *policy,
                   struct sl_diags *diags) {
    struct retry_keys keys = {.policy = *policy, .then = policy->ignore};
    if (!node)
        return;
    const char *where = sub(diags, what, "retry");
    SL_SCHEMA_READ(retry_fields, where, node, &keys, diags);
    if (keys.on)
        read_on(sub(diags, where, "on"), keys.on, &keys.policy.on, diags);
    if (keys.grow)
        SL_SCHEMA_READ(grow_fields, sub(diags, where, "grow"), keys.grow, &keys.policy, diags);
    keys.policy.ignore = keys.then == 1;
    *policy = keys.policy;
}

void sl_optional_read(const char *what, const struct sl_yaml *node, struct sl_retry_policy *policy,
                      struct sl_diags *diags) {
    bool optional;
    if (!node)
        return;
    if (!sl_yaml_bool(node, &optional))
        sl_diag_expected(diags, sub(diags, what, "optional"), node, "true or false");
    else
        policy->ignore = optional;
}

void sl_cache_read(const char *what, const struct sl_yaml *node, enum sl_cache_use_kind *ret,
                   struct sl_diags *diags) {
    bool on;
    if (!node)
        return;
    if (sl_yaml_bool(node, &on))
        *ret = on ? SL_CACHE_ON : SL_CACHE_OFF;
    else
        sl_diag_expected(diags, sub(diags, what, "cache"), node, "true or false");
}

/* ---- keep, on_oom --------------------------------------------------------------------------- */

#define KEEP_FORM "none, batch or a duration such as 5m"

struct keep_keys {
    struct sl_keep keep;
    const struct sl_yaml *life; /* `for` */
};

static const struct sl_field keep_fields[] = {
    {"for", SL_FIELD_NODE, offsetof(struct keep_keys, life)},
    {"workers", SL_FIELD_INT, offsetof(struct keep_keys, keep.workers), .min = 0, .max = 1000},
    {"uses", SL_FIELD_INT, offsetof(struct keep_keys, keep.uses), .min = 0, .max = 1000000000},
    {"growth", SL_FIELD_SIZE, offsetof(struct keep_keys, keep.growth)},
};

static void read_keep_for(const char *what, const struct sl_yaml *node, bool may_be_map,
                          struct sl_keep *keep, struct sl_diags *diags) {
    static const char *const words[] = {"none", "batch"};
    const char *text = NULL;
    double seconds;
    sl_yaml_text(node, &text);
    if (text && strcmp(text, "none") == 0)
        keep->kind = SL_KEEP_NONE;
    else if (text && strcmp(text, "batch") == 0)
        keep->kind = SL_KEEP_BATCH;
    else if (sl_read_duration(node, &seconds) && seconds > 0) {
        keep->kind = SL_KEEP_FOR;
        keep->idle_s = seconds;
    } else
        sl_diag_expected(diags, what, node, KEEP_FORM "%s%s",
                         may_be_map ? ", or a map of for, workers, uses and growth" : "",
                         text ? sl_suggest(diags, text, words, 2) : "");
}

void sl_keep_read(const char *what, const struct sl_yaml *node, struct sl_keep *keep,
                  struct sl_diags *diags) {
    struct keep_keys keys = {.keep = *keep};
    if (!node)
        return;
    const char *where = sub(diags, what, "keep");
    if (node->kind != SL_YAML_MAP) {
        read_keep_for(where, node, true, keep, diags);
        return;
    }
    SL_SCHEMA_READ(keep_fields, where, node, &keys, diags);
    if (keys.life)
        read_keep_for(sub(diags, where, "for"), keys.life, false, &keys.keep, diags);
    *keep = keys.keep;
}

static const char *const step_names[] = {"shrink", "other_gpu", "grow", "cpu"};

const char *sl_oom_step_name(enum sl_oom_step step) {
    return step > SL_OOM_NONE && step < SL_OOM_N_STEPS ? step_names[step - 1] : "none";
}

static enum sl_oom_step read_step(const char *what, const struct sl_yaml *node,
                                  struct sl_diags *diags) {
    const char *text = NULL;
    for (int s = SL_OOM_NONE + 1; sl_yaml_text(node, &text) && s < SL_OOM_N_STEPS; s++)
        if (strcmp(text, sl_oom_step_name(s)) == 0)
            return s;
    sl_diag_expected(diags, what, node, "one of shrink, other_gpu, grow or cpu%s",
                     text ? sl_suggest(diags, text, step_names, SL_OOM_N_STEPS - 1) : "");
    return SL_OOM_NONE;
}

static bool has_step(const struct sl_oom_policy *p, enum sl_oom_step step) {
    for (int i = 0; i < p->n; i++)
        if (p->steps[i] == step)
            return true;
    return false;
}

void sl_on_oom_read(const char *what, const struct sl_yaml *node, struct sl_oom_policy *policy,
                    struct sl_diags *diags) {
    struct sl_oom_policy found = {0};
    if (!node)
        return;
    const char *where = sub(diags, what, "on_oom");
    if (node->kind != SL_YAML_LIST) {
        sl_diag_expected(diags, where, node, "a list such as [shrink, grow, cpu]");
        return;
    }
    for (int i = 0; i < node->n; i++) {
        enum sl_oom_step step = read_step(where, node->items[i], diags);
        if (step != SL_OOM_NONE && has_step(&found, step))
            sl_diag_error(diags, node->items[i]->pos,
                          "%s: %s is named twice; a step is repeated for as long as it changes "
                          "something",
                          where, sl_oom_step_name(step));
        else if (step != SL_OOM_NONE)
            found.steps[found.n++] = step;
    }
    *policy = found;
}

/* ---- timeout, resources --------------------------------------------------------------------- */

static const struct sl_field timeout_fields[] = {
    {"start", SL_FIELD_DURATION, offsetof(struct sl_timeouts, start_s)},
    {"idle", SL_FIELD_DURATION, offsetof(struct sl_timeouts, idle_s)},
    {"total", SL_FIELD_DURATION, offsetof(struct sl_timeouts, total_s)},
};

static const struct sl_field resources_fields[] = {
    {"memory", SL_FIELD_SIZE, offsetof(struct sl_resources, memory)},
    {"gpu_memory", SL_FIELD_SIZE, offsetof(struct sl_resources, gpu_memory)},
    {"cpus", SL_FIELD_FLOAT, offsetof(struct sl_resources, cpus), .min = 0, .max = 4096},
    {"cpu_time", SL_FIELD_DURATION, offsetof(struct sl_resources, cpu_time_s)},
    {"open_files", SL_FIELD_INT, offsetof(struct sl_resources, open_files), .min = 0,
     .max = 1048576},
    {"processes", SL_FIELD_INT, offsetof(struct sl_resources, processes), .min = 0, .max = 4194304},
    {"file_size", SL_FIELD_SIZE, offsetof(struct sl_resources, file_size)},
    {"scratch", SL_FIELD_SIZE, offsetof(struct sl_resources, scratch)},
};

void sl_timeouts_read(const char *what, const struct sl_yaml *node, struct sl_timeouts *timeouts,
                      struct sl_diags *diags) {
    if (!node)
        return;
    const char *where = sub(diags, what, "timeout");
    if (node->kind == SL_YAML_MAP)
        SL_SCHEMA_READ(timeout_fields, where, node, timeouts, diags);
    else if (!sl_read_duration(node, &timeouts->total_s))
        sl_diag_expected(diags, where, node,
                         "a duration such as 90s, 1h30m or 2h, or a map of start, idle and total");
}

void sl_resources_read(const char *what, const struct sl_yaml *node, struct sl_resources *resources,
                       struct sl_diags *diags) {
    struct sl_resources r = *resources;
    if (!node)
        return;
    const char *where = sub(diags, what, "resources");
    SL_SCHEMA_READ(resources_fields, where, node, &r, diags);
    if (r.open_files > 0 && r.open_files < SL_OPEN_FILES_MIN) {
        sl_diag_expected(diags, sub(diags, where, "open_files"),
                         sl_yaml_find(node, "open_files")->value, "at least %d, or 0 for no limit",
                         SL_OPEN_FILES_MIN);
        r.open_files = resources->open_files;
    }
    *resources = r;
}

/* ---- device --------------------------------------------------------------------------------- */

/* The N of "cuda:N", below 1000; -1: not of that form. */
static int cuda_index(const char *text) {
    size_t digits = strspn(text, "0123456789");
    return digits >= 1 && digits <= 3 && !text[digits] ? atoi(text) : -1;
}

void sl_device_read(const char *what, const struct sl_yaml *node, struct sl_device *device,
                    struct sl_diags *diags) {
    const char *text;
    if (!node)
        return;
    if (sl_yaml_text(node, &text)) {
        struct sl_device found = {SL_DEVICE_AUTO, -1};
        bool good = true;
        if (strcmp(text, "cpu") == 0)
            found.kind = SL_DEVICE_CPU;
        else if (strcmp(text, "cuda") == 0)
            found.kind = SL_DEVICE_CUDA;
        else if (sl_starts_with(text, "cuda:") && cuda_index(text + 5) >= 0)
            found = (struct sl_device){SL_DEVICE_CUDA, cuda_index(text + 5)};
        else
            good = strcmp(text, "auto") == 0;
        if (good) {
            *device = found;
            return;
        }
    }
    sl_diag_expected(diags, sub(diags, what, "device"), node, "auto, cpu, cuda or cuda:N");
}

/* ---- sandbox, network ----------------------------------------------------------------------- */

void sl_sandbox_read(const char *what, const struct sl_yaml *node, bool *sandbox,
                     struct sl_diags *diags) {
    const char *text = NULL;
    if (!node)
        return;
    bool good = sl_yaml_text(node, &text);
    if (good && (strcmp(text, "default") == 0 || strcmp(text, "none") == 0))
        *sandbox = *text == 'd';
    else
        sl_diag_expected(diags, sub(diags, what, "sandbox"), node, "default or none");
}

void sl_network_read(const char *what, const struct sl_yaml *node, bool *network,
                     struct sl_diags *diags) {
    if (node && !sl_yaml_bool(node, network))
        sl_diag_expected(diags, sub(diags, what, "network"), node, "true or false");
}
