/* Any bytes as the index of weights in several files. */
#include <stdlib.h>
#include <string.h>

#include "num/files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct num_shards shards;
    struct num_err err;
    if (num_shards_parse((const char *)data, size, "fuzz", &shards, &err))
        return 0;
    for (size_t i = 0; i < shards.n_entries; i++)
        if (shards.entries[i].file >= shards.n_files || !shards.entries[i].tensor)
            abort();
    for (size_t i = 0; i < shards.n_files; i++)
        if (strchr(shards.files[i], '/') || shards.files[i][0] == '.')
            abort();
    num_shards_finish(&shards);
    return 0;
}
