/* What the core learns when a plugin misbehaves: crashes by their true signal, refusals by their
 * reason, bad outputs. */
#include "unit/test.h"

#include <signal.h>

#include "base/clock.h"
#include "mini_core.h"

#define FIXTURE PLUGINS "/fixture.so"

static struct mini_core core;

static struct mini_job text_job(void) {
    return (struct mini_job){.outputs = {{"text", "text/1"}}};
}

/* The wait status of fixture/crash in this way, in one mode. */
static int crash(enum sl_containment containment, const char *when, const char *how) {
    struct mini_job job = text_job();
    char params[128];
    int code;
    core.containment = containment;
    snprintf(params, sizeof params, "{\"when\": \"%s\", \"how\": \"%s\", \"once\": \"\"}", when,
             how);
    mini_start(&core, FIXTURE, "fixture/crash", params);
    if (strcmp(when, "process") == 0) {
        mini_expect(&core, SL_FRAME_READY, 0);
        mini_job(&core, 1, &job);
    }
    int status = mini_exit(&core, &code);
    CHECK_INT(code, status == 0 ? 0 : 1);
    return status;
}

TEST(a_crash_shows_its_true_signal_in_both_modes) {
    for (int mode = 0; mode < 2; mode++) {
        enum sl_containment containment = mode ? SL_CONTAIN_KEEPER : sl_containment_detect();
        CHECK_INT(WTERMSIG(crash(containment, "process", "segv")), SIGSEGV);
        CHECK_INT(WTERMSIG(crash(containment, "process", "abort")), SIGABRT);
        CHECK_INT(WTERMSIG(crash(containment, "process", "kill")), SIGKILL);
        CHECK_INT(WTERMSIG(crash(containment, "create", "abort")), SIGABRT);
        CHECK_INT(crash(containment, "process", "exit0"), 0);
        CHECK_INT(WEXITSTATUS(crash(containment, "create", "exit3")), 3);
    }
}

TEST(exit_tells_time_and_memory) {
    int code;
    mini_ready(&core, FIXTURE, "fixture/hello", "{}");
    mini_stop(&core);
    CHECK_INT(mini_exit(&core, &code), 0);
    CHECK(mini_int(&core, 1) + mini_int(&core, 2) > 0); /* microseconds of CPU */
    CHECK(mini_int(&core, 3) > 256 * 1024);             /* peak resident bytes */
    CHECK(mini_int(&core, 3) < (int64_t)4 * 1024 * 1024 * 1024);
}

/* START with these, expecting REFUSED; the message. */
static const char *refusal(const char *plugin, const char *stage, const char *params, int status) {
    mini_start(&core, plugin, stage, params);
    mini_expect(&core, SL_FRAME_REFUSED, 0);
    CHECK_INT(mini_int(&core, 0), status);
    static char message[2048];
    snprintf(message, sizeof message, "%s", mini_text(&core, 1));
    int code;
    CHECK_INT(WEXITSTATUS(mini_exit(&core, &code)), 1);
    CHECK_INT(code, 1);
    CHECK_HAS(mini_read(core.log_fd), message);
    return message;
}

TEST(what_cannot_start_is_refused_with_the_reason) {
    CHECK_HAS(refusal("/nowhere/x.so", "x/y", "{}", SLUICE_INTERNAL),
              "/nowhere/x.so: cannot open shared object file");
    CHECK_HAS(refusal("relative.so", "x/y", "{}", SLUICE_INTERNAL),
              "absolute path that ends in .so");
    CHECK_HAS(refusal(BAD_PLUGINS "/undefined_symbol.so", "x/y", "{}", SLUICE_INTERNAL),
              "undefined symbol: a_function_that_nobody_has");
    CHECK_HAS(refusal(BAD_PLUGINS "/wrong_major.so", "x/y", "{}", SLUICE_INTERNAL),
              "abi_major is 2, expected 1");
    CHECK_HAS(refusal(FIXTURE, "fixture/nothing", "{}", SLUICE_INTERNAL),
              "has no stage fixture/nothing");
    CHECK_HAS(refusal(FIXTURE, "fixture/hello", "{\"name\": ", SLUICE_INTERNAL),
              "the parameters: not valid JSON");
    CHECK_HAS(refusal(FIXTURE, "fixture/hello", "[]", SLUICE_INTERNAL), "not a JSON object");
    CHECK_HAS(
        refusal(FIXTURE, "fixture/flaky",
                "{\"when\": \"create\", \"status\": \"resource\", \"fails\": 9, \"state\": \"\"}",
                SLUICE_RESOURCE),
        "call 1 of create failed on purpose");
}

TEST(a_constructor_that_crashes_shows_its_signal) {
    int code;
    mini_start(&core, BAD_PLUGINS "/constructor_crash.so", "x/y", "{}");
    CHECK_INT(WTERMSIG(mini_exit(&core, &code)), SIGSEGV);
    CHECK_HAS(mini_read(core.log_fd), "about to crash");
}

static void expect_failure(const char *stage, const char *params, struct mini_job *job, int status,
                           const char *message) {
    mini_ready(&core, FIXTURE, stage, params);
    mini_job(&core, 1, job);
    CHECK_INT(mini_done(&core, 1), status);
    CHECK_HAS(mini_text(&core, 1), message);
    mini_kill(&core);
}

TEST(outputs_are_checked) {
    struct mini_job text = text_job(), transcript = {.outputs = {{"transcript", "transcript/1"}}};
    expect_failure("fixture/no_commit", "{}", &text, SLUICE_INTERNAL,
                   "output \"text\" was not committed");
    expect_failure("fixture/garbage", "{\"content\": \"{\"}", &transcript, SLUICE_INTERNAL,
                   "output \"transcript\": not valid JSON");
    expect_failure("fixture/garbage",
                   "{\"content\": \"{\\\"language\\\": \\\"en\\\", \\\"duration\\\": 1, "
                   "\\\"text\\\": \\\"\\\"}\"}",
                   &transcript, SLUICE_INTERNAL, "output \"transcript\": segments is not a list");
    expect_failure("fixture/overgrow", "{}", &text, SLUICE_RESOURCE,
                   "output \"text\" cannot grow: No space left on device");
    struct mini_job other = {.outputs = {{"something", "text/1"}}};
    expect_failure("fixture/hello", "{}", &other, SLUICE_INTERNAL, "without saying why");
}

TEST(statuses_keep_their_class_and_message) {
    struct mini_job text = text_job();
    expect_failure("fixture/flaky",
                   "{\"status\": \"input\", \"fails\": 1, \"state\": \"\", \"when\": \"process\"}",
                   &text, SLUICE_INPUT, "call 1 of process failed on purpose");
    expect_failure(
        "fixture/flaky",
        "{\"status\": \"transient\", \"fails\": 1, \"state\": \"\", \"when\": \"process\"}", &text,
        SLUICE_TRANSIENT, "failed on purpose");
    expect_failure(
        "fixture/flaky",
        "{\"status\": \"cancelled\", \"fails\": 1, \"state\": \"\", \"when\": \"process\"}", &text,
        SLUICE_INTERNAL, "as if cancelled, but was not asked to");
}

TEST(the_wrong_number_of_descriptors_fails_the_job_only) {
    mini_ready(&core, FIXTURE, "fixture/hello", "{}");
    sl_frame_init(&core.out, SL_FRAME_JOB, 1);
    sl_frame_add_text(&core.out, "item");
    sl_frame_add_text(&core.out, "");
    sl_frame_add_u64(&core.out, 0);
    sl_frame_add_u64(&core.out, 1);
    sl_frame_add_text(&core.out, "text");
    sl_frame_add_text(&core.out, "text/1");
    CHECK_INT(sl_frame_finish(&core.out, NULL), 0);
    CHECK_INT(sl_channel_send(core.fd, &core.out, NULL, 0, NULL), 0);
    CHECK_INT(mini_done(&core, 1), SLUICE_INTERNAL);
    CHECK_HAS(mini_text(&core, 1), "wrong number of descriptors");
    struct mini_job job = text_job();
    mini_job(&core, 2, &job);
    CHECK_INT(mini_done(&core, 2), 0);
    mini_kill(&core);
}

TEST(garbage_from_the_core_ends_the_worker) {
    int code;
    mini_ready(&core, FIXTURE, "fixture/hello", "{}");
    CHECK_INT(write(core.fd, "garbage", 7), 7);
    CHECK_INT(WEXITSTATUS(mini_exit(&core, &code)), 2);
    CHECK_HAS(mini_read(core.log_fd), "not a message");
}

TEST(stop_before_start_and_stop_at_once) {
    int code;
    mini_spawn(&core);
    mini_stop(&core);
    CHECK_INT(mini_exit(&core, &code), 0);
    CHECK_INT(code, 0);
    mini_start(&core, FIXTURE, "fixture/hello", "{}");
    mini_stop(&core);
    CHECK_INT(mini_exit(&core, &code), 0);
    CHECK_INT(code, 0);
}

TEST_MAIN()
