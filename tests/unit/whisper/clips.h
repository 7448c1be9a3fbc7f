/*
 * Test recordings and the values stored for them. Files lie in tests/data; the rest of the set in
 * the shared data, where that is present.
 */
#ifndef TESTS_UNIT_WHISPER_CLIPS_H
#define TESTS_UNIT_WHISPER_CLIPS_H

#include <jansson.h>

#include "num/safetensors.h"
#include "unit/test.h"
#include "whisper/longform.h"

#define MODEL_DIR SOURCE_DIR "/plugins/whisper/models/whisper-synth"

/* Samples of a 16-bit mono 16 kHz WAV file with a 44-byte header; NULL where there is no such file.
 */
static inline float *wav_read(const char *path, size_t *ret_n) {
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    uint8_t header[44];
    CHECK(fread(header, 1, 44, f) == 44 && memcmp(header + 36, "data", 4) == 0);
    CHECK(header[22] == 1 && header[24] == 0x80 && header[25] == 0x3e && header[34] == 16);
    uint32_t bytes;
    memcpy(&bytes, header + 40, 4);
    int16_t *raw = malloc(bytes);
    size_t n = fread(raw, 2, bytes / 2, f);
    float *pcm = malloc((n + 1) * sizeof *pcm);
    for (size_t i = 0; i < n; i++)
        pcm[i] = (float)raw[i] / 32768;
    free(raw);
    fclose(f);
    *ret_n = n;
    return pcm;
}

/* The clip's samples, from tests/data or the shared data; NULL where it is in neither. */
static inline float *clip_read(const char *name, size_t *ret_n) {
    char path[4096];
    snprintf(path, sizeof path, "%s/data/%s.wav", TESTS_DIR, name);
    float *pcm = wav_read(path, ret_n);
    snprintf(path, sizeof path, "%s/data/synth/%s.wav", SHARED_DIR, name);
    return pcm ? pcm : wav_read(path, ret_n);
}

/* What is stored for all clips; the caller drops the reference. */
static inline json_t *clip_expectations(void) {
    json_error_t why;
    json_t *all = json_load_file(TESTS_DIR "/data/expected/transcripts.json", 0, &why);
    if (!all)
        TEST_FAIL("transcripts.json: %s", why.text);
    return all;
}

/* The embedded model on `n_threads`. */
static inline void model_open(struct wh_model *ret, uint32_t n_threads, uint32_t n_slots,
                              uint32_t n_rows) {
    struct num_err err = {0};
    struct wh_limits limits = {n_threads, n_slots, n_rows};
    if (wh_model_load(MODEL_DIR, &wh_backend_cpu, &limits, ret, &err))
        TEST_FAIL("%s", err.text);
}

/* The mode in which the stored values were made: the likeliest token, each window for itself, with
 * silence behind the end. */
static inline struct wh_options options_greedy(void) {
    struct wh_options o;
    wh_options_default(&o);
    o.n_temperatures = 1;
    o.beam_size = 1;
    o.condition_on_previous_text = false;
    o.silence_behind_end = true;
    return o;
}

/* Largest difference of n values. */
static inline double max_difference(const float *a, const float *b, size_t n) {
    double max = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        max = d > max || isnan(d) ? d : max;
    }
    return max;
}

#endif
