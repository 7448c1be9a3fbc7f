/*
 * What stages were measured to need: the peaks of their workers, kept in the state folder from run
 * to run ($SLUICE_STATE/peaks.json), by stage, parameters (which name the model) and device. What
 * was measured counts more than what a pipeline declares, in both directions.
 *
 *   {"sluice": "peaks/1", "stages": {"whisper/transcribe|0f3c9d2a11b8e754|cpu":
 *      {"memory": [B...], "gpu_memory": [B...], "last": "2026-01-31T08:15:42.123Z"}}}
 *
 * Of each the last SL_PEAKS_KEPT workers are kept, newest last; their largest counts. So a need
 * grows at once and falls when that many workers in a row needed less.
 */
#ifndef SCHED_PEAKS_H
#define SCHED_PEAKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

#define SL_PEAKS_KEPT       8
#define SL_PEAKS_MAX_STAGES 2000 /* the oldest are forgotten */

struct sl_peaks {
    json_t *stages;  /* owned */
    json_t *changed; /* keys that were noted here; owned */
};

/* Whatever is damaged counts as not there. Pure; fuzzed. */
void sl_peaks_parse(const char *text, size_t len, struct sl_peaks *ret);
char *sl_peaks_text(const struct sl_peaks *p); /* owned */
void sl_peaks_finish(struct sl_peaks *p);

/* The file of this user, and what is in it; a file that is not there, or unreadable, is empty. */
void sl_peaks_load(struct sl_peaks *ret);
/* Writes what was noted into the file as it is now, whole, under a lock; other cores may write it
 * too. */
int sl_peaks_save(const struct sl_peaks *p, struct sl_err *err);

/* "USE|HASH OF PARAMETERS|DEVICE"; owned. `device`: "cpu" or the name of a card. */
char *sl_peaks_key(const char *use, const char *params, const char *device);

struct sl_peak {
    uint64_t memory, gpu_memory; /* bytes; 0: never measured */
};
struct sl_peak sl_peaks_get(const struct sl_peaks *p, const char *key);

/* A worker's peaks; 0: not measured. What is much as before is not written down. `whole`: it did
 * its work to the end. One that did not may have needed more: it only ever raises what is known. */
void sl_peaks_note(struct sl_peaks *p, const char *key, struct sl_peak peak, bool whole);

#endif
