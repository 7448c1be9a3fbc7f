/*
 * The matrix of what plugins are built against: sizes, versions and every field that a description
 * can get wrong. Each case takes a plugin that is right and spoils one thing.
 */
#include <math.h>

#include "base/mem.h"
#include "base/str.h"
#include "unit/test.h"
#include "worker/check.h"

/* A later minor version might append members; a host that does not know them ignores them. */
struct later_stage {
    struct sluice_stage now;
    void *more[4];
};

static struct sluice_port in = {.size = sizeof in,
                                .name = "text",
                                .type = "text/1",
                                .doc = "A text."},
                          out = {.size = sizeof out, .name = "*", .type = "*"};
static struct sluice_param level = {.size = sizeof level,
                                    .kind = SLUICE_PARAM_INT,
                                    .name = "level",
                                    .flags = SLUICE_PARAM_RANGED,
                                    .min = 1,
                                    .max = 3,
                                    .default_value = "1"},
                           outputs_map = {.size = sizeof outputs_map,
                                          .kind = SLUICE_PARAM_JSON,
                                          .name = "outputs"};
static const struct sluice_port *ins[300] = {&in}, *outs[3] = {&out};
static const struct sluice_param *params[300] = {&level, &outputs_map};
static struct later_stage later;
static struct sluice_stage *const stage = &later.now;
static const struct sluice_stage *stages[300] = {&later.now};
static struct sluice_plugin plugin;
static struct sl_err err;

static int32_t process(void *self, struct sluice_job *job) {
    (void)self;
    (void)job;
    return 0;
}

static void make(void) {
    later.now = (struct sluice_stage){.size = sizeof *stage,
                                      .id = "made/stage",
                                      .version = "1",
                                      .summary = "Does it.",
                                      .inputs = ins,
                                      .outputs = outs,
                                      .params = params,
                                      .process = process};
    plugin = (struct sluice_plugin){SLUICE_PLUGIN_HEADER, .name = "made", .version = "1",
                                    .licence = "MIT", .stages = stages};
}

static void refused(const char *words) {
    if (sl_check_plugin(&plugin, &err) != SLUICE_INTERNAL)
        TEST_FAIL("accepted, although it should say: %s", words);
    CHECK_HAS(err.msg, words);
    CHECK_INT(strcspn(err.msg, "\n\x1b"), strlen(err.msg));
}

TEST(sizes_of_other_versions) {
    make();
    CHECK_INT(sl_check_plugin(&plugin, &err), 0);
    stage->size = sizeof later; /* built for a later minor: the tail is ignored */
    memset(later.more, 0xa5, sizeof later.more);
    CHECK_INT(sl_check_plugin(&plugin, &err), 0);
    stage->size = sizeof *stage - 8;
    refused("struct sluice_stage: size is 88, expected at least 96: rebuild the plugin");
    make();
    plugin.size = sizeof plugin + 64;
    CHECK_INT(sl_check_plugin(&plugin, &err), 0);
    plugin.size = 8;
    refused("struct sluice_plugin: size is 8, expected at least 48");
    make();
    in.size = 16;
    refused("input 1: struct sluice_port: size is 16, expected at least 32");
    in.size = 64;
    CHECK_INT(sl_check_plugin(&plugin, &err), 0);
    in.size = sizeof in;
    level.size = 0;
    refused("parameter 1: struct sluice_param: size is 0, expected at least 72");
    level.size = sizeof level + 8;
    CHECK_INT(sl_check_plugin(&plugin, &err), 0);
}

TEST(magic_and_versions) {
    make();
    plugin.magic = 0;
    refused("not a plugin of Sluice: magic is 0x00000000");
    make();
    plugin.abi_major = 0;
    refused("abi_major is 0, expected 1");
    make();
    plugin.abi_minor = SLUICE_ABI_MINOR + 1;
    refused("the plugin needs a newer Sluice");
}

TEST(texts_that_are_missing_or_unfit) {
    static const char *const bad_names[] = {NULL, "", "Made", "ma de", "\x1b[31m", "1st"};
    for (size_t i = 0; i < sizeof bad_names / sizeof *bad_names; i++) {
        make();
        plugin.name = bad_names[i];
        refused("name");
        in.name = bad_names[i];
        make();
        refused("input 1: its name");
        in.name = "text";
        level.name = bad_names[i];
        refused("parameter 1: its name");
        level.name = "level";
    }
    make();
    plugin.version = NULL;
    refused("version is missing");
    make();
    plugin.licence = "\xff";
    refused("licence is not valid UTF-8");
    make();
    stage->summary = "";
    refused("stage made/stage: summary is missing");
    make();
    stage->version = NULL;
    refused("stage made/stage: version is missing");
    make();
    in.doc = "\xc3";
    refused("doc of \"text\" is not valid UTF-8");
    in.doc = NULL;
    CHECK_INT(sl_check_plugin(&plugin, &err), 0);
}

TEST(ids_and_types) {
    static const char *const bad_ids[] = {NULL,          "",           "made",           "made/",
                                          "other/stage", "made/Stage", "made/stage/more"};
    static const char *const bad_types[] = {
        NULL,
        "",
        "text",
        "text/",
        "/1",
        "text/one",
        "Text/1",
        "text/1234567890",
        "a_name_that_is_longer_than_sixty_four_letters_which_is_the_most_it_may_be/1"};
    for (size_t i = 0; i < sizeof bad_ids / sizeof *bad_ids; i++) {
        make();
        stage->id = bad_ids[i];
        refused("expected \"made/NAME\"");
    }
    for (size_t i = 0; i < sizeof bad_types / sizeof *bad_types; i++) {
        make();
        in.type = bad_types[i];
        refused("expected NAME/VERSION such as text/1");
    }
}

TEST(parameters_out_of_bounds) {
    make();
    level.kind = 0;
    refused("\"level\": kind is 0, expected 1 to 7");
    level.kind = 8;
    refused("kind is 8");
    level.kind = SLUICE_PARAM_INT;
    level.min = 4;
    refused("its range is [4, 3], expected finite numbers in order");
    level.min = NAN;
    refused("its range is [");
    level.min = 1;
    level.flags |= SLUICE_PARAM_REQUIRED;
    refused("it is required and has a default");
    level.flags = 0;
    outputs_map.kind = SLUICE_PARAM_STRING;
    refused("output \"*\" needs a parameter \"outputs\" of kind json");
}

static const char *endless[300];

TEST(arrays_without_an_end_and_names_that_come_twice) {
    for (int i = 0; i < 300; i++)
        endless[i] = "x";
    make();
    level.choices = endless;
    refused("\"level\": choices do not end");
    level.choices = NULL;
    for (int i = 0; i < 300; i++)
        ins[i] = &in;
    refused("inputs do not end");
    ins[2] = NULL;
    refused("input \"text\" is declared twice");
    ins[1] = NULL;
    params[1] = &level;
    refused("parameter \"level\" is declared twice");
    for (int i = 0; i < 300; i++)
        params[i] = &level;
    refused("parameters do not end");
    make();
    memset(params, 0, sizeof params);
    memset(outs, 0, sizeof outs);
    stages[1] = &later.now;
    refused("stage made/stage is declared twice");
    for (int i = 0; i < 300; i++)
        stages[i] = &later.now;
    refused("stages do not end");
    memset(stages, 0, sizeof stages);
    refused("it has no stages");
    plugin.stages = NULL;
    refused("it has no stages");
}

TEST(stages_without_code_or_with_too_many_jobs) {
    make();
    stage->process = NULL;
    refused("stage made/stage: process is NULL");
    make();
    stage->max_jobs = 257;
    refused("max_jobs is 257, expected at most 256");
}

TEST_MAIN()
