/* Payloads: what is called valid is valid, the same each time; hostile ones exist for every type
 * and are judged without harm. */
#include "unit/test.h"

#include <sluice/types.h>

#include "check/payload.h"
#include "ipc/portcheck.h"

static const char *const types[] = {
    SLUICE_TYPE_FILE,  SLUICE_TYPE_AUDIO,      SLUICE_TYPE_REGIONS,
    SLUICE_TYPE_TURNS, SLUICE_TYPE_TRANSCRIPT, SLUICE_TYPE_ATTENTION,
    SLUICE_TYPE_TEXT,  SLUICE_TYPE_EMBEDDINGS, SLUICE_TYPE_JSON};
enum { N_TYPES = sizeof types / sizeof *types };

static struct sl_err err;

static void check_valid(const char *type, const char *what, const struct sl_str *bytes) {
    if (sl_port_check(type, sl_str_text(bytes), bytes->len, &err) < 0)
        TEST_FAIL("%s, %s: %s", type, what, err.msg);
}

TEST(valid_ones_are_valid) {
    for (int t = 0; t < N_TYPES; t++) {
        const char *what;
        int n = 0;
        for (;; n++) {
            sl_autostr struct sl_str bytes = {0};
            if (!(what = sl_payload_valid(types[t], n, &bytes)))
                break;
            check_valid(types[t], what, &bytes);
        }
        CHECK(n >= 2);
    }
}

TEST(large_ones_are_valid_and_large) {
    for (int t = 0; t < N_TYPES; t++) {
        sl_autostr struct sl_str bytes = {0};
        const char *what = sl_payload_large(types[t], &bytes);
        check_valid(types[t], what, &bytes);
        CHECK(bytes.len > 100000);
    }
}

TEST(the_typical_one_is_the_last) {
    sl_autostr struct sl_str a = {0}, b = {0};
    CHECK_STR(sl_payload_typical(SLUICE_TYPE_AUDIO, &a), "1 s of a tone");
    CHECK_STR(sl_payload_valid(SLUICE_TYPE_AUDIO, 3, &b), "1 s of a tone");
    CHECK_INT(a.len, b.len);
    CHECK(memcmp(a.data, b.data, a.len) == 0);
    CHECK(a.len > 4 * 16000 && a.len < 4 * 16000 + 300);
}

TEST(hostile_ones) {
    int refused = 0;
    for (int t = 0; t < N_TYPES; t++)
        for (int i = 0;; i++) {
            sl_autostr struct sl_str bytes = {0}, again = {0};
            if (!sl_payload_hostile(types[t], i, &bytes)) {
                CHECK(i >= 5);
                break;
            }
            sl_payload_hostile(types[t], i, &again);
            CHECK(bytes.len > 0 && bytes.len == again.len &&
                  memcmp(bytes.data, again.data, bytes.len) == 0);
            refused += sl_port_check(types[t], bytes.data, bytes.len, &err) < 0;
        }
    CHECK(refused > 30);
}

TEST(a_type_that_is_not_known) {
    sl_autostr struct sl_str bytes = {0};
    CHECK(sl_payload_valid("maps/7", 0, &bytes) == NULL);
    CHECK(sl_payload_typical("maps/7", &bytes) == NULL);
    CHECK_INT(bytes.len, 0);
    CHECK_STR(sl_payload_hostile("maps/7", 0, &bytes), "random bytes");
}

TEST_MAIN()
