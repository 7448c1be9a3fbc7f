/*
 * The detector that needs no weights file.
 */
#ifndef AUDIO_VAD_EMBEDDED_H
#define AUDIO_VAD_EMBEDDED_H

#include "audio/vad/detector.h"

/* SLUICE_RESOURCE: no memory. */
int32_t vad_embedded_create(struct vad_detector *ret, struct num_err *err);

#endif
