/* The plugin `llm`: what language models do with a transcript, and a summary that needs none. */
#include "llm/stages.h"

static const struct sluice_stage *const stages[] = {&lm_extract_stage,
                                                    &lm_extractive_stage,
                                                    &lm_generate_stage,
                                                    &lm_punctuate_stage,
                                                    &lm_summarize_stage,
                                                    &lm_translate_stage,
                                                    NULL};

SLUICE_EXPORT const struct sluice_plugin sluice_plugin_entry = {SLUICE_PLUGIN_HEADER, "llm",
                                                                SLUICE_VERSION, "MIT", stages};
