/*
 * Needs and devices of stages, see needs.h. A measured peak is taken with a little room for what
 * varies; it counts on cards of the same name alone. `device: auto` takes a card where one is large
 * enough, and says why, or why not.
 */
#include "sched/needs.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/units.h"

#define MARGIN_SHARE 32 /* a measured peak is taken as larger by this part */

const char *sl_need_from_name(enum sl_need_from from) {
    return from == SL_NEED_DECLARED   ? "declared"
           : from == SL_NEED_MEASURED ? "measured"
                                      : "unknown";
}

static bool can_use_card(const struct sl_plan_stage *stage) {
    return stage->desc->flags & SLUICE_STAGE_CUDA && stage->device.kind != SL_DEVICE_CPU;
}

bool sl_plan_wants_cards(const struct sl_plan *plan) {
    for (int i = 0; i < plan->n_stages; i++)
        if (can_use_card(&plan->stages[i]))
            return true;
    return false;
}

/* What is asked about, and where. */
struct question {
    const struct sl_plan_stage *stage;
    const char *params;
    const struct sl_machine *m;
};

/* ---- Bytes ----------------------------------------------------------------------------------- */

/* What was measured fits where it was measured, so the margin stops at the capacity. */
static uint64_t with_margin(uint64_t peak, uint64_t capacity) {
    uint64_t more = peak + peak / MARGIN_SHARE;
    return more <= capacity ? more : peak < capacity ? capacity : peak;
}

static enum sl_need_from choose(uint64_t declared, uint64_t measured, uint64_t capacity,
                                uint64_t *ret) {
    *ret = measured ? with_margin(measured, capacity) : declared;
    return measured ? SL_NEED_MEASURED : declared ? SL_NEED_DECLARED : SL_NEED_UNKNOWN;
}

static struct sl_peak peak_on(const struct question *q, const char *device) {
    sl_autofree char *key = sl_peaks_key(q->stage->use, q->params, device);
    return sl_peaks_get(q->m->peaks, key);
}

static bool is_usable(const struct sl_gpus *g, int i, int wanted) {
    return !g->cards[i].error && (wanted < 0 || wanted == i);
}

/* Over the cards that it may get; where they differ the largest counts. */
static struct sl_peak peak_on_cards(const struct question *q) {
    struct sl_peak most = {0};
    for (int i = 0; i < q->m->gpus->n; i++) {
        if (!is_usable(q->m->gpus, i, q->stage->device.index))
            continue;
        struct sl_peak p = peak_on(q, q->m->gpus->cards[i].name);
        most.memory = p.memory > most.memory ? p.memory : most.memory;
        most.gpu_memory = p.gpu_memory > most.gpu_memory ? p.gpu_memory : most.gpu_memory;
    }
    return most;
}

static const struct sl_gpu *largest_card(const struct sl_gpus *g, int wanted) {
    const struct sl_gpu *best = NULL;
    for (int i = 0; i < g->n; i++)
        if (is_usable(g, i, wanted) && (!best || g->cards[i].capacity > best->capacity))
            best = &g->cards[i];
    return best;
}

static void find_memory(const struct question *q, uint64_t measured, struct sl_stage_need *n) {
    n->memory_from = choose(q->stage->resources.memory, measured, q->m->memory, &n->memory);
}

/* ---- The device ------------------------------------------------------------------------------ */

static char *size_text(uint64_t bytes) {
    char text[32];
    return sl_xstrdup(sl_format_size(bytes, text, sizeof text));
}

/* Why no card can be used; owned. NULL: one can. */
static char *no_card(const struct sl_gpus *g, int wanted) {
    if (g->error)
        return sl_xstrdup(g->error);
    if (g->n == 0)
        return sl_xstrdup("this machine has no NVIDIA card");
    if (wanted >= g->n)
        return sl_xasprintf("there is no card %d; this machine has %d, counted from 0", wanted,
                            g->n);
    if (largest_card(g, wanted))
        return NULL;
    const struct sl_gpu *card = &g->cards[wanted < 0 ? 0 : wanted];
    return sl_xasprintf("card %d%s%s cannot be used: %s", wanted < 0 ? 0 : wanted,
                        *card->name ? ", " : "", card->name, card->error);
}

static char *too_small(const struct sl_gpu *card, const struct sl_stage_need *n) {
    sl_autofree char *needed = size_text(n->gpu_memory), *has = size_text(card->capacity);
    return sl_xasprintf("it needs %s of GPU memory (%s) and the largest card, %s, has %s", needed,
                        sl_need_from_name(n->gpu_from), card->name, has);
}

static void use_card(const struct question *q, const struct sl_gpu *card, struct sl_stage_need *n) {
    struct sl_peak peak = peak_on_cards(q);
    n->on_gpu = true;
    n->card = q->stage->device.index;
    n->gpu_from =
        choose(q->stage->resources.gpu_memory, peak.gpu_memory, card->capacity, &n->gpu_memory);
    find_memory(q, peak.memory, n);
}

static void use_cpu(const struct question *q, struct sl_stage_need *n) {
    *n = (struct sl_stage_need){.card = -1, .why = n->why};
    find_memory(q, peak_on(q, "cpu").memory, n);
}

static void choose_auto(const struct question *q, const char *force_cpu, struct sl_stage_need *n) {
    const struct sl_gpus *gpus = q->m->gpus;
    sl_autofree char *none = force_cpu ? sl_xstrdup(force_cpu) : no_card(gpus, -1), *small = NULL;
    if (!none) {
        const struct sl_gpu *card = largest_card(gpus, -1);
        use_card(q, card, n);
        small = n->gpu_memory > card->capacity ? too_small(card, n) : NULL;
    }
    if (!none && !small) {
        n->why = sl_xstrdup("cuda, because there is a card that it fits on");
        return;
    }
    n->why = sl_xasprintf("cpu, because %s", none ? none : small);
    use_cpu(q, n);
}

/* A driver that says nothing of its cards may still serve CUDA, as in containers without its
 * management library. */
static void use_blindly(const struct question *q, struct sl_stage_need *n) {
    n->on_gpu = n->blind = true;
    n->card = q->stage->device.index;
    n->gpu_from = choose(q->stage->resources.gpu_memory, 0, 0, &n->gpu_memory);
    find_memory(q, 0, n);
}

static void choose_cuda(const struct question *q, struct sl_stage_need *n) {
    int wanted = q->stage->device.index;
    sl_autofree char *none = no_card(q->m->gpus, wanted);
    if (none) {
        use_blindly(q, n);
        if (!q->m->gpus->error)
            n->never = sl_xasprintf("device: cuda: %s; use device: cpu or auto", none);
        return;
    }
    const struct sl_gpu *card = largest_card(q->m->gpus, wanted);
    use_card(q, card, n);
    if (n->gpu_memory <= card->capacity)
        return;
    sl_autofree char *small = too_small(card, n);
    n->never = sl_xasprintf(
        "%s; lower resources.gpu_memory, take a smaller model, or use device: cpu", small);
}

static void check_memory(const struct question *q, struct sl_stage_need *n) {
    if (n->never || n->memory <= q->m->memory)
        return;
    sl_autofree char *needed = size_text(n->memory), *has = size_text(q->m->memory);
    n->never = sl_xasprintf(
        "it needs %s of memory (%s) and this machine has %s; lower resources.memory or take a "
        "smaller model",
        needed, sl_need_from_name(n->memory_from), has);
}

void sl_stage_need_find(const struct sl_plan_stage *stage, const char *params,
                        const struct sl_machine *m, const char *force_cpu,
                        struct sl_stage_need *ret) {
    struct question q = {stage, params, m};
    *ret = (struct sl_stage_need){.card = -1};
    if (!can_use_card(stage))
        use_cpu(&q, ret);
    else if (stage->device.kind == SL_DEVICE_AUTO)
        choose_auto(&q, force_cpu, ret);
    else
        choose_cuda(&q, ret);
    check_memory(&q, ret);
}

void sl_stage_need_finish(struct sl_stage_need *n) {
    free(n->why);
    free(n->never);
    *n = (struct sl_stage_need){0};
}
