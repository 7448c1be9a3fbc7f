/* Fuzz target: the cache of plugin descriptions, with a right checksum so that what is behind it is
 * reached too, and the reader of build ids. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "proc/buildid.h"
#include "proc/cache.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse(const char *text, size_t len) {
    struct sl_cache cache;
    struct sl_cache_key key = {"/p/a.so", 1, 2, "ab"};
    sl_cache_parse(text, len, "w", 1000, &cache);
    sl_cache_find(&cache, &key);
    sl_cache_put(&cache, &key, NULL, "x", 0);
    if (!sl_cache_find(&cache, &key))
        abort();
    free(sl_cache_text(&cache, "w"));
    sl_cache_finish(&cache);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char build[SL_BUILD_ID_SIZE];
    if (strlen(sl_build_id(data, size, build)) % 2)
        abort();
    parse((const char *)data, size);
    char *summed = malloc(size + 64);
    if (!summed)
        abort();
    int head =
        snprintf(summed, 64, "{\"sum\":\"%016llx\",", (unsigned long long)XXH3_64bits(data, size));
    memcpy(summed + head, data, size);
    parse(summed, (size_t)head + size);
    free(summed);
    return 0;
}
