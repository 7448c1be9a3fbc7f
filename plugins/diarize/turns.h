/*
 * Speaker turns: turns/1 and RTTM, read and written.
 *
 * RTTM is the format of NIST's Rich Transcription evaluations (2009 evaluation plan, appendix A):
 * lines of ten fields, of which SPEAKER lines hold a start and a duration in seconds and a name.
 */
#ifndef DIARIZE_TURNS_H
#define DIARIZE_TURNS_H

#include <stddef.h>
#include <stdint.h>

#include "num/watch.h"

/* Times beyond this (10,000 hours) are refused as damage: no recording is that long. */
#define DZ_MAX_TIME_S 3.6e7

struct dz_turn {
    double start, end; /* seconds, 0 <= start <= end */
    uint32_t speaker;  /* index of its name */
};

struct dz_turns {
    struct dz_turn *turns; /* [n_turns], by start */
    size_t n_turns;
    char **speakers; /* [n_speakers], UTF-8, in the order of their first turn in the source */
    uint32_t n_speakers;
};

/* Frees what the turns hold; they may be zeroed. */
void dz_turns_finish(struct dz_turns *turns);

#define dz_autoturns __attribute__((cleanup(dz_turns_finish))) struct dz_turns

/*
 * Parses a turns/1. With `exclusive` its track without overlap, or the turns themselves where there
 * is none. SLUICE_INPUT names the place ("turns[3].end: ..."); SLUICE_CANCELLED: `watch` (NULL:
 * nobody) said so. *ret is the caller's to finish.
 */
int32_t dz_turns_read(const void *json, size_t len, int exclusive, const struct num_watch *watch,
                      struct dz_turns *ret, struct num_err *err);

/*
 * Parses RTTM. `recording` chooses among several; NULL takes the only one. Lines of other kinds are
 * passed over. SLUICE_INPUT names the line.
 */
int32_t dz_rttm_read(const char *text, size_t len, const char *recording, struct dz_turns *ret,
                     struct num_err *err);

/* turns/1 of both tracks, `exclusive` derived where NULL (dz_turns_exclusive()); NUL-terminated,
 * the caller's to free. */
int32_t dz_turns_write(const struct dz_turns *turns, const struct dz_turns *exclusive, char **ret,
                       struct num_err *err);

/* RTTM of the turns under the recording's name, whose white space becomes "_"; NUL-terminated, the
 * caller's to free. */
int32_t dz_rttm_write(const struct dz_turns *turns, const char *recording, char **ret,
                      struct num_err *err);

/*
 * The turns without overlap. Where several speak, it is the one whose turn began first and still
 * goes on: who interrupts gets what the other one leaves. Turns of one speaker that meet are one.
 */
int32_t dz_turns_exclusive(const struct dz_turns *turns, struct dz_turns *ret, struct num_err *err);

/* Index of the name, which is added where it is new; for readers. */
int32_t dz_speaker(struct dz_turns *turns, const char *name, uint32_t *ret, struct num_err *err);
/* Appends a turn; *capacity is that of turns->turns. */
int32_t dz_append(struct dz_turns *turns, size_t *capacity, struct dz_turn turn,
                  struct num_err *err);
/* Sorts by start, then by end. */
void dz_turns_sort(struct dz_turns *turns);

#endif
