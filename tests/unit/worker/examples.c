/*
 * The two example plugins of docs/write-a-plugin.md: they run, they compile as the page says, they
 * keep to its limits, and the page holds them word for word.
 */
#include "unit/test.h"

#include "base/io.h"
#include "base/mem.h"
#include "base/str.h"
#include "mini_core.h"

#define PLUGIN_FOLDER SOURCE_DIR "/tests/fixtures/plugins"

static struct mini_core core;
static struct sl_err err;

static char *read_text(const char *path) {
    char *text;
    size_t len;
    if (sl_read_file(path, 1 << 20, &text, &len, &err) < 0)
        TEST_FAIL("%s", err.msg);
    return text;
}

TEST(minimal_runs) {
    struct mini_job job = {.outputs = {{"text", "text/1"}}};
    mini_ready(&core, PLUGINS "/minimal.so", "minimal/hello", "{}");
    mini_job(&core, 1, &job);
    CHECK_INT(mini_done(&core, 1), 0);
    CHECK_STR(mini_read(job.outputs[0].fd), "Hello, world!\n");
    mini_kill(&core);
}

static struct mini_job redact(const char *text, const char *names) {
    struct mini_job job = {
        .scratch = "/tmp", .inputs = {{"text", "text/1", text}}, .outputs = {{"text", "text/1"}}};
    if (names)
        job.inputs[1] = (struct mini_port){"names", "text/1", names};
    return job;
}

TEST(recommended_runs) {
    static char large[300000];
    struct mini_job job = redact("Ada met Bob, and Bob left.\n", "Bob Eve");
    mini_ready(&core, PLUGINS "/recommended.so", "recommended/redact",
               "{\"mask\": \"###\", \"min_length\": 1}");
    mini_job(&core, 1, &job);
    mini_expect(&core, SL_FRAME_METRIC, 1);
    CHECK_NEAR(sl_frame_f64(&core.in, 1), 2, 0);
    CHECK_INT(mini_done(&core, 1), 0);
    CHECK_STR(mini_read(job.outputs[0].fd), "Ada met ###, and ### left.\n");
    job = redact("Ada met Bob.", NULL);
    mini_job(&core, 2, &job);
    CHECK_INT(mini_done(&core, 2), 0);
    CHECK_STR(mini_read(job.outputs[0].fd), "### ### ###.");
    job = redact("", NULL);
    mini_job(&core, 3, &job);
    CHECK_INT(mini_done(&core, 3), SLUICE_INPUT);
    CHECK_STR(mini_text(&core, 1), "the text is empty, so there is nothing to redact");
    const char *not_text[] = {"Ada \xff",    "\xc0\xaf", "\xe0\x80\x80",     "\xed\xa0\x80",
                              "Bob\xe2\x82", "\x80",     "\xf4\x90\x80\x80", "\xf5\x80\x80\x80"};
    for (int i = 0; i < 8; i++) {
        job = redact(not_text[i], NULL);
        mini_job(&core, 10 + (uint32_t)i, &job);
        CHECK_INT(mini_done(&core, 10 + (uint32_t)i), SLUICE_INPUT);
        CHECK_STR(mini_text(&core, 1), "the text is not UTF-8; convert it first");
    }
    job = redact("\u00e4 1\u20ac\U0010ffff", NULL);
    mini_job(&core, 20, &job);
    CHECK_INT(mini_done(&core, 20), 0);
    CHECK_STR(mini_read(job.outputs[0].fd), "### 1###");
    for (size_t i = 0; i < sizeof large - 1; i++)
        large[i] = i % 2 ? 'a' : ' ';
    job = redact(large, NULL);
    mini_job(&core, 4, &job);
    CHECK_INT(mini_done(&core, 4), 0);
    CHECK_INT(lseek(job.outputs[0].fd, 0, SEEK_END), 149999 * 3 + 150000);
    unlink("/tmp/names.txt");
    mini_kill(&core);
}

TEST(minimal_fits_in_60_lines) {
    sl_autofree char *text = read_text(PLUGIN_FOLDER "/minimal.c");
    int lines = 0;
    for (const char *c = text; *c; c++)
        lines += *c == '\n';
    CHECK(lines <= 60);
}

/* Both examples stand in the page as they are compiled. */
TEST(the_page_holds_them_word_for_word) {
    sl_autofree char *page = read_text(SOURCE_DIR "/docs/write-a-plugin.md");
    static const char *const names[] = {"minimal", "recommended"};
    for (int i = 0; i < 2; i++) {
        sl_autofree char *path = sl_xasprintf(PLUGIN_FOLDER "/%s.c", names[i]);
        sl_autofree char *text = read_text(path);
        sl_autofree char *block = sl_xasprintf("```c\n%s```\n", text);
        if (!strstr(page, block))
            TEST_FAIL("docs/write-a-plugin.md does not hold %s.c as it is", names[i]);
    }
}

/* Outside the tree, with nothing but the headers, as C and without warnings; and the headers as
 * C++. */
TEST(they_compile_outside_the_tree) {
    if (system("command -v cc >/dev/null && command -v c++ >/dev/null") != 0)
        SKIP("no compiler here");
    char folder[TEST_PATH], command[2048];
    make_test_folder(folder);
    snprintf(command, sizeof command,
             "cd %s && cc -std=c11 -Wall -Wextra -Werror -Wno-missing-field-initializers -fPIC "
             "-shared -fvisibility=hidden "
             "-I" ABI_INCLUDE " -o minimal.so " PLUGIN_FOLDER "/minimal.c && "
             "cc -D_GNU_SOURCE -std=c11 -Wall -Wextra -Werror -Wno-missing-field-initializers "
             "-fPIC -shared "
             "-fvisibility=hidden -I" ABI_INCLUDE " -o recommended.so " PLUGIN_FOLDER
             "/recommended.c && "
             "echo '#include <sluice/plugin.h>' > header.cpp && c++ -std=c++11 -Wall -Wextra "
             "-Werror -c -I" ABI_INCLUDE " header.cpp",
             folder);
    CHECK_INT(system(command), 0);
    snprintf(command, sizeof command,
             "%s --describe %s/recommended.so | grep -q '\"id\":\"recommended/redact\"'", WORKER,
             folder);
    CHECK_INT(system(command), 0);
    sl_remove_tree(folder, NULL);
}

TEST_MAIN()
