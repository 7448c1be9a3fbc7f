/*
 * Tests without memory: RLIMIT_DATA of the plugin's process leaves a little more than what it has.
 * It is set from outside, before START or after READY, so that neither the loader nor the stage's
 * own start is what fails.
 *
 * Each amount of headroom lets the stage come a little further before an allocation fails. The
 * stage may succeed; where it does not, it must say so with a class, best SLUICE_RESOURCE. Builds
 * with a sanitizer reserve terabytes, so there this means nothing.
 */
#include <stdio.h>
#include <sys/resource.h>

#include "base/units.h"
#include "check/case.h"

#define HOST_BYTES          (1u << 20)   /* of the worker's own before the stage is created */
#define STACK_BYTES_DEFAULT (2ull << 20) /* of a thread, where RLIMIT_STACK is unlimited */

static const uint64_t headrooms[] = {512u << 10, 4u << 20, 32u << 20};
enum { N_HEADROOMS = sizeof headrooms / sizeof *headrooms };

static const char *with_headroom(uint64_t bytes, char buf[64]) {
    char size[32];
    snprintf(buf, 64, "with %s left", sl_format_size(bytes, size, sizeof size));
    return buf;
}

/* Skips where a limit would mean nothing. */
static bool is_useless(struct sl_case *c, struct sl_drive *d) {
    if (c->options->wrap) {
        sl_case_skip(c, "under --wrap the process is not the plugin's alone");
        return true;
    }
    return sl_case_sanitized(c, d);
}

/* ---- create() -------------------------------------------------------------------------------- */

/* What the worker needs until it calls create(): the stack of its second thread, and what the
 * plugin's libraries hold. */
static uint64_t bytes_until_create(const struct sl_case *c) {
    struct rlimit stack;
    bool limited = getrlimit(RLIMIT_STACK, &stack) == 0 && stack.rlim_cur != RLIM_INFINITY;
    return (limited ? stack.rlim_cur : STACK_BYTES_DEFAULT) + HOST_BYTES +
           (uint64_t)c->inspection.data_bytes;
}

static void create_with(struct sl_case *c, uint64_t headroom) {
    char what[64], message[SL_ERR_SIZE] = "";
    int status = 0;
    struct sl_drive *d = sl_case_spawn(c, NULL, bytes_until_create(c) + headroom);
    if (!d)
        return;
    if (is_useless(c, d)) {
        sl_drive_destroy(d);
        return;
    }
    with_headroom(headroom, what);
    enum sl_drive_end end = sl_drive_ready(d, sl_case_limit_ms(c), &status, message);
    if (end == SL_DRIVE_DIED && sl_drive_exit_status(d) == SL_CASE_OUT_OF_MEMORY)
        sl_case_note(c, "%s, memory ran out in the worker itself, which said so", what);
    else if (end == SL_DRIVE_ENDED && status < 0 && sl_starts_with(message, c->path))
        sl_case_note(c, "%s it cannot be loaded, which is said", what);
    else if (end == SL_DRIVE_ENDED && status == SLUICE_INTERNAL)
        sl_case_warn(c, "%s, create() fails as internal; lack of memory is SLUICE_RESOURCE: %s",
                     what, message);
    else
        sl_case_judge_create(c, what, end, status, message);
    sl_drive_destroy(d);
}

static void test_create(struct sl_case *c) {
    sl_case_inspect(c);
    for (int i = 0; i < N_HEADROOMS && !sl_case_failed(c); i++)
        create_with(c, headrooms[i]);
}

/* ---- process() ------------------------------------------------------------------------------- */

static void judge(struct sl_case *c, struct sl_drive *d, struct sl_drive_job *job,
                  const char *what) {
    if (job->end == SL_DRIVE_ENDED && job->status == SLUICE_INTERNAL)
        sl_case_warn(c, "%s, a job fails as internal; lack of memory is SLUICE_RESOURCE: %s", what,
                     job->message);
    else
        sl_case_judge(c, d, job, SL_VALID_INPUT, what);
}

static void process_with(struct sl_case *c, uint64_t headroom) {
    struct sl_arena arena = {0};
    struct sl_drive_job job;
    char what[64], message[SL_ERR_SIZE];
    int status = 0;
    struct sl_drive *d = sl_case_spawn(c, NULL, 0);
    bool ready = d && sl_drive_ready(d, sl_case_limit_ms(c), &status, message) == SL_DRIVE_ENDED &&
                 status == 0;
    if (ready && !is_useless(c, d)) {
        if (!sl_drive_limit_data(d, headroom))
            sl_case_skip(c, "the worker's memory cannot be limited here");
        sl_case_job(c, SL_INPUTS_LARGE, &arena, &job);
        sl_case_run_job(c, d, &job);
        judge(c, d, &job, with_headroom(headroom, what));
        sl_drive_job_finish(&job);
    }
    sl_drive_destroy(d);
    sl_arena_finish(&arena);
}

static void test_process(struct sl_case *c) {
    for (int i = 0; i < N_HEADROOMS && !sl_case_failed(c); i++)
        process_with(c, headrooms[i]);
}

const struct sl_test sl_memory_tests[] = {
    {"memory.create", "create() without memory fails with a class", .per_stage = true,
     .needs_worker = true, .run = test_create},
    {"memory.process", "a job without memory fails with a class", .per_stage = true,
     .needs_worker = true, .run = test_process},
    {0},
};
