/*
 * Hysteresis, shortest lengths, longest length, padding: the rules of get_speech_timestamps() in
 * Silero's utils_vad.py (6.2), as a machine that takes one probability at a time and keeps a few
 * marks.
 *
 *     probability     __/^^^^^^\_/^^^^^^^^\________
 *     marks             start   quiet      quiet -> end once min_silence has passed
 *
 * A region that grows past max_speech is cut at the longest silence inside it that lasted more than
 * 98 ms, or right there. What is left over goes on as a region of its own.
 */
#include "audio/vad/segment.h"

#include "audio/vad/detector.h"

#define CUT_SILENCE (98 * VAD_RATE / 1000) /* samples; a cut needs a longer silence */

static const struct vad_mark no_mark = {-1, 0};

double vad_max_speech(double seconds, int64_t pad) {
    return seconds * VAD_RATE - VAD_FRAME - 2.0 * (double)pad;
}

void vad_segmenter_init(struct vad_segmenter *s, const struct vad_rules *rules,
                        void (*emit)(void *ctx, const struct vad_region *region), void *ctx) {
    *s = (struct vad_segmenter){.rules = *rules,
                                .start = no_mark,
                                .quiet = no_mark,
                                .cut_end = no_mark,
                                .cut_start = no_mark,
                                .emit = emit,
                                .ctx = ctx};
}

/* Gives the pending region away, its end moved by `pad`. */
static void release(struct vad_segmenter *s, int64_t pad) {
    s->last.end += pad;
    s->pending = false;
    s->emit(s->ctx, &s->last);
}

/* The region from s->start to `end` is complete: settles the padding between it and the one before.
 */
static void accept(struct vad_segmenter *s, struct vad_mark end) {
    int64_t pad = s->rules.pad, start = s->start.at;
    if (s->pending) {
        int64_t gap = start - s->last.end;
        pad = gap < 2 * pad ? gap / 2 : pad;
        release(s, pad);
    }
    int64_t n_frames = (end.at - start + VAD_FRAME - 1) / VAD_FRAME;
    double score = n_frames > 0 ? (end.sum - s->start.sum) / (double)n_frames : 0;
    score = score < 0 ? 0 : score > 1 ? 1 : score;
    s->last = (struct vad_region){start > pad ? start - pad : 0, end.at, score};
    s->pending = true;
}

static void forget(struct vad_segmenter *s, struct vad_mark start) {
    s->start = start;
    s->quiet = s->cut_end = s->cut_start = no_mark;
}

/* Speech again after a short silence, which may become the place of a cut. */
static void end_silence(struct vad_segmenter *s) {
    int64_t len = s->now.at - s->quiet.at;
    if (len > CUT_SILENCE && (s->cut_end.at < 0 || len > s->cut_start.at - s->cut_end.at)) {
        s->cut_end = s->quiet;
        s->cut_start = s->now;
    }
    s->quiet = no_mark;
}

/* Cuts the region, which has become too long. */
static void cut(struct vad_segmenter *s) {
    if (s->cut_end.at >= 0) {
        accept(s, s->cut_end);
        forget(s, s->cut_start);
    } else {
        accept(s, s->now);
        forget(s, no_mark);
    }
}

static void take_quiet(struct vad_segmenter *s) {
    if (s->quiet.at < 0)
        s->quiet = s->now;
    if (s->now.at - s->quiet.at < s->rules.min_silence)
        return;
    if (s->quiet.at - s->start.at > s->rules.min_speech)
        accept(s, s->quiet);
    forget(s, no_mark);
}

static void step(struct vad_segmenter *s, double p) {
    bool speech = p >= s->rules.threshold;
    if (speech && s->quiet.at >= 0)
        end_silence(s);
    if (speech && s->start.at < 0) {
        s->start = s->now;
        return;
    }
    if (s->start.at >= 0 && (double)(s->now.at - s->start.at) > s->rules.max_speech)
        cut(s);
    if (s->start.at >= 0 && p < s->rules.neg_threshold)
        take_quiet(s);
}

void vad_segmenter_push(struct vad_segmenter *s, float probability) {
    step(s, probability);
    int64_t next_start = s->start.at < 0 ? s->now.at : s->start.at;
    if (s->pending && next_start - s->last.end >= 2 * s->rules.pad)
        release(s, s->rules.pad);
    s->now.at += VAD_FRAME;
    s->now.sum += probability;
}

void vad_segmenter_finish(struct vad_segmenter *s, int64_t n_samples) {
    struct vad_mark end = {n_samples, s->now.sum};
    if (s->start.at >= 0 && n_samples - s->start.at > s->rules.min_speech)
        accept(s, end);
    int64_t room = s->pending ? n_samples - s->last.end : 0;
    if (s->pending)
        release(s, room < s->rules.pad ? room : s->rules.pad);
    forget(s, no_mark);
}
