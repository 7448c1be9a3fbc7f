/* The driver, against the real worker and the fixture plugin: every way in which a worker and its
 * jobs can end. */
#include "unit/test.h"

#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"
#include "check/driver.h"

static struct sl_err err;
static char message[SL_ERR_SIZE];
static int status;

static struct sl_drive *start(const char *stage, const char *params, bool no_init) {
    static char scratch[] = "/tmp";
    struct sl_drive_spec spec = {.worker = WORKER,
                                 .plugin = BUILD_DIR "/tests/plugins/fixture.so",
                                 .stage = stage,
                                 .share = "/share",
                                 .params = params,
                                 .scratch = scratch,
                                 .containment =
                                     no_init ? SL_CONTAIN_KEEPER : sl_containment_detect(),
                                 .no_init = no_init,
                                 .stop_fd = -1};
    struct sl_drive *d;
    if (sl_drive_create(&spec, &d, &err) < 0)
        TEST_FAIL("%s", err.msg);
    return d;
}

static struct sl_drive *ready(const char *stage, const char *params) {
    struct sl_drive *d = start(stage, params, false);
    CHECK_INT(sl_drive_ready(d, 10000, &status, message), SL_DRIVE_ENDED);
    CHECK_INT(status, 0);
    return d;
}

static struct sl_drive_job text_job(void) {
    return (struct sl_drive_job){.outputs = {{.port = "text", .type = "text/1"}}, .n_outputs = 1};
}

static void run(struct sl_drive *d, struct sl_drive_job *job, int limit_ms) {
    if (sl_drive_send(d, job, &err) < 0)
        TEST_FAIL("%s", err.msg);
    sl_drive_wait(d, job, limit_ms);
}

TEST(jobs_one_after_the_other) {
    struct sl_drive *d = ready("fixture/hello", "{}");
    for (int i = 0; i < 3; i++) {
        struct sl_drive_job job = text_job();
        char text[64] = "";
        run(d, &job, 10000);
        CHECK_INT(job.end, SL_DRIVE_ENDED);
        CHECK_INT(job.status, 0);
        CHECK(job.outputs[0].committed);
        CHECK_INT(pread(job.outputs[0].fd, text, sizeof text, 0), job.outputs[0].len);
        sl_drive_job_finish(&job);
    }
    CHECK_INT(sl_drive_stop(d, 10000, &err), 0);
    CHECK(!sl_drive_alive(d));
    CHECK_INT(sl_drive_exit_status(d), 0);
    sl_drive_destroy(d);
}

TEST(without_an_init) {
    struct sl_drive *d = start("fixture/hello", "{}", true);
    struct sl_drive_job job = text_job();
    CHECK_INT(sl_drive_ready(d, 10000, &status, message), SL_DRIVE_ENDED);
    run(d, &job, 10000);
    CHECK_INT(job.status, 0);
    CHECK_INT(sl_drive_stop(d, 10000, &err), 0);
    sl_drive_destroy(d);
}

TEST(a_crash) {
    struct sl_drive *d =
        ready("fixture/crash", "{\"when\": \"process\", \"how\": \"segv\", \"once\": \"\"}");
    struct sl_drive_job job = text_job(), late = job;
    run(d, &job, 10000);
    CHECK_INT(job.end, SL_DRIVE_DIED);
    CHECK_HAS(job.message, "Segmentation fault");
    CHECK_INT(sl_drive_exit_status(d), -1);
    run(d, &late, 10000); /* to a worker that is gone */
    CHECK_INT(late.end, SL_DRIVE_DIED);
    CHECK_INT(sl_drive_stop(d, 1000, &err), SLUICE_INTERNAL);
    sl_drive_destroy(d);
}

TEST(an_end_in_create) {
    struct sl_drive *d =
        start("fixture/crash", "{\"when\": \"create\", \"how\": \"exit3\", \"once\": \"\"}", false);
    CHECK_INT(sl_drive_ready(d, 10000, &status, message), SL_DRIVE_DIED);
    CHECK_HAS(message, "exit status 3");
    CHECK_INT(sl_drive_exit_status(d), 3);
    sl_drive_destroy(d);
}

TEST(a_refusal) {
    struct sl_drive *d = start("fixture/none", "{}", false);
    CHECK_INT(sl_drive_ready(d, 10000, &status, message), SL_DRIVE_ENDED);
    CHECK_INT(status, SLUICE_INTERNAL);
    CHECK_HAS(message, "has no stage fixture/none");
    sl_drive_destroy(d);
}

TEST(silence) {
    struct sl_drive *d = ready("fixture/silent", "{\"duration\": 20.0}");
    struct sl_drive_job job = text_job();
    int64_t begin_ms = sl_now_ms();
    run(d, &job, 200);
    CHECK_INT(job.end, SL_DRIVE_SILENT);
    CHECK_INT(sl_drive_stop(d, 200, &err), SLUICE_INTERNAL);
    CHECK_HAS(err.msg, "did not end within 0.2 s");
    sl_drive_destroy(d);
    CHECK(sl_now_ms() - begin_ms < 10000);
}

TEST(cancelling) {
    struct sl_drive *d =
        ready("fixture/sleepy", "{\"duration\": 20.0, \"starting\": 0.0, \"deaf\": false}");
    struct sl_drive_job job = text_job();
    CHECK_INT(sl_drive_send(d, &job, &err), 0);
    sl_drive_wait_progress(d, &job, 10000);
    CHECK(job.progressed && job.end == SL_DRIVE_RUNNING);
    sl_drive_cancel(d, &job);
    sl_drive_wait(d, &job, 10000);
    CHECK_INT(job.status, SLUICE_CANCELLED);
    sl_drive_destroy(d);
}

TEST(a_user_who_wants_to_stop) {
    int ends[2];
    CHECK(pipe(ends) == 0 && write(ends[1], "x", 1) == 1);
    struct sl_drive_spec spec = {.worker = WORKER,
                                 .plugin = BUILD_DIR "/tests/plugins/fixture.so",
                                 .stage = "fixture/hello",
                                 .share = "",
                                 .params = "{}",
                                 .scratch = "/tmp",
                                 .containment = sl_containment_detect(),
                                 .stop_fd = ends[0]};
    struct sl_drive *d;
    CHECK_INT(sl_drive_create(&spec, &d, &err), 0);
    CHECK_INT(sl_drive_ready(d, 10000, &status, message), SL_DRIVE_STOPPED);
    sl_drive_destroy(d);
}

TEST(usage_from_outside) {
    struct sl_drive *d = ready("fixture/hello", "{}");
    struct sl_drive_usage usage;
    CHECK(sl_drive_usage(d, &usage));
    CHECK_INT(usage.threads, *SANITIZE && strcmp(SANITIZE, "thread") == 0 ? usage.threads : 2);
    CHECK(usage.fds >= 4 && usage.anonymous_bytes > 10000 && usage.data_bytes > 100000);
    sl_drive_stop(d, 10000, &err);
    CHECK(!sl_drive_usage(d, &usage));
    sl_drive_destroy(d);
}

TEST(a_limit_from_outside) {
    if (*SANITIZE)
        SKIP("sanitizers reserve more memory than can be limited");
    struct sl_drive *d =
        ready("fixture/batcher", "{\"steps\": 1, \"fail_item\": \"\", \"forget_item\": \"\"}");
    struct sl_drive_job job = text_job();
    CHECK(sl_drive_limit_data(d, 1 << 20)); /* too little for the stack of a thread */
    run(d, &job, 10000);
    CHECK_INT(job.end, SL_DRIVE_ENDED);
    CHECK_INT(job.status, SLUICE_RESOURCE);
    sl_drive_destroy(d);
}

TEST_MAIN()
