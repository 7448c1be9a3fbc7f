/* Speakers of words and segments. */
#include "unit/test.h"

#include <jansson.h>

#include "diarize/assign.h"
#include "diarize/who.h"

static uint32_t random_state = 1;

static double random_time(double most) {
    random_state = random_state * 1664525u + 1013904223u;
    return most * (random_state >> 8) / (1 << 24);
}

/* ---- who.h ---- */

/* Who speaks, by definition: every turn is looked at. */
static uint32_t slow_who(const struct dz_turns *t, double start, double end, bool *ret_nearest) {
    double sums[8] = {0}, most = 0, least = INFINITY;
    uint32_t best = 0, nearest = 0;
    for (size_t i = 0; i < t->n_turns; i++) {
        double from = fmax(t->turns[i].start, start), to = fmin(t->turns[i].end, end);
        if (to > from)
            sums[t->turns[i].speaker] += to - from;
        double distance = fmax(t->turns[i].start - end, start - t->turns[i].end);
        if (distance < least) {
            least = distance;
            nearest = t->turns[i].speaker;
        }
    }
    for (size_t i = 0; i < t->n_turns; i++)
        if (t->turns[i].end > start && sums[t->turns[i].speaker] > most) {
            best = t->turns[i].speaker;
            most = sums[best];
        }
    *ret_nearest = most == 0;
    return most == 0 ? nearest : best;
}

static void fill_random(struct dz_turns *t, size_t n) {
    size_t capacity = 0;
    uint32_t speaker;
    CHECK_INT(dz_speaker(t, "a", &speaker, NULL), SLUICE_OK);
    CHECK_INT(dz_speaker(t, "b", &speaker, NULL), SLUICE_OK);
    CHECK_INT(dz_speaker(t, "c", &speaker, NULL), SLUICE_OK);
    for (size_t i = 0; i < n; i++) {
        double start = random_time(100);
        struct dz_turn turn = {start, start + random_time(6), (uint32_t)random_time(3)};
        CHECK_INT(dz_append(t, &capacity, turn, NULL), SLUICE_OK);
    }
    dz_turns_sort(t);
}

TEST(the_quick_search_finds_what_the_slow_one_finds) {
    size_t n_nearest = 0;
    for (int round = 0; round < 200; round++) {
        dz_autoturns turns = {0};
        dz_autowho who = {0};
        fill_random(&turns, 1 + (size_t)random_time(20));
        CHECK_INT(dz_who_init(&who, &turns, NULL), SLUICE_OK);
        for (int i = 0; i < 100; i++) {
            double start = random_time(110), end = start + 0.01 + random_time(i % 3 ? 1 : 9);
            bool near_quick, near_slow;
            uint32_t quick = dz_who_speaks(&who, start, end, &near_quick);
            CHECK_INT(quick, slow_who(&turns, start, end, &near_slow));
            CHECK_INT(near_quick, near_slow);
            n_nearest += near_slow;
        }
    }
    CHECK(n_nearest > 1000 && n_nearest < 19000);
}

/* ---- assign.h ---- */

#define TURNS                                                                                      \
    "{\"turns\": [{\"start\": 0, \"end\": 2, \"speaker\": \"A\"},"                                 \
    "{\"start\": 2, \"end\": 4, \"speaker\": \"B\"}, {\"start\": 9, \"end\": 10, \"speaker\": "    \
    "\"A\"}]}"

static json_t *assign(const char *transcript, bool split, struct dz_assign_report *report) {
    dz_autoturns turns = {0};
    struct num_err err = {0};
    struct dz_assign_options options = {.split = split, .snap = 2};
    char *text = NULL;
    CHECK_INT(dz_turns_read(TURNS, strlen(TURNS), 1, NULL, &turns, &err), SLUICE_OK);
    if (dz_assign(transcript, strlen(transcript), &turns, &options, &text, report, &err) !=
        SLUICE_OK)
        TEST_FAIL("%s", err.text);
    json_t *root = json_loads(text, 0, NULL);
    free(text);
    CHECK(root != NULL);
    return root;
}

static json_t *segment_of(json_t *root, size_t i) {
    json_t *segment = json_array_get(json_object_get(root, "segments"), i);
    if (!segment)
        TEST_FAIL("there is no segment %zu", i);
    return segment;
}

static const char *string_of(json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "(none)";
}

static const char *word_speaker(json_t *segment, size_t i) {
    return string_of(json_array_get(json_object_get(segment, "words"), i), "speaker");
}

#define WORD(text, start, end)                                                                     \
    "{\"word\": \" " text "\", \"start\": " #start ", \"end\": " #end ", \"probability\": 0.5}"

#define ONE_SEGMENT                                                                                \
    "{\"language\": \"en\", \"segments\": [{\"id\": 0, \"start\": 0.5, \"end\": 4.2, "             \
    "\"text\": \" one. two three\", \"avg_logprob\": -0.25, \"tokens\": [1, 2], \"words\": "       \
    "[" WORD("one.", 0.5, 1.5) "," WORD("two", 1.8, 2.6) "," WORD("three", 3, 4.2) "]}]}"

static const struct dz_assign_options all_options = {.split = true, .snap = 2};

TEST(a_segment_is_split_where_the_speaker_changes) {
    struct dz_assign_report report;
    json_t *root = assign(ONE_SEGMENT, true, &report);
    json_t *first = segment_of(root, 0), *second = segment_of(root, 1);
    CHECK_INT(json_array_size(json_object_get(root, "segments")), 2);
    CHECK_STR(string_of(root, "language"), "en");
    CHECK_STR(string_of(first, "speaker"), "A");
    CHECK_STR(string_of(first, "text"), " one.");
    CHECK_STR(string_of(second, "speaker"), "B");
    CHECK_STR(string_of(second, "text"), " two three");
    CHECK_STR(word_speaker(second, 1), "B");
    CHECK_NEAR(json_real_value(json_object_get(first, "start")), 0.5, 1e-9);
    CHECK_NEAR(json_real_value(json_object_get(first, "end")), 1.5, 1e-9);
    CHECK_NEAR(json_real_value(json_object_get(second, "start")), 1.8, 1e-9);
    CHECK_NEAR(json_real_value(json_object_get(second, "end")), 4.2, 1e-9);
    CHECK_INT(json_integer_value(json_object_get(second, "id")), 1);
    CHECK_NEAR(json_real_value(json_object_get(second, "avg_logprob")), -0.25, 1e-9);
    CHECK(json_object_get(second, "tokens") == NULL);
    CHECK_INT(report.n_words, 3);
    CHECK_INT(report.n_splits, 1);
    CHECK_INT(report.n_nearest, 0);
    json_decref(root);
}

TEST(unsplit_a_segment_gets_who_says_most) {
    struct dz_assign_report report;
    json_t *root = assign(ONE_SEGMENT, false, &report);
    json_t *only = segment_of(root, 0);
    CHECK_INT(json_array_size(json_object_get(root, "segments")), 1);
    CHECK_STR(string_of(only, "speaker"), "B");
    CHECK_STR(word_speaker(only, 0), "A");
    CHECK_INT(json_array_size(json_object_get(only, "tokens")), 2);
    json_decref(root);
}

#define THREE(one, two, three)                                                                     \
    "{\"segments\": [{\"start\": 0, \"end\": 4, \"text\": \"x\", \"words\": [" WORD(               \
        one, 0, 1.9) "," WORD(two, 2.1, 3) "," WORD(three, 3, 4) "]}]}"

static void check_speakers(const char *transcript, const char *expected, size_t n_snapped) {
    struct dz_assign_report report;
    json_t *root = assign(transcript, false, &report);
    for (size_t i = 0; expected[i]; i++)
        CHECK_INT(word_speaker(segment_of(root, 0), i)[0], expected[i]);
    CHECK_INT(report.n_snapped, n_snapped);
    json_decref(root);
}

TEST(changes_move_to_the_end_of_a_sentence_nearby) {
    check_speakers(THREE("a.", "b", "c."), "ABB", 0);
    check_speakers(THREE("a", "b.", "c."), "BBB", 1); /* the segment's start is as near */
    check_speakers(
        "{\"segments\": [{\"start\": 0, \"end\": 4, \"text\": \"x\", \"words\": [" WORD(
            "y", 0, 0.5) "," WORD("y", 0.5, 1) "," WORD("a", 1, 1.9) "," WORD("b.\\\"", 2.1,
                                                                              3) "," WORD("c", 3,
                                                                                          4) "]}]}",
        "AAAAB", 1);
    check_speakers(
        "{\"segments\": [{\"start\": 0, \"end\": 4, \"text\": \"x\", \"words\": [" WORD(
            "y", 0, 0.5) "," WORD("y", 0.5,
                                  1) "," WORD("a", 1,
                                              1.9) "," WORD("b", 2.1,
                                                            3) "," WORD("c", 3,
                                                                        3.5) "," WORD("d", 3.5,
                                                                                      4) "]}]}",
        "AAABBB", 0);
}

TEST(words_without_times_go_with_their_neighbours) {
    struct dz_assign_report report;
    json_t *root = assign("{\"segments\": [{\"start\": 0, \"end\": 4, \"text\": \"x\", \"words\": ["
                          "{\"word\": \"a\"}," WORD("b", 2.5, 3) ", {\"word\": \"c\", \"start\": "
                                                                 "null, \"end\": null}]}]}",
                          true, &report);
    for (size_t i = 0; i < 3; i++)
        CHECK_STR(word_speaker(segment_of(root, 0), i), "B");
    json_decref(root);
}

TEST(without_timed_words_the_segment_counts) {
    struct dz_assign_report report;
    json_t *root =
        assign("{\"segments\": [{\"start\": 2.5, \"end\": 4, \"text\": \"x\"},"
               "{\"start\": 0, \"end\": 1, \"text\": \"y\", \"words\": []},"
               "{\"start\": 3, \"end\": 4, \"text\": \"z\", \"words\": [{\"word\": \"z\"}]}]}",
               true, &report);
    CHECK_STR(string_of(segment_of(root, 0), "speaker"), "B");
    CHECK_STR(string_of(segment_of(root, 1), "speaker"), "A");
    CHECK_STR(word_speaker(segment_of(root, 2), 0), "B");
    json_decref(root);
}

TEST(gaps_go_to_the_nearest) {
    struct dz_assign_report report;
    json_t *root =
        assign("{\"segments\": [{\"start\": 4.5, \"end\": 8.9, \"text\": \"x\", \"words\": [" WORD(
                   "near_b.", 4.5, 5) "," WORD("near_a", 8, 8.9) "]}]}",
               true, &report);
    CHECK_STR(word_speaker(segment_of(root, 0), 0), "B");
    CHECK_STR(word_speaker(segment_of(root, 1), 0), "A");
    CHECK_INT(report.n_nearest, 2);
    json_decref(root);
}

TEST(without_turns_nothing_is_added) {
    dz_autoturns turns = {0};
    struct dz_assign_report report;
    char *text = NULL;
    CHECK_INT(dz_assign("{\"segments\": []}", 16, &turns, &all_options, &text, &report, NULL),
              SLUICE_OK);
    CHECK_STR(text, "{\"segments\":[]}");
    free(text);
}

static bool yes(void *ctx) {
    (void)ctx;
    return true;
}

TEST(it_stops_when_told_to) {
    dz_autoturns turns = {0};
    struct num_err err = {0};
    const struct num_watch watch = {.cancelled = yes};
    struct dz_assign_options options = {.split = true, .snap = 2, .watch = &watch};
    struct dz_assign_report report;
    char *text = NULL;
    CHECK_INT(dz_turns_read(TURNS, strlen(TURNS), 1, NULL, &turns, &err), SLUICE_OK);
    CHECK_INT(dz_assign(ONE_SEGMENT, strlen(ONE_SEGMENT), &turns, &options, &text, &report, &err),
              SLUICE_CANCELLED);
    CHECK(text == NULL);
}

TEST(what_is_no_transcript_is_refused_with_its_place) {
    static const struct {
        const char *json, *says;
    } table[] = {
        {"", "not JSON"},
        {"{}", "segments: expected a list"},
        {"{\"segments\": [{\"start\": 1, \"end\": 0}]}", "segments[0]"},
        {"{\"segments\": [{\"start\": 0, \"end\": 1, \"words\": 3}]}", "segments[0].words"},
        {"{\"segments\": [{\"start\": 0, \"end\": 1, \"words\": [3]}]}", "segments[0].words[0]"},
        {"{\"segments\": [{\"start\": 0, \"end\": 1, \"words\": [" WORD("a", 3, 2) "]}]}",
         "segments[0].words[0]"},
    };
    dz_autoturns turns = {0};
    struct num_err err = {0};
    CHECK_INT(dz_turns_read(TURNS, strlen(TURNS), 1, NULL, &turns, &err), SLUICE_OK);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char *text = NULL;
        struct dz_assign_report report;
        CHECK_INT(dz_assign(table[i].json, strlen(table[i].json), &turns, &all_options, &text,
                            &report, &err),
                  SLUICE_INPUT);
        CHECK_HAS(err.text, table[i].says);
        CHECK(text == NULL);
    }
}

TEST_MAIN()
