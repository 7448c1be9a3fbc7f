/* The defaults of the file format, see policy.h. */
#include "config/policy.h"

#include "base/err.h"

struct sl_retry_policy sl_retry_default(void) {
    return (struct sl_retry_policy){
        .attempts = 3,
        .backoff_s = 1,
        .factor = 2,
        .max_backoff_s = 30,
        .on = SL_RETRY_BIT(SL_CRASH) | SL_RETRY_BIT(SL_TIMEOUT) | SL_RETRY_BIT(SLUICE_TRANSIENT) |
              SL_RETRY_BIT(SLUICE_RESOURCE) | SL_RETRY_BIT(SLUICE_INTERNAL),
        .grow_memory = 1,
        .grow_gpu_memory = 1,
        .quarantine = 3,
    };
}

struct sl_timeouts sl_timeouts_default(void) {
    return (struct sl_timeouts){.start_s = 120, .idle_s = 120, .total_s = 7200};
}

struct sl_keep sl_keep_default(void) {
    return (struct sl_keep){.kind = SL_KEEP_AUTO, .growth = (uint64_t)1 << 30};
}
