/*
 * Probabilities to regions of speech, by the rules of Silero's get_speech_timestamps(). Pure: no
 * audio, no host.
 */
#ifndef AUDIO_VAD_SEGMENT_H
#define AUDIO_VAD_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

/* Lengths are samples at 16 kHz. */
struct vad_rules {
    double threshold;     /* speech starts at this probability */
    double neg_threshold; /* and may end below this one */
    int64_t min_speech;   /* regions up to this length are dropped */
    int64_t min_silence;  /* a silence this long ends a region */
    int64_t pad;          /* added on either side; half of the gap where regions come close */
    double max_speech;    /* longer regions are cut, INFINITY: never; see vad_max_speech() */
};

/* vad_rules.max_speech for regions of at most `seconds`, padding included. */
double vad_max_speech(double seconds, int64_t pad);

struct vad_region {
    int64_t start, end; /* samples */
    double score;       /* mean probability of its frames, padding left out */
};

/* A frame boundary, and the sum of all probabilities before it. */
struct vad_mark {
    int64_t at; /* samples; below 0: none */
    double sum;
};

struct vad_segmenter {
    struct vad_rules rules;
    struct vad_mark now;                /* start of the next frame */
    struct vad_mark start;              /* of the region in progress, at < 0: silence */
    struct vad_mark quiet;              /* where the probability fell below neg_threshold */
    struct vad_mark cut_end, cut_start; /* the longest silence inside the region so far */
    bool pending;                       /* `last` is complete but for the padding at its end */
    struct vad_region last;
    void (*emit)(void *ctx, const struct vad_region *region);
    void *ctx;
};

/* `emit` gets the regions in order of time, each as soon as it cannot change any more. */
void vad_segmenter_init(struct vad_segmenter *s, const struct vad_rules *rules,
                        void (*emit)(void *ctx, const struct vad_region *region), void *ctx);

/* Takes the probability of the next frame. */
void vad_segmenter_push(struct vad_segmenter *s, float probability);

/* Ends the recording of n_samples, which must lie in the last frame that was pushed. */
void vad_segmenter_finish(struct vad_segmenter *s, int64_t n_samples);

#endif
