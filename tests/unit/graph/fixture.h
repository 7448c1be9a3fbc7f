/*
 * A catalog of made-up plugins that resemble the real ones, and helpers that turn pipeline text
 * into a plan or into the printed mistakes.
 */
#ifndef TESTS_UNIT_GRAPH_FIXTURE_H
#define TESTS_UNIT_GRAPH_FIXTURE_H

#include "graph/plan.h"

/* audio/decode, audio/vad, whisper/transcribe, export/srt, export/json, exec/command,
 * diarize/speakers, diarize/assign, mesh/make, mesh/show (a type of its own); and a plugin "broken"
 * that could not be described. */
void fixture_catalog(struct sl_catalog *ret_catalog);

/* The description of the audio plugin, for tests of the catalog. */
extern const char fixture_audio_json[];

/* What sl_diags_print() gives for the text, checked as the file "p.yaml"; owned. "" where there is
 * nothing to say. */
char *fixture_check(const char *text, const struct sl_setting *settings, int n_settings);
char *fixture_check_bytes(const char *bytes, size_t len);

/* The plan of a text without mistakes; ends the test otherwise. The catalog lives until the process
 * ends. */
struct sl_plan *fixture_plan(const char *text, const struct sl_setting *settings, int n_settings);

/* The stage of the plan by its name; ends the test where there is none. */
const struct sl_plan_stage *fixture_stage(const struct sl_plan *plan, const char *name);

/* "sluice: 1" and a decode stage, for tests of what follows. */
#define HEAD                                                                                       \
    "sluice: 1\n"                                                                                  \
    "inputs:\n"                                                                                    \
    "  audio: { type: file/1 }\n"                                                                  \
    "stages:\n"                                                                                    \
    "  decode: { use: audio/decode, in: { file: inputs.audio } }\n"

#endif
