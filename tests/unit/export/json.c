/* export/json: what comes out is what came in, plus additions. */
#include "unit/test.h"

#include <sluice/types.h>

#include "export/json.h"

static struct num_err err;
static struct num_buf out;

static int write_json(const char *text, const struct ex_addition *additions, size_t n) {
    out.len = 0;
    int status = ex_json_write(text, strlen(text), additions, n, NULL, NULL, &out, &err);
    num_buf_addc(&out, '\0');
    return status;
}

TEST(prints_for_people) {
    CHECK_INT(write_json("{\"text\":\"caf\\u00e9 \\\"x\\\" \\\\ "
                         "\\n\\u0001\",\"a\":{},\"b\":[],\"segments\":[{\"id\":0,"
                         "\"tokens\":[50364, 2,3],\"ok\":true,\"no\":null}]}",
                         NULL, 0),
              0);
    CHECK_STR(out.data, "{\n"
                        "  \"text\": \"café \\\"x\\\" \\\\ \\n\\u0001\",\n"
                        "  \"a\": {},\n"
                        "  \"b\": [],\n"
                        "  \"segments\": [\n"
                        "    {\n"
                        "      \"id\": 0,\n"
                        "      \"tokens\": [50364, 2, 3],\n"
                        "      \"ok\": true,\n"
                        "      \"no\": null\n"
                        "    }\n"
                        "  ]\n"
                        "}\n");
}

TEST(keeps_numbers) {
    CHECK_INT(write_json("{\"z\": [0.38, 0.1, 0.30000000000000004, -0.3891234567890123, 5e-324, "
                         "1e22, 2.0, 1234567.25, 0.0, "
                         "9007199254740993, -1, 29.95]}",
                         NULL, 0),
              0);
    CHECK_STR(out.data, "{\n  \"z\": [0.38, 0.1, 0.30000000000000004, -0.3891234567890123, "
                        "4.94065645841247e-324, 1e+22, 2.0, "
                        "1234567.25, 0.0, 9007199254740993, -1, 29.95]\n}\n");
}

TEST(keeps_the_order_of_keys) {
    CHECK_INT(write_json("{\"z\": 1, \"a\": 2, \"m\": 3}", NULL, 0), 0);
    CHECK_STR(out.data, "{\n  \"z\": 1,\n  \"a\": 2,\n  \"m\": 3\n}\n");
}

TEST(adds_text_as_a_string_and_json_as_it_is) {
    const struct ex_addition additions[] = {
        {"summary", SLUICE_TYPE_TEXT, "They \"met\".\n", 12},
        {"turns", SLUICE_TYPE_TURNS, "{\"turns\": []}", 13},
        {"score", SLUICE_TYPE_JSON, "0.5", 3},
        {"nothing", SLUICE_TYPE_TEXT, NULL, 0},
    };
    CHECK_INT(write_json("{\"text\": \"a\"}", additions, 4), 0);
    CHECK_STR(out.data, "{\n  \"text\": \"a\",\n  \"summary\": \"They \\\"met\\\".\\n\",\n"
                        "  \"turns\": {\n    \"turns\": []\n  },\n  \"score\": 0.5,\n"
                        "  \"nothing\": \"\"\n}\n");
}

TEST(refuses_what_has_no_place) {
    struct ex_addition a = {"audio", SLUICE_TYPE_AUDIO, "x", 1};
    CHECK_INT(write_json("{}", &a, 1), SLUICE_UNSUPPORTED);
    CHECK_HAS(err.text, "`audio` is audio/1, which has no place in JSON");
    a = (struct ex_addition){"text", SLUICE_TYPE_TEXT, "x", 1};
    CHECK_INT(write_json("{\"text\": \"\"}", &a, 1), SLUICE_UNSUPPORTED);
    CHECK_HAS(err.text, "would replace `text`");
    a = (struct ex_addition){"summary", SLUICE_TYPE_TEXT, "\xff", 1};
    CHECK_INT(write_json("{}", &a, 1), SLUICE_INPUT);
    CHECK_HAS(err.text, "`summary` is not UTF-8");
    a = (struct ex_addition){"more", SLUICE_TYPE_JSON, "{", 1};
    CHECK_INT(write_json("{}", &a, 1), SLUICE_INPUT);
    CHECK_HAS(err.text, "the input `more` is not JSON");
    CHECK_INT(write_json("[]", NULL, 0), SLUICE_INPUT);
    CHECK_INT(write_json("", NULL, 0), SLUICE_INPUT);
}

static bool at_the_third(void *ctx) {
    int *n_asked = ctx;
    return ++*n_asked == 3;
}

TEST(stops_between_items) {
    int n_asked = 0;
    const struct num_watch watch = {&n_asked, at_the_third, NULL};
    const char text[] = "{\"segments\": [{}, {}, {}, {}, {}]}";
    CHECK_INT(ex_json_write(text, sizeof text - 1, NULL, 0, NULL, &watch, &out, &err),
              SLUICE_CANCELLED);
    CHECK_INT(n_asked, 3);
}

TEST_MAIN()
