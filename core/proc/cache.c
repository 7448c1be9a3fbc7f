/* The cache of plugin descriptions, see cache.h. */
#include "proc/cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/json.h"
#include "base/mem.h"

#define SUM_DIGITS 16
#define HEAD       "{\"sum\":\""
#define HEAD_END   "\","

static size_t head_size(void) {
    return strlen(HEAD) + SUM_DIGITS + strlen(HEAD_END);
}

static void make_head(const char *rest, size_t len, char *ret, size_t size) {
    snprintf(ret, size, HEAD "%016llx" HEAD_END, (unsigned long long)XXH3_64bits(rest, len));
}

static bool sum_fits(const char *text, size_t len) {
    char want[64];
    if (len < head_size())
        return false;
    make_head(text + head_size(), len - head_size(), want, sizeof want);
    return memcmp(want, text, head_size()) == 0;
}

/* Also false for one of a clock that was ahead. */
static bool is_valid_now(const json_t *e, int64_t now_s) {
    const json_t *until = json_object_get(e, "until");
    json_int_t at = json_integer_value(until);
    return !until || (at >= now_s && at - SL_CACHE_PASSING_S <= now_s);
}

static bool is_entry(const json_t *e) {
    const json_t *description = json_object_get(e, "description");
    return sl_json_str(e, "path", NULL) && sl_json_str(e, "build", NULL) &&
           json_is_integer(json_object_get(e, "size")) &&
           json_is_integer(json_object_get(e, "mtime_ns")) &&
           (json_is_object(description) || sl_json_str(e, "broken", NULL));
}

void sl_cache_parse(const char *text, size_t len, const char *worker, int64_t now_s,
                    struct sl_cache *ret) {
    *ret = (struct sl_cache){.entries = json_array()};
    sl_autojson json_t *root = NULL;
    if (!sum_fits(text, len) || sl_json_parse(text, len, &root, NULL) < 0)
        return;
    const json_t *list = json_object_get(root, "plugins");
    if (strcmp(sl_json_str(root, "worker", ""), worker) != 0)
        return;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (is_entry(json_array_get(list, i)) && is_valid_now(json_array_get(list, i), now_s))
            json_array_append(ret->entries, json_array_get(list, i));
}

char *sl_cache_text(const struct sl_cache *c, const char *worker) {
    sl_autojson json_t *root = json_object();
    sl_json_set(root, "worker", sl_json_text(worker));
    json_object_set(root, "plugins", c->entries);
    sl_autofree char *body = sl_json_line(root);
    sl_autofree char *rest = sl_xasprintf("%s\n", body + 1); /* what follows the brace */
    char head[64];
    make_head(rest, strlen(rest), head, sizeof head);
    return sl_xasprintf("%s%s", head, rest);
}

const json_t *sl_cache_find(const struct sl_cache *c, const struct sl_cache_key *key) {
    for (size_t i = 0; i < json_array_size(c->entries); i++) {
        const json_t *e = json_array_get(c->entries, i);
        if (strcmp(sl_json_str(e, "path", ""), key->path) == 0 &&
            strcmp(sl_json_str(e, "build", ""), key->build) == 0 &&
            json_integer_value(json_object_get(e, "size")) == key->size &&
            json_integer_value(json_object_get(e, "mtime_ns")) == key->mtime_ns)
            return e;
    }
    return NULL;
}

static void remove_path(struct sl_cache *c, const char *path) {
    for (size_t i = json_array_size(c->entries); i-- > 0;)
        if (strcmp(sl_json_str(json_array_get(c->entries, i), "path", ""), path) == 0)
            json_array_remove(c->entries, i);
}

void sl_cache_put(struct sl_cache *c, const struct sl_cache_key *key, json_t *description,
                  const char *broken, int64_t until_s) {
    json_t *e = json_object();
    sl_json_set(e, "path", sl_json_text(key->path));
    sl_json_set(e, "size", json_integer(key->size));
    sl_json_set(e, "mtime_ns", json_integer(key->mtime_ns));
    sl_json_set(e, "build", sl_json_text(key->build));
    if (description)
        json_object_set(e, "description", description);
    else
        sl_json_set(e, "broken", sl_json_text(broken));
    sl_json_set(e, "until", until_s ? json_integer(until_s) : NULL);
    remove_path(c, key->path);
    json_array_append_new(c->entries, e);
    c->changed = true;
}

void sl_cache_prune(struct sl_cache *c) {
    for (size_t i = json_array_size(c->entries); i-- > 0;) {
        if (access(sl_json_str(json_array_get(c->entries, i), "path", ""), F_OK) == 0)
            continue;
        json_array_remove(c->entries, i);
        c->changed = true;
    }
}

void sl_cache_finish(struct sl_cache *c) {
    json_decref(c->entries);
    c->entries = NULL;
}
