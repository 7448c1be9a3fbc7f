/*
 * The log-mel spectrogram of the device against that of the CPU, on speech and on made signals.
 */
#include "device.h"

#include "num/cuda/mel.h"
#include "num/mel.h"

#define MAX_SAMPLES (16000 * 20)

/* The samples of a 16 kHz mono WAV file of ours with a header of 44 bytes. */
static size_t read_wav(const char *path, float *ret) {
    static int16_t raw[MAX_SAMPLES + 22];
    FILE *f = fopen(path, "rb");
    CHECK(f);
    size_t n = fread(raw, 2, MAX_SAMPLES + 22, f) - 22;
    fclose(f);
    for (size_t i = 0; i < n; i++)
        ret[i] = raw[22 + i] / 32768.0f;
    return n;
}

struct bench {
    size_t n_mels;
    struct num_mel *mel;
    struct num_pool *pool;
    void *tables;
    float *maxima; /* on the device, 4 groups */
};

static struct bench bench_make(size_t n_mels) {
    struct bench b = {.n_mels = n_mels};
    struct num_err err;
    CHECK_INT(num_mel_create(n_mels, &b.mel, &err), 0);
    keep(b.mel);
    CHECK_INT(num_pool_create(2, &b.pool, &err), 0);
    keep(b.pool);
    void *host = keep(calloc(1, num_cuda_mel_tables_bytes(n_mels)));
    num_cuda_mel_tables_fill(n_mels, host);
    b.tables = device_copy(host, num_cuda_mel_tables_bytes(n_mels));
    b.maxima = device_copy((float[4]){0}, 4 * sizeof(float));
    return b;
}

/* Frames [first, first + n) on the CPU; ret (n, n_mels). */
static float *log_mel(const struct bench *b, const float *pcm, size_t n_samples, size_t first,
                      size_t n) {
    struct num_err err;
    float *ret = keep(malloc(n * b->n_mels * 4));
    CHECK_INT(num_mel_log(b->mel, b->pool, pcm, n_samples, first, n, ret, &err), 0);
    return ret;
}

struct piece {
    const float *pcm;
    size_t n_samples, first, n_frames, n_rows;
    uint32_t group;
};

static void check_pieces(const struct bench *b, const struct piece *pieces, size_t n,
                         enum num_cuda_type type, double tolerance) {
    struct num_cuda_mel_piece on_device[4];
    float *want[4], max[4] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};
    size_t max_frames = 0, max_rows = 0;
    for (size_t i = 0; i < n; i++) {
        const struct piece *p = &pieces[i];
        uint64_t start = num_cuda_mel_start(p->first);
        want[i] = log_mel(b, p->pcm, p->n_samples, p->first, p->n_frames);
        float top = num_mel_max(want[i], p->n_frames * b->n_mels);
        max[p->group] = top > max[p->group] ? top : max[p->group];
        on_device[i] = (struct num_cuda_mel_piece){
            .pcm = device_copy(p->pcm + start, (p->n_samples - start) * 4),
            .start = start,
            .n_samples = p->n_samples,
            .first = p->first,
            .n_frames = (uint32_t)p->n_frames,
            .group = p->group,
            .ret_log = device_room(p->n_frames * b->n_mels * 4),
            .ret_mel = device_room(p->n_rows * b->n_mels * 4),
            .n_rows = (uint32_t)p->n_rows};
        max_frames = p->n_frames > max_frames ? p->n_frames : max_frames;
        max_rows = p->n_rows > max_rows ? p->n_rows : max_rows;
    }
    void *list = device_copy(on_device, n * sizeof *on_device);
    CHECK_CUDA(num_cuda_mel_power(b->tables, b->n_mels, list, n, max_frames, b->maxima, NULL));
    CHECK_CUDA(num_cuda_mel_normalise(b->n_mels, list, n, max_rows, b->maxima, type, NULL));
    for (size_t i = 0; i < n; i++) {
        const struct piece *p = &pieces[i];
        size_t values = p->n_frames * b->n_mels;
        num_mel_normalise(want[i], values, max[p->group], want[i]);
        float *got = host_values(on_device[i].ret_mel, p->n_rows * b->n_mels, type);
        for (size_t j = 0; j < values; j++)
            CHECK_NEAR(got[j], want[i][j], tolerance + rounding_of(type) * fabs(want[i][j]));
        for (size_t j = values; j < p->n_rows * b->n_mels; j++)
            CHECK(got[j] == 0);
    }
}

static float *speech(size_t *ret_n) {
    static float pcm[MAX_SAMPLES + 1];
    *ret_n = read_wav(TESTS_DIR "/data/command.wav", pcm);
    return pcm;
}

TEST(speech_in_all_types) {
    size_t n;
    float *pcm = speech(&n);
    for (size_t t = 0; t < N_TYPES; t++) {
        struct bench b = bench_make(t % 2 ? 128 : 80);
        struct piece p = {pcm, n, 0, 120, 120, 0};
        check_pieces(&b, &p, 1, all_types[t], 1e-4);
    }
}

/* Two audios, one of them in two pieces that share its maximum; starts anywhere, ends in silence,
 * and rows behind the frames are zeros. */
TEST(pieces_share_the_maximum_of_their_audio) {
    struct bench b = bench_make(80);
    size_t n;
    float *pcm = speech(&n), *noise = random_values(5000, 0.01f, 0, 3);
    size_t end = n / NUM_MEL_HOP;
    const struct piece pieces[] = {
        {pcm, n, 17, 33, 50, 0}, {noise, 5000, 0, 40, 40, 2}, {pcm, n, end - 10, 21, 64, 0}};
    check_pieces(&b, pieces, 3, NUM_CUDA_F32, 1e-4);
}

TEST(a_maximum_from_a_first_pass) {
    struct bench b = bench_make(80);
    size_t n;
    float *pcm = speech(&n), *want = log_mel(&b, pcm, n, 0, n / NUM_MEL_HOP);
    struct num_cuda_mel_piece p = {.pcm = device_copy(pcm, n * 4),
                                   .n_samples = n,
                                   .n_frames = (uint32_t)(n / NUM_MEL_HOP),
                                   .group = 1};
    void *list = device_copy(&p, sizeof p);
    CHECK_CUDA(num_cuda_mel_power(b.tables, 80, list, 1, p.n_frames, b.maxima, NULL));
    float *maxima = host_values(b.maxima, 4, NUM_CUDA_F32);
    CHECK(maxima[0] == 0 && maxima[2] == 0);
    CHECK_NEAR(log10f(maxima[1]), num_mel_max(want, p.n_frames * 80), 1e-5);
}

TEST(silence_and_broken_samples) {
    struct bench b = bench_make(128);
    float pcm[1000] = {0};
    check_pieces(&b, &(struct piece){pcm, 1000, 0, 9, 16, 3}, 1, NUM_CUDA_F32,
                 1e-6); /* a card's logarithm */
    for (size_t i = 0; i < 1000; i++)
        pcm[i] = i % 50 == 7 ? NAN : i % 50 == 9 ? INFINITY : 0.5f * sinf((float)i * 0.3f);
    check_pieces(&b, &(struct piece){pcm, 1000, 0, 9, 16, 0}, 1, NUM_CUDA_F32, 1e-4);
    check_pieces(&b, &(struct piece){pcm, 3, 0, 2, 16, 1}, 1, NUM_CUDA_F32, 1e-4);
}

TEST_MAIN()
