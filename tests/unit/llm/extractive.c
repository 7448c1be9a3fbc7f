/* Words, sentences and the summary that is made of them. Expected texts follow from the rules in
 * the headers. */
#include "unit/test.h"

#include "llm/extractive.h"
#include "llm/sentences.h"
#include "llm/unicode.h"

static void load(const char *json, struct lm_transcript *ret) {
    struct num_err err;
    if (lm_transcript_read(json, strlen(json), NULL, ret, &err) != SLUICE_OK)
        TEST_FAIL("%s", err.text);
}

/* The words of a text, separated by bars. */
static const char *words_of(const char *text) {
    static char out[512];
    size_t len = strlen(text), begin;
    *out = '\0';
    for (size_t at = 0; lm_word_next(text, len, &at, &begin);)
        snprintf(out + strlen(out), sizeof out - strlen(out), "%.*s|", (int)(at - begin),
                 text + begin);
    return out;
}

TEST(words) {
    CHECK_STR(words_of("Don't stop, it's 3.5 km (well-known)."),
              "Don't|stop|it's|3.5|km|well-known|");
    CHECK_STR(words_of("end.Next 'quoted' a--b"), "end|Next|quoted|a|b|");
    CHECK_STR(words_of("Grüße, Ёлка! हिन्दी भाषा"), "Grüße|Ёлка|हिन्दी|भाषा|");
    CHECK_STR(words_of("東京へ行く"), "東|京|へ|行|く|");
    CHECK_STR(words_of(" \xff\xfe ... "), "");
}

TEST(case_of_letters) {
    CHECK_INT(lm_char_lower('A'), 'a');
    CHECK_INT(lm_char_lower(0xc4), 0xe4);   /* Ä */
    CHECK_INT(lm_char_lower(0x3a3), 0x3c3); /* Σ */
    CHECK_INT(lm_char_lower(0x416), 0x436); /* Ж */
    CHECK_INT(lm_char_upper(0xe9), 0xc9);   /* é */
    CHECK_INT(lm_char_upper(0x101), 0x100); /* ā */
    CHECK_INT(lm_char_upper(0xdf), 0xdf);   /* ß has no capital of one character that maps back */
    CHECK_INT(lm_char_lower('1'), '1');
}

static const char *sentences_of(const char *json) {
    static char out[1024];
    lm_autotranscript t = {0};
    lm_autosentences s = {0};
    struct num_err err;
    load(json, &t);
    CHECK_INT(lm_sentences_cut(&t, &s, &err), SLUICE_OK);
    *out = '\0';
    for (size_t i = 0; i < s.n; i++)
        snprintf(out + strlen(out), sizeof out - strlen(out), "%.*s|", (int)s.items[i].len,
                 s.items[i].text);
    return out;
}

#define SEGMENT(text) "{\"start\": 0, \"end\": 1, \"text\": \"" text "\"}"
#define SPOKEN(speaker, text)                                                                      \
    "{\"start\": 0, \"end\": 1, \"speaker\": \"" speaker "\", \"text\": \"" text "\"}"
#define TRANSCRIPT(segments) "{\"segments\": [" segments "]}"

TEST(sentences) {
    CHECK_STR(sentences_of(TRANSCRIPT(SEGMENT(" One two.  Three") "," SEGMENT(" four? Five"))),
              "One two.|Three four?|Five|");
    CHECK_STR(
        sentences_of(TRANSCRIPT(SEGMENT("Mr. A. Smith said, e.g. this, \\\"no!\\\" Then left."))),
        "Mr.|A. Smith said, e.g. this, \"no!\"|Then left.|");
    CHECK_STR(sentences_of(TRANSCRIPT(SEGMENT("3.5 km... and 3. Then"))), "3.5 km...|and 3.|Then|");
    CHECK_STR(sentences_of(TRANSCRIPT(SEGMENT("今日は。明日は？") "," SEGMENT("はい"))),
              "今日は。|明日は？|はい|");
    CHECK_STR(sentences_of(TRANSCRIPT(SEGMENT("") "," SEGMENT(" ... ") "," SEGMENT("--"))), "");
}

TEST(sentences_end_with_the_speaker) {
    CHECK_STR(sentences_of(TRANSCRIPT(SPOKEN("A", "I think that") "," SPOKEN("A", "we") "," SPOKEN(
                  "B", "no") "," SPOKEN("A", "should"))),
              "I think that we|no|should|");
}

TEST(long_text_without_punctuation_is_cut_at_segments) {
    CHECK_STR(sentences_of(TRANSCRIPT(SEGMENT("a b c d e f g h i j k l m n o p") "," SEGMENT(
                  "q r s t u v w x y z") "," SEGMENT("one two"))),
              "a b c d e f g h i j k l m n o p q r s t u v w x y z|one two|");
}

static const struct lm_extractive_options defaults = {
    .max_sentences = 2, .min_words = 4, .max_similarity = 0.6, .speakers = true};

static const char *summary_of(const char *json, const struct lm_extractive_options *o) {
    static char out[4096];
    lm_autotranscript t = {0};
    num_autobuf buf = {0};
    struct lm_extractive_report report;
    struct num_err err;
    load(json, &t);
    CHECK_INT(lm_extract_summary(&t, o, &buf, &report, &err), SLUICE_OK);
    snprintf(out, sizeof out, "%s", num_buf_text(&buf));
    return out;
}

/* clang-format off */
static const char meeting[] = TRANSCRIPT(
    SPOKEN("A", "Good morning everyone here.") ","
    SPOKEN("A", "The budget of the bridge is the topic today.") ","
    SPOKEN("B", "Did somebody water the plants?") ","
    SPOKEN("B", "The bridge needs a larger budget this year.") ","
    SPOKEN("A", "The bridge needs a larger budget this year.") ","
    SPOKEN("A", "Yes.") ","
    SPOKEN("B", "So the council must raise the budget for the bridge."));
/* clang-format on */

TEST(the_topic_is_found_and_not_repeated) {
    CHECK_STR(summary_of(meeting, &defaults), "A: The budget of the bridge is the topic today.\n"
                                              "B: The bridge needs a larger budget this year.\n");
}

TEST(budgets) {
    struct lm_extractive_options o = defaults;
    o.speakers = false;
    o.max_sentences = 1;
    CHECK_STR(summary_of(meeting, &o), "The bridge needs a larger budget this year.\n");
    o.max_sentences = 100;
    o.max_words = 12;
    CHECK_STR(summary_of(meeting, &o),
              "Good morning everyone here.\nThe bridge needs a larger budget this year.\n");
    o.max_words = 1; /* one sentence in any case */
    CHECK_STR(summary_of(meeting, &o), "The bridge needs a larger budget this year.\n");
    CHECK_STR(summary_of(TRANSCRIPT(SEGMENT("Yes. No.")), &o), "Yes.\n");
    CHECK_STR(summary_of(TRANSCRIPT(""), &o), "");
}

static bool always(void *ctx) {
    (void)ctx;
    return true;
}

TEST(cancelled) {
    struct lm_extractive_options o = defaults;
    lm_autotranscript t = {0};
    num_autobuf buf = {0};
    struct lm_extractive_report report;
    struct num_err err;
    const struct num_watch watch = {.cancelled = always};
    o.watch = &watch;
    load(meeting, &t);
    CHECK_INT(lm_extract_summary(&t, &o, &buf, &report, &err), SLUICE_CANCELLED);
}

/* A day of speech: linear in its length, where a matrix of all pairs would be 20 GB. */
TEST(a_long_recording) {
    num_autobuf json = {0};
    uint32_t seed = 1;
    num_buf_adds(&json, "{\"segments\": [");
    for (int i = 0; i < 50000; i++) {
        num_buf_addf(&json, "%s{\"start\": %d, \"end\": %d, \"text\": \"", i ? "," : "", i, i + 1);
        for (int w = 0; w < 12; w++) {
            seed = seed * 1664525u + 1013904223u;
            num_buf_addf(&json, "w%u ", (seed >> 16) % 3000 % (1 + (seed >> 8) % 3000));
        }
        num_buf_adds(&json, ".\"}");
    }
    num_buf_adds(&json, "]}");
    struct lm_extractive_options o = defaults;
    o.max_sentences = 10;
    size_t lines = 0;
    for (const char *at = summary_of(json.data, &o); (at = strchr(at, '\n')); at++)
        lines++;
    CHECK_INT(lines, 10);
}

TEST(damage_is_named) {
    static const struct {
        const char *json, *says;
    } cases[] = {
        {"", "not JSON"},
        {"[1]", "segments: expected a list"},
        {TRANSCRIPT("3"), "segments[0].text"},
        {TRANSCRIPT("{\"text\": \"x\", \"start\": 0}"), "segments[0].end"},
        {TRANSCRIPT("{\"text\": \"x\", \"start\": 0, \"end\": 1e300}"), "segments[0].end"},
        {TRANSCRIPT("{\"text\": \"x\", \"start\": 0, \"end\": 1, \"speaker\": 4}"), "speaker"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct lm_transcript t = {0};
        struct num_err err = {0};
        CHECK_INT(lm_transcript_read(cases[i].json, strlen(cases[i].json), NULL, &t, &err),
                  SLUICE_INPUT);
        CHECK_HAS(err.text, cases[i].says);
    }
}

TEST_MAIN()
