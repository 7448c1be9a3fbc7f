/* The transcript reader: what it takes, and the place that its errors name. */
#include "unit/test.h"

#include <sluice/types.h>

#include "export/transcript.h"

static struct num_err err;

static int parse(const char *text, struct ex_transcript *ret) {
    char *copy = malloc(strlen(text) + 1); /* no NUL behind it: the reader must go by the length */
    memcpy(copy, text, strlen(text));
    copy[strlen(text)] = 'x';
    int status = ex_transcript_read(copy, strlen(text), NULL, ret, &err);
    free(copy);
    return status;
}

#define CHECK_REFUSED(json, part)                                                                  \
    do {                                                                                           \
        struct ex_transcript t_ = {0};                                                             \
        CHECK_INT(parse(json, &t_), SLUICE_INPUT);                                                 \
        CHECK(t_.root == NULL && t_.segments == NULL);                                             \
        CHECK_HAS(err.text, part);                                                                 \
    } while (0)

TEST(reads_the_required_members) {
    ex_autotranscript t = {0};
    CHECK_INT(parse("{\"segments\": [{\"start\": 1, \"end\": 2.5, \"text\": \" Hi\"}]}", &t), 0);
    CHECK_INT(t.n_segments, 1);
    CHECK_NEAR(t.segments[0].start, 1.0, 0);
    CHECK_NEAR(t.segments[0].end, 2.5, 0);
    CHECK_STR(t.segments[0].text, " Hi");
    CHECK(t.segments[0].speaker == NULL);
    CHECK_INT(t.segments[0].n_words, 0);
}

TEST(reads_speakers_and_words) {
    ex_autotranscript t = {0};
    CHECK_INT(
        parse("{\"language\": \"en\", \"other\": {\"x\": [1]}, \"segments\": ["
              "{\"id\": 0, \"start\": 0, \"end\": 1, \"text\": \"a\", \"speaker\": null},"
              "{\"start\": 1, \"end\": 3, \"text\": \"b cé\", \"speaker\": \"A\", \"words\": ["
              "{\"word\": \" b\", \"start\": 1, \"end\": 1.5, \"probability\": 0.5},"
              "{\"word\": \" cé\"}]}]}",
              &t),
        0);
    CHECK_INT(t.n_segments, 2);
    CHECK(t.segments[0].speaker == NULL);
    CHECK_STR(t.segments[1].speaker, "A");
    CHECK_INT(t.segments[1].n_words, 2);
    CHECK_NEAR(t.segments[1].words[0].end, 1.5, 0);
    CHECK_INT(t.segments[1].words[0].n_chars, 1);
    CHECK(t.segments[1].words[1].start < 0);
    CHECK_INT(t.segments[1].words[1].n_chars, 2);
}

TEST(clamps_times) {
    ex_autotranscript t = {0};
    CHECK_INT(parse("{\"segments\": [{\"start\": -0.5, \"end\": -0.2, \"text\": \"\"},"
                    "{\"start\": 5, \"end\": 4, \"text\": \"\"}]}",
                    &t),
              0);
    CHECK_NEAR(t.segments[0].start, 0, 0);
    CHECK_NEAR(t.segments[0].end, 0, 0);
    CHECK_NEAR(t.segments[1].end, 5, 0);
}

TEST(takes_an_empty_transcript) {
    ex_autotranscript t = {0};
    CHECK_INT(parse("{\"segments\": []}", &t), 0);
    CHECK_INT(t.n_segments, 0);
}

TEST(names_the_place_of_a_mistake) {
    CHECK_REFUSED("", "not JSON");
    CHECK_REFUSED("{\"segments\": [", "not JSON");
    CHECK_REFUSED("{\"segments\": []} x", "not JSON");
    CHECK_REFUSED("[]", "a list, not an object");
    CHECK_REFUSED("{}", "segments: expected a list, found nothing");
    CHECK_REFUSED("{\"segments\": {}}", "segments: expected a list, found an object");
    CHECK_REFUSED("{\"segments\": [1]}", "segments[0]: expected an object, found a number");
    CHECK_REFUSED("{\"segments\": [{\"end\": 1, \"text\": \"\"}]}",
                  "segments[0].start: expected a number of seconds, found nothing");
    CHECK_REFUSED("{\"segments\": [{\"start\": 1, \"end\": 2, \"text\": \"\"},"
                  "{\"start\": 1, \"end\": \"2\", \"text\": \"\"}]}",
                  "segments[1].end: expected a number of seconds, found a string");
    CHECK_REFUSED("{\"segments\": [{\"start\": 1, \"end\": 2, \"text\": 7}]}",
                  "segments[0].text: expected a string, found a number");
    CHECK_REFUSED("{\"segments\": [{\"start\": 1, \"end\": 2, \"text\": \"\", \"speaker\": 1}]}",
                  "segments[0].speaker: expected a string");
    CHECK_REFUSED("{\"segments\": [{\"start\": 1, \"end\": 2, \"text\": \"\", \"words\": 1}]}",
                  "segments[0].words: expected a list");
    CHECK_REFUSED("{\"segments\": [{\"start\": 1, \"end\": 2, \"text\": \"\", \"words\": [{}]}]}",
                  "segments[0].words[0].word: expected a string, found nothing");
}

TEST(refuses_times_that_are_damage) {
    CHECK_REFUSED("{\"segments\": [{\"start\": 1, \"end\": 1e300, \"text\": \"\"}]}",
                  "segments[0].end: 1e+300 is no time");
    CHECK_REFUSED("{\"segments\": [{\"start\": -1e18, \"end\": 1, \"text\": \"\"}]}",
                  "segments[0].start: -1e+18 is no time");
    CHECK_REFUSED("{\"segments\": [{\"start\": NaN, \"end\": 1, \"text\": \"\"}]}", "not JSON");
    CHECK_REFUSED("{\"segments\": [{\"start\": 1e999, \"end\": 1, \"text\": \"\"}]}", "not JSON");
}

TEST(refuses_bytes_that_are_not_text) {
    CHECK_REFUSED("{\"segments\": [{\"start\": 1, \"end\": 2, \"text\": \"\xff\"}]}", "not JSON");
    CHECK_REFUSED("{\"segments\": [{\"start\": 1, \"end\": 2, \"text\": \"\\u0000\"}]}",
                  "not JSON");
    CHECK_INT(ex_transcript_read(NULL, 0, NULL, &(struct ex_transcript){0}, &err), SLUICE_INPUT);
}

TEST(deep_nesting_is_an_error) {
    size_t n = 200000;
    char *text = malloc(n);
    memset(text, '[', n);
    struct ex_transcript t = {0};
    CHECK_INT(ex_transcript_read(text, n, NULL, &t, &err), SLUICE_INPUT);
    free(text);
}

TEST_MAIN()
