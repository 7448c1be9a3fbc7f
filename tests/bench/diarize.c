/*
 * The networks of diarization on windows of noise: time of each, as JSON lines;
 * tests/bench/diarize.py makes the models, adds pyannote.audio and compares what both compute.
 *
 *     bench_diarize SEGMENTATION EMBEDDING f32|bf16 THREADS WINDOWS [OUT [SOUND]]
 *
 * OUT gets the scores of WINDOWS windows, a second apart, and the embeddings of the first one's
 * thirds, as floats. SOUND: floats of 16 kHz instead of noise.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "diarize/models.h"
#include "unit/diarize/models.h"

#define CHECKED(call)                                                                              \
    do {                                                                                           \
        struct num_err err = {0};                                                                  \
        if ((call) != SLUICE_OK) {                                                                 \
            fprintf(stderr, "bench_diarize: %s\n", err.text);                                      \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* Wall and processor time. */
struct moment {
    double wall_s, cpu_s;
};

static double read_s(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static struct moment now(void) {
    return (struct moment){read_s(CLOCK_MONOTONIC), read_s(CLOCK_PROCESS_CPUTIME_ID)};
}

static void print_line(const char *what, const char *compute, uint32_t threads, size_t n,
                       double window_s, struct moment start) {
    struct moment end = now();
    printf("{\"what\": \"%s\", \"engine\": \"sluice\", \"compute\": \"%s\", \"threads\": %u, "
           "\"windows\": %zu, \"windows_s\": %g, \"ms_per_window\": %.3f, "
           "\"cpu_ms_per_window\": %.3f}\n",
           what, compute, threads, n, window_s, 1000 * (end.wall_s - start.wall_s) / (double)n,
           1000 * (end.cpu_s - start.cpu_s) / (double)n);
    fflush(stdout);
}

struct bench {
    struct dz_models models;
    struct dz_pyannet_shape shape;
    float *pcm, *scores, *mask, *rows;
    size_t n;
};

static void segment(struct bench *b, size_t n) {
    const float *windows[DZ_PYANNET_BATCH];
    for (size_t at = 0; at < n; at += DZ_PYANNET_BATCH) {
        size_t some = n - at < DZ_PYANNET_BATCH ? n - at : DZ_PYANNET_BATCH;
        for (size_t i = 0; i < some; i++)
            windows[i] = b->pcm + i * 16000;
        CHECKED(dz_pyannet_run(b->models.segmentation, windows, some, b->scores, &err));
    }
}

/* Three speakers a window, as pyannote.audio has them. */
static void embed(struct bench *b, size_t n) {
    size_t frames = b->shape.n_frames, size = dz_resnet_size(b->models.embedding);
    for (size_t i = 0; i < n; i++) {
        CHECKED(dz_resnet_run(b->models.embedding, b->pcm + i % DZ_PYANNET_BATCH * 16000,
                              b->shape.window, &err));
        for (size_t s = 0; s < 3; s++) {
            for (size_t t = 0; t < frames; t++)
                b->mask[t] = t * 3 / frames == s;
            CHECKED(dz_resnet_pool(b->models.embedding, b->mask, frames, b->rows + s * size, &err));
        }
    }
}

static void write_out(struct bench *b, const char *path) {
    FILE *file = fopen(path, "wb");
    b->n = b->n < DZ_PYANNET_BATCH ? b->n : DZ_PYANNET_BATCH;
    segment(b, b->n);
    embed(b, 1);
    size_t n = b->n * b->shape.n_frames * b->shape.n_classes;
    if (!file || fwrite(b->scores, sizeof(float), n, file) != n ||
        fwrite(b->rows, sizeof(float), 3 * dz_resnet_size(b->models.embedding), file) == 0 ||
        fclose(file) != 0)
        exit(1);
}

static void read_sound(struct bench *b, const char *path, size_t n) {
    FILE *file = fopen(path, "rb");
    if (!file)
        exit(1);
    size_t found = fread(b->pcm, sizeof(float), n, file);
    memset(b->pcm + found, 0, (n - found) * sizeof(float));
    fclose(file);
}

int main(int argc, char **argv) {
    if (argc < 6)
        return 2;
    struct bench b = {.n = strtoul(argv[5], NULL, 10)};
    uint32_t threads = (uint32_t)strtoul(argv[4], NULL, 10);
    enum num_compute compute = strcmp(argv[3], "bf16") == 0 ? NUM_COMPUTE_BF16 : NUM_COMPUTE_F32;
    struct dz_model_paths paths = {argv[1], argv[2], NULL, {.compute = compute}, NULL};
    struct num_pool *pool = NULL;
    CHECKED(num_pool_create(threads, &pool, &err));
    CHECKED(dz_models_load(&paths, pool, &b.models, &err));
    dz_pyannet_shape(b.models.segmentation, &b.shape);
    size_t n_samples = b.shape.window + (size_t)DZ_PYANNET_BATCH * 16000;
    b.pcm = malloc(n_samples * sizeof(float));
    b.scores = malloc(DZ_PYANNET_BATCH * b.shape.n_frames * b.shape.n_classes * sizeof(float));
    b.mask = malloc(b.shape.n_frames * sizeof(float));
    b.rows = malloc(3 * dz_resnet_size(b.models.embedding) * sizeof(float));
    make_noise(b.pcm, n_samples, 1);
    if (argc > 7)
        read_sound(&b, argv[7], n_samples);
    if (argc > 6) {
        write_out(&b, argv[6]);
        return 0;
    }
    double window_s = (double)b.shape.window / 16000;
    segment(&b, DZ_PYANNET_BATCH);
    struct moment start = now();
    segment(&b, b.n);
    print_line("segmentation", argv[3], threads, b.n, window_s, start);
    embed(&b, 1);
    start = now();
    size_t n_embedded = b.n < 8 ? 1 : b.n / 8;
    embed(&b, n_embedded);
    print_line("embedding", argv[3], threads, n_embedded, window_s, start);
    dz_models_finish(&b.models);
    num_pool_destroy(pool);
    return 0;
}
