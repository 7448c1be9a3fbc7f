/*
 * The stage audio/vad, for the plugin's list.
 */
#ifndef AUDIO_VAD_STAGE_H
#define AUDIO_VAD_STAGE_H

#include <sluice/plugin.h>

extern const struct sluice_stage vad_stage;

#endif
