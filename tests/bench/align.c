/*
 * How fast method ctc of align/words is: a model's folder, and a recording of made sound with a
 * text in segments of 10 s, as many as asked for. One line of JSON; tests/bench/align.py puts it
 * beside other programs.
 *
 *     bench_align MODEL f32|bf16 THREADS SEGMENTS [REPEATS]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "align/ctc_words.h"

enum { RATE = 16000, SEGMENT_S = 10 };

static const char text[] =
    " The quick brown fox jumps over the lazy dog, and then it goes home to "
    "sleep for a very long time, as foxes do when nobody is looking at them.";

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Segments further apart than a stretch, so that each is aligned by itself. */
static char *make_transcript(int n) {
    size_t size = 64 + (size_t)n * (sizeof text + 100), at = 0;
    char *json = malloc(size);
    at += (size_t)snprintf(json, size, "{\"segments\": [");
    for (int i = 0; i < n; i++)
        at += (size_t)snprintf(
            json + at, size - at, "%s{\"id\": %d, \"start\": %d, \"end\": %d, \"text\": \"%s\"}",
            i ? "," : "", i, i * (SEGMENT_S + 3), i * (SEGMENT_S + 3) + SEGMENT_S, text);
    snprintf(json + at, size - at, "]}");
    return json;
}

int main(int argc, char **argv) {
    if (argc < 5) {
        fprintf(stderr, "usage: bench_align MODEL f32|bf16 THREADS SEGMENTS [REPEATS]\n");
        return 2;
    }
    int n = atoi(argv[4]), repeats = argc > 5 ? atoi(argv[5]) : 3;
    struct al_ctc_options options = {strcmp(argv[2], "bf16") ? NUM_COMPUTE_F32 : NUM_COMPUTE_BF16,
                                     (uint32_t)atoi(argv[3]),
                                     30,
                                     3,
                                     0,
                                     NULL,
                                     0,
                                     0,
                                     NULL,
                                     NULL};
    struct al_ctc_words *model = NULL;
    struct num_err err = {0};
    if (al_ctc_words_create(argv[1], &options, &model, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    size_t n_samples = (size_t)n * (SEGMENT_S + 3) * RATE;
    float *pcm = malloc(n_samples * sizeof *pcm);
    uint32_t state = 1;
    for (size_t i = 0; i < n_samples; i++) {
        state = state * 1664525 + 1013904223;
        pcm[i] = (float)(state >> 8) / (1 << 24) - 0.5f;
    }
    char *json = make_transcript(n);
    double best = 1e9;
    for (int i = 0; i < repeats; i++) {
        struct al_script script;
        struct al_ctc_report report;
        double start = now();
        if (al_script_read(json, strlen(json), NULL, &script, &err) ||
            al_ctc_words_align(model, pcm, n_samples, &script, NULL, &report, &err)) {
            fprintf(stderr, "%s\n", err.text);
            return 1;
        }
        double took = now() - start;
        best = took < best ? took : best;
        al_script_finish(&script);
    }
    printf("{\"bench\": \"align\", \"program\": \"sluice\", \"compute\": \"%s\", \"threads\": %s, "
           "\"kernels\": \"%s\", \"audio_s\": %d, \"best_s\": %.4f, \"times_real_time\": %.1f}\n",
           argv[2], argv[3], num_kernels()->name, n * SEGMENT_S, best, n * SEGMENT_S / best);
    free(json);
    free(pcm);
    al_ctc_words_destroy(model);
    return 0;
}
