/* Checks of payloads: one that is right for each type, and every way to be wrong with its message.
 */
#include "unit/test.h"

#include "base/json.h"
#include "base/mem.h"
#include "ipc/portcheck.h"

/* A safetensors file of this header and `data_len` zero bytes; returns its length. */
static size_t tensors(const char *header, size_t data_len, unsigned char *ret) {
    size_t n = strlen(header);
    memset(ret, 0, 8 + n + data_len);
    ret[0] = (unsigned char)n;
    ret[1] = (unsigned char)(n >> 8);
    memcpy(ret + 8, header, n);
    return 8 + n + data_len;
}

static void expect_tensors(const char *type, const char *header, size_t data_len, const char *why) {
    unsigned char file[2048];
    struct sl_err err = {0};
    int rc = sl_port_check(type, file, tensors(header, data_len, file), &err);
    CHECK_INT(rc, why ? SLUICE_INTERNAL : 0);
    if (why)
        CHECK_HAS(err.msg, why);
}

#define META "\"__metadata__\": {\"sample_rate\": \"16000\"}"
#define PCM  "\"pcm\": {\"dtype\": \"F32\", \"shape\": [4], \"data_offsets\": [0, 16]}"

TEST(audio) {
    expect_tensors("audio/1", "{" META ", " PCM "}", 16, NULL);
    expect_tensors("audio/1",
                   "{" META
                   ", \"pcm\": {\"dtype\": \"F32\", \"shape\": [0], \"data_offsets\": [0, 0]}}",
                   0, NULL);
    expect_tensors("audio/1", "{" META "}", 0, "no tensor \"pcm\"");
    expect_tensors("audio/1", "{" PCM "}", 16, "sample_rate is absent");
    expect_tensors("audio/1", "{\"__metadata__\": {\"sample_rate\": \"8000\"}, " PCM "}", 16,
                   "\"8000\", expected \"16000\"");
    expect_tensors("audio/1",
                   "{" META
                   ", \"pcm\": {\"dtype\": \"F64\", \"shape\": [2], \"data_offsets\": [0, 16]}}",
                   16, "not F32");
    expect_tensors("audio/1",
                   "{" META
                   ", \"pcm\": {\"dtype\": \"F32\", \"shape\": [2, 2], \"data_offsets\": [0, 16]}}",
                   16, "one dimension");
    expect_tensors("audio/1", "{" META ", " PCM "}", 20, "4 bytes after the last tensor");
    expect_tensors("audio/1", "{" META ", " PCM "}", 12, "outside the file");
    expect_tensors("audio/1",
                   "{" META ", " PCM
                   ", \"b\": {\"dtype\": \"U8\", \"shape\": [1], \"data_offsets\": [16, 17]}}",
                   17, "tensors besides");
}

TEST(any_tensors) {
    expect_tensors("attention/1",
                   "{\"a\": {\"dtype\": \"F16\", \"shape\": [2, 3], \"data_offsets\": [0, 12]}}",
                   12, NULL);
    expect_tensors("embeddings/1", "{}", 0, NULL);
    expect_tensors("embeddings/1",
                   "{\"a\": {\"dtype\": \"F7\", \"shape\": [1], \"data_offsets\": [0, 1]}}", 1,
                   "dtype");
    expect_tensors("embeddings/1",
                   "{\"a\": {\"dtype\": \"U8\", \"shape\": [-1], \"data_offsets\": [0, 1]}}", 1,
                   "shape");
    expect_tensors("embeddings/1", "{\"a\": {\"dtype\": \"U8\", \"data_offsets\": [0, 1]}}", 1,
                   "shape");
    expect_tensors("embeddings/1",
                   "{\"a\": {\"dtype\": \"F64\", \"shape\": [4611686018427387904, 4], "
                   "\"data_offsets\": [0, 0]}}",
                   0, "shape");
    expect_tensors("embeddings/1",
                   "{\"a\": {\"dtype\": \"U8\", \"shape\": [2], \"data_offsets\": [0, 1]}}", 1,
                   "has 1 bytes, its shape needs 2");
    expect_tensors("embeddings/1",
                   "{\"a\": {\"dtype\": \"U8\", \"shape\": [2], \"data_offsets\": [0, 2]},"
                   " \"b\": {\"dtype\": \"U8\", \"shape\": [2], \"data_offsets\": [1, 3]}}",
                   3, "overlap at byte 2");
    expect_tensors("embeddings/1",
                   "{\"b\": {\"dtype\": \"U8\", \"shape\": [2], \"data_offsets\": [1, 3]}}", 3,
                   "a gap at byte 0");
    expect_tensors("embeddings/1", "[]", 0, "not an object");
    expect_tensors("embeddings/1", "{\"a\"", 0, "the safetensors header: not valid JSON");
    struct sl_err err;
    CHECK_INT(sl_port_check("embeddings/1", "short", 5, &err), SLUICE_INTERNAL);
    CHECK_INT(sl_port_check("embeddings/1", "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10, &err),
              SLUICE_INTERNAL);
    CHECK_HAS(err.msg, "longer than the file");
}

static void expect(const char *type, const char *text, const char *why) {
    struct sl_err err = {0};
    int rc = sl_port_check(type, text, strlen(text), &err);
    if (rc != (why ? SLUICE_INTERNAL : 0))
        TEST_FAIL("%s %s: %d %s", type, text, rc, err.msg);
    if (why)
        CHECK_HAS(err.msg, why);
}

TEST(regions) {
    expect("regions/1", "{\"regions\": []}", NULL);
    expect("regions/1", "{\"regions\": [{\"start\": 0, \"end\": 1.5, \"score\": 0.9}]}", NULL);
    expect("regions/1", "{\"regions\": [{\"start\": 2, \"end\": 1.5, \"score\": 1}]}",
           "regions[0].end is before its start");
    expect("regions/1", "{\"regions\": [{\"start\": 2, \"end\": 3}]}",
           "regions[0].score is missing");
    expect("regions/1", "{\"regions\": [7]}", "regions[0].start is missing");
    expect("regions/1", "{}", "regions is not a list");
    expect("regions/1", "[]", "not a JSON object");
    expect("regions/1", "", "not valid JSON");
}

#define TRANSCRIPT(segments)                                                                       \
    "{\"language\": \"en\", \"duration\": 2, \"text\": \"a\", \"segments\": [" segments "]}"
#define SEGMENT(more) "{\"id\": 0, \"start\": 0, \"end\": 1, \"text\": \"a\"" more "}"

TEST(transcript) {
    expect("transcript/1", TRANSCRIPT(""), NULL);
    expect("transcript/1",
           TRANSCRIPT(SEGMENT("") ", " SEGMENT(
               ", \"words\": [{\"word\": \"a\", \"start\": 0, \"end\": 1}]")),
           NULL);
    expect("transcript/1", "{\"duration\": 2, \"text\": \"a\", \"segments\": []}",
           "language is missing");
    expect("transcript/1", "{\"language\": 1, \"duration\": 2, \"text\": \"a\", \"segments\": []}",
           "wrong kind");
    expect("transcript/1", TRANSCRIPT("{\"id\": 0, \"start\": 0, \"end\": 1}"),
           "segments[0].text is missing");
    expect("transcript/1",
           TRANSCRIPT(SEGMENT("") ", " SEGMENT(
               ", \"words\": [{\"word\": \"a\", \"start\": 1, \"end\": 0}]")),
           "segments[1].words[0].end is before its start");
    expect("transcript/1", TRANSCRIPT(SEGMENT(", \"words\": 3")),
           "segments[0].words is not a list");
}

TEST(turns) {
    expect("turns/1",
           "{\"turns\": [{\"start\": 0, \"end\": 1, \"speaker\": \"A\"}], \"exclusive\": []}",
           NULL);
    expect("turns/1", "{\"turns\": []}", "exclusive is not a list");
    expect("turns/1",
           "{\"turns\": [{\"start\": 0, \"end\": 1, \"speaker\": 1}], \"exclusive\": []}",
           "turns[0].speaker");
}

/* ---- The published schemas ---- */

static json_t *load_schema(const char *name) {
    char path[512];
    snprintf(path, sizeof path, SOURCE_DIR "/core/schemas/%s", name);
    json_t *schema = json_load_file(path, 0, NULL);
    if (!schema)
        TEST_FAIL("%s is not JSON", path);
    return schema;
}

static bool is_required(const json_t *schema, const char *key) {
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(schema, "required"), i, one) {
        if (strcmp(json_string_value(one), key) == 0)
            return true;
    }
    return false;
}

/* Takes each member that `schema` describes away from `object`, a part of `whole`: refused exactly
 * where it is required. */
static void check_members(const char *type, const json_t *schema, json_t *object,
                          const json_t *whole) {
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(schema, "properties"), key, value) {
        json_t *member = json_incref(json_object_get(object, key));
        CHECK(member);
        json_object_del(object, key);
        sl_autofree char *text = json_dumps(whole, 0);
        int rc = sl_port_check(type, text, strlen(text), NULL);
        if (rc != (is_required(schema, key) ? SLUICE_INTERNAL : 0))
            TEST_FAIL("%s without %s: %d", type, key, rc);
        json_object_set_new(object, key, member);
    }
}

static json_t *parse(const char *text) {
    json_t *value = json_loads(text, 0, NULL);
    CHECK(value);
    return value;
}

static json_t *first(const json_t *object, const char *list) {
    return json_array_get(json_object_get(object, list), 0);
}

static const json_t *items_of(const json_t *schema, const char *list) {
    return json_object_get(json_object_get(json_object_get(schema, "properties"), list), "items");
}

TEST(what_the_schemas_require) {
    sl_autojson json_t *regions = load_schema("regions-1.json"),
                       *turns = load_schema("turns-1.json"),
                       *transcript = load_schema("transcript-1.json");
    sl_autojson json_t *r = parse("{\"regions\": [{\"start\": 0, \"end\": 1, \"score\": 1}]}");
    check_members("regions/1", regions, r, r);
    check_members("regions/1", items_of(regions, "regions"), first(r, "regions"), r);
    sl_autojson json_t *t = parse("{\"turns\": [{\"start\": 0, \"end\": 1, \"speaker\": \"A\"}], "
                                  "\"exclusive\": []}");
    check_members("turns/1", turns, t, t);
    const json_t *turn = json_object_get(json_object_get(turns, "$defs"), "turns");
    check_members("turns/1", json_object_get(turn, "items"), first(t, "turns"), t);
    sl_autojson json_t *s = parse(
        "{\"language\": \"en\", \"duration\": 1, \"text\": \"a\", \"summary\": \"\", \"segments\": "
        "[{\"id\": 0, \"start\": 0, \"end\": 1, \"text\": \"a\", \"tokens\": [1], \"temperature\": "
        "0, "
        "\"avg_logprob\": 0, \"compression_ratio\": 1, \"no_speech_prob\": 0, \"speaker\": \"A\", "
        "\"words\": [{\"word\": \"a\", \"start\": 0, \"end\": 1, \"probability\": 1, \"speaker\": "
        "\"A\"}]}]}");
    const json_t *defs = json_object_get(transcript, "$defs");
    json_t *segment = first(s, "segments");
    check_members("transcript/1", transcript, s, s);
    check_members("transcript/1", json_object_get(defs, "segment"), segment, s);
    check_members("transcript/1", json_object_get(defs, "word"), first(segment, "words"), s);
}

TEST(text_and_json_and_the_rest) {
    struct sl_err err;
    expect("text/1", "", NULL);
    expect("text/1", "gr\xc3\xbc\xc3\x9f", NULL);
    expect("text/1", "gr\xfc", "byte 2 is not valid UTF-8");
    CHECK_INT(sl_port_check("text/1", "a\0b", 3, &err), SLUICE_INTERNAL);
    CHECK_HAS(err.msg, "byte 1 is a NUL");
    expect("json/1", "3.5", NULL);
    expect("json/1", "{\"a\": }", "not valid JSON");
    expect("file/1", "\xff\xff", NULL);
    expect("mine/7", "\xff\xff", NULL);
    CHECK_INT(sl_port_check("json/1", "{", 1, NULL), SLUICE_INTERNAL);
}

TEST_MAIN()
