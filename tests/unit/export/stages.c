/* The stages through a host: ports, parameters, failures. */
#include "unit/test.h"
#include "unit/fakehost.h"

#define TEXT "{\"segments\": [{\"start\": 0, \"end\": 1.5, \"text\": \" one two\"}]}"

/* Runs stage `id` on `json` with max_line_width=4 where it has one; the host is to be finished. */
static int32_t run(struct fake_host *h, const char *id, const char *json) {
    fake_host_init(h, fake_stage(id));
    if (fake_declared(h, "max_line_width"))
        fake_param(h, "max_line_width", "4");
    fake_input(h, "transcript", SLUICE_TYPE_TRANSCRIPT, json, strlen(json));
    return fake_run(h);
}

TEST(each_text_stage_commits_its_file) {
    static const struct {
        const char *id, *file;
    } table[] = {
        {"export/srt", "1\n00:00:00,000 --> 00:00:01,500\none\ntwo\n\n"},
        {"export/vtt", "WEBVTT\n\n00:00.000 --> 00:01.500\none\ntwo\n\n"},
        {"export/txt", "one two\n"},
        {"export/tsv", "start\tend\ttext\n0\t1500\tone two\n"},
        {"export/lrc", "[00:00.00]one two\n"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct fake_host h;
        CHECK_INT(run(&h, table[i].id, TEXT), SLUICE_OK);
        CHECK_STR(fake_output(&h, "text"), table[i].file);
        fake_host_finish(&h);
    }
}

TEST(an_empty_transcript_commits_an_empty_file) {
    struct fake_host h;
    CHECK_INT(run(&h, "export/srt", "{\"segments\": []}"), SLUICE_OK);
    CHECK_STR(fake_output(&h, "text"), "");
    CHECK_INT(fake_output_len(&h, "text"), 0);
    fake_host_finish(&h);
}

TEST(a_bad_transcript_commits_nothing) {
    struct fake_host h;
    CHECK_INT(run(&h, "export/vtt", "{\"segments\": [{}]}"), SLUICE_INPUT);
    CHECK_HAS(h.message, "segments[0].start");
    CHECK(fake_output(&h, "text") == NULL);
    fake_host_finish(&h);
}

TEST(a_missing_input_is_said) {
    struct fake_host h;
    fake_host_init(&h, fake_stage("export/txt"));
    CHECK_INT(fake_run(&h), SLUICE_UNSUPPORTED);
    CHECK_HAS(h.message, "`transcript`");
    fake_host_finish(&h);
}

TEST(json_adds_the_other_inputs) {
    struct fake_host h;
    fake_host_init(&h, fake_stage("export/json"));
    fake_input(&h, "summary", SLUICE_TYPE_TEXT, "Short.", 6);
    fake_input(&h, "transcript", SLUICE_TYPE_TRANSCRIPT, "{\"text\": \"a\"}", 13);
    fake_input_missing(&h, "turns");
    CHECK_INT(fake_run(&h), SLUICE_OK);
    CHECK_STR(fake_output(&h, "json"), "{\n  \"text\": \"a\",\n  \"summary\": \"Short.\"\n}\n");
    fake_host_finish(&h);
}

TEST(json_has_its_defaults) {
    struct fake_host h;
    fake_host_init(&h, fake_stage("export/json"));
    fake_param(&h, "defaults", "{\"summary\": \"\", \"title\": \"?\"}");
    fake_input(&h, "title", SLUICE_TYPE_TEXT, "Budget", 6);
    fake_input(&h, "transcript", SLUICE_TYPE_TRANSCRIPT, "{\"text\": \"a\"}", 13);
    fake_input_missing(&h, "summary");
    CHECK_INT(fake_run(&h), SLUICE_OK);
    CHECK_STR(fake_output(&h, "json"),
              "{\n  \"text\": \"a\",\n  \"title\": \"Budget\",\n  \"summary\": \"\"\n}\n");
    fake_host_finish(&h);
}

TEST(json_refuses_defaults_that_are_no_map) {
    struct fake_host h;
    fake_host_init(&h, fake_stage("export/json"));
    fake_param(&h, "defaults", "[1]");
    CHECK_INT(fake_run(&h), SLUICE_INPUT);
    CHECK_HAS(h.error, "expected a map");
    fake_host_finish(&h);
}

TEST(json_refuses_other_types) {
    struct fake_host h;
    fake_host_init(&h, fake_stage("export/json"));
    fake_input(&h, "transcript", SLUICE_TYPE_TRANSCRIPT, "{}", 2);
    fake_input(&h, "audio", SLUICE_TYPE_AUDIO, "x", 1);
    CHECK_INT(fake_run(&h), SLUICE_UNSUPPORTED);
    CHECK_HAS(h.message, "audio/1");
    CHECK(fake_output(&h, "json") == NULL);
    fake_host_finish(&h);
}

TEST_MAIN()
