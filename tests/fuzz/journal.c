/* The journal of a run, as a power cut or a curious editor may leave it. */
#include <stddef.h>
#include <stdint.h>

#include "run/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *state = NULL;
    struct sl_err err;
    if (sl_state_build((const char *)data, size, false, &state, &err) == 0)
        json_decref(state);
    return 0;
}
