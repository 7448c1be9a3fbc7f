/* The stages of the plugin, and what they share with each other: nothing here is known to the
 * engine. */
#ifndef LLM_STAGES_H
#define LLM_STAGES_H

#include <sluice/plugin.h>

#include "stage/stage.h"

extern const struct sluice_stage lm_extract_stage, lm_extractive_stage, lm_generate_stage,
    lm_punctuate_stage, lm_summarize_stage, lm_translate_stage;

#endif
