/*
 * Fast modes (bfloat16, bytes) beside floats, on every kernel table that this processor can run:
 * how far encoder and logits are off, whether the likeliest tokens stay, and whether texts do.
 *
 * Bounds. bfloat16 keeps 8 bits, so a product is off by up to 2^-8 of its terms; over a network
 * with layer norms errors stay of that order. They are stated as the root mean square of the
 * difference over that of the values; measured are 0.002 to 0.008 (bf16) and 0.012 to 0.025 (int8).
 */
#include "unit/whisper/clips.h"

#include "num/cpu/kernels.h"
#include "num/mel.h"
#include "unit/compare.h"
#include "unit/whisper/make_model.h"

static const char *const names[] = {"f32", "bf16", "int8"};
static const double encoder_bound[] = {0, 0.02, 0.06}, logits_bound[] = {0, 0.02, 0.06};

static void open_as(struct wh_model *m, enum wh_compute compute, uint32_t n_threads,
                    uint32_t n_rows) {
    struct num_err err = {0};
    struct wh_limits limits = {n_threads, 1, n_rows, compute};
    if (wh_model_load(MODEL_DIR, &wh_backend_cpu, &limits, m, &err))
        TEST_FAIL("%s", err.text);
}

static size_t best_of(const float *x, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        best = x[i] > x[best] ? i : best;
    return best;
}

/* The processor's tables, one after another, through the environment. */
#define FOR_EACH_CPU(which)                                                                        \
    const struct num_kernels *tables[NUM_MAX_KERNELS];                                             \
    size_t n_tables = num_kernels_all(tables);                                                     \
    for (size_t table = 0; table < n_tables; table++)                                              \
        for (const char *which = tables[table]->name;                                              \
             which && setenv("SLUICE_CPU", which, 1) == 0; which = NULL)

/* ---- Text ----------------------------------------------------------------------------------- */

static int32_t on_segment(void *ctx, const struct wh_segment *s) {
    char *text = ctx;
    CHECK(strlen(text) + strlen(s->text) < 4000);
    strcat(text, s->text);
    return 0;
}

static void text_of(struct wh_model *m, const float *pcm, size_t n, char *text) {
    struct wh_longform *lf;
    struct wh_report report;
    struct num_err err = {0};
    struct wh_options options = options_greedy();
    struct wh_listener listener = {.ctx = text, .segment = on_segment};
    text[0] = 0;
    CHECK_INT(wh_longform_create(m, &lf, &err), 0);
    CHECK_INT(wh_longform_run(lf, &(struct wh_input){pcm, n, NULL, 0}, &options, &listener, &report,
                              &err),
              0);
    wh_longform_destroy(lf);
}

/* Sanitizers make the scalar paths slow; they look for other things than words. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MAX_CLIPS  3
#define MAX_TOKENS 12
#else
#define MAX_CLIPS  100
#define MAX_TOKENS 40
#endif

#define MAX_TEXT 4096

/* The clips that are there, and what the exact mode writes down for each. */
struct clips {
    size_t n, lengths[MAX_CLIPS];
    float *pcm[MAX_CLIPS];
    char texts[MAX_CLIPS][MAX_TEXT];
};

static struct clips *clips_read(void) {
    struct wh_model exact;
    struct clips *c = calloc(1, sizeof *c);
    json_t *all = clip_expectations(), *want;
    const char *name;
    open_as(&exact, WH_COMPUTE_F32, 2, 1);
    json_object_foreach(all, name, want) {
        if (c->n == MAX_CLIPS)
            break;
        c->pcm[c->n] = clip_read(name, &c->lengths[c->n]);
        if (!c->pcm[c->n])
            continue;
        text_of(&exact, c->pcm[c->n], c->lengths[c->n], c->texts[c->n]);
        c->n++;
    }
    CHECK(c->n >= 3);
    json_decref(all);
    wh_model_finish(&exact);
    return c;
}

static void clips_free(struct clips *c) {
    for (size_t i = 0; i < c->n; i++)
        free(c->pcm[i]);
    free(c);
}

static void check_texts(enum wh_compute compute) {
    struct clips *clips = clips_read();
    FOR_EACH_CPU(cpu) {
        struct wh_model fast;
        char got[MAX_TEXT];
        open_as(&fast, compute, 2, 1);
        for (size_t i = 0; i < clips->n; i++) {
            text_of(&fast, clips->pcm[i], clips->lengths[i], got);
            CHECK_STR(got, clips->texts[i]);
        }
        printf("  %s %s: texts of %zu clips equal\n", cpu, names[compute], clips->n);
        wh_model_finish(&fast);
    }
    clips_free(clips);
}

TEST(texts_of_all_clips_in_bf16) {
    check_texts(WH_COMPUTE_BF16);
}

TEST(texts_of_all_clips_in_int8) {
    check_texts(WH_COMPUTE_INT8);
}

/* ---- Numbers -------------------------------------------------------------------------------- */

struct outputs {
    float *encoded; /* (T, D) */
    float *logits;  /* (n_tokens, V) */
};

/* Encodes mel and passes the tokens, half of them as a prompt and half one by one. */
static struct outputs outputs_of(const struct wh_backend *backend, void *self,
                                 const struct wh_dims *s, const float *mel, const int32_t *tokens,
                                 uint32_t n) {
    struct num_err err = {0};
    size_t V = s->n_vocab, values = (size_t)s->n_audio_ctx * s->n_state;
    struct outputs o = {malloc(values * 4), malloc(n * V * 4)};
    uint32_t slot = 0, half = n / 2;
    CHECK_INT(backend->encode(self, &mel, &slot, 1, NULL, &err), 0);
    memcpy(o.encoded, backend->encoded(self, 0), values * 4);
    struct wh_prompt prompt = {0, 0, tokens, half, 0, o.logits};
    CHECK_INT(backend->prefill(self, &prompt, 1, &err), 0);
    for (uint32_t i = half; i < n; i++) {
        struct wh_step step = {0, tokens[i]};
        CHECK_INT(backend->step(self, &step, 1, o.logits + i * V, &err), 0);
    }
    return o;
}

static void outputs_free(struct outputs *o) {
    free(o->encoded);
    free(o->logits);
}

/* How often the likeliest tokens are the same. */
static double agreement(const struct outputs *a, const struct outputs *b, size_t n, size_t V) {
    size_t same = 0;
    for (size_t i = 0; i < n; i++)
        same += best_of(a->logits + i * V, V) == best_of(b->logits + i * V, V);
    return (double)same / (double)n;
}

static void compare(const char *what, const char *cpu, enum wh_compute compute,
                    const struct wh_dims *s, const struct outputs *fast,
                    const struct outputs *exact, uint32_t n, double least_agreement) {
    double encoder =
        relative_error(fast->encoded, exact->encoded, (size_t)s->n_audio_ctx * s->n_state);
    double logits = relative_error(fast->logits, exact->logits, (size_t)n * s->n_vocab);
    double same = agreement(fast, exact, n, s->n_vocab);
    printf("  %s %s %s: encoder off by %.4f, logits by %.4f, %.0f %% of tokens the same\n", what,
           cpu, names[compute], encoder, logits, 100 * same);
    CHECK(encoder > 0 && encoder < encoder_bound[compute]);
    CHECK(logits > 0 && logits < logits_bound[compute]);
    CHECK(same >= least_agreement);
}

/* The spectrogram of a clip, as much as a window takes, in front of silence. */
static float *mel_of(const struct wh_dims *s, const char *clip) {
    struct num_mel *mel;
    struct num_err err = {0};
    struct num_pool *pool;
    size_t n, n_frames = 2 * (size_t)s->n_audio_ctx, n_values = n_frames * s->n_mels;
    float *pcm = clip_read(clip, &n), *ret = malloc(n_values * sizeof *ret);
    n = n < n_frames * NUM_MEL_HOP ? n : n_frames * NUM_MEL_HOP;
    CHECK_INT(num_pool_create(1, &pool, &err), 0);
    CHECK_INT(num_mel_create(s->n_mels, &mel, &err), 0);
    CHECK_INT(num_mel_log(mel, pool, pcm, n, 0, n_frames, ret, &err), 0);
    num_mel_normalise(ret, n_values, num_mel_max(ret, n_values), ret);
    num_mel_destroy(mel);
    num_pool_destroy(pool);
    free(pcm);
    return ret;
}

/* What the exact model writes down, for all modes to go along with. */
static void greedy_tokens(struct wh_model *m, const float *mel, int32_t *tokens) {
    struct num_err err = {0};
    size_t V = m->dims.n_vocab;
    float *logits = malloc(V * sizeof *logits);
    uint32_t slot = 0;
    tokens[0] = m->tokens.sot;
    tokens[1] = m->tokens.languages[0].token;
    tokens[2] = m->tokens.transcribe;
    struct wh_prompt prompt = {0, 0, tokens, 3, 2, logits};
    CHECK_INT(m->backend->encode(m->self, &mel, &slot, 1, NULL, &err), 0);
    CHECK_INT(m->backend->prefill(m->self, &prompt, 1, &err), 0);
    for (int i = 3; i < MAX_TOKENS; i++) {
        tokens[i] = (int32_t)best_of(logits, V);
        struct wh_step step = {0, tokens[i]};
        CHECK_INT(m->backend->step(m->self, &step, 1, logits, &err), 0);
    }
    free(logits);
}

TEST(errors_on_the_embedded_model) {
    struct wh_model exact;
    int32_t tokens[MAX_TOKENS];
    open_as(&exact, WH_COMPUTE_F32, 2, 1);
    float *mel = mel_of(&exact.dims, "meeting");
    greedy_tokens(&exact, mel, tokens);
    struct outputs right =
        outputs_of(exact.backend, exact.self, &exact.dims, mel, tokens, MAX_TOKENS);
    FOR_EACH_CPU(cpu) {
        for (int compute = WH_COMPUTE_BF16; compute <= WH_COMPUTE_INT8; compute++) {
            struct wh_model m;
            open_as(&m, (enum wh_compute)compute, 2, 1);
            struct outputs o = outputs_of(m.backend, m.self, &m.dims, mel, tokens, MAX_TOKENS);
            compare("embedded", cpu, (enum wh_compute)compute, &m.dims, &o, &right, MAX_TOKENS,
                    0.97);
            outputs_free(&o);
            wh_model_finish(&m);
        }
    }
    outputs_free(&right);
    free(mel);
    wh_model_finish(&exact);
}

/* The weights of a made model, sorted as a backend wants them. */
static int by_name(const void *a, const void *b) {
    return strcmp(((const struct num_weights *)a)->name, ((const struct num_weights *)b)->name);
}

static struct outputs random_outputs(const struct wh_weights *weights, const struct wh_dims *dims,
                                     enum wh_compute compute, const float *mel,
                                     const int32_t *tokens) {
    struct wh_limits limits = {2, 1, 1, compute};
    struct num_err err = {0};
    void *self;
    if (wh_backend_cpu.load(weights, dims, &limits, &self, &err))
        TEST_FAIL("%s", err.text);
    struct outputs o = outputs_of(&wh_backend_cpu, self, dims, mel, tokens, MAX_TOKENS);
    wh_backend_cpu.free(self);
    return o;
}

/* Random weights give logits that lie close together: ties are broken at random. */
TEST(errors_on_a_random_model_of_published_shape) {
    struct wh_dims dims = made_dims(80, 512, 51865, 6);
    dims.n_audio_layers = 6;
    dims.n_audio_ctx = 1500;
    dims.n_text_ctx = 448;
    dims.n_audio_heads = dims.n_text_heads = 8;
    struct made *made = made_create(&dims, NUM_WEIGHT_F16, 5);
    struct num_weights *views = calloc(made->n_tensors, sizeof *views);
    for (size_t i = 0; i < made->n_tensors; i++) {
        views[i] = made->tensors[i].view;
        views[i].name = made->tensors[i].ours;
    }
    qsort(views, made->n_tensors, sizeof *views, by_name);
    struct wh_weights weights = {.tensors = views, .n_tensors = made->n_tensors, .path = "made"};
    int32_t tokens[MAX_TOKENS];
    for (int i = 0; i < MAX_TOKENS; i++)
        tokens[i] = i * 997 % 50000;
    float *mel = mel_of(&dims, "meeting");
    struct outputs right = random_outputs(&weights, &dims, WH_COMPUTE_F32, mel, tokens);
    for (int compute = WH_COMPUTE_BF16; compute <= WH_COMPUTE_INT8; compute++) {
        struct outputs o = random_outputs(&weights, &dims, (enum wh_compute)compute, mel, tokens);
        compare("random", num_kernels()->name, (enum wh_compute)compute, &dims, &o, &right,
                MAX_TOKENS, 0.8);
        outputs_free(&o);
    }
    outputs_free(&right);
    free(mel);
    free(views);
    made_free(made);
}

/* ---- Same bytes ----------------------------------------------------------------------------- */

TEST(threads_change_no_byte) {
    int32_t tokens[MAX_TOKENS];
    FOR_EACH_CPU(cpu) {
        for (int compute = WH_COMPUTE_F32; compute <= WH_COMPUTE_INT8; compute++) {
            struct outputs first = {0};
            for (uint32_t n_threads = 1; n_threads <= 3; n_threads++) {
                struct wh_model m;
                open_as(&m, (enum wh_compute)compute, n_threads, 1);
                float *mel = mel_of(&m.dims, "meeting");
                size_t values = (size_t)m.dims.n_audio_ctx * m.dims.n_state;
                for (int i = 0; i < MAX_TOKENS; i++)
                    tokens[i] = i * 13 % (int32_t)m.dims.n_vocab;
                struct outputs o = outputs_of(m.backend, m.self, &m.dims, mel, tokens, MAX_TOKENS);
                if (n_threads > 1) {
                    CHECK(memcmp(o.encoded, first.encoded, values * 4) == 0);
                    CHECK(memcmp(o.logits, first.logits, MAX_TOKENS * m.dims.n_vocab * 4ul) == 0);
                    outputs_free(&o);
                } else {
                    first = o;
                }
                free(mel);
                wh_model_finish(&m);
            }
            outputs_free(&first);
        }
    }
}

/* Rows that share a window, and what they yield alone. */
TEST(a_batch_equals_its_rows_in_every_mode) {
    enum { ROWS = 5, STEPS = 6 };
    FOR_EACH_CPU(cpu) {
        for (int compute = WH_COMPUTE_F32; compute <= WH_COMPUTE_INT8; compute++) {
            struct wh_model m;
            struct num_err err = {0};
            open_as(&m, (enum wh_compute)compute, 2, ROWS);
            size_t V = m.dims.n_vocab;
            float *mel = mel_of(&m.dims, "meeting"), *batch = malloc(ROWS * V * 4);
            float *alone = malloc(ROWS * V * 4);
            uint32_t slot = 0;
            CHECK_INT(m.backend->encode(m.self, (const float *const *)&mel, &slot, 1, NULL, &err),
                      0);
            for (int together = 0; together < 2; together++) {
                int32_t prompt[] = {m.tokens.sot, m.tokens.languages[0].token};
                for (uint32_t r = 0; r < ROWS; r++) {
                    struct wh_prompt p = {r, 0, prompt, 2, 1, batch};
                    CHECK_INT(m.backend->prefill(m.self, &p, 1, &err), 0);
                }
                for (int i = 0; i < STEPS; i++) {
                    struct wh_step steps[ROWS];
                    for (uint32_t r = 0; r < ROWS; r++) {
                        steps[r] = (struct wh_step){r, (int32_t)(r * 31 + (uint32_t)i * 7)};
                        if (!together)
                            CHECK_INT(m.backend->step(m.self, &steps[r], 1, alone + r * V, &err),
                                      0);
                    }
                    if (together)
                        CHECK_INT(m.backend->step(m.self, steps, ROWS, batch, &err), 0);
                }
            }
            CHECK(memcmp(alone, batch, ROWS * V * 4) == 0);
            free(mel);
            free(batch);
            free(alone);
            wh_model_finish(&m);
        }
    }
}

TEST_MAIN()
