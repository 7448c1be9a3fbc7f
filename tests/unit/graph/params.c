/* `with:` - values by kind, defaults, ranges, choices, lists and maps, ports of a stage's own. */
#include "base/json.h"
#include "unit/graph/fixture.h"
#include "unit/test.h"

#define ASR "  asr: { use: whisper/transcribe, in: { audio: decode.audio }, with: "

static const char *check(const char *text) {
    static char *out;
    sl_autofree char *whole = sl_xasprintf("%s%s", HEAD, text);
    free(out);
    return out = fixture_check(whole, NULL, 0);
}

/* The mistakes of whisper/transcribe with these parameters; values begin in column 70 of line 6. */
static const char *check_with(const char *with) {
    sl_autofree char *text = sl_xasprintf(ASR "%s }\n", with);
    return check(text);
}

/* The JSON that the stage receives. */
static const char *params_with(const char *with) {
    static char *out;
    sl_autofree char *text = sl_xasprintf(HEAD ASR "%s }\n", with);
    struct sl_plan *p = fixture_plan(text, NULL, 0);
    free(out);
    out = sl_xstrdup(fixture_stage(p, "asr")->params);
    sl_plan_destroy(p);
    return out;
}

TEST(defaults_are_filled_in) {
    CHECK_STR(
        params_with("{}"),
        "{\"model\":\"embedded\",\"language\":\"auto\",\"task\":\"transcribe\",\"beam_size\":1,"
        "\"word_times\":false,\"temperatures\":[0,0.2],\"cache\":67108864}");
}

TEST(every_kind_is_read) {
    CHECK_STR(
        params_with(
            "{ model: /m/x, language: \"no\", task: translate, beam_size: 0x5, word_times: true, "
            "temperatures: { a: [1, 2.5, x, ~, true, '1'] }, cache: 1MiB, seed: -3 }"),
        "{\"model\":\"/m/"
        "x\",\"language\":\"no\",\"task\":\"translate\",\"beam_size\":5,\"word_times\":true,"
        "\"temperatures\":{\"a\":[1,2.5,\"x\",null,true,\"1\"]},\"cache\":1048576,\"seed\":-3}");
    CHECK_HAS(params_with("{ temperatures: 0 }"), "\"temperatures\":0,");
    CHECK_HAS(params_with("{ temperatures: 0.5 }"), "\"temperatures\":0.5,");
    CHECK_HAS(params_with("{ language: no }"), "\"language\":\"no\""); /* text in YAML 1.2 */
    struct sl_plan *p = fixture_plan(
        HEAD "  v: { use: audio/vad, in: { audio: decode.audio }, with: { min_silence: 2s, "
             "threshold: 1 } }\n",
        NULL, 0);
    CHECK_STR(fixture_stage(p, "v")->params, "{\"min_silence\":2.0,\"threshold\":1.0}");
    sl_plan_destroy(p);
}

TEST(wrong_types_say_what_would_be_right) {
    CHECK_STR(check_with("{ beam_size: five }"),
              "p.yaml:6:83: error: stage \"asr\": parameter \"beam_size\": expected an integer "
              "from 1 to 16 beams, found "
              "text \"five\"\n");
    CHECK_HAS(check_with("{ beam_size: 2.5 }"), "found number 2.5\n");
    CHECK_HAS(check_with("{ beam_size: \"5\" }"), "found text \"5\" (write it without quotes)\n");
    CHECK_HAS(check_with("{ word_times: on }"),
              "expected true or false, found text \"on\" (write true)\n");
    CHECK_HAS(check_with("{ model: 5 }"),
              "parameter \"model\": expected text, found integer 5 (write it in quotes)\n");
    CHECK_HAS(check_with("{ model: }"), "parameter \"model\": expected text, found nothing\n");
    CHECK_HAS(check_with("{ model: [a] }"), "parameter \"model\": expected text, found a list\n");
    CHECK_HAS(check_with("{ temperatures: hot }"),
              "expected a number, a list or a map, found text \"hot\"\n");
    CHECK_HAS(check_with("{ temperatures: \"0.5\" }"), "found text \"0.5\" (write");
    CHECK_HAS(check_with("{ cache: much }"),
              "expected a size such as 512MiB or 4GiB from 0 B to 1.0 GiB, found text "
              "\"much\"\n");
    CHECK_HAS(check_with("{ seed: 99999999999999999999 }"),
              "expected an integer, found integer 99999999999999999999\n");
    CHECK_HAS(check_with("{ temperatures: [.nan] }"),
              "expected a number that can be represented, found number .nan\n");
    CHECK_HAS(check_with("[a]"),
              "stage \"asr\": with: expected a map of parameters, found a list\n");
}

TEST(ranges_and_choices_hold) {
    CHECK_STR(check_with("{ beam_size: 17 }"),
              "p.yaml:6:83: error: stage \"asr\": parameter \"beam_size\": expected an integer "
              "from 1 to 16 beams, found "
              "integer 17\n");
    CHECK_HAS(check_with("{ cache: 2GiB }"), "found text \"2GiB\"\n");
    CHECK_HAS(check_with("{ task: translat }"),
              "parameter \"task\": expected one of transcribe or translate (did you mean "
              "\"translate\"?), found text "
              "\"translat\"\n");
    CHECK_HAS(
        check("  v: { use: audio/vad, in: { audio: decode.audio }, with: { min_silence: 1m } }\n"),
        "p.yaml:6:74: error: stage \"v\": parameter \"min_silence\": expected a duration such as "
        "90s or 2h from 0s to "
        "30s, found text \"1m\"\n");
}

TEST(unknown_and_missing_parameters) {
    CHECK_STR(check_with("{ langauge: en, colour: red }"),
              "p.yaml:6:72: error: stage \"asr\": unknown parameter \"langauge\" (did you mean "
              "\"language\"?)\n"
              "p.yaml:6:86: error: stage \"asr\": unknown parameter \"colour\"; accepted: model, "
              "language, task, beam_size, "
              "word_times, temperatures, cache and seed\n");
    CHECK_STR(check("  c: { use: exec/command }\n"),
              "p.yaml:6:3: error: stage \"c\": parameter \"argv\" of exec/command is missing: "
              "program and arguments\n");
    CHECK_STR(
        check("  c: { use: exec/command, with: { agrv: [ls] } }\n"),
        "p.yaml:6:35: error: stage \"c\": unknown parameter \"agrv\" (did you mean \"argv\"?)\n");
    CHECK_STR(
        check("  c: { use: diarize/speakers, in: { audio: decode.audio }, with: { x: 1 } }\n"),
        "p.yaml:6:68: error: stage \"c\": unknown parameter \"x\"; there are no parameters\n");
}

TEST(a_setting_of_text_may_look_like_a_number) {
    const struct sl_setting settings[] = {{"model", "1.10"}, {"beams", "4"}};
    struct sl_plan *p = fixture_plan(
        "sluice: 1\nparams: { model: x, beams: 1 }\ninputs: { a: { type: audio/1 } }\nstages:\n"
        "  asr: { use: whisper/transcribe, in: { audio: inputs.a }, with: { model: "
        "\"${params.model}\", beam_size: \"${params.beams}\" } }\n",
        settings, 2);
    CHECK_HAS(p->stages[0].params, "\"model\":\"1.10\"");
    CHECK_HAS(p->stages[0].params, "\"beam_size\":4");
    sl_plan_destroy(p);
}

TEST(large_parameters_are_refused) {
    sl_autostr struct sl_str text = {0};
    sl_str_add(&text, "{ temperatures: [\"");
    sl_str_pad(&text, 'x', 50000);
    sl_str_add(&text, "\"] }");
    CHECK_HAS(check_with(text.data), "parameter \"temperatures\": larger than 48 KiB\n");
    sl_str_clear(&text);
    sl_str_add(&text, "{ temperatures: [\"");
    sl_str_pad(&text, 'x', 30000);
    sl_str_add(&text, "\"], model: \"");
    sl_str_pad(&text, 'y', 30000);
    sl_str_add(&text, "\" }");
    CHECK_HAS(check_with(text.data), "p.yaml:6:3: error: stage \"asr\": its parameters take 60");
}

/* ---- Stages with ports of their own --------------------------------------------------------- */

TEST(outputs_are_declared_by_the_file) {
    struct sl_plan *p =
        fixture_plan(HEAD "  c: { use: exec/command, in: { a: decode.audio }, with: { argv: [sox, "
                          "\"${in.a}\", \"x/${out.b}\"], outputs: { b: audio/1, t: text/1 } } }\n"
                          "  v: { use: audio/vad, in: { audio: c.b } }\n",
                     NULL, 0);
    const struct sl_plan_stage *c = fixture_stage(p, "c");
    CHECK_INT(c->n_outputs, 2);
    CHECK_STR(c->outputs[1].port, "t");
    CHECK_STR(c->outputs[1].type, "text/1");
    CHECK_STR(c->params, "{\"argv\":[\"sox\",\"${in.a}\",\"x/"
                         "${out.b}\"],\"outputs\":{\"b\":\"audio/1\",\"t\":\"text/1\"}}");
    CHECK_STR(fixture_stage(p, "v")->inputs[0].type, "audio/1");
    sl_plan_destroy(p);
}

TEST(declared_outputs_are_checked) {
    CHECK_STR(check("  c: { use: exec/command, with: { argv: [x], outputs: { B: text/1, b: txt/1, "
                    "d: [1] } } }\n"
                    "  v: { use: audio/vad, in: { audio: c.nothing } }\n"),
              "p.yaml:6:57: error: stage \"c\": outputs: B: a port's name is of the form "
              "[a-z][a-z0-9_]*\n"
              "p.yaml:6:71: error: stage \"c\": outputs: b: unknown type \"txt/1\" (did you mean "
              "\"text/1\"?)\n"
              "p.yaml:6:81: error: stage \"c\": outputs: d: expected a type such as text/1, found "
              "a list\n");
    CHECK_STR(
        check("  c: { use: exec/command, with: { argv: [x], outputs: [b] } }\n"
              "  v: { use: audio/vad, in: { audio: c.b } }\n"),
        "p.yaml:6:55: error: stage \"c\": outputs: expected a map { PORT: TYPE }, found a list\n");
    CHECK_STR(check("  c: { use: exec/command, with: { argv: [x], outputs: { b: text/1 } } }\n"
                    "  v: { use: audio/vad, in: { audio: c.b } }\n"),
              "p.yaml:7:37: error: stage \"v\": input \"audio\" takes audio/1 (mono samples at 16 "
              "kHz), but c.b is text/1 "
              "(plain text)\n");
}

TEST(declared_outputs_keep_to_the_stage) {
    CHECK_STR(check("  m: { use: mesh/make, in: { a: decode.audio }, with: { outputs: { mesh: "
                    "text/1, x: audio/1, "
                    "log: text/1 } } }\n"),
              "p.yaml:6:68: error: stage \"m\": outputs: mesh: mesh/make has an output of this "
              "name already\n"
              "p.yaml:6:85: error: stage \"m\": outputs: x: mesh/make gives only text/1 here\n");
    struct sl_plan *p =
        fixture_plan(HEAD "  m: { use: mesh/make, in: { a: decode.audio }, with: { outputs: { "
                          "log: text/1 } } }\n",
                     NULL, 0);
    CHECK_STR(fixture_stage(p, "m")->outputs[0].port, "mesh");
    CHECK_STR(fixture_stage(p, "m")->outputs[1].port, "log");
    CHECK_INT(fixture_stage(p, "m")->n_outputs, 2);
    sl_plan_destroy(p);
    sl_autostr struct sl_str many = {0};
    sl_str_add(&many, "  c: { use: exec/command, with: { argv: [x], outputs: {");
    for (int i = 0; i < 101; i++)
        sl_str_addf(&many, "%s o%d: text/1", i ? "," : "", i);
    sl_str_add(&many, " } } }\n  v: { use: audio/vad, in: { audio: c.o5 } }\n");
    CHECK_STR(check(many.data), "p.yaml:6:55: error: stage \"c\": more than 100 outputs\n");
}

TEST(references_of_an_unknown_stage_are_still_looked_up) {
    CHECK_STR(check("  a: { use: none/at_all, with: { x: \"${params.y}\", z: \"${in.q}\" } }\n"),
              "p.yaml:6:13: error: stage \"a\": there is no stage \"none/at_all\": no plugin "
              "\"none\" was "
              "found (sluice plugins lists them)\n"
              "p.yaml:6:37: error: stage \"a\": parameter \"x\": unknown parameter \"y\" in "
              "${params.y}; this "
              "pipeline has no parameters\n");
}

TEST(references_to_ports_are_checked) {
    CHECK_STR(check("  c: { use: exec/command, in: { audio: decode.audio }, with: { argv: "
                    "[\"${in.adio}\", \"${out.text}\", "
                    "\"${out.x}\"], outputs: { texts: text/1 } } }\n"),
              "p.yaml:6:71: error: stage \"c\": ${in.adio}: nothing is connected to an input "
              "\"adio\" (did you mean "
              "\"audio\"?)\n"
              "p.yaml:6:85: error: stage \"c\": ${out.text}: \"outputs\" declares no output "
              "\"text\" (did you mean "
              "\"texts\"?)\n"
              "p.yaml:6:100: error: stage \"c\": ${out.x}: \"outputs\" declares no output \"x\"; "
              "accepted: texts\n");
    CHECK_HAS(check_with("{ model: \"${in.audio}\" }"),
              "${in.audio} is not a reference; accepted: ${params.NAME} and "
              "${env.NAME} (a stage with ports of your own");
}

TEST_MAIN()
