/* Sets of parameters: which columns may be, which items share what, and what a stage gets. */
#include "graph/variants.h"

#include "unit/graph/fixture.h"
#include "unit/test.h"

static const char text[] =
    "sluice: 1\n"
    "inputs: { audio: { type: file/1 } }\n"
    "params: { language: en, beams: 5, cpus: 2 }\n"
    "stages:\n"
    "  decode: { use: audio/decode, in: { file: inputs.audio } }\n"
    "  first: { use: whisper/transcribe, in: { audio: decode.audio }, resources: { cpus: "
    "\"${params.cpus}\" },\n"
    "    with: { language: \"${params.language}\", beam_size: \"${params.beams}\" } }\n"
    "  second: { use: whisper/transcribe, in: { audio: decode.audio }, with: { beam_size: "
    "\"${params.beams}\" } }\n";

struct made {
    struct sl_catalog catalog;
    struct sl_pipeline *pipeline;
    struct sl_plan *plan;
    struct sl_diags diags;
    struct sl_variants *variants;
};

static void make(struct made *m, const char *const *names, int n_names) {
    static const struct sl_pos at[] = {{1, 6}, {1, 11}};
    *m = (struct made){.diags = {.file = "m.csv"}};
    fixture_catalog(&m->catalog);
    CHECK_INT(sl_pipeline_parse(text, sizeof text - 1, &m->diags, &m->pipeline), 0);
    CHECK_INT(sl_plan_make(m->pipeline, &m->catalog, NULL, 0, &m->diags, &m->plan), 0);
    m->variants = sl_variants_create(m->pipeline, &m->catalog, m->plan, NULL, 0, names, at, n_names,
                                     &m->diags);
}

static void finish(struct made *m) {
    sl_variants_destroy(m->variants);
    sl_plan_destroy(m->plan);
    sl_pipeline_destroy(m->pipeline);
    sl_diags_finish(&m->diags);
    sl_catalog_finish(&m->catalog);
}

static int stage_of(const struct made *m, const char *name) {
    return (int)(fixture_stage(m->plan, name) - m->plan->stages);
}

static int add(struct made *m, const char *const *values) {
    return sl_variants_add(m->variants, values, (struct sl_pos){2, 1}, &m->diags);
}

TEST(equal_values_share_sets_and_keys) {
    static const char *const names[] = {"language", "beams"};
    static const char *const none[] = {NULL, NULL}, *const german[] = {"de", NULL},
                             *const both[] = {"de", "8"}, *const again[] = {"de", "8"};
    struct made m;
    make(&m, names, 2);
    CHECK(m.variants != NULL);
    int first = stage_of(&m, "first"), second = stage_of(&m, "second"),
        decode = stage_of(&m, "decode");
    CHECK_INT(add(&m, none), 0);
    int a = add(&m, german), b = add(&m, both);
    CHECK(a > 0 && b > a);
    CHECK_INT(add(&m, again), b);
    CHECK(sl_variants_key(m.variants, a, first) != sl_variants_key(m.variants, b, first));
    CHECK_INT(sl_variants_key(m.variants, a, second), 0);
    CHECK(sl_variants_key(m.variants, b, second) > 0);
    CHECK_INT(sl_variants_key(m.variants, b, decode), 0);
    CHECK_INT(sl_variants_key(NULL, b, first), 0);
    finish(&m);
}

TEST(a_stage_gets_the_values_of_its_set) {
    static const char *const names[] = {"language", "beams"};
    static const char *const both[] = {"de", "8"};
    struct made m;
    make(&m, names, 2);
    int set = add(&m, both), first = stage_of(&m, "first");
    sl_autofree char *own = sl_variants_params(m.variants, set, first);
    sl_autofree char *plain = sl_variants_params(m.variants, 0, first);
    CHECK_HAS(own, "\"language\":\"de\"");
    CHECK_HAS(own, "\"beam_size\":8");
    CHECK(plain == NULL);
    json_t *values = sl_variants_values(m.variants, set);
    CHECK_STR(json_string_value(json_object_get(values, "beams")), "8");
    json_decref(values);
    finish(&m);
}

TEST(mistakes_belong_to_their_row) {
    static const char *const names[] = {"beams"}, *const bad[] = {"many"};
    struct made m;
    make(&m, names, 1);
    CHECK_INT(add(&m, bad), -1);
    CHECK_INT(m.diags.n_errors, 2); /* of both stages */
    CHECK_INT(m.diags.items[0].pos.line, 2);
    CHECK_HAS(m.diags.items[0].text, "parameter \"beam_size\": expected an integer");
    finish(&m);
}

TEST(columns_that_cannot_be) {
    static const char *const unknown[] = {"langauge"}, *const fixed[] = {"cpus"};
    struct made m;
    make(&m, unknown, 1);
    CHECK(m.variants == NULL);
    CHECK_HAS(m.diags.items[0].text, "did you mean \"language\"?");
    CHECK_INT(m.diags.items[0].pos.column, 6);
    finish(&m);
    make(&m, fixed, 1);
    CHECK(m.variants == NULL);
    CHECK_HAS(m.diags.items[0].text, "\"first\" uses it for resources");
    finish(&m);
}

TEST_MAIN()
