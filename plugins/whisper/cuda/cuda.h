/*
 * A Whisper model on a CUDA device: what backend.cu loads and what the encoder's and the decoder's
 * kernels work on. Sizes and places are in plan.h.
 *
 * Everything on the device lies in one block that is taken at load; nothing is allocated after.
 * Two streams: windows are encoded on `encode_stream` while rows are decoded on `decode_stream`.
 * A slot belongs to the encoder from wh_cuda_encode() until its event, and to the decoder from then
 * on: the decoder waits for slot_ready[slot] on its stream, never on the host.
 */
#ifndef WH_CUDA_CUDA_H
#define WH_CUDA_CUDA_H

#include <cuda_runtime.h>

#include "num/cuda/device.h"
#include "num/cuda/gemm.h"
#include "whisper/cuda/plan.h"

#ifdef __cplusplus
extern "C" {
#endif

struct wh_cuda_encoder; /* encoder.h */
struct wh_cuda_decoder; /* decoder.cu */

struct wh_cuda {
    struct wh_cuda_config c;
    struct wh_limits limits;
    struct wh_cuda_plan plan;
    struct wh_cuda_weights w; /* pointers into `block` */
    struct num_cuda_device device;
    char *block; /* on the device: plan.bytes */

    cudaStream_t encode_stream, decode_stream;
    cudaEvent_t *slot_ready;    /* (n_slots) on the host: recorded behind the slot's last kernel */
    float *host_logits;         /* pinned, (as many rows as `logits`, V) */
    struct num_cuda_gemm *gemm; /* opened once, for both towers */
    struct wh_cuda_encoder *encoder;
    struct wh_cuda_decoder *decoder;
    float *host_encoded; /* (T, D): of encoded(), made at its first call */
};

/* The encoder's output of a slot, (T, D) in the config's type. */
static inline char *wh_cuda_encoded(const struct wh_cuda *m, uint32_t slot) {
    size_t values = (size_t)m->c.dims.n_audio_ctx * m->c.dims.n_state;
    return m->block + m->plan.encoded + slot * values * num_cuda_type_bytes(m->c.type);
}

/* Keys and values of a layer and a slot, as config.kept says; plain: (T, 2 D), keys in the first D
 * columns. From one layer to the next it is n_slots times as far as from one slot to the next. Not
 * in ABSORBED. */
static inline char *wh_cuda_cross_kv(const struct wh_cuda *m, uint32_t layer, uint32_t slot) {
    return m->block + m->plan.cross_kv +
           ((size_t)layer * m->c.n_slots + slot) * wh_cuda_cross_bytes(&m->c);
}

/* ---- encoder.c ------------------------------------------------------------------------------ */

/* Called once the weights are on the device, and before they go. destroy() takes a model whose
 * encoder is NULL. */
int32_t wh_cuda_encoder_create(struct wh_cuda *m, struct num_err *err);
void wh_cuda_encoder_destroy(struct wh_cuda *m);

/*
 * Starts encoding n windows (any number: passes of n_windows) on encode_stream: mel[i] (2 T, M) on
 * the host is copied before the call returns; fills encoded() and cross_kv() of slots[i] and
 * records slot_ready[slots[i]]. Values are stored without their bias: attention weights sum to one,
 * so the decoder adds it once behind the sum.
 */
int32_t wh_cuda_encode(struct wh_cuda *m, const float *const *mel, const uint32_t *slots,
                       uint32_t n, const struct num_watch *watch, struct num_err *err);

/* struct wh_backend's; the maximum of a slot's spectrogram stays on the device, so neither waits
 * for it. */
int32_t wh_cuda_listen(struct wh_cuda *m, uint32_t slot, const float *pcm, uint64_t n_samples,
                       uint64_t n_frames, struct num_err *err);
int32_t wh_cuda_encode_audio(struct wh_cuda *m, const struct wh_excerpt *windows,
                             const uint32_t *slots, uint32_t n, const struct num_watch *watch,
                             struct num_err *err);

/* ---- decoder.cu, words.cu ------------------------------------------------------------------- */

int32_t wh_cuda_decoder_create(struct wh_cuda *m, struct num_err *err);
void wh_cuda_decoder_destroy(struct wh_cuda *m);

/* The functions of struct wh_backend, on a struct wh_cuda. */
int32_t wh_cuda_prefill(void *self, const struct wh_prompt *prompts, uint32_t n,
                        struct num_err *err);
int32_t wh_cuda_step(void *self, const struct wh_step *steps, uint32_t n, float *ret_logits,
                     struct num_err *err);
int32_t wh_cuda_reorder(void *self, const uint32_t *to, const uint32_t *from, uint32_t n,
                        struct num_err *err);
int32_t wh_cuda_attention(void *self, const struct wh_alignment *alignments, uint32_t n,
                          struct num_err *err);

#ifdef __cplusplus
}
#endif

#endif
