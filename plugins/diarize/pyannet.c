/*
 * The front end takes a window a task, a piece of it at a time, so that what the filters give is
 * pooled while it is in the cache. From there on a layer at a time runs over all windows, in the
 * order of rows of lstm.h; the linear layers take some rows a task through all of them.
 */
#include "diarize/pyannet.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "diarize/cells.h"
#include "diarize/conv.h"
#include "diarize/lstm.h"
#include "num/half.h"

#define PIECE 96  /* outputs of a convolution at a time: a multiple of the pool's three */
#define ROWS  128 /* rows that go through the linear layers at a time */
#define WAVES 2   /* parts of samples in bfloat16 */

struct dz_pyannet {
    struct dz_pyannet_model model; /* sizes; its floats are gone */
    enum num_compute compute;
    struct num_arena arena;
    struct num_pool *pool;
    const struct num_kernels *kernels;
    const struct dz_cells *cells;
    struct dz_conv convs[DZ_PYANNET_CONVS];
    float *scales[DZ_PYANNET_CONVS], *shifts[DZ_PYANNET_CONVS];
    struct dz_lstm lstms[DZ_PYANNET_LSTMS];
    struct num_linear linears[DZ_PYANNET_LINEARS];
};

/* ---- weights ---- */

static int32_t keep(struct dz_pyannet *net, const float *values, size_t n, float **ret,
                    struct num_err *err) {
    int32_t status = num_arena_take(&net->arena, n * sizeof *values, "a norm", ret, err);
    if (status == SLUICE_OK)
        memcpy(*ret, values, n * sizeof *values);
    return status;
}

static float rounded(float x) {
    return num_bf16_to_f32(num_f32_to_bf16(x));
}

/* The filters as three lines, which meet the upper part of the samples, their lower part, and the
 * upper one again: weights rounded, the same, and what rounding left. */
static int32_t split_filters(struct dz_pyannet *net, const struct dz_pyannet_conv *c,
                             struct num_err *err) {
    size_t n = c->width;
    float *weight = malloc(c->n_out * 3 * n * sizeof *weight);
    if (!weight)
        return num_fail_memory(err, "the filters", c->n_out * 3 * n * sizeof *weight);
    for (size_t i = 0; i < c->n_out * n; i++) {
        float *to = weight + i / n * 3 * n + i % n;
        to[0] = to[n] = rounded(c->weight[i]);
        to[2 * n] = c->weight[i] - to[0];
    }
    int32_t status = dz_conv_init(&net->convs[0], NUM_COMPUTE_BF16, c->n_out, 1, 3, n, c->stride,
                                  weight, NULL, &net->arena, err);
    free(weight);
    return status;
}

/* Words of rows have to lie on words, which an odd number of bfloat16 from row to row would not. */
static enum num_compute conv_type(const struct dz_pyannet *net, const struct dz_pyannet_conv *c) {
    return c->stride * c->n_in % 2 == 0 ? net->compute : NUM_COMPUTE_F32;
}

static int32_t make_conv(struct dz_pyannet *net, size_t i, struct num_err *err) {
    const struct dz_pyannet_conv *c = &net->model.convs[i];
    enum num_compute type = conv_type(net, c);
    int32_t status = i == 0 && type == NUM_COMPUTE_BF16
                         ? split_filters(net, c, err)
                         : dz_conv_init(&net->convs[i], type, c->n_out, c->n_in, 1, c->width,
                                        c->stride, c->weight, c->bias, &net->arena, err);
    if (status == SLUICE_OK)
        status = keep(net, c->scale, c->n_out, &net->scales[i], err);
    return status == SLUICE_OK ? keep(net, c->shift, c->n_out, &net->shifts[i], err) : status;
}

static int32_t make_lstm(struct dz_pyannet *net, size_t i, struct num_err *err) {
    const struct dz_pyannet_lstm *from = &net->model.lstms[i];
    struct dz_lstm *l = &net->lstms[i];
    *l = (struct dz_lstm){.type = net->compute,
                          .n_in = from->n_in,
                          .n_hidden = from->n_hidden,
                          .n_directions = from->n_directions};
    int32_t status = SLUICE_OK;
    for (size_t d = 0; status == SLUICE_OK && d < l->n_directions; d++)
        status = dz_lstm_set(l, d, from->input[d], from->state[d], from->bias[d], &net->arena, err);
    return status;
}

static int32_t make_layers(struct dz_pyannet *net, struct num_err *err) {
    const struct dz_pyannet_model *m = &net->model;
    int32_t status = SLUICE_OK;
    for (size_t i = 0; status == SLUICE_OK && i < DZ_PYANNET_CONVS; i++)
        status = make_conv(net, i, err);
    for (size_t i = 0; status == SLUICE_OK && i < m->n_lstms; i++)
        status = make_lstm(net, i, err);
    for (size_t i = 0; status == SLUICE_OK && i < m->n_linears; i++) {
        const struct dz_pyannet_linear *l = &m->linears[i];
        enum num_compute type = i + 1 < m->n_linears ? net->compute : NUM_COMPUTE_F32;
        status = num_linear_init(&net->linears[i], type, l->n_out, l->n_in, l->weight, l->bias,
                                 &net->arena, err);
    }
    return status;
}

int32_t dz_pyannet_create(const struct dz_weights *weights, enum num_compute compute,
                          struct num_pool *pool, struct dz_pyannet **ret, struct num_err *err) {
    struct dz_pyannet *net = calloc(1, sizeof *net);
    if (!net)
        return num_fail_memory(err, "the segmentation model", sizeof *net);
    net->compute = compute;
    net->pool = pool;
    net->kernels = num_kernels();
    net->cells = dz_cells();
    int32_t status = dz_pyannet_model_load(weights, &net->model, err);
    if (status == SLUICE_OK)
        status = make_layers(net, err);
    dz_pyannet_model_finish(&net->model);
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
    *ret = net->model.shape;
}

uint8_t dz_pyannet_set(const struct dz_pyannet *net, size_t class) {
    return net->model.sets[class];
}

/* ---- a run ---- */

struct run {
    struct dz_pyannet *net;
    const float *const *windows;
    size_t n;
    struct num_arena arena; /* owns what follows */
    float *maps;            /* (threads, 2, map_size) */
    float *inputs;          /* (threads, WAVES, map_size): of convolutions, in their type */
    float *work;            /* (threads, work_size) */
    size_t map_size, work_size;
    char *x, *y; /* rows of layers */
    float *ret;
};

/* Values behind a map that products may read. */
static size_t behind(const struct dz_conv *c) {
    return (c->width + NUM_ROW_PAD * c->stride) * c->n_in + 64;
}

/* Floats of a map: the largest there is, and what products may read beyond it. */
static size_t map_size(const struct dz_pyannet *net) {
    size_t most = 0;
    for (size_t i = 0; i < DZ_PYANNET_CONVS; i++) {
        const struct dz_conv *c = &net->convs[i];
        size_t in = net->model.lengths[i] * c->n_in + behind(c);
        size_t out = net->model.lengths[i + 1] * c->n_out;
        most = in > most ? in : most;
        most = out > most ? out : most;
    }
    return (most + 15) / 16 * 16;
}

/* Values of the widest row of layers, in whole panels. */
static size_t widest(const struct dz_pyannet *net) {
    size_t most = net->convs[DZ_PYANNET_CONVS - 1].n_out;
    for (size_t i = 0; i < net->model.n_lstms; i++)
        most = dz_lstm_n_out(&net->lstms[i]) > most ? dz_lstm_n_out(&net->lstms[i]) : most;
    for (size_t i = 0; i < net->model.n_linears; i++)
        most = net->linears[i].n_out > most ? net->linears[i].n_out : most;
    return NUM_PANELS(most) * NUM_PANEL;
}

/* Floats that a thread works with: sums of a piece, an LSTM's, or rows between linear layers. */
static size_t work_size(const struct dz_pyannet *net) {
    size_t most = 2 * (ROWS + NUM_ROW_PAD) * widest(net);
    for (size_t i = 0; i < DZ_PYANNET_CONVS; i++) {
        size_t some = (PIECE + NUM_ROW_PAD) * net->convs[i].n_padded;
        most = some > most ? some : most;
    }
    for (size_t i = 0; i < net->model.n_lstms; i++) {
        size_t some = dz_lstm_work(&net->lstms[i]);
        most = some > most ? some : most;
    }
    return (most + 15) / 16 * 16;
}

static int32_t run_create(struct run *r, struct num_err *err) {
    const struct dz_pyannet *net = r->net;
    size_t threads = num_pool_threads(net->pool);
    size_t rows = net->model.shape.n_frames * r->n + NUM_ROW_PAD;
    size_t row_bytes = num_rows_bytes(net->compute, widest(net));
    r->map_size = map_size(net);
    r->work_size = work_size(net);
    const struct {
        size_t bytes;
        void *ret;
    } wanted[] = {
        {threads * 2 * r->map_size * sizeof(float), &r->maps},
        {threads * WAVES * r->map_size * sizeof(float), &r->inputs},
        {threads * r->work_size * sizeof(float), &r->work},
        {rows * row_bytes, &r->x},
        {rows * row_bytes, &r->y},
    };
    int32_t status = SLUICE_OK;
    for (size_t i = 0; status == SLUICE_OK && i < sizeof wanted / sizeof *wanted; i++)
        status = num_arena_take(&r->arena, wanted[i].bytes, "the segmentation", wanted[i].ret, err);
    return status;
}

/* ---- front end ---- */

/* Samples with mean 0 and variance 1, times scale, plus shift. */
static void normalise_wave(const struct dz_pyannet *net, const float *pcm, float *ret) {
    size_t n = net->model.shape.window;
    double sum = 0, square = 0;
    for (size_t i = 0; i < n; i++) {
        ret[i] = isfinite(pcm[i]) ? pcm[i] : 0;
        sum += ret[i];
    }
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        square += (ret[i] - mean) * (ret[i] - mean);
    double scale = net->model.wave_scale / sqrt(square / (double)n + DZ_PYANNET_EPSILON);
    for (size_t i = 0; i < n; i++)
        ret[i] = (float)((ret[i] - mean) * scale) + net->model.wave_shift;
}

/* Each channel of x (n_rows, n) to mean 0 and variance 1 over time, then scale, shift, leaky
 * ReLU. */
static void normalise(const struct dz_pyannet *net, size_t layer, float *x, size_t n_rows, size_t n,
                      float *work) {
    float *mean = work, *square = work + n;
    memset(work, 0, 2 * n * sizeof *work);
    net->cells->moments(x, n_rows, n, mean, square);
    for (size_t i = 0; i < n; i++) {
        double m = mean[i] / (double)n_rows, variance = square[i] / (double)n_rows - m * m;
        double scale = net->scales[layer][i] / sqrt(fmax(variance, 0) + DZ_PYANNET_EPSILON);
        square[i] = (float)scale;
        mean[i] = (float)(net->shifts[layer][i] - m * scale);
    }
    net->cells->leaky(x, n_rows, n, square, mean);
}

/* The map x of convolution i in its type: itself, or rounded, into `room`; of samples also what
 * rounding left, behind it. Sets what lies under each line of the kernel. */
static void set_lines(const struct run *r, size_t i, const float *x, float *room,
                      const void *ret[DZ_MAX_LINES]) {
    const struct num_kernels *k = r->net->kernels;
    const struct dz_conv *c = &r->net->convs[i];
    size_t n = r->net->model.lengths[i] * c->n_in;
    uint16_t *high = (uint16_t *)room, *low = (uint16_t *)(room + r->map_size);
    ret[0] = x;
    if (c->lines[0].type != NUM_COMPUTE_BF16)
        return;
    k->to_bf16(x, n, high);
    memset(high + n, 0, behind(c) * sizeof *high); /* an earlier map may lie there */
    ret[0] = high;
    if (c->n_lines == 1)
        return;
    r->net->cells->rest(x, high, n, low);
    ret[1] = low;
    ret[2] = high;
}

/* Convolution i of x into ret, pooled and normalised. */
static void convolve(const struct run *r, size_t i, const float *x, float *room, float *sums,
                     float *ret) {
    const struct dz_pyannet *net = r->net;
    const struct dz_conv *c = &net->convs[i];
    size_t n = net->model.lengths[i + 1];
    size_t row_bytes = c->stride * c->n_in * (c->lines[0].type == NUM_COMPUTE_BF16 ? 2 : 4);
    const void *start[DZ_MAX_LINES] = {NULL}, *lines[DZ_MAX_LINES];
    set_lines(r, i, x, room, start);
    net->kernels->enter();
    for (size_t at = 0; at < n; at += PIECE / 3) {
        size_t pooled = n - at < PIECE / 3 ? n - at : PIECE / 3;
        for (size_t line = 0; line < c->n_lines; line++)
            lines[line] = (const char *)start[line] + 3 * at * row_bytes;
        dz_conv_run(c, net->kernels, lines, 3 * pooled, sums);
        net->cells->pool3(sums, c->n_padded, 3 * pooled, c->n_out, i == 0, ret + at * c->n_out);
    }
    net->kernels->leave();
    for (size_t row = 0; i > 0 && row < n; row++)
        net->kernels->add(ret + row * c->n_out, c->bias, c->n_out);
    normalise(net, i, ret, n, c->n_out, sums);
}

static void run_front(void *ctx, uint32_t index, uint32_t thread) {
    const struct run *r = ctx;
    const struct dz_pyannet *net = r->net;
    float *maps[2] = {r->maps + 2 * thread * r->map_size, r->maps + (2 * thread + 1) * r->map_size};
    float *room = r->inputs + WAVES * thread * r->map_size;
    size_t n_frames = net->model.shape.n_frames, n = net->convs[DZ_PYANNET_CONVS - 1].n_out;
    size_t row_bytes = num_rows_bytes(net->compute, n);
    normalise_wave(net, r->windows[index], maps[0]);
    for (size_t i = 0; i < DZ_PYANNET_CONVS; i++)
        convolve(r, i, maps[i % 2], room, r->work + thread * r->work_size, maps[(i + 1) % 2]);
    for (size_t t = 0; t < n_frames; t++)
        num_row_convert(net->kernels, net->compute, maps[DZ_PYANNET_CONVS % 2] + t * n, n,
                        r->x + dz_lstm_row(n_frames, r->n, t, index) * row_bytes, NULL);
}

/* ---- layers ---- */

/* Row `row` of the layers' to its place in (n, n_frames, classes). */
static void put_scores(const struct run *r, size_t row, const float *scores) {
    const struct dz_pyannet_shape *s = &r->net->model.shape;
    size_t first = row / (s->n_frames * DZ_LSTM_GROUP) * DZ_LSTM_GROUP;
    size_t n = r->n - first < DZ_LSTM_GROUP ? r->n - first : DZ_LSTM_GROUP;
    size_t at = row - first * s->n_frames, frame = at / n, window = first + at % n;
    memcpy(r->ret + (window * s->n_frames + frame) * s->n_classes, scores,
           s->n_classes * sizeof *scores);
}

static void leaky(float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] > 0 ? x[i] : DZ_PYANNET_NEGATIVE * x[i];
}

/* ROWS rows through all linear layers. What an input's last panel has beyond its values is zero, as
 * are the weights that it meets. */
static void run_linears(void *ctx, uint32_t index, uint32_t thread) {
    const struct run *r = ctx;
    struct dz_pyannet *net = r->net;
    size_t first = (size_t)index * ROWS, total = net->model.shape.n_frames * r->n;
    size_t n = total - first < ROWS ? total - first : ROWS, width = widest(net);
    float *y = r->work + thread * r->work_size;
    char *next = (char *)(y + (ROWS + NUM_ROW_PAD) * width);
    struct num_rows rows = {.ldx = num_rows_bytes(net->compute, net->linears[0].k)};
    rows.x = r->x + first * rows.ldx;
    for (size_t i = 0; i < net->model.n_linears; i++) {
        const struct num_linear *l = &net->linears[i];
        if (i > 0) {
            rows = (struct num_rows){.x = next, .ldx = num_rows_bytes(l->type, l->k)};
            for (size_t row = 0; row < n; row++) {
                leaky(y + row * width, l->k);
                num_row_convert(net->kernels, l->type, y + row * width, l->k, next + row * rows.ldx,
                                NULL);
            }
        }
        struct num_finish finish = {.form = NUM_FORM_F32, .y = y, .ldy = width};
        num_linear_rows(l, net->kernels, 0, NUM_PANELS(l->n_out), &rows, 0, n, &finish);
    }
    for (size_t row = 0; row < n; row++)
        put_scores(r, first + row, y + row * width);
}

static void run_layers(struct run *r) {
    struct dz_pyannet *net = r->net;
    size_t n_frames = net->model.shape.n_frames;
    for (size_t i = 0; i < net->model.n_lstms; i++) {
        dz_lstm_run(&net->lstms[i], net->kernels, net->cells, net->pool, r->x, n_frames, r->n,
                    r->work, r->y);
        char *swap = r->x;
        r->x = r->y;
        r->y = swap;
    }
    num_pool_run(net->pool, (uint32_t)((n_frames * r->n + ROWS - 1) / ROWS), run_linears, r);
}

int32_t dz_pyannet_run(struct dz_pyannet *net, const float *const *windows, size_t n, float *ret,
                       struct num_err *err) {
    struct run run = {.net = net, .windows = windows, .n = n, .ret = ret};
    int32_t status = run_create(&run, err);
    if (status == SLUICE_OK) {
        num_pool_run(net->pool, (uint32_t)n, run_front, &run);
        run_layers(&run);
    }
    num_arena_finish(&run.arena);
    return status;
}
