/* References in values: types, text, the environment, settings, and every way to get them wrong. */
#include "config/expand.h"

#include "base/clock.h"
#include "unit/test.h"

static struct sl_arena arena;
static struct sl_diags diags = {.file = "f"};
static struct sl_pipeline *pipeline;
static struct sl_expander expander;

static void begin(const char *params, const struct sl_setting *settings, int n_settings) {
    sl_autostr struct sl_str text = {0};
    sl_str_addf(&text, "sluice: 1\nparams: %s\nstages: { a: { use: x/y } }\n", params);
    CHECK_INT(sl_pipeline_parse(text.data, text.len, &diags, &pipeline), 0);
    sl_expander_init(&expander, pipeline, settings, n_settings, &arena, &diags);
}

static const char *printed(void) {
    static struct sl_str out;
    sl_str_clear(&out);
    sl_diags_print(&diags, &out);
    return sl_str_text(&out);
}

static const struct sl_yaml *expand(const char *text) {
    const struct sl_yaml *node = sl_yaml_parse(text, strlen(text), &arena, &diags);
    CHECK(node);
    return sl_expand(&expander, "value", node, NULL, NULL);
}

static const char *expand_text(const char *text) {
    const struct sl_yaml *node = expand(text);
    CHECK_INT(node->kind, SL_YAML_SCALAR);
    return node->text;
}

TEST(a_whole_reference_keeps_its_type) {
    begin("{ n: 5, f: 0.5, yes: true, text: \"7\", list: [1, two], map: { default: { a: 1 } } }",
          NULL, 0);
    CHECK_INT(sl_yaml_type(expand("\"${params.n}\"")), SL_YAML_INT);
    CHECK_INT(sl_yaml_type(expand("${params.f}")), SL_YAML_FLOAT);
    CHECK_INT(sl_yaml_type(expand("${params.yes}")), SL_YAML_BOOL);
    CHECK_INT(sl_yaml_type(expand("${params.text}")), SL_YAML_STRING);
    CHECK_INT(expand("${params.list}")->n, 2);
    CHECK_INT(expand("${params.map}")->kind, SL_YAML_MAP);
    const struct sl_yaml *here = expand("\n\n   ${params.n}");
    CHECK_INT(here->pos.line, 3); /* mistakes about it are told where it is used */
    CHECK_STR(printed(), "");
}

TEST(inside_text_it_becomes_text) {
    begin("{ n: 5, name: base }", NULL, 0);
    CHECK_STR(expand_text("models/${params.name}-${params.n}.bin"), "models/base-5.bin");
    CHECK_INT(sl_yaml_type(expand("1${params.n}")), SL_YAML_STRING);
    CHECK_STR(expand_text("\"$$5 $x $\""), "$5 $x $");
    CHECK_STR(expand_text("$${params.n}"), "${params.n}");
    const struct sl_yaml *tree = expand("{ a: [\"${params.n}\", \"x${params.n}\"], b: plain }");
    CHECK_STR(tree->pairs[0].value->items[0]->text, "5");
    CHECK_STR(tree->pairs[0].value->items[1]->text, "x5");
    CHECK_STR(printed(), "");
}

TEST(what_needs_nothing_is_passed_through) {
    begin("{}", NULL, 0);
    const struct sl_yaml *node = sl_yaml_parse("{ a: [1, 2] }", 13, &arena, &diags);
    CHECK(sl_expand(&expander, "value", node, NULL, NULL) == node);
    CHECK(!sl_expand(&expander, "value", NULL, NULL, NULL));
}

TEST(the_environment_is_read) {
    setenv("SLUICE_TEST_N", "8", 1);
    unsetenv("SLUICE_TEST_NONE");
    begin("{ home: \"${env.SLUICE_TEST_N}\" }", NULL, 0);
    int64_t n;
    const char *text;
    const struct sl_yaml *node = expand("${env.SLUICE_TEST_N}");
    CHECK(sl_yaml_int(node, &n) && n == 8);
    CHECK(sl_yaml_text(node, &text)); /* either */
    CHECK_STR(expand_text("a${params.home}"), "a8");
    CHECK_STR(printed(), "");
    CHECK_INT(expand("${env.SLUICE_TEST_NONE}")->kind, SL_YAML_BAD);
    CHECK_STR(printed(), "f:1:1: error: value: environment variable SLUICE_TEST_NONE is not set; "
                         "set it first: export "
                         "SLUICE_TEST_NONE=...\n");
    expand("[a, \"${env.A B}\"]");
    CHECK_HAS(printed(),
              "f:1:5: error: value: \"A B\" cannot be the name of an environment variable\n");
}

TEST(mistakes_say_what_is_accepted) {
    begin("{ model: x, beams: 2, list: [1] }", NULL, 0);
    expand("- ${params.modle}\n- ${params.zzzzzz}\n- ${parms.model}\n- ${in.audio}\n- "
           "${params.model\n- a${params.list}\n"
           "- ${}\n- ${params}\n");
    CHECK_STR(
        printed(),
        "f:1:3: error: value: unknown parameter \"modle\" in ${params.modle} (did you mean "
        "\"model\"?)\n"
        "f:2:3: error: value: unknown parameter \"zzzzzz\" in ${params.zzzzzz}; accepted: model, "
        "beams and list\n"
        "f:3:3: error: value: ${parms.model} is not a reference; accepted: ${params.NAME} and "
        "${env.NAME}\n"
        "f:4:3: error: value: ${in.audio} is not a reference; accepted: ${params.NAME} and "
        "${env.NAME} (a stage "
        "with ports of your own, such as exec/command, also takes ${in.PORT})\n"
        "f:5:3: error: value: \"${\" without \"}\" (a dollar sign is written $$)\n"
        "f:6:3: error: value: a list can only be the whole value, not a part of text\n"
        "f:7:3: error: value: ${} is not a reference; accepted: ${params.NAME} and ${env.NAME}\n"
        "f:8:3: error: value: ${params} is not a reference; accepted: ${params.NAME} and "
        "${env.NAME}\n");
}

TEST(settings_take_the_place_of_defaults) {
    const struct sl_setting settings[] = {{"model", "/m/large v3: x"},
                                          {"beams", "8"},
                                          {"list", "[a, 2]"},
                                          {"text", "'5'"},
                                          {"beams", "9"},
                                          {"empty", ""}};
    begin("{ model: x, beams: 2, list: [1], text: t, empty: e }", settings, 6);
    int64_t n;
    CHECK_STR(expand_text("${params.model}"), "/m/large v3: x");
    CHECK(sl_yaml_int(expand("${params.beams}"), &n) && n == 9); /* the last counts */
    CHECK_INT(expand("${params.list}")->n, 2);
    CHECK_INT(sl_yaml_type(expand("${params.text}")), SL_YAML_STRING);
    CHECK_STR(expand_text("${params.empty}"), "");
    CHECK_STR(printed(), "");
}

TEST(settings_are_checked) {
    const struct sl_setting settings[] = {
        {"modle", "x"}, {"other", "y"}, {"list", "[1, "}, {"model", "\xff"}};
    begin("{ model: x, list: [1], must: { help: needed } }", settings, 4);
    CHECK_STR(
        printed(),
        "f: error: --set modle: there is no such parameter (did you mean \"model\"?)\n"
        "f: error: --set other: there is no such parameter; accepted: model, list and must\n"
        "f: error: --set list: not valid YAML: did not find expected node content (while parsing a "
        "flow node)\n"
        "f: error: --set model: the value is not UTF-8\n"
        "f:2:32: error: parameter \"must\" has no default and must be given: --set must=...\n");
    int before = diags.n_errors;
    CHECK_INT(expand("${params.must}")->kind, SL_YAML_BAD);
    CHECK_INT(diags.n_errors, before); /* told once */
}

TEST(unused_parameters_are_warned_of) {
    begin("{ used: 1, unused: 2 }", NULL, 0);
    expand("${params.used}");
    sl_expander_warn_unused(&expander);
    CHECK_STR(printed(), "f:2:20: warning: parameter \"unused\" is not used\n");
    CHECK_INT(diags.n_errors, 0);
}

TEST(growth_is_bounded) {
    sl_autostr struct sl_str params = {0}, text = {0};
    sl_str_add(&params, "{ big: \"");
    sl_str_pad(&params, 'x', 60000);
    sl_str_add(&params, "\" }");
    begin(params.data, NULL, 0);
    for (int i = 0; i < 1000; i++)
        sl_str_add(&text, "- \"${params.big}${params.big}\"\n");
    CHECK_INT(expand(text.data)->n, 1000);
    CHECK_STR(printed(),
              "f:5:3: error: value: references expand to more than 1024 KiB of text in all\n");
}

/* Text that costs work to expand, ninety thousand times by alias: the bound must end the work too.
 */
TEST(a_spent_budget_ends_the_work) {
    sl_autostr struct sl_str text = {0};
    sl_str_add(&text, "- &b \"");
    sl_str_pad(&text, '$', 60000);
    sl_str_add(&text, "\"\n");
    for (int i = 0; i < 90000; i++)
        sl_str_add(&text, "- *b\n");
    begin("{}", NULL, 0);
    int64_t from = sl_now_ms();
    CHECK_INT(expand(text.data)->n, 90001);
    CHECK(sl_now_ms() - from < 5000);
    CHECK_INT(diags.n_errors, 1);
}

static bool only_audio(void *context, const char *kind, const char *name, struct sl_pos pos) {
    (void)pos;
    ++*(int *)context;
    return strcmp(kind, "in") == 0 && strcmp(name, "audio") == 0;
}

TEST(ports_are_passed_through_where_they_are_taken) {
    begin("{ n: 1 }", NULL, 0);
    int calls = 0;
    const char *text = "[\"${in.audio}\", \"a/${in.audio}-${params.n}\", \"${out.x}\"]";
    const struct sl_yaml *list = sl_expand(
        &expander, "value", sl_yaml_parse(text, strlen(text), &arena, &diags), only_audio, &calls);
    CHECK_STR(list->items[0]->text, "${in.audio}");
    CHECK_STR(list->items[1]->text, "a/${in.audio}-1");
    CHECK_INT(list->items[2]->kind, SL_YAML_BAD);
    CHECK_INT(calls, 3);
}

TEST_MAIN()
