/*
 * The formats of one line a segment: txt, tsv, lrc. Segments keep the order of the transcript, and
 * one without text keeps its line, so that lines and segments correspond.
 */
#include "export/formats.h"

#include <inttypes.h>
#include <math.h>

#include <sluice/types.h>

#include "export/text.h"

static int done(const struct num_buf *out, struct num_err *err) {
    return out->failed ? num_fail(err, SLUICE_RESOURCE, "out of memory for the text") : 0;
}

int ex_write_txt(const struct ex_transcript *transcript, const struct ex_layout *layout,
                 struct num_buf *out, struct num_err *err) {
    (void)layout;
    for (size_t i = 0; i < transcript->n_segments; i++) {
        const struct ex_segment *segment = &transcript->segments[i];
        if (segment->speaker) {
            num_buf_addc(out, '[');
            ex_text_clean(out, segment->speaker, 0);
            num_buf_adds(out, "]: ");
        }
        ex_text_clean(out, segment->text, 0);
        num_buf_addc(out, '\n');
    }
    return done(out, err);
}

int ex_write_tsv(const struct ex_transcript *transcript, const struct ex_layout *layout,
                 struct num_buf *out, struct num_err *err) {
    (void)layout;
    num_buf_adds(out, "start\tend\ttext\n");
    for (size_t i = 0; i < transcript->n_segments; i++) {
        const struct ex_segment *segment = &transcript->segments[i];
        num_buf_addf(out, "%" PRId64 "\t%" PRId64 "\t", ex_time_ms(segment->start),
                     ex_time_ms(segment->end));
        ex_text_clean(out, segment->text, EX_TEXT_NO_TABS);
        num_buf_addc(out, '\n');
    }
    return done(out, err);
}

int ex_write_lrc(const struct ex_transcript *transcript, const struct ex_layout *layout,
                 struct num_buf *out, struct num_err *err) {
    (void)layout;
    for (size_t i = 0; i < transcript->n_segments; i++) {
        const struct ex_segment *segment = &transcript->segments[i];
        int64_t cs = llrint(segment->start * 100.0); /* hundredths: all that the format has */
        num_buf_addf(out, "[%02" PRId64 ":%02" PRId64 ".%02" PRId64 "]", cs / 6000, cs / 100 % 60,
                     cs % 100);
        ex_text_clean(out, segment->text, EX_TEXT_NO_TABS);
        num_buf_addc(out, '\n');
    }
    return done(out, err);
}
