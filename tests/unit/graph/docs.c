/*
 * The examples of docs/pipeline-file.md: every block marked "yaml pipeline" has no mistakes, the
 * block "text graph" is the picture of the first, and "text answer" is what is said of "yaml
 * mistakes", for a file called meeting.yaml.
 */
#include "base/io.h"
#include "graph/render.h"
#include "unit/graph/fixture.h"
#include "unit/test.h"

static const char *document(void) {
    static char *text;
    size_t len;
    struct sl_err err;
    if (!text && sl_read_file(SOURCE_DIR "/docs/pipeline-file.md", 1 << 20, &text, &len, &err) < 0)
        TEST_FAIL("%s", err.msg);
    return text;
}

/* The i-th block whose fence says "```KIND"; owned; NULL past the last. */
static char *block(const char *kind, int i) {
    sl_autofree char *fence = sl_xasprintf("\n```%s\n", kind);
    const char *at = document();
    do {
        at = strstr(at, fence);
        if (!at)
            return NULL;
        at += strlen(fence);
    } while (i-- > 0);
    const char *end = strstr(at - 1, "\n```\n");
    CHECK(end);
    return sl_xstrndup(at, (size_t)(end + 1 - at));
}

TEST(complete_examples_have_no_mistakes) {
    int n = 0;
    for (char *text; (text = block("yaml pipeline", n)); n++) {
        sl_autofree char *got = fixture_check(text, NULL, 0);
        if (*got)
            TEST_FAIL("example %d:\n%s", n + 1, got);
        free(text);
    }
    CHECK_INT(n, 4);
}

TEST(the_picture_is_that_of_the_first_example) {
    sl_autofree char *text = block("yaml pipeline", 0), *want = block("text graph", 0);
    sl_autostr struct sl_str got = {0};
    CHECK(text && want);
    struct sl_plan *p = fixture_plan(text, NULL, 0);
    sl_render_text(p, &got);
    CHECK_STR(got.data, want);
    sl_plan_destroy(p);
}

TEST(the_answer_is_what_is_said) {
    sl_autofree char *text = block("yaml mistakes", 0), *want = block("text answer", 0);
    CHECK(text && want);
    sl_autofree char *got = fixture_check(text, NULL, 0);
    sl_autostr struct sl_str named = {0};
    for (const char *line = got; *line; line += strcspn(line, "\n") + 1) {
        CHECK(sl_starts_with(line, "p.yaml:"));
        sl_str_addf(&named, "meeting.yaml%.*s", (int)strcspn(line, "\n") + 1 - 6, line + 6);
    }
    CHECK_STR(sl_str_text(&named), want);
}

TEST_MAIN()
