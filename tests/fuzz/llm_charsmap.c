/* Any bytes as a table of normalisation; what it accepts makes valid UTF-8 of the file itself,
 * within the bound. */
#include <stdlib.h>

#include "llm/charsmap.h"
#include "num/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct num_buf *out, size_t n) {
    if (out->failed || out->len > 3 * n * LM_CHARSMAP_REPLACEMENT + 3)
        abort();
    for (size_t i = 0, step; i < out->len; i += step) {
        uint32_t c;
        step = num_utf8_next((const uint8_t *)out->data + i, out->len - i, &c);
        if (step == 0)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct lm_charsmap map = {0};
    struct num_err err;
    size_t n = size < 500 ? size : 500;
    if (lm_charsmap_parse(data, size, "fuzz", &map, &err))
        return 0;
    for (int i = 0; i < 4; i++) {
        const struct lm_charsmap_rules rules = {i & 1, i & 2};
        num_autobuf out = {0};
        lm_charsmap_apply(&map, rules, (const char *)data + size - n, n, &out);
        check(&out, n);
    }
    lm_charsmap_finish(&map);
    return 0;
}
