/*
 * What holds for every decoding: a batch gives each window what it gets alone, threads change
 * nothing, time does not go back, silence has no words, and a stop is heard before the next token.
 */
#include "unit/whisper/toy.h"

#include "whisper/search.h"
#include "whisper/transcript.h"

#define PROMPT_TOKENS 3

static void open_toy(struct wh_model *m, uint32_t n_threads, uint32_t n_slots, uint32_t n_rows) {
    char folder[TEST_PATH];
    struct num_err err = {0};
    struct wh_limits limits = {.n_threads = n_threads, .n_slots = n_slots, .n_rows = n_rows};
    toy_write(folder, true);
    if (wh_model_load(folder, &wh_backend_cpu, &limits, m, &err))
        TEST_FAIL("%s", err.text);
    toy_remove(folder);
}

/* ---- The search -------------------------------------------------------------------------------
 */

static void encode_noise(struct wh_model *m, uint32_t slot) {
    struct num_err err;
    size_t n = 2 * (size_t)m->dims.n_audio_ctx * m->dims.n_mels;
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(2 * toy_uniform(i, slot, 0, 0, 5) - 1);
    const float *mel = x;
    CHECK_INT(m->backend->encode(m->self, &mel, &slot, 1, NULL, &err), 0);
    free(x);
}

/* Requests that differ in everything: candidates, temperature, rules, prompts, lengths. */
static struct wh_request make_request(const struct wh_model *m, uint32_t i, const int32_t *prompt) {
    struct wh_request q = {.slot = i % 3,
                           .prompt = prompt,
                           .n_prompt = i % 2 ? PROMPT_TOKENS : PROMPT_TOKENS + 2,
                           .max_tokens = 20 + 7 * i,
                           .rules = m->rules,
                           .temperature = i % 3 == 2 ? 0.3f * (float)i : 0,
                           .n_candidates = 1 + i % 5,
                           .patience = i == 4 ? 2 : 0,
                           .length_penalty = i == 3 ? 0.7f : -1,
                           .noise = {i, {i, 2}}};
    q.rules.timestamps = i % 4 != 1;
    q.rules.no_repeat_ngram = i == 5 ? 3 : 0;
    q.rules.repetition_penalty = i == 4 ? 1.3f : 1;
    return q;
}

/* Whether two results are the same to the bit. */
static bool same_result(const struct wh_result *a, const struct wh_result *b) {
    return a->n_tokens == b->n_tokens &&
           memcmp(a->tokens, b->tokens, a->n_tokens * sizeof *a->tokens) == 0 &&
           a->sum_logprob == b->sum_logprob && a->avg_logprob == b->avg_logprob &&
           a->no_speech_prob == b->no_speech_prob;
}

TEST(a_batch_of_beams_and_samples_equals_singles) {
    enum { N = 7, ROOM = 80 };
    static int32_t alone_tokens[N][ROOM], batch_tokens[N][ROOM];
    struct wh_model m;
    struct wh_search *search;
    struct num_err err = {0};
    struct wh_request requests[N];
    struct wh_result alone[N], batch[N];
    open_toy(&m, 2, 3, 25);
    int32_t prompt[PROMPT_TOKENS + 2] = {m.tokens.sot, m.tokens.languages[1].token,
                                         m.tokens.transcribe, 300, 17};
    CHECK_INT(wh_search_create(&m, &search, &err), 0);
    for (uint32_t slot = 0; slot < 3; slot++)
        encode_noise(&m, slot);
    size_t n_tokens = 0;
    for (uint32_t i = 0; i < N; i++) {
        requests[i] = make_request(&m, i, prompt);
        alone[i].tokens = alone_tokens[i];
        batch[i].tokens = batch_tokens[i];
        CHECK_INT(wh_search_run(search, &requests[i], 1, NULL, &alone[i], &err), 0);
        n_tokens += alone[i].n_tokens;
    }
    CHECK_INT(wh_search_run(search, requests, N, NULL, batch, &err), 0);
    for (uint32_t i = 0; i < N; i++)
        CHECK(same_result(&batch[i], &alone[i]));
    printf("  %zu tokens\n", n_tokens);
    CHECK(n_tokens > 50);
    requests[0].n_candidates = 26;
    CHECK_INT(wh_search_run(search, requests, 1, NULL, batch, &err), SLUICE_INTERNAL);
    wh_search_destroy(search);
    wh_model_finish(&m);
}

/* Requests come when there is room, in an order of their own, and some are dropped on their way. */
TEST(requests_join_and_leave_at_any_step) {
    enum { N = 7, ROOM = 80, ROWS = 11 };
    static int32_t alone_tokens[N][ROOM], tokens[N][ROOM];
    struct wh_model m;
    struct wh_search *search;
    struct num_err err = {0};
    struct wh_request requests[N];
    struct wh_result alone[N], results[N];
    open_toy(&m, 2, 3, ROWS);
    int32_t prompt[PROMPT_TOKENS + 2] = {m.tokens.sot, m.tokens.languages[1].token,
                                         m.tokens.transcribe, 300, 17};
    CHECK_INT(wh_search_create(&m, &search, &err), 0);
    for (uint32_t slot = 0; slot < 3; slot++)
        encode_noise(&m, slot);
    for (uint32_t i = 0; i < N; i++) {
        requests[i] = make_request(&m, i, prompt);
        alone[i].tokens = alone_tokens[i];
        CHECK_INT(wh_search_run(search, &requests[i], 1, NULL, &alone[i], &err), 0);
    }
    uint32_t n_dropped = 0, n_together = 0, n_done = 0;
    for (uint32_t round = 0; round < 20; round++) {
        bool going[N] = {false}, over[N] = {false};
        for (uint32_t step = 0, n_over = 0; n_over < N; step++) {
            uint32_t draw = (uint32_t)(toy_uniform(step, round, 1, 0, 7) * 1000), i = draw % N;
            bool room = wh_search_has_room(search, wh_request_rows(&requests[i]));
            if (!going[i] && !over[i] && room && draw % 4 != 3) {
                results[i].tokens = tokens[i];
                CHECK_INT(wh_search_add(search, &requests[i], &results[i], &err), 0);
                going[i] = true;
            } else if (going[i] && draw >= 985) {
                wh_search_drop(search, &results[i]); /* it comes again */
                going[i] = false;
                n_dropped++;
            }
            CHECK_INT(wh_search_step(search, &err), 0);
            uint32_t n_going = 0;
            for (uint32_t k = 0; k < N; k++) {
                n_going += going[k];
                if (!going[k] || !results[k].finished)
                    continue;
                CHECK(same_result(&results[k], &alone[k]));
                going[k] = false;
                over[k] = true;
                n_over++;
                n_done++;
            }
            n_together = n_going > n_together ? n_going : n_together;
        }
        CHECK(wh_search_has_room(search, ROWS) && !wh_search_has_room(search, ROWS + 1));
    }
    printf("  %u requests, at most %u together; %u dropped\n", n_done, n_together, n_dropped);
    CHECK(n_together >= 4 && n_dropped > 0);
    wh_search_destroy(search);
    wh_model_finish(&m);
}

TEST(more_beams_find_likelier_texts) {
    struct wh_model m;
    struct wh_search *search;
    struct num_err err = {0};
    int32_t room[60];
    double sums[2] = {0, 0};
    open_toy(&m, 2, 3, 8);
    int32_t prompt[PROMPT_TOKENS] = {m.tokens.sot, m.tokens.languages[0].token,
                                     m.tokens.transcribe};
    CHECK_INT(wh_search_create(&m, &search, &err), 0);
    for (uint32_t slot = 0; slot < 3; slot++) {
        encode_noise(&m, slot);
        for (int wide = 0; wide < 2; wide++) {
            struct wh_request q = {.slot = slot,
                                   .prompt = prompt,
                                   .n_prompt = PROMPT_TOKENS,
                                   .max_tokens = 60,
                                   .rules = m.rules,
                                   .n_candidates = wide ? 8 : 1,
                                   .length_penalty = -1};
            struct wh_result result = {.tokens = room};
            CHECK_INT(wh_search_run(search, &q, 1, NULL, &result, &err), 0);
            sums[wide] += result.avg_logprob;
        }
    }
    printf("  mean log-probability %.3f, with beams %.3f\n", sums[0] / 3, sums[1] / 3);
    CHECK(sums[1] > sums[0]);
    wh_search_destroy(search);
    wh_model_finish(&m);
}

/* ---- Whole transcriptions ---------------------------------------------------------------------
 */

struct record {
    struct wh_transcript *transcript;
    uint64_t last_seek;
    double last_done;
    uint32_t n_asked, cancel_at;
    int max_repeats; /* of a pair of texts in one window */
};

static int32_t on_segment(void *ctx, const struct wh_segment *s) {
    struct record *r = ctx;
    CHECK(s->seek >= r->last_seek && s->end > s->start);
    r->last_seek = s->seek;
    for (uint32_t i = 0; i < s->n_words; i++)
        CHECK(s->words[i].end >= s->words[i].start && s->words[i].text[0]);
    return wh_transcript_add(r->transcript, s, NULL);
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

/* The transcript as text, malloc'ed; NULL where it was cancelled. */
static char *transcribe(struct wh_model *m, const float *pcm, size_t n, const struct wh_options *o,
                        struct record *r, struct wh_report *report) {
    struct wh_longform *lf;
    struct num_err err = {0};
    struct wh_listener listener = {r, on_segment, on_progress, on_cancelled};
    char *json = NULL;
    CHECK_INT(wh_longform_create(m, &lf, &err), 0);
    CHECK_INT(wh_transcript_create(&r->transcript, &err), 0);
    int32_t status =
        wh_longform_run(lf, &(struct wh_input){pcm, n, NULL, 0}, o, &listener, report, &err);
    if (status == SLUICE_OK)
        CHECK_INT(
            wh_transcript_text(r->transcript, report->language, (double)n / 16000, &json, &err), 0);
    else
        CHECK_INT(status, SLUICE_CANCELLED);
    wh_transcript_destroy(r->transcript);
    wh_longform_destroy(lf);
    return json;
}

static float *long_sound(size_t *ret_n) {
    *ret_n = 16000 * 65;
    float *pcm = malloc(*ret_n * sizeof *pcm);
    toy_sound(11, *ret_n, pcm);
    return pcm;
}

static struct wh_options everything(void) {
    struct wh_options o;
    wh_options_default(&o);
    o.max_new_tokens = 40;
    o.word_timestamps = true;
    o.multilingual = true;
    o.hotwords = "Kevin";
    o.best_of = 2;
    o.beam_size = 3;
    return o;
}

TEST(threads_change_no_byte) {
    char *first = NULL;
    size_t n;
    float *pcm = long_sound(&n);
    for (uint32_t n_threads = 1; n_threads <= 3; n_threads++) {
        struct wh_model m;
        struct wh_report report;
        struct record r = {0};
        struct wh_options o = everything();
        open_toy(&m, n_threads, 1, wh_options_rows(&o));
        char *json = transcribe(&m, pcm, n, &o, &r, &report);
        if (first)
            CHECK_STR(json, first);
        else
            printf("  %u windows, %u fallbacks, %zu bytes\n", report.n_windows, report.n_fallbacks,
                   strlen(json));
        CHECK(report.n_windows >= 3 && report.n_fallbacks > 0);
        if (!first)
            first = json;
        else
            free(json);
        wh_model_finish(&m);
    }
    free(first);
    free(pcm);
}

TEST(a_stop_is_heard_before_the_next_token) {
    struct wh_model m;
    struct wh_report report;
    struct wh_options o = everything();
    struct record whole = {0};
    size_t n;
    float *pcm = long_sound(&n);
    open_toy(&m, 2, 1, wh_options_rows(&o));
    free(transcribe(&m, pcm, n, &o, &whole, &report));
    CHECK(whole.n_asked > report.n_tokens); /* once a step and more */
    for (uint32_t at = 1; at < whole.n_asked; at += whole.n_asked / 7) {
        struct record r = {.cancel_at = at};
        CHECK(transcribe(&m, pcm, n, &o, &r, &report) == NULL);
        CHECK_INT(r.n_asked, at);
    }
    wh_model_finish(&m);
    free(pcm);
}

TEST(seeds_decide_samples) {
    struct wh_model m;
    struct wh_report report;
    struct wh_options o;
    char *json[3];
    size_t n;
    float *pcm = long_sound(&n);
    wh_options_default(&o);
    o.temperatures[0] = 1;
    o.n_temperatures = 1;
    o.max_new_tokens = 30;
    open_toy(&m, 2, 1, wh_options_rows(&o));
    for (int i = 0; i < 3; i++) {
        struct record r = {0};
        o.seed = i == 2 ? 1 : 0;
        json[i] = transcribe(&m, pcm, n, &o, &r, &report);
    }
    CHECK_STR(json[0], json[1]);
    CHECK(strcmp(json[0], json[2]) != 0);
    for (int i = 0; i < 3; i++)
        free(json[i]);
    wh_model_finish(&m);
    free(pcm);
}

/* Hotwords are a prompt that every window gets. */
TEST(hotwords_are_a_carried_prompt) {
    struct wh_model m;
    struct wh_report report;
    struct wh_options o;
    struct record r = {0}, r2 = {0}, r3 = {0};
    size_t n;
    float *pcm = long_sound(&n);
    wh_options_default(&o);
    o.n_temperatures = o.beam_size = 1;
    o.max_new_tokens = 30;
    o.no_speech_threshold = 2;
    open_toy(&m, 2, 1, 1);
    char *plain = transcribe(&m, pcm, n, &o, &r, &report);
    o.hotwords = " Nina Kevin";
    char *hot = transcribe(&m, pcm, n, &o, &r2, &report);
    o.hotwords = NULL;
    o.initial_prompt = "Nina Kevin ";
    o.carry_initial_prompt = true;
    char *carried = transcribe(&m, pcm, n, &o, &r3, &report);
    CHECK_STR(hot, carried);
    CHECK(strcmp(hot, plain) != 0);
    free(plain);
    free(hot);
    free(carried);
    wh_model_finish(&m);
    free(pcm);
}

static void language_of(struct wh_model *m, const float *pcm, size_t n, uint32_t n_windows,
                        char ret[8]) {
    struct wh_options o;
    struct wh_report report;
    struct record r = {0};
    const double clip[] = {0, 0.01};
    wh_options_default(&o);
    o.n_temperatures = o.beam_size = 1;
    o.max_new_tokens = 1;
    o.language_detection_segments = n_windows;
    o.language_detection_threshold = 1.1; /* never enough */
    o.clip_timestamps = clip;
    o.n_clip_timestamps = 2;
    free(transcribe(m, pcm, n, &o, &r, &report));
    memcpy(ret, report.language, 8);
}

/* One window of a sound, then two of another: the first decides alone, the others together. */
TEST(the_language_of_most_windows_wins) {
    enum { WINDOW = 30 * 16000 };
    struct wh_model m;
    char one[8], three[8], same[8];
    bool found = false;
    float *pcm = malloc(3 * WINDOW * sizeof *pcm);
    open_toy(&m, 2, 1, 1);
    for (uint32_t seed = 0; seed < 12 && !found; seed++) {
        toy_sound(seed, WINDOW, pcm);
        toy_sound(seed + 1, WINDOW, pcm + WINDOW);
        memcpy(pcm + 2 * WINDOW, pcm + WINDOW, WINDOW * sizeof *pcm);
        language_of(&m, pcm, 3 * WINDOW, 1, one);
        language_of(&m, pcm, 3 * WINDOW, 3, three);
        found = strcmp(one, three) != 0;
        language_of(&m, pcm, 3 * WINDOW, 100, same); /* no more windows than there are */
        CHECK_STR(same, three);
    }
    CHECK(found);
    printf("  %s, then %s\n", one, three);
    free(pcm);
    wh_model_finish(&m);
}

TEST(no_n_gram_comes_twice) {
    enum { ROOM = 200 };
    struct wh_model m;
    struct wh_search *search;
    struct num_err err = {0};
    int32_t room[ROOM];
    open_toy(&m, 2, 1, 4);
    int32_t prompt[PROMPT_TOKENS] = {m.tokens.sot, m.tokens.languages[0].token,
                                     m.tokens.transcribe};
    CHECK_INT(wh_search_create(&m, &search, &err), 0);
    encode_noise(&m, 0);
    for (int32_t size = 1; size <= 3; size++) {
        const int32_t never[] = {m.rules.eot};
        struct wh_request q = {.prompt = prompt,
                               .n_prompt = PROMPT_TOKENS,
                               .max_tokens = 100,
                               .rules = m.rules,
                               .n_candidates = 4,
                               .length_penalty = -1};
        struct wh_result result = {.tokens = room};
        q.rules.no_repeat_ngram = size;
        q.rules.suppress = never;
        q.rules.n_suppress = 1;
        CHECK_INT(wh_search_run(search, &q, 1, NULL, &result, &err), 0);
        CHECK_INT(result.n_tokens, 100);
        for (uint32_t i = 0; i + (uint32_t)size <= result.n_tokens; i++)
            for (uint32_t k = i + 1; k + (uint32_t)size <= result.n_tokens; k++)
                CHECK(room[i + (uint32_t)size - 1] >= m.rules.eot ||
                      memcmp(room + i, room + k, (size_t)size * sizeof *room) != 0);
    }
    wh_search_destroy(search);
    wh_model_finish(&m);
}

TEST(silence_and_noise_have_no_words) {
    struct wh_model m;
    struct wh_report report;
    struct wh_options o;
    wh_options_default(&o);
    o.condition_on_previous_text = false;
    model_open(&m, 2, 1, wh_options_rows(&o));
    for (int loud = 0; loud < 4; loud++) {
        size_t n = 16000 * 13;
        float *pcm = calloc(n, sizeof *pcm);
        struct record r = {0};
        for (size_t i = 0; i < n; i++)
            pcm[i] = (float)(0.01 * loud * (2 * toy_uniform(i, 3, 0, 0, 9) - 1));
        char *json = transcribe(&m, pcm, n, &o, &r, &report);
        CHECK_HAS(json, "\"text\": \"\"");
        free(json);
        free(pcm);
    }
    wh_model_finish(&m);
}

TEST_MAIN()
