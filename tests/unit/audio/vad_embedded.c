/*
 * The detectors that come along, VAD_MODEL or the regression: what they must find, what they must
 * not, and what must not change their mind.
 */
#include "vad.h"

#include "audio/vad/embedded.h"
#include "audio/vad/silero.h"

#define RATE VAD_RATE

/* The stage's defaults. */
static const struct vad_rules rules = {0.5, 0.35, 4000, 8000, 6400, INFINITY};

#ifdef VAD_MODEL
static int32_t open_detector(struct vad_detector *ret, struct num_err *err) {
    struct vad_silero_weights *w = calloc(1, sizeof *w);
    int32_t status = vad_silero_load(VAD_MODEL, w, err);
    status = status == SLUICE_OK ? vad_silero_create(w, ret, err) : status;
    free(w);
    return status;
}
#else
#define open_detector vad_embedded_create
#endif

static struct vad_detector create(void) {
    struct vad_detector d;
    struct num_err err = {0};
    if (open_detector(&d, &err))
        TEST_FAIL("%s", err.text);
    return d;
}

static void detect(const struct vad_samples *samples, struct vad_regions *ret) {
    struct vad_detector d = create();
    struct vad_segmenter s;
    float *p = vad_run(&d, samples, VAD_BLOCK);
    ret->n = 0;
    vad_segmenter_init(&s, &rules, vad_collect, ret);
    for (int64_t i = 0; i < vad_n_frames(samples); i++) {
        CHECK(p[i] >= 0 && p[i] <= 1);
        vad_segmenter_push(&s, p[i]);
    }
    vad_segmenter_finish(&s, samples->n);
    free(p);
    d.destroy(d.self);
}

static void check_silent(const float *pcm, int64_t n, const char *what) {
    struct vad_samples samples = {pcm, n};
    struct vad_regions r;
    detect(&samples, &r);
    if (r.n > 0)
        TEST_FAIL("%s: speech at %.2f s", what, (double)r.all[0].start / RATE);
}

TEST(silence_is_not_speech) {
    static float pcm[20 * RATE];
    check_silent(pcm, 20 * RATE, "zeros");
    for (int i = 0; i < 20 * RATE; i++)
        pcm[i] = 0.1f;
    check_silent(pcm, 20 * RATE, "a constant");
    for (int i = 0; i < 20 * RATE; i++)
        pcm[i] = i % 3000 == 0 ? 1.0f / 32768 : 0;
    check_silent(pcm, 20 * RATE, "the last bit");
}

/* White to brown, at several levels. */
TEST(noise_is_not_speech) {
    static float pcm[20 * RATE];
    uint64_t state = 1234567;
    for (int brown = 0; brown < 3; brown++)
        for (int level = -70; level <= -10; level += 15) {
            float y = 0, gain = powf(10, (float)level / 20);
            for (int i = 0; i < 20 * RATE; i++) {
                y = 0.48f * (float)brown * y + vad_random(&state);
                pcm[i] = gain * 0.3f * y;
            }
            check_silent(pcm, 20 * RATE, "noise");
        }
}

TEST(our_noise_recording_is_not_speech) {
    struct vad_samples clip = vad_clip("noise-only");
    check_silent(clip.data, clip.n, "noise-only.wav");
    free((void *)clip.data);
}

TEST(clicks_and_hum_are_not_speech) {
    static float pcm[20 * RATE];
    uint64_t state = 99;
    for (int i = 0; i < 20 * RATE; i++)
        pcm[i] = 1e-3f * vad_random(&state) + (i % 11000 < 60 ? 0.5f * vad_random(&state) : 0);
    check_silent(pcm, 20 * RATE, "clicks");
    for (int i = 0; i < 20 * RATE; i++) {
        double t = 2 * M_PI * i / RATE;
        pcm[i] = (float)(0.1 * sin(50 * t) + 0.05 * sin(100 * t) + 0.03 * sin(150 * t)) +
                 1e-3f * vad_random(&state);
    }
    check_silent(pcm, 20 * RATE, "hum");
}

/* command.wav has words from 0.35 to 1.906 s. */
static void check_command(const float *pcm, int64_t n, const char *what) {
    struct vad_samples samples = {pcm, n};
    struct vad_regions r;
    detect(&samples, &r);
    if (r.n != 1 || (double)r.all[0].start / RATE > 0.35 || (double)r.all[0].end / RATE < 1.906)
        TEST_FAIL("%s: %d regions, the first %.3f to %.3f s", what, r.n,
                  (double)r.all[0].start / RATE, (double)r.all[0].end / RATE);
    CHECK(r.all[0].score > 0.7);
}

TEST(a_sentence_is_found_at_any_level) {
    struct vad_samples clip = vad_clip("command");
    float *pcm = malloc((size_t)clip.n * sizeof *pcm);
    for (int level = 0; level >= -50; level -= 10) {
        for (int64_t i = 0; i < clip.n; i++)
            pcm[i] = powf(10, (float)level / 20) * ((const float *)clip.data)[i];
        check_command(pcm, clip.n, "quieter");
    }
    free(pcm);
    free((void *)clip.data);
}

TEST(a_sentence_is_found_in_noise) {
    struct vad_samples clip = vad_clip("command");
    float *pcm = malloc((size_t)clip.n * sizeof *pcm);
    double power = 0;
    uint64_t state = 5;
    for (int64_t i = 0; i < clip.n; i++)
        power += pow(((const float *)clip.data)[i], 2) / (double)clip.n;
    float gain = (float)sqrt(power * 3) * powf(10, -10.0f / 20); /* 10 dB below it */
    for (int64_t i = 0; i < clip.n; i++)
        pcm[i] = ((const float *)clip.data)[i] + gain * vad_random(&state);
    check_command(pcm, clip.n, "noise 10 dB below");
    free(pcm);
    free((void *)clip.data);
}

TEST(blocks_do_not_matter) {
    struct vad_detector d = create();
    struct vad_samples clip = vad_clip("meeting");
    float *whole = vad_run(&d, &clip, VAD_BLOCK), *parts = vad_run(&d, &clip, 7);
    CHECK(memcmp(whole, parts, (size_t)vad_n_frames(&clip) * sizeof *whole) == 0);
    free(whole);
    free(parts);
    free((void *)clip.data);
    d.destroy(d.self);
}

TEST(short_recordings_are_fine) {
    static const int lengths[] = {0, 1, 511, 512, 513, 8191};
    struct vad_samples clip = vad_clip("command");
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct vad_regions r;
        float *pcm = malloc((size_t)lengths[i] * sizeof *pcm + 1); /* for the sanitizer */
        memcpy(pcm, (const float *)clip.data + 8000, (size_t)lengths[i] * sizeof *pcm);
        struct vad_samples samples = {pcm, lengths[i]};
        detect(&samples, &r);
        CHECK(r.n <= 1);
        free(pcm);
    }
    free((void *)clip.data);
}

/* ---- words of all our clips ---- */

struct score {
    int n_frames, n_right, n_words, n_kept;
};

static void score_words(const json_t *segments, const struct vad_regions *r, uint8_t *spoken,
                        int64_t n_frames, struct score *ret) {
    size_t i, k;
    json_t *segment, *word;
    json_array_foreach(segments, i, segment) {
        json_array_foreach(json_object_get(segment, "words"), k, word) {
            double start = json_number_value(json_object_get(word, "start"));
            double end = json_number_value(json_object_get(word, "end"));
            int kept = 0;
            for (int m = 0; m < r->n; m++)
                kept |= (double)r->all[m].start / RATE <= start + 0.02 &&
                        (double)r->all[m].end / RATE >= end - 0.02;
            ret->n_words++;
            ret->n_kept += kept;
            for (int64_t f = 0; f < n_frames; f++) {
                double middle = ((double)f + 0.5) * VAD_FRAME / RATE;
                spoken[f] |= middle >= start && middle < end;
            }
        }
    }
}

static void score_clip(const char *name, const struct vad_detector *d, struct score *ret) {
    char path[4096];
    json_error_t why;
    snprintf(path, sizeof path, SHARED_DIR "/data/synth/%s.wav", name);
    struct vad_samples clip = vad_wav(path);
    snprintf(path, sizeof path, SHARED_DIR "/data/synth/%s.json", name);
    json_t *truth = json_load_file(path, 0, &why);
    if (!clip.data || !truth)
        SKIP("%s is not there", path);
    int64_t n = vad_n_frames(&clip);
    uint8_t *spoken = calloc((size_t)n, 1);
    struct vad_regions r;
    detect(&clip, &r);
    score_words(json_object_get(truth, "segments"), &r, spoken, n, ret);
    float *p = vad_run(d, &clip, VAD_BLOCK);
    for (int64_t f = 0; f < n; f++)
        ret->n_right += (p[f] >= 0.5) == spoken[f];
    ret->n_frames += (int)n;
    free(p);
    free(spoken);
    free((void *)clip.data);
    json_decref(truth);
}

TEST(no_word_of_our_clips_is_lost) {
    static const char *const names[] = {"action",   "command",    "dialogue",       "digits",
                                        "meeting",  "noise-only", "noisy",          "price",
                                        "question", "travel",     "unseen-variant", "unseen-voice"};
    struct vad_detector d = create();
    struct score s = {0};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        score_clip(names[i], &d, &s);
    printf("  %.1f %% of %d frames right, %d of %d words kept\n", 100.0 * s.n_right / s.n_frames,
           s.n_frames, s.n_kept, s.n_words);
    CHECK_INT(s.n_kept, s.n_words);
    CHECK(s.n_right >= 0.95 * s.n_frames);
    d.destroy(d.self);
}

TEST_MAIN()
