/*
 * What runs the network and finds paths: the processor (net.h, ctc.h), or a card (cuda/).
 */
#ifndef ALIGN_BACKEND_H
#define ALIGN_BACKEND_H

#include "align/config.h"
#include "align/ctc.h"
#include "align/files.h"
#include "num/watch.h"
#include "num/cpu/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

struct al_net_options {
    enum num_compute compute; /* float, or bfloat16 */
    uint32_t n_threads;
    uint32_t max_frames;    /* of one run */
    int device;             /* of cards: which, */
    uint64_t device_memory; /* and the most bytes that may be taken there; 0: no limit */
};

struct al_device_info {
    char name[64];
    uint64_t bytes; /* that are taken there */
    bool lost;      /* an error has left it dead for this process */
};

/* `self` is what create() made. One call at a time. */
struct al_backend {
    const char *name;
    size_t n_texts; /* of one align(), at most */

    /* Loads the weights and takes all memory that runs need; the files can be closed after. */
    int32_t (*create)(const struct al_files *files, const struct al_config *config,
                      const struct al_net_options *options, void **ret_self, struct num_err *err);
    void (*destroy)(void *self); /* takes NULL */

    /* As al_net_listen() and al_net_run(). */
    int32_t (*listen)(void *self, const float *pcm, size_t n_samples, struct num_err *err);
    int32_t (*run)(void *self, size_t first, size_t n, const struct num_watch *watch, float *ret,
                   struct num_err *err);

    /* The paths of n texts, as al_ctc_align() finds each. */
    int32_t (*align)(void *self, const struct al_ctc *texts, struct al_span *const *ret_spans,
                     size_t n, const struct num_watch *watch, struct num_err *err);

    void (*info)(void *self, struct al_device_info *ret); /* NULL: the processor */
};

extern const struct al_backend al_backend_cpu;
extern const struct al_backend al_backend_cuda; /* where it was built: cuda/backend.c */

#ifdef __cplusplus
}
#endif

#endif
