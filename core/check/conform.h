/*
 * Conformance of a plugin: a list of tests, each with workers of its own, so that a plugin that
 * crashes, hangs or leaks costs one test. The plugin's code never runs in the process that calls.
 */
#ifndef CHECK_CONFORM_H
#define CHECK_CONFORM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum sl_conform_outcome {
    SL_CONFORM_OK,
    SL_CONFORM_WARN, /* allowed, but users will be hurt by it */
    SL_CONFORM_SKIP, /* could not be tried; the reason says what is missing */
    SL_CONFORM_FAIL,
};
const char *sl_conform_outcome_name(enum sl_conform_outcome o); /* "ok", "warn", "skip", "FAIL" */

struct sl_conform_result {
    const char *test;  /* "inputs.empty" */
    const char *stage; /* NULL: of the plugin as a whole */
    enum sl_conform_outcome outcome;
    int64_t ms;
    const char *why; /* one sentence, "" for nothing to say */
};

/* A value for a parameter: "stage.name" or "plugin/stage.name", and the text as it would stand in a
 * pipeline file. */
struct sl_conform_with {
    const char *name, *value;
};

struct sl_conform_options {
    const char *plugin; /* path of the shared object */
    const char *worker; /* path of sluice-worker */
    const char *share;  /* folder of installed data */
    /* tests to run: "TEST", "FAMILY", "STAGE" or "STAGE:TEST"; none: all */
    const char *const *only;
    int n_only;
    const char *const *except; /* tests to leave out, in the same form */
    int n_except;
    const struct sl_conform_with *with;
    int n_with;
    /* command before the worker's, NULL-terminated; NULL: none. Time limits are lifted */
    const char *const *wrap;
    bool in_process; /* a worker without an init serves test after test: for debuggers */
    int limit_s;     /* for a job, or for create() */
    int stop_fd;     /* readable once the user wants to stop; -1: none */
    void (*report)(void *to, const struct sl_conform_result *result); /* after each test */
    void *to;
};

struct sl_conform_summary {
    int counts[SL_CONFORM_FAIL + 1]; /* tests by outcome */
    bool stopped;                    /* by stop_fd, before all were run */
};

/* Runs the tests. SL_USAGE: a test or a parameter that does not exist; INPUT: the file cannot be
 * read. */
int sl_conform_run(const struct sl_conform_options *options, struct sl_conform_summary *ret,
                   struct sl_err *err);

/* Name and purpose of the i-th test, or NULL past the end. */
const char *sl_conform_test(int i, const char **ret_what, bool *ret_per_stage);

#endif
