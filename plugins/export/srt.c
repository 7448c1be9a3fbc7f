/*
 * SubRip. There is no escaping in this format: players differ in which tags they honour, so text
 * goes out as it is, except that an arrow in it would look like a time line.
 */
#include "export/formats.h"

static void write_cue(struct num_buf *out, size_t number, const struct ex_cue *cue) {
    num_buf_addf(out, "%zu\n", number);
    ex_time_add(out, cue->start_ms, true, ',');
    num_buf_adds(out, " --> ");
    ex_time_add(out, cue->end_ms, true, ',');
    num_buf_addc(out, '\n');
    if (cue->speaker) {
        num_buf_addc(out, '[');
        num_buf_adds(out, cue->speaker);
        num_buf_adds(out, "]: ");
    }
    num_buf_adds(out, cue->text);
    num_buf_adds(out, "\n\n");
}

int ex_write_srt(const struct ex_transcript *transcript, const struct ex_layout *layout,
                 struct num_buf *out, struct num_err *err) {
    return ex_cue_each(transcript, layout, (int)sizeof "[]: " - 1, write_cue, out, err);
}
