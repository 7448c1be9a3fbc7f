/*
 * Damping of restart storms, a pure function of what happened: a stage whose workers fail to start
 * again and again, for one item after the other, is not started for further items.
 */
#ifndef SCHED_STORM_H
#define SCHED_STORM_H

#include <stdbool.h>

#define SL_STORM_STARTS 5 /* in a row */

/* How the starts of one stage went. All zero: none yet. */
struct sl_storm {
    int streak; /* starts that failed since the last worker of the stage became ready */
};

/* A worker of the stage became ready. */
void sl_storm_ready(struct sl_storm *s);

/*
 * A worker ended before it was ready, or could not be spawned, as `cls`. create() knows nothing of
 * the item, so what stops it once stops it for every item. RESOURCE and TRANSIENT do not count:
 * they pass with time, which is what backoff waits for; nor does CANCELLED.
 */
void sl_storm_failed(struct sl_storm *s, int cls);

/* True: the stage shall not be tried for a further item. Attempts of items that were begun go on by
 * their retry policy, and end the storm if one becomes ready. */
bool sl_storm_rages(const struct sl_storm *s);

#endif
