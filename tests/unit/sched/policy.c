/* The pure parts of scheduling: retry, admission, the life of a worker. */
#include "base/err.h"
#include "sched/admit.h"
#include "sched/machine.h"
#include "sched/retry.h"
#include "sched/storm.h"
#include "unit/test.h"

static const struct sl_retry_policy policy = {
    .attempts = 4,
    .backoff_s = 1,
    .factor = 2,
    .max_backoff_s = 3,
    .on = SL_RETRY_BIT(SL_CRASH) | SL_RETRY_BIT(SLUICE_TRANSIENT) | SL_RETRY_BIT(SLUICE_INPUT),
};

TEST(backoff_grows_up_to_its_cap) {
    static const double want[] = {1, 2, 3};
    for (int attempt = 1; attempt <= 3; attempt++) {
        struct sl_retry_decision d = sl_retry_decide(SLUICE_TRANSIENT, attempt, &policy, 1);
        CHECK(d.retry);
        CHECK_NEAR(d.delay_s, want[attempt - 1], 1e-9);
        CHECK_NEAR(sl_retry_decide(SLUICE_TRANSIENT, attempt, &policy, 0).delay_s,
                   want[attempt - 1] / 2, 1e-9);
    }
    CHECK(!sl_retry_decide(SLUICE_TRANSIENT, 4, &policy, 0).retry);
}

TEST(first_crash_is_retried_at_once) {
    CHECK(sl_retry_decide(SL_CRASH, 1, &policy, 1).retry);
    CHECK_NEAR(sl_retry_decide(SL_CRASH, 1, &policy, 1).delay_s, 0, 0);
    CHECK_NEAR(sl_retry_decide(SL_CRASH, 2, &policy, 1).delay_s, 2, 1e-9);
}

TEST(some_classes_are_never_retried) {
    CHECK(!sl_retry_decide(SLUICE_INPUT, 1, &policy, 0).retry); /* although the policy lists it */
    CHECK(!sl_retry_decide(SLUICE_UNSUPPORTED, 1, &policy, 0).retry);
    CHECK(!sl_retry_decide(SLUICE_CANCELLED, 1, &policy, 0).retry);
    CHECK(!sl_retry_decide(SLUICE_INTERNAL, 1, &policy, 0).retry); /* not listed */
}

TEST(huge_backoff_stays_finite) {
    struct sl_retry_policy p = policy;
    p.attempts = 100000;
    p.factor = 1e300;
    CHECK_NEAR(sl_retry_decide(SLUICE_TRANSIENT, 5000, &p, 1).delay_s, 3, 1e-9);
}

TEST(processors_are_divided) {
    CHECK_INT(sl_admit_cpus(8, 0, 0, 1), 8); /* one task, idle machine */
    CHECK_INT(sl_admit_cpus(8, 0, 0, 3), 2);
    CHECK_INT(sl_admit_cpus(8, 0, 0, 100), 1); /* a batch */
    CHECK_INT(sl_admit_cpus(8, 8, 0, 1), 0);   /* full */
    CHECK_INT(sl_admit_cpus(8, 6, 4, 1), 0);   /* declared: waits */
    CHECK_INT(sl_admit_cpus(8, 4, 4, 1), 4);
    CHECK_INT(sl_admit_cpus(2, 0, 16, 1), 2); /* never more than there are */
    CHECK_INT(sl_admit_cpus(2, 1, 16, 1), 0);
    CHECK_INT(sl_admit_cpus(2, 0, 0.5, 1), 1);
    CHECK_INT(sl_admit_cpus(2, 3, 0, 1), 0); /* oversubscribed */
}

TEST(every_living_worker_can_be_killed_and_reaped) {
    for (int s = 0; s < SL_WORKER_GONE; s++) {
        CHECK_INT(sl_worker_next(s, SL_WORKER_EV_ENDED).next, SL_WORKER_GONE);
        if (s != SL_WORKER_KILLING)
            CHECK_INT(sl_worker_next(s, SL_WORKER_EV_KILL).action, SL_WORKER_DO_KILL);
        CHECK_INT(sl_worker_next(s, SL_WORKER_EV_KILL).next, SL_WORKER_KILLING);
    }
}

TEST(the_ladder_ends_in_a_kill) {
    for (int s = 0; s < SL_WORKER_GONE; s++) {
        enum sl_worker_state at = sl_worker_next(s, SL_WORKER_EV_CANCEL).next;
        int steps = 0;
        while (at != SL_WORKER_KILLING && steps < 5) {
            at = sl_worker_next(at, SL_WORKER_EV_GRACE).next;
            steps++;
        }
        CHECK_INT(at, SL_WORKER_KILLING);
    }
}

TEST(jobs_go_to_ready_workers_only) {
    for (int s = 0; s < SL_WORKER_N_STATES; s++) {
        int takes = s == SL_WORKER_IDLE || s == SL_WORKER_BUSY;
        CHECK_INT(sl_worker_next(s, SL_WORKER_EV_JOB).action == SL_WORKER_DO_BUG, !takes);
    }
}

TEST(a_cancelled_worker_that_obeys_is_let_go) {
    struct sl_worker_step s = sl_worker_next(SL_WORKER_BUSY, SL_WORKER_EV_CANCEL);
    CHECK_INT(s.action, SL_WORKER_DO_CANCEL);
    s = sl_worker_next(s.next, SL_WORKER_EV_DRAINED);
    CHECK_INT(s.next, SL_WORKER_STOPPING);
    CHECK_INT(s.action, SL_WORKER_DO_STOP);
}

TEST(nothing_happens_after_the_end) {
    for (int e = 0; e < SL_WORKER_N_EVENTS; e++)
        CHECK_INT(sl_worker_next(SL_WORKER_GONE, e).next, SL_WORKER_GONE);
}

TEST(a_stage_that_never_starts_is_given_up) {
    struct sl_storm s = {0};
    for (int i = 0; i < SL_STORM_STARTS - 1; i++)
        sl_storm_failed(&s, i % 2 ? SL_CRASH : SLUICE_INPUT);
    CHECK(!sl_storm_rages(&s));
    sl_storm_failed(&s, SL_TIMEOUT);
    CHECK(sl_storm_rages(&s));
    for (int i = 0; i < 1000; i++)
        sl_storm_failed(&s, SL_CRASH);
    CHECK_INT(s.streak, SL_STORM_STARTS);
    sl_storm_ready(&s);
    CHECK(!sl_storm_rages(&s));
}

TEST(failures_that_pass_with_time_are_no_storm) {
    struct sl_storm s = {0};
    for (int i = 0; i < 100; i++) {
        sl_storm_failed(&s, SLUICE_TRANSIENT);
        sl_storm_failed(&s, SLUICE_RESOURCE);
        sl_storm_failed(&s, SLUICE_CANCELLED);
    }
    CHECK(!sl_storm_rages(&s));
}

TEST_MAIN()
