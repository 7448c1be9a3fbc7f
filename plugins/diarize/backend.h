/*
 * What runs the two networks of the neural method: the processor (pyannet.h and resnet.h, behind
 * models.c), or a card (cuda/).
 */
#ifndef DIARIZE_BACKEND_H
#define DIARIZE_BACKEND_H

#include "diarize/pyannet_model.h"
#include "num/cpu/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Windows that suit one call. */
#define DZ_BATCH 64

struct dz_device_options {
    enum num_compute compute; /* F32 or BF16 */
    int device;               /* which card, */
    uint64_t device_memory;   /* and the most bytes that may be taken there; 0: no limit */
};

struct dz_device_info {
    char name[64];
    uint64_t bytes; /* that are taken there */
    bool lost;      /* an error has left it dead for this process */
};

/* A voice to be heard: that of the frames of a window that `mask` weighs, 0 to 1, not all 0. */
struct dz_heard {
    size_t window;     /* of those that are given */
    const float *mask; /* (n_frames of the segmentation) */
    float *ret;        /* (size): the embedding */
};

/* `self` is what create() made. One call at a time. */
struct dz_backend {
    const char *name;
    size_t n_windows; /* that hear() likes at a time, at most DZ_BATCH */

    /* The weights are copied. NULL: models.c makes what the processor runs. */
    int32_t (*create)(const struct dz_weights *segmentation, const struct dz_weights *embedding,
                      const struct dz_device_options *options, void **ret_self,
                      struct num_err *err);
    void (*destroy)(void *self);

    void (*shape)(const void *self, struct dz_pyannet_shape *ret);
    uint8_t (*set)(const void *self, size_t class_); /* as dz_pyannet_set() */
    size_t (*size)(const void *self);                /* values of an embedding */

    /* As dz_pyannet_run(), for n windows, at most DZ_BATCH. */
    int32_t (*segment)(void *self, const float *const *windows, size_t n, float *ret,
                       struct num_err *err);

    /* The embeddings of n_heard voices in n windows, at most DZ_BATCH, in the order of windows. */
    int32_t (*hear)(void *self, const float *const *windows, size_t n, const struct dz_heard *heard,
                    size_t n_heard, struct num_err *err);

    void (*info)(void *self, struct dz_device_info *ret); /* NULL: the processor */
};

extern const struct dz_backend dz_backend_cpu;  /* on a struct dz_models: models.c */
extern const struct dz_backend dz_backend_cuda; /* where it was built: cuda/backend.c */

#ifdef __cplusplus
}
#endif

#endif
