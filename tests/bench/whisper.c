/*
 * Real-time factor of a model on the CPU:
 *
 *     bench_whisper MODEL_FOLDER FILE.wav N_THREADS [ROUNDS]
 *
 * FILE is 16-bit mono 16 kHz. Prints the best and the median round, and where the time of the best
 * went.
 */

#include "unit/whisper/clips.h"

#include <time.h>

#include "whisper/longform.h"

#define MAX_ROUNDS 100

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static int fail(const char *why) {
    fprintf(stderr, "%s\n", why);
    return 1;
}

static void print(const char *n_threads, double audio_s, const double *wall, int rounds,
                  double load_s, const struct wh_report *best) {
    printf("%s threads: best %.1f ms, median %.1f ms, real-time factor %.0fx; load %.1f ms\n",
           n_threads, wall[0] * 1e3, wall[rounds / 2] * 1e3, audio_s / wall[rounds / 2],
           load_s * 1e3);
    printf(
        "  mel %.1f ms, encode %.1f ms (%u windows), decode %.1f ms (%llu tokens, %.3f ms each)\n",
        best->mel_s * 1e3, best->encode_s * 1e3, best->n_windows, best->decode_s * 1e3,
        (unsigned long long)best->n_tokens, best->decode_s * 1e3 / (double)best->n_tokens);
}

int main(int argc, char **argv) {
    struct wh_model m;
    struct wh_longform *lf;
    struct wh_report report = {0}, best = {0};
    struct num_err err = {0};
    double wall[MAX_ROUNDS], load_s = now_s(), best_s = INFINITY;
    size_t n;
    if (argc < 4)
        return fail("usage: bench_whisper MODEL_FOLDER FILE.wav N_THREADS [ROUNDS]");
    float *pcm = wav_read(argv[2], &n);
    struct wh_limits limits = {(uint32_t)atoi(argv[3]), 1, 1};
    struct wh_options options;
    struct wh_listener listener = {0};
    wh_options_default(&options);
    options.n_temperatures = options.beam_size = 1;
    options.condition_on_previous_text = false;
    int rounds = argc > 4 ? atoi(argv[4]) : 10;
    rounds = rounds < 1 ? 1 : rounds > MAX_ROUNDS ? MAX_ROUNDS : rounds;
    if (!pcm)
        return fail("cannot read the audio");
    if (wh_model_load(argv[1], &wh_backend_cpu, &limits, &m, &err) ||
        wh_longform_create(&m, &lf, &err))
        return fail(err.text);
    load_s = now_s() - load_s;
    for (int i = 0; i < rounds; i++) {
        double start = now_s();
        if (wh_longform_run(lf, &(struct wh_input){pcm, n, NULL, 0}, &options, &listener, &report,
                            &err))
            return fail(err.text);
        wall[i] = now_s() - start;
        best = wall[i] < best_s ? report : best;
        best_s = wall[i] < best_s ? wall[i] : best_s;
    }
    qsort(wall, (size_t)rounds, sizeof *wall, by_value);
    print(argv[3], (double)n / 16000, wall, rounds, load_s, &best);
    wh_longform_destroy(lf);
    wh_model_finish(&m);
    free(pcm);
    return 0;
}
