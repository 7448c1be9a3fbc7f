/* Manifests: what is read, and where mistakes are. */
#include "config/manifest.h"
#include "unit/test.h"

static struct sl_arena arena;

static struct sl_manifest read_good(const char *text, bool csv) {
    struct sl_diags diags = {.file = "m"};
    struct sl_manifest m;
    bool good = sl_manifest_parse(text, strlen(text), csv, &arena, &diags, &m);
    if (!good)
        TEST_FAIL("%s", diags.items[0].text);
    sl_diags_finish(&diags);
    return m;
}

/* "LINE:COLUMN text" of the first mistake, and how many there are. */
static const char *read_bad(const char *text, size_t len, bool csv, int n_errors) {
    struct sl_diags diags = {.file = "m"};
    struct sl_manifest m;
    CHECK(!sl_manifest_parse(text, len, csv, &arena, &diags, &m));
    CHECK_INT(diags.n_errors, n_errors);
    const char *said = sl_arena_printf(&arena, "%d:%d %s", diags.items[0].pos.line,
                                       diags.items[0].pos.column, diags.items[0].text);
    sl_diags_finish(&diags);
    return said;
}

TEST(lists) {
    struct sl_manifest m = read_good("a.wav\r\n# no\n\n\nb c.wav\r/d,\"e\".wav", false);
    CHECK_INT(m.n_rows, 3);
    CHECK_STR(m.rows[0].file, "a.wav");
    CHECK_STR(m.rows[1].file, "b c.wav");
    CHECK_INT(m.rows[1].pos.line, 5);
    CHECK_STR(m.rows[2].file, "/d,\"e\".wav");
    CHECK_INT(read_good("", false).n_rows, 0);
}

TEST(csv) {
    struct sl_manifest m =
        read_good("\xef\xbb\xbf"
                  "x,file,y\r\n1,a.wav,\"two\r\nlines, \"\"so\"\"\"\r\n\r\n,b.wav,\"\"\n",
                  true);
    CHECK_INT(m.n_names, 2);
    CHECK_STR(m.names[1], "y");
    CHECK_INT(m.name_pos[1].column, 8);
    CHECK_INT(m.n_rows, 2);
    CHECK_STR(m.rows[0].values[1], "two\r\nlines, \"so\"");
    CHECK_STR(m.rows[1].file, "b.wav");
    CHECK(m.rows[1].values[0] == NULL);
    CHECK_STR(m.rows[1].values[1], "");
    CHECK_INT(m.rows[1].pos.line, 5);
    CHECK_INT(read_good("file\n", true).n_rows, 0);
}

TEST(mistakes) {
    CHECK_HAS(read_bad("", 0, true, 1), "1:1 the first row");
    CHECK_HAS(read_bad("a;b\n", 4, true, 1), "separated by commas");
    CHECK_HAS(read_bad("file,x,x\n", 9, true, 1), "1:8 column \"x\" is there twice");
    CHECK_HAS(read_bad("file,\n", 6, true, 1), "1:6 a column without a name");
    CHECK_HAS(read_bad("file,\xc3\xa4\n\xc3\xa4,b,c\nd\n,e\n", 20, true, 3), "2:1 3 fields");
    CHECK_HAS(read_bad("file,a\n\xc3\xa4,\"b\"c\n", 15, true, 1),
              "2:6 text behind a closing quote");
    CHECK_HAS(read_bad("file,a\nx,b\"c\n", 13, true, 1), "2:4 a quote inside a field");
    CHECK_HAS(read_bad("a\nb\0c\n", 6, false, 1), "2:2 a NUL byte");
    CHECK_HAS(read_bad("a\r\nb\xff\n", 6, false, 1), "2:2 not UTF-8");
}

TEST(long_paths_and_fields) {
    static char text[200 << 10];
    memset(text, 'x', sizeof text);
    CHECK_HAS(read_bad(text, 5000, false, 1), "longer than 4095 bytes");
    memcpy(text, "file,a\nb,", 9);
    CHECK_HAS(read_bad(text, sizeof text, true, 1), "2:3 text of more than 64 KiB");
    text[9] = '"';
    text[sizeof text - 1] = '\n';
    CHECK_HAS(read_bad(text, sizeof text, true, 1), "2:3 ");
}

TEST_MAIN()
