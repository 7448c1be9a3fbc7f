/*
 * What runs the network in the processor's place: a card (cuda/backend.c). Weights belong to a
 * model, keys, values and buffers to an engine; both are used by one thread. Everything is taken at
 * load and create: passes allocate nothing.
 */
#ifndef LM_CARD_H
#define LM_CARD_H

#include "llm/generate.h"

#ifdef __cplusplus
extern "C" {
#endif

struct lm_item;

struct lm_card_info {
    char name[64];
    uint64_t bytes; /* of weights */
    bool lost;      /* an error that only a new process of the host's ends */
};

struct lm_card {
    const char *name;

    /*
     * Brings the weights of the model's open files to card `device`. `memory` is what model and
     * engine may take there, bytes, 0 for what is free: *ret_room is what that comes to.
     * SLUICE_UNSUPPORTED where the card or its kernels cannot take the model, SLUICE_RESOURCE with
     * both numbers where there is no room.
     */
    int32_t (*load)(const struct lm_model *model, int device, uint64_t memory, void **ret_weights,
                    uint64_t *ret_bytes, uint64_t *ret_room, struct num_err *err);
    void (*unload)(void *weights); /* takes NULL */
    void (*info)(const void *weights, struct lm_card_info *ret);

    /* What an engine takes beside its pages, and one page, bytes. */
    uint64_t (*work_bytes)(const struct lm_model *model, uint32_t n_requests, uint32_t context);
    uint64_t (*page_bytes)(const struct lm_model *model, enum lm_kv_type kv);

    int32_t (*create)(const struct lm_model *model, const struct lm_plan *plan, void **ret_run,
                      struct num_err *err);
    void (*destroy)(void *run); /* takes NULL */

    /* As lm_cpu_prompt() and lm_cpu_tokens(); *ret_stopped: `stop` said yes. */
    int32_t (*prompt)(void *run, const struct lm_item *items, size_t n, bool logits,
                      bool (*stop)(void *ctx), void *ctx, bool *ret_stopped, struct num_err *err);
    int32_t (*tokens)(void *run, const struct lm_item *items, size_t n, struct num_err *err);

    /* Of the last pass: rows of n_vocab, borrowed until the next one. */
    const float *(*logits)(const void *run);
};

extern const struct lm_card lm_card_cuda; /* where it was built */

#ifdef __cplusplus
}
#endif

#endif
