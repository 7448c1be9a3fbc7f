/*
 * WebVTT (w3.org/TR/webvtt1): a header, then cues behind blank lines. `&` and `<` are written as
 * character references, so that no text can open a tag (arrows were taken out before, see cue.h); a
 * speaker is a voice span, whose end tag may be left out where it covers the whole cue.
 */
#include "export/formats.h"

static void add_escaped(struct num_buf *out, const char *text) {
    for (; *text; text++) {
        if (*text == '&')
            num_buf_adds(out, "&amp;");
        else if (*text == '<')
            num_buf_adds(out, "&lt;");
        else
            num_buf_addc(out, *text);
    }
}

/* A voice tag ends at the first '>', and its text takes character references. */
static void add_voice(struct num_buf *out, const char *speaker) {
    num_buf_adds(out, "<v ");
    for (; *speaker; speaker++) {
        if (*speaker == '>')
            num_buf_adds(out, "&gt;");
        else if (*speaker == '&')
            num_buf_adds(out, "&amp;");
        else
            num_buf_addc(out, *speaker);
    }
    num_buf_addc(out, '>');
}

static void write_cue(struct num_buf *out, size_t number, const struct ex_cue *cue) {
    if (number == 1)
        num_buf_addc(out, '\n');
    ex_time_add(out, cue->start_ms, false, '.');
    num_buf_adds(out, " --> ");
    ex_time_add(out, cue->end_ms, false, '.');
    num_buf_addc(out, '\n');
    if (cue->speaker)
        add_voice(out, cue->speaker);
    add_escaped(out, cue->text);
    num_buf_adds(out, "\n\n");
}

int ex_write_vtt(const struct ex_transcript *transcript, const struct ex_layout *layout,
                 struct num_buf *out, struct num_err *err) {
    num_buf_adds(out, "WEBVTT\n");
    return ex_cue_each(transcript, layout, -1, write_cue, out, err);
}
