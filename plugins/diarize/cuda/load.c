/*
 * Places and weights of both networks on a card: see networks.h. Weights come as floats from the
 * models, are brought into the order and type of the kernels, and copied.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "diarize/cuda/networks.h"

#define LARGEST_SHARED ((size_t)48 << 10) /* what a block of the front's convolutions may take */

/* ---- Places ---------------------------------------------------------------------------------- */

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

/* Behind each part is a gap, so that the emulated card sees who goes beyond its end. */
void *dz_cuda_take(struct dz_cuda_room *room, size_t bytes) {
    uintptr_t at = (uintptr_t)room->base + room->used;
    size_t whole = (bytes + DZ_CUDA_ALIGN - 1) / DZ_CUDA_ALIGN * DZ_CUDA_ALIGN;
    if (room->base)
        num_cuda_mark_gap((void *)(at + whole), DZ_CUDA_ALIGN);
    room->used += whole + DZ_CUDA_ALIGN;
    return (void *)at;
}

static float *take_floats(struct dz_cuda_room *room, size_t n) {
    return dz_cuda_take(room, n * sizeof(float));
}

static void place_segmentation(struct dz_cuda *m, struct dz_cuda_room *room) {
    const struct dz_pyannet_model *s = &m->seg;
    struct dz_cuda_segmentation *to = &m->s;
    size_t value = num_cuda_type_bytes(m->type), rows = DZ_BATCH * s->shape.n_frames, map = 0,
           widest = dz_cuda_padded(s->convs[DZ_PYANNET_CONVS - 1].n_out), sums = 0;
    for (size_t i = 0; i < DZ_PYANNET_CONVS; i++) {
        const struct dz_pyannet_conv *c = &s->convs[i];
        to->conv[i] = take_floats(room, c->width * c->n_in * c->n_out);
        to->conv_bias[i] = take_floats(room, c->n_out);
        to->scale[i] = take_floats(room, c->n_out);
        to->shift[i] = take_floats(room, c->n_out);
        map = larger(map, s->lengths[i + 1] * c->n_out);
    }
    for (size_t i = 0; i < s->n_lstms; i++) {
        const struct dz_pyannet_lstm *l = &s->lstms[i];
        size_t gates = l->n_directions * 4 * l->n_hidden;
        to->lstms[i].input = dz_cuda_take(room, gates * dz_cuda_padded(l->n_in) * value);
        to->lstms[i].bias = take_floats(room, gates);
        to->lstms[i].states = dz_cuda_take(room, gates * l->n_hidden * value);
        widest = larger(widest, l->n_directions * l->n_hidden);
        sums = larger(sums, gates);
    }
    for (size_t i = 0; i < s->n_linears; i++) {
        const struct dz_pyannet_linear *l = &s->linears[i];
        to->linears[i] = take_floats(room, l->n_out * dz_cuda_padded(l->n_in));
        to->linear_bias[i] = take_floats(room, l->n_out);
        widest = larger(widest, 2 * dz_cuda_padded(l->n_out)); /* the last one reads floats */
        sums = larger(sums, dz_cuda_padded(l->n_out));
    }
    to->wave = take_floats(room, DZ_BATCH * s->shape.window);
    for (size_t i = 0; i < 2; i++)
        to->maps[i] = take_floats(room, DZ_BATCH * map);
    to->x = dz_cuda_take(room, rows * widest * value);
    to->y = dz_cuda_take(room, rows * widest * value);
    to->gates = take_floats(room, rows * sums);
}

static struct dz_cuda_conv_weights place_conv(struct dz_cuda_room *room,
                                              const struct dz_resnet_conv *c) {
    struct dz_cuda_conv_weights to = {0};
    if (c->width == 0)
        return to;
    to.w = take_floats(room, c->n_out * c->n_in * c->width * c->width);
    to.bias = take_floats(room, c->n_out);
    return to;
}

static void place_embedding(struct dz_cuda *m, struct dz_cuda_room *room) {
    const struct dz_resnet_model *from = &m->emb;
    struct dz_cuda_embedding *to = &m->e;
    size_t frames = dz_cuda_frames(m), voices = (size_t)DZ_CUDA_MAPS * DZ_MAX_LOCAL;
    size_t bands = from->n_bands, map = bands * frames * from->stem.n_out, left = frames;
    to->bands = dz_cuda_take(room, sizeof *to->bands);
    to->stem = place_conv(room, &from->stem);
    for (size_t i = 0; i < from->n_blocks; i++) {
        const struct dz_resnet_block *b = &from->blocks[i];
        to->first[i] = place_conv(room, &b->first);
        to->second[i] = place_conv(room, &b->second);
        to->shortcut[i] = place_conv(room, &b->shortcut);
        bands = (bands + b->first.stride - 1) / b->first.stride;
        left = (left + b->first.stride - 1) / b->first.stride;
        map = larger(map, bands * left * larger(b->first.n_out, b->second.n_out));
    }
    to->weight = take_floats(room, from->size * 2 * from->n_pooled);
    to->bias = take_floats(room, from->size);
    to->features = take_floats(room, DZ_CUDA_MAPS * from->n_bands * frames);
    for (size_t i = 0; i < 3; i++)
        to->maps[i] = dz_cuda_take(room, DZ_CUDA_MAPS * map * num_cuda_type_bytes(m->type));
    to->which = dz_cuda_take(room, voices * sizeof *to->which);
    to->masks = take_floats(room, voices * left);
    to->pooled = take_floats(room, voices * 2 * from->n_pooled);
    to->rows = take_floats(room, voices * dz_cuda_padded(from->size));
}

size_t dz_cuda_place(struct dz_cuda *m) {
    struct dz_cuda_room room = {m->block, 0};
    place_segmentation(m, &room);
    place_embedding(m, &room);
    m->workspace = dz_cuda_take(&room, DZ_CUDA_GEMM_BYTES);
    return room.used;
}

int32_t dz_cuda_check(const struct dz_cuda *m, struct num_err *err) {
    size_t states = 0;
    for (size_t i = 0; i < DZ_PYANNET_CONVS; i++) {
        const struct dz_pyannet_conv *c = &m->seg.convs[i];
        if (dz_cuda_pooled_shared(c->n_in, c->width, c->stride) > LARGEST_SHARED)
            return num_fail(
                err, SLUICE_UNSUPPORTED,
                "segmentation: sincnet.%zu has filters of %zu samples of %zu channels, which a "
                "card does not take; use device: cpu",
                i, c->width, c->n_in);
    }
    for (size_t i = 0; i < m->seg.n_lstms; i++)
        states = larger(states, m->seg.lstms[i].n_hidden);
    if (states > 512)
        return num_fail(
            err, SLUICE_UNSUPPORTED,
            "segmentation: a card takes LSTM layers of at most 512 states, not of %zu; use "
            "device: cpu",
            states);
    if (dz_cuda_frames(m) == 0)
        return num_fail(err, SLUICE_UNSUPPORTED, "segmentation: its windows are too short");
    return SLUICE_OK;
}

/* ---- Weights --------------------------------------------------------------------------------- */

struct loader {
    struct dz_cuda *m;
    struct num_err *err;
    int32_t status; /* after a failure nothing more is done */
};

/* n floats to the card as `type`. */
static void send(struct loader *l, const float *from, size_t n, enum num_cuda_type type, void *to) {
    uint16_t *halves = NULL;
    const void *data = from;
    if (l->status != SLUICE_OK)
        return;
    if (type != NUM_CUDA_F32) {
        data = halves = malloc(n * sizeof *halves);
        if (!halves) {
            l->status = num_fail_memory(l->err, "the models", n * sizeof *halves);
            return;
        }
        num_kernels()->to_bf16(from, n, halves);
    }
    cudaError_t error = cudaMemcpyAsync(to, data, n * num_cuda_type_bytes(type),
                                        cudaMemcpyHostToDevice, l->m->stream);
    if (!error)
        error = cudaStreamSynchronize(l->m->stream);
    l->status = num_cuda_fail(l->err, "copying the models", error);
    free(halves);
}

static float *make(struct loader *l, size_t n) {
    float *values = l->status == SLUICE_OK ? calloc(n, sizeof *values) : NULL;
    if (l->status == SLUICE_OK && !values)
        l->status = num_fail_memory(l->err, "the models", n * sizeof *values);
    return values;
}

/* A convolution over time: inputs outermost. */
static void load_pooled(struct loader *l, size_t i) {
    const struct dz_pyannet_conv *c = &l->m->seg.convs[i];
    const struct dz_cuda_segmentation *to = &l->m->s;
    float *w = make(l, c->width * c->n_in * c->n_out);
    for (size_t o = 0; w && o < c->n_out; o++)
        for (size_t in = 0; in < c->n_in; in++)
            for (size_t k = 0; k < c->width; k++)
                w[(k * c->n_in + in) * c->n_out + o] = c->weight[(o * c->n_in + in) * c->width + k];
    send(l, w, c->width * c->n_in * c->n_out, NUM_CUDA_F32, to->conv[i]);
    if (c->bias)
        send(l, c->bias, c->n_out, NUM_CUDA_F32, to->conv_bias[i]);
    send(l, c->scale, c->n_out, NUM_CUDA_F32, to->scale[i]);
    send(l, c->shift, c->n_out, NUM_CUDA_F32, to->shift[i]);
    free(w);
}

static void load_lstm(struct loader *l, size_t i) {
    const struct dz_pyannet_lstm *from = &l->m->seg.lstms[i];
    const struct dz_cuda_lstm_layer *to = &l->m->s.lstms[i];
    size_t n = 4 * from->n_hidden, h = from->n_hidden, ld = dz_cuda_padded(from->n_in);
    size_t value = num_cuda_type_bytes(l->m->type);
    float *input = make(l, n * ld), *states = make(l, n * h);
    for (size_t d = 0; input && states && d < from->n_directions; d++) {
        for (size_t j = 0; j < n; j++) {
            memcpy(input + j * ld, from->input[d] + j * from->n_in, from->n_in * sizeof *input);
            for (size_t k = 0; k < h; k++)
                states[k * n + j] = from->state[d][j * h + k];
        }
        send(l, input, n * ld, l->m->type, (char *)to->input + d * n * ld * value);
        send(l, states, n * h, l->m->type, (char *)to->states + d * n * h * value);
        send(l, from->bias[d], n, NUM_CUDA_F32, to->bias + d * n);
    }
    free(input);
    free(states);
}

static void load_linear(struct loader *l, size_t i) {
    const struct dz_pyannet_linear *from = &l->m->seg.linears[i];
    size_t ld = dz_cuda_padded(from->n_in);
    float *w = make(l, from->n_out * ld);
    for (size_t o = 0; w && o < from->n_out; o++)
        memcpy(w + o * ld, from->weight + o * from->n_in, from->n_in * sizeof *w);
    send(l, w, from->n_out * ld, dz_cuda_linear_type(l->m, i), l->m->s.linears[i]);
    send(l, from->bias, from->n_out, NUM_CUDA_F32, l->m->s.linear_bias[i]);
    free(w);
}

static void load_conv(struct loader *l, const struct dz_resnet_conv *c, bool stem,
                      const struct dz_cuda_conv_weights *to) {
    size_t n = c->n_out * c->n_in * c->width * c->width, taps = c->width * c->width;
    bool tiled = !stem && dz_cuda_conv_tiled(l->m->type, c->n_in, c->n_out);
    float *w = c->width ? make(l, n) : NULL;
    if (!w)
        return;
    for (size_t o = 0; o < c->n_out; o++)
        for (size_t in = 0; in < c->n_in; in++)
            for (size_t k = 0; k < taps; k++)
                w[tiled ? (o * taps + k) * c->n_in + in : (k * c->n_in + in) * c->n_out + o] =
                    c->weight[(o * c->n_in + in) * taps + k];
    send(l, w, n, tiled ? l->m->type : NUM_CUDA_F32, to->w);
    send(l, c->bias, c->n_out, NUM_CUDA_F32, to->bias);
    free(w);
}

/* ---- Filter banks ---------------------------------------------------------------------------- */

static double mel_of(double hz) {
    return 1127.0 * log(1.0 + hz / 700.0);
}

/* As fbank.c makes them: 20 Hz to 8 kHz, triangles on Kaldi's mel scale. */
static void load_bands(struct loader *l) {
    size_t n = l->m->emb.n_bands;
    double low = mel_of(20), step = (mel_of(8000) - low) / (double)(n + 1);
    struct dz_cuda_bands *b = l->status == SLUICE_OK ? calloc(1, sizeof *b) : NULL;
    if (l->status == SLUICE_OK && !b)
        l->status = num_fail_memory(l->err, "the filter banks", sizeof *b);
    if (!b)
        return;
    for (size_t i = 0; i < 512; i++)
        b->wave[i] = (float)cos(2 * M_PI * (double)i / 512);
    for (size_t i = 0; i < 400; i++)
        b->window[i] = (float)(0.54 - 0.46 * cos(2 * M_PI * (double)i / 399));
    for (size_t band = 0; band < n; band++)
        for (size_t i = 0; i < 256; i++) {
            double at = (mel_of((double)i * 16000 / 512) - low - (double)band * step) / step;
            double weight = at < 1 ? at : 2 - at;
            if (weight <= 0)
                continue;
            if (b->n[band] == 0)
                b->first[band] = (unsigned)i;
            b->weights[band * 256 + b->n[band]++] = (float)weight;
        }
    send(l, (const float *)b, sizeof *b / sizeof(float), NUM_CUDA_F32, l->m->e.bands);
    free(b);
}

int32_t dz_cuda_load(struct dz_cuda *m, struct num_err *err) {
    struct loader l = {m, err, SLUICE_OK};
    const struct dz_resnet_model *e = &m->emb;
    for (size_t i = 0; i < DZ_PYANNET_CONVS; i++)
        load_pooled(&l, i);
    for (size_t i = 0; i < m->seg.n_lstms; i++)
        load_lstm(&l, i);
    for (size_t i = 0; i < m->seg.n_linears; i++)
        load_linear(&l, i);
    load_bands(&l);
    load_conv(&l, &e->stem, true, &m->e.stem);
    for (size_t i = 0; i < e->n_blocks; i++) {
        load_conv(&l, &e->blocks[i].first, false, &m->e.first[i]);
        load_conv(&l, &e->blocks[i].second, false, &m->e.second[i]);
        load_conv(&l, &e->blocks[i].shortcut, false, &m->e.shortcut[i]);
    }
    send(&l, e->weight, e->size * 2 * e->n_pooled, NUM_CUDA_F32, m->e.weight);
    send(&l, e->bias, e->size, NUM_CUDA_F32, m->e.bias);
    return l.status;
}
