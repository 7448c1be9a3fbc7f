/* A run's page and trace, from states written here. */
#include "unit/test.h"

#include "base/mem.h"
#include "report/lanes.h"
#include "report/report.h"

#define ATTEMPT(number, worker, start, wall, class)                                                \
    "{\"attempt\": " #number ", \"worker\": " #worker ", \"started\": \"2026-01-31T08:15:" start   \
    "Z\", \"wall_s\": " #wall                                                                      \
    ", \"cpu_s\": 0.5, \"peak_bytes\": 1048576, \"class\": \"" class "\", \"message\": \"<why> & " \
                                                                     "\\\"how\\\"\", \"log\": "    \
                                                                     "\"logs/a.log\""

static const char two_items[] =
    "{\"id\": \"20260131-081500-0001\", \"pipeline\": \"p<1>\", \"started\": "
    "\"2026-01-31T08:15:00.000Z\", \"seconds\": 10, \"state\": \"failed\", \"ok\": 1, \"failed\": "
    "1, "
    "\"cancelled\": 0, \"out\": \"/tmp/a b\", \"items\": ["
    "{\"name\": \"good\", \"state\": \"ok\", \"outputs\": [\"/tmp/a b/good.srt\"], \"stages\": ["
    "{\"name\": \"asr\", \"use\": \"x/y\", \"output\": false, \"state\": \"done\", \"attempts\": "
    "[" ATTEMPT(1, 1, "00.000", 4, "crash") ", \"retry_delay_s\": 1.5}," ATTEMPT(
        2, 3, "05.500", 2, "ok") "}]}]},"
                                 "{\"name\": \"b&d\", \"state\": \"failed\", \"message\": \"m\", "
                                 "\"outputs\": [], \"stages\": ["
                                 "{\"name\": \"asr\", \"use\": \"x/y\", \"output\": false, "
                                 "\"state\": \"failed\", \"class\": \"input\", "
                                 "\"message\": \"it is <no> audio\", \"attempts\": [" ATTEMPT(
                                     1, 2, "01.000", 3, "input") "}]}]}]}";

static json_t *load(const char *text) {
    json_t *state = NULL;
    struct sl_err err;
    if (sl_json_parse(text, strlen(text), &state, &err) < 0)
        TEST_FAIL("%s", err.msg);
    return state;
}

static size_t count(const char *text, const char *what) {
    size_t n = 0;
    for (; (text = strstr(text, what)); text++)
        n++;
    return n;
}

TEST(bars_do_not_overlap_in_their_lanes) {
    sl_autojson json_t *state = load(two_items);
    struct sl_lanes lanes;
    sl_lanes_init(&lanes, state, 100);
    CHECK_INT(lanes.n_bars, 3);
    CHECK_INT(lanes.n_lanes, 2);
    CHECK_NEAR(lanes.length_s, 10, 1e-9);
    CHECK_NEAR(lanes.bars[1].start_s, 1, 1e-6);
    CHECK_INT(lanes.bars[1].lane, 1);
    CHECK_INT(lanes.bars[2].lane, 0);
    sl_lanes_finish(&lanes);
}

TEST(the_longest_bars_are_kept_where_there_are_too_many) {
    sl_autojson json_t *state = load(two_items);
    struct sl_lanes lanes;
    sl_lanes_init(&lanes, state, 2);
    CHECK_INT(lanes.n_bars, 2);
    CHECK_INT(lanes.n_left_out, 1);
    CHECK_NEAR(lanes.bars[0].end_s, 4, 1e-6);
    CHECK_NEAR(lanes.bars[1].end_s, 4, 1e-6);
    sl_lanes_finish(&lanes);
}

TEST(stages_are_summed_over_items) {
    sl_autojson json_t *state = load(two_items);
    sl_autofree struct sl_stage_sum *sums = NULL;
    CHECK_INT(sl_report_sums(state, &sums), 1);
    CHECK_STR(sums[0].name, "asr");
    CHECK_INT(sums[0].n, 2);
    CHECK_INT(sums[0].done, 1);
    CHECK_INT(sums[0].failed, 1);
    CHECK_INT(sums[0].attempts, 3);
    CHECK_INT(sums[0].retries, 1);
    CHECK_NEAR(sums[0].wall_s, 9, 1e-9);
    CHECK_NEAR(sums[0].wall_max_s, 4, 1e-9);
    CHECK_NEAR(sums[0].peak_bytes, 1048576, 0);
}

TEST(the_page_says_what_failed_and_what_was_tried_again) {
    sl_autojson json_t *state = load(two_items);
    sl_autostr struct sl_str page = {0};
    sl_report_html(state, "<svg id=\"graph\"></svg>", "/runs/1", &page);
    CHECK(sl_starts_with(page.data, "<!DOCTYPE html>\n"));
    CHECK(sl_ends_with(page.data, "</html>\n"));
    CHECK_HAS(page.data, "it is &lt;no&gt; audio");
    CHECK_HAS(page.data, "b&amp;d");
    CHECK_HAS(page.data, "p&lt;1&gt;");
    CHECK_HAS(page.data, "What was tried again");
    CHECK_HAS(page.data, "<svg id=\"graph\">");
    CHECK_HAS(page.data, "href=\"file:///tmp/a%20b/good.srt\">good.srt</a>");
    CHECK_HAS(page.data, "href=\"file:///runs/1/logs/a.log\"");
    CHECK(!strstr(page.data, "<why>") && !strstr(page.data, "<no>"));
    CHECK(!strstr(page.data, "<script") && !strstr(page.data, "http://") &&
          !strstr(page.data, "https://"));
    CHECK(!strstr(page.data, "nan") && !strstr(page.data, "inf\""));
}

/* Every bar is a link, and what it leads to is there, once. */
TEST(bars_lead_to_their_rows) {
    sl_autojson json_t *state = load(two_items);
    sl_autostr struct sl_str page = {0};
    static const char *const ids[] = {"a0-asr-1", "a0-asr-2", "a1-asr-1"};
    sl_report_html(state, NULL, "/runs/1", &page);
    CHECK_INT(count(page.data, "<a href=\"#a"), 3);
    for (size_t i = 0; i < 3; i++) {
        char id[32], link[32];
        snprintf(id, sizeof id, " id=\"%s\"", ids[i]);
        snprintf(link, sizeof link, "href=\"#%s\"", ids[i]);
        CHECK_INT(count(page.data, id), 1);
        CHECK_INT(count(page.data, link), 1);
    }
    static const char *const pairs[] = {"table", "tr",      "td",     "th",  "a",
                                        "svg",   "details", "figure", "span"};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char open[16], open_bare[16], close[16];
        snprintf(open, sizeof open, "<%s ", pairs[i]);
        snprintf(open_bare, sizeof open_bare, "<%s>", pairs[i]);
        snprintf(close, sizeof close, "</%s>", pairs[i]);
        CHECK_INT(count(page.data, open) + count(page.data, open_bare), count(page.data, close));
    }
}

TEST(states_with_holes_give_a_page) {
    static const char *const states[] = {
        "{}", "{\"items\": []}", "{\"items\": [{}, {\"stages\": [{}]}]}",
        "{\"items\": [{\"stages\": [{\"attempts\": [{}]}]}], \"seconds\": -1}",
        "{\"started\": \"x\", \"items\": [{\"stages\": [{\"attempts\": [{\"started\": \"y\", "
        "\"wall_s\": 1e300}]}]}]}"};
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        sl_autojson json_t *state = load(states[i]);
        sl_autostr struct sl_str page = {0}, trace = {0};
        sl_report_html(state, NULL, "/r", &page);
        CHECK(sl_ends_with(page.data, "</html>\n"));
        sl_report_trace(state, &trace);
        sl_autojson json_t *parsed = load(trace.data);
        CHECK(json_is_array(json_object_get(parsed, "traceEvents")));
    }
}

TEST(the_trace_has_an_event_for_each_attempt) {
    sl_autojson json_t *state = load(two_items);
    sl_autostr struct sl_str trace = {0};
    sl_report_trace(state, &trace);
    sl_autojson json_t *root = load(trace.data);
    const json_t *events = json_object_get(root, "traceEvents");
    CHECK_INT(json_array_size(events), 3 + 2 + 1);
    const json_t *second = json_array_get(events, 1);
    CHECK_STR(sl_json_str(second, "name", ""), "asr: b&d");
    CHECK_STR(sl_json_str(second, "ph", ""), "X");
    CHECK_NEAR(sl_json_num(second, "ts", 0), 1e6, 1);
    CHECK_NEAR(sl_json_num(second, "dur", 0), 3e6, 1);
    CHECK_NEAR(sl_json_num(second, "tid", 0), 2, 0);
}

TEST(memory_of_the_card_is_shown_where_there_was_any) {
    static const char text[] =
        "{\"id\": \"1\", \"state\": \"ok\", \"ok\": 1, \"items\": [{\"name\": \"a\", \"state\": "
        "\"ok\", "
        "\"params\": {\"title\": \"<b>\"}, \"outputs\": [], \"stages\": [{\"name\": \"asr\", "
        "\"use\": \"x/y\", "
        "\"output\": false, \"state\": \"done\", \"attempts\": [" ATTEMPT(
            1, 1, "00.000", 4,
            "ok") ", \"gpu_peak_bytes\": 3221225472, \"gpu_memory_limit\": 4294967296}]}]}]}";
    sl_autojson json_t *with = load(text), *without = load(two_items);
    sl_autostr struct sl_str page = {0}, plain = {0};
    sl_report_html(with, NULL, "/runs/1", &page);
    sl_report_html(without, NULL, "/runs/1", &plain);
    CHECK_HAS(page.data, "Peak on the card");
    CHECK_HAS(page.data, "3.0 GiB");
    CHECK_HAS(page.data, "4.0 GiB");
    CHECK_HAS(page.data, "width=\"75.0\"");
    CHECK_HAS(page.data, "title = &lt;b&gt;");
    CHECK_INT(count(plain.data, "card"), 0);
}

TEST_MAIN()
