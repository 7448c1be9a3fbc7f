/*
 * Maps are (bands, frames + 2, channels): a column of zeros at either side is what the kernels see
 * beyond the edges in time; beyond the bands there is no line to multiply with. A task is one band
 * of a layer's output.
 */
#include "diarize/resnet.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "diarize/cells.h"
#include "diarize/conv.h"
#include "diarize/fbank.h"
#include "diarize/resnet_model.h"

#define N_MAPS 3

struct block {
    struct dz_conv first, second, shortcut;
    bool has_shortcut;
};

struct map {
    void *data;
    size_t n_bands, n_frames, n_channels;
};

struct dz_resnet {
    struct num_arena arena;
    struct num_pool *pool;
    const struct num_kernels *kernels;
    const struct dz_cells *cells;
    enum num_compute compute;
    size_t element; /* bytes of a value in maps */
    struct dz_fbank *fbank;
    size_t n_bands;
    struct dz_conv stem;
    struct block blocks[DZ_RESNET_BLOCKS];
    size_t n_blocks;
    float *weight, *bias;  /* of the embedding: (size, 2 * channels * bands), (size) */
    size_t size, n_pooled; /* n_pooled: channels * bands */

    /* Buffers for windows of n_samples. */
    size_t n_samples;
    void *maps[N_MAPS];
    float *features, *sums, *work; /* work: of the filter banks; sums: (threads, sums_size) */
    size_t sums_size;
    float *last; /* (bands, frames, channels) */
    struct map out;
};

/* ---- loading ---- */

static int32_t keep(struct dz_resnet *net, const float *values, size_t n, float **ret,
                    struct num_err *err) {
    int32_t status = num_arena_take(&net->arena, n * sizeof *values, "the embedding", ret, err);
    if (status == SLUICE_OK)
        memcpy(*ret, values, n * sizeof *values);
    return status;
}

static int32_t make_conv(struct dz_resnet *net, const struct dz_resnet_conv *c,
                         enum num_compute compute, struct dz_conv *ret, struct num_err *err) {
    return dz_conv_init(ret, compute, c->n_out, c->n_in, c->width, c->width, c->stride, c->weight,
                        c->bias, &net->arena, err);
}

static int32_t make_block(struct dz_resnet *net, const struct dz_resnet_block *from,
                          struct block *to, struct num_err *err) {
    int32_t status = make_conv(net, &from->first, net->compute, &to->first, err);
    if (status == SLUICE_OK)
        status = make_conv(net, &from->second, net->compute, &to->second, err);
    to->has_shortcut = from->shortcut.width > 0;
    if (status == SLUICE_OK && to->has_shortcut)
        status = make_conv(net, &from->shortcut, net->compute, &to->shortcut, err);
    return status;
}

static int32_t make_layers(struct dz_resnet *net, const struct dz_resnet_model *m,
                           struct num_err *err) {
    net->n_bands = m->n_bands;
    net->n_blocks = m->n_blocks;
    net->size = m->size;
    net->n_pooled = m->n_pooled;
    int32_t status = dz_fbank_create(m->n_bands, &net->fbank, err);
    if (status == SLUICE_OK)
        status = make_conv(net, &m->stem, NUM_COMPUTE_F32, &net->stem, err);
    for (size_t i = 0; status == SLUICE_OK && i < m->n_blocks; i++)
        status = make_block(net, &m->blocks[i], &net->blocks[i], err);
    if (status == SLUICE_OK)
        status = keep(net, m->weight, m->size * 2 * m->n_pooled, &net->weight, err);
    return status == SLUICE_OK ? keep(net, m->bias, m->size, &net->bias, err) : status;
}

static int32_t load(struct dz_resnet *net, const struct dz_weights *w, struct num_err *err) {
    struct dz_resnet_model *m = calloc(1, sizeof *m);
    if (!m)
        return num_fail_memory(err, "the embedding model", sizeof *m);
    int32_t status = dz_resnet_model_load(w, m, err);
    if (status == SLUICE_OK)
        status = make_layers(net, m, err);
    dz_resnet_model_finish(m);
    free(m);
    return status;
}

static void drop_buffers(struct dz_resnet *net) {
    for (size_t i = 0; i < N_MAPS; i++) {
        free(net->maps[i]);
        net->maps[i] = NULL;
    }
    free(net->features);
    free(net->sums);
    free(net->work);
    free(net->last);
    net->features = net->sums = net->work = net->last = NULL;
    net->n_samples = 0;
}

int32_t dz_resnet_create(const struct dz_weights *weights, enum num_compute compute,
                         struct num_pool *pool, struct dz_resnet **ret, struct num_err *err) {
    struct dz_resnet *net = calloc(1, sizeof *net);
    if (!net)
        return num_fail_memory(err, "the embedding model", sizeof *net);
    net->pool = pool;
    net->kernels = num_kernels();
    net->cells = dz_cells();
    net->compute = compute;
    net->element = compute == NUM_COMPUTE_F32 ? 4 : 2;
    int32_t status = load(net, weights, err);
    if (status != SLUICE_OK) {
        dz_resnet_destroy(net);
        return status;
    }
    *ret = net;
    return SLUICE_OK;
}

void dz_resnet_destroy(struct dz_resnet *net) {
    if (!net)
        return;
    drop_buffers(net);
    dz_fbank_destroy(net->fbank);
    num_arena_finish(&net->arena);
    free(net);
}

size_t dz_resnet_size(const struct dz_resnet *net) {
    return net->size;
}

/* ---- maps ---- */

static size_t line_values(const struct map *m) {
    return (m->n_frames + 2) * m->n_channels;
}

/* The line of a band, its first column of zeros. */
static void *line_of(const struct dz_resnet *net, const struct map *m, size_t band) {
    return (char *)m->data + band * line_values(m) * net->element;
}

static struct map map_after(const struct map *m, const struct dz_conv *c, void *data) {
    return (struct map){data, (m->n_bands + c->stride - 1) / c->stride,
                        (m->n_frames + c->stride - 1) / c->stride, c->n_out};
}

static void clear_edges(const struct dz_resnet *net, const struct map *m, char *line) {
    size_t column = m->n_channels * net->element;
    memset(line, 0, column);
    memset(line + (m->n_frames + 1) * column, 0, column);
}

/* ---- layers ---- */

struct layer {
    struct dz_resnet *net;
    const struct dz_conv *conv;
    const struct map *in, *out;
    const struct map *more; /* is added, in the shape of `out`; or NULL */
    bool relu;
};

/* What lies under the kernel's lines for band `band` of the output; `stride` and kernels of 3 or
 * 1. */
static void lines_under(const struct layer *l, size_t band, const void *ret[DZ_MAX_LINES]) {
    const struct dz_conv *c = l->conv;
    size_t edge = c->width / 2;
    for (size_t i = 0; i < c->n_lines; i++) {
        size_t at = band * c->stride + i;
        bool outside = at < edge || at - edge >= l->in->n_bands;
        const char *line = outside ? NULL : line_of(l->net, l->in, at - edge);
        ret[i] = line ? line + (1 - edge) * l->in->n_channels * l->net->element : NULL;
    }
}

static void run_band(void *ctx, uint32_t index, uint32_t thread) {
    const struct layer *l = ctx;
    const struct dz_resnet *net = l->net;
    const struct dz_conv *c = l->conv;
    const void *lines[DZ_MAX_LINES];
    float *sums = net->sums + thread * net->sums_size;
    bool bf16 = net->compute == NUM_COMPUTE_BF16;
    size_t column = c->n_out * net->element;
    char *to = line_of(net, l->out, index);
    const char *more = l->more ? line_of(net, l->more, index) : NULL;
    lines_under(l, index, lines);
    net->kernels->enter();
    dz_conv_run(c, net->kernels, lines, l->out->n_frames, sums);
    net->kernels->leave();
    clear_edges(net, l->out, to);
    for (size_t t = 0; t < l->out->n_frames; t++) {
        const float *row = sums + t * c->n_padded;
        if (l->relu)
            net->cells->relu(row, c->bias, more ? more + (t + 1) * column : NULL, bf16, c->n_out,
                             to + (t + 1) * column);
        else
            net->cells->plain(row, c->bias, bf16, c->n_out, to + (t + 1) * column);
    }
}

static void run_layer(struct dz_resnet *net, const struct dz_conv *conv, const struct map *in,
                      const struct map *out, const struct map *more, bool relu) {
    struct layer layer = {net, conv, in, out, more, relu};
    num_pool_run(net->pool, (uint32_t)out->n_bands, run_band, &layer);
}

/* y = relu(second(relu(first(x))) + shortcut(x)); *x becomes y. Maps move round the three
 * buffers. */
static void run_block(struct dz_resnet *net, const struct block *b, struct map *x) {
    size_t at = 0;
    while (net->maps[at] != x->data)
        at++;
    struct map middle = map_after(x, &b->first, net->maps[(at + 1) % N_MAPS]);
    struct map more = *x;
    run_layer(net, &b->first, x, &middle, NULL, true);
    if (b->has_shortcut) {
        more = map_after(x, &b->shortcut, net->maps[(at + 2) % N_MAPS]);
        run_layer(net, &b->shortcut, x, &more, NULL, false);
        *x = map_after(&middle, &b->second, x->data);
    } else {
        *x = map_after(&middle, &b->second, net->maps[(at + 2) % N_MAPS]);
    }
    run_layer(net, &b->second, &middle, x, &more, true);
}

/* ---- the stem ---- */

/* Filter banks without their means over time, as lines (bands, frames + 2). */
static void make_features(struct dz_resnet *net, const float *pcm, size_t n, float *ret) {
    size_t n_frames = dz_fbank_frames(n), n_bands = net->n_bands;
    float *frames = net->sums; /* as large as a map's sums: see make_buffers() */
    dz_fbank_run(net->fbank, pcm, n, net->work, frames);
    for (size_t b = 0; b < n_bands; b++) {
        float *line = ret + b * (n_frames + 2);
        double sum = 0;
        for (size_t t = 0; t < n_frames; t++)
            sum += frames[t * n_bands + b];
        float mean = (float)(sum / (double)n_frames);
        for (size_t t = 0; t < n_frames; t++)
            line[t + 1] = frames[t * n_bands + b] - mean;
        line[0] = line[n_frames + 1] = 0;
    }
}

struct stem {
    struct dz_resnet *net;
    const float *features;
    const struct map *out;
};

/* A band of the stem, whose input is always float. */
static void run_stem(void *ctx, uint32_t index, uint32_t thread) {
    const struct stem *s = ctx;
    const struct dz_resnet *net = s->net;
    const struct dz_conv *c = &net->stem;
    const void *lines[DZ_MAX_LINES];
    size_t n = s->out->n_frames, column = c->n_out * net->element;
    float *sums = net->sums + thread * net->sums_size;
    char *to = line_of(net, s->out, index);
    for (size_t i = 0; i < DZ_MAX_LINES; i++) {
        size_t at = index + i;
        lines[i] = at < 1 || at > net->n_bands ? NULL : s->features + (at - 1) * (n + 2);
    }
    net->kernels->enter();
    dz_conv_run(c, net->kernels, lines, n, sums);
    net->kernels->leave();
    clear_edges(net, s->out, to);
    for (size_t t = 0; t < n; t++)
        net->cells->relu(sums + t * c->n_padded, c->bias, NULL, net->compute == NUM_COMPUTE_BF16,
                         c->n_out, to + (t + 1) * column);
}

/* ---- buffers ---- */

/* Values of the largest map, and what products may read beyond it. */
static size_t map_values(const struct dz_resnet *net, size_t n_frames) {
    struct map m = {NULL, net->n_bands, n_frames, net->stem.n_out};
    size_t most = m.n_bands * line_values(&m), widest = m.n_channels;
    for (size_t i = 0; i < net->n_blocks; i++) {
        m = map_after(&m, &net->blocks[i].first, NULL);
        size_t some = m.n_bands * line_values(&m);
        most = some > most ? some : most;
        widest = m.n_channels > widest ? m.n_channels : widest;
    }
    return most + (2 * NUM_ROW_PAD + 4) * widest + 64;
}

static size_t sums_values(const struct dz_resnet *net, size_t n_frames) {
    size_t most = net->stem.n_padded, frames = n_frames;
    size_t values = (frames + NUM_ROW_PAD) * most;
    for (size_t i = 0; i < net->n_blocks; i++) {
        frames = (frames + net->blocks[i].first.stride - 1) / net->blocks[i].first.stride;
        size_t some = (frames + NUM_ROW_PAD) * net->blocks[i].first.n_padded;
        values = some > values ? some : values;
    }
    size_t features = n_frames * net->n_bands;
    return values > features ? values : features;
}

static int32_t make_buffers(struct dz_resnet *net, size_t n, struct num_err *err) {
    if (net->n_samples == n)
        return SLUICE_OK;
    drop_buffers(net);
    size_t n_frames = dz_fbank_frames(n), values = map_values(net, n_frames);
    size_t n_last = net->n_pooled * dz_resnet_halved(n_frames, DZ_RESNET_LAYERS - 1);
    net->sums_size = sums_values(net, n_frames);
    bool there = true;
    for (size_t i = 0; i < N_MAPS; i++)
        there = (net->maps[i] = calloc(values, net->element)) && there;
    net->features = calloc(net->n_bands * (n_frames + 2) + NUM_ROW_PAD + 4, sizeof(float));
    net->sums = calloc(num_pool_threads(net->pool) * net->sums_size, sizeof(float));
    net->work = calloc(dz_fbank_work(net->fbank), sizeof(float));
    net->last = calloc(n_last, sizeof(float));
    if (!there || !net->features || !net->sums || !net->work || !net->last) {
        drop_buffers(net);
        return num_fail_memory(err, "the embedding", N_MAPS * values * net->element);
    }
    net->n_samples = n;
    return SLUICE_OK;
}

/* ---- the whole ---- */

static float value_of(const struct dz_resnet *net, const void *values, size_t i) {
    if (net->compute == NUM_COMPUTE_F32)
        return ((const float *)values)[i];
    uint32_t bits = (uint32_t)((const uint16_t *)values)[i] << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The deepest map without its edges, as floats. */
static void keep_last(struct dz_resnet *net, const struct map *m) {
    size_t n = m->n_frames * m->n_channels;
    for (size_t b = 0; b < m->n_bands; b++) {
        const char *line = (const char *)line_of(net, m, b) + m->n_channels * net->element;
        for (size_t i = 0; i < n; i++)
            net->last[b * n + i] = value_of(net, line, i);
    }
    net->out = *m;
}

int32_t dz_resnet_run(struct dz_resnet *net, const float *pcm, size_t n, struct num_err *err) {
    if (dz_fbank_frames(n) == 0)
        return num_fail(err, SLUICE_INPUT, "%zu samples are too few for an embedding", n);
    int32_t status = make_buffers(net, n, err);
    if (status != SLUICE_OK)
        return status;
    struct map x = {net->maps[0], net->n_bands, dz_fbank_frames(n), net->stem.n_out};
    struct stem stem = {net, net->features, &x};
    make_features(net, pcm, n, net->features);
    num_pool_run(net->pool, (uint32_t)net->n_bands, run_stem, &stem);
    for (size_t i = 0; i < net->n_blocks; i++)
        run_block(net, &net->blocks[i], &x);
    keep_last(net, &x);
    return SLUICE_OK;
}

const float *dz_resnet_maps(const struct dz_resnet *net, size_t *ret_bands, size_t *ret_frames,
                            size_t *ret_channels) {
    *ret_bands = net->out.n_bands;
    *ret_frames = net->out.n_frames;
    *ret_channels = net->out.n_channels;
    return net->last;
}

/* ---- pooling ---- */

/*
 * Weighted mean and standard deviation over time of each channel of each band, which torch's order
 * puts at [channel * bands + band] of `pooled`, deviations behind the means. 1e-8 as in the source.
 */
static void pool_band(const struct dz_resnet *net, size_t band, const float *weights, double sum,
                      double squares, float *pooled) {
    size_t n = net->out.n_frames, c = net->out.n_channels;
    const float *x = net->last + band * n * c;
    for (size_t i = 0; i < c; i++) {
        double mean = 0, variance = 0;
        for (size_t t = 0; t < n; t++)
            mean += (double)weights[t] * x[t * c + i];
        mean /= sum;
        for (size_t t = 0; t < n; t++)
            variance += weights[t] * (x[t * c + i] - mean) * (x[t * c + i] - mean);
        variance /= sum - squares / sum + 1e-8;
        pooled[i * net->out.n_bands + band] = (float)mean;
        pooled[net->n_pooled + i * net->out.n_bands + band] = (float)sqrt(fmax(variance, 0));
    }
}

static float dot(const float *restrict a, const float *restrict b, size_t n) {
    float sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

struct pooling {
    const struct dz_resnet *net;
    float *weights, *pooled; /* (frames), (2 n_pooled) */
    double sum, squares;
};

static void pool_task(void *ctx, uint32_t band, uint32_t thread) {
    const struct pooling *p = ctx;
    (void)thread;
    pool_band(p->net, band, p->weights, p->sum, p->squares, p->pooled);
}

int32_t dz_resnet_pool(const struct dz_resnet *net, const float *mask, size_t n_mask, float *ret,
                       struct num_err *err) {
    size_t n = net->out.n_frames;
    float *weights = malloc((n + 2 * net->n_pooled) * sizeof *weights);
    if (!weights)
        return num_fail_memory(err, "the embedding", (n + 2 * net->n_pooled) * sizeof *weights);
    struct pooling p = {net, weights, weights + n, 1e-8, 0};
    for (size_t t = 0; t < n; t++) {
        weights[t] = dz_resnet_mask_at(mask, n_mask, t, n);
        p.sum += weights[t];
        p.squares += (double)weights[t] * weights[t];
    }
    num_pool_run(net->pool, (uint32_t)net->out.n_bands, pool_task, &p);
    for (size_t i = 0; i < net->size; i++)
        ret[i] =
            net->bias[i] + dot(net->weight + i * 2 * net->n_pooled, p.pooled, 2 * net->n_pooled);
    free(weights);
    return SLUICE_OK;
}
