/*
 * Types that travel between stages, and the status classes that decide what happens after a
 * failure.
 *
 * A port has a type, written "name/version". Every payload is a file that a person can open:
 *
 *   file/1        a file of the user's, handed over by path
 *   audio/1       safetensors: `pcm` F32 [n_samples], mono, in [-1, 1], 16 kHz; metadata
 *                 `sample_rate`, `source` and `duration` (seconds)
 *   regions/1     JSON: {regions: [{start, end, score}]}, stretches of speech
 *   transcript/1  JSON: the verbose JSON of the Whisper ecosystem
 *   attention/1   safetensors: cross-attention of the alignment heads, one tensor a segment
 *   turns/1       JSON: {turns: [{start, end, speaker}], exclusive: [...]}
 *   embeddings/1  safetensors: one row a speaker
 *   text/1        UTF-8 text
 *   json/1        any JSON; an input of this type also takes regions, transcript and turns
 *
 * Times are seconds. The JSON schemas are installed under share/sluice/schemas.
 */
#ifndef SLUICE_TYPES_H
#define SLUICE_TYPES_H

#define SLUICE_TYPE_FILE       "file/1"
#define SLUICE_TYPE_AUDIO      "audio/1"
#define SLUICE_TYPE_REGIONS    "regions/1"
#define SLUICE_TYPE_TRANSCRIPT "transcript/1"
#define SLUICE_TYPE_ATTENTION  "attention/1"
#define SLUICE_TYPE_TURNS      "turns/1"
#define SLUICE_TYPE_EMBEDDINGS "embeddings/1"
#define SLUICE_TYPE_TEXT       "text/1"
#define SLUICE_TYPE_JSON       "json/1"

/*
 * Status of a call: 0, or one negative class. The class decides the retry, so choose it with care.
 * Values are part of the ABI and never change meaning.
 */
#define SLUICE_OK          0  /* done */
#define SLUICE_INPUT       -1 /* this input cannot be processed by anybody: never retried */
#define SLUICE_UNSUPPORTED -2 /* valid, but not something this stage can do: never retried */
#define SLUICE_RESOURCE    -3 /* memory, disk or device exhausted: retried when more is free */
#define SLUICE_TRANSIENT   -4 /* will probably work later: retried with backoff */
#define SLUICE_INTERNAL    -5 /* a defect, or anything else: retried in a fresh process */
#define SLUICE_CANCELLED   -6 /* stopped because the host asked for it: never retried */

#endif
