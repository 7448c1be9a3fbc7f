/* Fuzz target: sl_port_check. The first byte chooses the type, the rest is the payload. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/portcheck.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const types[] = {
        SLUICE_TYPE_AUDIO, SLUICE_TYPE_ATTENTION,  SLUICE_TYPE_EMBEDDINGS, SLUICE_TYPE_REGIONS,
        SLUICE_TYPE_TURNS, SLUICE_TYPE_TRANSCRIPT, SLUICE_TYPE_JSON,       SLUICE_TYPE_TEXT};
    struct sl_err err = {0};
    if (size == 0)
        return 0;
    int rc = sl_port_check(types[data[0] % 8], data + 1, size - 1, &err);
    if (rc != 0 && (rc != SLUICE_INTERNAL || !err.msg[0]))
        abort();
    return 0;
}
