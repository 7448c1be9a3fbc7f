/* Any two JSON files, split at the first NUL or in the middle, as a model's configuration. */
#include <stdlib.h>
#include <string.h>

#include "whisper/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    size_t first = nul ? (size_t)(nul - data) : size / 2, skip = nul ? 1 : 0;
    struct wh_dims dims;
    struct wh_rules rules;
    struct num_err err;
    int32_t *lists;
    if (wh_config_parse((const char *)data, first, (const char *)data + first + skip,
                        size - first - skip, "fuzz", &dims, &rules, &lists, &err))
        return 0;
    if (dims.n_alignment_heads > WH_MAX_ALIGNMENT_HEADS || rules.max_initial < 0)
        abort();
    free(lists);
    return 0;
}
