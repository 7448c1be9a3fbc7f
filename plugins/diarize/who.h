/* Who speaks in a stretch of time. */
#ifndef DIARIZE_WHO_H
#define DIARIZE_WHO_H

#include <stdbool.h>

#include "diarize/turns.h"

struct dz_who {
    const struct dz_turns *turns; /* by start, at least one; borrowed */
    double *reach;                /* [n_turns]: the latest end among turns 0 to i */
    double *sum;                  /* [n_speakers], zeros between calls */
};

int32_t dz_who_init(struct dz_who *who, const struct dz_turns *turns, struct num_err *err);
/* Takes a zeroed one too. */
void dz_who_finish(struct dz_who *who);

#define dz_autowho __attribute__((cleanup(dz_who_finish))) struct dz_who

/*
 * Index of the speaker who has most of [start, end), seconds; of equals the first. Where nobody
 * speaks, of the turn that is nearest, and *ret_nearest is true.
 */
uint32_t dz_who_speaks(struct dz_who *who, double start, double end, bool *ret_nearest);

#endif
