/* The stages of the plugin that have files of their own. */
#ifndef DIARIZE_STAGES_H
#define DIARIZE_STAGES_H

#include <sluice/plugin.h>

extern const struct sluice_stage dz_speakers_stage, dz_enrol_stage, dz_identify_stage;

#endif
