/*
 * Whisper on a card, with random weights in the shapes of large-v3 and turbo, through the backend's
 * table, as the search calls it:
 *
 *     whisper_cuda [large-v3|turbo]...   both by default
 *
 * One JSON object a line: milliseconds (the best of several groups of calls, by the host's clock,
 * with the copy of the logits to the host), and what that is of the limit that memory sets:
 *
 *     load                    weights to the card
 *     encode 1, encode 16     a pass of so many windows, per window
 *     step 1, 5, 8, ...       one token for so many rows, each with a window of its own; "step 5
 *                             beams": rows of one window; of each way to read windows: stored keys
 *                             and values in bf16, fp8 and int8, and the encoder's output (absorbed)
 *     search 1, 5 beams, ...  a step with rules, choice and log-probabilities on the device, and
 *                             with them on the host, of requests of 77 tokens with their prompts
 *     mix                     windows a second: passes of 16 windows, then 77 tokens for all of
 *                             them by the search on the device (MLPerf's whisper: 77 tokens and
 *                             23.6 s of audio a window), and what multiple of real time that is
 *
 * Without a card it says that nothing was measured, and exits with 77.
 */
#include <cuda_runtime_api.h>

#include "gpu/bench.h"
#include "num/cuda/device.h"
#include "unit/cuda_whisper/made.h"
#include "whisper/search.h"

enum { STEPS = 77, GROUP = 20, GROUPS = 5, MAX_WINDOWS = 256 };
/* Of an H200's memory, measured; 4.8e12 by its data sheet. */
static const double BYTES_PER_S = 4.3e12;
static const double WINDOW_S = 23.6;

/* What a token reads of a window. */
struct mode {
    const char *name;
    enum wh_cross cross;
    enum wh_kept kept;
    double bytes; /* of a value and position, keys and values together, as a share of 2 D values */
};

static const struct mode modes[] = {{"", WH_CROSS_STORED, WH_KEPT_PLAIN, 2},
                                    {" fp8", WH_CROSS_STORED, WH_KEPT_FP8, 1 + 2.0 / 64},
                                    {" int8", WH_CROSS_STORED, WH_KEPT_INT8, 1 + 2.0 / 64},
                                    {" absorbed", WH_CROSS_ABSORBED, WH_KEPT_PLAIN, 1}};
#define N_MODES (sizeof modes / sizeof *modes)

struct bench {
    char name[48];
    const struct mode *mode;
    struct wh_dims dims;
    uint32_t n_windows;
    void *self;
    const float **mels; /* (n_windows), the same twice over */
    float *logits;      /* (n_windows, V) */
};

static double now_ms(void) {
    return 1e3 * bench_now_s();
}

static void check(int32_t status, const struct num_err *err) {
    if (status)
        bench_die("the model", err->text);
}

static void *room(size_t bytes) {
    void *p = malloc(bytes);
    if (!p)
        bench_die("room", "out of memory");
    return p;
}

/* ---- What is measured ----------------------------------------------------------------------- */

/* Encodes n windows, 16 at a time, and waits for the last. */
static void encode(const struct bench *b, uint32_t n) {
    struct num_err err = {0};
    uint32_t slots[MAX_WINDOWS];
    for (uint32_t i = 0; i < n; i++)
        slots[i] = i;
    for (uint32_t at = 0; at < n; at += 16)
        check(wh_backend_cuda.encode(b->self, b->mels + at, slots + at, n - at < 16 ? n - at : 16,
                                     NULL, &err),
              &err);
    cudaDeviceSynchronize();
}

/* n rows with a prompt of four tokens, row i on slot i * spread. */
static void prefill(const struct bench *b, uint32_t n, uint32_t spread) {
    static const int32_t tokens[] = {50258, 50259, 50360, 50364};
    struct num_err err = {0};
    struct wh_prompt prompts[MAX_WINDOWS];
    for (uint32_t i = 0; i < n; i++)
        prompts[i] = (struct wh_prompt){i, i * spread, tokens,
                                        4, 3,          b->logits + (size_t)i * b->dims.n_vocab};
    check(wh_backend_cuda.prefill(b->self, prompts, n, &err), &err);
}

static void step(const struct bench *b, uint32_t n, uint32_t token) {
    struct num_err err = {0};
    struct wh_step steps[MAX_WINDOWS];
    for (uint32_t i = 0; i < n; i++)
        steps[i] = (struct wh_step){i, (int32_t)((token * 131 + i) % 50000)};
    check(wh_backend_cuda.step(b->self, steps, n, b->logits, &err), &err);
}

/* The model as a search knows it. */
static struct wh_search *open_search(const struct bench *b, const struct wh_backend *backend,
                                     struct wh_model *ret_model) {
    struct num_err err = {0};
    struct wh_search *search;
    *ret_model = (struct wh_model){.dims = b->dims,
                                   .tokens = {.sot = 50258, .no_speech = 50363},
                                   .backend = backend,
                                   .self = b->self,
                                   .limits = {.n_rows = MAX_WINDOWS}};
    check(wh_search_create(ret_model, &search, &err), &err);
    return search;
}

/* STEPS tokens for n windows, with timestamps, and lists as long as those of the published
 * models. */
static void decode(const struct bench *b, struct wh_search *search, uint32_t n, uint32_t n_beams) {
    static const int32_t prompt[] = {50258, 50259, 50360};
    static struct wh_request requests[MAX_WINDOWS];
    static struct wh_result results[MAX_WINDOWS];
    /* The end of the text, and. */
    static int32_t tokens[MAX_WINDOWS][STEPS], suppress[90] = {50257};
    struct num_err err = {0};
    for (int32_t i = 1; i < 90; i++)
        suppress[i] = i * 500;
    for (uint32_t i = 0; i < n; i++) {
        results[i] = (struct wh_result){.tokens = tokens[i]};
        requests[i] = (struct wh_request){.slot = i,
                                          .prompt = prompt,
                                          .n_prompt = 3,
                                          .max_tokens = STEPS,
                                          .rules = {.n_vocab = (int32_t)b->dims.n_vocab,
                                                    .eot = 50257,
                                                    .no_timestamps = 50364,
                                                    .timestamp_begin = 50365,
                                                    .max_initial = 50,
                                                    .timestamps = true,
                                                    .suppress = suppress,
                                                    .n_suppress = 90},
                                          .n_candidates = n_beams,
                                          .length_penalty = -1};
    }
    check(wh_search_run(search, requests, n, NULL, results, &err), &err);
}

/* Bytes that a step of n rows on n_slots windows reads at least: weights, keys and values. */
static double step_bytes(const struct bench *b, uint32_t n, uint32_t n_slots) {
    const struct wh_dims *s = &b->dims;
    double D = s->n_state, L = s->n_text_layers, own = L * n * 2.0 * 60 * D;
    double matrices = b->mode->cross == WH_CROSS_ABSORBED ? 16 : 14;
    double weights = L * matrices * D * D + (double)s->n_vocab * D;
    double cross = L * n_slots * 2.0 * s->n_audio_ctx * D;
    return 2 * (weights + own) + cross * b->mode->bytes;
}

static void measure_encode(const struct bench *b, uint32_t n) {
    double best = 1e9;
    encode(b, n);
    encode(b, n);
    for (int g = 0; g < GROUPS; g++) {
        double start = now_ms();
        encode(b, n);
        double ms = (now_ms() - start) / n;
        best = ms < best ? ms : best;
    }
    printf("{\"name\": \"%s encode %u\", \"ms_per_window\": %.3f}\n", b->name, n, best);
    fflush(stdout);
}

static void measure_step(const struct bench *b, uint32_t n, bool beams) {
    double best = 1e9, limit = step_bytes(b, n, beams ? 1 : n) / BYTES_PER_S * 1e3;
    prefill(b, n, beams ? 0 : 1);
    step(b, n, 0);
    for (uint32_t g = 0; g < GROUPS; g++) {
        double start = now_ms();
        for (uint32_t i = 0; i < GROUP; i++)
            step(b, n, g * GROUP + i);
        double ms = (now_ms() - start) / GROUP;
        best = ms < best ? ms : best;
    }
    printf("{\"name\": \"%s step %u%s\", \"ms\": %.4f, \"limit_ms\": %.4f, \"share\": %.3f}\n",
           b->name, n, beams ? " beams" : "", best, limit, limit / best);
    fflush(stdout);
}

static double search_ms(const struct bench *b, const struct wh_backend *backend, uint32_t n,
                        uint32_t n_beams) {
    struct wh_model m;
    struct wh_search *search = open_search(b, backend, &m);
    double best = 1e9;
    decode(b, search, n, n_beams);
    for (int g = 0; g < 3; g++) {
        double start = now_ms();
        decode(b, search, n, n_beams);
        double ms = (now_ms() - start) / STEPS;
        best = ms < best ? ms : best;
    }
    wh_search_destroy(search);
    return best;
}

static void measure_search(const struct bench *b, uint32_t n, uint32_t n_beams) {
    struct wh_backend on_host = wh_backend_cuda;
    on_host.search = NULL;
    double device = search_ms(b, &wh_backend_cuda, n, n_beams);
    double host = search_ms(b, &on_host, n, n_beams);
    printf("{\"name\": \"%s search %u%s\", \"ms\": %.4f, \"on_host_ms\": %.4f}\n", b->name,
           n * n_beams, n_beams > 1 ? " beams" : "", device, host);
    fflush(stdout);
}

static void measure_mix(const struct bench *b) {
    struct wh_model m;
    struct wh_search *search = open_search(b, &wh_backend_cuda, &m);
    double best = 1e9;
    for (int g = 0; g < 3; g++) {
        double start = now_ms();
        encode(b, b->n_windows);
        decode(b, search, b->n_windows, 1);
        double ms = now_ms() - start;
        best = ms < best ? ms : best;
    }
    double windows = b->n_windows / best * 1e3;
    printf("{\"name\": \"%s mix\", \"windows\": %u, \"windows_per_s\": %.1f, \"real_time_factor\": "
           "%.0f}\n",
           b->name, b->n_windows, windows, windows * WINDOW_S);
    fflush(stdout);
    wh_search_destroy(search);
}

/* ---- A model -------------------------------------------------------------------------------- */

static void make_mels(struct bench *b) {
    size_t n = 2 * (size_t)b->dims.n_audio_ctx * b->dims.n_mels;
    float *mel = room(n * sizeof *mel);
    b->mels = room(MAX_WINDOWS * sizeof *b->mels);
    for (size_t i = 0; i < n; i++)
        mel[i] = sinf((float)(i % 99991) * 0.37f);
    for (uint32_t i = 0; i < MAX_WINDOWS; i++)
        b->mels[i] = mel;
}

static void load(struct bench *b, const struct made_weights *made) {
    struct num_err err = {0};
    struct wh_device_info info;
    struct wh_limits limits = {.n_threads = 8,
                               .n_slots = MAX_WINDOWS,
                               .n_rows = MAX_WINDOWS,
                               .compute = WH_COMPUTE_BF16,
                               .least_rows = 1,
                               .cross = b->mode->cross,
                               .kept = b->mode->kept};
    double start = now_ms();
    check(wh_backend_cuda.load(&made->weights, &b->dims, &limits, &b->self, &err), &err);
    double ms = now_ms() - start;
    wh_backend_cuda.info(b->self, &info);
    b->n_windows = info.n_slots;
    printf(
        "{\"name\": \"%s load\", \"ms\": %.0f, \"card\": \"%s\", \"windows\": %u, \"gib\": %.2f}\n",
        b->name, ms, info.name, info.n_slots, (double)info.bytes / (1 << 30));
    fflush(stdout);
}

static void run_mode(struct bench *b, const struct made_weights *made) {
    static const uint32_t sizes[] = {1, 2, 4, 8, 16, 32, 64, 128, 256};
    load(b, made);
    b->logits = room((size_t)MAX_WINDOWS * b->dims.n_vocab * sizeof *b->logits);
    encode(b, b->n_windows);
    measure_encode(b, 1);
    if (b->n_windows >= 16)
        measure_encode(b, 16);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && sizes[i] <= b->n_windows; i++)
        measure_step(b, sizes[i], false);
    if (b->n_windows >= 5)
        measure_step(b, 5, true);
    for (uint32_t n = 1; n <= b->n_windows; n *= 8)
        measure_search(b, n, 1);
    measure_search(b, 1, 5);
    measure_mix(b);
    wh_backend_cuda.free(b->self);
    free(b->logits);
}

static void run(const char *name) {
    struct bench b = {.dims = made_large_v3(strcmp(name, "turbo") ? 32 : 4)};
    struct made_weights made;
    make_mels(&b);
    made_weights_make(&made, &b.dims, true);
    for (size_t i = 0; i < N_MODES; i++) {
        b.mode = &modes[i];
        snprintf(b.name, sizeof b.name, "%.30s%s", name, b.mode->name);
        run_mode(&b, &made);
    }
    made_weights_free(&made);
    free((void *)(uintptr_t)b.mels[0]);
    free(b.mels);
}

int main(int argc, char **argv) {
    struct num_cuda_device device;
    struct num_err err = {0};
    if (num_cuda_device_open(0, &device, &err)) {
        printf("whisper_cuda: not measured: %s\n", err.text);
        return 77;
    }
    for (int i = 1; i < argc; i++)
        run(argv[i]);
    if (argc == 1) {
        run("large-v3");
        run("turbo");
    }
    return 0;
}
