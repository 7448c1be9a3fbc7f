/* Translation with a session that answers by a function: what counts is laid out, what does not is
 * asked about in halves. */
#include "unit/llm/fake_session.h"
#include "unit/test.h"

#include "llm/languages.h"
#include "llm/translate.h"

/* A session whose answer to the lines of a question is what `answer` makes of them. */
struct fake {
    struct lm_session base;
    json_t *(*answer)(const json_t *lines, enum lm_end *ret_end); /* a new object, NULL: no JSON */
    size_t n_asked;
    char system[600];
};

static void start(struct lm_session *s, struct lm_question *q) {
    struct fake *f = (struct fake *)s;
    json_t *question = json_loadb(q->ask.user, q->ask.user_len, 0, NULL);
    CHECK(question && q->ask.schema && q->ask.grammar && q->ask.checks);
    json_t *answer = f->answer(json_object_get(question, "lines"), &q->answer.end);
    char *text = answer ? json_dumps(answer, 0) : strdup("Sorry.");
    snprintf(f->system, sizeof f->system, "%s", q->ask.system);
    f->n_asked++;
    lm_question_text(q, text, strlen(text), false);
    lm_question_end(q, SLUICE_OK);
    free(text);
    json_decref(answer);
    json_decref(question);
}

static void step(struct lm_session *s) {
    (void)s;
}

static const struct lm_session_ops ops = {NULL, fake_count, fake_frame, start, step};

static const char talk[] = "{\"language\": \"en\", \"text\": \"x\", \"words\": [], \"segments\": ["
                           "{\"start\": 0, \"end\": 1, \"text\": \" one\", \"speaker\": \"A\", "
                           "\"tokens\": [1], \"words\": "
                           "[{\"word\": \" one\", \"start\": 0, \"end\": 1}]},"
                           "{\"start\": 1, \"end\": 2, \"text\": \" ...\"},"
                           "{\"start\": 2, \"end\": 3, \"text\": \" two \\\"and\\\" three\"},"
                           "{\"start\": 3, \"end\": 4, \"text\": \" bad\"},"
                           "{\"start\": 4, \"end\": 5, \"text\": \" four\"}]}";

static struct lm_transcript translated(struct fake *f, struct lm_ranges_report *report) {
    struct lm_transcript t = {0};
    struct num_err err = {0};
    struct lm_ranges_options options = {.language = "de", .max_marks = 600};
    CHECK_INT(lm_transcript_read(talk, strlen(talk), NULL, &t, &err), SLUICE_OK);
    if (lm_translate(&f->base, &t, &options, report, &err))
        TEST_FAIL("%s", err.text);
    return t;
}

static void check_texts(const struct lm_transcript *t, const char *const want[5]) {
    for (size_t i = 0; i < 5; i++)
        CHECK_STR(json_string_value(json_object_get(t->segments[i].json, "text")), want[i]);
}

static json_t *in_german(const json_t *lines, enum lm_end *ret_end) {
    json_t *out = json_array();
    *ret_end = LM_END_STOP;
    for (size_t i = 0; i < json_array_size(lines); i++)
        json_array_append_new(
            out, json_sprintf(" %s\n auf Deutsch ", json_string_value(json_array_get(lines, i))));
    return json_pack("{s:o}", "lines", out);
}

TEST(segments_keep_times_and_speakers) {
    struct fake f = {.base = {&ops, 4096, 2, false}, .answer = in_german};
    struct lm_ranges_report report;
    lm_autotranscript t = translated(&f, &report);
    static const char *const want[] = {" one auf Deutsch", " ...", " two \"and\" three auf Deutsch",
                                       " bad auf Deutsch", " four auf Deutsch"};
    check_texts(&t, want);
    CHECK_INT(f.n_asked, 1);
    CHECK_HAS(f.system, "into German.");
    CHECK_INT(report.n_segments, 4);
    CHECK_INT(report.n_changed, 4);
    CHECK_STR(json_string_value(json_object_get(t.root, "language")), "de");
    CHECK(!json_object_get(t.root, "words"));
    CHECK_HAS(json_string_value(json_object_get(t.root, "text")), "one auf Deutsch ...");
    const json_t *first = t.segments[0].json;
    CHECK_STR(json_string_value(json_object_get(first, "speaker")), "A");
    CHECK(!json_object_get(first, "tokens") && !json_object_get(first, "words"));
    CHECK_INT(json_integer_value(json_object_get(first, "end")), 1);
}

/* Leaves a line out where there is a bad one, so that it is asked about alone, and refuses it
 * then. */
static json_t *without_the_bad(const json_t *lines, enum lm_end *ret_end) {
    size_t n = json_array_size(lines);
    json_t *all = in_german(lines, ret_end);
    for (size_t i = 0; i < n; i++)
        if (strcmp(json_string_value(json_array_get(lines, i)), "bad") == 0)
            json_array_remove(json_object_get(all, "lines"), i);
    return all;
}

TEST(what_is_not_in_the_form_is_asked_again_in_halves) {
    struct fake f = {.base = {&ops, 4096, 2, false}, .answer = without_the_bad};
    struct lm_ranges_report report;
    lm_autotranscript t = translated(&f, &report);
    static const char *const want[] = {" one auf Deutsch", " ...", " two \"and\" three auf Deutsch",
                                       " bad", " four auf Deutsch"};
    check_texts(&t, want);
    CHECK_INT(report.n_kept, 1);
    CHECK_INT(report.n_changed, 3);
    CHECK_INT(report.n_questions, f.n_asked);
    CHECK_INT(report.n_refused, 4);
}

static json_t *cut_off(const json_t *lines, enum lm_end *ret_end) {
    json_t *all = in_german(lines, ret_end);
    *ret_end = LM_END_LENGTH;
    return all;
}

static json_t *nothing(const json_t *lines, enum lm_end *ret_end) {
    (void)lines;
    *ret_end = LM_END_STOP;
    return NULL;
}

static json_t *blanks(const json_t *lines, enum lm_end *ret_end) {
    json_t *out = json_array();
    *ret_end = LM_END_STOP;
    for (size_t i = 0; i < json_array_size(lines); i++)
        json_array_append_new(out, json_string(" \n"));
    return json_pack("{s:o}", "lines", out);
}

TEST(answers_that_do_not_count_change_nothing) {
    static json_t *(*const answers[])(const json_t *, enum lm_end *) = {cut_off, nothing, blanks};
    static const char *const want[] = {" one", " ...", " two \"and\" three", " bad", " four"};
    for (size_t i = 0; i < 3; i++) {
        struct fake f = {.base = {&ops, 4096, 1, false}, .answer = answers[i]};
        struct lm_ranges_report report;
        lm_autotranscript t = translated(&f, &report);
        check_texts(&t, want);
        CHECK_INT(report.n_kept, 4);
        CHECK(json_object_get(t.segments[0].json, "words"));
    }
}

TEST(what_does_not_fit_is_cut_into_halves) {
    struct fake f = {.base = {&ops, 300, 1, false}, .answer = in_german};
    struct lm_ranges_report report;
    lm_autotranscript t = translated(&f, &report);
    CHECK_INT(report.n_changed, 4);
    CHECK(f.n_asked > 1);
    CHECK_INT(report.n_refused, 0);
}

TEST(languages) {
    CHECK_STR(lm_language_name("DE"), "German");
    CHECK_STR(lm_language_name("Swiss German"), "Swiss German");
    CHECK_STR(lm_language_code("german"), "de");
    CHECK_STR(lm_language_code("Klingon"), "Klingon");
}

TEST_MAIN()
