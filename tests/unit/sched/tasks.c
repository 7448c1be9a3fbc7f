/* How outcomes spread through the tasks of an item. The plan is made by hand. */
#include "base/mem.h"
#include "sched/tasks.h"
#include "unit/test.h"

/*
 *   0 decode -> 1 asr -> 2 summary (optional) -> 4 text (needs the summary)
 *                    \-> 3 json (takes the summary if there is one)
 */
static struct sl_plan_input asr_in[] = {{.port = "audio", .from_stage = 0}};
static struct sl_plan_input summary_in[] = {{.port = "transcript", .from_stage = 1}};
static struct sl_plan_input json_in[] = {{.port = "transcript", .from_stage = 1},
                                         {.port = "summary", .from_stage = 2, .optional = true}};
static struct sl_plan_input text_in[] = {{.port = "text", .from_stage = 2}};
static struct sl_plan_output one_out[] = {{.port = "out"}};
static struct sl_plan_stage stages[] = {
    {.name = "decode", .outputs = one_out, .n_outputs = 1},
    {.name = "asr", .inputs = asr_in, .n_inputs = 1, .outputs = one_out, .n_outputs = 1},
    {.name = "summary", .inputs = summary_in, .n_inputs = 1, .outputs = one_out, .n_outputs = 1},
    {.name = "json", .inputs = json_in, .n_inputs = 2, .outputs = one_out, .n_outputs = 1},
    {.name = "text", .inputs = text_in, .n_inputs = 1, .outputs = one_out, .n_outputs = 1},
};
static const struct sl_plan plan = {.name = "t", .stages = stages, .n_stages = 5};
enum { DECODE, ASR, SUMMARY, JSON, TEXT };

static void ignore(void *ctx, struct sl_task *task) {
    (void)ctx;
    (void)task;
}

static struct sl_task *take(struct sl_tasks *t, int stage, int item) {
    struct sl_task *task = sl_tasks_take(t, stage);
    CHECK(task != NULL);
    CHECK_INT(task->item, item);
    return task;
}

static void done(struct sl_tasks *t, int item, int stage) {
    struct sl_task *task = take(t, stage, item);
    task->artifacts = sl_xcalloc(1, sizeof *task->artifacts);
    task->artifacts[0].path = sl_xstrdup("x");
    sl_tasks_settle(t, task, SL_TASK_DONE, ignore, NULL);
}

static void end(struct sl_tasks *t, int item, int stage, enum sl_task_state outcome) {
    sl_tasks_settle(t, take(t, stage, item), outcome, ignore, NULL);
}

TEST(stages_become_ready_in_order) {
    struct sl_tasks t;
    sl_tasks_init(&t, &plan, 2);
    CHECK_INT(sl_tasks_ready(&t, DECODE), 2);
    CHECK_INT(sl_tasks_ready_in_all(&t), 2);
    done(&t, 0, DECODE);
    CHECK_INT(sl_tasks_ready(&t, ASR), 1);
    done(&t, 0, ASR);
    CHECK_INT(sl_tasks_ready(&t, JSON), 0); /* waits for the optional one too */
    done(&t, 0, SUMMARY);
    done(&t, 0, JSON);
    CHECK_INT(t.items[0], SL_ITEM_OPEN);
    done(&t, 0, TEXT);
    CHECK_INT(t.items[0], SL_ITEM_OK);
    CHECK_INT(t.items[1], SL_ITEM_OPEN);
    CHECK_INT(t.stage_open[DECODE], 1);
    sl_tasks_finish(&t);
}

TEST(an_absent_source_leaves_optional_ports_empty) {
    struct sl_tasks t;
    sl_tasks_init(&t, &plan, 1);
    done(&t, 0, DECODE);
    done(&t, 0, ASR);
    end(&t, 0, SUMMARY, SL_TASK_ABSENT);
    CHECK_INT(sl_tasks_ready(&t, JSON), 1);
    CHECK_INT(sl_task_at(&t, 0, TEXT)->state, SL_TASK_SKIPPED);
    CHECK_HAS(sl_task_at(&t, 0, TEXT)->message, "stage \"summary\" gave none");
    done(&t, 0, JSON);
    CHECK_INT(t.items[0], SL_ITEM_OK);
    sl_tasks_finish(&t);
}

TEST(a_failure_ends_its_item_only) {
    struct sl_tasks t;
    sl_tasks_init(&t, &plan, 2);
    end(&t, 0, DECODE, SL_TASK_FAILED);
    CHECK_INT(t.items[0], SL_ITEM_FAILED);
    for (int s = ASR; s <= TEXT; s++)
        CHECK_INT(sl_task_at(&t, 0, s)->state, SL_TASK_SKIPPED);
    CHECK_INT(t.item_open[0], 0);
    done(&t, 1, DECODE);
    CHECK_INT(sl_tasks_ready(&t, ASR), 1);
    CHECK_INT(t.items[1], SL_ITEM_OPEN);
    sl_tasks_finish(&t);
}

TEST(what_runs_while_its_item_fails_is_left_to_the_caller) {
    struct sl_tasks t;
    sl_tasks_init(&t, &plan, 1);
    done(&t, 0, DECODE);
    done(&t, 0, ASR);
    done(&t, 0, SUMMARY);
    struct sl_task *json = take(&t, JSON, 0);
    end(&t, 0, TEXT, SL_TASK_FAILED);
    CHECK_INT(json->state, SL_TASK_RUNNING);
    CHECK_INT(t.item_open[0], 1);
    sl_tasks_settle(&t, json, SL_TASK_CANCELLED, ignore, NULL);
    CHECK_INT(t.item_open[0], 0);
    CHECK_INT(t.items[0], SL_ITEM_FAILED);
    sl_tasks_finish(&t);
}

TEST(cancelling_a_ready_task_takes_it_off_the_queue) {
    struct sl_tasks t;
    sl_tasks_init(&t, &plan, 3);
    sl_tasks_settle(&t, sl_task_at(&t, 1, DECODE), SL_TASK_CANCELLED, ignore, NULL);
    CHECK_INT(t.items[1], SL_ITEM_CANCELLED);
    CHECK_INT(sl_tasks_ready(&t, DECODE), 2);
    take(&t, DECODE, 0);
    take(&t, DECODE, 2);
    CHECK(sl_tasks_take(&t, DECODE) == NULL);
    sl_tasks_finish(&t);
}

TEST(a_retried_task_goes_to_the_end_of_the_queue) {
    struct sl_tasks t;
    sl_tasks_init(&t, &plan, 2);
    sl_tasks_make_ready(&t, take(&t, DECODE, 0));
    take(&t, DECODE, 1);
    take(&t, DECODE, 0);
    sl_tasks_finish(&t);
}

TEST(a_task_that_is_tried_again_goes_first) {
    struct sl_plan_stage stage = {.name = "a"};
    struct sl_plan plan = {.stages = &stage, .n_stages = 1};
    struct sl_tasks t;
    sl_tasks_init(&t, &plan, 3);
    struct sl_task *first = sl_tasks_take(&t, 0);
    CHECK_INT(first->item, 0);
    sl_tasks_make_ready_again(&t, first);
    CHECK_INT(sl_tasks_ready(&t, 0), 3);
    CHECK_INT(first->state, SL_TASK_READY);
    for (int i = 0; i < 3; i++)
        CHECK_INT(sl_tasks_take(&t, 0)->item, i);
    sl_tasks_make_ready(&t, sl_task_at(&t, 1, 0));
    sl_tasks_make_ready_again(&t, sl_task_at(&t, 2, 0));
    CHECK_INT(sl_tasks_take(&t, 0)->item, 2);
    CHECK_INT(sl_tasks_take(&t, 0)->item, 1);
    CHECK(!sl_tasks_peek(&t, 0));
    sl_tasks_finish(&t);
}

TEST_MAIN()
