/*
 * The ledger of memory, see ledger.h. Each question is the same sum over holds with some of them
 * left out: which are left out makes the difference between what fits now, after those that are
 * leaving, after an eviction, or ever.
 */
#include "sched/ledger.h"

#include <stddef.h>

#define BACK_SHARE 4           /* memory counts as back when all but a quarter is */
#define BACK_LEAST (64u << 20) /* or all but this */

void sl_ledger_add(struct sl_ledger *l, struct sl_hold *hold) {
    hold->next = l->holds;
    l->holds = hold;
}

void sl_ledger_remove(struct sl_ledger *l, struct sl_hold *hold) {
    for (struct sl_hold **at = &l->holds; *at; at = &(*at)->next) {
        if (*at == hold) {
            *at = hold->next;
            hold->next = NULL;
            return;
        }
    }
}

static uint64_t larger(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

static uint64_t smaller(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static uint64_t minus(uint64_t a, uint64_t b) {
    return a > b ? a - b : 0;
}

static uint64_t plus(uint64_t a, uint64_t b) {
    uint64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

/* ---- Which holds count ----------------------------------------------------------------------- */

/* All but those in one of the states, and but those in a list. */
struct but {
    unsigned states; /* bits 1 << SL_HOLD_* */
    struct sl_hold *const *list;
    int n;
};

static const struct but BUT_NONE = {0}, BUT_ALL = {.states = ~0u};
#define BUT_LEAVING (1u << SL_HOLD_LEAVING | 1u << SL_HOLD_GONE)

static bool counts(const struct sl_hold *h, const struct but *but) {
    if (but->states & 1u << h->state)
        return false;
    for (int i = 0; i < but->n; i++)
        if (but->list[i] == h)
            return false;
    return true;
}

/* ---- A card ---------------------------------------------------------------------------------- */

static uint64_t held_of(const struct sl_ledger *l, int device, const struct but *but) {
    uint64_t sum = 0;
    for (const struct sl_hold *h = l->holds; h; h = h->next)
        if (h->device == device && counts(h, but))
            sum = plus(sum, larger(h->gpu_memory, h->gpu_seen));
    return sum;
}

static uint64_t own_reading(const struct sl_ledger *l, int device, const struct but *but) {
    const struct sl_ledger_device *d = &l->devices[device];
    return minus(minus(d->capacity, d->foreign), held_of(l, device, but));
}

uint64_t sl_ledger_available(const struct sl_ledger *l, int device) {
    return smaller(own_reading(l, device, &BUT_NONE), l->devices[device].free);
}

static bool is_held(const struct sl_ledger *l, int device, const struct but *but) {
    for (const struct sl_hold *h = l->holds; h; h = h->next)
        if (h->device == device && counts(h, but))
            return true;
    return false;
}

/* A need that nobody knows takes the card alone, whatever others have of it. */
static bool fits_card(const struct sl_ledger *l, int device, uint64_t bytes,
                      const struct but *but) {
    if (bytes == SL_LEDGER_ALL)
        return !is_held(l, device, but);
    return bytes <= own_reading(l, device, but);
}

static bool fits_card_now(const struct sl_ledger *l, int device, uint64_t bytes) {
    return fits_card(l, device, bytes, &BUT_NONE) &&
           (bytes == SL_LEDGER_ALL || bytes <= l->devices[device].free);
}

/* ---- The machine ----------------------------------------------------------------------------- */

static bool fits_machine(const struct sl_ledger *l, uint64_t bytes, const struct but *but) {
    uint64_t held = 0, to_come = 0;
    if (bytes == 0)
        return true;
    for (const struct sl_hold *h = l->holds; h; h = h->next) {
        if (!counts(h, but))
            continue;
        held = plus(held, larger(h->memory, h->memory_seen));
        to_come = plus(to_come, minus(h->memory, h->memory_seen));
    }
    if (held == 0)
        return true;
    return bytes <= minus(l->memory_capacity, held) &&
           (but->states || but->n || bytes <= minus(l->memory_free, to_come));
}

/* ---- Eviction -------------------------------------------------------------------------------- */

/* The longest idle worker that holds some of what lacks and is not in the list; NULL: none. */
static struct sl_hold *next_idle(const struct sl_ledger *l, int device, bool for_card,
                                 const struct but *but) {
    struct sl_hold *best = NULL;
    for (struct sl_hold *h = l->holds; h; h = h->next) {
        bool has = for_card ? h->device == device : larger(h->memory, h->memory_seen) > 0;
        if (h->state == SL_HOLD_IDLE && has && counts(h, but) &&
            (!best || h->idle_since_ms < best->idle_since_ms))
            best = h;
    }
    return best;
}

/* Fills the list until the need fits; false: idle workers are not enough. */
static bool find_evictions(const struct sl_ledger *l, const struct sl_need *need, int device,
                           struct sl_answer *ret) {
    struct but but = {.states = BUT_LEAVING, .list = ret->evict};
    ret->n_evict = 0;
    for (;;) {
        bool card = device < 0 || fits_card(l, device, need->gpu_memory, &but);
        if (card && fits_machine(l, need->memory, &but))
            return true;
        struct sl_hold *h = next_idle(l, device, !card, &but);
        if (!h || ret->n_evict == SL_LEDGER_MAX_EVICT)
            return false;
        ret->evict[ret->n_evict++] = h;
        but.n = ret->n_evict;
    }
}

/* ---- The question ---------------------------------------------------------------------------- */

static uint64_t machine_available(const struct sl_ledger *l) {
    uint64_t held = 0;
    for (const struct sl_hold *h = l->holds; h; h = h->next)
        held = plus(held, larger(h->memory, h->memory_seen));
    return smaller(minus(l->memory_capacity, held), l->memory_free);
}

static struct sl_answer never(int device, enum sl_lack lack, uint64_t available) {
    return (struct sl_answer){
        .verdict = SL_VERDICT_NEVER, .device = device, .lack = lack, .available = available};
}

/* With this card, or without one (-1). */
static void ask_card(const struct sl_ledger *l, const struct sl_need *need, int device,
                     struct sl_answer *ret) {
    const struct but leaving = {.states = BUT_LEAVING};
    bool card = device < 0 || fits_card_now(l, device, need->gpu_memory);
    bool machine = fits_machine(l, need->memory, &BUT_NONE);
    *ret = (struct sl_answer){.verdict = SL_VERDICT_FITS, .device = device};
    if (card && machine)
        return;
    ret->verdict = SL_VERDICT_WAIT;
    ret->lack = card ? SL_LACK_MEMORY : SL_LACK_GPU;
    ret->available = card ? machine_available(l) : sl_ledger_available(l, device);
    if ((device < 0 || fits_card(l, device, need->gpu_memory, &leaving)) &&
        fits_machine(l, need->memory, &leaving)) {
        ret->foreign = !card && !is_held(l, device, &BUT_NONE);
        return;
    }
    if (find_evictions(l, need, device, ret)) {
        ret->verdict = SL_VERDICT_EVICT;
        return;
    }
    ret->n_evict = 0;
    ret->foreign = !card && !fits_card(l, device, need->gpu_memory, &BUT_ALL);
}

static bool is_possible(const struct sl_ledger *l, const struct sl_need *need, int device) {
    const struct sl_ledger_device *d = &l->devices[device];
    return d->capacity > 0 && (need->device < 0 || need->device == device) &&
           !(need->avoid >> device & 1) &&
           (need->gpu_memory == SL_LEDGER_ALL || need->gpu_memory <= d->capacity);
}

static uint64_t largest_capacity(const struct sl_ledger *l, const struct sl_need *need) {
    uint64_t most = 0;
    for (int i = 0; i < l->n_devices; i++)
        if ((need->device < 0 || need->device == i) && !(need->avoid >> i & 1))
            most = larger(most, l->devices[i].capacity);
    return most;
}

static bool is_better(const struct sl_ledger *l, const struct sl_answer *a,
                      const struct sl_answer *than) {
    if (a->verdict != than->verdict)
        return a->verdict < than->verdict;
    if (a->verdict == SL_VERDICT_EVICT && a->n_evict != than->n_evict)
        return a->n_evict < than->n_evict;
    if (a->foreign != than->foreign)
        return than->foreign;
    return sl_ledger_available(l, a->device) > sl_ledger_available(l, than->device);
}

void sl_ledger_ask(const struct sl_ledger *l, const struct sl_need *need, struct sl_answer *ret) {
    struct sl_answer one;
    if (need->memory > l->memory_capacity) {
        *ret = never(-1, SL_LACK_MEMORY, l->memory_capacity);
        return;
    }
    if (!need->on_gpu) {
        ask_card(l, need, -1, ret);
        return;
    }
    *ret = never(-1, SL_LACK_GPU, largest_capacity(l, need));
    for (int i = 0; i < l->n_devices; i++) {
        if (!is_possible(l, need, i))
            continue;
        ask_card(l, need, i, &one);
        if (ret->verdict == SL_VERDICT_NEVER || is_better(l, &one, ret))
            *ret = one;
    }
}

/* ---- What the driver says -------------------------------------------------------------------- */

/* What a hold is believed to use; without the driver's word all that it reserved. */
static uint64_t used_by(const struct sl_hold *h, bool by_process) {
    bool known = by_process || h->gpu_memory == SL_LEDGER_ALL;
    return known ? h->gpu_seen : larger(h->gpu_memory, h->gpu_seen);
}

static bool is_unknown(const struct sl_ledger *l, int device) {
    for (const struct sl_hold *h = l->holds; h; h = h->next)
        if (h->device == device && h->gpu_memory == SL_LEDGER_ALL)
            return true;
    return false;
}

bool sl_ledger_see(struct sl_ledger *l, int device, uint64_t free, bool by_process) {
    struct sl_ledger_device *d = &l->devices[device];
    uint64_t used = minus(d->capacity, free), ours = 0, gone = 0;
    bool any = false, any_gone = false;
    d->free = free;
    for (const struct sl_hold *h = l->holds; h; h = h->next) {
        if (h->device != device)
            continue;
        bool is_gone = h->state == SL_HOLD_GONE;
        uint64_t *sum = is_gone ? &gone : &ours;
        *sum = plus(*sum, used_by(h, by_process));
        any = true;
        any_gone |= is_gone;
    }
    if (any_gone)
        return minus(used, plus(ours, d->foreign)) <= larger(gone / BACK_SHARE, BACK_LEAST);
    if (by_process || !any)
        d->foreign = minus(used, ours);
    else if (!is_unknown(l, device))
        d->foreign = larger(d->foreign, minus(used, ours));
    return false;
}
