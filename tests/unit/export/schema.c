/* What the reader cannot do without is required by the published schema of transcript/1. */
#include "unit/test.h"

#include <jansson.h>

#include <sluice/types.h>

#include "export/transcript.h"

static json_t *load(const char *name) {
    char path[512];
    json_error_t where;
    snprintf(path, sizeof path, "%s/core/schemas/%s", SOURCE_DIR, name);
    json_t *schema = json_load_file(path, 0, &where);
    if (!schema)
        TEST_FAIL("%s:%d: %s", name, where.line, where.text);
    return schema;
}

/* A value of each member that the schema describes, so that it can be taken away. */
static json_t *full_segment(void) {
    return json_loads("{\"id\": 0, \"start\": 0, \"end\": 1, \"text\": \" a\", \"tokens\": [1],"
                      "\"temperature\": 0, \"avg_logprob\": -0.2, \"compression_ratio\": 1.1,"
                      "\"no_speech_prob\": 0, \"speaker\": \"A\", \"words\": [{\"word\": \" a\","
                      "\"start\": 0, \"end\": 1, \"probability\": 1, \"speaker\": \"A\"}]}",
                      0, NULL);
}

static int read_segment(json_t *segment) {
    json_t *root = json_pack("{s: [O]}", "segments", segment);
    char *text = json_dumps(root, 0);
    struct ex_transcript transcript = {0};
    struct num_err err;
    int status = ex_transcript_read(text, strlen(text), NULL, &transcript, &err);
    ex_transcript_finish(&transcript);
    free(text);
    json_decref(root);
    return status;
}

static int is_required(const json_t *schema, const char *key) {
    const json_t *required = json_object_get(schema, "required");
    for (size_t i = 0; i < json_array_size(required); i++)
        if (strcmp(json_string_value(json_array_get(required, i)), key) == 0)
            return 1;
    return 0;
}

/* Takes each member that `schema` describes away from `object`, a part of `segment`, and reads. */
static void check_members(const json_t *schema, json_t *object, json_t *segment) {
    json_t *properties = json_object_get(schema, "properties"), *value;
    const char *key;
    CHECK(json_object_size(properties) > 0);
    json_object_foreach(properties, key, value) {
        json_t *member = json_incref(json_object_get(object, key));
        if (!member)
            TEST_FAIL("the sample has no %s", key);
        json_object_del(object, key);
        printf("  without %s\n", key);
        int status = read_segment(segment);
        CHECK(status == 0 || (status == SLUICE_INPUT && is_required(schema, key)));
        json_object_set_new(object, key, member);
    }
}

TEST(what_the_reader_needs_is_required) {
    json_t *schema = load("transcript-1.json"), *segment = full_segment();
    json_t *defs = json_object_get(schema, "$defs");
    json_t *word = json_array_get(json_object_get(segment, "words"), 0);
    CHECK_INT(read_segment(segment), 0);
    check_members(json_object_get(defs, "segment"), segment, segment);
    check_members(json_object_get(defs, "word"), word, segment);
    CHECK(is_required(schema, "segments"));
    json_decref(segment);
    json_decref(schema);
}

TEST(the_largest_time_is_the_same) {
    json_t *schema = load("transcript-1.json");
    const json_t *time = json_object_get(json_object_get(schema, "$defs"), "time");
    CHECK_NEAR(json_number_value(json_object_get(time, "maximum")), EX_MAX_TIME_S, 0);
    json_decref(schema);
}

TEST(all_schemas_name_their_type) {
    static const char *const names[] = {"regions", "transcript", "turns"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char file[64], title[64];
        snprintf(file, sizeof file, "%s-1.json", names[i]);
        snprintf(title, sizeof title, "%s/1", names[i]);
        json_t *schema = load(file);
        CHECK_STR(json_string_value(json_object_get(schema, "title")), title);
        CHECK_STR(json_string_value(json_object_get(schema, "$schema")),
                  "https://json-schema.org/draft/2020-12/schema");
        json_decref(schema);
    }
}

TEST_MAIN()
