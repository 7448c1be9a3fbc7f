/*
 * The stage audio/vad against a host in memory: its JSON, parameters, failures in words.
 */
#include "vad.h"

#include "num/safetensors.h"
#include "unit/fakehost.h"

/* An audio/1 artifact of n samples, to be freed. */
static struct vad_file artifact(const float *pcm, size_t n) {
    struct num_tensor t = {.name = "pcm", .dtype = NUM_F32, .n_dims = 1, .shape = {n}};
    struct num_meta meta = {"sample_rate", "16000"};
    struct num_err err;
    struct vad_file f = {0};
    void *header;
    size_t len;
    CHECK_INT(num_safetensors_header(&t, 1, &meta, 1, 0, &header, &len, &err), SLUICE_OK);
    vad_put(&f, header, len);
    vad_put(&f, pcm, n * sizeof *pcm);
    free(header);
    return f;
}

static void open_host(struct fake_host *h, const float *pcm, size_t n) {
    struct vad_file f = artifact(pcm, n);
    fake_host_init(h, fake_stage("audio/vad"));
    fake_input(h, "audio", SLUICE_TYPE_AUDIO, f.data, f.len);
    free(f.data);
}

static void open_clip(struct fake_host *h, const char *name) {
    struct vad_samples clip = vad_clip(name);
    open_host(h, clip.data, (size_t)clip.n);
    free((void *)clip.data);
}

/* The regions of the output; the caller drops the reference of *ret_root. */
static json_t *regions(struct fake_host *h, json_t **ret_root) {
    json_error_t why;
    const char *text = fake_output(h, "regions");
    CHECK(text != NULL);
    *ret_root = json_loadb(text, fake_output_len(h, "regions"), 0, &why);
    if (!*ret_root)
        TEST_FAIL("%s in %s", why.text, text);
    json_t *list = json_object_get(*ret_root, "regions");
    CHECK(json_is_array(list));
    return list;
}

static double member(const json_t *list, size_t i, const char *key) {
    json_t *value = json_object_get(json_array_get(list, i), key);
    CHECK(json_is_real(value));
    return json_real_value(value);
}

static int n_metrics;
static double speech_s, audio_s;

static void set_metric(struct sluice_job *job, const char *name, double value) {
    (void)job;
    n_metrics++;
    *(strcmp(name, "speech_s") == 0 ? &speech_s : &audio_s) = value;
}

static const void *with_metrics(const struct sluice_host *host, const char *id) {
    static const struct sluice_metrics metrics = {SLUICE_SIZED(struct sluice_metrics), 0,
                                                  set_metric};
    return strcmp(id, SLUICE_EXT_METRICS) == 0 ? &metrics : fake_extension(host, id);
}

TEST(a_sentence_becomes_a_region) {
    static struct fake_host h;
    json_t *root;
    open_clip(&h, "command");
    h.host.extension = with_metrics;
    CHECK_INT(fake_run(&h), SLUICE_OK);
    json_t *list = regions(&h, &root);
    CHECK_INT(json_array_size(list), 1);
    CHECK(member(list, 0, "start") <= 0.35 && member(list, 0, "end") >= 1.906);
    CHECK(member(list, 0, "score") > 0.5 && member(list, 0, "score") <= 1);
    CHECK_INT(h.n_published, 1);
    CHECK(h.n_progress >= 2);
    CHECK_INT(n_metrics, 2);
    CHECK_NEAR(audio_s, 2.551, 1e-3);
    CHECK_NEAR(speech_s, member(list, 0, "end") - member(list, 0, "start"), 1e-9);
    json_decref(root);
    fake_host_finish(&h);
}

TEST(no_audio_and_noise_give_an_empty_list) {
    static struct fake_host h;
    open_host(&h, NULL, 0);
    CHECK_INT(fake_run(&h), SLUICE_OK);
    CHECK_STR(fake_output(&h, "regions"), "{\"regions\": []}\n");
    fake_host_finish(&h);
    open_clip(&h, "noise-only");
    CHECK_INT(fake_run(&h), SLUICE_OK);
    CHECK_STR(fake_output(&h, "regions"), "{\"regions\": []}\n");
    CHECK_INT(h.n_published, 0);
    fake_host_finish(&h);
}

TEST(an_instance_takes_job_after_job) {
    static struct fake_host h;
    void *self;
    open_clip(&h, "command");
    CHECK_INT(h.stage->create(&h.host, &self), SLUICE_OK);
    CHECK_INT(h.stage->process(self, (struct sluice_job *)&h), SLUICE_OK);
    char *first = strdup(fake_output(&h, "regions"));
    free(h.outputs[0].data);
    h.n_outputs = 0;
    memset(h.outputs, 0, sizeof h.outputs);
    CHECK_INT(h.stage->process(self, (struct sluice_job *)&h), SLUICE_OK);
    CHECK_STR(fake_output(&h, "regions"), first);
    h.stage->destroy(self);
    free(first);
    fake_host_finish(&h);
}

/* Everything is speech at threshold 0; cut every 0.1 s that is over 1000 regions. */
TEST(a_long_list_grows_and_times_are_exact) {
    static struct fake_host h;
    static float pcm[110 * VAD_RATE + 1];
    json_t *root;
    open_host(&h, pcm, 110 * VAD_RATE + 1);
    fake_param(&h, "threshold", "0");
    fake_param(&h, "speech_pad_ms", "0");
    fake_param(&h, "min_speech_duration_ms", "0");
    fake_param(&h, "max_speech_duration_s", "0.1");
    CHECK_INT(fake_run(&h), SLUICE_OK);
    json_t *list = regions(&h, &root);
    size_t n = json_array_size(list);
    CHECK(n > 800 && fake_output_len(&h, "regions") > 40000);
    CHECK_INT(h.n_published, n);
    for (size_t i = 0; i < n; i++) {
        double at = member(list, i, "start") * VAD_RATE;
        CHECK_NEAR(at, round(at), 1e-6);
        CHECK(member(list, i, "end") - member(list, i, "start") <= 0.1);
        CHECK(i == 0 || member(list, i, "start") >= member(list, i - 1, "end"));
    }
    CHECK_NEAR(member(list, n - 1, "end"), 110 + 1.0 / VAD_RATE, 1e-9);
    json_decref(root);
    fake_host_finish(&h);
}

TEST(a_weights_file_is_used) {
    static struct fake_host h;
    struct vad_silero_weights *w = vad_random_weights();
    struct vad_file f = vad_ggml_file(w);
    char path[128];
    json_t *root;
    open_clip(&h, "command");
    w->output_bias = 100; /* speech everywhere */
    free(f.data);
    f = vad_ggml_file(w);
    snprintf(path, sizeof path, "%s/weights.bin", h.folder);
    FILE *out = fopen(path, "wb");
    CHECK(out && fwrite(f.data, 1, f.len, out) == f.len);
    CHECK_INT(fclose(out), 0);
    fake_param(&h, "model", path);
    CHECK_INT(fake_run(&h), SLUICE_OK);
    json_t *list = regions(&h, &root);
    CHECK_INT(json_array_size(list), 1);
    CHECK_NEAR(member(list, 0, "start"), 0, 0);
    CHECK_NEAR(member(list, 0, "end"), 2.551, 1e-3);
    CHECK_NEAR(member(list, 0, "score"), 1, 1e-3);
    json_decref(root);
    free(f.data);
    free(w);
    fake_host_finish(&h);
}

static void check_refused(const char *name, const char *value, const char *says) {
    static struct fake_host h;
    open_host(&h, NULL, 0);
    fake_param(&h, name, value);
    CHECK(fake_run(&h) < 0);
    CHECK_HAS(h.error, says);
    fake_host_finish(&h);
}

TEST(parameters_that_contradict_are_refused) {
    check_refused("neg_threshold", "0.6", "neg_threshold is 0.6, above threshold (0.5)");
    check_refused(
        "max_speech_duration_s", "0.8",
        "max_speech_duration_s is 0.8, which leaves nothing beside the padding of 400 ms");
    check_refused("model", "/nowhere/silero.bin", "/nowhere/silero.bin: cannot be opened");
    check_refused("model", "/dev", "/dev/model.safetensors: cannot be opened");
    check_refused("model", "no-such-model", "\"no-such-model\": there is no model of that name");
}

static void check_input(const void *data, size_t len, const char *says) {
    static struct fake_host h;
    fake_host_init(&h, fake_stage("audio/vad"));
    fake_input(&h, "audio", SLUICE_TYPE_AUDIO, data, len);
    CHECK_INT(fake_run(&h), SLUICE_INPUT);
    CHECK_HAS(h.message, says);
    CHECK(fake_output(&h, "regions") == NULL);
    fake_host_finish(&h);
}

TEST(inputs_that_are_no_audio_are_refused) {
    check_input("nonsense and more", 17, "item: ");
    struct vad_file f = artifact((const float[]){0, 0}, 2);
    char *name = memmem(f.data, f.len, "pcm", 3), *rate = memmem(f.data, f.len, "16000", 5);
    CHECK(name && rate);
    memcpy(rate, "48000", 5);
    check_input(f.data, f.len, "item: its sample rate is \"48000\", not 16000");
    memcpy(rate, "16000", 5);
    memcpy(name, "PCM", 3);
    check_input(f.data, f.len, "item: has no row of F32 samples called \"pcm\"");
    free(f.data);
}

TEST(cancelling_is_heard) {
    static struct fake_host h;
    static float pcm[100 * VAD_RATE];
    open_host(&h, pcm, 100 * VAD_RATE);
    h.cancel_at_s = 1; /* long ago */
    CHECK_INT(fake_run(&h), SLUICE_CANCELLED);
    CHECK(fake_output(&h, "regions") == NULL);
    fake_host_finish(&h);
}

static int32_t no_room(struct sluice_job *job, const char *port, uint64_t capacity,
                       void **ret_data) {
    (void)job, (void)port, (void)capacity, (void)ret_data;
    return SLUICE_RESOURCE;
}

TEST(a_full_disk_is_a_lack_of_resources) {
    static struct fake_host h;
    open_clip(&h, "command");
    h.host.output_grow = no_room;
    CHECK_INT(fake_run(&h), SLUICE_RESOURCE);
    CHECK_HAS(h.message, "no room for the regions of speech");
    fake_host_finish(&h);
}

TEST_MAIN()
