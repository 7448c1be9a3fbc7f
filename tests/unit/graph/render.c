/* Pictures of plans: the text exactly, Graphviz and SVG by their structure. */
#include "graph/render.h"

#include "graph/layout.h"
#include "unit/graph/fixture.h"
#include "unit/test.h"

static const char meeting[] =
    "sluice: 1\nname: meeting\ndescription: What & why.\ninputs: { audio: { type: file/1, help: "
    "\"<any> file\" } }\nstages:\n"
    "  decode: { use: audio/decode, in: { file: inputs.audio } }\n"
    "  speech: { use: audio/vad, in: { audio: decode.audio } }\n"
    "  asr: { use: whisper/transcribe, in: { audio: decode.audio, regions: speech.regions } }\n"
    "  who: { use: diarize/speakers, in: { audio: decode.audio }, optional: true }\n"
    "outputs:\n"
    "  json: { use: export/json, in: { transcript: asr.transcript, turns: who.turns } }\n";

static const char meeting_text[] = "meeting: What & why.\n"
                                   "\n"
                                   "               ╭────────╮\n"
                                   "               │ audio  │\n"
                                   "               │ file/1 │\n"
                                   "               ╰───┬────╯\n"
                                   "                   │file/1\n"
                                   "            ┌──────▼───────┐\n"
                                   "            │ decode       │\n"
                                   "            │ audio/decode │\n"
                                   "            └──────┬───────┘\n"
                                   "   ╭────────────┬──┴────────────╮\n"
                                   "   │audio/1     │               │audio/1\n"
                                   "┌──▼────────┐   │   ┌───────────▼─────────────────┐\n"
                                   "│ speech    │   │   │ who                         │\n"
                                   "│ audio/vad │   │   │ diarize/speakers (optional) │\n"
                                   "└─────┬─────┘   │   └──────────────┬──────────────┘\n"
                                   "    ╭─╯         │            ╭─────╯\n"
                                   "    │regions/1  │audio/1     │\n"
                                   "  ┌─▼───────────▼────────┐   │\n"
                                   "  │ asr                  │   │\n"
                                   "  │ whisper/transcribe   │   │\n"
                                   "  └──────────┬───────────┘   │\n"
                                   "           ╭─╯            ╭──╯\n"
                                   "           │transcript/1  │turns/1\n"
                                   "         ╔═▼══════════════▼════════╗\n"
                                   "         ║ json                    ║\n"
                                   "         ║ export/json             ║\n"
                                   "         ╚═════════════════════════╝\n";

static const char wide[] = "sluice: 1\n"
                           "name: wide\n"
                           "inputs: { audio: { type: file/1 } }\n"
                           "stages:\n"
                           "  decode: { use: audio/decode, in: { file: inputs.audio } }\n"
                           "  asr: { use: whisper/transcribe, in: { audio: decode.audio } }\n"
                           "outputs:\n"
                           "  srt: { use: export/srt, in: { transcript: asr.transcript } }\n"
                           "  json: { use: export/json, in: { transcript: asr.transcript, att: "
                           "asr.attention, a: decode.audio } }\n"
                           "  txt: { use: export/txt, in: { transcript: asr.transcript } }\n";

static const char wide_text[] =
    "wide\n"
    "\n"
    "                                    ╭────────╮\n"
    "                                    │ audio  │\n"
    "                                    │ file/1 │\n"
    "                                    ╰───┬────╯\n"
    "                                        │file/1\n"
    "                                 ┌──────▼───────┐\n"
    "                                 │ decode       │\n"
    "                                 │ audio/decode │\n"
    "                                 └──────┬───────┘\n"
    "                                        ├─────────╮\n"
    "                                        │audio/1  │\n"
    "                         ┌──────────────▼─────┐   │\n"
    "                         │ asr                │   │\n"
    "                         │ whisper/transcribe │   │\n"
    "                         └───────┬───┬────────┘   │\n"
    "  ╭───────────────────┬──────────┴───┼────╮       ╰────────────────────╮\n"
    "  │                   │              ╰────┼──────────────╮             │\n"
    "  │transcript/1       │transcript/1       │transcript/1  │attention/1  │audio/1\n"
    "╔═▼═════════════╗   ╔═▼═════════════╗   ╔═▼══════════════▼═════════════▼════════╗\n"
    "║ srt           ║   ║ txt           ║   ║ json                                  ║\n"
    "║ export/srt    ║   ║ export/txt    ║   ║ export/json                           ║\n"
    "╚═══════════════╝   ╚═══════════════╝   ╚═══════════════════════════════════════╝\n";

static char *render(const char *text, int (*how)(const struct sl_plan *, struct sl_str *)) {
    struct sl_plan *p = fixture_plan(text, NULL, 0);
    struct sl_str out = {0};
    CHECK_INT(how(p, &out), 0);
    sl_plan_destroy(p);
    return out.data;
}

static int count(const char *text, const char *part) {
    int n = 0;
    for (; (text = strstr(text, part)); text++)
        n++;
    return n;
}

TEST(text_draws_boxes_and_lines) {
    sl_autofree char *got = render(meeting, sl_render_text);
    CHECK_STR(got, meeting_text);
}

TEST(text_keeps_runs_apart) {
    sl_autofree char *got = render(wide, sl_render_text);
    CHECK_STR(got, wide_text);
}

TEST(text_becomes_a_list_where_it_would_be_too_wide) {
    sl_autostr struct sl_str text = {0};
    sl_str_add(&text, HEAD);
    for (int i = 0; i < 20; i++)
        sl_str_addf(&text,
                    "  v%d: { use: audio/vad, in: { audio: decode.audio }, optional: true }\n", i);
    sl_autofree char *got = render(text.data, sl_render_text);
    CHECK_HAS(got, "p\n\ndecode  audio/decode\n    file ◀ inputs.audio  file/1\n");
    CHECK_HAS(got, "v19  audio/vad (optional)\n    audio ◀ decode.audio  audio/1\n");
}

TEST(dot_names_every_stage_and_line) {
    sl_autofree char *got = render(meeting, sl_render_dot);
    CHECK_HAS(got, "digraph \"meeting\" {\n");
    CHECK_HAS(got, "  s0 [label=\"decode\\naudio/decode\"];\n");
    CHECK_INT(count(got, " -> "), 7);
    CHECK_HAS(got, "  i0 -> s0 [label=\"file/1\"];\n");
    CHECK_HAS(got, "style=\"rounded,dashed\"");
    CHECK(sl_ends_with(got, "}\n"));
}

TEST(svg_is_self_contained_and_escaped) {
    sl_autofree char *got = render(meeting, sl_render_svg);
    CHECK(sl_starts_with(got, "<svg xmlns=\"http://www.w3.org/2000/svg\""));
    CHECK(sl_ends_with(got, "</svg>\n"));
    CHECK_INT(count(got, "<rect "), 6);
    CHECK_INT(count(got, "class=\"a\""), 7); /* an arrow head for each input that is connected */
    CHECK_HAS(got, "<title>&lt;any&gt; file</title>");
    CHECK(!strstr(got, "href"));
    CHECK(!strstr(got, "nan"));
    CHECK_INT(count(got, "<g>"), count(got, "</g>"));
    CHECK_INT(count(got, "<text "), count(got, "</text>"));
}

TEST(boxes_of_a_layer_do_not_overlap) {
    struct sl_plan *p = fixture_plan(meeting, NULL, 0);
    struct sl_layout l;
    sl_layout_build(p, &l);
    CHECK_INT(l.n_layers, 5); /* audio, decode, speech and who, asr, json */
    for (int i = 0; i < l.n_nodes; i++)
        l.nodes[i].extent = 10 + i;
    double extent = sl_layout_place(&l, 3);
    for (int layer = 0; layer < l.n_layers; layer++)
        for (int k = 0; k < l.layer_sizes[layer]; k++) {
            const struct sl_layout_node *a = &l.nodes[l.layers[layer][k]];
            CHECK(a->center - a->extent / 2 >= -1e-9 && a->center + a->extent / 2 <= extent + 1e-9);
            if (k > 0) {
                const struct sl_layout_node *b = &l.nodes[l.layers[layer][k - 1]];
                CHECK(a->center - a->extent / 2 >= b->center + b->extent / 2 + 3 - 1e-9);
            }
        }
    for (int i = 0; i < l.n_lines; i++)
        CHECK_INT(l.nodes[l.lines[i].to].layer, l.nodes[l.lines[i].from].layer + 1);
    sl_layout_finish(&l);
    sl_plan_destroy(p);
}

TEST(many_stages_are_drawn_in_time) {
    sl_autostr struct sl_str text = {0};
    sl_str_add(&text, HEAD);
    for (int i = 0; i < 900; i++) {
        sl_str_addf(&text,
                    "  s%d: { use: exec/command, with: { argv: [p], outputs: { y: audio/1 } }, in: "
                    "{ first: "
                    "decode.audio",
                    i);
        for (int k = 0; k < 5 && k < i; k++)
            sl_str_addf(&text, ", p%d: s%d.y", k, (i * 7919 + k * 31) % i);
        sl_str_add(&text, " } }\n");
    }
    sl_autofree char *svg = render(text.data, sl_render_svg),
                     *dot = render(text.data, sl_render_dot),
                     *list = render(text.data, sl_render_text);
    CHECK_INT(count(svg, "<rect "), 902);
    CHECK_HAS(list, "s899  exec/command");
    CHECK_HAS(dot, "s900");
}

TEST(lines_pass_layers_where_bends_would_be_too_many) {
    sl_autostr struct sl_str text = {0}, last = {0};
    sl_str_add(&text, HEAD);
    sl_str_add(&last, "  last: { use: exec/command, with: { argv: [p] }, in: { p0: decode.audio");
    for (int i = 0; i < 120; i++) {
        sl_str_addf(
            &text,
            "  s%d: { use: exec/command, with: { argv: [p], outputs: { y: audio/1 } }, in: { ", i);
        sl_str_addf(&text, i ? "x: s%d.y } }\n" : "x: decode.audio } }\n", i - 1);
        sl_str_addf(&last, ", p%d: s%d.y", i + 1, i);
    }
    sl_str_addf(&text, "%s } }\n", last.data);
    sl_autofree char *svg = render(text.data, sl_render_svg),
                     *list = render(text.data, sl_render_text);
    CHECK_INT(count(svg, "<rect "), 123);
    CHECK_INT(count(svg, "<path class=\"e\""), 242); /* one a line: no bends */
    CHECK_HAS(list, "last  exec/command\n    p0 ◀ decode.audio  audio/1\n");
}

TEST(a_stage_without_edges_is_drawn) {
    sl_autofree char *got =
        render("sluice: 1\nstages: { ring: { use: exec/command, with: { argv: [beep] } } }\n",
               sl_render_text);
    CHECK_STR(got, "p\n\n┌──────────────┐\n│ ring         │\n│ exec/command │\n└──────────────┘\n");
    sl_autofree char *svg =
        render("sluice: 1\nstages: { ring: { use: exec/command, with: { argv: [beep] } } }\n",
               sl_render_svg);
    CHECK_INT(count(svg, "<rect "), 1);
}

TEST_MAIN()
