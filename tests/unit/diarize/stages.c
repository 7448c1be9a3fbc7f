/* The stages through a host: ports, parameters, failures. */
#include "unit/test.h"
#include "unit/fakehost.h"

#include "num/safetensors.h"
#include "unit/diarize/models.h"

#define TRANSCRIPT                                                                                 \
    "{\"segments\": [{\"start\": 0, \"end\": 2, \"text\": \" a. b\", \"words\": ["                 \
    "{\"word\": \" a.\", \"start\": 0, \"end\": 0.9}, {\"word\": \" b\", \"start\": 1, \"end\": "  \
    "2}]}]}"
#define TURNS                                                                                      \
    "{\"turns\": [{\"start\": 0, \"end\": 1, \"speaker\": \"A\"}, {\"start\": 1, \"end\": 2, "     \
    "\"speaker\": \"B\"}]}"

static int32_t run_assign(struct fake_host *h, const char *turns, const char *split) {
    fake_host_init(h, fake_stage("diarize/assign"));
    fake_param(h, "split", split);
    fake_input(h, "transcript", SLUICE_TYPE_TRANSCRIPT, TRANSCRIPT, strlen(TRANSCRIPT));
    fake_input(h, "turns", SLUICE_TYPE_TURNS, turns, strlen(turns));
    return fake_run(h);
}

TEST(assign_splits_when_told_to) {
    struct fake_host h;
    CHECK_INT(run_assign(&h, TURNS, "true"), SLUICE_OK);
    CHECK_HAS(fake_output(&h, "transcript"), "\"id\":1");
    fake_host_finish(&h);
    CHECK_INT(run_assign(&h, TURNS, "false"), SLUICE_OK);
    CHECK(strstr(fake_output(&h, "transcript"), "\"id\":1") == NULL);
    CHECK_HAS(fake_output(&h, "transcript"), "\"speaker\":\"B\"");
    fake_host_finish(&h);
}

TEST(assign_without_speakers_hands_the_transcript_on) {
    struct fake_host h;
    CHECK_INT(run_assign(&h, "{\"turns\": []}", "true"), SLUICE_OK);
    CHECK(strstr(fake_output(&h, "transcript"), "speaker") == NULL);
    fake_host_finish(&h);
}

TEST(assign_says_what_is_wrong_with_an_input) {
    struct fake_host h;
    CHECK_INT(run_assign(&h, "{\"turns\": [{}]}", "true"), SLUICE_INPUT);
    CHECK_HAS(h.message, "turns[0].start");
    CHECK(fake_output(&h, "transcript") == NULL);
    fake_host_finish(&h);
    fake_host_init(&h, fake_stage("diarize/assign"));
    CHECK_INT(fake_run(&h), SLUICE_UNSUPPORTED);
    CHECK_HAS(h.message, "`transcript`");
    fake_host_finish(&h);
}

TEST(rttm_is_named_after_the_item) {
    struct fake_host h;
    fake_host_init(&h, fake_stage("diarize/rttm"));
    fake_input(&h, "turns", SLUICE_TYPE_TURNS, TURNS, strlen(TURNS));
    CHECK_INT(fake_run(&h), SLUICE_OK);
    CHECK_STR(fake_output(&h, "text"), "SPEAKER item 1 0.000 1.000 <NA> <NA> A <NA> <NA>\n"
                                       "SPEAKER item 1 1.000 1.000 <NA> <NA> B <NA> <NA>\n");
    fake_host_finish(&h);
}

static int32_t run_from_rttm(struct fake_host *h, const char *rttm, const char *recording) {
    char path[128];
    fake_host_init(h, fake_stage("diarize/from_rttm"));
    snprintf(path, sizeof path, "%s/in.rttm", h->folder);
    FILE *file = fopen(path, "w");
    CHECK(file && fputs(rttm, file) >= 0 && fclose(file) == 0);
    fake_input_file(h, "file", path);
    if (recording)
        fake_param(h, "recording", recording);
    return fake_run(h);
}

TEST(turns_come_from_a_file) {
    struct fake_host h;
    CHECK_INT(
        run_from_rttm(&h, "SPEAKER x 1 0.5 1 <NA> <NA> A\nSPEAKER y 1 1 1 <NA> <NA> B\n", "y"),
        SLUICE_OK);
    CHECK_HAS(fake_output(&h, "turns"), "\"speaker\":\"B\"");
    CHECK_HAS(fake_output(&h, "turns"), "\"exclusive\":");
    fake_host_finish(&h);
    CHECK_INT(run_from_rttm(&h, "SPEAKER x 1 z 1 <NA> <NA> A\n", NULL), SLUICE_INPUT);
    CHECK_HAS(h.message, "line 1");
    fake_host_finish(&h);
}

TEST(a_missing_file_is_said) {
    struct fake_host h;
    fake_host_init(&h, fake_stage("diarize/from_rttm"));
    fake_input_file(&h, "file", "/nonexistent/a.rttm");
    CHECK_INT(fake_run(&h), SLUICE_INPUT);
    CHECK_HAS(h.message, "/nonexistent/a.rttm");
    fake_host_finish(&h);
}

/* ---- diarize/speakers ---- */

static void give_audio(struct fake_host *h, size_t n) {
    struct num_tensor pcm = {.name = "pcm", .dtype = NUM_F32, .n_dims = 1, .shape = {n}};
    struct num_meta meta = {"sample_rate", "16000"};
    void *header = NULL;
    size_t len = 0;
    CHECK_INT(num_safetensors_header(&pcm, 1, &meta, 1, 0, &header, &len, NULL), SLUICE_OK);
    char *data = malloc(len + n * sizeof(float));
    memcpy(data, header, len);
    make_noise((float *)(void *)(data + len), n, 5);
    fake_input(h, "audio", SLUICE_TYPE_AUDIO, data, len + n * sizeof(float));
    free(header);
    free(data);
}

static void give_models(struct fake_host *h) {
    fake_param(h, "segmentation", EXPECTED "pyannet");
    fake_param(h, "embedding", EXPECTED "resnet34/model.safetensors");
}

TEST(the_neural_method_needs_no_regions) {
    struct fake_host h;
    char *turns = NULL;
    for (int bounded = 0; bounded < 2; bounded++) {
        fake_host_init(&h, fake_stage("diarize/speakers"));
        give_models(&h);
        give_audio(&h, 6 * 16000 + 77);
        fake_param(&h, "step", "0.25");
        if (bounded)
            fake_param(&h, "num_speakers", "2");
        CHECK_INT(fake_run(&h), SLUICE_OK);
        CHECK_HAS(fake_output(&h, "turns"), "\"exclusive\":");
        turns = strdup(fake_output(&h, "turns"));
        CHECK(!bounded || !strstr(turns, "SPEAKER_02"));
        struct num_safetensors rows = {0};
        CHECK_INT(num_safetensors_parse(fake_output(&h, "embeddings"),
                                        fake_output_len(&h, "embeddings"), "rows", &rows, NULL),
                  SLUICE_OK);
        const struct num_tensor *t = num_safetensors_find(&rows, "embeddings");
        CHECK(t && t->n_dims == 2 && t->shape[1] == 16 && t->shape[0] >= 1);
        CHECK_HAS(num_safetensors_meta(&rows, "kind"), "resnet-");
        num_safetensors_close(&rows);
        free(turns);
        fake_host_finish(&h);
    }
}

TEST(what_a_method_lacks_is_said) {
    struct fake_host h;
    fake_host_init(&h, fake_stage("diarize/speakers"));
    give_audio(&h, 16000);
    CHECK_INT(fake_run(&h), SLUICE_INPUT);
    CHECK_HAS(h.message, "regions");
    fake_host_finish(&h);

    fake_host_init(&h, fake_stage("diarize/speakers"));
    fake_param(&h, "method", "neural");
    fake_param(&h, "segmentation", EXPECTED "pyannet");
    CHECK_INT(fake_run(&h), SLUICE_INPUT);
    CHECK_HAS(h.error, "`embedding`");
    fake_host_finish(&h);

    fake_host_init(&h, fake_stage("diarize/speakers"));
    give_models(&h);
    fake_param(&h, "segmentation", EXPECTED "resnet34");
    CHECK_INT(fake_run(&h), SLUICE_INPUT);
    CHECK_HAS(h.error, "model_type");
    fake_host_finish(&h);

    fake_host_init(&h, fake_stage("diarize/speakers"));
    give_models(&h);
    fake_param(&h, "plda", "/nonexistent");
    CHECK_INT(fake_run(&h), SLUICE_INPUT);
    CHECK_HAS(h.error, "plda: /nonexistent");
    fake_host_finish(&h);
}

TEST_MAIN()
