/*
 * Long-form transcription: the stored segments of every clip, threads, cancellation, odd audio.
 */
#include "unit/whisper/clips.h"

#include <math.h>

#include "whisper/longform.h"
#include "whisper/text.h"
#include "whisper/transcript.h"

/* Keeps what the listener was told. */
struct record {
    struct wh_transcript *transcript;
    json_t *segments; /* id, start, end, text */
    double last_done, total;
    int n_progress, n_asked, cancel_after;
    int32_t fail_with;
};

static int32_t on_segment(void *ctx, const struct wh_segment *s) {
    struct record *r = ctx;
    json_array_append_new(r->segments, json_pack("{s:i, s:f, s:f, s:s}", "id", s->id, "start",
                                                 s->start, "end", s->end, "text", s->text));
    CHECK(s->n_tokens > 0 && s->compression_ratio > 0 && s->avg_logprob < 0 && s->temperature == 0);
    CHECK(s->no_speech_prob >= 0 && s->no_speech_prob <= 1);
    if (r->transcript)
        CHECK_INT(wh_transcript_add(r->transcript, s, NULL), 0);
    return r->fail_with;
}

static void on_progress(void *ctx, double done, double total) {
    struct record *r = ctx;
    CHECK(done >= r->last_done && done <= total);
    r->last_done = done;
    r->total = total;
    r->n_progress++;
}

static bool on_cancelled(void *ctx) {
    struct record *r = ctx;
    return r->cancel_after && ++r->n_asked >= r->cancel_after;
}

static int32_t run(struct wh_model *m, const float *pcm, size_t n, struct record *r,
                   struct wh_report *report, struct num_err *err) {
    struct wh_longform *lf;
    struct wh_options options = options_greedy();
    struct wh_listener listener = {r, on_segment, on_progress, on_cancelled};
    r->segments = json_array();
    CHECK_INT(wh_longform_create(m, &lf, err), 0);
    int32_t status =
        wh_longform_run(lf, &(struct wh_input){pcm, n, NULL, 0}, &options, &listener, report, err);
    wh_longform_destroy(lf);
    return status;
}

static const char *skip_blank(const char *text) {
    return text[0] == ' ' ? text + 1 : text;
}

/* Stored times are rounded to 0.01 s, and the reference starts its windows at rounded samples. */
static void check_segments(const char *name, const json_t *got, const json_t *want) {
    CHECK_INT(json_array_size(got), json_array_size(want));
    for (size_t i = 0; i < json_array_size(want); i++) {
        const json_t *g = json_array_get(got, i), *w = json_array_get(want, i);
        CHECK_INT(json_integer_value(json_object_get(g, "id")), i);
        CHECK_STR(skip_blank(json_string_value(json_object_get(g, "text"))),
                  json_string_value(json_object_get(w, "text")));
        CHECK_NEAR(json_real_value(json_object_get(g, "start")),
                   json_number_value(json_object_get(w, "start")), 0.006);
        CHECK_NEAR(json_real_value(json_object_get(g, "end")),
                   json_number_value(json_object_get(w, "end")), 0.006);
    }
    printf("  %s: %zu segments\n", name, json_array_size(want));
}

TEST(segments_of_all_clips) {
    struct wh_model m;
    model_open(&m, 2, 1, 1);
    json_t *all = clip_expectations(), *want;
    const char *name;
    int n_checked = 0;
    json_object_foreach(all, name, want) {
        size_t n;
        float *pcm = clip_read(name, &n);
        struct record r = {0};
        struct wh_report report;
        struct num_err err = {0};
        if (!pcm)
            continue;
        CHECK_INT(run(&m, pcm, n, &r, &report, &err), 0);
        check_segments(name, r.segments, json_object_get(want, "segments"));
        CHECK_STR(report.language, "en");
        CHECK(r.n_progress >= 2);
        CHECK_NEAR(r.last_done, r.total, 0.011);
        json_decref(r.segments);
        free(pcm);
        n_checked++;
    }
    printf("  %d clips\n", n_checked);
    CHECK(n_checked >= 3);
    json_decref(all);
    wh_model_finish(&m);
}

static char *transcript_of(const char *name, uint32_t n_threads) {
    struct wh_model m;
    struct wh_report report;
    struct num_err err = {0};
    struct record r = {0};
    char *json;
    size_t n;
    float *pcm = clip_read(name, &n);
    model_open(&m, n_threads, 1, 1);
    CHECK_INT(wh_transcript_create(&r.transcript, &err), 0);
    CHECK_INT(run(&m, pcm, n, &r, &report, &err), 0);
    CHECK_INT(wh_transcript_text(r.transcript, report.language, (double)n / 16000, &json, &err), 0);
    wh_transcript_destroy(r.transcript);
    json_decref(r.segments);
    free(pcm);
    wh_model_finish(&m);
    return json;
}

TEST(threads_change_no_byte) {
    char *one = transcript_of("meeting", 1), *two = transcript_of("meeting", 2);
    char *three = transcript_of("meeting", 3);
    CHECK_STR(one, two);
    CHECK_STR(one, three);
    free(one);
    free(two);
    free(three);
}

TEST(transcript_has_the_text_of_the_reference) {
    char *json = transcript_of("meeting", 2), text[2000];
    json_t *o = json_loads(json, 0, NULL);
    FILE *f = fopen(TESTS_DIR "/data/meeting.txt", "r");
    CHECK(o && f && fgets(text, sizeof text, f));
    fclose(f);
    text[strcspn(text, "\n")] = '\0';
    CHECK_STR(skip_blank(json_string_value(json_object_get(o, "text"))), text);
    CHECK_NEAR(json_real_value(json_object_get(o, "duration")), 29.95, 0.01);
    CHECK_STR(json_string_value(json_object_get(o, "language")), "en");
    const json_t *s = json_array_get(json_object_get(o, "segments"), 0);
    CHECK_INT(json_object_size(s), 10);
    char start[32]; /* a time has two digits, whatever the nearest double has */
    snprintf(start, sizeof start, "\"start\": %g,",
             round(json_real_value(json_object_get(s, "start")) * 100) / 100);
    CHECK_HAS(json, start);
    CHECK(json_array_size(json_object_get(s, "tokens")) > 2);
    json_decref(o);
    free(json);
}

TEST(empty_and_tiny_audio_give_no_segment) {
    struct wh_model m;
    float few[200] = {0.5f, -0.5f};
    model_open(&m, 1, 1, 1);
    for (size_t n = 0; n <= 200; n += 20) {
        struct record r = {0};
        struct wh_report report;
        struct num_err err = {0};
        CHECK_INT(run(&m, few, n, &r, &report, &err), 0);
        CHECK_INT(json_array_size(r.segments), 0);
        CHECK_STR(report.language, "en");
        json_decref(r.segments);
    }
    wh_model_finish(&m);
}

TEST(wild_samples_do_no_harm) {
    struct wh_model m;
    struct record r = {0};
    struct wh_report report;
    struct num_err err = {0};
    size_t n = 16000;
    float *pcm = malloc(n * sizeof *pcm);
    for (size_t i = 0; i < n; i++)
        pcm[i] = i % 7 == 0 ? NAN : i % 7 == 1 ? INFINITY : i % 7 == 2 ? 1e20f : -1e18f;
    model_open(&m, 1, 1, 1);
    CHECK_INT(run(&m, pcm, n, &r, &report, &err), 0);
    json_decref(r.segments);
    free(pcm);
    wh_model_finish(&m);
}

TEST(cancels_within_a_token) {
    struct wh_model m;
    size_t n;
    float *pcm = clip_read("meeting", &n);
    model_open(&m, 1, 1, 1);
    for (int after = 1; after < 40; after += 9) {
        struct record r = {.cancel_after = after};
        struct wh_report report;
        struct num_err err = {0};
        CHECK_INT(run(&m, pcm, n, &r, &report, &err), SLUICE_CANCELLED);
        CHECK_INT(r.n_asked, after);
        json_decref(r.segments);
    }
    free(pcm);
    wh_model_finish(&m);
}

TEST(a_listener_that_fails_ends_it) {
    struct wh_model m;
    struct record r = {.fail_with = SLUICE_RESOURCE};
    struct wh_report report;
    struct num_err err = {0};
    size_t n;
    float *pcm = clip_read("meeting", &n);
    model_open(&m, 1, 1, 1);
    CHECK_INT(run(&m, pcm, n, &r, &report, &err), SLUICE_RESOURCE);
    CHECK_INT(json_array_size(r.segments), 1);
    json_decref(r.segments);
    free(pcm);
    wh_model_finish(&m);
}

TEST(refuses_what_the_model_does_not_know) {
    struct wh_model m;
    struct num_err err = {0};
    model_open(&m, 1, 1, 1);
    struct wh_options english = options_greedy(), klingon = english, translate = english;
    english.language = "en";
    klingon.language = "tlh";
    translate.translate = true;
    CHECK_INT(wh_options_check(&m, &english, &err), 0);
    CHECK_INT(wh_options_check(&m, &translate, &err), 0);
    CHECK_INT(wh_options_check(&m, &klingon, &err), SLUICE_UNSUPPORTED);
    CHECK_HAS(err.text, "\"tlh\"; it knows: en");
    m.tokens.translate = -1;
    CHECK_INT(wh_options_check(&m, &translate, &err), SLUICE_UNSUPPORTED);
    CHECK_HAS(err.text, "cannot translate");
    wh_model_finish(&m);
}

/* The ratio of a text, through the tokens of the model. */
static double ratio_of(struct wh_model *m, const char *text) {
    struct num_bpe_encoder *encoder;
    struct num_err err;
    int32_t *ids;
    size_t n;
    CHECK_INT(num_bpe_encoder_create(&m->bpe, &encoder, &err), 0);
    CHECK_INT(num_bpe_encode(encoder, text, strlen(text), &ids, &n, &err), 0);
    double ratio = wh_compression_ratio(m, ids, (uint32_t)n);
    free(ids);
    num_bpe_encoder_destroy(encoder);
    return ratio;
}

TEST(compression_ratio_is_high_for_repetition) {
    struct wh_model m;
    model_open(&m, 1, 1, 1);
    CHECK(ratio_of(&m, "A plain sentence of speech.") < 1.2);
    CHECK(ratio_of(&m, "ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha") > 2.4);
    CHECK(ratio_of(&m, "") == 0);
    CHECK(ratio_of(&m, "  ha\n") == ratio_of(&m, "ha"));
    wh_model_finish(&m);
}

TEST_MAIN()
