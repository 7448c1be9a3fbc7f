/* The YAML tree: positions, what is understood, what is refused and where. */
#include "config/yaml.h"

#include <sys/stat.h>

#include "base/io.h"
#include "unit/test.h"

static struct sl_arena arena;

/* Parses and gives the messages; *ret_root is NULL where there is no tree. */
static const char *messages(const char *bytes, size_t len, const struct sl_yaml **ret_root) {
    static struct sl_str out;
    struct sl_diags diags = {.file = "f"};
    sl_str_clear(&out);
    *ret_root = sl_yaml_parse(bytes, len, &arena, &diags);
    sl_diags_print(&diags, &out);
    CHECK(*ret_root || diags.n_errors > 0);
    sl_diags_finish(&diags);
    return sl_str_text(&out);
}

static const struct sl_yaml *parse(const char *text) {
    const struct sl_yaml *root;
    CHECK_STR(messages(text, strlen(text), &root), "");
    return root;
}

static const char *complain(const char *text) {
    const struct sl_yaml *root;
    return messages(text, strlen(text), &root);
}

static void check_pos(struct sl_pos pos, int line, int column) {
    CHECK_INT(pos.line, line);
    CHECK_INT(pos.column, column);
}

TEST(nodes_and_keys_know_their_place) {
    const struct sl_yaml *root = parse("# comment\na: 1\nbcd:\n  - x\n  - { k: é, l: \"z\" }\n");
    check_pos(root->pos, 2, 1);
    check_pos(root->pairs[1].pos, 3, 1);
    const struct sl_yaml *list = root->pairs[1].value;
    check_pos(list->items[0]->pos, 4, 5);
    check_pos(list->items[1]->pairs[0].pos, 5, 7);
    check_pos(list->items[1]->pairs[1].pos, 5, 13); /* columns are characters, not bytes */
    check_pos(list->items[1]->pairs[1].value->pos, 5, 16);
    CHECK_INT(root->weight, 7);
    CHECK_INT(root->height, 3);
}

TEST(scalars_follow_the_core_schema) {
    static const struct {
        const char *text;
        enum sl_yaml_type type;
    } cases[] = {{"true", SL_YAML_BOOL},      {"FALSE", SL_YAML_BOOL},
                 {"yes", SL_YAML_STRING},     {"on", SL_YAML_STRING},
                 {"~", SL_YAML_NULL},         {"null", SL_YAML_NULL},
                 {"nULL", SL_YAML_STRING},    {"0", SL_YAML_INT},
                 {"-12", SL_YAML_INT},        {"+7", SL_YAML_INT},
                 {"0x1F", SL_YAML_INT},       {"0o17", SL_YAML_INT},
                 {"0o18", SL_YAML_STRING},    {"0x", SL_YAML_STRING},
                 {"1.5", SL_YAML_FLOAT},      {".5", SL_YAML_FLOAT},
                 {"5.", SL_YAML_FLOAT},       {"-1e3", SL_YAML_FLOAT},
                 {"1e", SL_YAML_STRING},      {".", SL_YAML_STRING},
                 {"1.2.3", SL_YAML_STRING},   {".inf", SL_YAML_FLOAT},
                 {"-.Inf", SL_YAML_FLOAT},    {".nan", SL_YAML_FLOAT},
                 {"\"5\"", SL_YAML_STRING},   {"'true'", SL_YAML_STRING},
                 {"1:30", SL_YAML_STRING},    {"2001-01-01", SL_YAML_STRING},
                 {"!!str 5", SL_YAML_STRING}, {"!!int \"5\"", SL_YAML_INT},
                 {"! 5", SL_YAML_STRING},     {"--1", SL_YAML_STRING},
                 {"-", SL_YAML_STRING}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64];
        snprintf(text, sizeof text, "a: %s\n", cases[i].text);
        if (strcmp(cases[i].text, "-") == 0)
            snprintf(text, sizeof text, "a: \"-\"\n");
        const struct sl_yaml *value = sl_yaml_get(parse(text), "a");
        if (sl_yaml_type(value) != cases[i].type)
            TEST_FAIL("%s is of type %d, not %d", cases[i].text, sl_yaml_type(value),
                      cases[i].type);
    }
}

TEST(values_have_the_range_of_their_type) {
    const struct sl_yaml *root =
        parse("[9223372036854775807, 9223372036854775808, 0xff, -0.25, 3, .inf, 1e999]");
    int64_t whole;
    double number;
    CHECK(sl_yaml_int(root->items[0], &whole));
    CHECK_INT(whole, INT64_MAX);
    CHECK(!sl_yaml_int(root->items[1], &whole));
    CHECK(sl_yaml_int(root->items[2], &whole));
    CHECK_INT(whole, 255);
    CHECK(sl_yaml_float(root->items[3], &number));
    CHECK_NEAR(number, -0.25, 0);
    CHECK(sl_yaml_float(root->items[4], &number));
    CHECK_NEAR(number, 3, 0);
    CHECK(!sl_yaml_float(root->items[5], &number));
    CHECK(!sl_yaml_float(root->items[6], &number));
}

TEST(aliases_share_nodes) {
    const struct sl_yaml *root = parse("a: &x { k: 1 }\nb: *x\nc: &x two\nd: *x\n");
    CHECK(sl_yaml_get(root, "a") == sl_yaml_get(root, "b"));
    CHECK_STR(sl_yaml_get(root, "d")->text, "two");
}

TEST(merge_keys_fill_in_what_is_not_given) {
    const struct sl_yaml *root = parse("base: &b { x: 1, y: 1 }\nmore: &m { y: 2, z: 2 }\n"
                                       "one: { y: 3, <<: *b }\ntwo: { <<: [*b, *m], w: 0 }\n");
    const struct sl_yaml *one = sl_yaml_get(root, "one"), *two = sl_yaml_get(root, "two");
    CHECK_INT(one->n, 2);
    CHECK_STR(sl_yaml_get(one, "y")->text, "3");
    CHECK_STR(sl_yaml_get(one, "x")->text, "1");
    CHECK_STR(one->pairs[0].key, "y");
    CHECK_INT(two->n, 4);
    CHECK_STR(sl_yaml_get(two, "y")->text, "1"); /* of several, the first */
    CHECK_STR(sl_yaml_get(two, "z")->text, "2");
    CHECK_STR(complain("a: 1\nb: { <<: 5 }\n"),
              "f:2:10: error: << takes a map or a list of maps\n");
    CHECK_HAS(complain("x: &x {}\nb: { <<: *x, <<: *x }\n"), "f:2:14: error: << was given before");
    CHECK_INT(parse("a: { \"<<\": 5 }")->pairs[0].value->n, 1); /* in quotes it is a key */
}

TEST(duplicate_keys_name_both_places) {
    CHECK_STR(complain("a: 1\nb: 2\n\"a\": 3\nb: 4\n"),
              "f:3:1: error: key \"a\" was given before, at line 1, column 1\n"
              "f:4:1: error: key \"b\" was given before, at line 2, column 1\n");
}

TEST(aliases_are_checked) {
    CHECK_STR(
        complain("model: &model x\nb: *modle\n"),
        "f:2:4: error: alias *modle: there is no anchor &modle before it (did you mean *model?)\n");
    CHECK_STR(complain("a: &a [1, *a]\n"),
              "f:1:11: error: alias *a stands inside the value that it names\n");
    CHECK_HAS(complain("a: &a { b: { c: *a } }\n"), "f:1:17: error: alias *a stands inside");
}

TEST(billion_laughs_are_refused) {
    sl_autostr struct sl_str text = {0};
    sl_str_add(&text, "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for (int i = 1; i < 12; i++) {
        sl_str_addf(&text, "a%d: &a%d [", i, i);
        for (int k = 0; k < 10; k++)
            sl_str_addf(&text, "%s*a%d", k ? ", " : "", i - 1);
        sl_str_add(&text, "]\n");
    }
    CHECK_HAS(complain(text.data),
              "f:6:45: error: more than 1000000 values once aliases are followed\n");
}

TEST(merges_count_too) {
    sl_autostr struct sl_str text = {0};
    sl_str_add(&text, "base: &b {");
    for (int i = 0; i < 1000; i++)
        sl_str_addf(&text, "%sk%d: 1", i ? ", " : "", i);
    sl_str_add(&text, "}\nlist:\n");
    for (int i = 0; i < 1000; i++)
        sl_str_add(&text, "- { <<: *b }\n");
    CHECK_HAS(complain(text.data), "more than 1000000 values");
}

TEST(wide_maps_are_quick) {
    sl_autostr struct sl_str text = {0};
    for (int i = 0; i < 40000; i++)
        sl_str_addf(&text, "k%d: 1\n", i);
    CHECK_INT(parse(text.data)->n, 40000);
}

TEST(depth_is_bounded) {
    sl_autostr struct sl_str flow = {0}, good = {0};
    for (int i = 0; i < 100000; i++)
        sl_str_add(&flow, "[");
    CHECK_STR(complain(flow.data), "f:1:65: error: nested deeper than 64 levels\n");
    sl_str_pad(&good, '[', 64);
    sl_str_pad(&good, ']', 64);
    CHECK_INT(parse(good.data)->height, 63);
    /* also where aliases stack shallow pieces */
    sl_autostr struct sl_str stacked = {0};
    sl_str_add(&stacked, "a0: &a0 [x]\n");
    for (int i = 1; i < 80; i++)
        sl_str_addf(&stacked, "a%d: &a%d [*a%d]\n", i, i, i - 1);
    CHECK_HAS(complain(stacked.data), ": error: nested deeper than 64 levels\n");
}

TEST(bytes_are_checked_first) {
    const struct sl_yaml *root;
    CHECK_STR(complain("a: 1\nb: caf\xe9\n"),
              "f:2:7: error: byte 0xE9 is not UTF-8; save the file as UTF-8\n");
    CHECK_STR(messages("a: 1\nb: \0x\n", 10, &root),
              "f:2:4: error: control character 0x00: only text is allowed here\n");
    CHECK_HAS(complain("a: \x01"), "f:1:4: error: control character 0x01");
    CHECK_HAS(complain("a: \xc2\x80"), "f:1:4: error: control character 0x80");
    CHECK_HAS(messages("\xff\xfe"
                       "a\0",
                       4, &root),
              "f:1:1: error: the file is UTF-16; save it as UTF-8");
    CHECK_HAS(messages("\xfe\xff\0a", 4, &root), "UTF-16");
    CHECK_STR(complain("a: \"x\\0y\"\n"), "f:1:4: error: text holds a NUL character (\\0)\n");
    check_pos(parse("\xef\xbb\xbf"
                    "a: 1")
                  ->pairs[0]
                  .pos,
              1, 1); /* a byte order mark is passed over */
}

TEST(syntax_errors_have_a_place) {
    CHECK_STR(complain("a:\n\tb: 1\n"),
              "f:2:1: error: a tab stands where only spaces may: YAML is indented with spaces\n");
    CHECK_HAS(complain("a: [1, 2\nb: 3\n"), "f:2:2: error: not valid YAML: ");
    CHECK_HAS(complain("a: { b: ${params.x} }\n"),
              "f:1:10: error: inside { } and [ ] a reference must be quoted: \"${...}\"\n");
    CHECK_HAS(complain("a: \"open\n"), ": error: not valid YAML: found unexpected end of stream");
    CHECK_HAS(complain("a: b: c\n"), "f:1:5: error: not valid YAML: ");
    CHECK_HAS(complain("%YAML 3.0\n---\na: 1\n"),
              "not valid YAML: found incompatible YAML document");
}

TEST(documents_keys_and_tags_are_checked) {
    CHECK_STR(complain(""), "f: error: the file is empty\n");
    CHECK_STR(complain("# only a comment\n"), "f: error: the file is empty\n");
    CHECK_STR(complain("a: 1\n---\nb: 2\n"),
              "f:2:1: error: a second document begins here; one is read\n");
    CHECK_STR(complain("? [a]\n: 1\n"), "f:1:3: error: a key must be text, not a list or a map\n");
    CHECK_STR(complain("a: !secret x\nb: !!set {x}\n"),
              "f:1:4: error: tag \"!secret\" is not supported here; write the value without a tag\n"
              "f:2:4: error: tag \"tag:yaml.org,2002:set\" is not supported here; write the value "
              "without a tag\n");
    CHECK_INT(parse("a: !!map {x: !!seq [1]}")->n, 1);
}

TEST(many_anchors_and_long_text_are_refused) {
    sl_autostr struct sl_str text = {0}, longer = {0};
    for (int i = 0; i < 1001; i++)
        sl_str_addf(&text, "- &a%d x\n", i);
    CHECK_STR(complain(text.data), "f:1001:3: error: more than 1000 anchors\n");
    sl_str_add(&longer, "a: ");
    sl_str_pad(&longer, 'x', 65537);
    CHECK_STR(complain(longer.data), "f:1:4: error: text longer than 64 KiB\n");
}

static const char *load(const char *path) {
    static struct sl_str out;
    struct sl_diags diags = {.file = path};
    sl_str_clear(&out);
    if (sl_yaml_load(path, &arena, &diags))
        CHECK_INT(diags.n_errors, 0);
    sl_diags_print(&diags, &out);
    sl_diags_finish(&diags);
    return sl_str_text(&out);
}

TEST(files_are_looked_at_before_they_are_read) {
    char dir[TEST_PATH];
    make_test_folder(dir);
    sl_autofree char *big = sl_path_join(dir, "big.yaml"), *good = sl_path_join(dir, "good.yaml"),
                     *fifo = sl_path_join(dir, "fifo"),
                     *missing = sl_path_join(dir, "missing.yaml");
    CHECK_INT(sl_write_file(good, "a: 1\n", 5, NULL), 0);
    CHECK_INT(sl_write_file(big, "", 0, NULL), 0);
    CHECK_INT(truncate(big, 9 << 20), 0);
    CHECK_INT(mkfifo(fifo, 0600), 0);
    CHECK_STR(load(good), "");
    CHECK_HAS(load(big), "big.yaml: error: larger than the limit of 8 MiB\n");
    CHECK_HAS(load(dir), ": error: is a folder, not a file\n");
    CHECK_HAS(load(missing), "missing.yaml: error: there is no such file\n");
    CHECK_HAS(load(fifo), "fifo: error: is not a regular file\n");
    CHECK_INT(sl_remove_tree(dir, NULL), 0);
}

TEST(values_describe_themselves) {
    sl_autostr struct sl_str out = {0};
    const struct sl_yaml *root = parse("[\"yes\", 5, 2.5, true, [1], {a: 1}, ~, "
                                       "'a text of more than forty characters that is cut short']");
    for (int i = 0; i < root->n; i++) {
        sl_yaml_describe(root->items[i], &out);
        sl_str_add(&out, "|");
    }
    CHECK_STR(out.data, "text \"yes\"|integer 5|number 2.5|true|a list|a map|nothing|"
                        "text \"a text of more than forty characters tha...\"|");
}

TEST_MAIN()
