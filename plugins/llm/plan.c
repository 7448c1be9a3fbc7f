/* The memory plan: see generate.h. Weights are what they are; buffers follow from the number of
 * requests; what is left is pages of keys and values. */
#include <inttypes.h>

#include "llm/cpu.h"
#include "llm/sample.h"

#define LEAST_CONTEXT 256u

static uint32_t pages_of(uint32_t context) {
    return (context + LM_PAGE - 1) / LM_PAGE;
}

static enum lm_kv_type kv_of(const struct lm_model *m, enum lm_kv_type kv) {
    return kv != LM_KV_AUTO ? kv : m->compute == LM_F32 ? LM_KV_F32 : LM_KV_F16;
}

/* The longest text that is made without being asked: of dynamic scaling, what needs none. */
static uint32_t own_context(const struct lm_config *c) {
    return c->rope.kind == LM_ROPE_DYNAMIC && c->rope.original_context < c->n_context
               ? c->rope.original_context
               : c->n_context;
}

static uint64_t mib(uint64_t bytes) {
    return (bytes + (1 << 20) - 1) >> 20;
}

static int32_t too_little(const struct lm_plan *p, uint64_t memory, uint64_t page, uint32_t context,
                          struct num_err *err) {
    return num_fail(err, SLUICE_RESOURCE,
                    "%" PRIu64 " MiB are too little: weights take %" PRIu64 " MiB, buffers %" PRIu64
                    " and a context of %" PRIu32 " tokens %" PRIu64
                    "; allow more memory, a shorter context, fewer requests at a time, or keys and "
                    "values of fewer bits",
                    memory >> 20, mib(p->weight_bytes), mib(p->work_bytes), context,
                    mib(pages_of(context) * page));
}

static uint64_t work_bytes(const struct lm_model *m, const struct lm_plan *p) {
    if (m->card)
        return m->card->work_bytes(m, p->n_requests, p->context);
    return lm_cpu_work_bytes(m, p->n_requests, p->context) + lm_sampler_bytes(m->config.n_vocab);
}

int32_t lm_plan(const struct lm_model *m, const struct lm_limits *limits, struct lm_plan *ret,
                struct num_err *err) {
    const struct lm_config *c = &m->config;
    struct lm_plan p = {.n_requests = limits->n_requests, .kv = kv_of(m, limits->kv)};
    uint64_t memory = limits->memory ? limits->memory : m->card_room;
    uint64_t page = m->card ? m->card->page_bytes(m, p.kv) : lm_cpu_page_bytes(m, p.kv);
    uint64_t n_pages = UINT32_MAX / LM_PAGE;
    if (m->card && memory > m->card_room)
        memory = m->card_room;
    if (p.n_requests < 1 || p.n_requests > LM_MAX_REQUESTS)
        return num_fail(err, SLUICE_INPUT, "%" PRIu32 " requests at a time; 1 to %d are possible",
                        p.n_requests, LM_MAX_REQUESTS);
    if (limits->context > c->n_context)
        return num_fail(err, SLUICE_INPUT,
                        "a context of %" PRIu32 " tokens is asked for; the model has %" PRIu32,
                        limits->context, c->n_context);
    p.context = limits->context ? limits->context : own_context(c);
    p.weight_bytes = m->bytes;
    p.work_bytes = work_bytes(m, &p);
    if (memory) {
        uint64_t used = p.weight_bytes + p.work_bytes;
        uint64_t fit = memory > used ? (memory - used) / page : 0;
        n_pages = fit < n_pages ? fit : n_pages;
    }
    uint32_t least = limits->context || p.context < LEAST_CONTEXT ? p.context : LEAST_CONTEXT;
    while (n_pages < pages_of(p.context) && p.context > least && memory) {
        p.context = p.context / 2 > least ? p.context / 2 : least; /* buffers grow with it */
        p.work_bytes = work_bytes(m, &p);
        uint64_t used = p.weight_bytes + p.work_bytes;
        n_pages = memory > used ? (memory - used) / page : 0;
    }
    if (n_pages < pages_of(least))
        return too_little(&p, memory, page, least, err);
    uint32_t n_full =
        limits->n_full && limits->n_full < p.n_requests ? limits->n_full : p.n_requests;
    uint64_t wanted = (uint64_t)n_full * pages_of(p.context);
    p.n_pages = (uint32_t)(wanted < n_pages ? wanted : n_pages);
    p.kv_bytes = p.n_pages * page;
    *ret = p;
    return SLUICE_OK;
}
