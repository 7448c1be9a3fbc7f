/*
 * The Silero network (github.com/snakers4/silero-vad, versions 5 and 6), in float.
 *
 *     576 samples   64 before the frame, then its 512, mirrored by 64 more at the end
 *     spectrum      256 samples every 128: four columns of 129 magnitudes
 *     convolutions  129-128-64-64-128 channels, 3 taps, strides 1 2 2 1, ReLU: one column of 128
 *     LSTM          128 states, from frame to frame
 *     output        sigmoid of a weighted sum of the ReLU of the states
 *
 * Only the recurrent half of the LSTM needs the frame before, so everything else is computed for a
 * block of frames at once: rows of inputs are laid side by side ("columns") and multiplied with
 * weights that stay in panels (num/cpu/kernels.h). Activations are (frames, time, channels).
 */
#include "audio/vad/silero.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "num/cpu/kernels.h"

#define CONTEXT  64                    /* samples before a frame */
#define WINDOW   (CONTEXT + VAD_FRAME) /* samples that the network sees */
#define SPAN     256                   /* samples of one spectrum */
#define HOP      128                   /* samples between spectra */
#define N_TIMES  4                     /* spectra of a frame */
#define N_BINS   129
#define N_STATES 128
#define N_GATES  (4 * N_STATES)
#define N_TAPS   3
#define N_CONVS  4
#define ROWS     (N_TIMES * VAD_BLOCK) /* of the widest layers */

/* y = W x + b with W in panels. */
struct layer {
    size_t n_out, k;
    float *panels; /* (NUM_PANELS(n_out), k, 32) */
    float *bias;   /* (NUM_PANELS(n_out) * 32) */
};

struct conv {
    struct layer layer;
    size_t n_in, stride;
};

struct silero {
    const struct num_kernels *kernels;
    struct layer spectrum, input, state;
    struct conv convs[N_CONVS];
    float output[N_STATES], output_bias;
    float h[N_STATES], c[N_STATES];                        /* of the LSTM after the last frame */
    float window[WINDOW + CONTEXT];                        /* one frame's samples */
    float columns[ROWS * N_TAPS * N_BINS];                 /* inputs of a layer, a row each */
    float wide[ROWS * NUM_PANELS(2 * N_BINS) * NUM_PANEL]; /* the spectra, a row each */
    float x[ROWS * N_BINS], y[ROWS * N_STATES];            /* activations */
    float gates[VAD_BLOCK * N_GATES];
};

/* ---- layers ---- */

static bool layer_init(struct layer *l, size_t n_out, size_t k) {
    size_t n_padded = NUM_PANELS(n_out) * NUM_PANEL;
    *l = (struct layer){n_out, k, aligned_alloc(64, n_padded * k * sizeof(float)),
                        aligned_alloc(64, n_padded * sizeof(float))};
    if (!l->panels || !l->bias)
        return false;
    memset(l->panels, 0, n_padded * k * sizeof(float));
    memset(l->bias, 0, n_padded * sizeof(float));
    return true;
}

/* Sets W[i][j]. */
static void layer_set(struct layer *l, size_t i, size_t j, float value) {
    l->panels[(i / NUM_PANEL * l->k + j) * NUM_PANEL + i % NUM_PANEL] = value;
}

static void layer_run(const struct silero *s, const struct layer *l, const float *x, size_t n_rows,
                      float *y) {
    size_t n_panels = NUM_PANELS(l->n_out);
    s->kernels->panels(x, l->k, n_rows, l->k, l->panels, n_panels, l->bias, 0, y,
                       n_panels * NUM_PANEL);
}

static bool matrix_init(struct layer *l, size_t n_out, size_t k, const float *w) {
    if (!layer_init(l, n_out, k))
        return false;
    for (size_t i = 0; i < n_out; i++)
        for (size_t j = 0; j < k; j++)
            layer_set(l, i, j, w[i * k + j]);
    return true;
}

/* w: (n_out, n_in, N_TAPS). Its inputs come as (N_TAPS, n_in). */
static bool conv_init(struct conv *conv, size_t n_out, size_t n_in, size_t stride, const float *w,
                      const float *bias) {
    conv->n_in = n_in;
    conv->stride = stride;
    if (!layer_init(&conv->layer, n_out, N_TAPS * n_in))
        return false;
    for (size_t i = 0; i < n_out; i++)
        for (size_t j = 0; j < n_in; j++)
            for (size_t tap = 0; tap < N_TAPS; tap++)
                layer_set(&conv->layer, i, tap * n_in + j, w[(i * n_in + j) * N_TAPS + tap]);
    memcpy(conv->layer.bias, bias, n_out * sizeof *bias);
    return true;
}

/* x: (n, times, n_in) -> y: (n, times / stride, n_out), after ReLU; one zero on either side in
 * time. Returns the new number of times. */
static size_t conv_run(struct silero *s, const struct conv *conv, size_t n, size_t times,
                       const float *x, float *y) {
    size_t n_in = conv->n_in, n_times = (times - 1) / conv->stride + 1;
    float *to = s->columns;
    for (size_t f = 0; f < n; f++)
        for (size_t t = 0; t < n_times; t++)
            for (size_t tap = 0; tap < N_TAPS; tap++, to += n_in) {
                size_t from = t * conv->stride + tap; /* one more than the index */
                if (from >= 1 && from <= times)
                    memcpy(to, x + (f * times + from - 1) * n_in, n_in * sizeof *to);
                else
                    memset(to, 0, n_in * sizeof *to);
            }
    layer_run(s, &conv->layer, s->columns, n * n_times, y);
    for (size_t i = 0; i < n * n_times * conv->layer.n_out; i++)
        y[i] = y[i] > 0 ? y[i] : 0;
    return n_times;
}

/* ---- the network ---- */

/* Magnitudes of n frames to s->x: (n, N_TIMES, N_BINS). */
static void run_spectrum(struct silero *s, const struct vad_samples *samples, int64_t first,
                         size_t n) {
    for (size_t f = 0; f < n; f++) {
        vad_samples_read(samples, (first + (int64_t)f) * VAD_FRAME - CONTEXT, WINDOW, s->window);
        for (size_t i = 0; i < CONTEXT; i++)
            s->window[WINDOW + i] = s->window[WINDOW - 2 - i];
        for (size_t t = 0; t < N_TIMES; t++)
            memcpy(s->columns + (f * N_TIMES + t) * SPAN, s->window + t * HOP,
                   SPAN * sizeof *s->columns);
    }
    layer_run(s, &s->spectrum, s->columns, n * N_TIMES, s->wide);
    for (size_t r = 0; r < n * N_TIMES; r++) {
        const float *row = s->wide + r * NUM_PANELS(2 * N_BINS) * NUM_PANEL;
        for (size_t k = 0; k < N_BINS; k++)
            s->x[r * N_BINS + k] = sqrtf(row[k] * row[k] + row[N_BINS + k] * row[N_BINS + k]);
    }
}

static float sigmoid(float x) {
    return 1 / (1 + expf(-x));
}

/* One step of the LSTM; g (N_GATES) holds the part of the input. Returns the probability. */
static float run_step(struct silero *s, const float *g) {
    float add[N_GATES], sum = s->output_bias;
    layer_run(s, &s->state, s->h, 1, add);
    for (size_t i = 0; i < N_STATES; i++) {
        float in = sigmoid(g[i] + add[i]);
        float forget = sigmoid(g[N_STATES + i] + add[N_STATES + i]);
        float cell = tanhf(g[2 * N_STATES + i] + add[2 * N_STATES + i]);
        float out = sigmoid(g[3 * N_STATES + i] + add[3 * N_STATES + i]);
        s->c[i] = forget * s->c[i] + in * cell;
        s->h[i] = out * tanhf(s->c[i]);
        sum += s->h[i] > 0 ? s->output[i] * s->h[i] : 0;
    }
    return sigmoid(sum);
}

static void silero_run(void *self, const struct vad_samples *samples, int64_t first, int n_frames,
                       float *ret) {
    struct silero *s = self;
    size_t n = (size_t)n_frames, times = N_TIMES;
    run_spectrum(s, samples, first, n);
    float *x = s->x, *y = s->y;
    for (int i = 0; i < N_CONVS; i++) {
        times = conv_run(s, &s->convs[i], n, times, x, y);
        float *swap = x;
        x = y;
        y = swap;
    }
    layer_run(s, &s->input, x, n, s->gates);
    for (size_t f = 0; f < n; f++)
        ret[f] = run_step(s, s->gates + f * N_GATES);
}

static void silero_reset(void *self) {
    struct silero *s = self;
    memset(s->h, 0, sizeof s->h);
    memset(s->c, 0, sizeof s->c);
}

static void silero_destroy(void *self) {
    struct silero *s = self;
    if (!s)
        return;
    struct layer *layers[] = {&s->spectrum,       &s->input,          &s->state,
                              &s->convs[0].layer, &s->convs[1].layer, &s->convs[2].layer,
                              &s->convs[3].layer};
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        free(layers[i]->panels);
        free(layers[i]->bias);
    }
    free(s);
}

static bool take_weights(struct silero *s, const struct vad_silero_weights *w) {
    memcpy(s->output, w->output, sizeof s->output);
    s->output_bias = w->output_bias;
    bool ok = matrix_init(&s->spectrum, 2 * N_BINS, SPAN, &w->basis[0][0]) &&
              conv_init(&s->convs[0], 128, 129, 1, &w->conv1[0][0][0], w->conv1_bias) &&
              conv_init(&s->convs[1], 64, 128, 2, &w->conv2[0][0][0], w->conv2_bias) &&
              conv_init(&s->convs[2], 64, 64, 2, &w->conv3[0][0][0], w->conv3_bias) &&
              conv_init(&s->convs[3], 128, 64, 1, &w->conv4[0][0][0], w->conv4_bias) &&
              matrix_init(&s->input, N_GATES, N_STATES, &w->lstm_input[0][0][0]) &&
              matrix_init(&s->state, N_GATES, N_STATES, &w->lstm_state[0][0][0]);
    for (size_t i = 0; ok && i < N_GATES; i++)
        s->input.bias[i] = (&w->lstm_input_bias[0][0])[i] + (&w->lstm_state_bias[0][0])[i];
    return ok;
}

int32_t vad_silero_create(const struct vad_silero_weights *weights, struct vad_detector *ret,
                          struct num_err *err) {
    struct silero *s = calloc(1, sizeof *s);
    if (!s || !take_weights(s, weights)) {
        silero_destroy(s);
        return num_fail_memory(err, "the speech detector", sizeof *s + sizeof *weights);
    }
    s->kernels = num_kernels();
    *ret = (struct vad_detector){s, silero_reset, silero_run, silero_destroy};
    return SLUICE_OK;
}
