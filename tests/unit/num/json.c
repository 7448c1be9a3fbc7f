/* Reading JSON: values, the place of an error, and a watch that says stop. */
#include "unit/test.h"

#include <stdlib.h>

#include "num/buf.h"
#include "num/json.h"

static struct num_err err;

TEST(parses) {
    num_autojson *value = NULL;
    CHECK_INT(num_json_parse("{\"a\": [1, 2]}", 13, 0, "it", NULL, &value, &err), SLUICE_OK);
    CHECK_INT(json_array_size(json_object_get(value, "a")), 2);
}

TEST(says_where_it_is_wrong) {
    json_t *value = NULL;
    CHECK_INT(num_json_parse("[1,\n 2,,]", 9, 0, "the list", NULL, &value, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, "the list is not JSON: ");
    CHECK_HAS(err.text, "(line 2, column 4)");
    CHECK_INT(num_json_parse(NULL, 0, 0, "the list", NULL, &value, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, "the list is not JSON: ");
}

struct patience {
    int left, asked;
};

static bool lose_patience(void *ctx) {
    struct patience *p = ctx;
    p->asked++;
    return p->left-- == 0;
}

/* A megabyte is asked about often; who says stop after the third time is not asked again. */
TEST(stops_in_the_middle) {
    num_autobuf text = {0};
    struct patience patient = {1 << 20, 0}, hasty = {2, 0};
    const struct num_watch for_all = {&patient, lose_patience, NULL};
    const struct num_watch for_some = {&hasty, lose_patience, NULL};
    json_t *value = NULL;
    num_buf_addc(&text, '[');
    while (text.len < 1 << 20)
        num_buf_adds(&text, "{\"word\": 1.5}, ");
    num_buf_adds(&text, "0]");
    CHECK_INT(num_json_parse(text.data, text.len, 0, "it", &for_some, &value, &err),
              SLUICE_CANCELLED);
    CHECK_INT(hasty.asked, 3);
    CHECK(value == NULL);
    CHECK_INT(num_json_parse(text.data, text.len, 0, "it", &for_all, &value, &err), SLUICE_OK);
    CHECK(patient.asked >= 10);
    num_json_drop(&value);
}

TEST_MAIN()
