/* The worker's host on the well-behaved fixtures: jobs, parameters, inputs, outputs, cancel, batches. */
#include "unit/test.h"

#include <signal.h>
#include <sys/stat.h>

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

TEST_MAIN()
