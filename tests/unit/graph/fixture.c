/* The catalog and helpers of fixture.h. */
#include "unit/graph/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

/* Ends the test's process, as TEST_FAIL() of unit/test.h does. */
#define FAIL(...) (fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), exit(1))

const char fixture_audio_json[] =
    "{\"name\": \"audio\", \"version\": \"0.1.0\", \"licence\": \"MIT\", \"abi\": [1, 0], "
    "\"stages\": ["
    "{\"id\": \"audio/decode\", \"version\": \"1\", \"summary\": \"Decodes any media file.\","
    " \"flags\": [\"deterministic\"], \"max_jobs\": 1,"
    " \"inputs\": [{\"name\": \"file\", \"type\": \"file/1\", \"doc\": \"any audio or video "
    "file\"}],"
    " \"outputs\": [{\"name\": \"audio\", \"type\": \"audio/1\", \"doc\": \"the samples\"}],"
    " \"params\": [{\"name\": \"channel\", \"kind\": \"int\", \"default\": \"-1\", \"min\": 0, "
    "\"max\": 63}]},"
    "{\"id\": \"audio/vad\", \"version\": \"1\", \"summary\": \"Finds speech.\", \"flags\": "
    "[\"deterministic\"],"
    " \"inputs\": [{\"name\": \"audio\", \"type\": \"audio/1\"}],"
    " \"outputs\": [{\"name\": \"regions\", \"type\": \"regions/1\"}],"
    " \"params\": [{\"name\": \"min_silence\", \"kind\": \"duration\", \"default\": \"500ms\", "
    "\"min\": 0, \"max\": 30},"
    "  {\"name\": \"threshold\", \"kind\": \"float\", \"default\": \"0.5\", \"min\": 0, \"max\": "
    "1}]}]}";

static const char whisper_json[] =
    "{\"name\": \"whisper\", \"version\": \"0.1.0\", \"licence\": \"MIT\", \"abi\": [1, 0], "
    "\"stages\": ["
    "{\"id\": \"whisper/transcribe\", \"version\": \"1\", \"summary\": \"Speech to text.\","
    " \"flags\": [\"deterministic\", \"cuda\"], \"max_jobs\": 16,"
    " \"inputs\": [{\"name\": \"audio\", \"type\": \"audio/1\", \"doc\": \"what to transcribe\"},"
    "  {\"name\": \"regions\", \"type\": \"regions/1\", \"optional\": true, \"doc\": \"where "
    "speech is\"}],"
    " \"outputs\": [{\"name\": \"transcript\", \"type\": \"transcript/1\"},"
    "  {\"name\": \"attention\", \"type\": \"attention/1\", \"optional\": true}],"
    " \"params\": [{\"name\": \"model\", \"kind\": \"string\", \"default\": \"embedded\", \"doc\": "
    "\"name or folder\"},"
    "  {\"name\": \"language\", \"kind\": \"string\", \"default\": \"auto\"},"
    "  {\"name\": \"task\", \"kind\": \"string\", \"default\": \"transcribe\","
    "   \"choices\": [\"transcribe\", \"translate\"]},"
    "  {\"name\": \"beam_size\", \"kind\": \"int\", \"default\": \"1\", \"min\": 1, \"max\": 16, "
    "\"unit\": \"beams\"},"
    "  {\"name\": \"word_times\", \"kind\": \"bool\", \"default\": \"false\"},"
    "  {\"name\": \"temperatures\", \"kind\": \"json\", \"default\": \"[0, 0.2]\"},"
    "  {\"name\": \"cache\", \"kind\": \"size\", \"default\": \"64MiB\", \"min\": 0, \"max\": "
    "1073741824},"
    "  {\"name\": \"seed\", \"kind\": \"int\"}]}]}";

static const char export_json[] =
    "{\"name\": \"export\", \"version\": \"0.1.0\", \"licence\": \"MIT\", \"abi\": [1, 0], "
    "\"stages\": ["
    "{\"id\": \"export/srt\", \"inputs\": [{\"name\": \"transcript\", \"type\": \"transcript/1\"}],"
    " \"outputs\": [{\"name\": \"text\", \"type\": \"text/1\"}],"
    " \"params\": [{\"name\": \"max_line_width\", \"kind\": \"int\", \"default\": \"0\", \"min\": "
    "0, \"max\": 1000}]},"
    "{\"id\": \"export/txt\", \"inputs\": [{\"name\": \"transcript\", \"type\": \"transcript/1\"}],"
    " \"outputs\": [{\"name\": \"text\", \"type\": \"text/1\"}]},"
    "{\"id\": \"export/json\", \"inputs\": [{\"name\": \"transcript\", \"type\": \"transcript/1\"},"
    "  {\"name\": \"*\", \"type\": \"*\", \"optional\": true}],"
    " \"outputs\": [{\"name\": \"json\", \"type\": \"json/1\"}]},"
    "{\"id\": \"export/any\", \"inputs\": [{\"name\": \"json\", \"type\": \"json/1\"}], "
    "\"outputs\": []}]}";

static const char exec_json[] =
    "{\"name\": \"exec\", \"version\": \"0.1.0\", \"licence\": \"MIT\", \"abi\": [1, 0], "
    "\"stages\": ["
    "{\"id\": \"exec/command\", \"inputs\": [{\"name\": \"*\", \"type\": \"*\", \"optional\": "
    "true}],"
    " \"outputs\": [{\"name\": \"*\", \"type\": \"*\"}],"
    " \"params\": [{\"name\": \"argv\", \"kind\": \"json\", \"required\": true, \"doc\": \"program "
    "and arguments\"},"
    "  {\"name\": \"outputs\", \"kind\": \"json\", \"default\": \"{}\"},"
    "  {\"name\": \"env\", \"kind\": \"json\"}]}]}";

static const char diarize_json[] =
    "{\"name\": \"diarize\", \"version\": \"0.1.0\", \"licence\": \"MIT\", \"abi\": [1, 0], "
    "\"stages\": ["
    "{\"id\": \"diarize/speakers\", \"inputs\": [{\"name\": \"audio\", \"type\": \"audio/1\"}],"
    " \"outputs\": [{\"name\": \"turns\", \"type\": \"turns/1\"}]},"
    "{\"id\": \"diarize/assign\", \"inputs\": [{\"name\": \"transcript\", \"type\": "
    "\"transcript/1\"},"
    "  {\"name\": \"turns\", \"type\": \"turns/1\", \"optional\": true}],"
    " \"outputs\": [{\"name\": \"transcript\", \"type\": \"transcript/1\"}]}]}";

static const char mesh_json[] =
    "{\"name\": \"mesh\", \"version\": \"0.1.0\", \"licence\": \"MIT\", \"abi\": [1, 0], "
    "\"stages\": ["
    "{\"id\": \"mesh/make\", \"inputs\": [{\"name\": \"*\", \"type\": \"audio/1\"}],"
    " \"outputs\": [{\"name\": \"mesh\", \"type\": \"mesh/1\"}, {\"name\": \"*\", \"type\": "
    "\"text/1\"}],"
    " \"params\": [{\"name\": \"outputs\", \"kind\": \"json\"}]},"
    "{\"id\": \"mesh/show\", \"inputs\": [{\"name\": \"mesh\", \"type\": \"mesh/1\"}]}]}";

void fixture_catalog(struct sl_catalog *ret_catalog) {
    static const struct {
        const char *path, *json;
    } plugins[] = {{"/plugins/audio.so", fixture_audio_json}, {"/plugins/whisper.so", whisper_json},
                   {"/plugins/export.so", export_json},       {"/plugins/exec.so", exec_json},
                   {"/plugins/diarize.so", diarize_json},     {"/plugins/mesh.so", mesh_json}};
    *ret_catalog = (struct sl_catalog){0};
    for (size_t i = 0; i < sizeof plugins / sizeof *plugins; i++) {
        struct sl_err err;
        if (sl_catalog_add(ret_catalog, plugins[i].path, "00ff", plugins[i].json,
                           strlen(plugins[i].json), &err) < 0)
            FAIL("%s: %s", plugins[i].path, err.msg);
    }
    sl_catalog_add_broken(ret_catalog, "/plugins/llm.so", "undefined symbol: llm_load");
}

static int make(const char *bytes, size_t len, const struct sl_setting *settings, int n_settings,
                struct sl_catalog *catalog, struct sl_diags *diags, struct sl_plan **ret_plan) {
    struct sl_pipeline *pipeline = NULL;
    int rc = sl_pipeline_parse(bytes, len, diags, &pipeline);
    if (rc == 0)
        rc = sl_plan_make(pipeline, catalog, settings, n_settings, diags, ret_plan);
    sl_pipeline_destroy(pipeline);
    return rc;
}

static char *check(const char *bytes, size_t len, const struct sl_setting *settings,
                   int n_settings) {
    struct sl_catalog catalog;
    struct sl_diags diags = {.file = "p.yaml"};
    struct sl_plan *plan = NULL;
    struct sl_str out = {0};
    fixture_catalog(&catalog);
    int rc = make(bytes, len, settings, n_settings, &catalog, &diags, &plan);
    if (rc != (diags.n_errors > 0 ? SL_USAGE : 0) || (plan != NULL) != (rc == 0))
        FAIL("result %d with %d errors", rc, diags.n_errors);
    sl_diags_print(&diags, &out);
    sl_str_add(&out, "");
    sl_plan_destroy(plan);
    sl_diags_finish(&diags);
    sl_catalog_finish(&catalog);
    return out.data;
}

char *fixture_check(const char *text, const struct sl_setting *settings, int n_settings) {
    return check(text, strlen(text), settings, n_settings);
}

char *fixture_check_bytes(const char *bytes, size_t len) {
    return check(bytes, len, NULL, 0);
}

struct sl_plan *fixture_plan(const char *text, const struct sl_setting *settings, int n_settings) {
    static struct sl_catalog catalog; /* a test is a process: one catalog, kept for its plans */
    struct sl_diags diags = {.file = "p.yaml"};
    struct sl_plan *plan = NULL;
    sl_autostr struct sl_str out = {0};
    if (catalog.n_plugins == 0)
        fixture_catalog(&catalog);
    if (make(text, strlen(text), settings, n_settings, &catalog, &diags, &plan) < 0) {
        sl_diags_print(&diags, &out);
        FAIL("no plan:\n%s", sl_str_text(&out));
    }
    sl_diags_finish(&diags);
    return plan;
}

const struct sl_plan_stage *fixture_stage(const struct sl_plan *plan, const char *name) {
    for (int i = 0; i < plan->n_stages; i++)
        if (strcmp(plan->stages[i].name, name) == 0)
            return &plan->stages[i];
    FAIL("no stage %s", name);
}
