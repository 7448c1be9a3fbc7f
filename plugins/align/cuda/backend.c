/*
 * The CUDA backend of align/words: takes the card, its one block of memory, a stream, pinned memory
 * and the weights at create, and gives all of it back. Runs are in net_run.c, paths in ctc.cu.
 */
#include <stdlib.h>
#include <string.h>

#include "align/cuda/ctc.h"
#include "align/cuda/net.h"

#define SPARE_BYTES ((size_t)64 << 20) /* of what is free on the card: for what the driver takes */

/* ---- Create and destroy ---------------------------------------------------------------------- */

static void cuda_destroy(void *self) {
    struct al_cuda_net *net = self;
    if (!net)
        return;
    if (net->stream) {
        cudaStreamSynchronize(net->stream);
        cudaStreamDestroy(net->stream);
    }
    if (net->pinned)
        cudaFreeHost(net->pinned);
    num_cuda_block_free(net->block);
    num_cuda_gemm_close(net->gemm);
    free(net->first_weight);
    free(net);
}

/* Pinned memory holds a run's samples, its output, or the first convolution of a sound. */
static size_t pinned_bytes(const struct al_cuda_net *net) {
    const struct al_config *c = &net->config;
    size_t samples = al_cuda_samples(c, net->max_frames), output = net->max_frames * c->n_vocab;
    size_t most = ((size_t)c->conv_kernel[0] + 1) * c->conv_dim[0];
    most = samples > most ? samples : most;
    return (output > most ? output : most) * sizeof(float);
}

static int32_t take_memory(struct al_cuda_net *net, uint64_t limit, struct num_err *err) {
    size_t free_bytes = net->device.free_bytes;
    uint64_t cap = free_bytes > SPARE_BYTES ? free_bytes - SPARE_BYTES : 1;
    net->bytes = al_cuda_place(net, NULL);
    if (limit && limit < cap)
        cap = limit;
    int32_t status = num_cuda_block_alloc((void **)&net->block, net->bytes, cap, err);
    if (status)
        return num_fail_in(err, "the model and its windows of %zu frames", net->max_frames);
    al_cuda_place(net, net->block);
    cudaError_t error = cudaStreamCreateWithFlags(&net->stream, cudaStreamNonBlocking);
    if (!error)
        error = cudaHostAlloc((void **)&net->pinned, pinned_bytes(net), cudaHostAllocDefault);
    return num_cuda_fail(err, "pinned memory and a stream", error);
}

static int32_t cuda_create(const struct al_files *files, const struct al_config *config,
                           const struct al_net_options *options, void **ret_self,
                           struct num_err *err) {
    int32_t status = al_cuda_check(config, err);
    if (status)
        return status;
    struct al_cuda_net *net = calloc(1, sizeof *net);
    if (!net)
        return num_fail_memory(err, "the network", sizeof *net);
    net->config = *config;
    net->type = options->compute == NUM_COMPUTE_F32 ? NUM_CUDA_F32 : NUM_CUDA_BF16;
    net->max_frames = options->max_frames;
    status = num_cuda_device_open(options->device, &net->device, err);
    if (!status)
        status = num_cuda_gemm_open(&net->gemm, err);
    if (!status)
        status = take_memory(net, options->device_memory, err);
    if (!status)
        status = al_cuda_load(net, files, err);
    if (status)
        cuda_destroy(net);
    else
        *ret_self = net;
    return status;
}

static void cuda_info(void *self, struct al_device_info *ret) {
    const struct al_cuda_net *net = self;
    memcpy(ret->name, net->device.name, sizeof ret->name);
    ret->bytes = net->bytes;
    ret->lost = num_cuda_is_broken();
}

/* ---- Runs ------------------------------------------------------------------------------------ */

/* A norm over time behind the first convolution makes that one anew for every sound. */
static int32_t cuda_listen(void *self, const float *pcm, size_t n_samples, struct num_err *err) {
    struct al_cuda_net *net = self;
    const struct al_config *c = &net->config;
    size_t n = c->conv_dim[0], taps = c->conv_kernel[0];
    float *bias = net->folded + n * taps, *spread = (float *)net->pinned;
    net->sound = al_sound_of(c, pcm, n_samples);
    if (c->layer_norm_convs)
        return SLUICE_OK;
    const struct al_first first = {net->first_weight, net->gamma, net->beta};
    al_sound_fold(&net->sound, c, &first, net->folded, bias);
    for (size_t o = 0; o < n; o++)
        for (size_t i = 0; i < taps; i++)
            spread[i * n + o] = net->folded[o * taps + i];
    memcpy(spread + n * taps, bias, n * sizeof *bias);
    cudaError_t error = cudaMemcpyAsync(net->w.first, spread, n * taps * sizeof *spread,
                                        cudaMemcpyHostToDevice, net->stream);
    if (!error)
        error = cudaMemcpyAsync(net->w.first_bias, spread + n * taps, n * sizeof *bias,
                                cudaMemcpyHostToDevice, net->stream);
    if (!error)
        error = cudaStreamSynchronize(net->stream);
    return num_cuda_fail(err, "the first convolution", error);
}

static int32_t cuda_run(void *self, size_t first, size_t n, const struct num_watch *watch,
                        float *ret, struct num_err *err) {
    return al_cuda_run(self, first, n, watch, ret, err);
}

/* ---- Paths ----------------------------------------------------------------------------------- */

/* Queues the copies of one text to its place. */
static cudaError_t send_text(struct al_cuda_net *net, const struct al_ctc *ctc,
                             const struct al_cuda_text *to) {
    cudaError_t error =
        cudaMemcpyAsync((void *)to->logp, ctc->logp, ctc->n_frames * ctc->n_columns * sizeof(float),
                        cudaMemcpyHostToDevice, net->stream);
    if (!error)
        error = cudaMemcpyAsync((void *)to->tokens, ctc->tokens, ctc->n_tokens * sizeof(uint32_t),
                                cudaMemcpyHostToDevice, net->stream);
    return error;
}

/* Texts that fit together into the room for them. */
static int32_t align_batch(struct al_cuda_net *net, const struct al_ctc *texts,
                           struct al_span *const *ret_spans, size_t n, struct num_err *err) {
    struct al_cuda_text on_card[AL_CUDA_TEXTS] = {0};
    char *at = net->b.texts + AL_CUDA_TEXTS * sizeof(struct al_cuda_text);
    cudaError_t error = cudaSuccess;
    for (size_t i = 0; i < n && !error; i++) {
        al_cuda_text_place(&texts[i], at, &on_card[i]);
        at += al_cuda_text_bytes(&texts[i]);
        error = send_text(net, &texts[i], &on_card[i]);
    }
    if (!error)
        error = cudaMemcpyAsync(net->b.texts, on_card, n * sizeof *on_card, cudaMemcpyHostToDevice,
                                net->stream);
    if (!error)
        error = al_cuda_ctc_run((const struct al_cuda_text *)(void *)net->b.texts, n, net->stream);
    for (size_t i = 0; i < n && !error; i++)
        error =
            cudaMemcpyAsync(ret_spans[i], on_card[i].spans, texts[i].n_tokens * sizeof **ret_spans,
                            cudaMemcpyDeviceToHost, net->stream);
    cudaError_t end = cudaStreamSynchronize(net->stream);
    return num_cuda_fail(err, "aligning texts", error ? error : end);
}

static int32_t cuda_align(void *self, const struct al_ctc *texts, struct al_span *const *ret_spans,
                          size_t n, const struct num_watch *watch, struct num_err *err) {
    const size_t room = AL_CUDA_TEXT_BYTES - AL_CUDA_TEXTS * sizeof(struct al_cuda_text);
    int32_t status = SLUICE_OK;
    for (size_t at = 0, some; !status && at < n; at += some) {
        size_t bytes = 0;
        for (some = 0; at + some < n && some < AL_CUDA_TEXTS; some++) {
            bytes += al_cuda_text_bytes(&texts[at + some]);
            if (bytes > room)
                break;
        }
        if (num_cancelled(watch))
            return num_fail(err, SLUICE_CANCELLED, "cancelled");
        if (some > 0) {
            status = align_batch(self, texts + at, ret_spans + at, some, err);
        } else {
            some = 1;
            status = al_ctc_align(&texts[at], watch, ret_spans[at], err);
        }
    }
    return status;
}

const struct al_backend al_backend_cuda = {
    "cuda", AL_CUDA_TEXTS, cuda_create, cuda_destroy, cuda_listen, cuda_run, cuda_align, cuda_info,
};
