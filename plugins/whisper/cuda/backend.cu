/*
 * The CUDA backend: takes the device, its one block of memory, streams, pinned memory and the
 * weights at load, and gives all of it back. What works with them is in encoder.cu and decoder.cu.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "num/half.h"
#include "whisper/cuda/cross_absorbed.h"
#include "whisper/cuda/cuda.h"
#include "whisper/cuda/decoder.h"
#include "whisper/cuda/decoder_plan.h"
#include "whisper/cuda/load.h"

#define MAX_WINDOWS 16 /* of one pass of the encoder: more of them win nothing */
/* Of one pass of the decoder, or as many as a text has, or rows there are. */
#define TOKENS 256
#define SPARE_BYTES                                                                                \
    (64u << 20) /* of what is free on the card: for graphs, and what the driver takes */

namespace {

/* ---- Weights through pinned memory ---------------------------------------------------------- */

/* Two stages: one is filled while the other is copied. */
struct feeder {
    struct wh_cuda *m;
    void *stages[2];
    cudaEvent_t copied[2];
    int next;
};

void *feeder_stage(void *ctx, struct num_err *err) {
    struct feeder *f = (struct feeder *)ctx;
    if (num_cuda_fail(err, "copying the weights", cudaEventSynchronize(f->copied[f->next])))
        return NULL;
    return f->stages[f->next];
}

int32_t feeder_put(void *ctx, void *to, size_t bytes, struct num_err *err) {
    struct feeder *f = (struct feeder *)ctx;
    const cudaStream_t stream = f->m->encode_stream;
    cudaError_t error =
        cudaMemcpyAsync(to, f->stages[f->next], bytes, cudaMemcpyHostToDevice, stream);
    if (!error)
        error = cudaEventRecord(f->copied[f->next], stream);
    f->next ^= 1;
    return num_cuda_fail(err, "copying the weights", error);
}

void feeder_finish(struct feeder *f) {
    for (int i = 0; i < 2; i++) {
        if (f->copied[i])
            cudaEventDestroy(f->copied[i]);
        if (f->stages[i])
            cudaFreeHost(f->stages[i]);
    }
}

int32_t feeder_init(struct feeder *f, struct wh_cuda *m, struct num_err *err) {
    *f = {};
    f->m = m;
    cudaError_t error = cudaSuccess;
    for (int i = 0; !error && i < 2; i++) {
        error = cudaHostAlloc(&f->stages[i], WH_CUDA_STAGE_BYTES, cudaHostAllocDefault);
        if (!error)
            error = cudaEventCreateWithFlags(&f->copied[i], cudaEventDisableTiming);
    }
    return num_cuda_fail(err, "pinned memory for the weights", error);
}

int32_t load_weights(struct wh_cuda *m, const struct wh_weights *weights, struct num_err *err) {
    struct feeder feeder;
    struct num_pool *pool = NULL;
    int32_t status = num_pool_create(m->limits.n_threads, &pool, err);
    if (status)
        return status;
    status = feeder_init(&feeder, m, err);
    const struct wh_cuda_sink sink = {&feeder, feeder_stage, feeder_put};
    if (!status)
        status = wh_cuda_weights_load(&m->w, &m->c, weights, pool, &sink, err);
    const cudaError_t error = cudaStreamSynchronize(m->encode_stream);
    if (!status)
        status = num_cuda_fail(err, "copying the weights", error);
    feeder_finish(&feeder);
    num_pool_destroy(pool);
    return status;
}

/* ---- Load ----------------------------------------------------------------------------------- */

void choose_types(struct wh_cuda_config *c, enum wh_compute compute) {
    c->type = compute == WH_COMPUTE_F32    ? NUM_CUDA_F32
              : compute == WH_COMPUTE_BF16 ? NUM_CUDA_BF16
                                           : NUM_CUDA_F16;
    c->packing = compute == WH_COMPUTE_INT8   ? WH_CUDA_INT8
                 : compute == WH_COMPUTE_INT4 ? WH_CUDA_INT4
                                              : WH_CUDA_PLAIN;
}

struct wh_cuda_config configure(const struct wh_dims *dims, const struct wh_limits *limits) {
    struct wh_cuda_config c = {};
    c.dims = *dims;
    choose_types(&c, limits->compute);
    c.cross = limits->cross == WH_CROSS_ABSORBED   ? WH_CUDA_ABSORBED
              : limits->cross == WH_CROSS_BY_BATCH ? WH_CUDA_BY_BATCH
                                                   : WH_CUDA_STORED;
    c.kept = limits->kept == WH_KEPT_FP8    ? WH_CUDA_KEPT_FP8
             : limits->kept == WH_KEPT_INT8 ? WH_CUDA_KEPT_INT8
                                            : WH_CUDA_KEPT_PLAIN;
    c.n_slots = limits->n_slots;
    c.n_rows = limits->n_rows;
    c.n_windows = c.n_slots < MAX_WINDOWS ? c.n_slots : MAX_WINDOWS;
    c.n_tokens = dims->n_text_ctx > TOKENS ? dims->n_text_ctx : TOKENS;
    if (c.n_tokens < c.n_rows)
        c.n_tokens = c.n_rows;
    return c;
}

/* What the card has room for, within the limit. */
int32_t plan_as(const struct wh_cuda *m, struct wh_cuda_config *c, struct wh_cuda_plan *ret,
                struct num_err *err) {
    const struct wh_limits *l = &m->limits;
    const uint32_t least_rows = l->least_rows ? l->least_rows : l->n_rows;
    const size_t free_bytes = m->device.free_bytes;
    uint64_t cap = free_bytes > SPARE_BYTES ? free_bytes - SPARE_BYTES : 1;
    if (l->device_memory && l->device_memory < cap)
        cap = l->device_memory;
    if (c->cross != WH_CUDA_STORED && !wh_cuda_absorbed_fits(c, m->device.shared_bytes))
        return num_fail(
            err, SLUICE_UNSUPPORTED,
            "attention without stored keys and values does not fit the %zu KiB of shared "
            "memory that a block of %s has; use cross_attention: stored",
            m->device.shared_bytes >> 10, m->device.name);
    return wh_cuda_plan_make(c, l->least_rows ? 1 : l->n_slots, least_rows, cap, ret, err);
}

/* Where keys and values leave less than the windows that are asked for, and it is free to choose,
 * it does without them, unless that makes no difference. */
int32_t plan(struct wh_cuda *m, struct num_err *err) {
    struct wh_cuda_config without = m->c;
    struct wh_cuda_plan plan_without;
    struct num_err ignored = {};
    without.cross = WH_CUDA_ABSORBED;
    int32_t status = plan_as(m, &m->c, &m->plan, err);
    bool short_of_room = status == SLUICE_RESOURCE || m->c.n_slots < m->limits.n_slots;
    if (m->limits.cross != WH_CROSS_AUTO || m->c.kept != WH_CUDA_KEPT_PLAIN || !short_of_room ||
        m->c.type == NUM_CUDA_F32 || plan_as(m, &without, &plan_without, &ignored) ||
        (!status && without.n_slots <= m->c.n_slots))
        return status;
    m->c = without;
    m->plan = plan_without;
    return SLUICE_OK;
}

/* Lets the emulated card see who writes behind a part of the block. */
void mark_gaps(const struct wh_cuda *m) {
    const struct wh_cuda_plan *p = &m->plan;
    const size_t parts[] = {p->encoded,      p->cross_kv, p->self_kv,      p->encoder_work,
                            p->decoder_work, p->logits,   p->gemm_work[0], p->gemm_work[1]};
    for (size_t at : parts)
        num_cuda_mark_gap(m->block + at - WH_CUDA_ALIGN, WH_CUDA_ALIGN);
}

int32_t take_memory(struct wh_cuda *m, struct num_err *err) {
    const struct wh_dims *s = &m->c.dims;
    const size_t logits = (size_t)wh_cuda_logits_rows(&m->c) * s->n_vocab;
    m->slot_ready = (cudaEvent_t *)calloc(m->c.n_slots, sizeof(cudaEvent_t));
    if (!m->slot_ready)
        return num_fail_memory(err, "the model", m->c.n_slots * sizeof(cudaEvent_t));
    int32_t status =
        num_cuda_block_alloc((void **)&m->block, m->plan.bytes, m->limits.device_memory, err);
    if (status)
        return status;
    mark_gaps(m);
    cudaError_t error = cudaStreamCreateWithFlags(&m->encode_stream, cudaStreamNonBlocking);
    if (!error)
        error = cudaStreamCreateWithFlags(&m->decode_stream, cudaStreamNonBlocking);
    for (uint32_t i = 0; !error && i < m->c.n_slots; i++)
        error = cudaEventCreateWithFlags(&m->slot_ready[i], cudaEventDisableTiming);
    if (!error)
        error =
            cudaHostAlloc((void **)&m->host_logits, logits * sizeof(float), cudaHostAllocDefault);
    return num_cuda_fail(err, "pinned memory, streams and events", error);
}

void cuda_free(void *self) {
    struct wh_cuda *m = (struct wh_cuda *)self;
    if (m->encode_stream)
        cudaStreamSynchronize(m->encode_stream);
    if (m->decode_stream)
        cudaStreamSynchronize(m->decode_stream);
    wh_cuda_encoder_destroy(m);
    wh_cuda_decoder_destroy(m);
    for (uint32_t i = 0; m->slot_ready && i < m->c.n_slots; i++)
        if (m->slot_ready[i])
            cudaEventDestroy(m->slot_ready[i]);
    free(m->slot_ready);
    if (m->encode_stream)
        cudaStreamDestroy(m->encode_stream);
    if (m->decode_stream)
        cudaStreamDestroy(m->decode_stream);
    if (m->host_logits)
        cudaFreeHost(m->host_logits);
    num_cuda_block_free(m->block);
    num_cuda_gemm_close(m->gemm);
    free(m->host_encoded);
    free(m);
}

int32_t fill(struct wh_cuda *m, const struct wh_weights *weights, struct num_err *err) {
    int32_t status = num_cuda_device_open(m->limits.device, &m->device, err);
    if (!status)
        status = num_cuda_gemm_open(&m->gemm, err);
    if (!status)
        status = plan(m, err);
    if (!status)
        status = take_memory(m, err);
    if (status)
        return status;
    wh_cuda_weights_place(&m->w, &m->c, m->block + m->plan.weights);
    status = load_weights(m, weights, err);
    if (!status)
        status = wh_cuda_decoder_create(m, err);
    if (!status)
        status = wh_cuda_encoder_create(m, err);
    /* Copies from pageable memory are on their way still; the streams do not wait for them. */
    return status ? status : num_cuda_fail(err, "preparing the model", cudaDeviceSynchronize());
}

int32_t cuda_load(const struct wh_weights *weights, const struct wh_dims *dims,
                  const struct wh_limits *limits, void **ret_self, struct num_err *err) {
    int32_t status = wh_cuda_check_sizes(weights, dims, err);
    if (status)
        return status;
    struct wh_cuda *m = (struct wh_cuda *)calloc(1, sizeof *m);
    if (!m)
        return num_fail_memory(err, "the model", sizeof *m);
    m->limits = *limits;
    m->c = configure(dims, limits);
    status = fill(m, weights, err);
    if (status)
        cuda_free(m);
    else
        *ret_self = m;
    return status;
}

/* ---- The rest of the table ------------------------------------------------------------------ */

int32_t check_slots(const struct wh_cuda *m, const uint32_t *slots, uint32_t n,
                    struct num_err *err) {
    for (uint32_t i = 0; i < n; i++)
        if (slots[i] >= m->c.n_slots)
            return num_fail(err, SLUICE_INTERNAL, "the encoder was given slot %u of %u", slots[i],
                            m->c.n_slots);
    return SLUICE_OK;
}

int32_t cuda_encode(void *self, const float *const *mel, const uint32_t *slots, uint32_t n,
                    const struct num_watch *watch, struct num_err *err) {
    struct wh_cuda *m = (struct wh_cuda *)self;
    int32_t status = check_slots(m, slots, n, err);
    return status ? status : wh_cuda_encode(m, mel, slots, n, watch, err);
}

int32_t cuda_listen(void *self, uint32_t slot, const float *pcm, uint64_t n_samples,
                    uint64_t n_frames, struct num_err *err) {
    struct wh_cuda *m = (struct wh_cuda *)self;
    int32_t status = check_slots(m, &slot, 1, err);
    return status ? status : wh_cuda_listen(m, slot, pcm, n_samples, n_frames, err);
}

int32_t cuda_encode_audio(void *self, const struct wh_excerpt *windows, const uint32_t *slots,
                          uint32_t n, const struct num_watch *watch, struct num_err *err) {
    struct wh_cuda *m = (struct wh_cuda *)self;
    int32_t status = check_slots(m, slots, n, err);
    return status ? status : wh_cuda_encode_audio(m, windows, slots, n, watch, err);
}

/* An event that cannot be asked counts as over: what waits for it says why. */
bool cuda_is_encoded(void *self, uint32_t slot) {
    const struct wh_cuda *m = (const struct wh_cuda *)self;
    if (slot >= m->c.n_slots || cudaEventQuery(m->slot_ready[slot]) != cudaErrorNotReady)
        return true;
    cudaGetLastError(); /* no failure, and not to be taken for one */
    return false;
}

float widen(enum num_cuda_type type, const void *values, size_t i) {
    switch (type) {
    case NUM_CUDA_F16:
        return num_f16_to_f32(((const uint16_t *)values)[i]);
    case NUM_CUDA_BF16:
        return num_bf16_to_f32(((const uint16_t *)values)[i]);
    default:
        return ((const float *)values)[i];
    }
}

/* Copied in its type to the buffer's end and widened from there: value i is read before the float i
 * is written over it. */
const float *cuda_encoded(void *self, uint32_t slot) {
    struct wh_cuda *m = (struct wh_cuda *)self;
    const size_t n = (size_t)m->c.dims.n_audio_ctx * m->c.dims.n_state;
    const size_t value = num_cuda_type_bytes(m->c.type);
    if (!m->host_encoded)
        m->host_encoded = (float *)malloc(n * sizeof(float));
    if (!m->host_encoded || slot >= m->c.n_slots)
        return NULL;
    char *values = (char *)m->host_encoded + n * (sizeof(float) - value);
    cudaError_t error = cudaStreamWaitEvent(m->decode_stream, m->slot_ready[slot], 0);
    if (!error)
        error = cudaMemcpyAsync(values, wh_cuda_encoded(m, slot), n * value, cudaMemcpyDeviceToHost,
                                m->decode_stream);
    if (!error)
        error = cudaStreamSynchronize(m->decode_stream);
    for (size_t i = 0; !error && i < n; i++)
        m->host_encoded[i] = widen(m->c.type, values, i);
    return error ? NULL : m->host_encoded;
}

void cuda_info(void *self, struct wh_device_info *ret) {
    struct wh_cuda *m = (struct wh_cuda *)self;
    *ret = {};
    memcpy(ret->name, m->device.name, sizeof m->device.name);
    ret->n_slots = m->c.n_slots;
    ret->n_rows = m->c.n_rows;
    ret->bytes = m->plan.bytes;
    ret->absorbed = m->c.cross == WH_CUDA_ABSORBED;
    ret->lost = num_cuda_is_broken();
}

} // namespace

extern "C" const struct wh_backend wh_backend_cuda = {
    "cuda",
    cuda_load,
    cuda_free,
    cuda_encode,
    cuda_listen,
    cuda_encode_audio,
    cuda_is_encoded,
    wh_cuda_prefill,
    wh_cuda_step,
    wh_cuda_reorder,
    wh_cuda_attention,
    cuda_encoded,
    cuda_info,
    &wh_cuda_search_table,
};
