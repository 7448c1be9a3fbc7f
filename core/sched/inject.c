/* Reading `--inject`, see inject.h. */
#include "sched/inject.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/units.h"

#define ATTEMPT_MAX 100
#define FORM        "STAGE:FAULT or STAGE:FAULT@ATTEMPT"

static int unknown(const char *text, const char *noun, const char *word, const char *const *names,
                   int n, struct sl_err *err) {
    sl_autostr struct sl_str list = {0};
    const char *near = sl_nearest(word, names, (size_t)n);
    sl_str_add_list(&list, names, (size_t)n, "and");
    return near ? sl_err_set(err, SL_USAGE,
                             "--inject %s: there is no %s \"%s\" (did you mean \"%s\"?)", text,
                             noun, word, near)
                : sl_err_set(err, SL_USAGE, "--inject %s: there is no %s \"%s\"; accepted: %.300s",
                             text, noun, word, sl_str_text(&list));
}

static int find_stage(const struct sl_plan *plan, const char *text, const char *name, int *ret,
                      struct sl_err *err) {
    sl_autofree const char **names = sl_xcalloc((size_t)plan->n_stages, sizeof *names);
    for (int s = 0; s < plan->n_stages; s++) {
        names[s] = plan->stages[s].name;
        if (strcmp(name, names[s]) != 0)
            continue;
        *ret = s;
        return 0;
    }
    return unknown(text, "stage", name, names, plan->n_stages, err);
}

static int find_fault(const char *text, const char *name, enum sl_fault *ret, struct sl_err *err) {
    *ret = sl_fault_from_name(name);
    if (*ret == SL_FAULT_NONE)
        return unknown(text, "fault", name, sl_fault_names, SL_FAULT_N - 1, err);
    return 0;
}

/* One, from a copy that is cut apart. */
static int parse_one(const struct sl_plan *plan, char *copy, const char *text,
                     struct sl_injection *ret, struct sl_err *err) {
    char *colon = strrchr(copy, ':'), *at = colon ? strchr(colon, '@') : NULL;
    int64_t attempt = 0;
    if (!colon || colon == copy)
        return sl_err_set(err, SL_USAGE, "--inject %s: expected %s, such as asr:crash@2", text,
                          FORM);
    if (at && (!sl_parse_int(at + 1, &attempt) || attempt < 1 || attempt > ATTEMPT_MAX))
        return sl_err_set(
            err, SL_USAGE,
            "--inject %s: expected the number of an attempt, from 1 to %d, after the @", text,
            ATTEMPT_MAX);
    *colon = 0;
    if (at)
        *at = 0;
    struct sl_injection one = {.attempt = (int)attempt};
    int rc = find_stage(plan, text, copy, &one.stage, err);
    if (rc == 0)
        rc = find_fault(text, colon + 1, &one.fault, err);
    if (rc == 0)
        *ret = one;
    return rc;
}

int sl_inject_parse(const struct sl_plan *plan, const char *text, struct sl_injection **list,
                    int *n, struct sl_err *err) {
    for (const char *at = text;; at++) {
        size_t len = strcspn(at, ",");
        sl_autofree char *copy = sl_xstrndup(at, len);
        struct sl_injection one;
        int rc = parse_one(plan, copy, text, &one, err);
        if (rc < 0)
            return rc;
        *list = sl_xrealloc(*list, (size_t)*n + 1, sizeof **list);
        (*list)[(*n)++] = one;
        at += len;
        if (!*at)
            return 0;
    }
}

enum sl_fault sl_inject_find(const struct sl_injection *list, int n, int stage, int attempt) {
    for (int i = n - 1; i >= 0; i--)
        if (list[i].stage == stage && (list[i].attempt == 0 || list[i].attempt == attempt))
            return list[i].fault;
    return SL_FAULT_NONE;
}
