/*
 * Kernels of the diarization networks on a card, against plain loops in double.
 */
#include "unit/cuda_encoder/device.h"

#include "diarize/cuda/kernels.h"

static const enum num_cuda_type types[] = {NUM_CUDA_F32, NUM_CUDA_BF16};

/* ---- Convolutions of maps -------------------------------------------------------------------- */

struct conv_case {
    size_t n_maps, n_bands, n_frames, n_in, n_out, width, stride;
    bool more;
};

static double conv_at(const struct conv_case *c, const float *x, const float *w, size_t map,
                      size_t band, size_t frame, size_t o) {
    double sum = 0;
    for (size_t i = 0; i < c->width; i++)
        for (size_t j = 0; j < c->width; j++) {
            long b = (long)(band * c->stride + i) - (long)(c->width / 2);
            long t = (long)(frame * c->stride + j) - (long)(c->width / 2);
            if (b < 0 || b >= (long)c->n_bands || t < 0 || t >= (long)c->n_frames)
                continue;
            size_t at = ((map * c->n_bands + (size_t)b) * c->n_frames + (size_t)t) * c->n_in;
            for (size_t k = 0; k < c->n_in; k++)
                sum += (double)x[at + k] *
                       (double)w[((o * c->width + i) * c->width + j) * c->n_in + k];
        }
    return sum;
}

/* w (n_out, taps, n_in) in the order and type that the kernel wants. */
static void *weights_on_device(const struct conv_case *c, float *w, enum num_cuda_type type,
                               bool x_float) {
    size_t taps = c->width * c->width, n = c->n_out * taps * c->n_in;
    if (!x_float && dz_cuda_conv_tiled(type, c->n_in, c->n_out))
        return device_values(w, n, type);
    float *turned = keep(malloc(n * sizeof *turned));
    for (size_t o = 0; o < c->n_out; o++)
        for (size_t k = 0; k < taps * c->n_in; k++)
            turned[k * c->n_out + o] = w[o * taps * c->n_in + k];
    return device_values(turned, n, NUM_CUDA_F32);
}

static void check_conv(const struct conv_case *c, enum num_cuda_type type, bool x_float) {
    size_t bands = (c->n_bands + c->stride - 1) / c->stride,
           frames = (c->n_frames + c->stride - 1) / c->stride;
    size_t n_x = c->n_maps * c->n_bands * c->n_frames * c->n_in,
           n = c->n_maps * bands * frames * c->n_out;
    float *x = random_values(n_x, 1, 0, 1), *bias = random_values(c->n_out, 1, 0, 2);
    float *w = random_values(c->n_out * c->width * c->width * c->n_in,
                             1 / sqrtf((float)(c->width * c->width * c->n_in)), 0, 3);
    float *more = random_values(n, 1, 0, 4);
    struct dz_cuda_conv a = {.n_maps = c->n_maps,
                             .n_bands = c->n_bands,
                             .n_frames = c->n_frames,
                             .n_in = c->n_in,
                             .n_out = c->n_out,
                             .width = c->width,
                             .stride = c->stride,
                             .relu = c->more,
                             .x_float = x_float};
    a.x = device_values(x, n_x, x_float ? NUM_CUDA_F32 : type);
    a.w = weights_on_device(c, w, type, x_float);
    a.bias = device_values(bias, c->n_out, NUM_CUDA_F32);
    a.ret = device_values(more, n, type); /* the result takes the place of what it adds */
    a.more = c->more ? a.ret : NULL;
    CHECK_CUDA(dz_cuda_conv_run(&a, type, NULL));
    float *got = host_values(a.ret, n, type);
    for (size_t i = 0; i < n; i++) {
        size_t o = i % c->n_out, frame = i / c->n_out % frames,
               band = i / c->n_out / frames % bands;
        double want =
            conv_at(c, x, w, i / c->n_out / frames / bands, band, frame, o) + (double)bias[o];
        want += c->more ? (double)more[i] : 0;
        want = c->more && want < 0 ? 0 : want;
        CHECK_NEAR(got[i], want, 2e-5 + fabs(want) * 2 * rounding_of(type));
    }
}

TEST(convolutions_of_maps) {
    static const struct conv_case cases[] = {
        {2, 3, 70, 32, 32, 3, 1, true},  /* more frames than a tile */
        {1, 5, 67, 32, 64, 3, 2, false}, /* odd sizes halved */
        {1, 4, 33, 64, 64, 1, 2, false}, /* a shortcut */
        {2, 3, 37, 6, 10, 3, 1, true},   /* narrow */
        {1, 3, 9, 6, 34, 3, 2, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t t = 0; t < 2; t++)
            check_conv(&cases[i], types[t], false);
    const struct conv_case stem = {2, 5, 40, 1, 32, 3, 1, true};
    for (size_t t = 0; t < 2; t++)
        check_conv(&stem, types[t], true);
}

/* ---- Layers of the segmentation -------------------------------------------------------------- */

static void check_pooled(size_t n_in, size_t n_out, size_t width, size_t stride, bool magnitudes) {
    enum { WINDOWS = 2, PIECES = 41 };
    size_t n = (PIECES * 3 - 1) * stride + width + stride / 2, k = width * n_in;
    float *x = random_values(WINDOWS * n * n_in, 1, 0, 1),
          *w = random_values(k * n_out, 0.2f, 0, 2);
    float *bias = random_values(n_out, 1, 0, 3);
    const struct dz_cuda_pooled a = {.x = device_values(x, WINDOWS * n * n_in, NUM_CUDA_F32),
                                     .w = device_values(w, k * n_out, NUM_CUDA_F32),
                                     .bias = magnitudes ? NULL
                                                        : device_values(bias, n_out, NUM_CUDA_F32),
                                     .ret = device_room(WINDOWS * PIECES * n_out * sizeof(float)),
                                     .n_windows = WINDOWS,
                                     .n = n,
                                     .n_in = n_in,
                                     .n_out = n_out,
                                     .width = width,
                                     .stride = stride,
                                     .n_ret = PIECES,
                                     .magnitudes = magnitudes};
    CHECK_CUDA(dz_cuda_pooled_run(&a, NULL));
    float *got = host_values(a.ret, WINDOWS * PIECES * n_out, NUM_CUDA_F32);
    for (size_t i = 0; i < WINDOWS * PIECES * n_out; i++) {
        size_t o = i % n_out, row = i / n_out % PIECES, window = i / n_out / PIECES;
        double most = -INFINITY;
        for (size_t p = 0; p < 3; p++) {
            double sum = 0;
            const float *from = x + (window * n + (3 * row + p) * stride) * n_in;
            for (size_t j = 0; j < k; j++)
                sum += (double)from[j] * (double)w[j * n_out + o];
            most = fmax(most, magnitudes ? fabs(sum) : sum);
        }
        CHECK_NEAR(got[i], most + (magnitudes ? 0 : (double)bias[o]), 1e-4);
    }
}

TEST(convolutions_over_time_and_their_maxima) {
    check_pooled(1, 40, 31, 10, true);
    check_pooled(40, 12, 5, 1, false);
}

TEST(norms_over_time) {
    enum { WINDOWS = 3, N = 50, CHANNELS = 44, WIDTH = 48 };
    float *x = random_values(WINDOWS * N * CHANNELS, 2, 1, 1),
          *scale = random_values(CHANNELS, 0.3f, 1, 2);
    float *shift = random_values(CHANNELS, 0.3f, 0, 3);
    for (size_t t = 0; t < 2; t++) {
        const struct dz_cuda_normal a = {.x =
                                             device_values(x, WINDOWS * N * CHANNELS, NUM_CUDA_F32),
                                         .scale = device_values(scale, CHANNELS, NUM_CUDA_F32),
                                         .shift = device_values(shift, CHANNELS, NUM_CUDA_F32),
                                         .ret = device_room(WINDOWS * N * WIDTH * 4),
                                         .n_windows = WINDOWS,
                                         .n = N,
                                         .n_channels = CHANNELS,
                                         .window = WIDTH,
                                         .step = WINDOWS * WIDTH,
                                         .width = WIDTH};
        CHECK_CUDA(dz_cuda_normal_run(&a, types[t], NULL));
        float *got = host_values(a.ret, WINDOWS * N * WIDTH, types[t]);
        for (size_t i = 0; i < WINDOWS * N * WIDTH; i++) {
            size_t c = i % WIDTH, w = i / WIDTH % WINDOWS, row = i / WIDTH / WINDOWS;
            double mean = 0, variance = 0;
            for (size_t k = 0; c < CHANNELS && k < N; k++)
                mean += (double)x[(w * N + k) * CHANNELS + c] / N;
            for (size_t k = 0; c < CHANNELS && k < N; k++)
                variance += pow((double)x[(w * N + k) * CHANNELS + c] - mean, 2) / N;
            double want = c < CHANNELS ? ((double)x[(w * N + row) * CHANNELS + c] - mean) /
                                                 sqrt(variance + 1e-5) * (double)scale[c] +
                                             (double)shift[c]
                                       : 0;
            want = want > 0 ? want : 0.01 * want;
            CHECK_NEAR(got[i], want, 2e-5 + fabs(want) * 2 * rounding_of(types[t]));
        }
    }
}

static double logistic(double x) {
    return 1 / (1 + exp(-x));
}

/* States feed back, so that errors of rounding grow from step to step. */
static void check_lstm(enum num_cuda_type type, size_t n, size_t h, size_t shared) {
    enum { STEPS = 7, DIRECTIONS = 2 };
    float *gates = random_values(STEPS * n * DIRECTIONS * 4 * h, 1, 0, 1);
    float *w = random_values(DIRECTIONS * h * 4 * h, 1 / sqrtf((float)h), 0, 2);
    double *state = keep(calloc(6 * h, sizeof *state)), *memory = state + h, *sums = memory + h;
    const struct dz_cuda_lstm a = {
        .gates = device_values(gates, STEPS * n * DIRECTIONS * 4 * h, NUM_CUDA_F32),
        .w = device_values(w, DIRECTIONS * h * 4 * h, type),
        .ret = device_room(STEPS * n * DIRECTIONS * h * 4),
        .n_steps = STEPS,
        .n = n,
        .n_hidden = h,
        .n_directions = DIRECTIONS,
        .shared_bytes = shared};
    CHECK_CUDA(dz_cuda_lstm_run(&a, type, NULL));
    float *got = host_values(a.ret, STEPS * n * DIRECTIONS * h, type);
    for (size_t i = 0; i < n * DIRECTIONS; i++) {
        size_t sequence = i / DIRECTIONS, d = i % DIRECTIONS;
        memset(state, 0, 2 * h * sizeof *state);
        for (size_t step = 0; step < STEPS; step++) {
            size_t t = d ? STEPS - 1 - step : step, row = (t * n + sequence) * DIRECTIONS + d;
            for (size_t j = 0; j < 4 * h; j++) {
                sums[j] = (double)gates[row * 4 * h + j];
                for (size_t k = 0; k < h; k++)
                    sums[j] += (double)w[(d * h + k) * 4 * h + j] * state[k];
            }
            for (size_t u = 0; u < h; u++) {
                memory[u] =
                    logistic(sums[h + u]) * memory[u] + logistic(sums[u]) * tanh(sums[2 * h + u]);
                state[u] = logistic(sums[3 * h + u]) * tanh(memory[u]);
                CHECK_NEAR(got[row * h + u], state[u], 2e-5 + 2 * rounding_of(type));
            }
        }
    }
}

TEST(lstm_with_weights_near_and_far) {
    for (size_t t = 0; t < 2; t++) {
        check_lstm(types[t], 11, 16, 48 << 10);
        check_lstm(types[t], 3, 16, 6 * 16 * 8 * sizeof(float));
    }
}

/* ---- Voices ---------------------------------------------------------------------------------- */

TEST(statistics_of_voices) {
    enum { MAPS = 2, BANDS = 3, FRAMES = 13, CHANNELS = 20, VOICES = 4 };
    const unsigned which[VOICES] = {0, 0, 1, 1};
    size_t n = (size_t)MAPS * BANDS * FRAMES * CHANNELS;
    float *x = random_values(n, 1, 0.5f, 1),
          *weights = random_values(VOICES * FRAMES, 0.2f, 0.6f, 2);
    for (size_t t = 0; t < 2; t++) {
        const struct dz_cuda_pool a = {
            .x = device_values(x, n, types[t]),
            .which = device_copy(which, sizeof which),
            .weights = device_values(weights, VOICES * FRAMES, NUM_CUDA_F32),
            .ret = device_room(VOICES * 2 * CHANNELS * BANDS * sizeof(float)),
            .n = VOICES,
            .n_bands = BANDS,
            .n_frames = FRAMES,
            .n_channels = CHANNELS};
        CHECK_CUDA(dz_cuda_pool_run(&a, types[t], NULL));
        float *got = host_values(a.ret, VOICES * 2 * CHANNELS * BANDS, NUM_CUDA_F32);
        for (size_t i = 0; i < VOICES * CHANNELS * BANDS; i++) {
            size_t band = i % BANDS, c = i / BANDS % CHANNELS, v = i / BANDS / CHANNELS;
            const float *from = x + (which[v] * BANDS + band) * FRAMES * CHANNELS + c;
            double sum = 1e-8, squares = 0, mean = 0, variance = 0;
            for (size_t k = 0; k < FRAMES; k++) {
                double weight = (double)weights[v * FRAMES + k];
                sum += weight;
                squares += weight * weight;
                mean += weight * (double)from[k * CHANNELS];
            }
            mean /= sum;
            for (size_t k = 0; k < FRAMES; k++)
                variance +=
                    (double)weights[v * FRAMES + k] * pow((double)from[k * CHANNELS] - mean, 2);
            variance /= sum - squares / sum + 1e-8;
            size_t at = v * 2 * CHANNELS * BANDS + c * BANDS + band;
            CHECK_NEAR(got[at], mean, 1e-5);
            CHECK_NEAR(got[at + (size_t)CHANNELS * BANDS], sqrt(variance), 1e-5);
        }
    }
}

TEST_MAIN()
