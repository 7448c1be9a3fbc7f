/*
 * Reads a model's weights in the order in which they lie on the device and hands them on, piece by
 * piece, in the types of the device. Knows no device: a sink takes the bytes.
 */
#ifndef WH_CUDA_LOAD_H
#define WH_CUDA_LOAD_H

#include "num/pool.h"
#include "whisper/cuda/plan.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WH_CUDA_STAGE_BYTES (8u << 20) /* of one piece; rows wider than that do not occur */

/* Finds one tensor for every size of the configuration, so that no size is believed before memory
 * is taken. */
int32_t wh_cuda_check_sizes(const struct wh_weights *weights, const struct wh_dims *dims,
                            struct num_err *err);

/* Where the weights go. */
struct wh_cuda_sink {
    void *ctx;
    /* WH_CUDA_STAGE_BYTES of room for the next piece, not in use any more; NULL: failed, and `err`
     * says why. */
    void *(*stage)(void *ctx, struct num_err *err);
    /* Copies the first `bytes` of the room to `to`. */
    int32_t (*put)(void *ctx, void *to, size_t bytes, struct num_err *err);
};

/*
 * Loads all weights to where `places` (from wh_cuda_weights_place()) wants them. SLUICE_INPUT where
 * a tensor is missing or has another shape. Rows are converted on `pool`.
 */
int32_t wh_cuda_weights_load(const struct wh_cuda_weights *places, const struct wh_cuda_config *c,
                             const struct wh_weights *weights, struct num_pool *pool,
                             const struct wh_cuda_sink *sink, struct num_err *err);

/* n floats in the device's type, rounded to nearest even. */
void wh_cuda_convert(enum num_cuda_type type, const float *from, size_t n, void *to);

/* A row of n values in bytes, or in halves of bytes (n is a multiple of WH_CUDA_GROUP): x is about
 * q * scale. INT4: value 2 i in the low half of byte i, each stored plus 8. */
void wh_cuda_pack_row(enum wh_cuda_packing packing, const float *from, size_t n, void *to,
                      float *ret_scales);

#ifdef __cplusplus
}
#endif

#endif
