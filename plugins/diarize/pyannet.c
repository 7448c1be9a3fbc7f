/*
 * The front end takes a window a task, a piece of it at a time, so that what the filters give is
 * pooled while it is in the cache. From there on a layer at a time runs over all windows, frames
 * outermost: (n_frames, n, channels).
 */
#include "diarize/pyannet.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "diarize/cells.h"
#include "diarize/conv.h"
#include "diarize/lstm.h"

#define N_CONVS    3
#define MAX_LSTM   8
#define MAX_LINEAR 4
#define MAX_SETS   128
#define PIECE      96 /* outputs of a convolution at a time: a multiple of the pool's three */
#define EPSILON    1e-5

struct norm {
    float *scale, *shift; /* (channels) */
};

struct dz_pyannet {
    struct num_arena arena;
    struct num_pool *pool;
    const struct num_kernels *kernels;
    const struct dz_cells *cells;
    struct dz_pyannet_shape shape;
    uint8_t sets[MAX_SETS];
    float wave_scale, wave_shift;
    struct dz_conv convs[N_CONVS];
    struct norm norms[N_CONVS];
    size_t lengths[N_CONVS + 1]; /* samples, and what is left behind each pool */
    struct dz_lstm lstms[MAX_LSTM];
    size_t n_lstms;
    struct num_linear linears[MAX_LINEAR + 1]; /* the last one gives the classes */
    size_t n_linears;
    size_t widest; /* channels of any layer behind the front end, in whole panels */
};

/* ---- loading ---- */

static int32_t load_norm(struct dz_pyannet *net, const struct dz_weights *w, const char *name,
                         size_t n, struct norm *ret, struct num_err *err) {
    float *values[2] = {NULL, NULL};
    struct norm norm = {NULL, NULL};
    int32_t status = dz_weights_take(w, 1, &n, &values[0], err, "%s.weight", name);
    if (status == SLUICE_OK)
        status = dz_weights_take(w, 1, &n, &values[1], err, "%s.bias", name);
    if (status == SLUICE_OK)
        status = num_arena_take(&net->arena, n * sizeof(float), "a norm", &norm.scale, err);
    if (status == SLUICE_OK)
        status = num_arena_take(&net->arena, n * sizeof(float), "a norm", &norm.shift, err);
    if (status == SLUICE_OK) {
        memcpy(norm.scale, values[0], n * sizeof(float));
        memcpy(norm.shift, values[1], n * sizeof(float));
        *ret = norm;
    }
    free(values[0]);
    free(values[1]);
    return status;
}

/* Convolution i of n_in channels; the first one, the bank of filters, has no bias. */
static int32_t load_conv(struct dz_pyannet *net, const struct dz_weights *w, size_t i, size_t n_in,
                         size_t stride, struct num_err *err) {
    size_t shape[] = {0, n_in, 0};
    float *weight = NULL, *bias = NULL;
    char norm[32];
    snprintf(norm, sizeof norm, "sincnet.%zu.norm", i);
    int32_t status = dz_weights_take(w, 3, shape, &weight, err, "sincnet.%zu.weight", i);
    if (status == SLUICE_OK && i > 0)
        status = dz_weights_take(w, 1, &shape[0], &bias, err, "sincnet.%zu.bias", i);
    if (status == SLUICE_OK && (shape[2] > 4096 || shape[0] > 1024))
        status = num_fail(err, SLUICE_INPUT, "sincnet.%zu.weight: %zu filters of %zu", i, shape[0],
                          shape[2]);
    if (status == SLUICE_OK)
        status = dz_conv_init(&net->convs[i], NUM_COMPUTE_F32, shape[0], n_in, 1, shape[2], stride,
                              weight, bias, &net->arena, err);
    if (status == SLUICE_OK)
        status = load_norm(net, w, norm, shape[0], &net->norms[i], err);
    free(weight);
    free(bias);
    return status;
}

static int32_t load_front(struct dz_pyannet *net, const struct dz_weights *w, struct num_err *err) {
    double stride = 0;
    size_t one = 1;
    float *scale = NULL, *shift = NULL;
    int32_t status = dz_weights_number(w, "stride", 1, 160, 10, &stride, err);
    if (status == SLUICE_OK)
        status = dz_weights_take(w, 1, &one, &scale, err, "sincnet.wave.weight");
    if (status == SLUICE_OK)
        status = dz_weights_take(w, 1, &one, &shift, err, "sincnet.wave.bias");
    if (status == SLUICE_OK) {
        net->wave_scale = *scale;
        net->wave_shift = *shift;
    }
    free(scale);
    free(shift);
    for (size_t i = 0; status == SLUICE_OK && i < N_CONVS; i++)
        status = load_conv(net, w, i, i ? net->convs[i - 1].n_out : 1, i ? 1 : (size_t)stride, err);
    return status;
}

static int32_t load_direction(struct dz_pyannet *net, const struct dz_weights *w, size_t layer,
                              size_t d, struct num_err *err) {
    struct dz_lstm *l = &net->lstms[layer];
    const char *direction = d ? "backward" : "forward";
    size_t ih[] = {0, l->n_in}, hh[] = {0, 0}, n;
    float *weights[3] = {NULL, NULL, NULL};
    int32_t status =
        dz_weights_take(w, 2, ih, &weights[0], err, "lstm.%zu.%s.weight_ih", layer, direction);
    n = ih[0];
    hh[0] = n;
    hh[1] = n / 4;
    if (status == SLUICE_OK && (n % 32 != 0 || n > 8192 || (d && n != 4 * l->n_hidden)))
        status = num_fail(err, SLUICE_INPUT,
                          "lstm.%zu.%s.weight_ih: %zu rows; a multiple of 32, as in the other "
                          "direction, is expected",
                          layer, direction, n);
    l->n_hidden = n / 4;
    if (status == SLUICE_OK)
        status =
            dz_weights_take(w, 2, hh, &weights[1], err, "lstm.%zu.%s.weight_hh", layer, direction);
    if (status == SLUICE_OK)
        status = dz_weights_take(w, 1, &n, &weights[2], err, "lstm.%zu.%s.bias", layer, direction);
    if (status == SLUICE_OK)
        status = dz_lstm_set(l, d, weights[0], weights[1], weights[2], &net->arena, err);
    for (size_t i = 0; i < 3; i++)
        free(weights[i]);
    return status;
}

static void widen(struct dz_pyannet *net, size_t n) {
    n = NUM_PANELS(n) * NUM_PANEL;
    net->widest = n > net->widest ? n : net->widest;
}

static int32_t load_lstms(struct dz_pyannet *net, const struct dz_weights *w, size_t *n,
                          struct num_err *err) {
    for (size_t i = 0; dz_weights_has(w, "lstm.%zu.forward.weight_ih", i); i++) {
        if (i == MAX_LSTM)
            return num_fail(err, SLUICE_INPUT, "more than %d LSTM layers", MAX_LSTM);
        struct dz_lstm *l = &net->lstms[net->n_lstms++];
        l->n_in = *n;
        l->n_directions = dz_weights_has(w, "lstm.%zu.backward.weight_ih", i) ? 2 : 1;
        for (size_t d = 0; d < l->n_directions; d++) {
            int32_t status = load_direction(net, w, i, d, err);
            if (status != SLUICE_OK)
                return status;
        }
        *n = dz_lstm_n_out(l);
        widen(net, *n);
    }
    return SLUICE_OK;
}

static int32_t load_linear(struct dz_pyannet *net, const struct dz_weights *w, const char *name,
                           size_t *n, struct num_err *err) {
    size_t shape[] = {0, *n};
    float *weight = NULL, *bias = NULL;
    if (net->n_linears > MAX_LINEAR)
        return num_fail(err, SLUICE_INPUT, "more than %d linear layers", MAX_LINEAR);
    int32_t status = dz_weights_take(w, 2, shape, &weight, err, "%s.weight", name);
    if (status == SLUICE_OK)
        status = dz_weights_take(w, 1, shape, &bias, err, "%s.bias", name);
    if (status == SLUICE_OK && shape[0] > 8192)
        status = num_fail(err, SLUICE_INPUT, "%s.weight: %zu rows", name, shape[0]);
    if (status == SLUICE_OK)
        status = num_linear_init(&net->linears[net->n_linears], NUM_COMPUTE_F32, shape[0], *n,
                                 weight, bias, &net->arena, err);
    free(weight);
    free(bias);
    if (status != SLUICE_OK)
        return status;
    net->n_linears++;
    *n = shape[0];
    widen(net, *n);
    return SLUICE_OK;
}

static int32_t load_linears(struct dz_pyannet *net, const struct dz_weights *w, size_t n,
                            struct num_err *err) {
    int32_t status = SLUICE_OK;
    for (size_t i = 0; status == SLUICE_OK && dz_weights_has(w, "linear.%zu.weight", i); i++) {
        char name[32];
        snprintf(name, sizeof name, "linear.%zu", i);
        status = load_linear(net, w, name, &n, err);
    }
    if (status == SLUICE_OK)
        status = load_linear(net, w, "classifier", &n, err);
    net->shape.n_classes = n;
    return status;
}

/* Sets of at most `most` of n speakers, small ones first, then in the order of their members. */
static size_t list_sets(size_t n, size_t most, uint8_t *ret) {
    size_t n_sets = 0;
    for (size_t size = 0; size <= most; size++)
        for (size_t code = (size_t)1 << n; code-- > 0;) {
            uint8_t set = 0;
            for (size_t s = 0; s < n; s++)
                set |= (uint8_t)((code >> (n - 1 - s) & 1) << s);
            if ((size_t)__builtin_popcount(set) == size && n_sets < MAX_SETS)
                ret[n_sets++] = set;
        }
    return n_sets;
}

static int32_t load_shape(struct dz_pyannet *net, const struct dz_weights *w, struct num_err *err) {
    double window_s = 0, n_local = 0, n_at_once = 0;
    int32_t status = dz_weights_number(w, "window_s", 0.5, 60, 10, &window_s, err);
    if (status == SLUICE_OK)
        status = dz_weights_number(w, "speakers", 1, DZ_MAX_LOCAL, 3, &n_local, err);
    if (status == SLUICE_OK)
        status = dz_weights_number(w, "at_once", 1, n_local, 2, &n_at_once, err);
    if (status != SLUICE_OK)
        return status;
    struct dz_pyannet_shape *s = &net->shape;
    s->n_local = (size_t)n_local;
    s->window = (size_t)(window_s * 16000);
    size_t n_sets = list_sets(s->n_local, (size_t)n_at_once, net->sets);
    if (n_sets != s->n_classes)
        return num_fail(err, SLUICE_INPUT,
                        "the classifier has %zu classes; %zu speakers, %zu at once, make %zu",
                        s->n_classes, s->n_local, (size_t)n_at_once, n_sets);
    net->lengths[0] = s->window;
    s->frame = s->step = 1;
    for (size_t i = 0; i < N_CONVS; i++) {
        const struct dz_conv *c = &net->convs[i];
        size_t before = net->lengths[i];
        if (before < c->width + 2 * c->stride)
            return num_fail(err, SLUICE_INPUT, "a window of %g s is too short", window_s);
        net->lengths[i + 1] = ((before - c->width) / c->stride + 1) / 3;
    }
    for (size_t i = N_CONVS; i-- > 0; s->step *= 3 * net->convs[i].stride)
        s->frame = (s->frame * 3 - 1) * net->convs[i].stride + net->convs[i].width;
    s->n_frames = net->lengths[N_CONVS];
    return SLUICE_OK;
}

static int32_t load(struct dz_pyannet *net, const struct dz_weights *w, struct num_err *err) {
    int32_t status = load_front(net, w, err);
    size_t n = net->convs[N_CONVS - 1].n_out;
    widen(net, n);
    if (status == SLUICE_OK)
        status = load_lstms(net, w, &n, err);
    if (status == SLUICE_OK)
        status = load_linears(net, w, n, err);
    return status == SLUICE_OK ? load_shape(net, w, err) : status;
}

int32_t dz_pyannet_create(const struct dz_weights *weights, struct num_pool *pool,
                          struct dz_pyannet **ret, struct num_err *err) {
    struct dz_pyannet *net = calloc(1, sizeof *net);
    if (!net)
        return num_fail_memory(err, "the segmentation model", sizeof *net);
    net->pool = pool;
    net->kernels = num_kernels();
    net->cells = dz_cells();
    int32_t status = load(net, weights, err);
    if (status != SLUICE_OK) {
        dz_pyannet_destroy(net);
        return status;
    }
    *ret = net;
    return SLUICE_OK;
}

void dz_pyannet_destroy(struct dz_pyannet *net) {
    if (net)
        num_arena_finish(&net->arena);
    free(net);
}

void dz_pyannet_shape(const struct dz_pyannet *net, struct dz_pyannet_shape *ret) {
    *ret = net->shape;
}

uint8_t dz_pyannet_set(const struct dz_pyannet *net, size_t class) {
    return net->sets[class];
}

/* ---- front end ---- */

struct front {
    struct dz_pyannet *net;
    const float *const *windows;
    size_t n;
    float *maps; /* (threads, 2, map_size) */
    float *sums; /* (threads, (PIECE + NUM_ROW_PAD) * widest filter bank) */
    size_t map_size, sums_size;
    float *x; /* (n_frames, n, channels) */
};

/* Samples with mean 0 and variance 1, times scale, plus shift. */
static void normalise_wave(const struct dz_pyannet *net, const float *pcm, float *ret) {
    size_t n = net->shape.window;
    double sum = 0, square = 0;
    for (size_t i = 0; i < n; i++) {
        ret[i] = isfinite(pcm[i]) ? pcm[i] : 0;
        sum += ret[i];
    }
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        square += (ret[i] - mean) * (ret[i] - mean);
    double scale = net->wave_scale / sqrt(square / (double)n + EPSILON);
    for (size_t i = 0; i < n; i++)
        ret[i] = (float)((ret[i] - mean) * scale) + net->wave_shift;
}

/* Each channel of x (n_rows, n) to mean 0 and variance 1 over time, then scale, shift, leaky ReLU. */
static void normalise(const struct dz_pyannet *net, const struct norm *norm, float *x,
                      size_t n_rows, size_t n, float *work) {
    float *mean = work, *square = work + n;
    memset(work, 0, 2 * n * sizeof *work);
    net->cells->moments(x, n_rows, n, mean, square);
    for (size_t i = 0; i < n; i++) {
        double m = mean[i] / (double)n_rows, variance = square[i] / (double)n_rows - m * m;
        double scale = norm->scale[i] / sqrt(fmax(variance, 0) + EPSILON);
        square[i] = (float)scale;
        mean[i] = (float)(norm->shift[i] - m * scale);
    }
    net->cells->leaky(x, n_rows, n, square, mean);
}

/* Convolution i of x into ret, pooled and normalised. */
static void convolve(const struct dz_pyannet *net, size_t i, const float *x, float *sums,
                     float *ret) {
    const struct dz_conv *c = &net->convs[i];
    size_t n = net->lengths[i + 1];
    net->kernels->enter();
    for (size_t at = 0; at < n; at += PIECE / 3) {
        size_t pooled = n - at < PIECE / 3 ? n - at : PIECE / 3;
        const void *line = x + 3 * at * c->stride * c->n_in;
        dz_conv_run(c, net->kernels, &line, 3 * pooled, sums);
        net->cells->pool3(sums, c->n_padded, 3 * pooled, c->n_out, i == 0, ret + at * c->n_out);
    }
    net->kernels->leave();
    for (size_t r = 0; i > 0 && r < n; r++)
        net->kernels->add(ret + r * c->n_out, c->bias, c->n_out);
    normalise(net, &net->norms[i], ret, n, c->n_out, sums);
}

static void run_front(void *ctx, uint32_t index, uint32_t thread) {
    const struct front *f = ctx;
    const struct dz_pyannet *net = f->net;
    float *maps[2] = {f->maps + 2 * thread * f->map_size, f->maps + (2 * thread + 1) * f->map_size};
    float *sums = f->sums + thread * f->sums_size;
    normalise_wave(net, f->windows[index], maps[0]);
    for (size_t i = 0; i < N_CONVS; i++)
        convolve(net, i, maps[i % 2], sums, maps[(i + 1) % 2]);
    size_t n = net->convs[N_CONVS - 1].n_out;
    for (size_t t = 0; t < net->shape.n_frames; t++)
        memcpy(f->x + (t * f->n + index) * n, maps[N_CONVS % 2] + t * n, n * sizeof *f->x);
}

/* Floats of a map: the largest there is, and what products may read beyond it. */
static size_t map_size(const struct dz_pyannet *net) {
    size_t most = 0;
    for (size_t i = 0; i < N_CONVS; i++) {
        const struct dz_conv *c = &net->convs[i];
        size_t in = (net->lengths[i] + c->width + NUM_ROW_PAD * c->stride) * c->n_in;
        size_t out = net->lengths[i + 1] * c->n_out;
        most = in > most ? in : most;
        most = out > most ? out : most;
    }
    return most;
}

static size_t sums_size(const struct dz_pyannet *net) {
    size_t widest = 0;
    for (size_t i = 0; i < N_CONVS; i++)
        widest = net->convs[i].n_padded > widest ? net->convs[i].n_padded : widest;
    return (PIECE + NUM_ROW_PAD) * widest;
}

/* ---- layers ---- */

static void run_linears(struct dz_pyannet *net, float *x, float *y, size_t n_rows, size_t n,
                        float *ret) {
    for (size_t i = 0; i < net->n_linears; i++) {
        const struct num_linear *l = &net->linears[i];
        size_t ld = NUM_PANELS(l->n_out) * NUM_PANEL;
        struct num_rows rows = {.x = x, .ldx = n * sizeof *x};
        struct num_finish finish = {.form = NUM_FORM_F32, .y = y, .ldy = ld};
        num_linear_run(l, net->kernels, net->pool, &rows, n_rows, &finish);
        for (size_t v = 0; i + 1 < net->n_linears && v < n_rows * ld; v++)
            y[v] = y[v] > 0 ? y[v] : 0.01f * y[v];
        float *swap = x;
        x = y;
        y = swap;
        n = ld;
    }
    for (size_t r = 0; r < n_rows; r++)
        memcpy(ret + r * net->shape.n_classes, x + r * n, net->shape.n_classes * sizeof *ret);
}

/* Scores (n_frames, n, classes) to (n, n_frames, classes). */
static void put_in_order(const struct dz_pyannet *net, const float *x, size_t n, float *ret) {
    size_t classes = net->shape.n_classes, frames = net->shape.n_frames;
    for (size_t t = 0; t < frames; t++)
        for (size_t b = 0; b < n; b++)
            memcpy(ret + (b * frames + t) * classes, x + (t * n + b) * classes,
                   classes * sizeof *ret);
}

static void run_layers(struct dz_pyannet *net, size_t n, float *x, float *y, float *work,
                       float *ret) {
    size_t frames = net->shape.n_frames, width = net->convs[N_CONVS - 1].n_out;
    for (size_t i = 0; i < net->n_lstms; i++) {
        dz_lstm_run(&net->lstms[i], net->kernels, net->cells, net->pool, x, frames, n, work, y);
        float *swap = x;
        x = y;
        y = swap;
        width = dz_lstm_n_out(&net->lstms[i]);
    }
    run_linears(net, x, y, frames * n, width, work);
    put_in_order(net, work, n, ret);
}

int32_t dz_pyannet_run(struct dz_pyannet *net, const float *const *windows, size_t n, float *ret,
                       struct num_err *err) {
    size_t threads = num_pool_threads(net->pool), rows = net->shape.n_frames * n + NUM_ROW_PAD;
    size_t n_work = rows * net->shape.n_classes;
    for (size_t i = 0; i < net->n_lstms; i++) {
        size_t some = dz_lstm_work(&net->lstms[i], net->shape.n_frames, n);
        n_work = some > n_work ? some : n_work;
    }
    struct front front = {.net = net,
                          .windows = windows,
                          .n = n,
                          .map_size = map_size(net),
                          .sums_size = sums_size(net)};
    front.maps = calloc(2 * threads * front.map_size, sizeof *front.maps);
    front.sums = calloc(threads * front.sums_size, sizeof *front.sums);
    front.x = calloc(rows * net->widest, sizeof *front.x);
    float *y = calloc(rows * net->widest, sizeof *y), *work = calloc(n_work, sizeof *work);
    int32_t status = SLUICE_OK;
    if (front.maps && front.sums && front.x && y && work) {
        num_pool_run(net->pool, (uint32_t)n, run_front, &front);
        run_layers(net, n, front.x, y, work, ret);
    } else {
        status =
            num_fail_memory(err, "the segmentation",
                            4 * (2 * threads * front.map_size + 2 * rows * net->widest + n_work));
    }
    free(front.maps);
    free(front.sums);
    free(front.x);
    free(y);
    free(work);
    return status;
}
