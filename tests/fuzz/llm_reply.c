/* What a server sends, in pieces of the sizes that the first bytes say: the same comes of it as in
 * one piece. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "llm/http/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_text(void *ctx, const char *text, size_t len) {
    num_buf_add(ctx, text, len);
}

/* The status, and the text in `out`; `step` 0: in one piece. */
static int32_t read_all(const uint8_t *data, size_t size, size_t step, struct num_buf *out) {
    struct lm_reply r = {.text = on_text, .ctx = out};
    struct num_err err;
    for (size_t at = 0; at < size;) {
        size_t n = step == 0 || step > size - at ? size - at : step;
        if (!lm_reply_feed(&r, data + at, n))
            break;
        at += n;
    }
    int32_t status = lm_reply_end(&r, &err);
    lm_reply_finish(&r);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    num_autobuf whole = {0}, pieces = {0};
    char line[64];
    size_t step = size ? 1 + data[0] % 16 : 1;
    if (size) {
        data++;
        size--;
    }
    int32_t status = read_all(data, size, 0, &whole);
    if (read_all(data, size, step, &pieces) != status || whole.len != pieces.len ||
        (whole.len && memcmp(whole.data, pieces.data, whole.len) != 0))
        abort();
    lm_reply_refusal((const char *)data, size, line, sizeof line);
    if (strlen(line) >= sizeof line || strchr(line, '\n'))
        abort();
    return 0;
}
