/* The ledger of memory: what fits, what waits, what is evicted, and what a card shows after a
 * worker's end. */
#include "sched/ledger.h"
#include "unit/test.h"

#define GIB ((uint64_t)1 << 30)
#define MIB ((uint64_t)1 << 20)

/* A machine with 64 GiB and cards of these sizes, all free. */
static struct sl_ledger machine(int n, const uint64_t *gib) {
    struct sl_ledger l = {.memory_capacity = 64 * GIB, .memory_free = 60 * GIB, .n_devices = n};
    for (int i = 0; i < n; i++)
        l.devices[i] = (struct sl_ledger_device){.capacity = gib[i] * GIB, .free = gib[i] * GIB};
    return l;
}

static struct sl_ledger one_card(uint64_t gib) {
    return machine(1, &gib);
}

static struct sl_need gpu_need(uint64_t bytes) {
    return (struct sl_need){.on_gpu = true, .gpu_memory = bytes, .device = -1};
}

static struct sl_answer ask(const struct sl_ledger *l, struct sl_need need) {
    struct sl_answer a;
    sl_ledger_ask(l, &need, &a);
    return a;
}

static void hold(struct sl_ledger *l, struct sl_hold *h, int device, uint64_t bytes,
                 enum sl_hold_state state) {
    *h = (struct sl_hold){.device = device, .gpu_memory = bytes, .state = state};
    sl_ledger_add(l, h);
}

TEST(eight_and_twenty_two_take_turns_on_24) {
    static const uint64_t needs[2] = {8 * GIB, 22 * GIB};
    for (int first = 0; first < 2; first++) {
        struct sl_ledger l = one_card(24);
        struct sl_hold h;
        CHECK_INT(ask(&l, gpu_need(needs[first])).verdict, SL_VERDICT_FITS);
        hold(&l, &h, 0, needs[first], SL_HOLD_BUSY);
        struct sl_answer a = ask(&l, gpu_need(needs[!first]));
        CHECK_INT(a.verdict, SL_VERDICT_WAIT);
        CHECK_INT(a.lack, SL_LACK_GPU);
        CHECK(!a.foreign);
        CHECK_INT(a.available, 24 * GIB - needs[first]);
        sl_ledger_remove(&l, &h);
        CHECK_INT(ask(&l, gpu_need(needs[!first])).verdict, SL_VERDICT_FITS);
    }
}

TEST(eight_and_twenty_two_overlap_on_32) {
    struct sl_ledger l = one_card(32);
    struct sl_hold h;
    hold(&l, &h, 0, 8 * GIB, SL_HOLD_BUSY);
    CHECK_INT(ask(&l, gpu_need(22 * GIB)).verdict, SL_VERDICT_FITS);
    CHECK_INT(ask(&l, gpu_need(25 * GIB)).verdict, SL_VERDICT_WAIT);
}

TEST(what_can_never_fit_says_so) {
    struct sl_ledger l = machine(2, (const uint64_t[]){24, 16});
    struct sl_answer a = ask(&l, gpu_need(25 * GIB));
    CHECK_INT(a.verdict, SL_VERDICT_NEVER);
    CHECK_INT(a.available, 24 * GIB);
    struct sl_need second = gpu_need(20 * GIB);
    second.device = 1;
    a = ask(&l, second);
    CHECK_INT(a.verdict, SL_VERDICT_NEVER);
    CHECK_INT(a.available, 16 * GIB);
    CHECK_INT(ask(&l, (struct sl_need){.memory = 65 * GIB, .device = -1}).verdict,
              SL_VERDICT_NEVER);
    struct sl_ledger none = machine(0, NULL);
    CHECK_INT(ask(&none, gpu_need(SL_LEDGER_ALL)).verdict, SL_VERDICT_NEVER);
}

TEST(an_unknown_need_takes_the_card_alone) {
    struct sl_ledger l = one_card(24);
    struct sl_hold h;
    hold(&l, &h, 0, SL_LEDGER_ALL, SL_HOLD_BUSY);
    CHECK_INT(ask(&l, gpu_need(1)).verdict, SL_VERDICT_WAIT);
    sl_ledger_remove(&l, &h);
    hold(&l, &h, 0, 1 * GIB, SL_HOLD_BUSY);
    CHECK_INT(ask(&l, gpu_need(SL_LEDGER_ALL)).verdict, SL_VERDICT_WAIT);
    sl_ledger_remove(&l, &h);
    l.devices[0].foreign = 10 * GIB;
    CHECK_INT(ask(&l, gpu_need(SL_LEDGER_ALL)).verdict, SL_VERDICT_FITS);
}

TEST(the_card_with_most_room_is_taken) {
    struct sl_ledger l = machine(3, (const uint64_t[]){24, 48, 24});
    struct sl_hold h[2];
    CHECK_INT(ask(&l, gpu_need(8 * GIB)).device, 1);
    hold(&l, &h[0], 1, 40 * GIB, SL_HOLD_BUSY);
    l.devices[0].foreign = 4 * GIB;
    CHECK_INT(ask(&l, gpu_need(8 * GIB)).device, 2);
    hold(&l, &h[1], 2, 20 * GIB, SL_HOLD_BUSY);
    CHECK_INT(ask(&l, gpu_need(8 * GIB)).device, 0);
    struct sl_need need = gpu_need(8 * GIB);
    need.avoid = 1;
    CHECK_INT(ask(&l, need).device, 1);
    CHECK_INT(ask(&l, need).verdict, SL_VERDICT_FITS); /* 48 - 40 */
    l.devices[0].capacity = 0;
    CHECK_INT(ask(&l, gpu_need(4 * GIB)).device, 1);
}

TEST(the_smaller_of_both_readings_counts) {
    struct sl_ledger l = one_card(24);
    struct sl_hold h;
    l.devices[0].free = 5 * GIB; /* somebody came since the foreign use was last known */
    struct sl_answer a = ask(&l, gpu_need(8 * GIB));
    CHECK_INT(a.verdict, SL_VERDICT_WAIT);
    CHECK(a.foreign);
    CHECK_INT(a.available, 5 * GIB);
    hold(&l, &h, 0, 22 * GIB, SL_HOLD_BUSY); /* admitted, and nothing allocated yet */
    CHECK(!sl_ledger_see(&l, 0, 24 * GIB, true));
    CHECK_INT(sl_ledger_available(&l, 0), 2 * GIB);
    h.gpu_seen = 23 * GIB; /* more than it said */
    CHECK(!sl_ledger_see(&l, 0, 1 * GIB, true));
    CHECK_INT(l.devices[0].foreign, 0);
    CHECK_INT(sl_ledger_available(&l, 0), 1 * GIB);
}

TEST(others_on_the_card_are_told_from_ours) {
    struct sl_ledger l = one_card(24);
    struct sl_hold h;
    sl_ledger_see(&l, 0, 21 * GIB, false); /* 3 GiB of others before anything starts */
    CHECK_INT(l.devices[0].foreign, 3 * GIB);
    hold(&l, &h, 0, 8 * GIB, SL_HOLD_BUSY);
    sl_ledger_see(&l, 0, 21 * GIB, false); /* nothing allocated yet */
    CHECK_INT(l.devices[0].foreign, 3 * GIB);
    CHECK_INT(sl_ledger_available(&l, 0), 13 * GIB);
    sl_ledger_see(&l, 0, 11 * GIB, false); /* ours 8, theirs 5: only the sum is known */
    CHECK_INT(l.devices[0].foreign, 5 * GIB);
    h.gpu_seen = 6 * GIB;
    sl_ledger_see(&l, 0, 11 * GIB, true);
    CHECK_INT(l.devices[0].foreign, 7 * GIB);
    CHECK_INT(sl_ledger_available(&l, 0), 9 * GIB);
}

TEST(memory_counts_until_the_card_shows_it_back) {
    struct sl_ledger l = one_card(24);
    struct sl_hold h;
    sl_ledger_see(&l, 0, 23 * GIB, true);
    hold(&l, &h, 0, 22 * GIB, SL_HOLD_BUSY);
    h.gpu_seen = 22 * GIB;
    sl_ledger_see(&l, 0, 1 * GIB, true);
    h.state = SL_HOLD_GONE;
    CHECK(!sl_ledger_see(&l, 0, 1 * GIB, true)); /* late */
    CHECK_INT(l.devices[0].foreign, 1 * GIB);
    struct sl_answer a = ask(&l, gpu_need(8 * GIB));
    CHECK_INT(a.verdict, SL_VERDICT_WAIT);
    CHECK(!a.foreign);
    CHECK(!sl_ledger_see(&l, 0, 12 * GIB, true));
    CHECK(sl_ledger_see(&l, 0, 19 * GIB, true)); /* three quarters are back */
    sl_ledger_remove(&l, &h);
    sl_ledger_see(&l, 0, 19 * GIB, true);
    CHECK_INT(l.devices[0].foreign, 5 * GIB);
    CHECK_INT(ask(&l, gpu_need(20 * GIB)).verdict, SL_VERDICT_WAIT);
}

TEST(late_release_beside_a_worker_that_grows) {
    struct sl_ledger l = one_card(32);
    struct sl_hold gone, other;
    hold(&l, &gone, 0, 8 * GIB, SL_HOLD_GONE);
    gone.gpu_seen = 8 * GIB;
    hold(&l, &other, 0, 20 * GIB, SL_HOLD_BUSY);
    other.gpu_seen = 2 * GIB;
    CHECK(!sl_ledger_see(&l, 0, 22 * GIB, true));
    /* Took what the other gave back: as much is free as before, and yet it is back. */
    other.gpu_seen = 20 * GIB;
    CHECK(sl_ledger_see(&l, 0, 12 * GIB, true));
}

TEST(idle_workers_are_evicted_longest_idle_first) {
    struct sl_ledger l = one_card(24);
    struct sl_hold h[4];
    for (int i = 0; i < 3; i++) {
        hold(&l, &h[i], 0, 6 * GIB, SL_HOLD_IDLE);
        h[i].idle_since_ms = 100 - 10 * i;
    }
    hold(&l, &h[3], 0, 4 * GIB, SL_HOLD_BUSY);
    CHECK_INT(ask(&l, gpu_need(2 * GIB)).verdict, SL_VERDICT_FITS);
    struct sl_answer a = ask(&l, gpu_need(13 * GIB));
    CHECK_INT(a.verdict, SL_VERDICT_EVICT);
    CHECK_INT(a.n_evict, 2);
    CHECK(a.evict[0] == &h[2] && a.evict[1] == &h[1]);
    a = ask(&l, gpu_need(21 * GIB)); /* the busy one is in the way */
    CHECK_INT(a.verdict, SL_VERDICT_WAIT);
    CHECK_INT(a.n_evict, 0);
    h[2].state = SL_HOLD_LEAVING;
    CHECK_INT(ask(&l, gpu_need(8 * GIB)).verdict, SL_VERDICT_WAIT); /* that one makes the room */
    CHECK_INT(ask(&l, gpu_need(13 * GIB)).n_evict, 1);
}

TEST(eviction_prefers_the_card_that_needs_none) {
    struct sl_ledger l = machine(2, (const uint64_t[]){24, 24});
    struct sl_hold h[2];
    hold(&l, &h[0], 0, 20 * GIB, SL_HOLD_IDLE);
    hold(&l, &h[1], 1, 10 * GIB, SL_HOLD_BUSY);
    CHECK_INT(ask(&l, gpu_need(12 * GIB)).device, 1);
    CHECK_INT(ask(&l, gpu_need(12 * GIB)).verdict, SL_VERDICT_FITS);
    struct sl_answer a = ask(&l, gpu_need(16 * GIB));
    CHECK_INT(a.verdict, SL_VERDICT_EVICT);
    CHECK(a.device == 0 && a.n_evict == 1 && a.evict[0] == &h[0]);
}

TEST(memory_of_the_machine_bounds_the_sum) {
    struct sl_ledger l = machine(0, NULL);
    struct sl_hold h[2] = {{.device = -1, .memory = 40 * GIB}, {.device = -1, .memory = 10 * GIB}};
    /* Nothing runs. */
    CHECK_INT(ask(&l, (struct sl_need){.memory = 62 * GIB, .device = -1}).verdict, SL_VERDICT_FITS);
    sl_ledger_add(&l, &h[0]);
    CHECK_INT(ask(&l, (struct sl_need){.memory = 20 * GIB, .device = -1}).verdict, SL_VERDICT_FITS);
    struct sl_answer a = ask(&l, (struct sl_need){.memory = 21 * GIB, .device = -1});
    CHECK_INT(a.verdict, SL_VERDICT_WAIT); /* 60 free, 40 of them promised */
    CHECK_INT(a.lack, SL_LACK_MEMORY);
    CHECK_INT(ask(&l, (struct sl_need){.device = -1}).verdict, SL_VERDICT_FITS);
    h[0].memory_seen = 40 * GIB;
    l.memory_free = 20 * GIB;
    CHECK_INT(ask(&l, (struct sl_need){.memory = 20 * GIB, .device = -1}).verdict, SL_VERDICT_FITS);
    h[1].state = SL_HOLD_IDLE;
    sl_ledger_add(&l, &h[1]);
    a = ask(&l, (struct sl_need){.memory = 20 * GIB, .device = -1});
    CHECK_INT(a.verdict, SL_VERDICT_EVICT);
    CHECK(a.n_evict == 1 && a.evict[0] == &h[1]);
}

TEST(a_card_and_the_machine_are_both_asked) {
    struct sl_ledger l = one_card(24);
    struct sl_hold h[2] = {{.device = -1, .memory = 60 * GIB, .state = SL_HOLD_IDLE},
                           {.device = 0, .gpu_memory = 20 * GIB, .state = SL_HOLD_IDLE}};
    sl_ledger_add(&l, &h[0]);
    sl_ledger_add(&l, &h[1]);
    struct sl_need need = gpu_need(8 * GIB);
    need.memory = 10 * GIB;
    struct sl_answer a = ask(&l, need);
    CHECK_INT(a.verdict, SL_VERDICT_EVICT);
    CHECK_INT(a.n_evict, 2);
    h[1].state = SL_HOLD_BUSY;
    CHECK_INT(ask(&l, need).verdict, SL_VERDICT_WAIT);
}

TEST(sums_do_not_wrap) {
    struct sl_ledger l = one_card(24);
    struct sl_hold h[2];
    hold(&l, &h[0], 0, UINT64_MAX - 1, SL_HOLD_BUSY);
    hold(&l, &h[1], 0, UINT64_MAX - 1, SL_HOLD_BUSY);
    CHECK_INT(sl_ledger_available(&l, 0), 0);
    CHECK_INT(ask(&l, gpu_need(1)).verdict, SL_VERDICT_WAIT);
    CHECK(!sl_ledger_see(&l, 0, 0, false));
    sl_ledger_remove(&l, &h[0]);
    sl_ledger_remove(&l, &h[0]);
    CHECK(l.holds == &h[1]);
}

TEST_MAIN()
