/*
 * Tests that repeat a job: same bytes where the stage declares itself deterministic, and nothing
 * that grows.
 *
 * Growth: after a warm-up, private resident memory is read at five points. Allocators keep and
 * reuse what they have, so a single step says little; a leak grows at nearly every step. What looks
 * like one is measured a second time, on the same worker, before it counts.
 */
#include <poll.h>

#include "base/clock.h"
#include "check/case.h"
#include "check/payload.h"

#define WARM_UP          10 /* jobs */
#define STEP             10 /* jobs between two looks */
#define STEPS            4
#define TIME_LIMIT_MS    20000 /* for all jobs of a test; slower stages get fewer */
#define SETTLE_MS        200   /* what a job held is released just after it was reported as done */
#define LEAK_BYTES_A_JOB 4096  /* less than this is lost in the noise */

/* ---- Same bytes ------------------------------------------------------------------------------ */

static void compare(struct sl_case *c, const struct sl_drive_job *a, const struct sl_drive_job *b,
                    const char *which) {
    if (a->status == 0 && b->status == 0 && !sl_case_same_outputs(a, b))
        sl_case_fail(c, "%s gave other bytes, though the stage is declared deterministic", which);
    else if (a->status != b->status)
        sl_case_fail(c, "%s ended as %s, before as %s", which, sl_class_name(b->status),
                     sl_class_name(a->status));
}

static void run_one(struct sl_case *c, struct sl_drive *d, struct sl_drive_job *job) {
    sl_case_run_job(c, d, job);
    sl_case_judge(c, d, job, SL_VALID_INPUT, "a typical input");
}

static void test_bytes(struct sl_case *c) {
    struct sl_arena arena = {0};
    /* of the very same files: a path may be part of the output */
    struct sl_drive_job first, again, other;
    if (!(c->stage->flags & SLUICE_STAGE_DETERMINISTIC)) {
        sl_case_skip(c, "it does not declare itself deterministic");
        return;
    }
    sl_case_job(c, SL_INPUTS_ALL, &arena, &first);
    again = other = first;
    struct sl_drive *d = sl_case_worker(c, NULL);
    if (d)
        run_one(c, d, &first);
    if (d && !sl_case_failed(c))
        run_one(c, d, &again);
    sl_case_release(c, d);
    d = sl_case_failed(c) ? NULL : sl_case_worker(c, NULL);
    if (d) {
        run_one(c, d, &other);
        compare(c, &first, &again, "a second job of the same process");
        compare(c, &first, &other, "another process");
        if (first.status < 0)
            sl_case_skip(c, "a typical input ends as %s: %s", sl_class_name(first.status),
                         first.message);
    }
    sl_case_release(c, d);
    sl_drive_job_finish(&first);
    sl_drive_job_finish(&again);
    sl_drive_job_finish(&other);
    sl_arena_finish(&arena);
}

/* ---- Nothing grows --------------------------------------------------------------------------- */

struct series {
    struct sl_drive_usage at[STEPS + 1];
    int n, jobs;
};

/* Jobs that fail take other ways out of the code than jobs that succeed. */
static bool run_many(struct sl_case *c, struct sl_drive *d, struct sl_drive_job *job, int n,
                     int64_t deadline_ms, int *jobs) {
    for (int i = 0; i < n; i++, ++*jobs) {
        if (sl_now_ms() > deadline_ms)
            return false;
        sl_case_run_job(c, d, job);
        bool fine = sl_case_judge(c, d, job, SL_HOSTILE_INPUT, "one of many jobs");
        sl_drive_job_finish(job);
        if (!fine || job->end == SL_DRIVE_STOPPED || !sl_drive_alive(d))
            return false;
    }
    return true;
}

/* What the worker holds, once it holds no more descriptors and threads than `before` (NULL: no
 * waiting), or after a while. */
static bool look(struct sl_drive *d, const struct sl_drive_usage *before,
                 struct sl_drive_usage *ret) {
    int64_t end_ms = sl_now_ms() + SETTLE_MS;
    while (sl_drive_usage(d, ret)) {
        if (!before || (ret->fds <= before->fds && ret->threads <= before->threads) ||
            sl_now_ms() > end_ms)
            return true;
        poll(NULL, 0, 1);
    }
    return false;
}

static void measure(struct sl_case *c, struct sl_drive *d, struct sl_drive_job *job,
                    struct series *ret) {
    int64_t deadline_ms = sl_now_ms() + TIME_LIMIT_MS;
    *ret = (struct series){.n = 0};
    int warm = 0;
    if (!run_many(c, d, job, WARM_UP, deadline_ms, &warm) || !look(d, NULL, &ret->at[0]))
        return;
    for (ret->n = 1; ret->n <= STEPS; ret->n++)
        if (!run_many(c, d, job, STEP, deadline_ms, &ret->jobs) ||
            !look(d, &ret->at[0], &ret->at[ret->n]))
            break;
}

/* Bytes that each job leaves behind, or 0 where memory does not grow step by step. */
static uint64_t growth_a_job(const struct series *s) {
    int up = 0;
    for (int i = 1; i < s->n; i++)
        up += s->at[i].anonymous_bytes > s->at[i - 1].anonymous_bytes;
    uint64_t first = s->at[0].anonymous_bytes, last = s->at[s->n - 1].anonymous_bytes;
    if (up < s->n - 2 || last <= first)
        return 0;
    return (last - first) / (uint64_t)(STEP * (s->n - 1));
}

static void judge_series(struct sl_case *c, const struct series *s, bool leaks) {
    const struct sl_drive_usage *a = &s->at[0], *b = &s->at[s->n - 1];
    int jobs = STEP * (s->n - 1);
    /* One more or less may be a job's whose end was just reported. */
    if (b->fds >= a->fds + STEPS)
        sl_case_fail(c, "%d jobs left %d descriptors open", jobs, b->fds - a->fds);
    else if (b->threads >= a->threads + STEPS)
        sl_case_fail(c, "%d jobs left %d threads behind", jobs, b->threads - a->threads);
    else if (leaks)
        sl_case_fail(c, "each job leaves %llu bytes of memory behind (%d jobs)",
                     (unsigned long long)growth_a_job(s), jobs);
}

static void check_growth(struct sl_case *c, struct sl_drive_job *job) {
    struct series first, second;
    if (c->options->wrap) {
        sl_case_skip(c, "under --wrap the process is not the plugin's alone");
        return;
    }
    struct sl_drive *d = sl_case_worker(c, NULL);
    if (!d)
        return;
    measure(c, d, job, &first);
    if (first.n > 2) {
        bool leaks = growth_a_job(&first) >= LEAK_BYTES_A_JOB;
        if (leaks) {
            measure(c, d, job, &second);
            leaks = second.n > 2 && growth_a_job(&second) >= LEAK_BYTES_A_JOB;
        }
        judge_series(c, &first, leaks && !sl_case_sanitized(c, d));
        sl_case_note(c, "%d jobs", WARM_UP + first.jobs);
    } else if (!sl_case_failed(c)) {
        sl_case_skip(c, "too slow: %d jobs did not fit into %d s", WARM_UP + 2 * STEP,
                     TIME_LIMIT_MS / 1000);
    }
    sl_case_release(c, d);
}

static void test_leaks(struct sl_case *c) {
    struct sl_arena arena = {0};
    struct sl_drive_job job;
    sl_case_job(c, SL_INPUTS_ALL, &arena, &job);
    check_growth(c, &job);
    sl_arena_finish(&arena);
}

/* Every input is half of a valid payload. */
static void test_failures(struct sl_case *c) {
    struct sl_arena arena = {0};
    struct sl_drive_job job;
    if (c->stage->n_inputs == 0) {
        sl_case_skip(c, "it has no inputs");
        return;
    }
    sl_case_job(c, SL_INPUTS_ALL, &arena, &job);
    for (int i = 0; i < job.n_inputs; i++) {
        sl_autostr struct sl_str bytes = {0};
        sl_payload_typical(job.inputs[i].type, &bytes);
        bytes.len /= 2;
        job.inputs[i].path = sl_case_file(c, &bytes, &arena);
    }
    check_growth(c, &job);
    sl_arena_finish(&arena);
}

const struct sl_test sl_repeat_tests[] = {
    {"repeat.bytes", "same inputs give the same bytes, where it is declared so", .per_stage = true,
     .needs_worker = true, .run = test_bytes},
    {"repeat.leaks", "50 jobs: memory, descriptors and threads stay flat", .per_stage = true,
     .needs_worker = true, .run = test_leaks},
    {"repeat.failures", "the same for 50 jobs with damaged inputs", .per_stage = true,
     .needs_worker = true, .run = test_failures},
    {0},
};
