/*
 * The seam between detectors and what is made of their output: a detector gives the probability of
 * speech for every frame of VAD_FRAME samples.
 */
#ifndef AUDIO_VAD_DETECTOR_H
#define AUDIO_VAD_DETECTOR_H

#include "audio/vad/samples.h"

#define VAD_FRAME 512 /* samples: 32 ms */
#define VAD_BLOCK 32  /* frames that one call of run() takes at most: about a second */

/* Frames of a recording; the last one may be incomplete. */
static inline int64_t vad_n_frames(const struct vad_samples *samples) {
    return (samples->n + VAD_FRAME - 1) / VAD_FRAME;
}

struct vad_detector {
    void *self; /* owned by the detector, freed by destroy() */

    /* Forgets the recording before. */
    void (*reset)(void *self);

    /*
     * Probabilities, in [0, 1], of the frames [first, first + n) to ret (n); n is at most
     * VAD_BLOCK. After reset() the calls go through the recording in order from frame 0. The result
     * does not depend on how the frames are cut into calls. A detector may look at samples behind
     * its frames.
     */
    void (*run)(void *self, const struct vad_samples *samples, int64_t first, int n, float *ret);

    /* Takes NULL. */
    void (*destroy)(void *self);
};

#endif
