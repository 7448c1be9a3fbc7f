/*
 * The writers. Each appends a whole file to `out` and returns 0, or a negative class with `err`
 * filled in; then `out` is not to be used. Pure: they know no host.
 *
 * The text formats follow the writers of OpenAI's Whisper (whisper/utils.py) byte for byte,
 * speakers those of WhisperX; where a transcript would make an invalid file there (empty cues,
 * blank lines inside a cue, a cue before its predecessor), a valid one is written.
 */
#ifndef EXPORT_FORMATS_H
#define EXPORT_FORMATS_H

#include "num/buf.h"
#include "num/err.h"
#include "export/cue.h"
#include "export/transcript.h"

typedef int ex_writer(const struct ex_transcript *transcript, const struct ex_layout *layout,
                      struct num_buf *out, struct num_err *err);

ex_writer ex_write_srt; /* SubRip: numbered cues, HH:MM:SS,mmm; "[speaker]: " before the text */
ex_writer ex_write_vtt; /* WebVTT: [HH:]MM:SS.mmm; <v speaker> tags; & < > of the text escaped */

/* One line a segment; `layout` is not used. */
ex_writer ex_write_txt; /* the text, "[speaker]: " before it */
ex_writer ex_write_tsv; /* start and end in whole milliseconds, text; with a header line */
ex_writer ex_write_lrc; /* [mm:ss.xx]text, the lyrics format of music players */

#endif
