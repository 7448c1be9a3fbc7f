/*
 * The search on the device beside the search on the host: the same tokens, the likeliest, with
 * beams and drawn, under all rules, for requests that come and go. In the exact mode the logits on
 * the device are those of the processor to 1e-5, and what the search makes of them is equal.
 *
 * The made model's vocabulary fills one part and some, and timestamps begin within the second. Its
 * texts and its end of text are weighed so that texts, pairs of timestamps and ends all come up.
 */
#include "unit/cuda_whisper/made.h"
#include "unit/test.h"
#include "whisper/search.h"

enum {
    V = 2348,
    EOT = 2120,
    SOT = 2121,
    NO_SPEECH = 2130,
    NO_TIMESTAMPS = 2147, /* and 200 timestamps */
    SLOTS = 3,
    ROOM = 64,
    LONG_LIST = 600, /* more than the device takes */
    N = 11           /* requests */
};

static const struct wh_dims dims = {.n_mels = 80,
                                    .n_audio_ctx = 24,
                                    .n_text_ctx = 48,
                                    .n_state = 64,
                                    .n_vocab = V,
                                    .n_audio_layers = 1,
                                    .n_audio_heads = 1,
                                    .n_audio_ffn = 64,
                                    .n_text_layers = 1,
                                    .n_text_heads = 1,
                                    .n_text_ffn = 64,
                                    .n_alignment_heads = 1};

static struct made_weights made;
static struct wh_backend host_search; /* the device's logits, and no search of its own */

static void weigh(float *row, float by) {
    for (uint32_t i = 0; i < dims.n_state; i++)
        row[i] *= by;
}

static void make_weights(void) {
    if (made.n)
        return;
    made_weights_make(&made, &dims, false);
    for (uint32_t i = 0; i < made.n; i++) {
        float *rows = (float *)(uintptr_t)made.tensors[i].data;
        bool tokens = strcmp(made.tensors[i].name, "model.decoder.embed_tokens.weight") == 0;
        bool places = strcmp(made.tensors[i].name, "model.decoder.embed_positions.weight") == 0;
        for (uint32_t v = 0; v < EOT && tokens; v++)
            weigh(rows + (size_t)v * dims.n_state, 1.2f);
        for (uint32_t v = 0; v < dims.n_text_ctx && places; v++)
            weigh(rows + (size_t)v * dims.n_state, 3);
        if (tokens) /* where token 1576 would come, the text ends */
            memcpy(rows + (size_t)EOT * dims.n_state, rows + (size_t)1576 * dims.n_state,
                   dims.n_state * sizeof *rows);
        if (tokens)
            weigh(rows + (size_t)EOT * dims.n_state, 1.05f);
    }
    host_search = wh_backend_cuda;
    host_search.search = NULL;
}

/* A model with its windows encoded. */
static void open_model(struct wh_model *m, const struct wh_backend *backend,
                       enum wh_compute compute, uint32_t rows) {
    static float mel[2 * 24 * 80];
    struct num_err err = {0};
    make_weights();
    *m = (struct wh_model){
        .dims = dims,
        .tokens = {.sot = SOT, .no_speech = NO_SPEECH},
        .rules = {.n_vocab = V,
                  .eot = EOT,
                  .no_timestamps = NO_TIMESTAMPS,
                  .timestamp_begin = NO_TIMESTAMPS + 1,
                  .max_initial = 50},
        .backend = backend,
        .limits = {.n_threads = 1, .n_slots = SLOTS, .n_rows = rows, .compute = compute}};
    if (backend->load(&made.weights, &dims, &m->limits, &m->self, &err))
        TEST_FAIL("%s", err.text);
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        const float *mels[] = {mel};
        for (size_t i = 0; i < sizeof mel / sizeof *mel; i++)
            mel[i] = sinf((float)i * (0.37f + 0.1f * (float)slot));
        CHECK_INT(backend->encode(m->self, mels, &slot, 1, NULL, &err), 0);
    }
}

static struct wh_search *open_search(struct wh_model *m) {
    struct num_err err = {0};
    struct wh_search *search;
    CHECK_INT(wh_search_create(m, &search, &err), 0);
    return search;
}

static void close_model(struct wh_model *m, struct wh_search *search) {
    wh_search_destroy(search);
    m->backend->free(m->self);
}

/* Requests that differ in everything. */
static struct wh_request make_request(const struct wh_model *m, uint32_t i) {
    static const int32_t prompt[] = {2125, 90, 91, SOT, 2122, 2124, 300, 17};
    static int32_t suppress[LONG_LIST] = {5, 6, 2140, 5, -1, V, 2048, 2300};
    static const int32_t begin[] = {EOT, 220, 2047, 5};
    struct wh_request q = {.slot = i % SLOTS,
                           .prompt = prompt + (i % 3 == 1 ? 3 : 0),
                           .n_prompt = i % 3 == 1 ? 3 : 6 + i % 2,
                           .sot_index = i % 3 == 1 ? 0 : 3,
                           .max_tokens = 6 + 3 * i % 12,
                           .rules = m->rules,
                           .temperature = i % 4 == 3 ? 0.15f * (float)i : 0,
                           .n_candidates = i % 2 == 0 && i % 4 ? 5 : 1 + i % 3,
                           .patience = i == 6 ? 2.5f : 0,
                           .length_penalty = i % 5 == 2 ? 0.7f : -1,
                           .noise = {i, {i, 2}}};
    q.rules.timestamps = i % 5 != 1;
    q.rules.suppress_blank = i % 2;
    q.rules.begin_suppress = begin;
    q.rules.n_begin_suppress = 4;
    q.rules.suppress = suppress;
    q.rules.n_suppress = i == 8 ? LONG_LIST : 8;
    q.rules.no_repeat_ngram = i == 4 ? 1 : i == 10 ? 2 : 0;
    q.rules.repetition_penalty = i == 4 || i == 9 ? 1.4f : 1;
    return q;
}

/* All of them, one after the other. */
static void run_requests(struct wh_model *m, struct wh_result *ret) {
    struct num_err err = {0};
    struct wh_search *search = open_search(m);
    for (uint32_t i = 0; i < N; i++) {
        struct wh_request request = make_request(m, i);
        ret[i] = (struct wh_result){.tokens = calloc(ROOM, sizeof(int32_t))};
        if (wh_search_run(search, &request, 1, NULL, &ret[i], &err))
            TEST_FAIL("%s", err.text);
    }
    wh_search_destroy(search);
}

static void free_results(struct wh_result *results) {
    for (uint32_t i = 0; i < N; i++)
        free(results[i].tokens);
}

static void check_same(const struct wh_result *got, const struct wh_result *want, double bound) {
    CHECK_INT(got->n_tokens, want->n_tokens);
    CHECK(memcmp(got->tokens, want->tokens, want->n_tokens * sizeof *want->tokens) == 0);
    CHECK(fabs(got->sum_logprob - want->sum_logprob) <= bound);
    CHECK(fabs(got->avg_logprob - want->avg_logprob) <= bound);
    CHECK(fabs(got->no_speech_prob - want->no_speech_prob) <= bound * want->no_speech_prob);
}

/* What comes up in the results: ends before the limit, texts, and timestamps behind the first. */
static void check_variety(const struct wh_model *m, const struct wh_result *results) {
    uint32_t n_ended = 0, n_texts = 0, n_times = 0;
    for (uint32_t i = 0; i < N; i++) {
        n_ended += results[i].n_tokens < make_request(m, i).max_tokens;
        for (uint32_t k = 1; k < results[i].n_tokens; k++) {
            n_texts += results[i].tokens[k] < EOT;
            n_times += results[i].tokens[k] > NO_TIMESTAMPS;
        }
    }
    printf("  %u of %d ended, %u texts, %u timestamps\n", n_ended, N, n_texts, n_times);
    CHECK(n_ended >= 3 && n_ended < N && n_texts > 20 && n_times > 10);
}

/* A few tokens of beams under penalties, of beams, of samples and of the likeliest: all that the
 * kernels do, as short as can be, for what looks at every access. */
TEST(a_few_tokens_of_each_kind) {
    enum { KINDS = 4 };
    static const uint32_t which[KINDS] = {4, 6, 7, 9};
    struct wh_model models[2];
    struct wh_request requests[KINDS];
    struct wh_result results[2][KINDS];
    struct num_err err = {0};
    for (int k = 0; k < 2; k++) {
        open_model(&models[k], k ? &wh_backend_cuda : &wh_backend_cpu, WH_COMPUTE_F32, 10);
        struct wh_search *search = open_search(&models[k]);
        for (uint32_t i = 0; i < KINDS; i++) {
            requests[i] = make_request(&models[k], which[i]);
            requests[i].max_tokens = 4;
            results[k][i] = (struct wh_result){.tokens = calloc(ROOM, sizeof(int32_t))};
        }
        if (wh_search_run(search, requests, KINDS, NULL, results[k], &err))
            TEST_FAIL("%s", err.text);
        close_model(&models[k], search);
    }
    for (uint32_t i = 0; i < KINDS; i++) {
        check_same(&results[1][i], &results[0][i], 2e-3);
        free(results[0][i].tokens);
        free(results[1][i].tokens);
    }
}

/* From the same logits, each request alone. */
TEST(both_searches_choose_the_same_from_half_types) {
    struct wh_model m;
    struct wh_result want[N], got[N];
    open_model(&m, &wh_backend_cuda, WH_COMPUTE_F16, 6);
    run_requests(&m, got);
    m.backend = &host_search;
    run_requests(&m, want);
    for (uint32_t i = 0; i < N; i++)
        check_same(&got[i], &want[i], 1e-4);
    free_results(want);
    free_results(got);
    m.backend->free(m.self);
}

static struct wh_result run_widest(const struct wh_backend *backend, float temperature) {
    struct wh_model m;
    struct num_err err = {0};
    struct wh_result result = {.tokens = calloc(ROOM, sizeof(int32_t))};
    open_model(&m, backend, WH_COMPUTE_F32, WH_MAX_CANDIDATES);
    struct wh_search *search = open_search(&m);
    struct wh_request q = make_request(&m, 0);
    q.n_candidates = WH_MAX_CANDIDATES;
    q.temperature = temperature;
    q.max_tokens = 3;
    if (wh_search_run(search, &q, 1, NULL, &result, &err))
        TEST_FAIL("%s", err.text);
    close_model(&m, search);
    return result;
}

/* As many beams as there may be, and as many samples. */
TEST(widest_requests) {
    for (int drawn = 0; drawn < 2; drawn++) {
        struct wh_result want = run_widest(&wh_backend_cpu, 0.8f * (float)drawn);
        struct wh_result got = run_widest(&wh_backend_cuda, 0.8f * (float)drawn);
        check_same(&got, &want, 2e-3);
        free(want.tokens);
        free(got.tokens);
    }
}

/* What else a stage does between steps: a language is looked for, words are aligned. */
static void interrupt(struct wh_model *m, struct wh_search *search) {
    static float weights[5 * 24];
    static const int32_t tokens[] = {SOT, 1, 2, 3, 4};
    struct num_err err = {0};
    const float *logits;
    struct wh_alignment a = {.row = wh_search_spare_row(search),
                             .slot = 1,
                             .tokens = tokens,
                             .n_tokens = 5,
                             .ret_weights = weights};
    CHECK_INT(wh_search_start_logits(search, 2, &logits, &err), 0);
    CHECK_INT(m->backend->attention(m->self, &a, 1, &err), 0);
}

/* What happens at one step of requests that come and go. */
struct traffic {
    struct wh_model m;
    struct wh_search *search;
    struct wh_request requests[N];
    struct wh_result results[N];
    bool going[N], over[N];
    uint32_t n_going, n_over, n_dropped, n_interrupts;
};

/* One request joins, or leaves before it is finished to come again, or something else is done. */
static void disturb(struct traffic *t, const uint32_t *random) {
    struct num_err err = {0};
    const uint32_t i = random[0] % N;
    if (t->going[i] && random[1] % 4 == 0 && t->n_dropped < 5) {
        wh_search_drop(t->search, &t->results[i]);
        t->going[i] = false;
        t->n_going--;
        t->n_dropped++;
    } else if (!t->going[i] && !t->over[i] &&
               wh_search_has_room(t->search, wh_request_rows(&t->requests[i]))) {
        CHECK_INT(wh_search_add(t->search, &t->requests[i], &t->results[i], &err), 0);
        t->going[i] = true;
        t->n_going++;
    } else if (wh_search_has_room(t->search, 1) && random[2] % 8 == 0) {
        interrupt(&t->m, t->search);
        t->n_interrupts++;
    }
}

static void take_finished(struct traffic *t, const struct wh_result *want) {
    for (uint32_t i = 0; i < N; i++) {
        if (!t->going[i] || !t->results[i].finished)
            continue;
        check_same(&t->results[i], &want[i], 2e-3);
        t->going[i] = false;
        t->n_going--;
        t->over[i] = true;
        t->n_over++;
    }
}

/* In fewer rows than all would take, beside one that the host searches for; what the processor
 * finds for each alone. */
TEST(requests_join_and_leave_at_any_step) {
    enum { ROWS = 16 };
    static struct traffic t;
    struct wh_model cpu;
    struct wh_result want[N];
    struct num_err err = {0};
    uint32_t n_together = 0;
    open_model(&cpu, &wh_backend_cpu, WH_COMPUTE_F32, 5);
    run_requests(&cpu, want);
    check_variety(&cpu, want);
    open_model(&t.m, &wh_backend_cuda, WH_COMPUTE_F32, ROWS);
    t.search = open_search(&t.m);
    for (uint32_t i = 0; i < N; i++) {
        t.requests[i] = make_request(&t.m, i);
        t.results[i] = (struct wh_result){.tokens = calloc(ROOM, sizeof(int32_t))};
    }
    for (uint32_t step = 0; t.n_over < N; step++) {
        for (uint32_t k = 0; k < 3; k++)
            disturb(&t, num_philox((struct num_philox){{step, k}}, 11).v);
        if (wh_search_step(t.search, &err))
            TEST_FAIL("%s", err.text);
        n_together = t.n_going > n_together ? t.n_going : n_together;
        take_finished(&t, want);
    }
    CHECK(wh_search_has_room(t.search, ROWS));
    printf("  at most %u together; %u dropped, %u interruptions\n", n_together, t.n_dropped,
           t.n_interrupts);
    CHECK(n_together >= 4 && t.n_dropped > 2 && t.n_interrupts > 2);
    free_results(want);
    free_results(t.results);
    cpu.backend->free(cpu.self);
    close_model(&t.m, t.search);
}

/* A logit that is no number: the text ends there, with beams, drawn or the likeliest. */
TEST(what_is_no_number_ends_a_text) {
    enum { KINDS = 3, TOKEN = 7 };
    static const uint32_t which[KINDS] = {6, 11, 21}; /* without timestamps */
    struct wh_model m;
    struct wh_request requests[KINDS];
    struct wh_result results[KINDS];
    struct num_err err = {0};
    float *number = NULL;
    make_weights();
    for (uint32_t i = 0; i < made.n; i++)
        if (strcmp(made.tensors[i].name, "model.decoder.embed_tokens.weight") == 0)
            number = (float *)(uintptr_t)made.tensors[i].data + (size_t)TOKEN * dims.n_state;
    const float before = *number;
    *number = NAN;
    open_model(&m, &wh_backend_cuda, WH_COMPUTE_F32, 10);
    *number = before;
    struct wh_search *search = open_search(&m);
    for (uint32_t i = 0; i < KINDS; i++) {
        requests[i] = make_request(&m, which[i]);
        results[i] = (struct wh_result){.tokens = calloc(ROOM, sizeof(int32_t))};
    }
    if (wh_search_run(search, requests, KINDS, NULL, results, &err))
        TEST_FAIL("%s", err.text);
    for (uint32_t i = 0; i < KINDS; i++) {
        CHECK_INT(results[i].n_tokens, 0);
        CHECK(results[i].sum_logprob == 0);
        free(results[i].tokens);
    }
    close_model(&m, search);
}

TEST_MAIN()
