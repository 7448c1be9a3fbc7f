/* The rules of warm workers, see warm.h. */
#include "sched/warm.h"

#include "base/err.h"

const char *sl_let_go_name(enum sl_let_go why) {
    static const char *const names[] = {"not",    "task", "done",   "idle", "uses",
                                        "growth", "room", "failed", "stop"};
    return names[why];
}

const char *sl_let_go_text(enum sl_let_go why) {
    static const char *const texts[] = {"it stays",
                                        "it is not kept",
                                        "no task is left for it",
                                        "it had nothing to do for as long as keep says",
                                        "it has done as many tasks as keep.uses says",
                                        "its memory has grown by more than keep.growth",
                                        "another worker needs its room",
                                        "a fresh process takes its place",
                                        "the run stops"};
    return texts[why];
}

enum sl_let_go sl_warm_worn(const struct sl_keep *keep, const struct sl_warm_use *use) {
    if (keep->uses > 0 && use->tasks >= keep->uses)
        return SL_LET_GO_USES;
    if (keep->growth > 0 && use->first_memory > 0 && use->memory > use->first_memory &&
        use->memory - use->first_memory > keep->growth)
        return SL_LET_GO_GROWTH;
    return SL_LET_GO_NOT;
}

bool sl_warm_spoilt(int cls) {
    return cls == SLUICE_INTERNAL || cls == SLUICE_RESOURCE || cls == SL_CRASH || cls == SL_TIMEOUT;
}

int64_t sl_warm_wait_ms(const struct sl_warm_case *c) {
    int64_t patience = c->load_ms * SL_WARM_PATIENCE;
    if (patience < SL_WARM_PATIENCE_MS)
        patience = SL_WARM_PATIENCE_MS;
    if (c->n_busy == 0 || c->n_waiting >= SL_WARM_WAITING || c->idle_ms >= patience)
        return 0;
    return patience - c->idle_ms;
}
