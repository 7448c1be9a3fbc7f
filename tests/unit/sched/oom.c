/* The next step after a failure for lack of memory. */
#include "sched/oom.h"

#include "unit/test.h"

#define GIB (1ull << 30)

static const struct sl_oom_policy all = {
    .n = 4, .steps = {SL_OOM_SHRINK, SL_OOM_OTHER_GPU, SL_OOM_GROW, SL_OOM_CPU}};

/* A stage on the CPU that said it had no memory. */
static const struct sl_oom_case on_cpu = {.host = true,
                                          .memory = 4 * GIB,
                                          .memory_max = 64 * GIB,
                                          .gpu_memory_max = 24 * GIB,
                                          .grow_memory = 1,
                                          .grow_gpu_memory = 1};

TEST(the_list_is_followed_in_order) {
    struct sl_oom_case c = on_cpu;
    c.on_gpu = c.card = true;
    c.batch = 4;
    c.other_cards = 1;
    c.gpu_memory = 12 * GIB;
    static const enum sl_oom_step want[] = {SL_OOM_SHRINK, SL_OOM_SHRINK, SL_OOM_OTHER_GPU,
                                            SL_OOM_GROW};
    for (int i = 0; i < 4; i++) {
        struct sl_oom_decision d = sl_oom_next(&all, &c);
        CHECK_INT(d.step, want[i]);
        c.batch = d.batch ? d.batch : c.batch;
        c.other_cards -= d.step == SL_OOM_OTHER_GPU;
        c.memory = d.memory ? d.memory : c.memory;
        c.gpu_memory = d.gpu_memory ? d.gpu_memory : c.gpu_memory;
        c.n_steps++;
    }
    CHECK_INT(c.batch, 1);
    CHECK_INT(c.gpu_memory, 24 * GIB);
    CHECK_INT(c.memory, 8 * GIB);
    c.memory = 64 * GIB; /* nothing can grow any more */
    CHECK_INT(sl_oom_next(&all, &c).step, SL_OOM_CPU);
    c.on_gpu = c.card = false;
    CHECK_INT(sl_oom_next(&all, &c).step, SL_OOM_NONE);
}

TEST(another_order_is_another_order) {
    struct sl_oom_policy p = {.n = 2, .steps = {SL_OOM_CPU, SL_OOM_SHRINK}};
    struct sl_oom_case c = on_cpu;
    c.on_gpu = c.card = true;
    c.batch = 16;
    CHECK_INT(sl_oom_next(&p, &c).step, SL_OOM_CPU);
    c.on_gpu = c.card = false;
    struct sl_oom_decision d = sl_oom_next(&p, &c);
    CHECK_INT(d.step, SL_OOM_SHRINK);
    CHECK_INT(d.batch, 8);
    p.n = 0;
    CHECK_INT(sl_oom_next(&p, &c).step, SL_OOM_NONE);
}

TEST(only_what_may_have_lacked_grows) {
    struct sl_oom_policy p = {.n = 1, .steps = {SL_OOM_GROW}};
    struct sl_oom_case c = on_cpu;
    c.grow_memory = 1.5;
    struct sl_oom_decision d = sl_oom_next(&p, &c);
    CHECK_INT(d.memory, 6 * GIB);
    CHECK_INT(d.gpu_memory, 0);
    c.memory = 60 * GIB;
    CHECK_INT(sl_oom_next(&p, &c).memory, 64 * GIB); /* up to what the machine has */
    c.memory = 0;                                    /* no limit, nothing to raise */
    CHECK_INT(sl_oom_next(&p, &c).step, SL_OOM_NONE);
    c.on_gpu = c.card = true;
    c.host = false;
    c.memory = 4 * GIB;
    c.gpu_memory = 10 * GIB;
    d = sl_oom_next(&p, &c);
    CHECK_INT(d.memory, 0);
    CHECK_INT(d.gpu_memory, 20 * GIB);
}

TEST(a_kill_for_the_machines_memory_says_nothing_of_the_card) {
    struct sl_oom_case c = on_cpu;
    c.on_gpu = true;
    c.other_cards = 3;
    struct sl_oom_policy p = {.n = 2, .steps = {SL_OOM_OTHER_GPU, SL_OOM_CPU}};
    CHECK_INT(sl_oom_next(&p, &c).step, SL_OOM_NONE);
}

TEST(steps_are_bounded) {
    struct sl_oom_case c = on_cpu;
    c.memory = 1;
    c.n_steps = SL_OOM_MAX_STEPS;
    CHECK_INT(sl_oom_next(&all, &c).step, SL_OOM_NONE);
}

TEST(a_step_has_words) {
    char buf[96];
    CHECK_STR(
        sl_oom_text(&(struct sl_oom_decision){.step = SL_OOM_SHRINK, .batch = 8}, buf, sizeof buf),
        "batch_size 8");
    CHECK_STR(sl_oom_text(&(struct sl_oom_decision){.step = SL_OOM_GROW, .memory = 2 * GIB}, buf,
                          sizeof buf),
              "a limit of 2.0 GiB of memory");
    CHECK_STR(sl_oom_text(&(struct sl_oom_decision){.step = SL_OOM_GROW, .gpu_memory = 2 * GIB},
                          buf, sizeof buf),
              "a limit of 2.0 GiB of GPU memory");
    CHECK_STR(
        sl_oom_text(
            &(struct sl_oom_decision){.step = SL_OOM_GROW, .memory = GIB, .gpu_memory = 2 * GIB},
            buf, sizeof buf),
        "limits of 1.0 GiB of memory and 2.0 GiB of GPU memory");
    CHECK_STR(sl_oom_text(&(struct sl_oom_decision){.step = SL_OOM_CPU}, buf, sizeof buf),
              "the CPU");
    CHECK_STR(sl_oom_text(&(struct sl_oom_decision){.step = SL_OOM_OTHER_GPU}, buf, sizeof buf),
              "another card");
}

TEST_MAIN()
