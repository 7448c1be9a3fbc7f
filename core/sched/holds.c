/*
 * The entries of workers in the ledger of memory. One is made before its worker is spawned and
 * stays until the worker was reaped, for a card until its memory is seen to be back (cards.c). What
 * the worker was seen to need at most is then noted, and counts more than what its stage declares
 * from the next worker on.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/units.h"
#include "sched/admission_internal.h"

#define SAVE_EVERY_MS 60000

static void log_grant(const struct sl_admission *a, const struct carrier *c) {
    char name[128], size[32];
    const struct sl_grant *g = &c->grant;
    const char *stage = a->plan->stages[c->stage].name;
    if (g->blind)
        sl_log(&a->run->log, SLUICE_LOG_WARN,
               "%s: worker %d runs on a card of which the driver tells nothing (%s), alone", stage,
               c->number, a->cards.gpus.error);
    else if (g->on_gpu)
        sl_log(&a->run->log, SLUICE_LOG_INFO,
               "%s: worker %d runs on %s, %s; %s of its memory reserved", stage, c->number,
               sl_cards_name(a, g->card, name, sizeof name), g->visible,
               g->gpu_memory == SL_LEDGER_ALL ? "all"
                                              : sl_format_size(g->gpu_memory, size, sizeof size));
}

static char *peak_key(const struct sl_admission *a, const struct carrier *c, const char *params) {
    const char *device = !c->grant.on_gpu ? "cpu" : a->cards.gpus.cards[c->grant.card].name;
    return sl_peaks_key(a->plan->stages[c->stage].use, params, device);
}

void sl_admission_hold(struct carrier *c, const struct sl_task *task, const struct sl_grant *g) {
    struct sl_admission *a = c->run->admission;
    sl_autofree char *params = sl_run_params(c->run, task);
    c->grant = *g;
    c->hold = sl_xcalloc(1, sizeof *c->hold);
    *c->hold = (struct sl_hold){.owner = c,
                                .device = g->on_gpu ? g->card : -1,
                                .memory = g->memory,
                                .gpu_memory = g->gpu_memory};
    sl_ledger_add(&a->ledger, c->hold);
    if (!g->blind && !c->run->spec->wrap)
        c->peak_key = peak_key(a, c, params ? params : a->plan->stages[c->stage].params);
    log_grant(a, c);
}

void sl_admission_save(struct sl_admission *a) {
    struct sl_err err = {0};
    a->saved_ms = sl_now_ms();
    if (sl_peaks_save(&a->peaks, &err) < 0 && a->run)
        sl_log(&a->run->log, SLUICE_LOG_WARN, "measured needs are not kept: %s", err.msg);
}

void sl_admission_ended(struct carrier *c) {
    struct sl_admission *a = c->run->admission;
    const struct sl_worker_end *end = &c->worker->end;
    bool whole = c->n_ok > 0 && !c->was_cancelled && !c->why && end->wait_status == 0;
    if (c->peak_key) {
        sl_peaks_note(&a->peaks, c->peak_key, (struct sl_peak){end->peak_bytes, c->gpu_peak},
                      whole);
        a->stages[c->stage].known = false;
    }
    if (sl_now_ms() - a->saved_ms > SAVE_EVERY_MS)
        sl_admission_save(a);
    if (c->hold && c->hold->device >= 0)
        sl_cards_left(a, sl_steal(&c->hold));
}

void sl_admission_forget(struct carrier *c) {
    if (c->hold)
        sl_ledger_remove(&c->run->admission->ledger, c->hold);
    free(c->hold);
    free(c->peak_key);
    free(c->grant.visible);
}

bool sl_admission_refuses_card(const struct carrier *c) {
    return c->why == SLUICE_UNSUPPORTED && !c->was_ready && c->grant.on_gpu &&
           c->run->plan->stages[c->stage].device.kind == SL_DEVICE_AUTO;
}

void sl_admission_fall_back(struct carrier *c) {
    sl_autofree char *why = sl_xasprintf("the stage refused the card: %s", c->why_text);
    sl_admission_use_cpu(c->run->admission, c->stage, why);
}
