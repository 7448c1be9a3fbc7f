/*
 * Many windows at once: whatever is decoded together, each gets what it gets alone. Random models,
 * languages, fallbacks and word times; batches of 1, 3 and 8; one and two threads; several files,
 * which come, fail and are stopped at any time.
 */
#include "unit/whisper/toy.h"

#include "whisper/regions.h"
#include "whisper/transcript.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SHORTENED = 1, SECONDS = 45, MAX_TOKENS = 8, STOP_AT = 1, N_BATCHES = 2 };
#else
enum { SHORTENED = 0, SECONDS = 100, MAX_TOKENS = 30, STOP_AT = 90, N_BATCHES = 3 };
#endif
enum { MAX_SPANS = 40 };

/* Whether a case holds what it is meant to hold. */
#define CHECK_WORTH(condition) CHECK(SHORTENED || (condition))

static float *sound(uint32_t seed, size_t *ret_n) {
    *ret_n = 16000 * SECONDS;
    float *pcm = malloc(*ret_n * sizeof *pcm);
    toy_sound(seed, *ret_n, pcm);
    return pcm;
}

/* Regions of all lengths, and the spans that they make; freed by the caller. */
static struct wh_span *random_spans(uint32_t seed, const float *pcm, size_t n_samples,
                                    size_t *ret_n) {
    struct wh_region regions[MAX_SPANS];
    struct wh_span *spans;
    struct num_err err;
    size_t at = 0, n = 0;
    for (uint32_t i = 0; n < MAX_SPANS; i++) {
        double gap = toy_uniform(i, seed, 0, 0, 3), len = toy_uniform(i, seed, 1, 0, 3);
        size_t first = at + (size_t)(gap * gap * 8 * 16000);
        size_t end = first + 4000 + (size_t)(len * len * len * 50 * 16000);
        if (end > n_samples)
            break;
        regions[n++] = (struct wh_region){first, end};
        at = end;
    }
    CHECK_INT(wh_regions_merge(pcm, regions, n, 10 * 16000, &spans, ret_n, &err), 0);
    return spans;
}

static struct wh_options everything(void) {
    struct wh_options o;
    wh_options_default(&o);
    o.max_new_tokens = MAX_TOKENS;
    o.word_timestamps = true;
    o.attention = true;
    o.hotwords = "Kevin";
    o.beam_size = 3;
    o.best_of = 2;
    o.logprob_threshold = -1.05; /* some windows fall back, some do not */
    o.no_speech_threshold = 2;
    o.n_temperatures = 3;
    return o;
}

static void open_toy(struct wh_model *m, uint32_t n_threads, const struct wh_options *o) {
    static char folder[TEST_PATH];
    struct num_err err = {0};
    struct wh_limits limits = {.n_threads = n_threads,
                               .n_slots = o->batch_size,
                               .n_rows = o->batch_size * wh_options_rows(o)};
    toy_write(folder, true);
    if (wh_model_load(folder, &wh_backend_cpu, &limits, m, &err))
        TEST_FAIL("%s", err.text);
    toy_remove(folder);
}

/* ---- A listener that keeps everything ---------------------------------------------------------
 */

struct record {
    struct wh_transcript *transcript;
    double attention_sum; /* of every weight, in order: the sum of another order would differ */
    uint64_t last_seek;
    double last_done;
    uint32_t n_segments, n_asked, cancel_at;
    int32_t fail_with;
    bool untimed; /* times are what the model makes up */
};

static int32_t on_segment(void *ctx, const struct wh_segment *s) {
    struct record *r = ctx;
    const struct wh_attention *a = &s->attention;
    CHECK(s->seek >= r->last_seek && s->end > s->start);
    CHECK(r->untimed || s->start >= (double)s->seek / 100 - 0.001);
    CHECK_INT(s->id, r->n_segments++);
    r->last_seek = s->seek;
    for (size_t h = 0; a->weights && h < a->n_heads; h++)
        for (size_t i = 0; i < (size_t)a->n_tokens * a->n_frames; i++)
            r->attention_sum = r->attention_sum * 0.999 + a->weights[h * a->head_stride + i];
    CHECK_INT(wh_transcript_add(r->transcript, s, NULL), 0);
    return r->fail_with;
}

static void on_progress(void *ctx, double done, double total) {
    struct record *r = ctx;
    CHECK(done >= r->last_done && done <= total);
    r->last_done = done;
}

static bool on_cancelled(void *ctx) {
    struct record *r = ctx;
    CHECK(r->cancel_at == 0 || r->n_asked < r->cancel_at); /* never again after a yes */
    return ++r->n_asked == r->cancel_at;
}

static struct wh_listener listener_of(struct record *r) {
    CHECK_INT(wh_transcript_create(&r->transcript, NULL), 0);
    return (struct wh_listener){r, on_segment, on_progress, on_cancelled};
}

/* The transcript of a record as text, malloc'ed, with what is not in it behind it. */
static char *text_of(struct record *r, const struct wh_report *report) {
    char *json, *whole;
    CHECK_INT(wh_transcript_text(r->transcript, report->language, SECONDS, &json, NULL), 0);
    CHECK(asprintf(&whole, "%s\nattention %.17g, %u windows, %u fallbacks, %ju tokens", json,
                   r->attention_sum, report->n_windows, report->n_fallbacks,
                   (uintmax_t)report->n_tokens) > 0);
    wh_transcript_destroy(r->transcript);
    free(json);
    return whole;
}

static char *transcribe(struct wh_model *m, const struct wh_input *input,
                        const struct wh_options *o, struct wh_report *ret) {
    struct wh_longform *lf;
    struct num_err err = {0};
    struct record r = {.untimed = o->without_timestamps};
    struct wh_listener listener = listener_of(&r);
    CHECK_INT(wh_longform_create(m, &lf, &err), 0);
    CHECK_INT(wh_longform_run(lf, input, o, &listener, ret, &err), 0);
    CHECK_NEAR(r.last_done, SECONDS, 0.01);
    wh_longform_destroy(lf);
    return text_of(&r, ret);
}

/* ---- One file ---------------------------------------------------------------------------------
 */

static void check_batches(const struct wh_options *options, uint32_t seed) {
    static const uint32_t batches[] = {1, 3, 8}, threads[] = {1, 2, 1};
    size_t n_samples;
    float *pcm = sound(seed, &n_samples);
    struct wh_input input = {.pcm = pcm, .n_samples = n_samples};
    struct wh_span *spans = random_spans(seed, pcm, n_samples, &input.n_spans);
    input.spans = spans;
    char *first = NULL;
    for (int i = 0; i < N_BATCHES; i++) {
        struct wh_model m;
        struct wh_report report;
        struct wh_options o = *options;
        o.batch_size = batches[i];
        o.seed = seed;
        open_toy(&m, threads[i], &o);
        char *text = transcribe(&m, &input, &o, &report);
        wh_model_finish(&m);
        if (i > 0) {
            CHECK_STR(text, first);
            free(text);
            continue;
        }
        first = text;
        printf("  %zu spans, %u windows, %u fallbacks, %ju tokens, language %s\n", input.n_spans,
               report.n_windows, report.n_fallbacks, (uintmax_t)report.n_tokens, report.language);
        CHECK(report.n_windows >= input.n_spans);
        CHECK_WORTH(input.n_spans >= 8 && report.n_fallbacks > 0 &&
                    report.n_fallbacks < report.n_windows * (o.n_temperatures - 1));
    }
    free(first);
    free(spans);
    free(pcm);
}

TEST(a_batch_changes_no_byte_of_words) {
    struct wh_options o = everything();
    check_batches(&o, 1);
}

TEST(a_batch_changes_no_byte_where_each_window_has_its_language) {
    struct wh_options o = everything();
    o.multilingual = true;
    o.initial_prompt = "Nina";
    check_batches(&o, 2);
}

TEST(a_batch_changes_no_byte_of_samples) {
    struct wh_options o = everything();
    o.temperatures[0] = 0.7f;
    o.logprob_threshold = -1.6;
    o.word_timestamps = o.attention = false;
    o.language_detection_segments = 4;
    o.language_detection_threshold = 1;
    o.best_of = 4;
    check_batches(&o, 3);
}

TEST(a_batch_changes_no_byte_of_greedy_text_without_times) {
    struct wh_options o;
    wh_options_default(&o);
    o.without_timestamps = true;
    o.max_new_tokens = MAX_TOKENS;
    o.beam_size = o.best_of = 1;
    o.language = "de";
    check_batches(&o, 4);
}

static uint32_t n_asked_encoded;

static bool every_fifth_time(void *self, uint32_t slot) {
    (void)self;
    (void)slot;
    return ++n_asked_encoded % 5 == 0;
}

/* A backend that encodes beside the steps of others: new windows let these go on, and join
 * later. */
TEST(windows_join_once_they_are_encoded) {
    size_t n_samples;
    float *pcm = sound(4, &n_samples);
    struct wh_input input = {.pcm = pcm, .n_samples = n_samples};
    struct wh_backend late = wh_backend_cpu;
    struct wh_options o = everything();
    char *texts[2];
    o.batch_size = 3;
    late.is_encoded = every_fifth_time;
    struct wh_span *spans = random_spans(4, pcm, n_samples, &input.n_spans);
    input.spans = spans;
    for (int i = 0; i < 2; i++) {
        struct wh_model m;
        struct wh_report report;
        open_toy(&m, 1, &o);
        m.backend = i ? &late : &wh_backend_cpu;
        m.limits.n_rows = 2 * wh_options_rows(&o); /* so that the third window starts by itself */
        texts[i] = transcribe(&m, &input, &o, &report);
        wh_model_finish(&m);
    }
    CHECK_STR(texts[1], texts[0]);
    CHECK(n_asked_encoded > 0);
    CHECK_WORTH(n_asked_encoded > 10);
    free(texts[0]);
    free(texts[1]);
    free(spans);
    free(pcm);
}

/* A span alone, and as a file of its own whose times start with 0. */
TEST(a_span_is_a_file_of_its_own) {
    struct wh_model m;
    struct wh_options o = everything();
    size_t n_samples, n_spans, n_compared = 0;
    float *pcm = sound(5, &n_samples);
    struct wh_span *spans = random_spans(5, pcm, n_samples, &n_spans);
    o.n_temperatures = 1;
    o.language = "en";
    o.attention = false;
    open_toy(&m, 2, &o);
    for (size_t i = 0; i < n_spans && i < 6; i++) {
        struct wh_input inputs[] = {{pcm, n_samples, &spans[i], 1},
                                    {pcm + spans[i].first, spans[i].n, NULL, 0}};
        json_t *segments[2];
        for (int k = 0; k < 2; k++) {
            struct wh_longform *lf;
            struct num_err err = {0};
            struct record r = {0};
            struct wh_report report;
            struct wh_listener listener = listener_of(&r);
            CHECK_INT(wh_longform_create(&m, &lf, &err), 0);
            CHECK_INT(wh_longform_run(lf, &inputs[k], &o, &listener, &report, &err), 0);
            wh_longform_destroy(lf);
            char *text = text_of(&r, &report);
            *strrchr(text, '\n') = '\0';
            json_t *t = json_loads(text, 0, NULL);
            segments[k] = json_incref(json_object_get(t, "segments"));
            json_decref(t);
            free(text);
        }
        double offset = (double)spans[i].first / 16000;
        size_t n = json_array_size(segments[0]);
        CHECK(json_array_size(segments[1]) >= n); /* a file goes on with a rest under a second */
        for (size_t s = 0; s < n; s++, n_compared++) {
            const json_t *a = json_array_get(segments[0], s), *b = json_array_get(segments[1], s);
            CHECK(json_equal(json_object_get(a, "tokens"), json_object_get(b, "tokens")));
            CHECK_NEAR(json_number_value(json_object_get(a, "start")) - offset,
                       json_number_value(json_object_get(b, "start")), 1e-9);
            CHECK_NEAR(json_number_value(json_object_get(a, "end")) - offset,
                       json_number_value(json_object_get(b, "end")), 1e-9);
            const json_t *words[] = {json_object_get(a, "words"), json_object_get(b, "words")};
            CHECK_INT(json_array_size(words[0]), json_array_size(words[1]));
            for (size_t w = 0; w < json_array_size(words[0]); w++)
                CHECK_NEAR(
                    json_number_value(json_object_get(json_array_get(words[0], w), "end")) - offset,
                    json_number_value(json_object_get(json_array_get(words[1], w), "end")), 1e-9);
        }
        json_decref(segments[0]);
        json_decref(segments[1]);
    }
    printf("  %zu segments\n", n_compared);
    CHECK_WORTH(n_compared > 5);
    wh_model_finish(&m);
    free(spans);
    free(pcm);
}

/* ---- Several files ----------------------------------------------------------------------------
 */

enum { N_FILES = 5 };

struct made {
    float *pcm;
    struct wh_span *spans;
    struct wh_input input;
    char *alone;
};

static void make_files(struct wh_model *m, const struct wh_options *o, struct made made[N_FILES]) {
    for (uint32_t i = 0; i < N_FILES; i++) {
        struct wh_report report;
        struct made *f = &made[i];
        *f = (struct made){0};
        f->pcm = sound(10 + i, &f->input.n_samples);
        f->input.pcm = f->pcm;
        if (i != 1) /* one file is transcribed in a row */
            f->spans = random_spans(10 + i, f->pcm, f->input.n_samples, &f->input.n_spans);
        f->input.spans = f->spans;
        f->alone = transcribe(m, &f->input, o, &report);
    }
}

/* Files come when there is room; file 2 is stopped, and the listener of file 3 fails. */
TEST(files_share_a_batch_and_nothing_else) {
    struct wh_model m;
    struct wh_longform *lf;
    struct num_err err = {0};
    struct made made[N_FILES];
    struct wh_file *files[N_FILES] = {NULL};
    struct record records[N_FILES] = {{0}};
    struct wh_listener listeners[N_FILES];
    struct wh_options o = everything();
    uint32_t n_added = 0, n_taken = 0, n_together = 0;
    o.batch_size = 4;
    o.word_timestamps = o.attention = false;
    open_toy(&m, 2, &o);
    make_files(&m, &o, made);
    CHECK_INT(wh_longform_create(&m, &lf, &err), 0);
    for (uint32_t step = 0; n_taken < N_FILES; step++) {
        if (n_added < N_FILES && (wh_longform_has_room(lf) || step % 50 == 49)) {
            struct record *r = &records[n_added];
            r->cancel_at = n_added == 2 ? STOP_AT : 0;
            r->fail_with = n_added == 3 ? SLUICE_RESOURCE : SLUICE_OK;
            listeners[n_added] = listener_of(r);
            CHECK_INT(wh_longform_add(lf, &made[n_added].input, &o, &listeners[n_added],
                                      &files[n_added], &err),
                      0);
            n_added++;
        }
        wh_longform_step(lf);
        n_together = n_added - n_taken > n_together ? n_added - n_taken : n_together;
        for (uint32_t i = 0; i < n_added; i++) {
            struct wh_report report = {0};
            if (!files[i] || !wh_file_is_finished(files[i]))
                continue;
            int32_t status = wh_longform_take(lf, files[i], &report, &err);
            bool told = i == 3 && records[i].n_segments > 0;
            CHECK_INT(status, i == 2 ? SLUICE_CANCELLED : told ? SLUICE_RESOURCE : SLUICE_OK);
            CHECK_WORTH(i != 3 || told);
            char *text = text_of(&records[i], &report);
            if (!status)
                CHECK_STR(text, made[i].alone);
            free(text);
            files[i] = NULL;
            n_taken++;
        }
    }
    printf("  at most %u files together\n", n_together);
    CHECK_WORTH(n_together >= 3);
    CHECK(wh_longform_has_room(lf));
    wh_longform_destroy(lf);
    wh_model_finish(&m);
    for (uint32_t i = 0; i < N_FILES; i++) {
        free(made[i].pcm);
        free(made[i].spans);
        free(made[i].alone);
    }
}

TEST(no_speech_is_no_text) {
    struct wh_model m;
    struct wh_report report;
    struct wh_options o = everything();
    const struct wh_span none = {0};
    size_t n;
    float *pcm = sound(1, &n);
    open_toy(&m, 1, &o);
    char *text = transcribe(&m, &(struct wh_input){pcm, n, &none, 0}, &o, &report);
    CHECK_HAS(text, "\"segments\": []");
    CHECK_INT(report.n_windows, 0);
    wh_model_finish(&m);
    free(text);
    free(pcm);
}

TEST(clips_and_spans_exclude_each_other) {
    struct wh_model m;
    struct wh_longform *lf;
    struct wh_report report;
    struct num_err err = {0};
    struct wh_options o = everything();
    const double clip[] = {0, 1};
    const struct wh_span span = {0, 160}, odd = {1, 160};
    float pcm[320] = {0};
    open_toy(&m, 1, &o);
    CHECK_INT(wh_longform_create(&m, &lf, &err), 0);
    struct wh_input input = {pcm, 320, &odd, 1};
    CHECK_INT(wh_longform_run(lf, &input, &o, &(struct wh_listener){0}, &report, &err),
              SLUICE_INTERNAL);
    input.spans = &span;
    CHECK_INT(wh_longform_run(lf, &input, &o, &(struct wh_listener){0}, &report, &err), SLUICE_OK);
    o.clip_timestamps = clip;
    o.n_clip_timestamps = 2;
    CHECK_INT(wh_longform_run(lf, &input, &o, &(struct wh_listener){0}, &report, &err),
              SLUICE_INPUT);
    CHECK_HAS(err.text, "clip_timestamps");
    wh_longform_destroy(lf);
    wh_model_finish(&m);
}

TEST_MAIN()
