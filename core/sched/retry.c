/* The retry policy, see retry.h: exponential backoff with a cap and jitter. */
#include "sched/retry.h"

#include <math.h>

#include "base/err.h"

static bool ever_retried(int cls) {
    return cls == SLUICE_RESOURCE || cls == SLUICE_TRANSIENT || cls == SLUICE_INTERNAL ||
           cls == SL_CRASH || cls == SL_TIMEOUT;
}

static bool gains_from_waiting(int cls) {
    return cls == SLUICE_RESOURCE || cls == SLUICE_TRANSIENT;
}

struct sl_retry_decision sl_retry_decide(int cls, int attempt, const struct sl_retry_policy *policy,
                                         double jitter) {
    struct sl_retry_decision no = {0};
    if (!ever_retried(cls) || !(policy->on & SL_RETRY_BIT(cls)) || attempt >= policy->attempts)
        return no;
    if (attempt == 1 && !gains_from_waiting(cls))
        return (struct sl_retry_decision){.retry = true};
    double delay = policy->backoff_s * pow(policy->factor, attempt - 1);
    if (!(delay < policy->max_backoff_s))
        delay = policy->max_backoff_s;
    return (struct sl_retry_decision){.retry = true, .delay_s = delay * (0.5 + 0.5 * jitter)};
}
