/* Frames: what is encoded comes back, limits hold, and what is not a frame is refused. */
#include "unit/test.h"

#include "ipc/frame.h"

static struct sl_frame_out out;
static struct sl_frame in;

static int decode(struct sl_err *err) {
    CHECK_INT(sl_frame_finish(&out, err), 0);
    return sl_frame_decode(out.data, out.size, &in, err);
}

TEST(round_trip_of_every_kind_of_field) {
    struct sl_err err;
    char text[64];
    sl_frame_init(&out, SL_FRAME_METRIC, 7);
    sl_frame_add_text(&out, "rtf");
    sl_frame_add_f64(&out, -0.125);
    CHECK_INT(decode(&err), 0);
    CHECK_INT(in.type, SL_FRAME_METRIC);
    CHECK_INT(in.job, 7);
    CHECK_INT(in.n_fields, 2);
    CHECK_STR(sl_frame_text(&in, 0, text, sizeof text), "rtf");
    CHECK_NEAR(sl_frame_f64(&in, 1), -0.125, 0);
    CHECK_STR(sl_frame_text(&in, 0, text, 3), "rt");
    CHECK_STR(sl_frame_text(&in, 9, text, sizeof text), "");
    CHECK_INT(sl_frame_u64(&in, 9), 0);
    CHECK_INT(sl_frame_u64(&in, 0), 0);
}

TEST(negative_status_and_large_numbers) {
    struct sl_err err;
    sl_frame_init(&out, SL_FRAME_DONE, 1);
    sl_frame_add_u64(&out, (uint64_t)(int64_t)SLUICE_CANCELLED);
    sl_frame_add_text(&out, "");
    CHECK_INT(decode(&err), 0);
    CHECK_INT((int64_t)sl_frame_u64(&in, 0), SLUICE_CANCELLED);
    sl_frame_init(&out, SL_FRAME_READY, 0);
    sl_frame_add_u64(&out, UINT64_MAX);
    sl_frame_add_u64(&out, 1);
    CHECK_INT(decode(&err), 0);
    CHECK(sl_frame_u64(&in, 0) == UINT64_MAX);
}

static void make_job(uint64_t n_in, uint64_t n_out, int texts) {
    sl_frame_init(&out, SL_FRAME_JOB, 1);
    sl_frame_add_text(&out, "item");
    sl_frame_add_text(&out, "/scratch");
    sl_frame_add_u64(&out, n_in);
    sl_frame_add_u64(&out, n_out);
    for (int i = 0; i < texts; i++)
        sl_frame_add_text(&out, "x");
}

TEST(a_job_has_as_many_fields_as_its_counts_say) {
    struct sl_err err;
    make_job(2, 1, 8);
    CHECK_INT(decode(&err), 0);
    make_job(2, 1, 7);
    CHECK_INT(decode(&err), SLUICE_INTERNAL);
    CHECK_HAS(err.msg, "wrong number of fields");
    make_job(UINT64_MAX, 0, 1);
    CHECK_INT(decode(&err), SLUICE_INTERNAL);
    make_job(1ull << 62, 1ull << 62, 0);
    CHECK_INT(decode(&err), SLUICE_INTERNAL);
}

static void make_fork(uint64_t n_limits, int numbers) {
    sl_frame_init(&out, SL_FRAME_FORK, 0);
    for (int i = 0; i < 4; i++)
        sl_frame_add_u64(&out, 1);
    sl_frame_add_u64(&out, n_limits);
    for (int i = 0; i < numbers; i++)
        sl_frame_add_u64(&out, (uint64_t)i);
}

TEST(a_fork_has_as_many_fields_as_its_limits_take) {
    struct sl_err err;
    make_fork(0, 0);
    CHECK_INT(decode(&err), 0);
    make_fork(2, 6);
    CHECK_INT(decode(&err), 0);
    CHECK_INT(sl_frame_u64(&in, 10), 5);
    make_fork(2, 5);
    CHECK_INT(decode(&err), SLUICE_INTERNAL);
    CHECK_HAS(err.msg, "wrong number of fields");
    make_fork(UINT64_MAX, 0);
    CHECK_INT(decode(&err), SLUICE_INTERNAL);
}

TEST(the_largest_frame_fits_and_one_byte_more_does_not) {
    static char data[SL_FRAME_MAX_SIZE];
    struct sl_err err;
    sl_frame_init(&out, SL_FRAME_LOG, 0);
    sl_frame_add_u64(&out, 1);
    sl_frame_add(&out, data, SL_FRAME_MAX_SIZE - 16 - 12 - 4);
    CHECK_INT(decode(&err), 0);
    CHECK_INT(out.size, SL_FRAME_MAX_SIZE);
    sl_frame_init(&out, SL_FRAME_LOG, 0);
    sl_frame_add_u64(&out, 1);
    sl_frame_add(&out, data, SL_FRAME_MAX_SIZE - 16 - 12 - 4 + 1);
    CHECK_INT(sl_frame_finish(&out, &err), SLUICE_RESOURCE);
    sl_frame_init(&out, SL_FRAME_JOB, 1);
    for (int i = 0; i <= SL_FRAME_MAX_FIELDS; i++)
        sl_frame_add_text(&out, "");
    CHECK_INT(sl_frame_finish(&out, &err), SLUICE_RESOURCE);
}

/* A frame of this type with these bytes as fields; the decoder's answer. */
static int refused(const char *why, unsigned char *bytes, size_t len) {
    struct sl_err err = {0};
    int rc = sl_frame_decode(bytes, len, &in, &err);
    if (rc != SLUICE_INTERNAL || !strstr(err.msg, why))
        TEST_FAIL("expected \"%s\", got %d \"%s\"", why, rc, err.msg);
    return rc;
}

TEST(what_is_not_a_frame_is_refused) {
    struct sl_err err;
    unsigned char bytes[128];
    sl_frame_init(&out, SL_FRAME_COMMIT, 3);
    sl_frame_add_text(&out, "text");
    sl_frame_add_u64(&out, 5);
    CHECK_INT(sl_frame_finish(&out, &err), 0);
#define FRESH memcpy(bytes, out.data, out.size)
    FRESH;
    for (size_t len = 0; len < out.size; len++)
        refused("not a message", bytes, len);
    bytes[0] ^= 1;
    refused("wrong header", bytes, out.size);
    FRESH, bytes[12] = 1;
    refused("wrong header", bytes, out.size);
    FRESH, bytes[4] = 200;
    refused("unknown type", bytes, out.size);
    FRESH, bytes[6] = 1;
    refused("bytes after the last field", bytes, out.size);
    FRESH, bytes[6] = 3;
    refused("a field is cut off", bytes, out.size);
    FRESH, bytes[7] = 255;
    refused("too many fields", bytes, out.size);
    FRESH, bytes[16] = 255;
    refused("a field is longer than the message", bytes, out.size);
    FRESH, bytes[19] = 255;
    refused("a field is longer than the message", bytes, out.size);
    FRESH, bytes[8] = 0;
    refused("it names no job", bytes, out.size);
    FRESH, bytes[4] = SL_FRAME_METRIC;
    CHECK_INT(sl_frame_decode(bytes, out.size, &in, &err), 0);
    FRESH, bytes[4] = SL_FRAME_PROGRESS; /* text where a number belongs */
    refused("a number is not 8 bytes long", bytes, out.size);
}

TEST_MAIN()
