/*
 * Probabilities to regions: rules one by one on made sequences, and the regions of Silero's own
 * function on random ones.
 */
#include "vad.h"

static const struct vad_rules plain = {0.5, 0.35, 4000, 1600, 480, INFINITY};

/* "N*P N*P ...": P for N frames, in hundredths; the recording ends `short_by` samples early. */
static void run(const struct vad_rules *rules, const char *text, int short_by,
                struct vad_regions *ret) {
    struct vad_segmenter s;
    int n, percent, used;
    int64_t n_frames = 0;
    ret->n = 0;
    vad_segmenter_init(&s, rules, vad_collect, ret);
    for (; sscanf(text, "%d*%d%n", &n, &percent, &used) == 2; text += used, n_frames += n)
        for (int i = 0; i < n; i++)
            vad_segmenter_push(&s, (float)percent / 100);
    vad_segmenter_finish(&s, n_frames * VAD_FRAME - short_by);
}

/* Checks bounds in frames and samples beyond. */
#define CHECK_REGION(r, i, start_frame, before, end_frame, after)                                  \
    do {                                                                                           \
        CHECK((r).n > (i));                                                                        \
        CHECK_INT((r).all[i].start, (start_frame)*VAD_FRAME - (before));                           \
        CHECK_INT((r).all[i].end, (end_frame)*VAD_FRAME + (after));                                \
    } while (0)

TEST(speech_is_padded) {
    struct vad_regions r;
    run(&plain, "20*10 30*90 20*10", 0, &r);
    CHECK_INT(r.n, 1);
    CHECK_REGION(r, 0, 20, 480, 50, 480);
    CHECK_NEAR(r.all[0].score, 0.9, 1e-6);
}

TEST(nothing_and_silence_give_nothing) {
    struct vad_regions r;
    run(&plain, "", 0, &r);
    CHECK_INT(r.n, 0);
    run(&plain, "500*0", 0, &r);
    CHECK_INT(r.n, 0);
    run(&plain, "500*49", 0, &r);
    CHECK_INT(r.n, 0);
}

TEST(between_the_thresholds_speech_goes_on) {
    struct vad_regions r;
    run(&plain, "10*10 10*90 40*40 5*10", 0, &r);
    CHECK_INT(r.n, 1);
    CHECK_REGION(r, 0, 10, 480, 60, 480);
    CHECK_NEAR(r.all[0].score, (10 * 0.9 + 40 * 0.4) / 50, 1e-6);
}

TEST(short_speech_is_dropped) {
    struct vad_regions r;
    run(&plain, "20*10 7*90 20*10", 0, &r); /* 3584 samples */
    CHECK_INT(r.n, 0);
    run(&plain, "20*10 8*90 20*10", 0, &r); /* 4096 */
    CHECK_INT(r.n, 1);
}

TEST(short_silence_is_bridged) {
    struct vad_regions r;
    run(&plain, "20*10 20*90 4*10 20*90 20*10", 0, &r);
    CHECK_INT(r.n, 1);
    CHECK_REGION(r, 0, 20, 480, 64, 480);
    run(&plain, "20*10 20*90 5*10 20*90 20*10", 0, &r); /* the fifth is 4 frames after the first */
    CHECK_INT(r.n, 2);
}

TEST(close_regions_share_the_gap) {
    struct vad_rules wide = plain;
    struct vad_regions r;
    wide.pad = 6400;
    run(&wide, "30*10 20*90 9*10 20*90 30*10", 0, &r);
    CHECK_INT(r.n, 2);
    CHECK_REGION(r, 0, 30, 6400, 50, 9 * 256);
    CHECK_REGION(r, 1, 59, 9 * 256, 79, 6400);
}

TEST(padding_stays_inside_the_recording) {
    struct vad_rules wide = plain;
    struct vad_regions r;
    wide.pad = 6400;
    run(&wide, "20*90 6*10", 100, &r);
    CHECK_INT(r.n, 1);
    CHECK_INT(r.all[0].start, 0);
    CHECK_INT(r.all[0].end, 26 * VAD_FRAME - 100);
}

TEST(speech_to_the_end_ends_with_the_recording) {
    struct vad_regions r;
    run(&plain, "20*10 20*90", 300, &r);
    CHECK_INT(r.n, 1);
    CHECK_REGION(r, 0, 20, 480, 40, -300);
    CHECK_NEAR(r.all[0].score, 0.9, 1e-6);
}

/* At most 2 s with padding: 32000 - 512 - 960 = 30528 samples, 59.6 frames. */
TEST(long_speech_is_cut_at_its_longest_silence) {
    struct vad_rules rules = plain;
    struct vad_regions r;
    rules.min_silence = 8000;
    rules.max_speech = vad_max_speech(2, rules.pad);
    run(&rules, "10*10 20*90 4*10 10*90 6*10 100*90", 0, &r);
    CHECK_INT(r.n, 3);
    CHECK_REGION(r, 0, 10, 480, 44, 480);  /* at the six frames, not at the four */
    CHECK_REGION(r, 1, 50, 480, 110, 256); /* then without silence: right there, a frame lost */
    CHECK_REGION(r, 2, 111, 256, 150, 0);
}

/* 98 ms are 1568 samples: four frames are longer, three are not. */
TEST(too_short_a_silence_is_no_place_to_cut) {
    struct vad_rules rules = plain;
    struct vad_regions r;
    rules.min_silence = 8000;
    rules.max_speech = vad_max_speech(2, rules.pad);
    run(&rules, "10*10 20*90 3*10 50*90 20*10", 0, &r);
    CHECK_REGION(r, 0, 10, 480, 70, 256);
    run(&rules, "10*10 20*90 4*10 50*90 20*10", 0, &r);
    CHECK_REGION(r, 0, 10, 480, 30, 480);
}

TEST(regions_come_as_soon_as_they_are_certain) {
    struct vad_regions r = {.n = 0};
    struct vad_segmenter s;
    vad_segmenter_init(&s, &plain, vad_collect, &r);
    for (int i = 0; i < 30; i++)
        vad_segmenter_push(&s, 0.9f);
    for (int i = 0; i < 5; i++)
        vad_segmenter_push(&s, 0.1f);
    CHECK_INT(r.n, 1);
    vad_segmenter_finish(&s, 35 * VAD_FRAME);
    CHECK_INT(r.n, 1);
}

static double number(const json_t *object, const char *key, double absent) {
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : absent;
}

static void check_case(const json_t *c) {
    struct vad_rules rules = {.threshold = number(c, "threshold", NAN)};
    struct vad_segmenter s;
    struct vad_regions r = {.n = 0};
    rules.neg_threshold = number(c, "neg_threshold", fmax(rules.threshold - 0.15, 0.01));
    rules.min_speech = (int64_t)number(c, "min_speech_duration_ms", 0) * 16;
    rules.min_silence = (int64_t)number(c, "min_silence_duration_ms", 0) * 16;
    rules.pad = (int64_t)number(c, "speech_pad_ms", 0) * 16;
    rules.max_speech = vad_max_speech(number(c, "max_speech_duration_s", INFINITY), rules.pad);
    vad_segmenter_init(&s, &rules, vad_collect, &r);
    size_t i;
    json_t *value;
    json_array_foreach(json_object_get(c, "percent"), i, value)
        vad_segmenter_push(&s, (float)(json_number_value(value) / 100));
    vad_segmenter_finish(&s, (int64_t)number(c, "n_samples", 0));
    json_array_foreach(json_object_get(c, "regions"), i, value) {
        CHECK((int)i < r.n);
        CHECK_INT(r.all[i].start, json_integer_value(json_array_get(value, 0)));
        CHECK_INT(r.all[i].end, json_integer_value(json_array_get(value, 1)));
    }
    CHECK_INT(r.n, json_array_size(json_object_get(c, "regions")));
}

TEST(regions_are_those_of_silero) {
    json_t *all = vad_expectations(), *c;
    size_t i;
    json_array_foreach(json_object_get(all, "cases"), i, c) check_case(c);
    CHECK_INT(i, 40);
    json_decref(all);
}

TEST_MAIN()
