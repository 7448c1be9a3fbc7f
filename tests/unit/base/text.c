/* Errors, strings, units and JSON. */
#include <errno.h>

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/units.h"
#include "unit/test.h"

TEST(error_has_class_text_and_errno) {
    struct sl_err err = {0};
    CHECK_INT(sl_err_sys(&err, SLUICE_RESOURCE, ENOSPC, "%s: cannot grow", "x"), SLUICE_RESOURCE);
    CHECK_STR(err.msg, "x: cannot grow: No space left on device");
    CHECK_INT(sl_err_wrap(&err, "stage %d", 7), SLUICE_RESOURCE);
    CHECK_STR(err.msg, "stage 7: x: cannot grow: No space left on device");
    CHECK_INT(err.sys_errno, ENOSPC);
}

TEST(error_is_cut_at_a_character) {
    struct sl_err err = {0};
    char text[3 * SL_ERR_SIZE + 1] = "";
    for (int i = 0; i < SL_ERR_SIZE; i++)
        memcpy(text + 3 * i, "\xe2\x82\xac", 4);
    sl_err_set(&err, SLUICE_INPUT, "%s", text);
    CHECK_INT(sl_utf8_valid(err.msg, strlen(err.msg)), strlen(err.msg));
    CHECK(strlen(err.msg) > SL_ERR_SIZE - 5);
    sl_err_wrap(&err, "%s", text);
    CHECK(strlen(err.msg) < SL_ERR_SIZE);
}

TEST(class_names_round_trip) {
    for (int cls = SL_USAGE; cls <= 0; cls++)
        CHECK_INT(sl_class_from_name(sl_class_name(cls)), cls);
    CHECK_INT(sl_class_from_name("sometimes"), 1);
    CHECK_STR(sl_class_name(-99), "unknown");
}

TEST(text_is_made_printable) {
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"plain \xc3\xa9\xf0\x9f\x8e\xa4", "plain \xc3\xa9\xf0\x9f\x8e\xa4"},
        {"a\tb\nc\x1b[31mred\x7f", "a b c [31mred "},
        {"c1 \xc2\x9b"
         "31m",
         "c1   31m"}, /* a control sequence as one character */
        {"\xff\xc0\xaf\xed\xa0\x80!", "??????"
                                      "!"},
        {"cut \xe2\x82", "cut "},
        {"\xe2\x82X", "??X"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64];
        snprintf(text, sizeof text, "%s", cases[i].from);
        CHECK_STR(sl_make_printable(text), cases[i].to);
    }
}

TEST(utf8_is_checked) {
    CHECK_INT(sl_utf8_valid("a\xc3\xa9\xf0\x9f\x8e\xa4", 7), 7);
    CHECK_INT(sl_utf8_valid("a\xc0\xaf", 3), 1);      /* overlong */
    CHECK_INT(sl_utf8_valid("ab\xed\xa0\x80", 5), 2); /* surrogate */
    CHECK_INT(sl_utf8_valid("\xf4\x90\x80\x80", 4), 0);
    CHECK_INT(sl_utf8_valid("a\xe2\x82", 3), 1); /* cut */
    CHECK_INT(sl_utf8_columns("e\xcc\x81t\xc3\xa9"), 3);
    CHECK_INT(sl_utf8_prefix("\xc3\xa9\xc3\xa9x", 2), 4);
}

TEST(nearest_name_is_found) {
    const char *names[] = {"language", "model", "task"};
    CHECK_STR(sl_nearest("langauge", names, 3), "language");
    CHECK_STR(sl_nearest("Model", names, 3), "model");
    CHECK_STR(sl_nearest("tsk", names, 3), "task");
    CHECK(sl_nearest("temperature", names, 3) == NULL);
    CHECK(sl_nearest("", names, 3) == NULL);
    CHECK(sl_nearest("x", names, 0) == NULL);
}

TEST(lists_read_well) {
    const char *words[] = {"a", "b", "c"};
    struct sl_str s = {0};
    sl_str_add_list(&s, words, 3, "or");
    CHECK_STR(s.data, "a, b or c");
    sl_str_clear(&s);
    sl_str_add_list(&s, words, 1, "or");
    CHECK_STR(s.data, "a");
    sl_str_finish(&s);
}

TEST(durations_are_read) {
    static const struct {
        const char *text;
        double seconds;
    } good[] = {{"90s", 90}, {"2h", 7200}, {"1h30m", 5400}, {"500ms", 0.5},  {"1.5h", 5400},
                {"45", 45},  {"0", 0},     {"1d", 86400},   {"1h 30m", 5400}};
    static const char *const bad[] = {"",  " ",  "soon", "5 parsecs", "-3s", "1.2.3s",
                                      "s", "1e", "nan",  "10sm",      "m10"};
    double s;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        CHECK(sl_parse_duration(good[i].text, &s));
        CHECK_NEAR(s, good[i].seconds, 1e-9);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(!sl_parse_duration(bad[i], &s));
}

TEST(sizes_are_read) {
    uint64_t n;
    CHECK(sl_parse_size("4GiB", &n) && n == 4ull << 30);
    CHECK(sl_parse_size("512 MiB", &n) && n == 512ull << 20);
    CHECK(sl_parse_size("1.5GB", &n) && n == 1500000000);
    CHECK(sl_parse_size("64k", &n) && n == 65536);
    CHECK(sl_parse_size("123", &n) && n == 123);
    CHECK(!sl_parse_size("4 gigs", &n));
    CHECK(!sl_parse_size("-1", &n));
    CHECK(!sl_parse_size("99999999999TiB", &n));
    CHECK(!sl_parse_size("", &n));
}

TEST(numbers_are_whole_words) {
    int64_t i;
    double d;
    CHECK(sl_parse_int("-12", &i) && i == -12);
    CHECK(!sl_parse_int("12x", &i));
    CHECK(!sl_parse_int("99999999999999999999", &i));
    CHECK(!sl_parse_int(" 1", &i));
    CHECK(sl_parse_float("1e-3", &d) && d == 1e-3);
    CHECK(!sl_parse_float("1e999", &d));
    CHECK(!sl_parse_float("0x10", &d));
    CHECK(!sl_parse_float("inf", &d));
}

TEST(durations_are_printed) {
    char buf[32];
    CHECK_STR(sl_format_duration(0.0123, buf, sizeof buf), "12 ms");
    CHECK_STR(sl_format_duration(4.25, buf, sizeof buf), "4.2 s");
    CHECK_STR(sl_format_duration(185, buf, sizeof buf), "3m 05s");
    CHECK_STR(sl_format_duration(3725, buf, sizeof buf), "1h 02m");
    CHECK_STR(sl_format_size(512, buf, sizeof buf), "512 B");
    CHECK_STR(sl_format_size(4ull << 30, buf, sizeof buf), "4.0 GiB");
}

static int parse(const char *text, struct sl_err *err) {
    json_t *value = NULL;
    int rc = sl_json_parse(text, strlen(text), &value, err);
    json_decref(value);
    return rc;
}

TEST(json_is_parsed_with_bounds) {
    struct sl_err err = {0};
    char deep[400] = "";
    memset(deep, '[', 200);
    memset(deep + 200, ']', 199);
    CHECK_INT(parse("{\"a\": [1, 2.5, null]}", &err), 0);
    CHECK_INT(parse(deep, &err), SLUICE_INPUT);
    CHECK_HAS(err.msg, "deeper");
    CHECK_INT(parse("{\"a\": 1, \"a\": 2}", &err), SLUICE_INPUT);
    CHECK_INT(parse("{\"a\": }", &err), SLUICE_INPUT);
    CHECK_HAS(err.msg, "line 1 column 7");
    CHECK_INT(parse("1 2", &err), SLUICE_INPUT);
    CHECK_INT(parse("\"[[[[\\\"[[\"", &err), 0);
}

TEST(json_text_survives_bad_bytes) {
    sl_autojson json_t *v = sl_json_text("a\xff"
                                         "b");
    sl_autofree char *line = sl_json_line(v);
    CHECK_STR(line, "\"a\xef\xbf\xbd"
                    "b\"");
}

TEST(json_numbers_come_back_exactly) {
    static const double values[] = {0.38, 0.1 + 0.2, 1.7976931348623157e308, 5e-324, -0.224, 3};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        sl_autojson json_t *v = json_pack("{s:[f]}", "x", values[i]), *back = NULL;
        sl_autofree char *line = sl_json_line(v);
        CHECK_INT(sl_json_parse(line, strlen(line), &back, NULL), 0);
        CHECK(json_real_value(json_array_get(json_object_get(back, "x"), 0)) == values[i]);
    }
    sl_autojson json_t *v = json_real(0.38);
    sl_autofree char *line = sl_json_line(v);
    CHECK_STR(line, "0.38");
}

TEST(sizes_do_not_overflow) {
    uint64_t n;
    CHECK(!sl_mul_ok(1ull << 40, 1ull << 40, &n));
    CHECK(!sl_add_ok(UINT64_MAX, 1, &n));
    CHECK(sl_mul_ok(3, 4, &n) && n == 12);
}

TEST(arena_keeps_many_allocations) {
    struct sl_arena a = {0};
    char *first = sl_arena_strdup(&a, "first");
    for (int i = 0; i < 10000; i++)
        CHECK(((uintptr_t)sl_arena_alloc(&a, (size_t)(i % 300)) & 15) == 0);
    char *big = sl_arena_alloc(&a, 1 << 20);
    CHECK(big[0] == 0 && big[(1 << 20) - 1] == 0);
    CHECK_STR(first, "first");
    CHECK_STR(sl_arena_printf(&a, "%d-%s", 7, "x"), "7-x");
    sl_arena_finish(&a);
    CHECK(a.head == NULL);
}

TEST_MAIN()
