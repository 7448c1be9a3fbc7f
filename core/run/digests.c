/* Remembered digests, see digests.h. */
#include "run/digests.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/str.h"

#define SUM_DIGITS     16
#define FIELDS         5 /* before the path */
#define FILE_MAX_BYTES (64u << 20)
#define SETTLED_S      2.0
#define REWRITE_LINES  1000

char *sl_digest_text(uint64_t size, uint64_t hash) {
    return sl_xasprintf("%" PRIu64 ":%016" PRIx64, size, hash);
}

static int64_t ns_of(struct timespec t) {
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* All of a line between its sum and the hash. */
static char *state_text(const struct stat *st) {
    return sl_xasprintf("%lld %" PRId64 " %" PRId64 " %llu", (long long)st->st_size,
                        ns_of(st->st_mtim), ns_of(st->st_ctim), (unsigned long long)st->st_ino);
}

static char *line_of(const char *path, const char *value) {
    sl_autofree char *rest = sl_xasprintf("%s %s", value, path);
    return sl_xasprintf("%016" PRIx64 " %s\n", (uint64_t)XXH3_64bits(rest, strlen(rest)), rest);
}

static void take_line(struct sl_digests *d, const char *line, size_t len) {
    char sum[SUM_DIGITS + 1];
    if (len < SUM_DIGITS + 2 || line[SUM_DIGITS] != ' ' || memchr(line, 0, len))
        return;
    const char *rest = line + SUM_DIGITS + 1, *path = rest;
    size_t rest_len = len - SUM_DIGITS - 1;
    snprintf(sum, sizeof sum, "%016" PRIx64, (uint64_t)XXH3_64bits(rest, rest_len));
    for (int i = 0; path && i < FIELDS; i++) {
        path = memchr(path, ' ', (size_t)(rest + rest_len - path));
        path = path ? path + 1 : NULL;
    }
    if (memcmp(sum, line, SUM_DIGITS) != 0 || !path || sl_utf8_valid(rest, rest_len) != rest_len)
        return;
    sl_autofree char *name = sl_xstrndup(path, (size_t)(rest + rest_len - path));
    sl_autofree char *value = sl_xstrndup(rest, (size_t)(path - rest) - 1);
    json_object_set_new(d->known, name, json_string(value));
}

void sl_digests_parse(const char *text, size_t len, struct sl_digests *ret) {
    *ret = (struct sl_digests){.known = json_object(), .fd = -1};
    for (size_t at = 0; at < len; ret->n_lines++) {
        const char *newline = memchr(text + at, '\n', len - at);
        size_t end = newline ? (size_t)(newline - text) : len;
        if (newline)
            take_line(ret, text + at, end - at);
        at = end + 1;
    }
}

static void rewrite(struct sl_digests *d, const char *path) {
    sl_autostr struct sl_str all = {0};
    const char *name;
    json_t *value;
    json_object_foreach(d->known, name, value) {
        sl_autofree char *line = line_of(name, json_string_value(value));
        if (sl_path_exists(name))
            sl_str_add(&all, line);
    }
    if (sl_write_file(path, sl_str_text(&all), all.len, NULL) == 0)
        d->n_lines = 0;
}

void sl_digests_open(const char *root, struct sl_digests *ret) {
    sl_autofree char *path = root ? sl_path_join(root, "digests") : NULL, *text = NULL;
    size_t len = 0;
    if (path && sl_read_file(path, FILE_MAX_BYTES, &text, &len, NULL) < 0)
        len = 0;
    sl_digests_parse(text ? text : "", len, ret);
    if (!path)
        return;
    if (ret->n_lines > REWRITE_LINES && (size_t)ret->n_lines > 2 * json_object_size(ret->known))
        rewrite(ret, path);
    if (sl_make_dirs(root, NULL) == 0)
        ret->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

void sl_digests_finish(struct sl_digests *d) {
    json_decref(d->known);
    sl_close(&d->fd);
    d->known = NULL;
}

bool sl_digests_find(const struct sl_digests *d, const char *path, const struct stat *st,
                     uint64_t *ret_hash) {
    const char *value = json_string_value(json_object_get(d->known, path));
    sl_autofree char *state = state_text(st);
    size_t len = strlen(state);
    if (!value || strncmp(value, state, len) != 0 || value[len] != ' ')
        return false;
    *ret_hash = strtoull(value + len + 1, NULL, 16);
    return true;
}

void sl_digests_add(struct sl_digests *d, const char *path, const struct stat *st, uint64_t hash) {
    double now = sl_wall_s();
    if (now - (double)st->st_ctim.tv_sec < SETTLED_S || strchr(path, '\n') ||
        sl_utf8_valid(path, strlen(path)) != strlen(path))
        return;
    sl_autofree char *state = state_text(st), *value = sl_xasprintf("%s %016" PRIx64, state, hash);
    sl_autofree char *line = line_of(path, value);
    json_object_set_new(d->known, path, json_string(value));
    if (d->fd >= 0)
        sl_write_all(d->fd, line, strlen(line), NULL);
}
