/*
 * WebVTT (w3.org/TR/webvtt1): a header, then cues behind blank lines. `&` and `<` are written as
 * character references, so that no text can open a tag (arrows were taken out before, see cue.h); a
 * speaker is a voice span, whose end tag may be left out where it covers the whole cue.
 */
#include "export/formats.h"

static void add_escaped(struct ex_buf *out, const char *text) {
    for (; *text; text++) {
        if (*text == '&')
            ex_buf_adds(out, "&amp;");
        else if (*text == '<')
            ex_buf_adds(out, "&lt;");
        else
            ex_buf_addc(out, *text);
    }
}

/* A voice tag ends at the first '>', and its text takes character references. */
static void add_voice(struct ex_buf *out, const char *speaker) {
    ex_buf_adds(out, "<v ");
    for (; *speaker; speaker++) {
        if (*speaker == '>')
            ex_buf_adds(out, "&gt;");
        else if (*speaker == '&')
            ex_buf_adds(out, "&amp;");
        else
            ex_buf_addc(out, *speaker);
    }
    ex_buf_addc(out, '>');
}

static void write_cue(struct ex_buf *out, size_t number, const struct ex_cue *cue) {
    if (number == 1)
        ex_buf_addc(out, '\n');
    ex_time_add(out, cue->start_ms, false, '.');
    ex_buf_adds(out, " --> ");
    ex_time_add(out, cue->end_ms, false, '.');
    ex_buf_addc(out, '\n');
    if (cue->speaker)
        add_voice(out, cue->speaker);
    add_escaped(out, cue->text);
    ex_buf_adds(out, "\n\n");
}

int ex_write_vtt(const struct ex_transcript *transcript, const struct ex_layout *layout,
                 struct ex_buf *out, struct ex_err *err) {
    ex_buf_adds(out, "WEBVTT\n");
    return ex_cue_each(transcript, layout, -1, write_cue, out, err);
}
