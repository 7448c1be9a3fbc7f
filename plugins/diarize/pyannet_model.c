/* See pyannet_model.h: tensor after tensor, each with the shape that those before it ask for. */
#include "diarize/pyannet_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- convolutions ---- */

static int32_t take_number(const struct dz_weights *w, const char *name, float *ret,
                           struct num_err *err) {
    size_t one = 1;
    float *value = NULL;
    int32_t status = dz_weights_take(w, 1, &one, &value, err, "%s", name);
    if (status == SLUICE_OK)
        *ret = *value;
    free(value);
    return status;
}

/* Convolution i; the first one, the bank of filters, has no bias. */
static int32_t load_conv(struct dz_pyannet_conv *c, const struct dz_weights *w, size_t i,
                         struct num_err *err) {
    size_t shape[] = {0, c->n_in, 0};
    int32_t status = dz_weights_take(w, 3, shape, &c->weight, err, "sincnet.%zu.weight", i);
    if (status == SLUICE_OK && (shape[2] > 4096 || shape[0] > 1024))
        status = num_fail(err, SLUICE_INPUT, "sincnet.%zu.weight: %zu filters of %zu", i, shape[0],
                          shape[2]);
    c->n_out = shape[0];
    c->width = shape[2];
    if (status == SLUICE_OK && i > 0)
        status = dz_weights_take(w, 1, &c->n_out, &c->bias, err, "sincnet.%zu.bias", i);
    if (status == SLUICE_OK)
        status = dz_weights_take(w, 1, &c->n_out, &c->scale, err, "sincnet.%zu.norm.weight", i);
    if (status == SLUICE_OK)
        status = dz_weights_take(w, 1, &c->n_out, &c->shift, err, "sincnet.%zu.norm.bias", i);
    return status;
}

static int32_t load_front(struct dz_pyannet_model *m, const struct dz_weights *w, size_t *n,
                          struct num_err *err) {
    double stride = 0;
    int32_t status = dz_weights_number(w, "stride", 1, 160, 10, &stride, err);
    if (status == SLUICE_OK)
        status = take_number(w, "sincnet.wave.weight", &m->wave_scale, err);
    if (status == SLUICE_OK)
        status = take_number(w, "sincnet.wave.bias", &m->wave_shift, err);
    *n = 1;
    for (size_t i = 0; status == SLUICE_OK && i < DZ_PYANNET_CONVS; i++) {
        m->convs[i].n_in = *n;
        m->convs[i].stride = i ? 1 : (size_t)stride;
        status = load_conv(&m->convs[i], w, i, err);
        *n = m->convs[i].n_out;
    }
    return status;
}

/* ---- layers ---- */

static int32_t load_direction(struct dz_pyannet_lstm *l, const struct dz_weights *w, size_t layer,
                              size_t d, struct num_err *err) {
    const char *direction = d ? "backward" : "forward";
    size_t ih[] = {0, l->n_in}, hh[] = {0, 0}, n;
    int32_t status =
        dz_weights_take(w, 2, ih, &l->input[d], err, "lstm.%zu.%s.weight_ih", layer, direction);
    n = ih[0];
    if (status == SLUICE_OK && (n % 32 != 0 || n > 8192 || (d && n != 4 * l->n_hidden)))
        status = num_fail(err, SLUICE_INPUT,
                          "lstm.%zu.%s.weight_ih: %zu rows; a multiple of 32, as in the other "
                          "direction, is expected",
                          layer, direction, n);
    hh[0] = n;
    hh[1] = l->n_hidden = n / 4;
    if (status == SLUICE_OK)
        status =
            dz_weights_take(w, 2, hh, &l->state[d], err, "lstm.%zu.%s.weight_hh", layer, direction);
    if (status == SLUICE_OK)
        status = dz_weights_take(w, 1, &n, &l->bias[d], err, "lstm.%zu.%s.bias", layer, direction);
    return status;
}

static int32_t load_lstms(struct dz_pyannet_model *m, const struct dz_weights *w, size_t *n,
                          struct num_err *err) {
    for (size_t i = 0; dz_weights_has(w, "lstm.%zu.forward.weight_ih", i); i++) {
        if (i == DZ_PYANNET_LSTMS)
            return num_fail(err, SLUICE_INPUT, "more than %d LSTM layers", DZ_PYANNET_LSTMS);
        struct dz_pyannet_lstm *l = &m->lstms[m->n_lstms++];
        l->n_in = *n;
        l->n_directions = dz_weights_has(w, "lstm.%zu.backward.weight_ih", i) ? 2 : 1;
        for (size_t d = 0; d < l->n_directions; d++) {
            int32_t status = load_direction(l, w, i, d, err);
            if (status != SLUICE_OK)
                return status;
        }
        *n = l->n_directions * l->n_hidden;
    }
    return SLUICE_OK;
}

static int32_t load_linear(struct dz_pyannet_model *m, const struct dz_weights *w, const char *name,
                           size_t *n, struct num_err *err) {
    size_t shape[] = {0, *n};
    if (m->n_linears == DZ_PYANNET_LINEARS)
        return num_fail(err, SLUICE_INPUT, "more than %d linear layers", DZ_PYANNET_LINEARS - 1);
    struct dz_pyannet_linear *l = &m->linears[m->n_linears++];
    int32_t status = dz_weights_take(w, 2, shape, &l->weight, err, "%s.weight", name);
    if (status == SLUICE_OK)
        status = dz_weights_take(w, 1, shape, &l->bias, err, "%s.bias", name);
    if (status == SLUICE_OK && shape[0] > 8192)
        status = num_fail(err, SLUICE_INPUT, "%s.weight: %zu rows", name, shape[0]);
    l->n_in = shape[1];
    l->n_out = *n = shape[0];
    return status;
}

static int32_t load_linears(struct dz_pyannet_model *m, const struct dz_weights *w, size_t *n,
                            struct num_err *err) {
    int32_t status = SLUICE_OK;
    for (size_t i = 0; status == SLUICE_OK && dz_weights_has(w, "linear.%zu.weight", i); i++) {
        char name[32];
        snprintf(name, sizeof name, "linear.%zu", i);
        status = load_linear(m, w, name, n, err);
    }
    return status == SLUICE_OK ? load_linear(m, w, "classifier", n, err) : status;
}

/* ---- sizes ---- */

/* Sets of at most `most` of n speakers, small ones first, then in the order of their members. */
static size_t list_sets(size_t n, size_t most, uint8_t *ret) {
    size_t n_sets = 0;
    for (size_t size = 0; size <= most; size++)
        for (size_t code = (size_t)1 << n; code-- > 0;) {
            uint8_t set = 0;
            for (size_t s = 0; s < n; s++)
                set |= (uint8_t)((code >> (n - 1 - s) & 1) << s);
            if ((size_t)__builtin_popcount(set) == size && n_sets < DZ_PYANNET_SETS)
                ret[n_sets++] = set;
        }
    return n_sets;
}

static int32_t set_lengths(struct dz_pyannet_model *m, double window_s, struct num_err *err) {
    struct dz_pyannet_shape *s = &m->shape;
    m->lengths[0] = s->window = (size_t)(window_s * 16000);
    s->frame = s->step = 1;
    for (size_t i = 0; i < DZ_PYANNET_CONVS; i++) {
        const struct dz_pyannet_conv *c = &m->convs[i];
        size_t before = m->lengths[i];
        if (before < c->width + (DZ_PYANNET_POOL - 1) * c->stride)
            return num_fail(err, SLUICE_INPUT, "a window of %g s is too short", window_s);
        m->lengths[i + 1] = ((before - c->width) / c->stride + 1) / DZ_PYANNET_POOL;
    }
    for (size_t i = DZ_PYANNET_CONVS; i-- > 0; s->step *= DZ_PYANNET_POOL * m->convs[i].stride)
        s->frame = (s->frame * DZ_PYANNET_POOL - 1) * m->convs[i].stride + m->convs[i].width;
    s->n_frames = m->lengths[DZ_PYANNET_CONVS];
    return SLUICE_OK;
}

static int32_t load_shape(struct dz_pyannet_model *m, const struct dz_weights *w,
                          struct num_err *err) {
    double window_s = 0, n_local = 0, n_at_once = 0;
    int32_t status = dz_weights_number(w, "window_s", 0.5, 60, 10, &window_s, err);
    if (status == SLUICE_OK)
        status = dz_weights_number(w, "speakers", 1, DZ_MAX_LOCAL, 3, &n_local, err);
    if (status == SLUICE_OK)
        status = dz_weights_number(w, "at_once", 1, n_local, 2, &n_at_once, err);
    if (status != SLUICE_OK)
        return status;
    struct dz_pyannet_shape *s = &m->shape;
    s->n_local = (size_t)n_local;
    size_t n_sets = list_sets(s->n_local, (size_t)n_at_once, m->sets);
    if (n_sets != s->n_classes)
        return num_fail(err, SLUICE_INPUT,
                        "the classifier has %zu classes; %zu speakers, %zu at once, make %zu",
                        s->n_classes, s->n_local, (size_t)n_at_once, n_sets);
    return set_lengths(m, window_s, err);
}

/* ---- the whole ---- */

int32_t dz_pyannet_model_load(const struct dz_weights *weights, struct dz_pyannet_model *ret,
                              struct num_err *err) {
    struct dz_pyannet_model m = {0};
    size_t n = 0; /* values between layers */
    int32_t status = load_front(&m, weights, &n, err);
    if (status == SLUICE_OK)
        status = load_lstms(&m, weights, &n, err);
    if (status == SLUICE_OK)
        status = load_linears(&m, weights, &n, err);
    m.shape.n_classes = n;
    if (status == SLUICE_OK)
        status = load_shape(&m, weights, err);
    if (status == SLUICE_OK)
        *ret = m;
    else
        dz_pyannet_model_finish(&m);
    return status;
}

static void drop(float **values) {
    free(*values);
    *values = NULL;
}

void dz_pyannet_model_finish(struct dz_pyannet_model *model) {
    for (size_t i = 0; i < DZ_PYANNET_CONVS; i++) {
        struct dz_pyannet_conv *c = &model->convs[i];
        drop(&c->weight);
        drop(&c->bias);
        drop(&c->scale);
        drop(&c->shift);
    }
    for (size_t i = 0; i < model->n_lstms; i++)
        for (size_t d = 0; d < 2; d++) {
            drop(&model->lstms[i].input[d]);
            drop(&model->lstms[i].state[d]);
            drop(&model->lstms[i].bias[d]);
        }
    for (size_t i = 0; i < model->n_linears; i++) {
        drop(&model->linears[i].weight);
        drop(&model->linears[i].bias);
    }
}
