/*
 * The cards during a run. The driver is asked through its helper (proc/gpu.h) and answers in a
 * later turn of the loop:
 *
 *   a worker is to be started on a card   one reading that is younger than a second, and
 *                                         than the last worker's end
 *   a worker on a card has ended          every 50 ms, until its memory is back, for 5 s at most
 *   workers run on cards                  every 250 ms, for their peaks
 *
 * A process of the driver's list is a worker's if it is below the worker's init. Inside a container
 * the driver may name processes by numbers of another namespace, or without what they use; then the
 * use of a worker that is alone on a card is the difference to what was used before.
 *
 * A helper that crashes or does not answer is replaced, twice; after that the ledger's own sums
 * have to do.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/units.h"
#include "proc/proctext.h"
#include "sched/admission_internal.h"

#define FRESH_MS        1000
#define BACK_TICK_S     0.05
#define BACK_LIMIT_MS   5000
#define PEAK_TICK_S     0.25
#define WAIT_TICK_S     0.5
#define MAX_LOST        3
#define MAX_GENERATIONS 64 /* from a process up to the worker's init */

const char *sl_cards_name(const struct sl_admission *a, int card, char *buf, size_t size) {
    const struct sl_gpus *g = &a->cards.gpus;
    if (card >= 0 && card < g->n)
        snprintf(buf, size, "card %d (%s)", card, g->cards[card].name);
    else
        snprintf(buf, size, "the card");
    return buf;
}

/* ---- Whose process --------------------------------------------------------------------------- */

static pid_t parent_of(pid_t pid) {
    char path[32];
    sl_autofree char *text = NULL;
    size_t len;
    struct sl_proc_stat stat;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (sl_read_file(path, 4096, &text, &len, NULL) < 0 || !sl_proc_stat_parse(text, len, &stat))
        return 0;
    return stat.parent;
}

static struct carrier *carrier_of(const struct run *run, pid_t pid) {
    for (int i = 0; i < MAX_GENERATIONS && pid > 1; i++, pid = parent_of(pid))
        for (struct carrier *c = run->carriers; c; c = c->next)
            if (c->worker && c->worker->pid == pid)
                return c;
    return NULL;
}

/* ---- A reading ------------------------------------------------------------------------------- */

static void raise_peak(const struct sl_hold *h) {
    struct carrier *c = h->state == SL_HOLD_GONE ? NULL : h->owner;
    if (c && h->gpu_seen > c->gpu_peak)
        c->gpu_peak = h->gpu_seen;
}

/* What each worker of ours uses, by the driver's list. */
static void see_processes(struct sl_admission *a, int card, const struct sl_gpu *g) {
    uint64_t used[SL_GPU_MAX_PROCESSES];
    struct carrier *whose[SL_GPU_MAX_PROCESSES];
    for (int i = 0; i < g->n_processes; i++) {
        whose[i] = carrier_of(a->run, g->processes[i].pid);
        used[i] = g->processes[i].used;
        a->cards.by_process |= whose[i] && used[i] > 0;
    }
    for (struct sl_hold *h = a->ledger.holds; a->cards.by_process && h; h = h->next) {
        if (h->device != card || h->state == SL_HOLD_GONE)
            continue;
        h->gpu_seen = 0;
        for (int i = 0; i < g->n_processes; i++)
            h->gpu_seen += whose[i] && whose[i] == h->owner ? used[i] : 0;
        raise_peak(h);
    }
}

/* Without the list: a worker that is alone on the card uses what was not used before. */
static void see_difference(struct sl_admission *a, int card, const struct sl_gpu *g) {
    uint64_t used = g->capacity - g->free, before = a->cards.base[card];
    struct sl_hold *only = NULL;
    int n = 0;
    for (struct sl_hold *h = a->ledger.holds; h; h = h->next) {
        if (h->device == card) {
            only = h;
            n++;
        }
    }
    if (n == 0)
        a->cards.base[card] = used;
    if (n != 1 || a->cards.by_process || only->state == SL_HOLD_GONE)
        return;
    only->gpu_seen = used > before ? used - before : 0;
    raise_peak(only);
}

/* Takes holds of processes that ended so long ago out of the ledger. `verb` and `more` complete the
 * sentence. */
static bool remove_gone(struct sl_admission *a, int card, int64_t older_than_ms, int level,
                        const char *verb, const char *more) {
    char name[128], size[32], took[32];
    int64_t now = sl_now_ms();
    bool any = false;
    for (struct sl_hold *h = a->ledger.holds, *next; h; h = next) {
        next = h->next;
        if (h->device != card || h->state != SL_HOLD_GONE || now - h->idle_since_ms < older_than_ms)
            continue;
        uint64_t bytes = h->gpu_seen ? h->gpu_seen : h->gpu_memory;
        sl_log(&a->run->log, level, "%s %s the %s of a worker's memory back, %s after its end%s",
               sl_cards_name(a, card, name, sizeof name), verb,
               sl_format_size(bytes == SL_LEDGER_ALL ? 0 : bytes, size, sizeof size),
               sl_format_duration((double)(now - h->idle_since_ms) / 1000, took, sizeof took),
               more);
        sl_ledger_remove(&a->ledger, h);
        free(h);
        any = true;
    }
    return any;
}

/* `error`: why it cannot be used, or NULL. */
static void set_usable(struct sl_admission *a, int card, uint64_t capacity, const char *error) {
    struct sl_ledger_device *d = &a->ledger.devices[card];
    char name[128];
    sl_cards_name(a, card, name, sizeof name);
    if (d->capacity > 0 && error)
        sl_log(&a->run->log, SLUICE_LOG_ERROR, "%s cannot be used any more: %s", name, error);
    if (d->capacity == 0 && !error)
        sl_log(&a->run->log, SLUICE_LOG_INFO, "%s can be used", name);
    d->capacity = error ? 0 : capacity;
}

static const struct sl_gpu *find_card(const struct sl_gpus *g, const char *uuid) {
    for (int i = 0; i < g->n; i++)
        if (strcmp(g->cards[i].uuid, uuid) == 0)
            return &g->cards[i];
    return NULL;
}

static void see_card(struct sl_admission *a, int card, const struct sl_gpus *now) {
    const struct sl_gpu *g = find_card(now, a->cards.gpus.cards[card].uuid);
    const char *error = g ? g->error : now->error ? now->error : "the driver does not list it";
    set_usable(a, card, g ? g->capacity : 0, error);
    if (error)
        return;
    see_processes(a, card, g);
    see_difference(a, card, g);
    if (sl_ledger_see(&a->ledger, card, g->free, a->cards.by_process) &&
        remove_gone(a, card, 0, SLUICE_LOG_INFO, "shows", ""))
        sl_ledger_see(&a->ledger, card, g->free, a->cards.by_process);
}

/* Memory that does not come back within the limit is somebody else's from here on: what the driver
 * shows as free counts. */
static void give_up_late(struct sl_admission *a) {
    for (int i = 0; i < a->ledger.n_devices; i++)
        remove_gone(a, i, BACK_LIMIT_MS, SLUICE_LOG_WARN, "does not show",
                    "; it is not waited for any longer");
}

/* ---- Questions and answers ------------------------------------------------------------------- */

static void watch_helper(struct sl_admission *a);

static void lose_helper(struct sl_admission *a, const char *why) {
    struct sl_cards *k = &a->cards;
    struct run *run = a->run;
    struct sl_err err = {0};
    sl_timer_stop(run->loop, &k->limit);
    sl_watch_stop(run->loop, &k->watch);
    sl_gpu_helper_stop(&k->helper);
    k->asked = false;
    if (++k->n_lost < MAX_LOST && sl_gpu_helper_start(a->worker_program, &k->helper, &err) == 0) {
        sl_log(&run->log, SLUICE_LOG_WARN, "%s; it is asked again by a new process", why);
        watch_helper(a);
        return;
    }
    sl_log(&run->log, SLUICE_LOG_WARN,
           "%s; from here on workers on cards are admitted by what they are known to need alone",
           why);
    k->silent = true;
    for (int i = 0; i < a->ledger.n_devices; i++) {
        a->ledger.devices[i].free = SL_LEDGER_ALL;
        remove_gone(a, i, 0, SLUICE_LOG_WARN, "cannot be asked for", "; it counts as back");
    }
}

static void on_limit(struct sl_timer *t) {
    lose_helper(t->ctx, "the NVIDIA driver does not answer");
}

static void on_answer(struct sl_watch *w) {
    struct sl_admission *a = w->ctx;
    struct sl_gpus now;
    struct sl_err err = {0};
    int rc = sl_gpu_helper_receive(&a->cards.helper, &now, &err);
    if (rc == 0)
        return;
    if (rc < 0) {
        lose_helper(a, err.msg);
        return;
    }
    a->cards.asked = false;
    a->cards.answered_ms = a->cards.asked_ms;
    sl_timer_stop(a->run->loop, &a->cards.limit);
    for (int i = 0; i < a->ledger.n_devices; i++)
        see_card(a, i, &now);
    give_up_late(a);
    sl_gpus_finish(&now);
}

static void ask(struct sl_admission *a) {
    struct sl_cards *k = &a->cards;
    struct sl_err err = {0};
    if (k->asked || k->silent)
        return;
    if (sl_gpu_helper_ask(&k->helper, &err) < 0) {
        lose_helper(a, err.msg);
        return;
    }
    k->asked = true;
    k->stale = false;
    k->asked_ms = sl_now_ms();
    sl_timer_set(a->run->loop, &k->limit, SL_GPU_LIMIT_MS / 1000.0);
}

bool sl_cards_are_known(struct sl_admission *a) {
    struct sl_cards *k = &a->cards;
    if (k->silent || (!k->stale && !k->asked && sl_now_ms() - k->answered_ms <= FRESH_MS))
        return true;
    ask(a);
    return false;
}

void sl_cards_left(struct sl_admission *a, struct sl_hold *hold) {
    hold->state = SL_HOLD_GONE;
    hold->owner = NULL;
    hold->idle_since_ms = sl_now_ms();
    a->cards.stale = true;
    if (a->cards.silent) {
        sl_ledger_remove(&a->ledger, hold);
        free(hold);
    }
}

/* ---- Ticks ----------------------------------------------------------------------------------- */

static void on_tick(struct sl_timer *t) {
    ask(t->ctx);
}

void sl_cards_plan_tick(struct sl_admission *a) {
    struct sl_timer *tick = &a->cards.tick;
    bool gone = false, any = false;
    for (const struct sl_hold *h = a->ledger.holds; h; h = h->next) {
        any |= h->device >= 0;
        gone |= h->state == SL_HOLD_GONE;
    }
    double delay_s = gone ? BACK_TICK_S : any ? PEAK_TICK_S : WAIT_TICK_S;
    if (a->cards.silent || (!any && !a->waiting))
        return;
    if (!tick->at_ms || tick->at_ms > sl_now_ms() + (int64_t)(delay_s * 1000))
        sl_timer_set(a->run->loop, tick, delay_s);
}

/* ---- Opening and closing --------------------------------------------------------------------- */

void sl_cards_open(struct sl_admission *a) {
    struct sl_cards *k = &a->cards;
    struct sl_err err = {0};
    int rc = sl_gpu_helper_start(a->worker_program, &k->helper, &err);
    if (rc == 0)
        rc = sl_gpu_helper_query(&k->helper, SL_GPU_FIRST_LIMIT_MS, &k->gpus, &err);
    if (rc < 0)
        k->gpus.error = sl_xstrdup(err.msg);
    if (k->gpus.n == 0)
        sl_gpu_helper_stop(&k->helper);
    /* Cards of which nothing is known are one, which each worker takes alone. */
    a->ledger.n_devices = k->gpus.n > 0 ? k->gpus.n : 1;
    a->ledger.devices[0] = (struct sl_ledger_device){SL_LEDGER_ALL, SL_LEDGER_ALL, 0};
    for (int i = 0; i < k->gpus.n; i++) {
        const struct sl_gpu *g = &k->gpus.cards[i];
        a->ledger.devices[i].capacity = g->error ? 0 : g->capacity;
        k->base[i] = g->capacity - g->free;
        sl_ledger_see(&a->ledger, i, g->free, false);
    }
    k->answered_ms = sl_now_ms();
}

static void watch_helper(struct sl_admission *a) {
    struct sl_cards *k = &a->cards;
    struct sl_err err = {0};
    k->watch = (struct sl_watch){.fd = k->helper.socket, .ready = on_answer, .ctx = a};
    if (sl_watch_start(a->run->loop, &k->watch, &err) < 0)
        sl_log(&a->run->log, SLUICE_LOG_WARN, "the helper of the cards: %s", err.msg);
}

void sl_cards_attach(struct sl_admission *a) {
    a->cards.tick = (struct sl_timer){.fire = on_tick, .ctx = a};
    a->cards.limit = (struct sl_timer){.fire = on_limit, .ctx = a};
    if (a->cards.gpus.n > 0)
        watch_helper(a);
    else
        a->cards.silent = true;
}

void sl_cards_detach(struct sl_admission *a) {
    struct sl_cards *k = &a->cards;
    if (a->run->loop && k->limit.fire) {
        sl_timer_stop(a->run->loop, &k->tick);
        sl_timer_stop(a->run->loop, &k->limit);
        if (k->watch.ready)
            sl_watch_stop(a->run->loop, &k->watch);
    }
}

void sl_cards_close(struct sl_admission *a) {
    sl_gpu_helper_stop(&a->cards.helper);
    sl_gpus_finish(&a->cards.gpus);
}
