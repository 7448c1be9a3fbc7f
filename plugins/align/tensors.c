/* See tensors.h. */
#include "align/tensors.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void check_shape(struct al_tensors *t, const struct num_tensor *found,
                        const uint64_t *shape) {
    uint32_t n = 0;
    while (shape[n])
        n++;
    if (found->n_dims == n && memcmp(found->shape, shape, n * sizeof *shape) == 0)
        return;
    char wanted[128], there[128];
    num_shape_text(shape, n, wanted, sizeof wanted);
    num_shape_text(found->shape, found->n_dims, there, sizeof there);
    t->status = num_fail(t->err, SLUICE_INPUT,
                         "tensor %.120s has the shape %s where config.json asks for %s",
                         found->name, there, wanted);
}

/* The head has no prefix. */
bool al_tensors_find(struct al_tensors *t, const char *name, const uint64_t *shape,
                     struct num_weights *ret) {
    char full[AL_NAME_BYTES + 16];
    const char *prefix = t->hubert ? "hubert." : "wav2vec2.";
    if (t->status)
        return false;
    snprintf(full, sizeof full, "%s%s", strncmp(name, "lm_head.", 8) == 0 ? "" : prefix, name);
    const struct num_tensor *found = al_files_find(t->files, full);
    if (!found) {
        t->status = num_fail(t->err, SLUICE_INPUT, "the model's files have no tensor %s", full);
        return false;
    }
    check_shape(t, found, shape);
    if (!t->status && !num_weights_of_tensor(found, ret))
        t->status =
            num_fail(t->err, SLUICE_INPUT, "tensor %s is of type %s; F32, F16 and BF16 can be read",
                     full, num_dtype_name(found->dtype));
    return !t->status;
}

static bool has(const struct al_tensors *t, const char *name) {
    char full[AL_NAME_BYTES + 16];
    snprintf(full, sizeof full, "%s%s", t->hubert ? "hubert." : "wav2vec2.", name);
    return al_files_find(t->files, full) != NULL;
}

void al_tensors_floats(struct al_tensors *t, const char *name, const uint64_t *shape, float *to) {
    struct num_weights w;
    if (!al_tensors_find(t, name, shape, &w))
        return;
    num_weights_to_f32(&w, 0, w.rows, to);
    al_files_forget(t->files, &w);
}

void al_tensors_bias(struct al_tensors *t, const char *name, uint64_t n, float *to) {
    char full[AL_NAME_BYTES + 8];
    snprintf(full, sizeof full, "%s.bias", name);
    al_tensors_floats(t, full, AL_SHAPE(n), to);
}

void al_tensors_norm(struct al_tensors *t, const char *name, uint64_t n, float *gamma,
                     float *beta) {
    char full[AL_NAME_BYTES + 8];
    snprintf(full, sizeof full, "%s.weight", name);
    al_tensors_floats(t, full, AL_SHAPE(n), gamma);
    al_tensors_bias(t, name, n, beta);
}

void al_tensors_positions(struct al_tensors *t, uint64_t D, uint64_t width, uint64_t taps,
                          float *to) {
    static const char *const names[][2] = {
        {"encoder.pos_conv_embed.conv.weight_g", "encoder.pos_conv_embed.conv.weight_v"},
        {"encoder.pos_conv_embed.conv.parametrizations.weight.original0",
         "encoder.pos_conv_embed.conv.parametrizations.weight.original1"}};
    if (has(t, "encoder.pos_conv_embed.conv.weight")) {
        al_tensors_floats(t, "encoder.pos_conv_embed.conv.weight", AL_SHAPE(D, width, taps), to);
        return;
    }
    const char *const *pair = names[has(t, names[1][0])];
    float gain[512] = {0};
    al_tensors_floats(t, pair[1], AL_SHAPE(D, width, taps), to);
    al_tensors_floats(t, pair[0], AL_SHAPE(1, 1, taps), gain);
    for (uint64_t tap = 0; !t->status && tap < taps; tap++) {
        double squares = 0;
        for (uint64_t i = tap; i < D * width * taps; i += taps)
            squares += (double)to[i] * (double)to[i];
        float scale = (float)((double)gain[tap] / sqrt(fmax(squares, 1e-300)));
        for (uint64_t i = tap; i < D * width * taps; i += taps)
            to[i] *= scale;
    }
}
