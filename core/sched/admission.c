/*
 * Admission by memory, see admission.h: what a task needs, and whether that fits now. The entries
 * of workers in the ledger are made and ended in holds.c, what the driver says of cards is in
 * cards.c.
 *
 * Earlier items go first here too: what a waiting task needs is not given to later ones in the same
 * turn, so that a large stage is not kept out for ever by small ones that come and go.
 *
 * Other processes on a card are waited for, but not for ever (SLUICE_GPU_WAIT); other processes'
 * use of the machine's memory is not waited for where nothing of ours runs.
 */
#include "sched/admission.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/units.h"
#include "sched/admission_internal.h"

#define MACHINE_LOOK_MS   100
#define MEMORY_LOOK_MS    250
#define MEMORY_LOOK_LEAST (256u << 20) /* smaller reservations are not looked at */
#define LARGE_SHARE       16           /* of the machine: a need above is large */
#define FOREIGN_LIMIT_S   600.0

/* ---- Needs ----------------------------------------------------------------------------------- */

static struct sl_machine machine_of(const struct sl_admission *a) {
    return (struct sl_machine){a->ledger.memory_capacity, &a->cards.gpus, &a->peaks};
}

static void find_need(struct sl_admission *a, int stage, const char *params,
                      struct sl_stage_need *ret) {
    struct sl_machine m = machine_of(a);
    sl_stage_need_find(&a->plan->stages[stage], params, &m, a->stages[stage].refused, ret);
}

/* What `device: auto` has come to, where that is new. */
static void log_choice(const struct sl_admission *a, int stage, const char *before) {
    const char *why = a->stages[stage].need.why;
    if (a->run && why && (!before || strcmp(why, before) != 0))
        sl_log(&a->run->log, SLUICE_LOG_INFO, "%s: device auto: %s", a->plan->stages[stage].name,
               why);
}

static const struct sl_stage_need *stage_need(struct sl_admission *a, int stage) {
    struct sl_stage_admission *s = &a->stages[stage];
    if (s->known)
        return &s->need;
    sl_autofree char *before = s->need.why ? sl_xstrdup(s->need.why) : NULL;
    sl_stage_need_finish(&s->need);
    find_need(a, stage, a->plan->stages[stage].params, &s->need);
    s->known = true;
    log_choice(a, stage, before);
    return &s->need;
}

static uint64_t largest_card(const struct sl_admission *a) {
    uint64_t most = 0;
    for (int i = 0; i < a->ledger.n_devices; i++)
        if (a->ledger.devices[i].capacity > most)
            most = a->ledger.devices[i].capacity;
    return most;
}

/* A limit that has grown, up to what there is. */
static void raise_need(uint64_t *need, uint64_t limit, uint64_t capacity) {
    if (limit > capacity)
        limit = capacity;
    if (limit > *need)
        *need = limit;
}

void sl_admission_use_cpu(struct sl_admission *a, int stage, const char *why) {
    struct sl_stage_admission *s = &a->stages[stage];
    if (s->refused)
        return;
    s->refused = sl_xstrdup(why);
    s->known = false;
    sl_run_emit(a->run, &(struct sl_event){.type = SL_EVENT_LOG,
                                           .item = -1,
                                           .stage = stage,
                                           .level = SLUICE_LOG_WARN,
                                           .text = stage_need(a, stage)->why});
}

/* The need of a task; with parameters of its own it is found anew. ret->why and never are not
 * kept. */
static void task_need(struct sl_admission *a, const struct sl_task *task,
                      struct sl_stage_need *ret) {
    sl_autofree char *params = sl_run_params(a->run, task);
    if (params) {
        find_need(a, task->stage, params, ret);
        free(ret->why);
        free(ret->never);
    } else {
        *ret = *stage_need(a, task->stage);
    }
    ret->why = ret->never = NULL;
    if (task->on_cpu)
        *ret = (struct sl_stage_need){.card = -1,
                                      .memory = a->plan->stages[task->stage].resources.memory};
    raise_need(&ret->memory, task->memory, a->ledger.memory_capacity);
    if (ret->on_gpu)
        raise_need(&ret->gpu_memory, task->gpu_memory, largest_card(a));
}

/* ---- Readings -------------------------------------------------------------------------------- */

static enum sl_hold_state state_of(const struct carrier *c) {
    if (!c->worker || c->n_attempts > 0)
        return SL_HOLD_BUSY;
    if (c->let_go || !sl_worker_is_usable(c->worker))
        return SL_HOLD_LEAVING;
    return c->idle_since_ms ? SL_HOLD_IDLE : SL_HOLD_BUSY;
}

static void look_at_memory(const struct carrier *c, int64_t now) {
    struct sl_hold *h = c->hold;
    struct sl_usage usage;
    if (h->memory < MEMORY_LOOK_LEAST || !c->worker || now - h->memory_seen_ms < MEMORY_LOOK_MS)
        return;
    h->memory_seen_ms = now;
    if (sl_usage_sample(c->worker->pid, 0, &usage))
        h->memory_seen = usage.memory;
}

static void look_at_holds(struct sl_admission *a, bool memory) {
    int64_t now = sl_now_ms();
    for (struct carrier *c = a->run->carriers; c; c = c->next) {
        if (!c->hold)
            continue;
        c->hold->state = state_of(c);
        c->hold->idle_since_ms = c->idle_since_ms;
        if (memory)
            look_at_memory(c, now);
    }
}

static void look_at_machine(struct sl_admission *a) {
    struct sl_machine_room room;
    int64_t now = sl_now_ms();
    if (a->machine_ms && now - a->machine_ms < MACHINE_LOOK_MS)
        return;
    sl_machine_room(&room);
    a->machine_ms = now;
    a->ledger.memory_capacity = room.capacity;
    a->ledger.memory_free = room.available;
}

/* ---- What is said ---------------------------------------------------------------------------- */

static const char *size_of(uint64_t bytes, char *buf, size_t size) {
    if (bytes == SL_LEDGER_ALL)
        snprintf(buf, size, "all");
    else
        sl_format_size(bytes, buf, size);
    return buf;
}

static char *waiting_text(const struct sl_admission *a, const struct sl_need *need,
                          const struct sl_answer *answer) {
    char needed[32], has[32], card[128];
    if (answer->lack == SL_LACK_MEMORY)
        return sl_xasprintf("waits for %s of memory; %s are free",
                            size_of(need->memory, needed, sizeof needed),
                            size_of(answer->available, has, sizeof has));
    if (need->gpu_memory == SL_LEDGER_ALL)
        return sl_xasprintf("waits until no other worker is on %s: what it needs is not known",
                            sl_cards_name(a, answer->device, card, sizeof card));
    return sl_xasprintf("waits for %s of GPU memory; %s has %s free%s",
                        size_of(need->gpu_memory, needed, sizeof needed),
                        sl_cards_name(a, answer->device, card, sizeof card),
                        size_of(answer->available, has, sizeof has),
                        answer->foreign ? ", the rest is held by other processes" : "");
}

/* Once for each time that a stage begins to wait. */
static void say_waiting(struct sl_admission *a, int stage, const struct sl_need *need,
                        const struct sl_answer *answer) {
    struct sl_stage_admission *s = &a->stages[stage];
    int level = answer->foreign ? SLUICE_LOG_WARN : SLUICE_LOG_INFO;
    if (s->waits_ms && (!answer->foreign || s->foreign_said))
        return;
    s->foreign_said = answer->foreign;
    sl_autofree char *text = waiting_text(a, need, answer);
    sl_log(&a->run->log, level, "%s: %s", a->plan->stages[stage].name, text);
    if (answer->foreign)
        sl_run_emit(
            a->run,
            &(struct sl_event){
                .type = SL_EVENT_LOG, .item = -1, .stage = stage, .level = level, .text = text});
}

static char *never_text(const struct sl_admission *a, const struct sl_need *need,
                        const struct sl_answer *answer) {
    char needed[32], has[32];
    bool gpu = answer->lack == SL_LACK_GPU;
    if (gpu && answer->available == 0)
        return sl_xstrdup("no card can be used any more; see the log of the run");
    return sl_xasprintf(
        "it needs %s of %s and %s has %s; lower resources.%s or take a smaller model",
        size_of(gpu ? need->gpu_memory : need->memory, needed, sizeof needed),
        gpu ? "GPU memory" : "memory",
        gpu ? a->cards.gpus.n > 1 ? "the largest card" : "the card" : "this machine",
        size_of(answer->available, has, sizeof has), gpu ? "gpu_memory" : "memory");
}

/* ---- The question ---------------------------------------------------------------------------- */

/* CUDA_VISIBLE_DEVICES of a worker on a card that the driver does not tell us about; owned, NULL:
 * as it is. */
static char *blind_cards(int wanted) {
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    if (wanted < 0)
        return NULL;
    if (!visible || !*visible)
        return sl_xasprintf("%d", wanted);
    while (wanted-- > 0 && *visible)
        visible += strcspn(visible, ",") + (visible[strcspn(visible, ",")] == ',');
    return sl_xstrndup(visible, strcspn(visible, ","));
}

static void grant(const struct sl_admission *a, const struct sl_stage_need *n,
                  const struct sl_need *need, int card, struct sl_grant *ret) {
    *ret = (struct sl_grant){.on_gpu = n->on_gpu,
                             .card = card,
                             .blind = n->blind,
                             .memory = need->memory,
                             .gpu_memory = n->on_gpu ? need->gpu_memory : 0};
    if (n->blind)
        ret->visible = blind_cards(n->card);
    else
        ret->visible = sl_xstrdup(n->on_gpu ? a->cards.gpus.cards[card].uuid : "");
}

static void promise(struct sl_admission *a, const struct sl_answer *answer) {
    if (answer->lack == SL_LACK_MEMORY)
        a->memory_promised = true;
    else if (answer->device >= 0)
        a->promised |= (uint64_t)1 << answer->device;
}

/* Other processes have been in the way for too long. */
static bool is_overdue(struct sl_admission *a, int stage, const struct sl_answer *answer) {
    struct sl_stage_admission *s = &a->stages[stage];
    int64_t now = sl_now_ms();
    if (!answer->foreign)
        s->foreign_ms = 0;
    else if (!s->foreign_ms)
        s->foreign_ms = now;
    return answer->foreign && (double)(now - s->foreign_ms) / 1000 >= a->foreign_limit_s;
}

static enum sl_admitted wait_for(struct sl_admission *a, int stage, const struct sl_need *need,
                                 const struct sl_answer *answer, char **ret_text) {
    struct sl_stage_admission *s = &a->stages[stage];
    if (is_overdue(a, stage, answer)) {
        char limit[32];
        sl_autofree char *text = waiting_text(a, need, answer);
        *ret_text = sl_xasprintf("%s; given up after %s (SLUICE_GPU_WAIT)", text,
                                 sl_format_duration(a->foreign_limit_s, limit, sizeof limit));
        s->foreign_ms = s->waits_ms = 0;
        return SL_ADMITTED_LATE;
    }
    say_waiting(a, stage, need, answer);
    promise(a, answer);
    a->waiting = true;
    if (!s->waits_ms)
        s->waits_ms = sl_now_ms();
    return SL_ADMITTED_WAIT;
}

static struct sl_need need_of(const struct sl_stage_need *n, uint64_t avoid) {
    return (struct sl_need){.memory = n->memory,
                            .on_gpu = n->on_gpu,
                            .gpu_memory =
                                n->blind || !n->gpu_memory ? SL_LEDGER_ALL : n->gpu_memory,
                            .device = n->blind ? 0 : n->card,
                            .avoid = avoid};
}

static enum sl_admitted answer_of(struct sl_admission *a, const struct sl_task *task,
                                  const struct sl_stage_need *n, struct sl_grant *ret,
                                  char **ret_text) {
    int stage = task->stage;
    struct sl_answer answer;
    struct sl_need need = need_of(n, a->promised | task->avoid);
    sl_ledger_ask(&a->ledger, &need, &answer);
    if (answer.verdict == SL_VERDICT_NEVER && a->promised) { /* perhaps only in this turn */
        need.avoid = task->avoid;
        sl_ledger_ask(&a->ledger, &need, &answer);
        if (answer.verdict != SL_VERDICT_NEVER)
            return SL_ADMITTED_WAIT;
    }
    switch (answer.verdict) {
    case SL_VERDICT_FITS:
        a->stages[stage].waits_ms = a->stages[stage].foreign_ms = 0;
        grant(a, n, &need, answer.device, ret);
        return SL_ADMITTED_YES;
    case SL_VERDICT_EVICT:
        return SL_ADMITTED_ROOM;
    case SL_VERDICT_WAIT:
        return wait_for(a, stage, &need, &answer, ret_text);
    default:
        *ret_text = never_text(a, &need, &answer);
        return SL_ADMITTED_NEVER;
    }
}

/* What is small is not kept waiting for a large one: it may be what makes work for the workers that
 * are in its way. */
static bool is_large(const struct sl_admission *a, uint64_t memory) {
    return memory > a->ledger.memory_capacity / LARGE_SHARE;
}

enum sl_admitted sl_admission_ask(struct run *run, const struct sl_task *task, struct sl_grant *ret,
                                  char **ret_text) {
    struct sl_admission *a = run->admission;
    struct sl_stage_need n;
    *ret_text = NULL;
    task_need(a, task, &n);
    const struct sl_stage_need *own = stage_need(a, task->stage);
    if (own->never) {
        *ret_text = sl_xstrdup(own->never);
        return SL_ADMITTED_NEVER;
    }
    if ((is_large(a, n.memory) && a->memory_promised) ||
        (n.on_gpu && !n.blind && !sl_cards_are_known(a)))
        return SL_ADMITTED_WAIT;
    look_at_holds(a, n.memory > 0);
    if (n.memory > 0 && a->ledger.holds)
        look_at_machine(a);
    enum sl_admitted admitted = answer_of(a, task, &n, ret, ret_text);
    if (admitted != SL_ADMITTED_NEVER || !n.on_gpu ||
        a->plan->stages[task->stage].device.kind != SL_DEVICE_AUTO)
        return admitted;
    sl_admission_use_cpu(a, task->stage, *ret_text);
    free(*ret_text);
    return sl_admission_ask(run, task, ret, ret_text);
}

int sl_admission_victims(struct run *run, const struct sl_task *task, struct carrier **ret) {
    struct sl_admission *a = run->admission;
    struct sl_stage_need n;
    struct sl_answer answer;
    task_need(a, task, &n);
    struct sl_need need = need_of(&n, a->promised | task->avoid);
    look_at_holds(a, false);
    sl_ledger_ask(&a->ledger, &need, &answer);
    for (int i = 0; i < answer.n_evict; i++)
        ret[i] = answer.evict[i]->owner;
    return answer.n_evict;
}

const char *sl_admission_device(const struct run *run, int stage) {
    return stage_need(run->admission, stage)->on_gpu ? "cuda" : "cpu";
}

bool sl_admission_device_changed(const struct run *run, int stage) {
    return run->admission->stages[stage].refused != NULL;
}

void sl_admission_turn(struct run *run) {
    struct sl_admission *a = run->admission;
    a->promised = 0;
    a->memory_promised = a->waiting = false;
}

void sl_admission_turn_ended(struct run *run) {
    sl_cards_plan_tick(run->admission);
}

/* ---- For on_oom ------------------------------------------------------------------------------ */

int sl_admission_other_cards(const struct run *run, const struct sl_task *task) {
    struct sl_admission *a = run->admission;
    uint64_t avoided = task->avoid | (uint64_t)1 << task->card;
    struct sl_stage_need need;
    int n = 0;
    task_need(a, task, &need);
    for (int i = 0; need.card < 0 && i < a->ledger.n_devices; i++) {
        uint64_t capacity = a->ledger.devices[i].capacity;
        n += capacity > 0 && capacity >= need.gpu_memory && !(avoided >> i & 1);
    }
    return n;
}

uint64_t sl_admission_largest_card(const struct run *run) {
    return largest_card(run->admission);
}

json_t *sl_admission_card_names(const struct run *run, uint64_t cards) {
    const struct sl_gpus *g = &run->admission->cards.gpus;
    json_t *names = json_array();
    for (int i = 0; i < g->n; i++)
        if (cards >> i & 1)
            json_array_append_new(names, json_string(g->cards[i].uuid));
    return names;
}

uint64_t sl_admission_cards_named(const struct run *run, const json_t *names) {
    const struct sl_gpus *g = &run->admission->cards.gpus;
    uint64_t cards = 0;
    size_t k;
    json_t *name;
    json_array_foreach(names, k, name)
        for (int i = 0; json_is_string(name) && i < g->n; i++)
            if (strcmp(json_string_value(name), g->cards[i].uuid) == 0)
                cards |= (uint64_t)1 << i;
    return cards;
}

/* ---- The whole ------------------------------------------------------------------------------- */

/* Stages that can never run here, all in one message; those that are optional fail when their turn
 * comes. */
static int check_plan(struct sl_admission *a, struct sl_err *err) {
    sl_autostr struct sl_str text = {0};
    int cls = 0;
    for (int i = 0; i < a->plan->n_stages; i++) {
        const struct sl_stage_need *n = stage_need(a, i);
        if (!n->never || a->plan->stages[i].retry.ignore)
            continue;
        sl_str_addf(&text, "%sstage \"%s\" can never run on this machine: %s", text.len ? "; " : "",
                    a->plan->stages[i].name, n->never);
        cls = SLUICE_RESOURCE;
    }
    return cls ? sl_err_set(err, cls, "%s", sl_str_text(&text)) : 0;
}

static double foreign_limit_s(void) {
    const char *text = getenv("SLUICE_GPU_WAIT");
    double seconds;
    return text && sl_parse_duration(text, &seconds) ? seconds : FOREIGN_LIMIT_S;
}

int sl_admission_create(const struct sl_plan *plan, const char *worker_program,
                        struct sl_admission **ret, struct sl_err *err) {
    struct sl_admission *a = sl_xcalloc(1, sizeof *a);
    a->plan = plan;
    a->worker_program = sl_xstrdup(worker_program);
    a->stages = sl_xcalloc((size_t)plan->n_stages, sizeof *a->stages);
    a->foreign_limit_s = foreign_limit_s();
    a->saved_ms = sl_now_ms();
    a->cards.helper = (struct sl_gpu_helper){-1, -1, -1};
    look_at_machine(a);
    sl_peaks_load(&a->peaks);
    if (sl_plan_wants_cards(plan))
        sl_cards_open(a);
    int rc = check_plan(a, err);
    if (rc < 0)
        sl_admission_destroy(a);
    else
        *ret = a;
    return rc;
}

void sl_admission_attach(struct run *run) {
    struct sl_admission *a = run->admission;
    a->run = run;
    sl_cards_attach(a);
    for (int i = 0; i < a->plan->n_stages; i++)
        log_choice(a, i, NULL);
}

void sl_admission_detach(struct run *run) {
    struct sl_admission *a = run->admission;
    if (!a || !a->run)
        return;
    sl_admission_save(a);
    sl_cards_detach(a);
    a->run = NULL;
}

pid_t sl_admission_helper_pid(const struct run *run) {
    return run->admission->cards.helper.pid;
}

void sl_admission_destroy(struct sl_admission *a) {
    if (!a)
        return;
    while (a->ledger.holds) {
        struct sl_hold *h = a->ledger.holds;
        sl_ledger_remove(&a->ledger, h);
        free(h);
    }
    for (int i = 0; i < a->plan->n_stages; i++) {
        sl_stage_need_finish(&a->stages[i].need);
        free(a->stages[i].refused);
    }
    sl_cards_close(a);
    sl_peaks_finish(&a->peaks);
    free(a->stages);
    free(a->worker_program);
    free(a);
}
