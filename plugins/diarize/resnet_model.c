/* See resnet_model.h. */
#include "diarize/resnet_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* A convolution with a square kernel of `width`; *n is the channels that go in and then come
 * out. */
static int32_t load_conv(const struct dz_weights *w, const char *name, size_t width, size_t stride,
                         size_t *n, struct dz_resnet_conv *ret, struct num_err *err) {
    size_t shape[] = {0, *n, width, width};
    int32_t status = dz_weights_take(w, 4, shape, &ret->weight, err, "%s.weight", name);
    if (status == SLUICE_OK)
        status = dz_weights_take(w, 1, shape, &ret->bias, err, "%s.bias", name);
    if (status == SLUICE_OK && (shape[0] > 2048 || shape[0] % 2 != 0))
        status = num_fail(err, SLUICE_INPUT,
                          "%s.weight has %zu channels; an even number up to 2,048 is expected",
                          name, shape[0]);
    ret->n_in = *n;
    ret->width = width;
    ret->stride = stride;
    *n = ret->n_out = shape[0];
    return status;
}

static int32_t load_block(struct dz_resnet_model *m, const struct dz_weights *w, const char *name,
                          size_t stride, size_t *n, struct num_err *err) {
    struct dz_resnet_block *block = &m->blocks[m->n_blocks++];
    char part[64];
    size_t n_in = *n, n_short = *n;
    bool has_shortcut = dz_weights_has(w, "%s.shortcut.weight", name);
    snprintf(part, sizeof part, "%s.conv1", name);
    int32_t status = load_conv(w, part, 3, stride, n, &block->first, err);
    snprintf(part, sizeof part, "%s.conv2", name);
    if (status == SLUICE_OK)
        status = load_conv(w, part, 3, 1, n, &block->second, err);
    snprintf(part, sizeof part, "%s.shortcut", name);
    if (status == SLUICE_OK && has_shortcut)
        status = load_conv(w, part, 1, stride, &n_short, &block->shortcut, err);
    if (status == SLUICE_OK && (n_short != *n || (stride > 1 && !has_shortcut)))
        status = num_fail(err, SLUICE_INPUT,
                          "%s: %zu channels in, %zu out, and no shortcut to match", name, n_in, *n);
    return status;
}

static int32_t load_blocks(struct dz_resnet_model *m, const struct dz_weights *w, size_t *n,
                           struct num_err *err) {
    for (size_t layer = 1; layer <= DZ_RESNET_LAYERS; layer++)
        for (size_t i = 0; i == 0 || dz_weights_has(w, "layer%zu.%zu.conv1.weight", layer, i);
             i++) {
            char name[32];
            snprintf(name, sizeof name, "layer%zu.%zu", layer, i);
            if (m->n_blocks == DZ_RESNET_BLOCKS)
                return num_fail(err, SLUICE_INPUT, "more than %d blocks", DZ_RESNET_BLOCKS);
            int32_t status = load_block(m, w, name, i == 0 && layer > 1 ? 2 : 1, n, err);
            if (status != SLUICE_OK)
                return status;
        }
    return SLUICE_OK;
}

static int32_t load_head(struct dz_resnet_model *m, const struct dz_weights *w, size_t n,
                         struct num_err *err) {
    m->n_pooled = n * dz_resnet_halved(m->n_bands, DZ_RESNET_LAYERS - 1);
    size_t shape[] = {0, 2 * m->n_pooled};
    int32_t status = dz_weights_take(w, 2, shape, &m->weight, err, "embedding.weight");
    if (status == SLUICE_OK)
        status = dz_weights_take(w, 1, shape, &m->bias, err, "embedding.bias");
    if (status == SLUICE_OK && shape[0] > 4096)
        status = num_fail(err, SLUICE_INPUT, "an embedding of %zu values", shape[0]);
    m->size = shape[0];
    return status;
}

int32_t dz_resnet_model_load(const struct dz_weights *weights, struct dz_resnet_model *ret,
                             struct num_err *err) {
    struct dz_resnet_model m = {0};
    double bands = 0;
    size_t n = 1; /* channels between layers */
    int32_t status = dz_weights_number(weights, "mel_bands", 8, 128, 80, &bands, err);
    m.n_bands = (size_t)bands;
    if (status == SLUICE_OK)
        status = load_conv(weights, "stem", 3, 1, &n, &m.stem, err);
    if (status == SLUICE_OK)
        status = load_blocks(&m, weights, &n, err);
    if (status == SLUICE_OK)
        status = load_head(&m, weights, n, err);
    if (status == SLUICE_OK)
        *ret = m;
    else
        dz_resnet_model_finish(&m);
    return status;
}

static void drop_conv(struct dz_resnet_conv *c) {
    free(c->weight);
    free(c->bias);
    c->weight = c->bias = NULL;
}

void dz_resnet_model_finish(struct dz_resnet_model *model) {
    drop_conv(&model->stem);
    for (size_t i = 0; i < model->n_blocks; i++) {
        drop_conv(&model->blocks[i].first);
        drop_conv(&model->blocks[i].second);
        drop_conv(&model->blocks[i].shortcut);
    }
    free(model->weight);
    free(model->bias);
    model->weight = model->bias = NULL;
}

size_t dz_resnet_halved(size_t n, size_t times) {
    for (size_t i = 0; i < times; i++)
        n = (n + 1) / 2;
    return n;
}

float dz_resnet_mask_at(const float *mask, size_t n_mask, size_t t, size_t n) {
    size_t at = n == n_mask ? t : (size_t)floorf((float)t * ((float)n_mask / (float)n));
    return mask[at < n_mask ? at : n_mask - 1];
}
