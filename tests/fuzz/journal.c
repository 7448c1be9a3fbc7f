/*
 * The journal of a run, as a power cut or a curious editor may leave it: the bytes as they are, and the same lines with a
 * right checksum before each, so that what is behind the checksum is reached too.
 */
#include <inttypes.h>
#include <string.h>
#include <xxhash.h>

#include "base/str.h"
#include "run/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void build(const char *text, size_t len) {
    json_t *state = NULL;
    struct sl_err err;
    if (sl_state_build(text, len, false, &state, &err) == 0)
        json_decref(state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sl_str journal = {0};
    const char *text = (const char *)data;
    build(text, size);
    for (size_t at = 0, len; at < size; at += len + 1) {
        const char *newline = memchr(text + at, '\n', size - at);
        len = newline ? (size_t)(newline - text) - at : size - at;
        sl_str_addf(&journal, "%016" PRIx64 " ", (uint64_t)XXH3_64bits(text + at, len));
        sl_str_addn(&journal, text + at, len);
        sl_str_add(&journal, "\n");
    }
    build(sl_str_text(&journal), journal.len);
    sl_str_finish(&journal);
    return 0;
}
