/* The retry policy as a pure function: what follows a failed attempt. */
#ifndef SCHED_RETRY_H
#define SCHED_RETRY_H

#include <stdbool.h>

#include "config/policy.h"

struct sl_retry_decision {
    bool retry;
    double delay_s; /* before the next attempt */
};

/*
 * `cls`: the class of the failure; `attempt`: which one failed, from 1; `jitter`: a random number
 * in [0, 1), which spreads the delay over [0.5, 1] of its nominal value so that items do not come
 * back in step.
 *
 * INPUT, UNSUPPORTED and CANCELLED are never retried, whatever the policy says. A crash and a
 * timeout are retried in a fresh process without delay on the first failure: waiting does not help
 * them.
 */
struct sl_retry_decision sl_retry_decide(int cls, int attempt, const struct sl_retry_policy *policy,
                                         double jitter);

#endif
