/*
 * Segments as subtitle cues: in order of time, in milliseconds, broken into lines, split where a
 * cue would have too many of them.
 */
#ifndef EXPORT_CUE_H
#define EXPORT_CUE_H

#include <stdint.h>

#include "export/transcript.h"
#include "num/buf.h"

struct ex_layout {
    uint32_t max_line_width; /* columns; 0: lines are not broken */
    uint32_t max_line_count; /* lines in a cue; 0: any number */
};

struct ex_cue {
    int64_t start_ms, end_ms; /* 0 <= start_ms <= end_ms */
    const char *text;         /* lines joined by \n, never empty, no line empty; free of "-->" */
    const char *speaker;      /* one clean line, or NULL */
};

/* Writes one cue; `number` counts from 1. The cue is borrowed during the call. */
typedef void ex_cue_writer(struct num_buf *out, size_t number, const struct ex_cue *cue);

/*
 * Calls `write` for each cue of the transcript. Cues start in ascending order (segments that do not
 * are sorted); segments without visible text make none. A segment with more lines than
 * max_line_count is split: the parts begin and end with their words where the segment's words have
 * times, else time is dealt out in proportion to visible characters. `speaker_columns` columns
 * beside the speaker's name are taken in the first line of a cue that shows one there; below 0: the
 * name takes no room in the text. Returns 0 or SLUICE_RESOURCE.
 */
int ex_cue_each(const struct ex_transcript *transcript, const struct ex_layout *layout,
                int speaker_columns, ex_cue_writer *write, struct num_buf *out,
                struct num_err *err);

/* Seconds as milliseconds, halves to even as the reference rounds. */
int64_t ex_time_ms(double seconds);

/* Appends "[HH:]MM:SS<mark>mmm"; hours only when they are not 0 or `hours` is true. */
void ex_time_add(struct num_buf *out, int64_t time_ms, bool hours, char mark);

#endif
