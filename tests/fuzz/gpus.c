/* What a driver of any age says of its cards, and what a user says of those that are visible: the
 * first line. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "proc/gpu.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data, *newline = size ? memchr(text, '\n', size) : NULL;
    size_t line = newline ? (size_t)(newline - text) : 0;
    sl_autofree char *visible = newline ? sl_xstrndup(text, line) : NULL;
    struct sl_gpus gpus;
    struct sl_err err;
    size_t skip = newline ? line + 1 : 0;
    if (sl_gpus_parse(text + skip, size - skip, &gpus, &err) < 0)
        return 0;
    sl_gpus_restrict(&gpus, visible);
    for (int i = 0; i < gpus.n; i++)
        if (gpus.cards[i].free > gpus.cards[i].capacity)
            abort();
    sl_gpus_finish(&gpus);
    return 0;
}
