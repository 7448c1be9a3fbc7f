/*
 * SubRip. There is no escaping in this format: players differ in which tags they honour, so text
 * goes out as it is, except that an arrow in it would look like a time line.
 */
#include "export/formats.h"

static void write_cue(struct ex_buf *out, size_t number, const struct ex_cue *cue) {
    ex_buf_addf(out, "%zu\n", number);
    ex_time_add(out, cue->start_ms, true, ',');
    ex_buf_adds(out, " --> ");
    ex_time_add(out, cue->end_ms, true, ',');
    ex_buf_addc(out, '\n');
    if (cue->speaker) {
        ex_buf_addc(out, '[');
        ex_buf_adds(out, cue->speaker);
        ex_buf_adds(out, "]: ");
    }
    ex_buf_adds(out, cue->text);
    ex_buf_adds(out, "\n\n");
}

int ex_write_srt(const struct ex_transcript *transcript, const struct ex_layout *layout,
                 struct ex_buf *out, struct ex_err *err) {
    return ex_cue_each(transcript, layout, (int)sizeof "[]: " - 1, write_cue, out, err);
}
