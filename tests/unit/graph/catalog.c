/* Descriptions of plugins: what is read, and what is refused with the reason. */
#include "graph/catalog.h"

#include "unit/graph/fixture.h"
#include "unit/test.h"

static struct sl_catalog catalog;
static struct sl_err err;

/* A plugin with one stage that holds `members`. */
static int add_stage(const char *members) {
    sl_autofree char *json =
        sl_xasprintf("{\"name\": \"p\", \"abi\": [1, 0], \"stages\": [{\"id\": \"p/s\"%s%s}]}",
                     *members ? ", " : "", members);
    err.msg[0] = 0;
    return sl_catalog_add(&catalog, "/p.so", "", json, strlen(json), &err);
}

static const char *refuse(const char *json) {
    err.msg[0] = 0;
    int before = catalog.n_plugins;
    CHECK_INT(sl_catalog_add(&catalog, "/p.so", "", json, strlen(json), &err), SLUICE_INPUT);
    CHECK_INT(catalog.n_plugins, before);
    return err.msg;
}

static const char *refuse_stage(const char *members) {
    CHECK_INT(add_stage(members), SLUICE_INPUT);
    return err.msg;
}

TEST(a_description_is_read_whole) {
    CHECK_INT(sl_catalog_add(&catalog, "/audio.so", "ab12", fixture_audio_json,
                             strlen(fixture_audio_json), &err),
              0);
    const struct sl_plugin_desc *p = catalog.plugins[0];
    CHECK_STR(p->name, "audio");
    CHECK_STR(p->licence, "MIT");
    CHECK_STR(p->build, "ab12");
    CHECK_STR(p->path, "/audio.so");
    CHECK(!p->broken);
    CHECK_INT(p->abi_major, 1);
    CHECK_INT(p->n_stages, 2);
    const struct sl_stage_desc *s = sl_catalog_stage(&catalog, "audio/decode");
    CHECK(s && s->plugin == p);
    CHECK_STR(s->summary, "Decodes any media file.");
    CHECK_INT(s->flags, SLUICE_STAGE_DETERMINISTIC);
    CHECK_INT(s->max_jobs, 1);
    CHECK_STR(s->inputs[0].name, "file");
    CHECK_STR(s->inputs[0].type, "file/1");
    CHECK_STR(s->inputs[0].doc, "any audio or video file");
    CHECK(!s->inputs[0].optional);
    CHECK_STR(s->params[0].default_value, "-1");
    CHECK(s->params[0].ranged);
    CHECK_NEAR(s->params[0].max, 63, 0);
    CHECK_INT(s->params[0].kind, SLUICE_PARAM_INT);
    CHECK(!sl_catalog_stage(&catalog, "audio/nothing"));
    sl_catalog_finish(&catalog);
}

TEST(the_first_plugin_wins_and_broken_ones_are_listed) {
    fixture_catalog(&catalog);
    int n = catalog.n_plugins;
    const struct sl_stage_desc *first = sl_catalog_stage(&catalog, "audio/decode");
    CHECK_INT(sl_catalog_add(&catalog, "/other.so", NULL, fixture_audio_json,
                             strlen(fixture_audio_json), &err),
              0);
    CHECK(sl_catalog_stage(&catalog, "audio/decode") == first);
    CHECK_INT(catalog.n_plugins, n + 1);
    const struct sl_plugin_desc *broken = catalog.plugins[n - 1];
    CHECK_STR(broken->name, "llm");
    CHECK_STR(broken->broken, "undefined symbol: llm_load");
    CHECK_INT(broken->n_stages, 0);
    sl_catalog_finish(&catalog);
}

TEST(kinds_have_names) {
    for (int kind = SLUICE_PARAM_BOOL; kind <= SLUICE_PARAM_JSON; kind++)
        CHECK_INT(sl_param_kind_from_name(sl_param_kind_name(kind)), kind);
    CHECK_STR(sl_param_kind_name(SLUICE_PARAM_DURATION), "duration");
    CHECK_INT(sl_param_kind_from_name("text"), 0);
    CHECK_STR(sl_param_kind_name(99), "unknown");
}

TEST(unknown_keys_are_passed_over) {
    CHECK_INT(add_stage("\"colour\": \"red\", \"flags\": [\"quantum\", \"cuda\"], \"max_jobs\": 0"),
              0);
    CHECK_INT(catalog.plugins[0]->stages[0].flags, SLUICE_STAGE_CUDA);
    CHECK_INT(catalog.plugins[0]->stages[0].max_jobs, 1);
    sl_catalog_finish(&catalog);
}

TEST(what_is_no_description_is_refused) {
    CHECK_HAS(refuse(""), "not valid JSON");
    CHECK_HAS(refuse("[]"), "plugin: \"description\" is not an object");
    CHECK_HAS(refuse("{}"), "plugin: \"name\" is not text");
    CHECK_HAS(refuse("{\"name\": \"p\"}"), "\"abi\" is not a pair of version numbers");
    CHECK_HAS(refuse("{\"name\": \"P q\", \"abi\": [1, 0]}"),
              "\"name\" is not of the form [a-z][a-z0-9_]*");
    CHECK_HAS(refuse("{\"name\": \"p\\u0007\", \"abi\": [1, 0]}"), "without control characters");
    CHECK_HAS(refuse("{\"name\": \"p\", \"abi\": [1, -1]}"), "\"abi\"");
    CHECK_HAS(refuse("{\"name\": \"p\", \"abi\": [1, 0], \"stages\": {}}"),
              "\"stages\" is not a list");
    CHECK_HAS(refuse("{\"name\": \"p\", \"abi\": [1, 0], \"stages\": [5]}"),
              "\"stages\" is not a list of objects");
    CHECK_HAS(refuse("{\"name\": \"p\", \"abi\": [1, 0], \"stages\": [{\"id\": \"q/s\"}]}"),
              "stage id \"q/s\" is not of the form p/NAME");
    CHECK_HAS(refuse("{\"name\": \"p\", \"abi\": [1, 0], \"stages\": [{\"id\": \"p/s\"}, {\"id\": "
                     "\"p/s\"}]}"),
              "stage p/s is declared twice");
}

TEST(ports_are_checked) {
    CHECK_INT(add_stage("\"inputs\": [{\"name\": \"*\", \"type\": \"*\"}], \"outputs\": "
                        "[{\"name\": \"o\", \"type\": "
                        "\"my_type/12\"}]"),
              0);
    CHECK_HAS(refuse_stage("\"inputs\": [{\"name\": \"In\", \"type\": \"audio/1\"}]"),
              "port name \"In\"");
    CHECK_HAS(refuse_stage("\"inputs\": [{\"name\": \"in\", \"type\": \"audio\"}]"),
              "\"audio\" is not a type");
    CHECK_HAS(refuse_stage("\"inputs\": [{\"name\": \"in\", \"type\": \"*\"}]"),
              "\"*\" is not a type");
    CHECK_HAS(
        refuse_stage("\"inputs\": [{\"name\": \"in\", \"type\": \"audio/1\", \"optional\": 1}]"),
        "stage p/s: \"optional\" is not true or false");
    CHECK_HAS(
        refuse_stage(
            "\"outputs\": [{\"name\": \"a\", \"type\": \"text/1\"}, {\"name\": \"a\", \"type\": "
            "\"text/1\"}]"),
        "outputs holds \"a\" twice");
}

TEST(parameters_are_checked) {
    CHECK_INT(add_stage("\"params\": [{\"name\": \"a\", \"kind\": \"json\", \"default\": \"{x: "
                        "[1]}\"}, {\"name\": \"b\", "
                        "\"kind\": \"string\", \"default\": \"# not a comment\"}]"),
              0);
    CHECK_HAS(refuse_stage("\"params\": [{\"name\": \"a\", \"kind\": \"color\"}]"),
              "there is no kind \"color\"");
    CHECK_HAS(refuse_stage("\"params\": [{\"name\": \"a-b\", \"kind\": \"int\"}]"),
              "parameter name \"a-b\"");
    CHECK_HAS(refuse_stage("\"params\": [{\"name\": \"a\", \"kind\": \"int\"}, {\"name\": \"a\", "
                           "\"kind\": \"int\"}]"),
              "parameter \"a\" is declared twice");
    CHECK_HAS(
        refuse_stage("\"params\": [{\"name\": \"a\", \"kind\": \"int\", \"min\": 3, \"max\": 1}]"),
        "range is empty");
    CHECK_HAS(refuse_stage("\"params\": [{\"name\": \"a\", \"kind\": \"int\", \"min\": 3}]"),
              "pair of numbers");
    CHECK_HAS(
        refuse_stage("\"params\": [{\"name\": \"a\", \"kind\": \"int\", \"default\": \"x\"}]"),
        "parameter \"a\": default \"x\": default: expected an integer, found text \"x\"");
    CHECK_HAS(
        refuse_stage(
            "\"params\": [{\"name\": \"a\", \"kind\": \"string\", \"default\": \"x\", \"choices\": "
            "[\"y\"]}]"),
        "expected one of y");
    CHECK_HAS(
        refuse_stage("\"params\": [{\"name\": \"a\", \"kind\": \"json\", \"default\": \"[\"}]"),
        "not valid YAML");
    CHECK_HAS(
        refuse_stage("\"params\": [{\"name\": \"a\", \"kind\": \"string\", \"choices\": [1]}]"),
        "\"choices\"");
    CHECK_HAS(refuse_stage("\"max_jobs\": 1e9"), "\"max_jobs\"");
}

TEST_MAIN()
