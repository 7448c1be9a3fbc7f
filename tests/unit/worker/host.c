/* The worker's host on the well-behaved fixtures: jobs, parameters, inputs, outputs, cancel,
 * batches. */
#include "unit/test.h"

#include <signal.h>
#include <sys/stat.h>

#include <sluice/plugin.h>

#include "base/clock.h"
#include "mini_core.h"

#define FIXTURE PLUGINS "/fixture.so"

static struct mini_core core;

static struct mini_job text_job(const char *input) {
    struct mini_job job = {.outputs = {{"text", "text/1"}}};
    if (input)
        job.inputs[0] = (struct mini_port){"text", "text/1", input};
    return job;
}

static void stop_cleanly(void) {
    int code;
    mini_stop(&core);
    CHECK_INT(mini_exit(&core, &code), 0);
    CHECK_INT(code, 0);
}

TEST(hello_in_both_modes) {
    for (int mode = 0; mode < 2; mode++) {
        core.containment = mode ? SL_CONTAIN_KEEPER : sl_containment_detect();
        struct mini_job job = text_job(NULL);
        mini_ready(&core, FIXTURE, "fixture/hello", "{\"name\": \"Ada\"}");
        mini_job(&core, 1, &job);
        mini_expect(&core, SL_FRAME_COMMIT, 1);
        CHECK_STR(mini_text(&core, 0), "text");
        CHECK_INT(mini_int(&core, 1), 12);
        CHECK_INT(mini_done(&core, 1), 0);
        CHECK_STR(mini_read(job.outputs[0].fd), "Hello, Ada!\n");
        stop_cleanly();
    }
}

/* Outputs live in memory first, then in their file. */
TEST(outputs_of_any_size_grown_in_any_steps) {
    static const struct {
        int total, step;
    } cases[] = {{1, 1},         {4096, 4096},   {65536, 1000},
                 {65537, 65536}, {300000, 7000}, {300000, 300000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mini_job job = text_job(NULL);
        struct stat st;
        char params[64];
        snprintf(params, sizeof params, "{\"total\": %d, \"step\": %d}", cases[i].total,
                 cases[i].step);
        mini_ready(&core, FIXTURE, "fixture/steps", params);
        mini_job(&core, 1, &job);
        CHECK_INT(mini_done(&core, 1), 0);
        CHECK_INT(fstat(job.outputs[0].fd, &st), 0);
        CHECK_INT(st.st_size, cases[i].total);
        for (int at = 0; at < cases[i].total; at++) {
            char letter = 0;
            if (at % 997 && at != cases[i].total - 1)
                continue;
            CHECK_INT(pread(job.outputs[0].fd, &letter, 1, at), 1);
            CHECK_INT(letter, 'a' + at % 26);
        }
        stop_cleanly();
    }
}

TEST(parameters_inputs_and_surroundings_arrive) {
    char scratch[TEST_PATH];
    make_test_folder(scratch);
    char folder[128];
    snprintf(folder, sizeof folder, "%s/attempt", scratch);
    struct mini_job job = {.item = "talk",
                           .scratch = folder,
                           .inputs = {{"one", "text/1", "abc"},
                                      {"two", "json/1", ""},
                                      {"three", "file/1", "/music/a.wav"}},
                           .outputs = {{"text", "text/1"}}};
    mini_ready(&core, FIXTURE, "fixture/echo",
               "{\"a_bool\": false, \"an_int\": -3, \"a_float\": 2, \"a_string\": null, "
               "\"a_duration\": 90, "
               "\"a_size\": 4096, \"a_json\": [1, {\"k\": null}]}");
    mini_job(&core, 1, &job);
    CHECK_INT(mini_done(&core, 1), 0);
    const char *text = mini_read(job.outputs[0].fd);
    CHECK_HAS(text, "item talk\nshare /share/sluice\n");
    CHECK_HAS(text, "device 0 index 0 cpus 2 memory 1073741824\n");
    CHECK_HAS(text, "param a_bool = false (0)\n");
    CHECK_HAS(text, "param an_int = -3 (0)\n");
    CHECK_HAS(text, "param a_string = absent (-2)\n");
    CHECK_HAS(text, "param a_json = [1,{\"k\":null}] (0)\n");
    CHECK_HAS(text, "size 0 4096, duration 0 90, wrong kind -5, undeclared -5\n");
    CHECK_HAS(text, "input one: 0 type text/1 len 3 data yes path /run/artifact\n");
    CHECK_HAS(text, "input two: 0 type json/1 len 0 data yes path /run/artifact\n");
    CHECK_HAS(text, "input three: 0 type file/1 len 0 data no path /music/a.wav\n");
    char want[160];
    snprintf(want, sizeof want, "scratch %s\n", folder);
    CHECK_HAS(text, want);
    struct stat st;
    CHECK_INT(stat(folder, &st), 0);
    CHECK_INT(st.st_mode & 0777, 0700);
    CHECK_HAS(mini_read(core.log_fd), "asks for parameter \"nothing\" which it does not declare");
    rmdir(folder);
    rmdir(scratch);
    stop_cleanly();
}

TEST(parts_and_metrics_come_before_done) {
    struct mini_job job = {.inputs = {{"text", "text/1", "one\ntwo\n"}},
                           .outputs = {{"text", "text/1"}, {"count", "json/1"}}};
    mini_ready(&core, FIXTURE, "fixture/upper", "{}");
    mini_job(&core, 5, &job);
    mini_expect(&core, SL_FRAME_PART, 5);
    CHECK_STR(mini_text(&core, 1), "ONE\n");
    mini_expect(&core, SL_FRAME_PART, 5);
    CHECK_STR(mini_text(&core, 1), "TWO\n");
    mini_expect(&core, SL_FRAME_METRIC, 5);
    CHECK_STR(mini_text(&core, 0), "bytes");
    CHECK_NEAR(sl_frame_f64(&core.in, 1), 8, 0);
    CHECK_INT(mini_done(&core, 5), 0);
    CHECK_STR(mini_read(job.outputs[0].fd), "ONE\nTWO\n");
    CHECK_STR(mini_read(job.outputs[1].fd), "{\"bytes\": 8, \"note\": false}");
    /* The optional input is seen where it is connected; an empty input is fine. */
    struct mini_job again = {.inputs = {{"text", "text/1", ""}, {"note", "text/1", "n"}},
                             .outputs = {{"text", "text/1"}, {"count", "json/1"}}};
    mini_job(&core, 6, &again);
    CHECK_INT(mini_done(&core, 6), 0);
    CHECK_STR(mini_read(again.outputs[0].fd), "");
    CHECK_STR(mini_read(again.outputs[1].fd), "{\"bytes\": 0, \"note\": true}");
    stop_cleanly();
}

TEST(jobs_sent_ahead_are_done_one_after_the_other) {
    struct mini_job jobs[20];
    mini_ready(&core, FIXTURE, "fixture/hello", "{\"name\": \"x\"}");
    for (int i = 0; i < 20; i++) {
        jobs[i] = text_job(NULL);
        mini_job(&core, (uint32_t)i + 1, &jobs[i]);
    }
    mini_stop(&core); /* what was sent before is still done */
    for (int i = 0; i < 20; i++)
        CHECK_INT(mini_done(&core, (uint32_t)i + 1), 0);
    int code;
    CHECK_INT(mini_exit(&core, &code), 0);
    CHECK_INT(code, 0);
}

TEST(progress_is_throttled_but_the_last_one_comes) {
    struct mini_job job = text_job(NULL);
    int n = 0;
    double last = -1;
    int64_t begin = sl_now_ms();
    mini_ready(&core, FIXTURE, "fixture/sleepy",
               "{\"duration\": 1.02, \"starting\": 0, \"deaf\": false}");
    mini_job(&core, 1, &job);
    for (; mini_next(&core) && core.in.type != SL_FRAME_DONE;)
        if (core.in.type == SL_FRAME_PROGRESS) {
            n++;
            last = sl_frame_f64(&core.in, 0);
            CHECK_STR(mini_text(&core, 1), "sleeping");
        }
    CHECK(n >= 5 && n <= (sl_now_ms() - begin) / 100 + 2); /* of 21 calls */
    CHECK(last > 0.95);
    stop_cleanly();
}

TEST(cancel_of_the_running_and_of_a_waiting_job) {
    struct mini_job one = text_job(NULL), two = text_job(NULL), three = text_job(NULL);
    mini_ready(&core, FIXTURE, "fixture/sleepy",
               "{\"duration\": 30, \"starting\": 0, \"deaf\": false}");
    mini_job(&core, 1, &one);
    mini_job(&core, 2, &two);
    mini_job(&core, 3, &three);
    mini_expect(&core, SL_FRAME_PROGRESS, 1);
    mini_cancel(&core, 2);
    mini_expect(&core, SL_FRAME_DONE, 0); /* at once, while the first one runs */
    CHECK_INT(core.in.job, 2);
    CHECK_INT(mini_int(&core, 0), SLUICE_CANCELLED);
    int64_t begin = sl_now_ms();
    mini_cancel(&core, 0); /* all */
    int done = 0;
    while (done < 2) {
        mini_expect(&core, SL_FRAME_DONE, 0);
        CHECK_INT(mini_int(&core, 0), SLUICE_CANCELLED);
        done++;
    }
    CHECK(sl_now_ms() - begin < 2000);
    stop_cleanly();
}

TEST(prints_do_not_corrupt_anything) {
    struct mini_job job = text_job(NULL);
    mini_ready(&core, FIXTURE, "fixture/printer", "{\"lines\": 2000}");
    mini_job(&core, 1, &job);
    mini_expect(&core, SL_FRAME_LOG, 1);
    CHECK_INT(mini_int(&core, 0), SLUICE_LOG_WARN);
    CHECK_STR(mini_text(&core, 1), "a warning line");
    CHECK_INT(mini_done(&core, 1), 0);
    CHECK_STR(mini_read(job.outputs[0].fd), "printed\n");
    stop_cleanly();
    char tail[4096];
    off_t size = lseek(core.log_fd, 0, SEEK_END);
    CHECK(size > 2000 * 30);
    ssize_t n = pread(core.log_fd, tail, sizeof tail - 1, size - (off_t)sizeof tail + 1);
    tail[n] = 0;
    CHECK_HAS(tail, "stdout line 1999\n");
    CHECK_HAS(tail, "stderr line 1999\n");
    CHECK_HAS(tail, "info: an info line\nwarning: a warning line\n");
}

/* Four rows share their steps; one fails, one is cancelled, and neither disturbs the others. */
TEST(a_batch_of_which_one_fails_and_one_is_cancelled) {
    struct mini_job jobs[5];
    int status[6] = {1, 1, 1, 1, 1, 1};
    mini_start(&core, FIXTURE, "fixture/batcher",
               "{\"steps\": 30, \"fail_item\": \"item 2\", \"forget_item\": \"\"}");
    mini_expect(&core, SL_FRAME_READY, 0);
    CHECK_INT(mini_int(&core, 0), 1 << 20);
    CHECK_INT(mini_int(&core, 1), 2 << 20);
    char names[5][24];
    for (int i = 0; i < 4; i++) {
        snprintf(names[i], sizeof names[i], "item %d", i + 1);
        jobs[i] = text_job("x");
        jobs[i].item = names[i];
        mini_job(&core, (uint32_t)i + 1, &jobs[i]);
    }
    for (int done = 0, cancelled = 0; done < 4;) {
        CHECK(mini_next(&core));
        if (core.in.type == SL_FRAME_PROGRESS && core.in.job == 3 && !cancelled++)
            mini_cancel(&core, 3);
        if (core.in.type != SL_FRAME_DONE)
            continue;
        status[core.in.job] = (int)mini_int(&core, 0);
        if (core.in.job == 2)
            CHECK_STR(mini_text(&core, 1), "this item fails on purpose");
        done++;
    }
    CHECK_INT(status[1], 0);
    CHECK_INT(status[2], SLUICE_INPUT);
    CHECK_INT(status[3], SLUICE_CANCELLED);
    CHECK_INT(status[4], 0);
    CHECK_HAS(mini_read(jobs[0].outputs[0].fd), "at once");
    CHECK(atoi(mini_read(jobs[0].outputs[0].fd) + 8) >= 2);
    stop_cleanly();
}

TEST(a_job_that_is_forgotten_has_failed) {
    struct mini_job job = text_job(NULL), other = text_job(NULL);
    mini_ready(&core, FIXTURE, "fixture/batcher",
               "{\"steps\": 20, \"fail_item\": \"\", \"forget_item\": \"lost\"}");
    job.item = "kept";
    other.item = "lost";
    mini_job(&core, 1, &job);
    mini_job(&core, 2, &other);
    mini_expect(&core, SL_FRAME_DONE, 1);
    CHECK_INT(mini_int(&core, 0), 0);
    CHECK_INT(mini_done(&core, 2), SLUICE_INTERNAL);
    CHECK_STR(mini_text(&core, 1), "the stage returned without finishing the job");
    /* The worker is as good as before. */
    mini_job(&core, 3, &job);
    CHECK_INT(mini_done(&core, 3), 0);
    stop_cleanly();
}

TEST(many_jobs_one_after_the_other_leak_nothing) {
    mini_ready(&core, FIXTURE, "fixture/hello", "{\"name\": \"x\"}");
    for (uint32_t i = 1; i <= 400; i++) {
        struct mini_job job = text_job(NULL);
        mini_job(&core, i, &job);
        CHECK_INT(mini_done(&core, i), 0);
        close(job.outputs[0].fd);
    }
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", core.pid, core.pid);
    FILE *f = fopen(path, "r");
    int host = 0, n = 0;
    CHECK(f && fscanf(f, "%d", &host) == 1);
    fclose(f);
    snprintf(path, sizeof path, "ls /proc/%d/fd | wc -l", host);
    FILE *p = popen(path, "r");
    CHECK(p && fscanf(p, "%d", &n) == 1);
    pclose(p);
    CHECK(n > 0 && n < 12);
    stop_cleanly();
}

TEST_MAIN()
