/*
 * Tests of process(): typical, short, empty and hostile inputs. One input at a time is replaced,
 * the others stay typical. All jobs of a test go to one worker, so what a bad input leaves behind
 * shows in the next job.
 */
#include <stdio.h>
#include <string.h>

#include "check/case.h"
#include "check/payload.h"

/* ---- Typical --------------------------------------------------------------------------------- */

static void run_typical(struct sl_case *c, struct sl_drive *d, enum sl_case_inputs which,
                        const char *what) {
    struct sl_arena arena = {0};
    struct sl_drive_job job;
    sl_case_job(c, which, &arena, &job);
    sl_case_run_job(c, d, &job);
    if (sl_case_judge(c, d, &job, SL_VALID_INPUT, what) && job.status < 0)
        sl_case_note(c, "%s: %s: %s", what, sl_class_name(job.status), job.message);
    sl_drive_job_finish(&job);
    sl_arena_finish(&arena);
}

static void test_typical(struct sl_case *c) {
    struct sl_drive *d = sl_case_worker(c, NULL);
    if (d)
        run_typical(c, d, SL_INPUTS_ALL, "all inputs");
    if (d && !sl_case_failed(c))
        run_typical(c, d, SL_INPUTS_REQUIRED, "required inputs only");
    sl_case_release(c, d);
}

/* ---- Others ---------------------------------------------------------------------------------- */

/* Finds the i-th replacement for an input of this type: fills `bytes`, or sets *ret_path. NULL past
 * the end. */
typedef const char *replacement(const char *type, int i, struct sl_str *bytes,
                                const char **ret_path);

static const char *short_one(const char *type, int i, struct sl_str *bytes, const char **ret_path) {
    (void)ret_path;
    return sl_payload_valid(type, i, bytes);
}

static const char *empty_one(const char *type, int i, struct sl_str *bytes, const char **ret_path) {
    (void)type;
    (void)bytes;
    (void)ret_path;
    return i == 0 ? "0 bytes" : NULL;
}

/* The core checks what stages commit, but not what a user gives, so hostile bytes reach every
 * input. */
static const char *hostile_one(const char *type, int i, struct sl_str *bytes,
                               const char **ret_path) {
    bool file = strcmp(type, SLUICE_TYPE_FILE) == 0;
    if (file && i == 0)
        return *ret_path = "/no/such/file", "a path where nothing is";
    if (file && i == 1)
        return *ret_path = "/", "a folder";
    return sl_payload_hostile(type, file ? i - 2 : i, bytes);
}

static void run_replaced(struct sl_case *c, struct sl_drive *d, int input, replacement *find, int i,
                         enum sl_case_input_kind kind, bool *ret_end) {
    struct sl_arena arena = {0};
    sl_autostr struct sl_str bytes = {0};
    struct sl_drive_job job;
    sl_case_job(c, SL_INPUTS_ALL, &arena, &job);
    const char *path = NULL, *what = find(job.inputs[input].type, i, &bytes, &path);
    *ret_end = !what;
    if (what) {
        char where[256];
        job.inputs[input].path = path ? path : sl_case_file(c, &bytes, &arena);
        snprintf(where, sizeof where, "%s: %s", job.inputs[input].port, what);
        sl_case_run_job(c, d, &job);
        sl_case_judge(c, d, &job, kind, where);
        sl_drive_job_finish(&job);
    }
    sl_arena_finish(&arena);
}

/* After the bad ones: a stage that works on a typical input does so still. */
static void check_recovered(struct sl_case *c, struct sl_drive *d, int status_before) {
    struct sl_arena arena = {0};
    struct sl_drive_job job;
    sl_case_job(c, SL_INPUTS_ALL, &arena, &job);
    sl_case_run_job(c, d, &job);
    if (sl_case_judge(c, d, &job, SL_VALID_INPUT, "a typical input after them") &&
        job.status != status_before)
        sl_case_fail(c, "a typical input after them ends as %s, before as %s: %s",
                     sl_class_name(job.status), sl_class_name(status_before), job.message);
    sl_drive_job_finish(&job);
    sl_arena_finish(&arena);
}

static int typical_status(struct sl_case *c, struct sl_drive *d) {
    struct sl_arena arena = {0};
    struct sl_drive_job job;
    sl_case_job(c, SL_INPUTS_ALL, &arena, &job);
    sl_case_run_job(c, d, &job);
    sl_case_judge(c, d, &job, SL_VALID_INPUT, "a typical input");
    sl_drive_job_finish(&job);
    sl_arena_finish(&arena);
    return job.status;
}

static void run_all(struct sl_case *c, replacement *find, enum sl_case_input_kind kind) {
    if (c->stage->n_inputs == 0) {
        sl_case_skip(c, "it has no inputs");
        return;
    }
    struct sl_drive *d = sl_case_worker(c, NULL);
    int n = 0, before = d ? typical_status(c, d) : 0;
    for (int input = 0; d && input < c->stage->n_inputs; input++) {
        bool end = false;
        for (int i = 0; !end && !sl_case_failed(c); i++) {
            run_replaced(c, d, input, find, i, kind, &end);
            n += !end;
        }
    }
    if (d && !sl_case_failed(c))
        check_recovered(c, d, before);
    sl_case_note(c, "%d jobs", n);
    sl_case_release(c, d);
}

static void test_short(struct sl_case *c) {
    run_all(c, short_one, SL_VALID_INPUT);
}

static void test_empty(struct sl_case *c) {
    run_all(c, empty_one, SL_HOSTILE_INPUT);
}

static void test_hostile(struct sl_case *c) {
    run_all(c, hostile_one, SL_HOSTILE_INPUT);
}

const struct sl_test sl_input_tests[] = {
    {"inputs.typical", "typical inputs; all connected, then required ones only", .per_stage = true,
     .needs_worker = true, .run = test_typical},
    {"inputs.short", "the least that is valid of each type", .per_stage = true,
     .needs_worker = true, .run = test_short},
    {"inputs.empty", "inputs of 0 bytes", .per_stage = true, .needs_worker = true,
     .run = test_empty},
    {"inputs.hostile", "bytes that are not of the type, and a good job after them",
     .per_stage = true, .needs_worker = true, .run = test_hostile},
    {0},
};
