/* The answer about the cards as data, CUDA_VISIBLE_DEVICES, and the machine's memory under control
 * groups. */
#include "proc/gpu.h"
#include "proc/machine.h"
#include "unit/test.h"

#define GIB ((uint64_t)1 << 30)
#define TWO                                                                                        \
    "{\"driver\":\"550.54.15\",\"cuda\":12040,\"cards\":["                                         \
    "{\"index\":0,\"uuid\":\"GPU-aaaa\",\"name\":\"A\\u001b[31m\",\"capability\":90,\"total\":"    \
    "25769803776,"                                                                                 \
    "\"reserved\":1073741824,\"free\":21474836480,\"persistence\":true,\"processes\":[[12,5],[-1," \
    "5],[13,\"x\"]]},"                                                                             \
    "{\"index\":1,\"uuid\":\"GPU-bbbb\",\"name\":\"B\",\"total\":1,\"free\":99,\"error\":\"GPU "   \
    "is lost\"}]}"

static struct sl_gpus parse(const char *text) {
    struct sl_gpus g;
    struct sl_err err;
    if (sl_gpus_parse(text, strlen(text), &g, &err) < 0)
        TEST_FAIL("%s", err.msg);
    return g;
}

TEST(an_answer_is_read) {
    struct sl_gpus g = parse(TWO);
    CHECK_STR(g.driver, "550.54.15");
    CHECK_INT(g.cuda, 12040);
    CHECK_INT(g.n, 2);
    const struct sl_gpu *a = &g.cards[0];
    CHECK_STR(a->uuid, "GPU-aaaa");
    CHECK_STR(a->name, "A [31m"); /* fit for a terminal */
    CHECK_INT(a->capacity, 23 * GIB);
    CHECK_INT(a->free, 20 * GIB);
    CHECK_INT(a->capability, 90);
    CHECK(a->persistent && !a->divided && !a->error);
    CHECK_INT(a->n_processes, 2);
    CHECK_INT(a->processes[0].pid, 12);
    CHECK_INT(a->processes[0].used, 5);
    CHECK_INT(a->processes[1].used, 0); /* of whom the driver does not say what it uses */
    CHECK_STR(g.cards[1].error, "GPU is lost");
    CHECK_INT(g.cards[1].free, 1); /* never more than there is */
    sl_gpus_finish(&g);
}

TEST(a_driver_that_cannot_be_used_is_an_answer) {
    struct sl_gpus g = parse("{\"error\": \"no NVIDIA driver: x\"}");
    CHECK_STR(g.error, "no NVIDIA driver: x");
    CHECK_INT(g.n, 0);
    sl_gpus_finish(&g);
}

TEST(what_is_no_answer_is_refused) {
    static const char *const bad[] = {"", "{}", "[]", "{\"cards\":1}", "{\"cards\":[", "7"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct sl_gpus g;
        struct sl_err err;
        CHECK(sl_gpus_parse(bad[i], strlen(bad[i]), &g, &err) < 0);
        CHECK(g.n == 0 && !g.cards && !g.error);
    }
}

TEST(cards_that_say_too_little_are_not_used) {
    struct sl_gpus g =
        parse("{\"cards\":[{}, {\"index\":1,\"uuid\":\"GPU-c\",\"total\":5,\"reserved\":9},"
              "{\"uuid\":\"GPU-d\",\"total\":5,\"divided\":true}, 3]}");
    CHECK_INT(g.n, 4);
    for (int i = 0; i < 4; i++)
        CHECK(g.cards[i].error != NULL);
    CHECK_HAS(g.cards[2].error, "MIG");
    sl_gpus_finish(&g);
}

static void check_visible(const char *visible, const char *first, int n) {
    struct sl_gpus g = parse(TWO);
    sl_gpus_restrict(&g, visible);
    CHECK_INT(g.n, n);
    if (n > 0)
        CHECK_STR(g.cards[0].uuid, first);
    else
        CHECK(g.error != NULL);
    sl_gpus_finish(&g);
}

TEST(visible_devices_are_those_that_stay) {
    check_visible(NULL, "GPU-aaaa", 2);
    check_visible("", NULL, 0);
    check_visible("1", "GPU-bbbb", 1);
    check_visible("1,0", "GPU-bbbb", 2);
    check_visible("GPU-bb", "GPU-bbbb", 1);
    check_visible("GPU-bbbb,GPU-aaaa", "GPU-bbbb", 2);
    check_visible("0,0,1", "GPU-aaaa", 1); /* twice: as CUDA, nothing after it counts */
    check_visible("1,7,0", "GPU-bbbb", 1);
    check_visible("-1", NULL, 0);
    check_visible("01", NULL, 0);
    check_visible("GPU-", NULL, 0);
    check_visible("MIG-aaaa", NULL, 0);
}

TEST(a_control_group_bounds_the_memory) {
    struct sl_machine_room room = {.capacity = 16 * GIB, .available = 12 * GIB};
    sl_machine_room_bound(&room, "max\n", "5\n", "");
    sl_machine_room_bound(&room, "9223372036854771712\n", "5\n", "");
    sl_machine_room_bound(&room, "", "", "");
    CHECK(room.capacity == 16 * GIB && room.available == 12 * GIB && !room.in_group);
    sl_machine_room_bound(&room, "8589934592\n", "6442450944\n",
                          "anon 5\ninactive_file 2147483648\n");
    CHECK(room.capacity == 8 * GIB && room.available == 4 * GIB && room.in_group);
    sl_machine_room_bound(&room, "4294967296\n", "9999999999\n", "total_inactive_file 1\n");
    CHECK(room.capacity == 4 * GIB && room.available == 0);
}

TEST(this_machine_has_memory) {
    struct sl_machine_room room;
    sl_machine_room(&room);
    CHECK(room.capacity > (1u << 20) && room.available <= room.capacity);
}

TEST_MAIN()
