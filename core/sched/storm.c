/* Damping of restart storms, see storm.h. */
#include "sched/storm.h"

#include "base/err.h"

void sl_storm_ready(struct sl_storm *s) {
    s->streak = 0;
}

void sl_storm_failed(struct sl_storm *s, int cls) {
    if (cls != SLUICE_RESOURCE && cls != SLUICE_TRANSIENT && cls != SLUICE_CANCELLED &&
        s->streak < SL_STORM_STARTS)
        s->streak++;
}

bool sl_storm_rages(const struct sl_storm *s) {
    return s->streak >= SL_STORM_STARTS;
}
