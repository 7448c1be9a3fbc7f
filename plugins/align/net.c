/*
 * The network's life: sizes, buffers, runs. All memory is taken when it is created, so a model that
 * fits at the start cannot fail in the middle of a file.
 */
#include <stdlib.h>
#include <string.h>

#include "align/net_own.h"
#include "num/cpu/attend.h"

void al_linear(const struct al_net *net, const struct num_linear *linear, const void *x, size_t ldx,
               size_t n, enum num_form form, void *y, size_t ldy) {
    struct num_rows rows = {x, ldx, NULL};
    struct num_finish finish = {.form = form, .y = y, .ldy = ldy};
    num_linear_rows(linear, net->kernels, 0, NUM_PANELS(linear->n_out), &rows, 0, n, &finish);
}

void al_to_act(const struct al_net *net, const float *x, size_t n, char *to) {
    if (net->act == NUM_COMPUTE_F32)
        memcpy(to, x, n * sizeof *x);
    else
        net->kernels->to_bf16(x, n, (uint16_t *)to);
}

static size_t max_size(size_t a, size_t b) {
    return a > b ? a : b;
}

static int32_t take_buffers(struct al_net *net, struct num_err *err) {
    const struct al_config *c = &net->config;
    size_t rows = net->max_frames + AL_SLACK_ROWS, D = c->n_state;
    num_kv_init(&net->kv, net->act, net->max_frames, D / c->n_heads);
    net->scratch_bytes = al_lines(
        max_size(al_conv_scratch(net),
                 max_size(al_layers_scratch(net), num_attend_bytes(net->kernels, &net->kv))));
    const struct {
        size_t bytes;
        void *ret;
    } wanted[] = {
        {rows * c->conv_dim[c->n_convs - 1] * sizeof(float), &net->features},
        {rows * D * sizeof(float), &net->x},
        {rows * (D + AL_PAD) * net->act_bytes, &net->queries},
        {c->n_heads * net->kv.head_words * sizeof(uint32_t), &net->heads},
        {net->n_threads * net->scratch_bytes, &net->scratch},
    };
    int32_t status = SLUICE_OK;
    for (size_t i = 0; !status && i < sizeof wanted / sizeof *wanted; i++)
        status = num_arena_take(&net->arena, wanted[i].bytes, "the network's buffers",
                                wanted[i].ret, err);
    return status;
}

int32_t al_net_create(const struct al_files *files, const struct al_config *config,
                      const struct al_net_options *options, struct al_net **ret,
                      struct num_err *err) {
    struct al_net *net = calloc(1, sizeof *net);
    if (!net)
        return num_fail_memory(err, "the network", sizeof *net);
    net->config = *config;
    net->act = options->compute;
    net->act_bytes = options->compute == NUM_COMPUTE_F32 ? 4 : 2;
    net->max_frames = options->max_frames;
    net->kernels = num_kernels();
    int32_t status = num_pool_create(options->n_threads, &net->pool, err);
    if (!status) {
        net->n_threads = num_pool_threads(net->pool);
        status = al_net_load(net, files, err);
    }
    if (!status)
        status = take_buffers(net, err);
    if (status)
        al_net_destroy(net);
    else
        *ret = net;
    return status;
}

void al_net_destroy(struct al_net *net) {
    if (!net)
        return;
    num_pool_destroy(net->pool);
    num_arena_finish(&net->arena);
    free(net);
}

void al_net_set_tap(struct al_net *net, al_tap *tap, void *ctx) {
    net->tap = tap;
    net->tap_ctx = ctx;
}

void al_net_listen(struct al_net *net, const float *pcm, size_t n_samples) {
    net->sound = al_sound_of(&net->config, pcm, n_samples);
    al_conv_listen(net);
}

int32_t al_net_run(struct al_net *net, size_t first, size_t n, const struct num_watch *watch,
                   float *ret, struct num_err *err) {
    net->first = first;
    net->T = n;
    net->ret = ret;
    int32_t status = n ? al_conv_run(net, watch, err) : SLUICE_OK;
    return status || n == 0 ? status : al_layers_run(net, watch, err);
}

/* ---- The backend ----------------------------------------------------------------------------- */

static int32_t cpu_create(const struct al_files *files, const struct al_config *config,
                          const struct al_net_options *options, void **ret_self,
                          struct num_err *err) {
    struct al_net *net = NULL;
    int32_t status = al_net_create(files, config, options, &net, err);
    if (!status)
        *ret_self = net;
    return status;
}

static void cpu_destroy(void *self) {
    al_net_destroy(self);
}

static int32_t cpu_listen(void *self, const float *pcm, size_t n_samples, struct num_err *err) {
    (void)err;
    al_net_listen(self, pcm, n_samples);
    return SLUICE_OK;
}

static int32_t cpu_run(void *self, size_t first, size_t n, const struct num_watch *watch,
                       float *ret, struct num_err *err) {
    return al_net_run(self, first, n, watch, ret, err);
}

static int32_t cpu_align(void *self, const struct al_ctc *texts, struct al_span *const *ret_spans,
                         size_t n, const struct num_watch *watch, struct num_err *err) {
    int32_t status = SLUICE_OK;
    (void)self;
    for (size_t i = 0; i < n && !status; i++)
        status = al_ctc_align(&texts[i], watch, ret_spans[i], err);
    return status;
}

const struct al_backend al_backend_cpu = {
    "cpu", 1, cpu_create, cpu_destroy, cpu_listen, cpu_run, cpu_align, NULL,
};
