/*
 * Transcripts into rows of words and back: what is read, made, settled and refused.
 */
#include "unit/test.h"

#include "align/script.h"

static struct al_script read_ok(const char *json) {
    struct al_script s;
    struct num_err err = {0};
    if (al_script_read(json, strlen(json), NULL, &s, &err))
        TEST_FAIL("%s: %s", json, err.text);
    return s;
}

static void check_refused(const char *json, const char *why) {
    struct al_script s;
    struct num_err err = {0};
    CHECK_INT(al_script_read(json, strlen(json), NULL, &s, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, why);
}

TEST(words_of_the_transcript_are_kept) {
    struct al_script s = read_ok(
        "{\"language\": \"en\", \"x\": 7, \"segments\": [{\"id\": 3, \"start\": 1, \"end\": 2, "
        "\"text\": \" A b.\", \"words\": [{\"word\": \" A\", \"start\": 1, \"end\": 1.5, \"y\": "
        "1}, "
        "{\"word\": \" b.\"}]}]}");
    CHECK_INT(s.n_words, 2);
    CHECK(s.words[0].timed && !s.words[1].timed);
    CHECK_STR(s.words[1].text, " b.");
    s.words[1].start = 1.61239;
    s.words[1].end = 2.5;
    s.words[1].timed = true;
    s.words[1].probability = 0.5;
    char *text = NULL;
    al_script_settle(&s);
    CHECK_INT(al_script_write(&s, &text, NULL), 0);
    CHECK_HAS(text, "\"x\":7");
    CHECK_HAS(text, "\"y\":1");
    CHECK_HAS(text, "{\"word\":\" b.\",\"start\":1.612,\"end\":2.5,\"probability\":0.5}");
    CHECK_HAS(text, "\"id\":3,\"start\":1.0,\"end\":2.5");
    free(text);
    al_script_finish(&s);
}

TEST(words_are_made_from_texts) {
    struct al_script s = read_ok(
        "{\"segments\": [{\"start\": 0, \"end\": 3, \"text\": \" It costs\\u00a0$25, ok \"},"
        "{\"start\": 3, \"end\": 4, \"text\": \"  \"}]}");
    CHECK_INT(s.n_words, 4);
    CHECK_STR(s.words[0].text, " It");
    CHECK_STR(s.words[2].text, "\u00a0$25,");
    CHECK_STR(s.words[3].text, " ok");
    CHECK_INT(s.segments[1].n, 0);
    al_script_finish(&s);
    s = read_ok("{\"language\": \"ja\", \"segments\": [{\"start\": 0, \"end\": 3, \"text\": "
                "\"\u65e5\u672c \u8a9e\"}]}");
    CHECK_INT(s.n_words, 3);
    CHECK_STR(s.words[1].text, "\u672c");
    CHECK_STR(s.words[2].text, " \u8a9e");
    al_script_finish(&s);
}

TEST(untimed_words_share_the_gap_by_their_characters) {
    struct al_script s = read_ok(
        "{\"segments\": [{\"start\": 1, \"end\": 9, \"text\": \"a bb c dddd\"}, {\"start\": 10, "
        "\"end\": 12, \"text\": \"e f\"}]}");
    s.words[0].timed = s.words[3].timed = true;
    s.words[0].start = 2;
    s.words[0].end = 3;
    s.words[3].start = 10;
    s.words[3].end = 11;
    al_script_settle(&s);
    CHECK_NEAR(s.words[1].start, 3, 1e-9);
    CHECK_NEAR(s.words[1].end, 7, 1e-9); /* " bb" to " c" as 4 to 3 */
    CHECK_NEAR(s.words[2].end, 10, 1e-9);
    CHECK_NEAR(s.words[4].start, 10, 1e-9); /* nothing known: the segment's time */
    CHECK_NEAR(s.words[5].end, 12, 1e-9);
    al_script_finish(&s);
}

TEST(times_come_in_order) {
    struct al_script s =
        read_ok("{\"segments\": [{\"start\": 0, \"end\": 9, \"text\": \"a b c\", \"words\": ["
                "{\"word\": \"a\", \"start\": 4, \"end\": 5}, {\"word\": \"b\", \"start\": 2, "
                "\"end\": 3}, {\"word\": \"c\"}]}]}");
    al_script_settle(&s);
    for (size_t i = 0; i < 3; i++) {
        CHECK(s.words[i].end >= s.words[i].start);
        CHECK(i == 0 || s.words[i].start >= s.words[i - 1].start);
    }
    al_script_finish(&s);
}

TEST(what_is_no_transcript_is_refused) {
    check_refused("", "is not JSON");
    check_refused("[]", "no list of segments");
    check_refused("{\"segments\": [4]}", "segments[0]: expected start and end");
    check_refused("{\"segments\": [{\"start\": 2, \"end\": 1, \"text\": \"\"}]}", "in order");
    check_refused("{\"segments\": [{\"start\": 2, \"end\": 3}]}", "segments[0].text");
    check_refused("{\"segments\": [{\"start\": 2, \"end\": 3, \"text\": \"\", \"words\": 1}]}",
                  "segments[0].words: expected a list");
    check_refused("{\"segments\": [{\"start\": 2, \"end\": 3, \"text\": \"\", \"words\": [{}]}]}",
                  "segments[0].words[0]: expected a word");
}

TEST_MAIN()
