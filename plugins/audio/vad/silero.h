/*
 * The Silero voice activity network on the CPU.
 */
#ifndef AUDIO_VAD_SILERO_H
#define AUDIO_VAD_SILERO_H

#include "audio/vad/detector.h"
#include "audio/vad/silero_file.h"

/* Makes a detector of the weights, which it copies. SLUICE_RESOURCE: no memory. */
int32_t vad_silero_create(const struct vad_silero_weights *weights, struct vad_detector *ret,
                          struct num_err *err);

#endif
