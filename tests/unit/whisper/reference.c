/*
 * The stage against what openai-whisper makes of the same sounds and parameters, in tests/data/
 * expected, written by tools/reference. Tokens, windows, temperatures and the language are equal;
 * probabilities agree to rounding, as both sum floats in different orders.
 */
#include "unit/whisper/toy.h"

#include "unit/fakeaudio.h"

#define LOGPROB_TOLERANCE 2e-3
#define WORD_TOLERANCE_S  0.0201 /* one position of the encoder */

/* Gives every member of `params` to the stage. */
static void give(struct fake_host *h, const json_t *params) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)params, name, value) {
        char *text = json_dumps(value, JSON_ENCODE_ANY);
        fake_param(h, name, json_is_string(value) ? json_string_value(value) : text);
        free(text);
    }
}

/* The transcript of the stage; the caller drops the reference. */
static json_t *transcribe(const char *model, const json_t *parts, const json_t *params) {
    struct fake_host h;
    size_t n;
    float *pcm = toy_audio(parts, &n);
    fake_host_init(&h, sluice_plugin_entry.stages[0]);
    fake_param(&h, "model", model);
    fake_param(&h, "compute", "f32");
    give(&h, params);
    fake_input_audio(&h, pcm, n, "16000");
    if (fake_run(&h) != SLUICE_OK)
        TEST_FAIL("%s%s", h.error, h.message);
    json_t *o = json_loads(fake_output(&h, "transcript"), 0, NULL);
    fake_host_finish(&h);
    free(pcm);
    return o;
}

static double number(const json_t *o, const char *key) {
    return json_number_value(json_object_get(o, key));
}

static void print_tokens(const char *who, const json_t *segments) {
    const json_t *s;
    size_t i;
    json_array_foreach(segments, i, s) {
        char *text = json_dumps(json_object_get(s, "tokens"), JSON_COMPACT);
        printf("    %s %g %s\n", who, number(s, "seek"), text);
        free(text);
    }
}

struct tally {
    size_t n_cases, n_segments, n_tokens, n_words, n_times_off;
    double worst_logprob, worst_word_s;
};

static void compare_words(const json_t *got, const json_t *want, struct tally *tally) {
    CHECK_INT(json_array_size(got), json_array_size(want));
    for (size_t i = 0; i < json_array_size(want); i++) {
        const json_t *g = json_array_get(got, i), *w = json_array_get(want, i);
        CHECK_STR(json_string_value(json_object_get(g, "word")),
                  json_string_value(json_array_get(w, 0)));
        double start = fabs(number(g, "start") - json_number_value(json_array_get(w, 1)));
        double end = fabs(number(g, "end") - json_number_value(json_array_get(w, 2)));
        double worse = start > end ? start : end;
        tally->worst_word_s = worse > tally->worst_word_s ? worse : tally->worst_word_s;
        tally->n_times_off += worse > 1e-6;
        tally->n_words++;
        CHECK_NEAR(worse, 0, WORD_TOLERANCE_S);
        CHECK_NEAR(number(g, "probability"), json_number_value(json_array_get(w, 3)), 1e-3);
    }
}

static void compare_segment(const json_t *got, const json_t *want, struct tally *tally) {
    const json_t *words = json_object_get(want, "words"), *end = json_object_get(want, "end");
    double tolerance = words ? WORD_TOLERANCE_S : 1e-6;
    double off = fabs(number(got, "avg_logprob") - number(want, "avg_logprob"));
    CHECK(json_equal(json_object_get(got, "tokens"), json_object_get(want, "tokens")));
    CHECK_INT(number(got, "seek"), number(want, "seek"));
    CHECK_NEAR(number(got, "start"), number(want, "start"), tolerance);
    if (!json_is_null(end))
        CHECK_NEAR(number(got, "end"), json_number_value(end), tolerance);
    CHECK_NEAR(number(got, "temperature"), number(want, "temperature"), 1e-6);
    CHECK_NEAR(off, 0, LOGPROB_TOLERANCE);
    CHECK_NEAR(number(got, "no_speech_prob"), number(want, "no_speech_prob"), 1e-3);
    CHECK_NEAR(number(got, "compression_ratio"), number(want, "compression_ratio"), 1e-4);
    tally->worst_logprob = off > tally->worst_logprob ? off : tally->worst_logprob;
    tally->n_tokens += json_array_size(json_object_get(want, "tokens"));
    tally->n_segments++;
    if (words)
        compare_words(json_object_get(got, "words"), words, tally);
}

static void compare(const json_t *got, const json_t *want, struct tally *tally) {
    const json_t *g = json_object_get(got, "segments"), *w = json_object_get(want, "segments");
    bool same = json_array_size(g) == json_array_size(w);
    for (size_t i = 0; same && i < json_array_size(w); i++)
        same = json_equal(json_object_get(json_array_get(g, i), "tokens"),
                          json_object_get(json_array_get(w, i), "tokens"));
    if (!same) {
        print_tokens("got ", g);
        print_tokens("want", w);
    }
    CHECK_STR(json_string_value(json_object_get(got, "language")),
              json_string_value(json_object_get(want, "language")));
    CHECK_INT(json_array_size(g), json_array_size(w));
    for (size_t i = 0; i < json_array_size(w); i++)
        compare_segment(json_array_get(g, i), json_array_get(w, i), tally);
    tally->n_cases++;
}

/* All cases of one file of expected values, or those of its mode `only`. */
static void check_file(const char *file, const char *model, const char *only) {
    char path[4096];
    json_error_t why;
    struct tally tally = {0};
    const json_t *c;
    size_t i;
    snprintf(path, sizeof path, TESTS_DIR "/data/expected/%s", file);
    json_t *all = json_load_file(path, 0, &why);
    if (!all)
        TEST_FAIL("%s: %s", path, why.text);
    json_array_foreach(json_object_get(all, "cases"), i, c) {
        const char *mode = json_string_value(json_object_get(c, "mode"));
        size_t input = (size_t)number(c, "input");
        if (only && strcmp(only, mode) != 0)
            continue;
        printf("  input %zu, %s\n", input, mode);
        fflush(stdout);
        json_t *got = transcribe(model, json_array_get(json_object_get(all, "inputs"), input),
                                 json_object_get(json_object_get(all, "modes"), mode));
        compare(got, c, &tally);
        json_decref(got);
    }
    printf("  %zu cases, %zu segments, %zu tokens equal; log-probability within %.1g",
           tally.n_cases, tally.n_segments, tally.n_tokens, tally.worst_logprob);
    if (tally.n_words)
        printf("; %zu of %zu words at other times, by at most %.3g s", tally.n_times_off,
               tally.n_words, tally.worst_word_s);
    putchar('\n');
    CHECK(tally.n_cases > 0);
    json_decref(all);
}

static void check_toy(const char *file, bool multilingual, const char *only) {
    char folder[TEST_PATH];
    toy_write(folder, multilingual);
    check_file(file, folder, only);
    toy_remove(folder);
}

/* One test for each mode of a file. */
#define TOY_TEST(name, file, mode)                                                                 \
    TEST(name) {                                                                                   \
        check_toy(file, true, mode);                                                               \
    }

TOY_TEST(greedy, "decode.json", "greedy")
TOY_TEST(greedy_without_timestamps, "decode.json", "greedy without timestamps")
TOY_TEST(greedy_with_prompts, "decode.json", "greedy with prompts")
TOY_TEST(beams, "decode.json", "beam")
TOY_TEST(beams_without_timestamps, "decode.json", "beam without timestamps")
TOY_TEST(beams_with_prompts, "decode.json", "beam with prompts")
TOY_TEST(fallback, "fallback.json", "as it comes")
TOY_TEST(fallback_of_one_sample, "fallback.json", "greedy, one sample")
TOY_TEST(fallback_of_unlikely_texts, "fallback.json", "unlikely")
TOY_TEST(fallback_of_repetitive_texts, "fallback.json", "repetitive")
TOY_TEST(silences, "fallback.json", "silences")
TOY_TEST(samples, "fallback.json", "no fallback")
TOY_TEST(long_greedy, "longform.json", "greedy")
TOY_TEST(long_beams, "longform.json", "beams, detected language")
TOY_TEST(long_without_previous_text, "longform.json", "previous text off")
TOY_TEST(long_with_carried_prompt, "longform.json", "carried prompt")
TOY_TEST(long_with_fallback, "longform.json", "fallback resets the prompt")
TOY_TEST(long_clips, "longform.json", "clips")
TOY_TEST(long_late_start, "longform.json", "late start")
TOY_TEST(long_translated, "longform.json", "translated")
TOY_TEST(words, "words.json", "words")
TOY_TEST(words_of_unspaced_text, "words.json", "unspaced")
TOY_TEST(words_without_timestamps, "words.json", "no timestamps")
TOY_TEST(words_and_silence, "words.json", "silence skipped")
TOY_TEST(words_and_punctuation, "words.json", "own punctuation")

TEST(english_only_model) {
    check_toy("english.json", false, NULL);
}

#define SYNTH_TEST(name, mode)                                                                     \
    TEST(name) {                                                                                   \
        check_file("synth.json", MODEL_DIR, mode);                                                 \
    }

SYNTH_TEST(embedded_defaults, "defaults")
SYNTH_TEST(embedded_greedy, "greedy")
SYNTH_TEST(embedded_words, "words")
SYNTH_TEST(embedded_words_and_silence, "words, silence skipped")
SYNTH_TEST(embedded_previous_text, "previous text")
SYNTH_TEST(embedded_without_timestamps, "no timestamps")

TEST_MAIN()
