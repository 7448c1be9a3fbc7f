/*
 * The CUDA backend of diarize/speakers: takes the card, its one block of memory, a stream, pinned
 * memory and the weights at create, and gives all of it back.
 */
#include <stdlib.h>
#include <string.h>

#include "diarize/cuda/networks.h"

#define SPARE_BYTES ((size_t)64 << 20) /* of what is free on the card: for what the driver takes */

static void cuda_destroy(void *self) {
    struct dz_cuda *m = self;
    if (!m)
        return;
    if (m->stream) {
        cudaStreamSynchronize(m->stream);
        cudaStreamDestroy(m->stream);
    }
    if (m->pinned)
        cudaFreeHost(m->pinned);
    num_cuda_block_free(m->block);
    num_cuda_gemm_close(m->gemm);
    dz_pyannet_model_finish(&m->seg);
    dz_resnet_model_finish(&m->emb);
    free(m);
}

/* Windows, or scores, or masks and what they are of, or rows. */
static size_t pinned_bytes(const struct dz_cuda *m) {
    const struct dz_pyannet_shape *s = &m->seg.shape;
    size_t voices = (size_t)DZ_CUDA_MAPS * DZ_MAX_LOCAL;
    size_t most = DZ_BATCH * s->window;
    size_t scores = DZ_BATCH * s->n_frames * dz_cuda_padded(s->n_classes);
    size_t masks = DZ_CUDA_ALIGN + voices * dz_cuda_frames(m),
           rows = voices * dz_cuda_padded(m->emb.size);
    most = scores > most ? scores : most;
    most = masks > most ? masks : most;
    return (rows > most ? rows : most) * sizeof(float);
}

static int32_t take_memory(struct dz_cuda *m, uint64_t limit, struct num_err *err) {
    size_t free_bytes = m->device.free_bytes;
    uint64_t cap = free_bytes > SPARE_BYTES ? free_bytes - SPARE_BYTES : 1;
    if (limit && limit < cap)
        cap = limit;
    m->bytes = dz_cuda_place(m);
    m->pinned_bytes = pinned_bytes(m);
    int32_t status = num_cuda_block_alloc((void **)&m->block, m->bytes, cap, err);
    if (status != SLUICE_OK)
        return num_fail_in(err, "the models and %d windows", DZ_BATCH);
    dz_cuda_place(m);
    cudaError_t error = cudaStreamCreateWithFlags(&m->stream, cudaStreamNonBlocking);
    if (!error)
        error = cudaHostAlloc((void **)&m->pinned, m->pinned_bytes, cudaHostAllocDefault);
    return num_cuda_fail(err, "pinned memory and a stream", error);
}

static int32_t load_models(struct dz_cuda *m, const struct dz_weights *segmentation,
                           const struct dz_weights *embedding, struct num_err *err) {
    int32_t status = dz_pyannet_model_load(segmentation, &m->seg, err);
    if (status != SLUICE_OK)
        return num_fail_in(err, "segmentation");
    status = dz_resnet_model_load(embedding, &m->emb, err);
    return status == SLUICE_OK ? status : num_fail_in(err, "embedding");
}

static int32_t cuda_create(const struct dz_weights *segmentation,
                           const struct dz_weights *embedding,
                           const struct dz_device_options *options, void **ret_self,
                           struct num_err *err) {
    struct dz_cuda *m = calloc(1, sizeof *m);
    if (!m)
        return num_fail_memory(err, "the models", sizeof *m);
    m->type = options->compute == NUM_COMPUTE_F32 ? NUM_CUDA_F32 : NUM_CUDA_BF16;
    int32_t status = load_models(m, segmentation, embedding, err);
    if (status == SLUICE_OK)
        status = dz_cuda_check(m, err);
    if (status == SLUICE_OK)
        status = num_cuda_device_open(options->device, &m->device, err);
    if (status == SLUICE_OK)
        status = num_cuda_gemm_open(&m->gemm, err);
    if (status == SLUICE_OK)
        status = take_memory(m, options->device_memory, err);
    if (status == SLUICE_OK)
        status = dz_cuda_load(m, err);
    dz_pyannet_model_finish(&m->seg);
    dz_resnet_model_finish(&m->emb);
    if (status != SLUICE_OK)
        cuda_destroy(m);
    else
        *ret_self = m;
    return status;
}

static void cuda_shape(const void *self, struct dz_pyannet_shape *ret) {
    *ret = ((const struct dz_cuda *)self)->seg.shape;
}

static uint8_t cuda_set(const void *self, size_t class_) {
    return ((const struct dz_cuda *)self)->seg.sets[class_];
}

static size_t cuda_size(const void *self) {
    return ((const struct dz_cuda *)self)->emb.size;
}

static void cuda_info(void *self, struct dz_device_info *ret) {
    const struct dz_cuda *m = self;
    memcpy(ret->name, m->device.name, sizeof ret->name);
    ret->bytes = m->bytes;
    ret->lost = num_cuda_is_broken();
}

const struct dz_backend dz_backend_cuda = {
    .name = "cuda",
    .n_windows = DZ_BATCH,
    .create = cuda_create,
    .destroy = cuda_destroy,
    .shape = cuda_shape,
    .set = cuda_set,
    .size = cuda_size,
    .segment = dz_cuda_segment,
    .hear = dz_cuda_hear,
    .info = cuda_info,
};
