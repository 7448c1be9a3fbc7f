/*
 * What is kept for later runs, as a disk or another program may leave it: entries of results, as
 * they are and with a right checksum, the words for what differs, and the file of remembered
 * digests, line by line with a right checksum too.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/str.h"
#include "run/digests.h"
#include "run/results.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void entry(const char *text, size_t len) {
    json_t *one = NULL, *again = NULL;
    struct sl_err err;
    char key[SL_RESULT_KEY_SIZE];
    if (sl_result_parse(text, len, &one, &err) < 0)
        return;
    json_t *recipe = json_object_get(one, "recipe"), *empty = json_object();
    sl_results_key(recipe, key);
    free(sl_recipe_difference(recipe, empty));
    free(sl_recipe_difference(empty, recipe));
    char *same = sl_recipe_difference(recipe, recipe), *written = sl_result_text(one);
    if (same || strlen(key) != SL_RESULT_KEY_SIZE - 1 ||
        sl_result_parse(written, strlen(written), &again, &err) < 0)
        abort();
    free(written);
    json_decref(empty);
    json_decref(again);
    json_decref(one);
}

static void digests(const char *text, size_t len) {
    struct sl_digests d;
    struct stat st = {.st_size = 5};
    uint64_t hash;
    sl_digests_parse(text, len, &d);
    sl_digests_find(&d, "/m/a.bin", &st, &hash);
    sl_digests_finish(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sl_str summed = {0};
    const char *text = (const char *)data;
    entry(text, size);
    digests(text, size);
    for (size_t at = 0, len; at < size; at += len + 1) {
        const char *newline = memchr(text + at, '\n', size - at);
        len = newline ? (size_t)(newline - text) - at : size - at;
        size_t begin = summed.len;
        sl_str_addf(&summed, "%016" PRIx64 " ", (uint64_t)XXH3_64bits(text + at, len));
        sl_str_addn(&summed, text + at, len);
        sl_str_add(&summed, "\n");
        entry(summed.data + begin, summed.len - begin);
    }
    digests(sl_str_text(&summed), summed.len);
    sl_str_finish(&summed);
    return 0;
}
