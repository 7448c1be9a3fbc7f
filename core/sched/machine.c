/* The table of a worker's life, see machine.h. Entries left out mean: nothing happens, the state
 * stays. */
#include "sched/machine.h"

#include <stdbool.h>

#define STATE(s) SL_WORKER_##s
#define ON(ev, next_state, act)                                                                    \
    [SL_WORKER_EV_##ev] = {true, {SL_WORKER_##next_state, SL_WORKER_DO_##act}}

/* Common to every state in which the process lives. */
#define ALWAYS ON(KILL, KILLING, KILL), ON(ENDED, GONE, NOTHING)

static const struct {
    bool given;
    struct sl_worker_step step;
} table[SL_WORKER_N_STATES][SL_WORKER_N_EVENTS] = {
    [STATE(STARTING)] = {ALWAYS, ON(GRACE, TERMINATING, TERMINATE), ON(READY, IDLE, NOTHING),
                         ON(JOB, STARTING, BUG), ON(RELEASE, STOPPING, STOP),
                         ON(CANCEL, TERMINATING, TERMINATE), ON(ABANDON, TERMINATING, TERMINATE)},
    [STATE(IDLE)] = {ALWAYS, ON(GRACE, TERMINATING, TERMINATE), ON(JOB, BUSY, NOTHING),
                     ON(RELEASE, STOPPING, STOP), ON(CANCEL, STOPPING, STOP),
                     ON(ABANDON, TERMINATING, TERMINATE)},
    [STATE(BUSY)] = {ALWAYS, ON(GRACE, TERMINATING, TERMINATE), ON(JOB, BUSY, NOTHING),
                     ON(DRAINED, IDLE, NOTHING), ON(RELEASE, BUSY, NOTHING),
                     ON(CANCEL, CANCELLING, CANCEL), ON(ABANDON, TERMINATING, TERMINATE)},
    [STATE(STOPPING)] = {ALWAYS, ON(JOB, STOPPING, BUG), ON(CANCEL, TERMINATING, TERMINATE),
                         ON(ABANDON, TERMINATING, TERMINATE), ON(GRACE, TERMINATING, TERMINATE)},
    [STATE(CANCELLING)] = {ALWAYS, ON(JOB, CANCELLING, BUG), ON(DRAINED, STOPPING, STOP),
                           ON(ABANDON, TERMINATING, TERMINATE), ON(GRACE, TERMINATING, TERMINATE)},
    [STATE(TERMINATING)] = {ALWAYS, ON(JOB, TERMINATING, BUG), ON(GRACE, KILLING, KILL)},
    [STATE(KILLING)] = {ON(ENDED, GONE, NOTHING), ON(JOB, KILLING, BUG)},
    [STATE(GONE)] = {ON(JOB, GONE, BUG), ON(ENDED, GONE, BUG)},
};

struct sl_worker_step sl_worker_next(enum sl_worker_state state, enum sl_worker_event event) {
    if (!table[state][event].given)
        return (struct sl_worker_step){state, SL_WORKER_DO_NOTHING};
    return table[state][event].step;
}

const char *sl_worker_state_name(enum sl_worker_state state) {
    static const char *const names[SL_WORKER_N_STATES] = {
        [STATE(STARTING)] = "starting",
        [STATE(IDLE)] = "idle",
        [STATE(BUSY)] = "busy",
        [STATE(STOPPING)] = "stopping",
        [STATE(CANCELLING)] = "cancelling",
        [STATE(TERMINATING)] = "terminating",
        [STATE(KILLING)] = "killing",
        [STATE(GONE)] = "gone",
    };
    return names[state];
}
