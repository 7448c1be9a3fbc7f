/*
 * What decoding many windows together gains, end to end, on random weights in the shapes of
 * published models:
 *
 *     bench_batched SHAPE COMPUTE N_THREADS BEAMS [ROUNDS]
 *
 *     SHAPE  tiny, base or small   COMPUTE  f32, bf16, int8 or auto   BEAMS  1: greedy
 *
 * 16 windows of 30 s, 60 tokens each: one after the other as sequential mode does, and in batches
 * of 1, 2, 4 and 8. Modes take turns; the best of ROUNDS (3) counts, of the time on the clock and
 * of that of the processor, which does not count what other programs take.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "unit/test.h"
#include "unit/whisper/make_model.h"
#include "whisper/longform.h"

enum { N_WINDOWS = 16, WINDOW = 30 * 16000, N_TOKENS = 60, N_MODES = 5 };

static const uint32_t batches[N_MODES] = {1, 1, 2, 4, 8}; /* the first one is sequential */
static const char *const computes[] = {"f32", "bf16", "int8", "auto"};

static double now_s(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static struct wh_dims dims_of(const char *shape) {
    bool base = strcmp(shape, "base") == 0, small = strcmp(shape, "small") == 0;
    uint32_t D = small ? 768 : base ? 512 : 384, layers = small ? 12 : base ? 6 : 4;
    struct wh_dims d = made_dims(80, D, 51865, layers);
    d.n_audio_ctx = 1500;
    d.n_text_ctx = 448;
    d.n_audio_layers = layers;
    d.n_audio_heads = d.n_text_heads = D / 64;
    d.n_audio_ffn = d.n_text_ffn = 4 * D;
    return d;
}

static void write_model(const char *shape, char folder[TEST_PATH]) {
    struct wh_dims dims = dims_of(shape);
    struct made *made = made_create(&dims, NUM_WEIGHT_F16, 1);
    make_test_folder(folder);
    made_write_folder(made, folder, 0);
    made_free(made);
}

struct mode {
    struct wh_model model;
    struct wh_longform *lf;
    double best_s, best_cpu_s;
    struct wh_report report;
};

static void open_mode(struct mode *m, const char *folder, uint32_t batch, uint32_t n_threads,
                      uint32_t beams, enum wh_compute compute) {
    struct num_err err = {0};
    struct wh_limits limits = {
        .n_threads = n_threads, .n_slots = batch, .n_rows = batch * beams, .compute = compute};
    if (wh_model_load(folder, &wh_backend_cpu, &limits, &m->model, &err) ||
        wh_longform_create(&m->model, &m->lf, &err))
        TEST_FAIL("%s", err.text);
    m->best_s = m->best_cpu_s = INFINITY;
}

static void run_mode(struct mode *m, const struct wh_input *input, uint32_t beams) {
    struct num_err err = {0};
    struct wh_options o;
    struct wh_report report;
    struct wh_listener nobody = {0};
    const int32_t never[] = {m->model.rules.eot};
    wh_options_default(&o);
    o.language = m->model.tokens.n_languages ? m->model.tokens.languages[0].code : NULL;
    o.beam_size = beams;
    o.n_temperatures = 1;
    o.max_new_tokens = N_TOKENS;
    o.suppress_tokens = never;
    o.n_suppress_tokens = 1;
    o.without_timestamps = true;
    o.condition_on_previous_text = false;
    o.no_speech_threshold = 2;
    double start = now_s(CLOCK_MONOTONIC), cpu = now_s(CLOCK_PROCESS_CPUTIME_ID);
    if (wh_longform_run(m->lf, input, &o, &nobody, &report, &err))
        TEST_FAIL("%s", err.text);
    double wall = now_s(CLOCK_MONOTONIC) - start;
    cpu = now_s(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    m->best_cpu_s = cpu < m->best_cpu_s ? cpu : m->best_cpu_s;
    CHECK_INT(report.n_windows, N_WINDOWS);
    if (wall < m->best_s) {
        m->best_s = wall;
        m->report = report;
    }
}

int main(int argc, char **argv) {
    struct mode modes[N_MODES] = {0};
    struct wh_span spans[N_WINDOWS];
    char folder[TEST_PATH];
    int compute = 0;
    if (argc < 5) {
        fprintf(stderr, "usage: bench_batched SHAPE COMPUTE N_THREADS BEAMS [ROUNDS]\n");
        return 1;
    }
    while (compute < 3 && strcmp(computes[compute], argv[2]) != 0)
        compute++;
    uint32_t beams = (uint32_t)atoi(argv[4]);
    int rounds = argc > 5 ? atoi(argv[5]) : 3;
    float *pcm = malloc((size_t)N_WINDOWS * WINDOW * sizeof *pcm);
    uint32_t seed = 1;
    for (size_t i = 0; i < (size_t)N_WINDOWS * WINDOW; i++) {
        seed = seed * 1664525u + 1013904223u;
        pcm[i] = (float)(seed >> 8) / (1 << 24) - 0.5f;
    }
    for (size_t i = 0; i < N_WINDOWS; i++)
        spans[i] = (struct wh_span){i * WINDOW, WINDOW};
    write_model(argv[1], folder);
    for (int i = 0; i < N_MODES; i++)
        open_mode(&modes[i], folder, batches[i], (uint32_t)atoi(argv[3]), beams,
                  (enum wh_compute)compute);
    for (int round = 0; round < rounds; round++)
        for (int i = 0; i < N_MODES; i++)
            run_mode(&modes[i],
                     &(struct wh_input){pcm, (size_t)N_WINDOWS * WINDOW, i ? spans : NULL,
                                        i ? N_WINDOWS : 0},
                     beams);
    for (int i = 0; i < N_MODES; i++) {
        const struct wh_report *r = &modes[i].report;
        printf("%s %u: %.0f ms a window (mel %.1f, encode %.0f, decode %.0f), %.2f times as fast; "
               "processor %.0f ms, %.2f times\n",
               i ? "batch" : "sequential", batches[i], modes[i].best_s * 1e3 / N_WINDOWS,
               r->mel_s * 1e3 / N_WINDOWS, r->encode_s * 1e3 / N_WINDOWS,
               r->decode_s * 1e3 / N_WINDOWS, modes[0].best_s / modes[i].best_s,
               modes[i].best_cpu_s * 1e3 / N_WINDOWS, modes[0].best_cpu_s / modes[i].best_cpu_s);
        wh_longform_destroy(modes[i].lf);
        wh_model_finish(&modes[i].model);
    }
    remove_test_files(folder);
    free(pcm);
    return 0;
}
