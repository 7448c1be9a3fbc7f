/* Plans: stages, ports, types, policies, order; and every mistake with its place. */
#include "graph/plan.h"

#include "base/clock.h"
#include "base/io.h"
#include "unit/graph/fixture.h"
#include "unit/test.h"

/* The mistakes of a whole file, until the next call. */
static const char *check_file(const char *text) {
    static char *out;
    free(out);
    return out = fixture_check(text, NULL, 0);
}

/* The mistakes of HEAD followed by `text`. */
static const char *check(const char *text) {
    sl_autofree char *whole = sl_xasprintf("%s%s", HEAD, text);
    return check_file(whole);
}

static struct sl_plan *plan(const char *text) {
    sl_autofree char *whole = sl_xasprintf("%s%s", HEAD, text);
    return fixture_plan(whole, NULL, 0);
}

TEST(eight_mistakes_are_told_in_one_go) {
    sl_autofree char *text = NULL, *want = NULL;
    size_t len;
    CHECK_INT(sl_read_file(TESTS_DIR "/data/bad/eight-mistakes.yaml", 1 << 20, &text, &len, NULL),
              0);
    CHECK_INT(sl_read_file(TESTS_DIR "/data/bad/eight-mistakes.txt", 1 << 20, &want, &len, NULL),
              0);
    sl_autofree char *got = fixture_check(text, NULL, 0);
    CHECK_STR(got, want);
}

TEST(a_plan_holds_what_the_file_says) {
    struct sl_plan *p = fixture_plan(
        "sluice: 1\nname: n\ndescription: d\n"
        "inputs: { audio: { type: file/1, help: h } }\n"
        "defaults: { retry: { attempts: 7 }, timeout: { idle: 5s }, device: cuda }\n"
        "stages:\n"
        "  asr: { use: whisper/transcribe, in: { audio: decode.audio }, device: \"cuda:1\",\n"
        "         timeout: 10m, retry: { then: ignore }, resources: { memory: 1GiB } }\n"
        "  decode: { use: audio/decode, in: { file: inputs.audio } }\n"
        "outputs:\n  srt: { use: export/srt, in: { transcript: asr.transcript } }\n",
        NULL, 0);
    CHECK_STR(p->name, "n");
    CHECK_STR(p->description, "d");
    CHECK_STR(p->inputs[0].name, "audio");
    CHECK_STR(p->inputs[0].help, "h");
    CHECK_INT(p->n_stages, 3);
    CHECK_STR(p->stages[0].name, "decode");
    CHECK_STR(p->stages[1].name, "asr");
    const struct sl_plan_stage *asr = &p->stages[1], *decode = &p->stages[0], *srt = &p->stages[2];
    CHECK_INT(asr->inputs[0].from_stage, 0);
    CHECK_INT(asr->inputs[0].from_port, 0);
    CHECK_STR(asr->inputs[0].type, "audio/1");
    CHECK_INT(decode->inputs[0].from_stage, -1);
    CHECK_INT(asr->n_outputs, 2);
    CHECK_STR(asr->outputs[1].port, "attention");
    CHECK(asr->outputs[1].optional && !asr->outputs[0].optional);
    CHECK_STR(asr->desc->id, "whisper/transcribe");
    CHECK_INT(asr->device.kind, SL_DEVICE_CUDA);
    CHECK_INT(asr->device.index, 1);
    CHECK_INT(decode->device.kind, SL_DEVICE_AUTO); /* cannot use CUDA: the default is not for it */
    CHECK_NEAR(asr->timeouts.total_s, 600, 0);
    CHECK_NEAR(asr->timeouts.idle_s, 5, 0);
    CHECK_NEAR(decode->timeouts.total_s, 7200, 0);
    CHECK_INT(asr->retry.attempts, 7);
    CHECK(asr->retry.ignore && !decode->retry.ignore);
    CHECK_INT(asr->resources.memory, 1 << 30);
    CHECK(srt->is_output && !asr->is_output);
    CHECK_INT(asr->pos.line, 7);
    CHECK_INT(asr->pos.column, 3);
    sl_plan_destroy(p);
}

TEST(stages_with_a_model_are_kept) {
    struct sl_plan *p = plan(
        "  asr: { use: whisper/transcribe, in: { audio: decode.audio } }\n"
        "  once: { use: whisper/transcribe, in: { audio: decode.audio }, keep: none }\n"
        "  vad: { use: audio/vad, in: { audio: decode.audio }, keep: { for: 5m, workers: 1 } }\n");
    CHECK_INT(fixture_stage(p, "decode")->keep.kind, SL_KEEP_NONE);
    CHECK_INT(fixture_stage(p, "asr")->keep.kind, SL_KEEP_BATCH);
    CHECK_INT(fixture_stage(p, "once")->keep.kind, SL_KEEP_NONE);
    CHECK_INT(fixture_stage(p, "vad")->keep.kind, SL_KEEP_FOR);
    CHECK_INT(fixture_stage(p, "vad")->keep.workers, 1);
    sl_plan_destroy(p);
    p = fixture_plan("sluice: 1\ninputs: { audio: { type: file/1 } }\n"
                     "defaults: { keep: none, on_oom: [grow] }\nstages:\n"
                     "  decode: { use: audio/decode, in: { file: inputs.audio }, on_oom: [] }\n"
                     "  asr: { use: whisper/transcribe, in: { audio: decode.audio }, retry: { "
                     "quarantine: 0 } }\n",
                     NULL, 0);
    CHECK_INT(fixture_stage(p, "asr")->keep.kind, SL_KEEP_NONE);
    CHECK_INT(fixture_stage(p, "asr")->on_oom.n, 1);
    CHECK_INT(fixture_stage(p, "asr")->retry.quarantine, 0);
    CHECK_INT(fixture_stage(p, "decode")->on_oom.n, 0);
    CHECK_INT(fixture_stage(p, "decode")->retry.quarantine, 3);
    sl_plan_destroy(p);
}

TEST(steps_that_change_nothing_are_warned_of) {
    CHECK_STR(
        check(
            "  v: { use: audio/vad, in: { audio: decode.audio }, on_oom: [shrink, grow, cpu] }\n"),
        "p.yaml:6:61: warning: stage \"v\": on_oom: shrink changes nothing: audio/vad has no "
        "batch_size\n"
        "p.yaml:6:61: warning: stage \"v\": on_oom: cpu changes nothing: audio/vad runs on the CPU "
        "only\n");
    CHECK_STR(check("  v: { use: audio/vad, in: { audio: decode.audio }, on_oom: [grow] }\n"), "");
    CHECK_STR(check("  v: { use: audio/vad, in: { audio: decode.audio }, on_oom: [grov] }\n"),
              "p.yaml:6:62: error: stage \"v\": on_oom: expected one of shrink, other_gpu, grow or "
              "cpu (did you "
              "mean \"grow\"?), found text \"grov\"\n");
}

TEST(the_order_is_that_of_the_file) {
    struct sl_plan *p =
        plan("  z: { use: audio/vad, in: { audio: decode.audio } }\n"
             "  y: { use: whisper/transcribe, in: { audio: decode.audio, regions: a.regions } }\n"
             "  b: { use: audio/vad, in: { audio: decode.audio } }\n"
             "  a: { use: audio/vad, in: { audio: decode.audio } }\n");
    static const char *const want[] = {"decode", "z", "b", "a", "y"};
    for (int i = 0; i < 5; i++)
        CHECK_STR(p->stages[i].name, want[i]);
    CHECK_INT(p->stages[4].inputs[1].from_stage, 3);
    sl_plan_destroy(p);
}

TEST(optional_is_short_for_then_ignore) {
    struct sl_plan *p =
        plan("  a: { use: audio/vad, in: { audio: decode.audio }, optional: true }\n"
             "  b: { use: diarize/assign, in: { transcript: c.transcript, turns: d.turns } }\n"
             "  c: { use: whisper/transcribe, in: { audio: decode.audio, regions: a.regions } }\n"
             "  d: { use: diarize/speakers, in: { audio: decode.audio } }\n");
    CHECK(fixture_stage(p, "a")->retry.ignore);
    CHECK(!fixture_stage(p, "d")->retry.ignore);
    CHECK(!fixture_stage(p, "b")->inputs[0].optional && fixture_stage(p, "b")->inputs[1].optional);
    sl_plan_destroy(p);
    CHECK_STR(check("  a: { use: audio/vad, in: { audio: decode.audio }, optional: true, retry: { "
                    "then: fail } }\n"),
              "p.yaml:6:63: error: stage \"a\": optional: true contradicts retry: { then: fail }; "
              "keep one of them\n");
}

TEST(stages_of_the_catalog_are_suggested) {
    CHECK_STR(check("  a: { use: audio/decodee, in: { file: inputs.audio } }\n"),
              "p.yaml:6:13: error: stage \"a\": there is no stage \"audio/decodee\" (did you mean "
              "\"audio/decode\"?)\n");
    CHECK_STR(check("  a: { use: audio/resample }\n"),
              "p.yaml:6:13: error: stage \"a\": there is no stage \"audio/resample\"; accepted: "
              "audio/decode and audio/vad\n");
    CHECK_STR(check("  a: { use: translate/text }\n"),
              "p.yaml:6:13: error: stage \"a\": there is no stage \"translate/text\": no plugin "
              "\"translate\" was found "
              "(sluice plugins lists them)\n");
    CHECK_STR(check("  a: { use: llm/summarize, in: { transcript: decode.audio } }\n"),
              "p.yaml:6:13: error: stage \"a\": \"llm/summarize\" cannot be used: plugin llm "
              "(/plugins/llm.so) is broken: "
              "undefined symbol: llm_load\n");
}

TEST(what_follows_from_a_mistake_is_not_told) {
    CHECK_STR(check("  a: { use: audio/nothing, in: { wrong: decode.audio }, with: { foo: 1 } }\n"
                    "  b: { use: whisper/transcribe, in: { audio: a.foo, regions: a.bar } }\n"),
              "p.yaml:6:13: error: stage \"a\": there is no stage \"audio/nothing\"; accepted: "
              "audio/decode and audio/vad\n");
    CHECK_STR(check("  a: { use: audio/vad, in: { adio: decode.audio } }\n"),
              "p.yaml:6:30: error: stage \"a\": audio/vad has no input \"adio\" (did you mean "
              "\"audio\"?)\n");
}

TEST(ports_are_checked) {
    CHECK_STR(
        check("  a: { use: audio/vad, in: { audio: decode.audoi } }\n"
              "  b: { use: audio/vad, in: { audio: decode.samples } }\n"
              "  c: { use: audio/vad, in: { audio: decode } }\n"
              "  d: { use: audio/vad, in: { audio: audio } }\n"
              "  e: { use: audio/vad, in: { audio: decodr.audio, speed: decode.audio } }\n"
              "  f: { use: audio/vad, in: { audio: zzzzzz.audio } }\n"
              "  g: { use: audio/vad, in: { audio: inputs.video } }\n"
              "  h: { use: audio/vad, in: { audio: inputs } }\n"
              "  i: { use: audio/vad }\n"
              "  j: { use: whisper/transcribe, in: { audio: decode.audio } }\n"
              "  k: { use: diarize/assign, in: { transcript: j } }\n"
              "  l: { use: export/any, in: { json: j.transcript } }\n"
              "  m: { use: export/any, in: { json: l.x } }\n"),
        "p.yaml:6:37: error: stage \"a\": \"decode\" (audio/decode) has no output \"audoi\" (did "
        "you mean "
        "\"audio\"?)\n"
        "p.yaml:7:37: error: stage \"b\": \"decode\" (audio/decode) has no output \"samples\"; "
        "accepted: audio\n"
        "p.yaml:8:37: error: stage \"c\": expected STAGE.PORT, found \"decode\" (did you mean "
        "\"decode.audio\"?)\n"
        "p.yaml:9:37: error: stage \"d\": unknown stage \"audio\" (did you mean "
        "\"inputs.audio\"?)\n"
        "p.yaml:10:37: error: stage \"e\": unknown stage \"decodr\" (did you mean \"decode\"?)\n"
        "p.yaml:10:51: error: stage \"e\": audio/vad has no input \"speed\"; accepted: audio\n"
        "p.yaml:11:37: error: stage \"f\": unknown stage \"zzzzzz\"; accepted: decode, a, b, c, d, "
        "e, f, g, h, i, "
        "j, k and 2 more\n"
        "p.yaml:12:37: error: stage \"g\": the pipeline has no input \"video\"; accepted: audio\n"
        "p.yaml:13:37: error: stage \"h\": expected inputs.NAME, found \"inputs\"; accepted: "
        "audio\n"
        "p.yaml:14:3: error: stage \"i\": input \"audio\" of audio/vad is not connected; it takes "
        "audio/1 (mono "
        "samples at 16 kHz)\n"
        "p.yaml:16:47: error: stage \"k\": expected STAGE.PORT, found \"j\"; accepted: transcript "
        "and "
        "attention\n"
        "p.yaml:18:37: error: stage \"m\": \"l\" (export/any) has no outputs to take\n");
}

TEST(types_must_fit) {
    CHECK_STR(check("  a: { use: audio/vad, in: { audio: inputs.audio } }\n"
                    "  b: { use: export/any, in: { json: decode.audio } }\n"
                    "  c: { use: export/any, in: { json: a.regions } }\n"),
              "p.yaml:6:37: error: stage \"a\": input \"audio\" takes audio/1 (mono samples at 16 "
              "kHz), but inputs.audio "
              "is file/1 (a file of yours, by path)\n"
              "p.yaml:7:37: error: stage \"b\": input \"json\" takes json/1 (any JSON), but "
              "decode.audio is audio/1 (mono "
              "samples at 16 kHz)\n");
    CHECK_STR(
        check_file("sluice: 1\ninputs: { a: { type: audi/1 }, b: { type: my/1 } }\n"
                   "stages: { x: { use: audio/vad, in: { audio: inputs.a } }, y: { use: audio/vad, "
                   "in: { audio: "
                   "inputs.b } } }\n"),
        "p.yaml:2:22: error: input \"a\": unknown type \"audi/1\" (did you mean \"audio/1\"?)\n"
        "p.yaml:2:43: error: input \"b\": unknown type \"my/1\"; accepted: file/1, audio/1, "
        "regions/1, "
        "transcript/1, attention/1, turns/1, embeddings/1, text/1 and json/1\n");
}

TEST(plugins_bring_types_of_their_own) {
    struct sl_plan *p =
        plan("  m: { use: mesh/make, in: { a: decode.audio, b: decode.audio } }\n"
             "  s: { use: mesh/show, in: { mesh: m.mesh } }\n"
             "  c: { use: exec/command, with: { argv: [x], outputs: { m: mesh/1 } } }\n");
    CHECK_STR(fixture_stage(p, "s")->inputs[0].type, "mesh/1");
    sl_plan_destroy(p);
    CHECK_STR(
        check("  m: { use: mesh/make, in: { a: inputs.audio } }\n"
              "  s: { use: mesh/show, in: { mesh: decode.audio } }\n"),
        "p.yaml:6:33: error: stage \"m\": input \"a\" takes audio/1 (mono samples at 16 kHz), but "
        "inputs.audio is file/1 (a file of yours, by path)\n"
        "p.yaml:7:36: error: stage \"s\": input \"mesh\" takes mesh/1, but decode.audio is audio/1 "
        "(mono "
        "samples at 16 kHz)\n");
}

TEST(json_inputs_take_what_is_json) {
    struct sl_plan *p = plan("  a: { use: audio/vad, in: { audio: decode.audio } }\n"
                             "  b: { use: whisper/transcribe, in: { audio: decode.audio } }\n"
                             "  c: { use: diarize/speakers, in: { audio: decode.audio } }\n"
                             "  x: { use: export/any, in: { json: a.regions } }\n"
                             "  y: { use: export/any, in: { json: b.transcript } }\n"
                             "  z: { use: export/any, in: { json: c.turns } }\n");
    CHECK_STR(fixture_stage(p, "x")->inputs[0].type,
              "regions/1"); /* what comes, not what is taken */
    sl_plan_destroy(p);
}

TEST(star_inputs_take_anything_by_any_name) {
    struct sl_plan *p = plan(
        "  b: { use: whisper/transcribe, in: { audio: decode.audio } }\noutputs:\n"
        "  json: { use: export/json, in: { transcript: b.transcript, samples: decode.audio } }\n");
    CHECK_INT(fixture_stage(p, "json")->n_inputs, 2);
    CHECK(fixture_stage(p, "json")->inputs[1].optional);
    sl_plan_destroy(p);
    CHECK_STR(check("  b: { use: whisper/transcribe, in: { audio: decode.audio } }\n"
                    "  c: { use: export/json, in: { transcript: b.transcript, Bad-Name: "
                    "decode.audio } }\n"),
              "p.yaml:7:58: error: stage \"c\": input \"Bad-Name\": a port's name is of the form "
              "[a-z][a-z0-9_]*\n");
}

TEST(outputs_are_written_and_not_taken_from) {
    CHECK_STR(check("  b: { use: whisper/transcribe, in: { audio: decode.audio } }\noutputs:\n"
                    "  srt: { use: export/srt, in: { transcript: b.transcript } }\n"
                    "  two: { use: export/any, in: { json: srt.text } }\n"),
              "p.yaml:9:15: error: output \"two\": export/any has no output that could be written\n"
              "p.yaml:9:39: error: output \"two\": \"srt\" stands under outputs; only what stands "
              "under stages can be "
              "taken from\n");
}

TEST(cycles_are_told_once_each) {
    CHECK_STR(
        check("  a: { use: exec/command, in: { x: c.y }, with: { argv: [p], outputs: { y: text/1 } "
              "} }\n"
              "  b: { use: exec/command, in: { x: a.y }, with: { argv: [p], outputs: { y: text/1 } "
              "} }\n"
              "  c: { use: exec/command, in: { x: b.y }, with: { argv: [p], outputs: { y: text/1 } "
              "} }\n"
              "  d: { use: exec/command, in: { x: d.y, z: a.y }, with: { argv: [p], outputs: { y: "
              "text/1 } } }\n"
              "  e: { use: exec/command, in: { x: d.y } , with: { argv: [p] } }\n"),
        "p.yaml:6:3: error: stage \"a\": stages take from each other in a cycle: a -> b -> c -> a\n"
        "p.yaml:9:3: error: stage \"d\": stages take from each other in a cycle: d -> d\n");
}

TEST(devices_must_be_possible) {
    CHECK_STR(check("  a: { use: audio/vad, in: { audio: decode.audio }, device: cuda }\n"
                    "  b: { use: whisper/transcribe, in: { audio: decode.audio }, device: cuda }\n"
                    "  c: { use: audio/vad, in: { audio: decode.audio }, device: cpu }\n"
                    "  d: { use: audio/vad, in: { audio: decode.audio }, device: gpu }\n"),
              "p.yaml:6:61: error: stage \"a\": device: audio/vad runs on the CPU only; accepted: "
              "auto and cpu\n"
              "p.yaml:9:61: error: stage \"d\": device: expected auto, cpu, cuda or cuda:N, found "
              "text \"gpu\"\n");
}

TEST(what_is_not_used_is_warned_of) {
    CHECK_STR(check_file("sluice: 1\ninputs:\n  a: { type: file/1 }\n  b: { type: file/1 "
                         "}\nparams:\n  p: 1\n  q: 2\n"
                         "stages:\n  d: { use: audio/decode, in: { file: inputs.a }, with: { "
                         "channel: \"${params.p}\" } }\n"),
              "p.yaml:4:3: warning: input \"b\" is not used\np.yaml:7:3: warning: parameter \"q\" "
              "is not used\n");
}

TEST(settings_reach_the_stage) {
    static const char text[] =
        "sluice: 1\nparams: { where: here, n: }\ninputs: { a: { type: file/1 } }\n"
        "stages:\n  d: { use: audio/decode, in: { file: inputs.a }, with: { channel: "
        "\"${params.n}\" },\n"
        "       timeout: \"${params.where}\" }\n";
    const struct sl_setting good[] = {{"n", "2"}, {"where", "10m"}},
                            bad[] = {{"n", "two"}, {"wehre", "10m"}};
    struct sl_plan *p = fixture_plan(text, good, 2);
    CHECK_STR(p->stages[0].params, "{\"channel\":2}");
    CHECK_NEAR(p->stages[0].timeouts.total_s, 600, 0);
    sl_plan_destroy(p);
    sl_autofree char *got = fixture_check(text, bad, 2);
    CHECK_STR(got,
              "p.yaml: error: --set wehre: there is no such parameter (did you mean \"where\"?)\n"
              "p.yaml:5:68: error: stage \"d\": parameter \"channel\": expected an integer from 0 "
              "to 63, found text "
              "\"two\"\n"
              "p.yaml:6:17: error: stage \"d\": timeout: expected a duration such as 90s, 1h30m or "
              "2h, or a map of "
              "start, idle and total, found text \"here\"\n");
}

TEST(shared_blocks_are_checked_for_each_stage) {
    CHECK_STR(
        check("  a: { use: audio/vad, in: { audio: decode.audio }, retry: &r { attempts: 0 } }\n"
              "  b: { use: audio/vad, in: { audio: decode.audio }, retry: *r }\n"),
        "p.yaml:6:75: error: stage \"a\": retry: attempts: expected an integer from 1 to 100, "
        "found integer 0\n"
        "p.yaml:6:75: error: stage \"b\": retry: attempts: expected an integer from 1 to 100, "
        "found integer 0\n");
    CHECK_STR(check("  a: &a { use: audio/vad, in: { audio: decode.audio } }\n  b: { <<: *a, "
                    "optional: true }\n"),
              "");
}

TEST(a_thousand_stages_are_quick) {
    sl_autostr struct sl_str text = {0};
    sl_str_add(&text, HEAD);
    for (int i = 0; i < 999; i++) {
        char from[32] = "decode.audio";
        if (i > 0)
            snprintf(from, sizeof from, "s%d.y", i - 1);
        sl_str_addf(&text,
                    "  s%d: { use: exec/command, in: { x: %s }, with: { argv: [p], outputs: { y: "
                    "audio/1 } } }\n",
                    i, from);
    }
    int64_t from = sl_now_ms();
    struct sl_plan *p = fixture_plan(text.data, NULL, 0);
    CHECK_INT(p->n_stages, 1000);
    CHECK(sl_now_ms() - from < 5000);
    sl_plan_destroy(p);
}

TEST_MAIN()
