/*
 * From what each window says of its local speakers to turns of the speakers of the recording, as
 * pyannote.audio 4.0 does it (pipelines/speaker_diarization.py, reconstruct() and
 * to_diarization()): in each frame as many speak as the windows say on average, and those speak
 * whom most windows hear. Frame by frame, so that memory is that of the turns.
 */
#ifndef DIARIZE_TRACKS_H
#define DIARIZE_TRACKS_H

#include "diarize/turns.h"

#define DZ_MAX_CLUSTERS 64

struct dz_tracks {
    size_t n_windows, n_frames, n_local; /* n_frames: of a window */
    size_t window_step;                  /* samples from one window to the next */
    size_t frame, frame_step;            /* samples that a frame sees, and between two */
    const uint8_t *sets;                 /* (n_windows, n_frames): the local speakers, a bit each */
    const int8_t *clusters;              /* (n_windows, n_local): of a local speaker, or -1 */
    size_t n_at_once;                    /* at most so many speak at a time */
    double end_s;                        /* of the recording: no turn goes on beyond it */
};

/*
 * Turns, and those without overlap; names are SPEAKER_00, SPEAKER_01, ... in the order in which
 * they begin, the same in both. ret_cluster (DZ_MAX_CLUSTERS) is the cluster of each speaker.
 */
int32_t dz_tracks_make(const struct dz_tracks *tracks, struct dz_turns *ret,
                       struct dz_turns *ret_exclusive, uint8_t *ret_cluster, struct num_err *err);

#endif
