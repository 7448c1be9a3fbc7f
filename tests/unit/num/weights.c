/*
 * Quantised blocks: elements worked out by hand, and whole blocks against the values of
 * tools/reference/dequantise.py, exactly.
 */
#include <jansson.h>

#include "num/weights.h"
#include "unit/hex.h"

static void to_f32(enum num_weight_type type, const void *block, float *ret) {
    struct num_weights w = {.type = type, .n_dims = 1, .data = block};
    uint64_t bytes;
    w.shape[0] = num_weight_block(type);
    CHECK(num_weights_measure(&w, &bytes));
    CHECK_INT(bytes, num_weight_block_bytes(type));
    num_weights_to_f32(&w, 0, 1, ret);
}

#define HALF 0x3800 /* 0.5 */
#define TWO  0x4000

TEST(by_hand_q4_and_q5) {
    float x[32];
    struct num_q4_0 a = {.d = HALF, .qs = {0x9f}};
    to_f32(NUM_WEIGHT_Q4_0, &a, x);
    CHECK(x[0] == 3.5f && x[16] == 0.5f && x[1] == -4 && x[31] == -4);
    struct num_q4_1 b = {.d = HALF, .m = TWO, .qs = {0x9f}};
    to_f32(NUM_WEIGHT_Q4_1, &b, x);
    CHECK(x[0] == 9.5f && x[16] == 6.5f && x[1] == 2);
    struct num_q5_0 c = {.d = HALF, .qh = {1, 0, 2}, .qs = {0x9f, 0x30}};
    to_f32(NUM_WEIGHT_Q5_0, &c, x);
    CHECK(x[0] == 7.5f && x[16] == -3.5f && x[17] == 1.5f && x[1] == -8);
    struct num_q5_1 d = {.d = HALF, .m = TWO, .qh = {0, 0, 0, 0x80}, .qs = {[15] = 0xf1}};
    to_f32(NUM_WEIGHT_Q5_1, &d, x);
    CHECK(x[15] == 2.5f && x[31] == 17.5f && x[0] == 2);
}

TEST(by_hand_q8_and_k) {
    float x[256];
    struct num_q8_0 a = {.d = HALF, .qs = {-128, 127}};
    to_f32(NUM_WEIGHT_Q8_0, &a, x);
    CHECK(x[0] == -64 && x[1] == 63.5f && x[2] == 0);
    /* Part 0: scale 63, minimum 1. Part 5: low halves 10 and 9, upper bits 3 and 2. */
    struct num_q4_k b = {.d = HALF, .dmin = TWO, .qs = {[0] = 0x0f, [64 + 31] = 0x70}};
    b.scales[0] = 63;
    b.scales[4] = 1;
    b.scales[1] = 3 << 6;
    b.scales[5] = 2 << 6;
    b.scales[9] = 0x9a;
    to_f32(NUM_WEIGHT_Q4_K, &b, x);
    CHECK(x[0] == 0.5f * 63 * 15 - 2 && x[1] == -2);
    CHECK(x[32 * 5 + 31] == 0.5f * 58 * 7 - 2 * 41 && x[32 * 5] == -82);
    struct num_q5_k c = {.d = HALF, .dmin = TWO, .qh = {[31] = 1 << 5}, .qs = {[64 + 31] = 0x70}};
    memcpy(c.scales, b.scales, sizeof c.scales);
    to_f32(NUM_WEIGHT_Q5_K, &c, x);
    CHECK(x[32 * 5 + 31] == 0.5f * 58 * 23 - 2 * 41);
    /* Half 1, part 2, element 17: scale 8 + 4 + 1. */
    struct num_q6_k d = {.d = HALF, .ql = {[64 + 17] = 0x50}, .qh = {[32 + 17] = 3 << 4}};
    d.scales[13] = -3;
    to_f32(NUM_WEIGHT_Q6_K, &d, x);
    CHECK(x[128 + 64 + 17] == 0.5f * -3 * (5 + 48 - 32) && x[0] == 0);
}

TEST(blocks_against_the_reference) {
    json_t *all = json_load_file(TESTS_DIR "/data/expected/blocks.json", 0, NULL);
    CHECK(all != NULL);
    int n_types = 0;
    for (int type = 0; type < NUM_N_WEIGHT_TYPES; type++) {
        static uint8_t data[4096], expected[8192];
        static float values[4 * 256];
        json_t *o = json_object_get(all, num_weight_name(type));
        if (!o)
            continue;
        /* An odd address: views need no alignment. */
        size_t bytes = unhex(json_string_value(json_object_get(o, "blocks")), data + 1), size;
        size_t n = unhex(json_string_value(json_object_get(o, "values")), expected) / sizeof(float);
        struct num_weights w = {.type = type, .n_dims = 2, .data = data + 1};
        w.shape[0] = 2;
        w.shape[1] = n / 2;
        CHECK(num_weights_measure(&w, &size) && size == bytes);
        num_weights_to_f32(&w, 1, 1, values + n / 2); /* rows apart */
        num_weights_to_f32(&w, 0, 1, values);
        for (size_t i = 0; i < n; i++) {
            float want;
            memcpy(&want, expected + 4 * i, sizeof want);
            if (values[i] != want)
                TEST_FAIL("%s, element %zu is %g, not %g", num_weight_name(type), i, values[i],
                          want);
        }
        n_types++;
    }
    CHECK_INT(n_types, 8);
    json_decref(all);
}

TEST(sizes) {
    struct num_weights w = {.type = NUM_WEIGHT_F16, .n_dims = 3, .shape = {4, 5, 3}};
    uint64_t bytes;
    CHECK(num_weights_measure(&w, &bytes) && w.rows == 4 && w.cols == 15 && w.row_bytes == 30 &&
          bytes == 120);
    w.n_dims = 1;
    CHECK(num_weights_measure(&w, &bytes) && w.rows == 1 && w.cols == 4 && bytes == 8);
    w = (struct num_weights){.type = NUM_WEIGHT_Q8_0, .n_dims = 2, .shape = {3, 48}};
    CHECK(!num_weights_measure(&w, &bytes));
    w.shape[1] = 64;
    CHECK(num_weights_measure(&w, &bytes) && w.row_bytes == 68 && bytes == 204);
    w.shape[1] = 0;
    CHECK(!num_weights_measure(&w, &bytes));
    w = (struct num_weights){.type = NUM_WEIGHT_F32, .n_dims = 3, .shape = {1u << 31, 1u << 31, 4}};
    CHECK(!num_weights_measure(&w, &bytes));
}

TEST_MAIN()
