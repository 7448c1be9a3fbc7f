/*
 * The journal of a run, as a power cut or a curious editor may leave it: the bytes as they are, and
 * the same lines with a right checksum before each, so that what is behind the checksum is reached
 * too.
 */
#include "run/state.h"

#include "journal_text.h"

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
    journal_of_lines(text, size, &journal);
    build(sl_str_text(&journal), journal.len);
    sl_str_finish(&journal);
    return 0;
}
