/* Pipeline files as they are written: sections, names, references, keys of other versions. */
#include "config/pipeline.h"

#include "base/err.h"
#include "unit/test.h"

static struct sl_diags diags = {.file = "dir/p.yaml"};
static struct sl_pipeline *pipeline;

/* Parses and gives the messages; the result is in `pipeline`. */
static const char *check(const char *text) {
    static struct sl_str out;
    sl_str_clear(&out);
    sl_diags_finish(&diags);
    sl_pipeline_destroy(pipeline);
    pipeline = NULL;
    int rc = sl_pipeline_parse(text, strlen(text), &diags, &pipeline);
    CHECK(rc == 0 ? pipeline != NULL : pipeline == NULL && diags.n_errors > 0);
    sl_diags_print(&diags, &out);
    return sl_str_text(&out);
}

#define STAGES "stages: { a: { use: x/y } }\n"

TEST(sections_are_read) {
    CHECK_STR(check("sluice: 1\nname: meeting\ndescription: What it does.\n"
                    "inputs: { audio: { type: file/1, help: any } }\n"
                    "params:\n  model: { default: embedded, help: a name }\n  beams: 5\n  must: { "
                    "help: given }\n  also:\n"
                    "defaults: { timeout: 5m }\n"
                    "stages:\n  b: { use: x/y, in: { p: inputs.audio, q: a.out }, with: { k: 1 }, "
                    "optional: true }\n"
                    "  a: { use: x/z }\noutputs:\n  words.json: { use: e/f, in: { t: b.t } }\n"),
              "");
    CHECK_STR(pipeline->name, "meeting");
    CHECK_STR(pipeline->description, "What it does.");
    CHECK_STR(pipeline->inputs[0].type, "file/1");
    CHECK_INT(pipeline->n_params, 4);
    CHECK_STR(pipeline->params[0].value->text, "embedded");
    CHECK_STR(pipeline->params[0].help, "a name");
    CHECK_STR(pipeline->params[1].value->text, "5");
    CHECK(!pipeline->params[2].value);
    CHECK(!pipeline->params[3].value);
    CHECK(pipeline->timeout && !pipeline->retry);
    CHECK_INT(pipeline->n_stages, 3);
    const struct sl_pipeline_stage *b = &pipeline->stages[0];
    CHECK_STR(b->use, "x/y");
    CHECK_STR(b->refs[0].stage, "inputs");
    CHECK_STR(b->refs[0].source_port, "audio");
    CHECK_STR(b->refs[1].stage, "a");
    CHECK_STR(b->refs[1].port, "q");
    CHECK_INT(b->refs[1].source_pos.line, 12);
    CHECK_INT(b->refs[1].source_pos.column, 44);
    CHECK(pipeline->stages[2].is_output && !b->is_output);
}

TEST(the_name_comes_from_the_file) {
    CHECK_STR(check("sluice: 1\n" STAGES), "");
    CHECK_STR(pipeline->name, "p");
}

TEST(versions_are_told_apart) {
    CHECK_STR(check("sluice: 2\nstagse: {}\n"), "dir/p.yaml:1:9: error: sluice: this is version 2 "
                                                "of the format; this program reads version 1\n");
    CHECK_STR(
        check(STAGES),
        "dir/p.yaml:1:1: error: key \"sluice\" is missing; begin the file with \"sluice: 1\"\n");
    CHECK_STR(check("sluice: one\n" STAGES), "dir/p.yaml:1:9: error: sluice: expected the version "
                                             "of the format, 1, found text \"one\"\n");
}

TEST(the_file_is_a_map_with_stages) {
    CHECK_STR(check("[1]"), "dir/p.yaml:1:1: error: the file: expected a map, found a list\n");
    CHECK_STR(check("sluice: 1\n"), "dir/p.yaml:1:1: error: nothing to do: there are no stages\n");
    CHECK_STR(check("sluice: 1\nstages: {}\noutputs: {}\n"),
              "dir/p.yaml:1:1: error: nothing to do: there are no stages\n");
    CHECK_STR(check("sluice: 1\nstages: [a]\ninputs: 5\n"),
              "dir/p.yaml:2:9: error: stages: expected a map of names, found a list\n"
              "dir/p.yaml:3:9: error: inputs: expected a map of names, found integer 5\n");
    CHECK_STR(check("sluice: 1\nstages: { a: audio/decode }\n"),
              "dir/p.yaml:2:14: error: stage \"a\": expected a map, found text \"audio/decode\"\n");
}

TEST(unknown_keys_have_suggestions) {
    CHECK_STR(check("sluice: 1\nstage: {}\ninputs: { a: { typ: file/1 } }\nstages: { a: { use: "
                    "x/y, wiht: 1, foo: 2 } }\n"),
              "dir/p.yaml:2:1: error: unknown key \"stage\" (did you mean \"stages\"?)\n"
              "dir/p.yaml:3:14: error: input \"a\": key \"type\" is missing\n"
              "dir/p.yaml:3:16: error: input \"a\": unknown key \"typ\" (did you mean \"type\"?)\n"
              "dir/p.yaml:4:26: error: stage \"a\": unknown key \"wiht\" (did you mean \"with\"?)\n"
              "dir/p.yaml:4:35: error: stage \"a\": unknown key \"foo\"; accepted: use, in, with, "
              "device, resources, "
              "retry, timeout, optional, keep, cache, on_oom, sandbox and network\n");
}

TEST(names_are_checked) {
    CHECK_STR(
        check(
            "sluice: 1\nstages:\n  1a: { use: x/y }\n  a b: { use: x/y }\n  inputs: { use: x/y }\n"
            "  Ok_-9: { use: x/y }\noutputs:\n  .hidden: { use: x/y }\n  a/b: { use: x/y }\n"
            "  2.words.json: { use: x/y }\n  Ok_-9: { use: x/y }\n"),
        "dir/p.yaml:3:3: error: stage \"1a\": a name begins with a letter and holds letters, "
        "digits, _ and -, at "
        "most 100 in all\n"
        "dir/p.yaml:4:3: error: stage \"a b\": a name begins with a letter and holds letters, "
        "digits, _ and -, at "
        "most 100 in all\n"
        "dir/p.yaml:5:3: error: stage \"inputs\": this name is taken: references to the pipeline's "
        "inputs begin "
        "with it\n"
        "dir/p.yaml:8:3: error: output \".hidden\": a name begins with a letter or digit and holds "
        "letters, "
        "digits, ., _ and -, at most 100 in all\n"
        "dir/p.yaml:9:3: error: output \"a/b\": a name begins with a letter or digit and holds "
        "letters, digits, ., "
        "_ and -, at most 100 in all\n"
        "dir/p.yaml:11:3: error: output \"Ok_-9\": a stage has this name too, at line 6, column 3; "
        "rename one\n");
}

TEST(references_have_a_form) {
    CHECK_STR(
        check("sluice: 1\nstages:\n  a:\n    use: x/y\n    in:\n      p: b.c.d\n      q: "
              "\"${params.x}\"\n      r: [b.c]\n"
              "      s: b.\n      t: .c\n      u:\n      v: b\n  b: { use: x/y, in: a.out }\n"),
        "dir/p.yaml:6:10: error: stage \"a\": input \"p\": expected STAGE.PORT or inputs.NAME, "
        "found \"b.c.d\"\n"
        "dir/p.yaml:7:10: error: stage \"a\": input \"q\": expected STAGE.PORT or inputs.NAME, "
        "found "
        "\"${params.x}\" (parameters are not looked up here)\n"
        "dir/p.yaml:8:10: error: stage \"a\": input \"r\": expected STAGE.PORT or inputs.NAME, "
        "found a list\n"
        "dir/p.yaml:9:10: error: stage \"a\": input \"s\": expected STAGE.PORT or inputs.NAME, "
        "found \"b.\"\n"
        "dir/p.yaml:10:10: error: stage \"a\": input \"t\": expected STAGE.PORT or inputs.NAME, "
        "found \".c\"\n"
        "dir/p.yaml:11:9: error: stage \"a\": input \"u\": expected STAGE.PORT or inputs.NAME, "
        "found nothing\n"
        "dir/p.yaml:13:22: error: stage \"b\": in: expected a map { PORT: STAGE.PORT or "
        "inputs.NAME }, found text "
        "\"a.out\"\n");
    CHECK_STR(pipeline->stages[0].refs[6].stage, "b");
    CHECK(!pipeline->stages[0].refs[6].source_port);
}

TEST(use_is_needed_and_plain) {
    CHECK_STR(check("sluice: 1\nstages:\n  a: { in: {} }\n  b: { use: }\n  c: { use: "
                    "\"${params.u}\" }\n  d: { use: [x] }\n"),
              "dir/p.yaml:3:6: error: stage \"a\": key \"use\" is missing\n"
              "dir/p.yaml:4:13: error: stage \"b\": expected use: PLUGIN/STAGE, found nothing\n"
              "dir/p.yaml:5:13: error: stage \"c\": use: parameters are not looked up here; write "
              "PLUGIN/STAGE\n"
              "dir/p.yaml:6:13: error: stage \"d\": expected use: PLUGIN/STAGE, found a list\n");
}

TEST(params_take_two_keys) {
    CHECK_STR(check("sluice: 1\nparams: { a: { defualt: 1 }, 0b: 1 }\n" STAGES),
              "dir/p.yaml:2:16: error: parameter \"a\": unknown key \"defualt\" (did you mean "
              "\"default\"?)\n"
              "dir/p.yaml:2:30: error: parameter \"0b\": a name begins with a letter and holds "
              "letters, digits, _ and -, "
              "at most 100 in all\n");
}

TEST(there_is_a_limit_of_stages) {
    sl_autostr struct sl_str text = {0};
    sl_str_add(&text, "sluice: 1\nstages:\n");
    for (int i = 0; i < 20001; i++)
        sl_str_addf(&text, "  s%d: { use: x/y }\n", i);
    CHECK_STR(check(text.data), "dir/p.yaml:3:3: error: stages: more than 20000 names\n");
}

TEST(files_that_are_missing_are_one_mistake) {
    struct sl_diags d = {.file = "nowhere.yaml"};
    struct sl_pipeline *p = NULL;
    sl_autostr struct sl_str out = {0};
    CHECK_INT(sl_pipeline_load("/nonexistent/nowhere.yaml", &d, &p), SL_USAGE);
    CHECK(!p);
    sl_diags_print(&d, &out);
    CHECK_STR(out.data, "nowhere.yaml: error: there is no such file\n");
    sl_diags_finish(&d);
    sl_pipeline_destroy(NULL);
}

TEST_MAIN()
