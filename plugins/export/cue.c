/*
 * Cues: clean the text, wrap it, group the lines, give each group its time.
 *
 *     segment  0.0 .. 4.0   "one two three four"       (width 9, count 1)
 *     lines                 "one two" "three" "four"
 *     cues     0.0 .. 1.6   1.6 .. 2.9   2.9 .. 4.0    by characters, or by the words' own times
 *
 * Words are matched to the text by counting visible characters, so they help only where they spell
 * the whole text; where they do not, the proportional rule applies. Nothing here reads words across
 * segments: a cue never holds text of two.
 */
#include "export/cue.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/types.h>

#include "export/text.h"
#include "export/wrap.h"

/* What stays the same over a transcript's cues. */
struct job {
    const struct ex_layout *layout;
    int speaker_columns;
    ex_cue_writer *write;
    struct num_buf *out;
    size_t n_written;
};

int64_t ex_time_ms(double seconds) {
    return llrint(seconds * 1000.0);
}

void ex_time_add(struct num_buf *out, int64_t time_ms, bool hours, char mark) {
    int64_t s = time_ms / 1000;
    if (hours || s >= 3600)
        num_buf_addf(out, "%02" PRId64 ":", s / 3600);
    num_buf_addf(out, "%02" PRId64 ":%02" PRId64 "%c%03" PRId64, s / 60 % 60, s % 60, mark,
                 time_ms % 1000);
}

/* Deals out a segment's time to its parts, which are asked for in order. */
struct clock {
    const struct ex_segment *segment;
    const struct ex_word *words; /* NULL: the words do not help */
    size_t n_chars;              /* visible characters of the text */
    size_t word, seen;           /* the word reached, and the visible characters before it */
};

static struct clock clock_for(const struct ex_segment *segment, const char *text) {
    struct clock clock = {segment, segment->words, ex_text_count(text), 0, 0};
    size_t n = 0;
    for (size_t i = 0; i < segment->n_words; i++) {
        n += segment->words[i].n_chars;
        if (segment->words[i].start < 0 || segment->words[i].end < segment->words[i].start)
            clock.words = NULL;
    }
    if (n != clock.n_chars)
        clock.words = NULL;
    return clock;
}

/* The word that holds visible character `at`, which must not be before that of the last call. */
static const struct ex_word *clock_word(struct clock *clock, size_t at) {
    while (clock->seen + clock->words[clock->word].n_chars <= at)
        clock->seen += clock->words[clock->word++].n_chars;
    return &clock->words[clock->word];
}

/* Time of the part with visible characters [from, to); from < to <= n_chars. */
static void clock_part(struct clock *clock, size_t from, size_t to, double *ret_start,
                       double *ret_end) {
    const struct ex_segment *segment = clock->segment;
    if (clock->words) {
        *ret_start = clock_word(clock, from)->start;
        *ret_end = clock_word(clock, to - 1)->end;
        return;
    }
    double per_char = (segment->end - segment->start) / (double)clock->n_chars;
    *ret_start = segment->start + per_char * (double)from;
    *ret_end = segment->start + per_char * (double)to;
}

/* Lines [from, to) of `text`, joined and NUL-terminated, into `part`; returns their visible
 * characters. */
static size_t join_lines(struct num_buf *part, const char *text, const struct ex_lines *lines,
                         size_t from, size_t to) {
    part->len = 0;
    for (size_t i = from; i < to; i++) {
        if (i > from)
            num_buf_addc(part, '\n');
        num_buf_add(part, text + lines->lines[i].at, lines->lines[i].len);
    }
    num_buf_addc(part, '\0');
    return part->failed ? 0 : ex_text_count(part->data);
}

/* Writes the cues of one segment, whose lines are known. */
static int write_parts(struct job *job, const struct ex_segment *segment, const char *text,
                       const struct ex_lines *lines, const char *speaker, struct num_err *err) {
    num_autobuf part = {0};
    size_t count = job->layout->max_line_count ? job->layout->max_line_count : lines->n;
    struct clock clock = clock_for(segment, text);
    size_t done = 0; /* visible characters written */
    int64_t earliest_ms = ex_time_ms(segment->start);
    for (size_t i = 0; i < lines->n; i += count) {
        size_t to = i + count < lines->n ? i + count : lines->n;
        size_t n = join_lines(&part, text, lines, i, to);
        if (part.failed)
            return num_fail(err, SLUICE_RESOURCE, "out of memory for a subtitle");
        double start = segment->start, end = segment->end;
        if (i > 0 || to < lines->n)
            clock_part(&clock, done, done + n, &start, &end);
        struct ex_cue cue = {ex_time_ms(start), ex_time_ms(end), part.data, speaker};
        if (cue.start_ms < earliest_ms)
            cue.start_ms = earliest_ms;
        if (cue.end_ms < cue.start_ms)
            cue.end_ms = cue.start_ms;
        earliest_ms = cue.start_ms;
        job->write(job->out, ++job->n_written, &cue);
        done += n;
    }
    return 0;
}

static int write_segment(struct job *job, const struct ex_segment *segment, struct num_buf *text,
                         struct num_err *err) {
    ex_autolines lines = {0};
    text->len = 0;
    ex_text_clean(text, segment->text, EX_TEXT_LINES | EX_TEXT_ARROW);
    if (text->len == 0 && !text->failed)
        return 0;
    num_buf_addc(text, '\0');
    size_t speaker_at = text->len;
    if (segment->speaker)
        ex_text_clean(text, segment->speaker, EX_TEXT_ARROW);
    bool named = text->len > speaker_at;
    num_buf_addc(text, '\0');
    if (text->failed)
        return num_fail(err, SLUICE_RESOURCE, "out of memory for a subtitle");
    const char *speaker = named ? text->data + speaker_at : NULL;
    struct ex_wrap wrap = {job->layout->max_line_width, job->layout->max_line_count, 0};
    if (speaker && job->speaker_columns >= 0)
        wrap.indent = ex_text_columns(speaker) + (size_t)job->speaker_columns;
    int status = ex_wrap_lines(text->data, &wrap, &lines, err);
    return status < 0 ? status : write_parts(job, segment, text->data, &lines, speaker, err);
}

static int by_start(const void *a, const void *b) {
    const struct ex_segment *x = *(const struct ex_segment *const *)a;
    const struct ex_segment *y = *(const struct ex_segment *const *)b;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return x < y ? -1 : x > y; /* the order of the transcript: they lie in one array */
}

int ex_cue_each(const struct ex_transcript *transcript, const struct ex_layout *layout,
                int speaker_columns, ex_cue_writer *write, struct num_buf *out,
                struct num_err *err) {
    struct job job = {layout, speaker_columns, write, out, 0};
    num_autobuf order = {0};
    num_autobuf text = {0};
    for (size_t i = 0; i < transcript->n_segments; i++) {
        const struct ex_segment *segment = &transcript->segments[i];
        num_buf_add(&order, &segment, sizeof segment);
    }
    if (order.failed)
        return num_fail(err, SLUICE_RESOURCE, "out of memory for subtitles");
    const struct ex_segment **sorted = (const struct ex_segment **)(void *)order.data;
    if (transcript->n_segments)
        qsort(sorted, transcript->n_segments, sizeof *sorted, by_start);
    for (size_t i = 0; i < transcript->n_segments; i++) {
        int status = write_segment(&job, sorted[i], &text, err);
        if (status < 0)
            return status;
    }
    return out->failed ? num_fail(err, SLUICE_RESOURCE, "out of memory for subtitles") : 0;
}
