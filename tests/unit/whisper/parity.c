/*
 * The embedded model against stored values of a reference implementation in PyTorch (float32
 * arithmetic on the same float16 weights). Both sum in different orders, so values agree to
 * rounding only:
 *     log-mel          1e-4: a step of the reference's own float32 Fourier transform
 *     encoder, logits  2e-4: sums of up to 768 products through 4 layers, values of the order of 10
 *     probabilities    as many digits as are stored
 */
#include "unit/whisper/clips.h"

#include "num/mel.h"
#include "whisper/search.h"

#define MEL_TOLERANCE     1e-4
#define ENCODER_TOLERANCE 2e-4

static const struct num_tensor *expected(struct num_safetensors *st, const char *name) {
    struct num_err err;
    if (!st->tensors &&
        num_safetensors_open(TESTS_DIR "/data/expected/command.safetensors", st, &err))
        TEST_FAIL("%s", err.text);
    const struct num_tensor *t = num_safetensors_find(st, name);
    CHECK(t && t->dtype == NUM_F32);
    return t;
}

/* The normalised spectrogram of one window, as the reference computes it: of this window alone. */
static float *window_mel(const struct wh_model *m, const float *pcm, size_t n) {
    struct num_mel *mel;
    struct num_pool *pool;
    struct num_err err;
    size_t frames = 2 * (size_t)m->dims.n_audio_ctx, M = m->dims.n_mels;
    float *x = malloc(frames * M * sizeof *x);
    CHECK_INT(num_mel_create(M, &mel, &err), 0);
    CHECK_INT(num_pool_create(1, &pool, &err), 0);
    CHECK_INT(num_mel_log(mel, pool, pcm, n, 0, frames, x, &err), 0);
    num_mel_normalise(x, frames * M, num_mel_max(x, frames * M), x);
    num_pool_destroy(pool);
    num_mel_destroy(mel);
    return x;
}

/* Encodes the clip's first window into slot 0; false where the clip is missing. */
static bool encode_clip(struct wh_model *m, const char *name) {
    struct num_err err;
    size_t n;
    float *pcm = clip_read(name, &n);
    if (!pcm)
        return false;
    float *x = window_mel(m, pcm, n);
    const float *mel = x;
    CHECK_INT(m->backend->encode(m->self, &mel, (uint32_t[]){0}, 1, NULL, &err), 0);
    free(x);
    free(pcm);
    return true;
}

TEST(mel_of_command) {
    struct wh_model m;
    struct num_safetensors st = {0};
    size_t n;
    model_open(&m, 1, 1, 1);
    float *pcm = clip_read("command", &n), *x = window_mel(&m, pcm, n);
    const struct num_tensor *want = expected(&st, "mel");
    CHECK_INT(want->n_elements, 1000 * 80);
    double difference = max_difference(x, want->data, want->n_elements);
    printf("  largest difference %.2g\n", difference);
    CHECK_NEAR(difference, 0, MEL_TOLERANCE);
    free(x);
    free(pcm);
    num_safetensors_close(&st);
    wh_model_finish(&m);
}

TEST(encoder_and_first_logits_of_command) {
    struct wh_model m;
    struct num_safetensors st = {0};
    struct num_err err;
    model_open(&m, 2, 1, 1);
    CHECK(encode_clip(&m, "command"));
    const struct num_tensor *want = expected(&st, "encoder");
    CHECK_INT(want->n_elements, 500 * 192);
    double difference = max_difference(m.backend->encoded(m.self, 0), want->data, want->n_elements);
    printf("  encoder: largest difference %.2g\n", difference);
    CHECK_NEAR(difference, 0, ENCODER_TOLERANCE);

    int32_t tokens[] = {m.tokens.sot, m.tokens.languages[0].token, m.tokens.transcribe,
                        m.rules.no_timestamps};
    float *logits = malloc(m.dims.n_vocab * sizeof *logits);
    struct wh_prompt prompt = {0, 0, tokens, 4, 3, logits};
    CHECK_INT(m.backend->prefill(m.self, &prompt, 1, &err), 0);
    want = expected(&st, "logits");
    CHECK_INT(want->n_elements, m.dims.n_vocab);
    /* The stored values have special tokens suppressed: texts and the end of text are left to
     * compare. */
    float suppressed;
    memcpy(&suppressed, (const float *)want->data + m.rules.eot + 1, sizeof suppressed);
    CHECK(suppressed == -INFINITY);
    difference = max_difference(logits, want->data, (size_t)m.rules.eot + 1);
    printf("  logits: largest difference %.2g\n", difference);
    CHECK_NEAR(difference, 0, ENCODER_TOLERANCE);
    free(logits);
    num_safetensors_close(&st);
    wh_model_finish(&m);
}

static void check_greedy(struct wh_model *m, struct wh_search *search, const char *name,
                         const json_t *want) {
    struct num_err err = {0};
    int32_t room[100];
    int32_t prompt[] = {m->tokens.sot, m->tokens.languages[0].token, m->tokens.transcribe,
                        m->rules.no_timestamps};
    struct wh_request request = {
        .prompt = prompt, .n_prompt = 4, .max_tokens = 100, .rules = m->rules};
    struct wh_result result = {.tokens = room};
    int32_t special[600]; /* the stored values have none */
    request.rules.suppress = special;
    for (int32_t id = m->rules.eot + 1; id < m->rules.n_vocab; id++)
        special[request.rules.n_suppress++] = id;
    request.rules.timestamps = false;
    request.rules.suppress_blank = false;
    CHECK_INT(wh_search_run(search, &request, 1, NULL, &result, &err), 0);
    const json_t *tokens = json_object_get(want, "tokens");
    printf("  %s: %u tokens, sum %.4f\n", name, result.n_tokens, result.sum_logprob);
    CHECK_INT(result.n_tokens, json_array_size(tokens));
    for (uint32_t i = 0; i < result.n_tokens; i++)
        CHECK_INT(room[i], json_integer_value(json_array_get(tokens, i)));
    CHECK_NEAR(result.sum_logprob, json_number_value(json_object_get(want, "sum_logprob")), 5e-4);
    CHECK_NEAR(result.no_speech_prob, json_number_value(json_object_get(want, "no_speech_prob")),
               1e-5);
    char *text;
    CHECK_INT(num_bpe_decode(&m->bpe, room, result.n_tokens, &text, &err), 0);
    CHECK_STR(text, json_string_value(json_object_get(want, "text")));
    free(text);
}

TEST(greedy_tokens_of_all_clips) {
    struct wh_model m;
    struct wh_search *search;
    struct num_err err;
    model_open(&m, 2, 1, 1);
    CHECK_INT(wh_search_create(&m, &search, &err), 0);
    json_t *all = clip_expectations(), *want;
    const char *name;
    int n_checked = 0;
    json_object_foreach(all, name, want) {
        if (!json_object_get(want, "tokens") || !encode_clip(&m, name))
            continue;
        check_greedy(&m, search, name, want);
        n_checked++;
    }
    printf("  %d clips\n", n_checked);
    CHECK(n_checked >= 2); /* those that lie in tests/data */
    json_decref(all);
    wh_search_destroy(search);
    wh_model_finish(&m);
}

TEST_MAIN()
