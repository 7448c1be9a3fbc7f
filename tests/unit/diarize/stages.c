/* The stages through a host: ports, parameters, failures. */
#include "unit/test.h"
#include "unit/fakehost.h"

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

TEST_MAIN()
