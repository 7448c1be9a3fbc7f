/*
 * The stage as a host sees it.
 */
#include "unit/whisper/clips.h"

#include "unit/fakehost.h"

/* audio/1 of the samples; malloc'ed. */
static char *audio_payload(const float *pcm, size_t n, const char *rate, size_t *ret_len) {
    struct num_tensor t = {.name = "pcm", .dtype = NUM_F32, .n_dims = 1, .shape = {n}};
    struct num_meta meta = {"sample_rate", rate};
    void *header;
    size_t len;
    CHECK_INT(num_safetensors_header(&t, 1, &meta, 1, 0, &header, &len, NULL), 0);
    char *data = malloc(len + n * sizeof *pcm);
    memcpy(data, header, len);
    memcpy(data + len, pcm, n * sizeof *pcm);
    free(header);
    *ret_len = len + n * sizeof *pcm;
    return data;
}

static void start(struct fake_host *h, const float *pcm, size_t n, const char *rate) {
    size_t len;
    char *data = audio_payload(pcm, n, rate, &len);
    fake_host_init(h, sluice_plugin_entry.stages[0]);
    fake_param(h, "model", MODEL_DIR);
    fake_input(h, "audio", SLUICE_TYPE_AUDIO, data, len);
    free(data);
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
