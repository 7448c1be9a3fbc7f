/* Needs of stages and their devices, and the file of measured peaks. */
#include "sched/needs.h"
#include "base/mem.h"
#include "unit/test.h"

#define GIB ((uint64_t)1 << 30)
#define MIB ((uint64_t)1 << 20)

/* A stage that can use CUDA, on a machine of 64 GiB with these cards. */
static struct sl_gpu cards[2] = {
    {.name = "A", .uuid = "GPU-a", .capacity = 24 * GIB, .free = 24 * GIB},
    {.name = "B", .uuid = "GPU-b", .capacity = 40 * GIB, .free = 40 * GIB}};
static struct sl_gpus gpus = {.cards = cards, .n = 2};
static struct sl_stage_desc desc = {.flags = SLUICE_STAGE_CUDA};
static struct sl_peaks peaks;

static struct sl_plan_stage a_stage(enum sl_device_kind kind, int index, uint64_t gpu_memory) {
    return (struct sl_plan_stage){.name = "a",
                                  .use = "p/s",
                                  .params = "{}",
                                  .desc = &desc,
                                  .device = {kind, index},
                                  .resources = {.gpu_memory = gpu_memory}};
}

static struct sl_stage_need find(const struct sl_plan_stage *stage, const char *force_cpu) {
    struct sl_machine m = {64 * GIB, &gpus, &peaks};
    struct sl_stage_need n;
    sl_stage_need_find(stage, stage->params, &m, force_cpu, &n);
    return n;
}

static void note(const char *device, uint64_t memory, uint64_t gpu_memory, bool whole) {
    sl_autofree char *key = sl_peaks_key("p/s", "{}", device);
    sl_peaks_note(&peaks, key, (struct sl_peak){memory, gpu_memory}, whole);
}

static void begin(void) {
    sl_peaks_parse("", 0, &peaks);
}

TEST(declared_until_measured) {
    begin();
    struct sl_plan_stage s = a_stage(SL_DEVICE_CUDA, -1, 8 * GIB);
    struct sl_stage_need n = find(&s, NULL);
    CHECK(n.on_gpu && !n.never && !n.why);
    CHECK_INT(n.gpu_from, SL_NEED_DECLARED);
    CHECK_INT(n.gpu_memory, 8 * GIB);
    CHECK_INT(n.memory_from, SL_NEED_UNKNOWN);
    note("B", 320 * MIB, 16 * GIB, true);
    n = find(&s, NULL);
    CHECK_INT(n.gpu_from, SL_NEED_MEASURED);
    CHECK_INT(n.gpu_memory, 16 * GIB + 16 * GIB / 32);
    CHECK_INT(n.memory, 330 * MIB);
    note("A", 1, 23 * GIB + 900 * MIB, true);
    s.device.index = 0;
    n = find(&s, NULL); /* the margin stops at the card */
    CHECK_INT(n.gpu_memory, 24 * GIB);
    CHECK(!n.never);
}

TEST(auto_takes_a_card_where_it_fits) {
    begin();
    struct sl_plan_stage s = a_stage(SL_DEVICE_AUTO, -1, 30 * GIB);
    struct sl_stage_need n = find(&s, NULL);
    CHECK(n.on_gpu);
    CHECK_HAS(n.why, "cuda, because");
    sl_stage_need_finish(&n);
    s.resources.gpu_memory = 50 * GIB;
    n = find(&s, NULL);
    CHECK(!n.on_gpu && !n.never);
    CHECK_HAS(n.why, "cpu, because it needs 50.0 GiB of GPU memory (declared) and the largest "
                     "card, B, has 40.0 GiB");
    sl_stage_need_finish(&n);
    s.resources.gpu_memory = 1;
    n = find(&s, "it was refused");
    CHECK_STR(n.why, "cpu, because it was refused");
    CHECK(!n.on_gpu);
    sl_stage_need_finish(&n);
    desc.flags = 0;
    n = find(&s, NULL);
    CHECK(!n.on_gpu && !n.why);
    CHECK(!sl_plan_wants_cards(&(struct sl_plan){.stages = &s, .n_stages = 1}));
    desc.flags = SLUICE_STAGE_CUDA;
    CHECK(sl_plan_wants_cards(&(struct sl_plan){.stages = &s, .n_stages = 1}));
}

TEST(what_can_never_run) {
    begin();
    struct sl_plan_stage s = a_stage(SL_DEVICE_CUDA, 0, 30 * GIB);
    struct sl_stage_need n = find(&s, NULL);
    CHECK_HAS(n.never,
              "it needs 30.0 GiB of GPU memory (declared) and the largest card, A, has 24.0 GiB");
    sl_stage_need_finish(&n);
    s.device.index = 2;
    n = find(&s, NULL);
    CHECK_HAS(n.never, "there is no card 2; this machine has 2");
    sl_stage_need_finish(&n);
    cards[1].error = "GPU is lost";
    s = a_stage(SL_DEVICE_CUDA, 1, 0);
    n = find(&s, NULL);
    CHECK_HAS(n.never, "card 1, B cannot be used: GPU is lost");
    sl_stage_need_finish(&n);
    cards[1].error = NULL;
    s.resources.memory = 65 * GIB;
    s.device = (struct sl_device){SL_DEVICE_CPU, -1};
    n = find(&s, NULL);
    CHECK_HAS(n.never, "it needs 65.0 GiB of memory (declared) and this machine has 64.0 GiB");
    sl_stage_need_finish(&n);
    note("cpu", 10 * GIB, 0, true);
    n = find(&s, NULL); /* it was measured: it does */
    CHECK(!n.never);
}

TEST(a_driver_that_says_nothing_may_still_serve_cuda) {
    begin();
    struct sl_gpus none = {.error = "no NVIDIA driver: x"};
    struct sl_machine m = {64 * GIB, &none, &peaks};
    struct sl_plan_stage s = a_stage(SL_DEVICE_CUDA, 1, 0);
    struct sl_stage_need n;
    sl_stage_need_find(&s, "{}", &m, NULL, &n);
    CHECK(n.on_gpu && n.blind && !n.never);
    CHECK_INT(n.card, 1);
    s.device.kind = SL_DEVICE_AUTO;
    sl_stage_need_find(&s, "{}", &m, NULL, &n);
    CHECK(!n.on_gpu);
    CHECK_STR(n.why, "cpu, because no NVIDIA driver: x");
    sl_stage_need_finish(&n);
    none.error = NULL;
    s.device = (struct sl_device){SL_DEVICE_CUDA, -1};
    sl_stage_need_find(&s, "{}", &m, NULL, &n);
    CHECK_HAS(n.never, "this machine has no NVIDIA card");
    sl_stage_need_finish(&n);
}

/* ---- Peaks ----------------------------------------------------------------------------------- */

TEST(peaks_rise_at_once_and_fall_slowly) {
    begin();
    note("cpu", 100, 0, true);
    note("cpu", 500, 0, true);
    CHECK_INT(sl_peaks_get(&peaks, "p/s|x|cpu").memory, 0); /* another key */
    sl_autofree char *key = sl_peaks_key("p/s", "{}", "cpu");
    CHECK_INT(sl_peaks_get(&peaks, key).memory, 500);
    for (int i = 0; i < SL_PEAKS_KEPT - 1; i++)
        note("cpu", 200, 0, true);
    CHECK_INT(sl_peaks_get(&peaks, key).memory, 500);
    note("cpu", 200, 0, true);
    CHECK_INT(sl_peaks_get(&peaks, key).memory, 200);
    CHECK_INT(sl_peaks_get(&peaks, key).gpu_memory, 0);
    note("cpu", 100, 0, false); /* it was cut off: it may have needed more */
    note("cpu", 0, 0, true);
    CHECK_INT(sl_peaks_get(&peaks, key).memory, 200);
    note("cpu", 300, 0, false);
    CHECK_INT(sl_peaks_get(&peaks, key).memory, 300);
}

TEST(peaks_survive_being_written) {
    begin();
    note("cpu", 100, 0, true);
    note("H200", 100, 7 * GIB, true);
    sl_autofree char *text = sl_peaks_text(&peaks), *key = sl_peaks_key("p/s", "{}", "H200");
    struct sl_peaks again;
    sl_peaks_parse(text, strlen(text), &again);
    CHECK_INT(sl_peaks_get(&again, key).gpu_memory, 7 * GIB);
    for (size_t len = 0; len < strlen(text);
         len++) { /* cut anywhere: nothing is known, nothing breaks */
        struct sl_peaks cut;
        sl_peaks_parse(text, len, &cut);
        CHECK_INT(sl_peaks_get(&cut, key).gpu_memory, 0);
        sl_peaks_finish(&cut);
    }
    sl_peaks_finish(&again);
}

TEST(peaks_that_make_no_sense_are_dropped) {
    static const char text[] =
        "{\"sluice\":\"peaks/1\",\"stages\":{\"a\":{\"memory\":[-1,0,\"x\",5,1e9,9007199254740993,"
        "4611686018427387904]},\"b\":3,\"c\":{\"memory\":7,\"gpu_memory\":[1]}}}";
    struct sl_peaks p;
    sl_peaks_parse(text, strlen(text), &p);
    CHECK_INT(sl_peaks_get(&p, "a").memory, 5);
    CHECK_INT(sl_peaks_get(&p, "b").memory, 0);
    CHECK_INT(sl_peaks_get(&p, "c").gpu_memory, 1);
    sl_peaks_note(&p, "a", (struct sl_peak){50, 0}, true);
    CHECK_INT(sl_peaks_get(&p, "a").memory, 50);
    sl_peaks_finish(&p);
    static const char later[] = "{\"sluice\":\"peaks/2\",\"stages\":{\"a\":{\"memory\":[5]}}}";
    sl_peaks_parse(later, strlen(later), &p);
    CHECK_INT(sl_peaks_get(&p, "a").memory, 0);
    sl_peaks_finish(&p);
}

TEST(two_cores_write_beside_each_other) {
    char folder[TEST_PATH];
    make_test_folder(folder);
    setenv("SLUICE_STATE", folder, 1);
    struct sl_peaks first, second;
    struct sl_err err;
    sl_peaks_load(&first);
    sl_peaks_load(&second);
    sl_peaks_note(&first, "a", (struct sl_peak){11, 0}, true);
    sl_peaks_note(&second, "b", (struct sl_peak){22, 0}, true);
    CHECK_INT(sl_peaks_save(&first, &err), 0);
    CHECK_INT(sl_peaks_save(&second, &err), 0);
    sl_peaks_finish(&first);
    sl_peaks_finish(&second);
    sl_peaks_load(&first);
    CHECK_INT(sl_peaks_get(&first, "a").memory, 11);
    CHECK_INT(sl_peaks_get(&first, "b").memory, 22);
    sl_peaks_finish(&first);
    remove_test_files(folder);
}

TEST_MAIN()
