/*
 * `sluice check --plan`: needs come from needs.h, what fits beside what from the ledger that the
 * scheduler asks too, here on a machine where nothing else runs.
 */
#include "cli/fit.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/units.h"
#include "cli/cli.h"
#include "sched/ledger.h"

#define MAX_AT_ONCE 99
#define MAX_PAIRS   40 /* that are told */

struct fit {
    const struct sl_plan *plan;
    const struct sl_machine *machine;
    struct sl_stage_need *needs; /* of each stage */
    struct sl_ledger empty;
    struct sl_str *out;
};

/* ---- The machine ----------------------------------------------------------------------------- */

static const char *size_text(uint64_t bytes, char *buf, size_t size) {
    return sl_format_size(bytes, buf, size);
}

static void print_card(struct fit *f, int i) {
    const struct sl_gpu *g = &f->machine->gpus->cards[i];
    char has[32], left[32];
    sl_str_addf(f->out, "card %d: %s, %s", i, g->name, g->uuid);
    if (g->error)
        sl_str_addf(f->out, "; not usable: %s\n", g->error);
    else
        sl_str_addf(f->out, ", %s, %s free now\n", size_text(g->capacity, has, sizeof has),
                    size_text(g->free, left, sizeof left));
}

static void print_machine(struct fit *f, int cpus) {
    char memory[32];
    sl_str_addf(f->out, "this machine: %d processors, %s of memory\n", cpus,
                size_text(f->machine->memory, memory, sizeof memory));
    for (int i = 0; i < f->machine->gpus->n; i++)
        print_card(f, i);
}

/* ---- Side by side ---------------------------------------------------------------------------- */

static struct sl_need ask_of(const struct sl_stage_need *n) {
    return (struct sl_need){.memory = n->memory,
                            .on_gpu = n->on_gpu && !n->blind,
                            .gpu_memory = n->gpu_memory ? n->gpu_memory : SL_LEDGER_ALL,
                            .device = n->card};
}

/* Enters a worker of the stage where it fits; false: it does not. */
static bool enter(struct sl_ledger *l, const struct sl_stage_need *n, struct sl_hold *h) {
    struct sl_need need = ask_of(n);
    struct sl_answer answer;
    sl_ledger_ask(l, &need, &answer);
    if (answer.verdict != SL_VERDICT_FITS)
        return false;
    *h = (struct sl_hold){.device = need.on_gpu ? answer.device : -1,
                          .memory = n->memory,
                          .gpu_memory = need.gpu_memory};
    sl_ledger_add(l, h);
    return true;
}

static int count_at_once(const struct fit *f, const struct sl_stage_need *n) {
    struct sl_hold holds[MAX_AT_ONCE];
    struct sl_ledger l = f->empty;
    int count = 0;
    if (n->blind)
        return 1;
    while (count < MAX_AT_ONCE && enter(&l, n, &holds[count]))
        count++;
    return count;
}

static bool fit_together(const struct fit *f, const struct sl_stage_need *a,
                         const struct sl_stage_need *b) {
    struct sl_hold holds[2];
    struct sl_ledger l = f->empty;
    if (a->blind && b->blind)
        return false;
    return enter(&l, a, &holds[0]) && enter(&l, b, &holds[1]);
}

/* ---- Stages ---------------------------------------------------------------------------------- */

static void add_need(struct sl_str *s, uint64_t bytes, enum sl_need_from from, bool applies) {
    char text[32], cell[64] = "-";
    if (applies && from == SL_NEED_UNKNOWN)
        strcpy(cell, "unknown");
    else if (applies)
        snprintf(cell, sizeof cell, "%s %s", size_text(bytes, text, sizeof text),
                 sl_need_from_name(from));
    sl_str_add_column(s, cell, 22);
}

static void print_stage(struct fit *f, int i, int width) {
    const struct sl_plan_stage *stage = &f->plan->stages[i];
    const struct sl_stage_need *n = &f->needs[i];
    char device[32], at_once[32];
    snprintf(device, sizeof device, n->card >= 0 ? "cuda:%d" : n->on_gpu ? "cuda" : "cpu", n->card);
    int count = n->never ? 0 : count_at_once(f, n);
    snprintf(at_once, sizeof at_once, count == MAX_AT_ONCE ? "no bound" : "%d", count);
    sl_str_add(f->out, "  ");
    sl_str_add_column(f->out, stage->name, width + 2);
    sl_str_add_column(f->out, device, 9);
    add_need(f->out, n->memory, n->memory_from, true);
    add_need(f->out, n->gpu_memory, n->gpu_from, n->on_gpu);
    sl_str_addf(f->out, "%s\n", at_once);
}

static void print_stages(struct fit *f) {
    int width = 5;
    for (int i = 0; i < f->plan->n_stages; i++)
        if (sl_utf8_columns(f->plan->stages[i].name) > width)
            width = sl_utf8_columns(f->plan->stages[i].name);
    sl_str_add(f->out, "  ");
    sl_str_add_column(f->out, "stage", width + 2);
    sl_str_add_column(f->out, "device", 9);
    sl_str_add_column(f->out, "memory", 22);
    sl_str_add_column(f->out, "GPU memory", 22);
    sl_str_add(f->out, "at once by memory\n");
    for (int i = 0; i < f->plan->n_stages; i++)
        print_stage(f, i, width);
}

static void print_choices(struct fit *f) {
    for (int i = 0; i < f->plan->n_stages; i++) {
        const char *name = f->plan->stages[i].name;
        if (f->needs[i].why)
            sl_str_addf(f->out, "%s: device auto: %s\n", name, f->needs[i].why);
        else if (f->needs[i].blind && !f->needs[i].never)
            sl_str_addf(f->out, "%s: the card is not known (%s); one worker on a card at a time\n",
                        name, f->machine->gpus->error);
    }
}

static void print_pairs(struct fit *f) {
    int n = 0;
    for (int i = 0; i < f->plan->n_stages; i++) {
        for (int k = i + 1; k < f->plan->n_stages; k++) {
            if (f->needs[i].never || f->needs[k].never ||
                fit_together(f, &f->needs[i], &f->needs[k]))
                continue;
            if (n++ < MAX_PAIRS)
                sl_str_addf(
                    f->out,
                    "%s and %s run one after the other: they do not fit beside each other\n",
                    f->plan->stages[i].name, f->plan->stages[k].name);
        }
    }
    if (n > MAX_PAIRS)
        sl_str_addf(f->out, "and %d pairs more\n", n - MAX_PAIRS);
}

static bool print_verdict(struct fit *f) {
    bool fits = true;
    for (int i = 0; i < f->plan->n_stages; i++) {
        const struct sl_plan_stage *stage = &f->plan->stages[i];
        if (!f->needs[i].never)
            continue;
        fits &= stage->retry.ignore;
        sl_str_addf(f->out, "%s can never run here%s: %s\n", stage->name,
                    stage->retry.ignore ? " (it is optional)" : "", f->needs[i].never);
    }
    sl_str_add(f->out, fits ? "the pipeline fits this machine\n"
                            : "the pipeline does not fit this machine\n");
    return fits;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static void find_needs(struct fit *f) {
    f->needs = sl_xcalloc((size_t)f->plan->n_stages, sizeof *f->needs);
    for (int i = 0; i < f->plan->n_stages; i++)
        sl_stage_need_find(&f->plan->stages[i], f->plan->stages[i].params, f->machine, NULL,
                           &f->needs[i]);
    f->empty = (struct sl_ledger){.memory_capacity = f->machine->memory,
                                  .memory_free = f->machine->memory,
                                  .n_devices = f->machine->gpus->n};
    for (int i = 0; i < f->empty.n_devices; i++) {
        const struct sl_gpu *g = &f->machine->gpus->cards[i];
        uint64_t capacity = g->error ? 0 : g->capacity;
        f->empty.devices[i] = (struct sl_ledger_device){.capacity = capacity, .free = capacity};
    }
}

static void finish(struct fit *f) {
    for (int i = 0; i < f->plan->n_stages; i++)
        sl_stage_need_finish(&f->needs[i]);
    free(f->needs);
}

bool sl_fit_print(const struct sl_plan *plan, const struct sl_machine *machine, int cpus,
                  struct sl_str *out) {
    struct fit f = {.plan = plan, .machine = machine, .out = out};
    find_needs(&f);
    print_machine(&f, cpus);
    print_stages(&f);
    print_choices(&f);
    print_pairs(&f);
    bool fits = print_verdict(&f);
    finish(&f);
    return fits;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *size_json(uint64_t bytes) {
    return json_integer((json_int_t)bytes);
}

static json_t *cards_json(const struct fit *f) {
    json_t *cards = json_array();
    for (int i = 0; i < f->machine->gpus->n; i++) {
        const struct sl_gpu *g = &f->machine->gpus->cards[i];
        json_t *one = json_object();
        sl_json_set(one, "name", sl_json_text(g->name));
        sl_json_set(one, "uuid", sl_json_text(g->uuid));
        sl_json_set(one, "memory", size_json(g->capacity));
        sl_json_set(one, "free", size_json(g->free));
        sl_json_set(one, "error", g->error ? sl_json_text(g->error) : NULL);
        json_array_append_new(cards, one);
    }
    return cards;
}

static json_t *stage_json(const struct fit *f, int i) {
    const struct sl_plan_stage *stage = &f->plan->stages[i];
    const struct sl_stage_need *n = &f->needs[i];
    int count = n->never ? 0 : count_at_once(f, n);
    json_t *one = json_object();
    sl_json_set(one, "name", json_string(stage->name));
    sl_json_set(one, "device", json_string(n->on_gpu ? "cuda" : "cpu"));
    sl_json_set(one, "card", n->card >= 0 ? json_integer(n->card) : NULL);
    sl_json_set(one, "memory", n->memory_from ? size_json(n->memory) : NULL);
    sl_json_set(one, "memory_from", json_string(sl_need_from_name(n->memory_from)));
    if (n->on_gpu) {
        sl_json_set(one, "gpu_memory", n->gpu_from ? size_json(n->gpu_memory) : NULL);
        sl_json_set(one, "gpu_memory_from", json_string(sl_need_from_name(n->gpu_from)));
    }
    sl_json_set(one, "at_once", count == MAX_AT_ONCE ? NULL : json_integer(count));
    sl_json_set(one, "optional", json_boolean(stage->retry.ignore));
    sl_json_set(one, "why", n->why ? sl_json_text(n->why) : NULL);
    sl_json_set(one, "never", n->never ? sl_json_text(n->never) : NULL);
    return one;
}

static json_t *pairs_json(const struct fit *f) {
    json_t *pairs = json_array();
    for (int i = 0; i < f->plan->n_stages; i++)
        for (int k = i + 1; k < f->plan->n_stages; k++)
            if (!f->needs[i].never && !f->needs[k].never &&
                !fit_together(f, &f->needs[i], &f->needs[k]))
                json_array_append_new(
                    pairs, json_pack("[s,s]", f->plan->stages[i].name, f->plan->stages[k].name));
    return pairs;
}

json_t *sl_fit_json(const struct sl_plan *plan, const struct sl_machine *machine, int cpus) {
    struct fit f = {.plan = plan, .machine = machine};
    json_t *o = json_object(), *stages = json_array();
    bool fits = true;
    find_needs(&f);
    for (int i = 0; i < plan->n_stages; i++) {
        json_array_append_new(stages, stage_json(&f, i));
        fits &= !f.needs[i].never || plan->stages[i].retry.ignore;
    }
    sl_json_set(o, "fits", json_boolean(fits));
    sl_json_set(o, "cpus", json_integer(cpus));
    sl_json_set(o, "memory", size_json(machine->memory));
    sl_json_set(o, "cards", cards_json(&f));
    sl_json_set(o, "stages", stages);
    sl_json_set(o, "apart", pairs_json(&f));
    finish(&f);
    return o;
}
