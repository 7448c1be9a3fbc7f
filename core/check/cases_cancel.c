/*
 * Tests of cancelling: a job that was asked to stop ends within a second, cancelled or done, and
 * the next one is fine. Large inputs keep the stage busy meanwhile. The best of three counts, for
 * the machine may be busy too.
 */
#include "base/clock.h"
#include "check/case.h"

#define LIMIT_MS    1000 /* plugin.h: return SLUICE_CANCELLED within a second */
#define TRIES       3
#define PROGRESS_MS 500 /* for the first sign of progress */

struct attempt {
    int64_t ms; /* from the cancel to the end; -1: it ended before */
    bool over;  /* nothing more to try: a verdict, or in time */
};

static struct attempt try_once(struct sl_case *c, bool working) {
    struct sl_arena arena = {0};
    struct attempt a = {-1, true};
    struct sl_err err;
    struct sl_drive_job job;
    struct sl_drive *d = sl_case_worker(c, NULL);
    if (!d)
        return a;
    sl_case_job(c, SL_INPUTS_LARGE, &arena, &job);
    if (sl_drive_send(d, &job, &err) < 0) {
        sl_case_fail(c, "a job cannot be sent: %s", err.msg);
    } else {
        if (working)
            sl_drive_wait_progress(d, &job, PROGRESS_MS);
        bool running = job.end == SL_DRIVE_RUNNING;
        int64_t asked_ms = sl_now_ms();
        sl_drive_cancel(d, &job);
        sl_drive_wait(d, &job, sl_case_limit_ms(c));
        if (job.end == SL_DRIVE_SILENT)
            sl_case_fail(c, "it is deaf: %d s after it was cancelled the job still runs",
                         sl_case_limit_ms(c) / 1000);
        else
            sl_case_judge(c, d, &job, SL_VALID_INPUT, "a job that is cancelled");
        a.ms = running ? job.ended_ms - asked_ms : -1;
    }
    a.over = sl_case_failed(c) || a.ms <= LIMIT_MS;
    sl_drive_job_finish(&job);
    sl_arena_finish(&arena);
    sl_case_release(c, d);
    return a;
}

static void run(struct sl_case *c, bool working) {
    struct attempt a = {-1, false};
    int64_t best = INT64_MAX;
    for (int i = 0; i < TRIES && !a.over; i++) {
        a = try_once(c, working);
        best = a.ms < best ? a.ms : best;
    }
    if (sl_case_failed(c))
        return;
    if (best > LIMIT_MS)
        sl_case_fail(c,
                     "a cancelled job ends after %lld ms at best, not within %d: look at "
                     "host->cancelled() more often",
                     (long long)best, LIMIT_MS);
    else if (best < 0)
        sl_case_note(c, "it had ended before");
    else
        sl_case_note(c, "after %lld ms", (long long)best);
}

static void test_at_once(struct sl_case *c) {
    run(c, false);
}

static void test_working(struct sl_case *c) {
    run(c, true);
}

const struct sl_test sl_cancel_tests[] = {
    {"cancel.at_once", "a job cancelled as it starts ends within a second", .per_stage = true,
     .needs_worker = true, .run = test_at_once},
    {"cancel.working", "a job cancelled while it works ends within a second", .per_stage = true,
     .needs_worker = true, .run = test_working},
    {0},
};
