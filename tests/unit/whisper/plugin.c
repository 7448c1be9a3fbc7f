/*
 * The stage as a host sees it.
 */
#include "unit/whisper/clips.h"

#include "unit/fakeaudio.h"

static void start(struct fake_host *h, const float *pcm, size_t n, const char *rate) {
    fake_host_init(h, sluice_plugin_entry.stages[0]);
    fake_param(h, "model", MODEL_DIR);
    fake_input_audio(h, pcm, n, rate);
}

TEST(transcribes_a_clip) {
    struct fake_host h;
    size_t n;
    float *pcm = clip_read("command", &n);
    start(&h, pcm, n, "16000");
    CHECK_INT(fake_run(&h), SLUICE_OK);
    json_t *o = json_loads(fake_output(&h, "transcript"), 0, NULL);
    CHECK_STR(json_string_value(json_object_get(o, "text")), " Record the news in the basement.");
    CHECK_INT(h.n_published, 1);
    CHECK(h.n_progress > 10);
    json_decref(o);
    free(pcm);
    fake_host_finish(&h);
}

TEST(a_single_temperature_is_a_number) {
    struct fake_host h;
    size_t n;
    float *pcm = clip_read("command", &n);
    start(&h, pcm, n, "16000");
    fake_param(&h, "temperature", "0");
    CHECK_INT(fake_run(&h), SLUICE_OK);
    CHECK_HAS(fake_output(&h, "transcript"), " Record the news in the basement.");
    fake_param(&h, "temperature", "true");
    CHECK_INT(fake_run(&h), SLUICE_INPUT);
    CHECK_HAS(h.error, "temperature must be a number or a list of numbers");
    free(pcm);
    fake_host_finish(&h);
}

TEST(attention_has_a_tensor_for_each_segment) {
    struct fake_host h;
    struct num_safetensors st;
    struct num_err err;
    size_t n;
    float *pcm = clip_read("meeting", &n);
    start(&h, pcm, n, "16000");
    fake_param(&h, "attention", "true");
    CHECK_INT(fake_run(&h), SLUICE_OK);
    json_t *o = json_loads(fake_output(&h, "transcript"), 0, NULL);
    const json_t *segments = json_object_get(o, "segments"), *s;
    CHECK(json_array_size(json_object_get(json_array_get(segments, 0), "words")) > 0);
    CHECK_INT(num_safetensors_parse(fake_output(&h, "attention"), fake_output_len(&h, "attention"),
                                    "attention", &st, &err),
              0);
    CHECK_INT(st.n_tensors, 2 * json_array_size(segments));
    CHECK_STR(num_safetensors_meta(&st, "frame_s"), "0.02");
    size_t i;
    json_array_foreach(segments, i, s) {
        char name[40];
        snprintf(name, sizeof name, "segment_%zu", i);
        const struct num_tensor *t = num_safetensors_find(&st, name);
        size_t n_text = json_array_size(json_object_get(s, "tokens")) - 2; /* two timestamps */
        CHECK(t && t->dtype == NUM_F16 && t->n_dims == 3);
        CHECK(t->shape[0] == 2 && t->shape[1] == n_text && t->shape[2] <= 500);
        float *values = malloc(t->n_elements * sizeof *values);
        num_tensor_to_f32(t, values);
        for (size_t row = 0; row < 2 * n_text; row++) {
            double sum = 0;
            for (size_t k = 0; k < t->shape[2]; k++)
                sum += (double)values[row * t->shape[2] + k];
            CHECK_NEAR(sum, 1, 2e-3);
        }
        free(values);
        snprintf(name, sizeof name, "segment_%zu.words", i);
        t = num_safetensors_find(&st, name);
        CHECK(t && t->dtype == NUM_U16 && t->n_dims == 1);
        CHECK_INT(t->n_elements, json_array_size(json_object_get(s, "words")));
        size_t n_tokens = 0;
        for (size_t k = 0; k < t->n_elements; k++)
            n_tokens += ((const uint8_t *)t->data)[2 * k]; /* below 256, the low byte */
        CHECK_INT(n_tokens, n_text);
        snprintf(name, sizeof name, "segment_%zu.start", i);
        CHECK_NEAR(strtod(num_safetensors_meta(&st, name), NULL),
                   json_number_value(json_object_get(s, "seek")) / 100, 1e-9);
    }
    num_safetensors_close(&st);
    json_decref(o);
    free(pcm);
    fake_host_finish(&h);
}

static const char meeting_regions[] =
    "{\"regions\": [{\"start\": 0.1, \"end\": 7.0, \"score\": 0.9}, {\"start\": 7.0, \"end\": "
    "11.3}, "
    "{\"start\": 11.3, \"end\": 19.7}, {\"start\": 19.7, \"end\": 29.8}]}";

TEST(regions_are_transcribed_in_batches) {
    size_t n;
    float *pcm = clip_read("meeting", &n);
    char *first = NULL;
    for (int size = 1; size <= 3; size += 2) {
        struct fake_host h;
        start(&h, pcm, n, "16000");
        fake_input(&h, "regions", SLUICE_TYPE_REGIONS, meeting_regions, strlen(meeting_regions));
        fake_param(&h, "batch_size", size == 1 ? "1" : "3");
        CHECK_INT(fake_run(&h), SLUICE_OK);
        json_t *o = json_loads(fake_output(&h, "transcript"), 0, NULL), *s;
        CHECK_HAS(json_string_value(json_object_get(o, "text")),
                  "Nina will fix the payment system");
        size_t i;
        double last = 0;
        json_array_foreach(json_object_get(o, "segments"), i, s) {
            CHECK_INT(json_integer_value(json_object_get(s, "id")), i);
            CHECK(json_number_value(json_object_get(s, "start")) >= last);
            last = json_number_value(json_object_get(s, "start"));
        }
        CHECK_INT(h.n_published, i);
        CHECK(i >= 12);
        json_decref(o);
        if (first)
            CHECK_STR(fake_output(&h, "transcript"), first);
        else
            first = strdup(fake_output(&h, "transcript"));
        fake_host_finish(&h);
    }
    free(first);
    free(pcm);
}

TEST(only_regions_are_transcribed) {
    struct fake_host h;
    size_t n;
    float *pcm = clip_read("meeting", &n);
    const char *one = "{\"regions\": [{\"start\": 19.8, \"end\": 22.8}]}";
    start(&h, pcm, n, "16000");
    fake_input(&h, "regions", SLUICE_TYPE_REGIONS, one, strlen(one));
    CHECK_INT(fake_run(&h), SLUICE_OK);
    json_t *o = json_loads(fake_output(&h, "transcript"), 0, NULL);
    const json_t *s = json_array_get(json_object_get(o, "segments"), 0);
    CHECK_STR(json_string_value(json_object_get(o, "text")),
              " Nina will fix the payment system before lunch.");
    CHECK_NEAR(json_number_value(json_object_get(s, "start")), 20, 0.2);
    CHECK_INT(json_integer_value(json_object_get(s, "seek")), 1980);
    json_decref(o);
    fake_host_finish(&h);

    start(&h, pcm, n, "16000");
    fake_input(&h, "regions", SLUICE_TYPE_REGIONS, "{}", 2);
    CHECK_INT(fake_run(&h), SLUICE_INPUT);
    CHECK_HAS(h.message, "not an object with a list");
    fake_host_finish(&h);
    free(pcm);
}

TEST(empty_audio_gives_an_empty_transcript) {
    struct fake_host h;
    float none = 0;
    start(&h, &none, 0, "16000");
    CHECK_INT(fake_run(&h), SLUICE_OK);
    json_t *o = json_loads(fake_output(&h, "transcript"), 0, NULL);
    CHECK_STR(json_string_value(json_object_get(o, "text")), "");
    CHECK_INT(json_array_size(json_object_get(o, "segments")), 0);
    json_decref(o);
    fake_host_finish(&h);
}

TEST(refuses_bad_parameters_and_inputs) {
    struct fake_host h;
    float pcm[100] = {0};
    start(&h, pcm, 100, "16000");
    fake_param(&h, "model", "no-such-model");
    CHECK_INT(fake_run(&h), SLUICE_INPUT);
    CHECK_HAS(h.error, "\"no-such-model\": there is no model of that name: installed are embedded");
    fake_param(&h, "model", MODEL_DIR);
    fake_param(&h, "language", "xx");
    CHECK_INT(fake_run(&h), SLUICE_UNSUPPORTED);
    CHECK_HAS(h.error, "it knows: en");
    fake_host_finish(&h);

    start(&h, pcm, 100, "8000");
    CHECK_INT(fake_run(&h), SLUICE_INPUT);
    CHECK_HAS(h.message, "8000");
    fake_host_finish(&h);

    fake_host_init(&h, sluice_plugin_entry.stages[0]);
    fake_param(&h, "model", MODEL_DIR);
    fake_input(&h, "audio", SLUICE_TYPE_AUDIO, "not a tensor file", 17);
    CHECK_INT(fake_run(&h), SLUICE_INPUT);
    CHECK_HAS(h.message, "not a safetensors file");
    fake_host_finish(&h);
}

TEST(stops_when_cancelled) {
    struct fake_host h;
    size_t n;
    float *pcm = clip_read("meeting", &n);
    start(&h, pcm, n, "16000");
    h.cancel_at_s = 1; /* long ago */
    CHECK_INT(fake_run(&h), SLUICE_CANCELLED);
    free(pcm);
    fake_host_finish(&h);
}

TEST_MAIN()
