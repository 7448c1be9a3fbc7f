/* The rules of warm workers. */
#include "sched/warm.h"

#include "base/err.h"
#include "unit/test.h"

#define MIB (1ull << 20)

TEST(a_worker_is_worn_by_uses_or_growth) {
    struct sl_keep keep = {.kind = SL_KEEP_BATCH, .uses = 3, .growth = 100 * MIB};
    struct sl_warm_use use = {.tasks = 2, .first_memory = 500 * MIB, .memory = 600 * MIB};
    CHECK_INT(sl_warm_worn(&keep, &use), SL_LET_GO_NOT);
    use.memory++;
    CHECK_INT(sl_warm_worn(&keep, &use), SL_LET_GO_GROWTH);
    use.tasks = 3;
    CHECK_INT(sl_warm_worn(&keep, &use), SL_LET_GO_USES);
    keep.uses = 0;
    keep.growth = 0;
    CHECK_INT(sl_warm_worn(&keep, &use), SL_LET_GO_NOT);
}

TEST(memory_that_is_not_known_or_shrank_is_no_growth) {
    struct sl_keep keep = {.kind = SL_KEEP_BATCH, .growth = 1};
    CHECK_INT(sl_warm_worn(&keep, &(struct sl_warm_use){.tasks = 9, .memory = 500 * MIB}),
              SL_LET_GO_NOT);
    CHECK_INT(sl_warm_worn(&keep, &(struct sl_warm_use){.first_memory = 500 * MIB, .memory = MIB}),
              SL_LET_GO_NOT);
}

TEST(only_some_failures_spoil_a_process) {
    CHECK(sl_warm_spoilt(SLUICE_INTERNAL) && sl_warm_spoilt(SLUICE_RESOURCE) &&
          sl_warm_spoilt(SL_CRASH) && sl_warm_spoilt(SL_TIMEOUT));
    CHECK(!sl_warm_spoilt(SLUICE_OK) && !sl_warm_spoilt(SLUICE_INPUT) &&
          !sl_warm_spoilt(SLUICE_TRANSIENT) && !sl_warm_spoilt(SLUICE_CANCELLED) &&
          !sl_warm_spoilt(SLUICE_UNSUPPORTED));
}

TEST(an_idle_worker_makes_room_in_time) {
    struct sl_warm_case c = {.idle_ms = 0, .load_ms = 10000, .n_busy = 1, .n_waiting = 1};
    CHECK_INT(sl_warm_wait_ms(&c), 40000);
    c.idle_ms = 39000;
    CHECK_INT(sl_warm_wait_ms(&c), 1000);
    c.idle_ms = 40000;
    CHECK_INT(sl_warm_wait_ms(&c), 0);
    c = (struct sl_warm_case){
        .load_ms = 10, .n_busy = 1, .n_waiting = 1}; /* quick to load: still not at once */
    CHECK_INT(sl_warm_wait_ms(&c), SL_WARM_PATIENCE_MS);
    c.n_busy = 0;
    CHECK_INT(sl_warm_wait_ms(&c), 0);
    c.n_busy = 3;
    c.n_waiting = SL_WARM_WAITING - 1;
    CHECK(sl_warm_wait_ms(&c) > 0);
    c.n_waiting++;
    CHECK_INT(sl_warm_wait_ms(&c), 0);
}

TEST(every_reason_has_a_name) {
    for (int why = SL_LET_GO_NOT; why <= SL_LET_GO_STOP; why++)
        CHECK(*sl_let_go_name(why) && *sl_let_go_text(why));
}

TEST_MAIN()
