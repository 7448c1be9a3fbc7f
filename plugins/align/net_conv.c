/*
 * From samples to the transformer's input: convolutions that take every frame down to one step of
 * the network, the projection, and the positional convolution.
 *
 * Rows over time lie side by side in memory, so a convolution is one product over rows that
 * overlap: the inputs of one output are its taps, one behind the other. A task takes CHUNK frames
 * through all convolutions, whose rows stay in the second cache; the few rows that two chunks share
 * are made twice. The first convolution of models with a group norm is made anew for every sound,
 * with its norm in it (sound.h).
 */
#include <string.h>

#include "align/net_own.h"

#define CHUNK     32 /* frames */
#define NORM_ROWS 64 /* rows that are normed at a time */

/* ---- The sound ------------------------------------------------------------------------------- */

void al_conv_listen(struct al_net *net) {
    const struct al_conv *conv = &net->convs[0];
    size_t k = net->config.conv_kernel[0], n_out = net->config.conv_dim[0];
    if (net->config.layer_norm_convs)
        return;
    const struct al_first first = {net->first_weight, conv->norm.gamma, conv->norm.beta};
    al_sound_fold(&net->sound, &net->config, &first, net->folded, conv->linear.bias);
    for (size_t p = 0; p < NUM_PANELS(n_out); p++)
        num_linear_pack(&net->convs[0].linear, net->kernels, p, net->folded + p * NUM_PANEL * k);
}

/* ---- Convolutions ---------------------------------------------------------------------------- */

/* Bytes of the largest output of convolutions with an even number, or an odd one. */
static size_t output_bytes(const struct al_net *net, size_t parity) {
    size_t most = 0, first;
    for (size_t i = parity; i < net->config.n_convs; i += 2) {
        size_t rows = al_conv_rows(&net->config, i, 0, CHUNK, &first);
        size_t bytes = (rows + AL_SLACK_ROWS) * net->config.conv_dim[i] * 4;
        most = bytes > most ? bytes : most;
    }
    return al_lines(most);
}

static size_t samples_of_chunk(const struct al_net *net) {
    size_t first, rows = al_conv_rows(&net->config, 0, 0, CHUNK, &first);
    return (rows + AL_SLACK_ROWS) * net->config.conv_stride[0] + net->config.conv_kernel[0];
}

static size_t widest(const struct al_net *net) {
    size_t most = 0;
    for (size_t i = 0; i < net->config.n_convs; i++)
        most = net->config.conv_dim[i] > most ? net->config.conv_dim[i] : most;
    return most;
}

static size_t norm_bytes(const struct al_net *net) {
    return al_lines((NORM_ROWS + AL_SLACK_ROWS) * widest(net) * sizeof(float));
}

/* n rows of a convolution with a layer norm, some at a time. */
static void conv_normed(const struct al_net *net, const struct al_conv *conv, const char *x,
                        size_t ldx, size_t n, enum num_form form, size_t bytes, char *y,
                        float *sums) {
    size_t width = conv->linear.n_out;
    for (size_t r = 0; r < n; r += NORM_ROWS) {
        size_t some = n - r < NORM_ROWS ? n - r : NORM_ROWS;
        al_linear(net, &conv->linear, x + r * ldx, ldx, some, NUM_FORM_F32, sums, width);
        for (size_t i = 0; i < some; i++)
            net->kernels->layer_norm(sums + i * width, width, conv->norm.gamma, conv->norm.beta,
                                     sums + i * width);
        struct num_finish finish = {.form = form, .y = y + r * width * bytes, .ldy = width};
        net->kernels->finish(&finish, sums, width, 0, some, 0, width);
    }
}

/* CHUNK frames of the run through all convolutions. */
static void conv_task(void *ctx, uint32_t index, uint32_t thread) {
    struct al_net *net = ctx;
    const struct al_config *c = &net->config;
    size_t at = (size_t)index * CHUNK, frames = net->T - at < CHUNK ? net->T - at : CHUNK, first;
    char *scratch = net->scratch + thread * net->scratch_bytes, *buffers[2], *x, *y;
    float *samples = (float *)scratch, *sums;
    buffers[0] = scratch + al_lines(samples_of_chunk(net) * sizeof *samples);
    buffers[1] = buffers[0] + output_bytes(net, 0);
    sums = (float *)(buffers[1] + output_bytes(net, 1));
    al_conv_rows(c, 0, net->first + at, frames, &first);
    al_sound_read(&net->sound, first * c->conv_stride[0], samples_of_chunk(net), samples);
    x = scratch;
    for (size_t i = 0; i < c->n_convs; i++, x = y) {
        const struct al_conv *conv = &net->convs[i];
        bool last = i + 1 == c->n_convs, floats = last || net->act == NUM_COMPUTE_F32;
        size_t n = al_conv_rows(c, i, net->first + at, frames, &first), bytes = floats ? 4 : 2;
        size_t ldx = c->conv_stride[i] * (i ? c->conv_dim[i - 1] * net->act_bytes : sizeof(float));
        enum num_form form = floats ? NUM_FORM_GELU_F32 : NUM_FORM_GELU_BF16;
        y = last ? (char *)(net->features + at * c->conv_dim[i]) : buffers[i % 2];
        if (c->layer_norm_convs)
            conv_normed(net, conv, x, ldx, n, form, bytes, y, sums);
        else
            al_linear(net, &conv->linear, x, ldx, n, form, y, c->conv_dim[i]);
    }
}

/* ---- Projection and positions ---------------------------------------------------------------- */

static size_t feature_width(const struct al_net *net) {
    return net->config.conv_dim[net->config.n_convs - 1];
}

static void projection_task(void *ctx, uint32_t index, uint32_t thread) {
    struct al_net *net = ctx;
    size_t width = feature_width(net), D = net->config.n_state,
           ldx = (width + AL_PAD) * net->act_bytes;
    size_t first = (size_t)index * CHUNK, n = net->T - first < CHUNK ? net->T - first : CHUNK;
    char *input = net->scratch + thread * net->scratch_bytes;
    float *row = (float *)(input + al_lines((CHUNK + AL_SLACK_ROWS) * ldx));
    for (size_t r = 0; r < n; r++) {
        const float *from = net->features + (first + r) * width;
        if (net->config.projection_norm) {
            net->kernels->layer_norm(from, width, net->projection_norm.gamma,
                                     net->projection_norm.beta, row);
            from = row;
        }
        al_to_act(net, from, width, input + r * ldx);
    }
    al_linear(net, &net->projection, input, ldx, n, NUM_FORM_F32, net->x + first * D, D);
}

static size_t padded_rows(const struct al_net *net) {
    return net->max_frames + net->config.pos_kernel + AL_SLACK_ROWS;
}

/* One group of channels, all frames: the stream gets its positions added. */
static void position_task(void *ctx, uint32_t group, uint32_t thread) {
    struct al_net *net = ctx;
    size_t D = net->config.n_state, width = D / net->config.pos_groups, T = net->T;
    size_t before = net->config.pos_kernel / 2, bytes = width * net->act_bytes;
    size_t ld = NUM_PANELS(width) * NUM_PANEL;
    char *input = net->scratch + thread * net->scratch_bytes;
    float *y = (float *)(input + al_lines(padded_rows(net) * bytes + 4 * AL_SLACK_ROWS));
    memset(input, 0, before * bytes);
    for (size_t t = 0; t < T; t++)
        al_to_act(net, net->x + t * D + group * width, width, input + (before + t) * bytes);
    memset(input + (before + T) * bytes, 0, (padded_rows(net) - before - T) * bytes);
    al_linear(net, &net->positions[group], input, bytes, T, NUM_FORM_GELU_F32, y, ld);
    for (size_t t = 0; t < T; t++)
        net->kernels->add(net->x + t * D + group * width, y + t * ld, width);
}

/* ---- All ------------------------------------------------------------------------------------- */

static size_t max_size(size_t a, size_t b) {
    return a > b ? a : b;
}

size_t al_conv_scratch(const struct al_net *net) {
    size_t width = net->config.n_state / net->config.pos_groups, wide = feature_width(net);
    size_t convs = al_lines(samples_of_chunk(net) * sizeof(float)) + output_bytes(net, 0) +
                   output_bytes(net, 1) + norm_bytes(net);
    size_t project =
        al_lines((CHUNK + AL_SLACK_ROWS) * (wide + AL_PAD) * net->act_bytes) + al_lines(4 * wide);
    size_t positions = al_lines(padded_rows(net) * width * net->act_bytes + 4 * AL_SLACK_ROWS) +
                       (net->max_frames + AL_SLACK_ROWS) * NUM_PANELS(width) * NUM_PANEL * 4;
    return al_lines(max_size(convs, max_size(project, positions)));
}

static void tap(const struct al_net *net, const char *what, const float *rows, size_t width) {
    if (net->tap)
        net->tap(net->tap_ctx, what, rows, width, net->T, width);
}

int32_t al_conv_run(struct al_net *net, const struct num_watch *watch, struct num_err *err) {
    uint32_t n_chunks = (uint32_t)((net->T + CHUNK - 1) / CHUNK);
    num_pool_run(net->pool, n_chunks, conv_task, net);
    tap(net, "features", net->features, feature_width(net));
    if (num_cancelled(watch))
        return num_fail(err, SLUICE_CANCELLED, "cancelled");
    num_pool_run(net->pool, n_chunks, projection_task, net);
    tap(net, "projected", net->x, net->config.n_state);
    num_pool_run(net->pool, net->config.pos_groups, position_task, net);
    tap(net, "positions", net->x, net->config.n_state);
    return SLUICE_OK;
}
