/*
 * Gives words their speakers: per word, not per segment, and from turns that do not overlap, as
 * people who join transcripts with diarization found out to be right (one speaker a segment is
 * wrong wherever an answer follows within it).
 */
#ifndef DIARIZE_ASSIGN_H
#define DIARIZE_ASSIGN_H

#include <stdbool.h>
#include <stddef.h>

#include "diarize/turns.h"

struct dz_assign_report {
    size_t n_words;   /* that got a speaker */
    size_t n_nearest; /* of those: outside of all turns, so that the nearest one counts */
    size_t n_snapped; /* that changed hands with the end of a sentence */
    size_t n_splits;  /* segments that became several */
};

struct dz_assign_options {
    bool split;                    /* segments where the speaker changes */
    uint32_t snap;                 /* words by which a change moves to the end of a sentence */
    const struct num_watch *watch; /* NULL: nobody */
};

/*
 * Adds `speaker` to the words and segments of the transcript/1 `json` and writes it back in full;
 * members that it does not know stay.
 *
 *   - A word's speaker is who speaks longest between its start and its end; outside of all turns,
 *     who speaks nearest. A word without times goes with the timed word before it in its segment,
 *     else with the one behind.
 *   - A change in the middle of a sentence moves to the nearest end of a sentence, or to the start
 *     of the segment, where that is at most `snap` words away: recognisers give the pause before a
 *     word to the word, and then it seems to begin while the other one still speaks.
 *   - With `split`, a segment whose words change speakers becomes several: their texts are those of
 *     their words, their inner boundaries those of their words. They keep the numbers of the whole
 *     (avg_logprob and others) but not its `tokens`, which do not say where words begin. Segments
 *     are numbered anew.
 *   - Another segment's speaker is who has most of its words' time, or without words of its own.
 *
 * Without turns nothing is added. Returns SLUICE_INPUT for what is no transcript/1, naming the
 * place; SLUICE_CANCELLED. *ret is NUL-terminated and the caller's to free.
 */
int32_t dz_assign(const void *json, size_t len, const struct dz_turns *exclusive,
                  const struct dz_assign_options *options, char **ret,
                  struct dz_assign_report *report, struct num_err *err);

#endif
