/* Results kept across runs: keys, entries, the newest of each; see results.h. What goes over all
 * entries is in results_prune.c. */
#include "run/results.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/io.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/units.h"

#define SUM_DIGITS      16
#define ENTRY_MAX_BYTES (1u << 20)
#define MAX_BYTES       ((uint64_t)10 << 30)
#define MAX_AGE_S       (30.0 * 86400)
#define VALUE_MAX       60 /* bytes of a parameter's value in a message */
#define DIFFERENCES_MAX 3  /* named one by one */

char *sl_results_root(void) {
    sl_autofree char *cache = sl_cache_folder();
    return cache ? sl_path_join(cache, "results") : NULL;
}

uint64_t sl_results_max_bytes(void) {
    const char *text = getenv("SLUICE_CACHE_SIZE");
    uint64_t bytes;
    return text && sl_parse_size(text, &bytes) ? bytes : MAX_BYTES;
}

double sl_results_max_age_s(void) {
    const char *text = getenv("SLUICE_CACHE_AGE");
    double seconds;
    return text && sl_parse_duration(text, &seconds) ? seconds : MAX_AGE_S;
}

/* ---- Keys and paths -------------------------------------------------------------------------- */

void sl_results_key(const json_t *recipe, char ret_key[SL_RESULT_KEY_SIZE]) {
    char *text = json_dumps(recipe, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    XXH128_hash_t hash = XXH3_128bits(text ? text : "", text ? strlen(text) : 0);
    snprintf(ret_key, SL_RESULT_KEY_SIZE, "%016" PRIx64 "%016" PRIx64, (uint64_t)hash.high64,
             (uint64_t)hash.low64);
    free(text);
}

static bool is_key(const char *text) {
    return strlen(text) == SL_RESULT_KEY_SIZE - 1 &&
           strspn(text, "0123456789abcdef") == SL_RESULT_KEY_SIZE - 1;
}

static char *entry_path(const char *root, const char *key) {
    return sl_xasprintf("%s/%.2s/%s", root, key, key);
}

char *sl_result_path(const char *root, const char *key, const char *port) {
    return sl_xasprintf("%s/%.2s/%s.%s", root, key, key, port);
}

/* What people said is in there: for the user alone. */
static int make_private(const char *path, struct sl_err *err) {
    sl_autofree char *parent = sl_xstrdup(path);
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return 0;
    *strrchr(parent, '/') = 0;
    int rc = sl_make_dirs(parent, err);
    if (rc == 0 && mkdir(path, 0700) < 0 && errno != EEXIST)
        rc =
            sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s: folder cannot be made", path);
    return rc;
}

int sl_result_make_place(const char *root, const char *key, struct sl_err *err) {
    sl_autofree char *folder = sl_xasprintf("%s/%.2s", root, key);
    struct stat st;
    if (stat(folder, &st) == 0)
        return 0;
    int rc = make_private(root, err);
    return rc < 0 ? rc : make_private(folder, err);
}

/* ---- Entries --------------------------------------------------------------------------------- */

static bool is_output(const json_t *output) {
    const json_t *size = json_object_get(output, "size");
    return sl_is_identifier(sl_json_str(output, "port", "")) && json_is_integer(size) &&
           json_integer_value(size) >= 0 && strlen(sl_json_str(output, "xxh3", "")) == 16;
}

static bool is_entry(const json_t *entry) {
    const json_t *outputs = json_object_get(entry, "outputs");
    for (size_t i = 0; i < json_array_size(outputs); i++)
        if (!is_output(json_array_get(outputs, i)))
            return false;
    return json_is_object(json_object_get(entry, "recipe")) && json_is_array(outputs);
}

int sl_result_parse(const char *text, size_t len, json_t **ret, struct sl_err *err) {
    char sum[SUM_DIGITS + 1];
    sl_autojson json_t *entry = NULL;
    size_t body = SUM_DIGITS + 1;
    if (len < body + 3 || text[len - 1] != '\n' || text[SUM_DIGITS] != ' ')
        return sl_err_set(err, SLUICE_INPUT, "it is cut off");
    snprintf(sum, sizeof sum, "%016" PRIx64, (uint64_t)XXH3_64bits(text + body, len - body - 1));
    if (memcmp(sum, text, SUM_DIGITS) != 0)
        return sl_err_set(err, SLUICE_INPUT, "its checksum is wrong");
    int rc = sl_json_parse(text + body, len - body - 1, &entry, err);
    if (rc == 0 && !is_entry(entry))
        rc = sl_err_set(err, SLUICE_INPUT, "it is not the entry of a result");
    if (rc == 0)
        *ret = sl_steal(&entry);
    return rc;
}

char *sl_result_text(const json_t *entry) {
    sl_autofree char *body = sl_json_line(entry);
    return sl_xasprintf("%016" PRIx64 " %s\n", (uint64_t)XXH3_64bits(body, strlen(body)), body);
}

json_t *sl_result_find(const char *root, const char *key) {
    sl_autofree char *path = entry_path(root, key), *text = NULL;
    size_t len;
    json_t *entry = NULL;
    if (sl_read_file(path, ENTRY_MAX_BYTES, &text, &len, NULL) < 0)
        return NULL;
    if (sl_result_parse(text, len, &entry, NULL) < 0)
        sl_result_remove(root, key);
    return entry;
}

void sl_result_use(const char *root, const char *key) {
    sl_autofree char *path = entry_path(root, key);
    utimensat(AT_FDCWD, path, NULL, 0);
}

/* Others may write the same entry now: the name is of this process, the content is the same. */
static int write_whole(const char *path, const char *text, struct sl_err *err) {
    sl_autofree char *temp = sl_xasprintf("%s.tmp-%ld", path, (long)getpid());
    sl_autoclose int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int rc = fd < 0 ? sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s", temp)
                    : sl_write_all(fd, text, strlen(text), err);
    if (rc == 0 && rename(temp, path) < 0)
        rc = sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s", path);
    if (rc < 0)
        unlink(temp);
    return rc;
}

int sl_result_write(const char *root, const char *key, const json_t *entry, struct sl_err *err) {
    sl_autofree char *path = entry_path(root, key), *text = sl_result_text(entry);
    return write_whole(path, text, err);
}

void sl_result_remove(const char *root, const char *key) {
    sl_autofree char *path = entry_path(root, key), *text = NULL;
    sl_autojson json_t *entry = NULL;
    size_t len, i;
    json_t *output;
    if (sl_read_file(path, ENTRY_MAX_BYTES, &text, &len, NULL) == 0)
        sl_result_parse(text, len, &entry, NULL);
    unlink(path);
    json_array_foreach(json_object_get(entry, "outputs"), i, output) {
        sl_autofree char *data = sl_result_path(root, key, sl_json_str(output, "port", ""));
        unlink(data);
    }
}

/* ---- The newest ------------------------------------------------------------------------------ */

static char *last_path(const char *root, const char *trail) {
    uint64_t hash = XXH3_64bits(trail, strlen(trail));
    return sl_xasprintf("%s/last/%02x/%016" PRIx64, root, (unsigned)(hash >> 56), hash);
}

bool sl_result_last(const char *root, const char *trail, char ret_key[SL_RESULT_KEY_SIZE]) {
    sl_autofree char *path = last_path(root, trail);
    ssize_t n = readlink(path, ret_key, SL_RESULT_KEY_SIZE);
    if (n != SL_RESULT_KEY_SIZE - 1)
        return false;
    ret_key[n] = 0;
    return is_key(ret_key);
}

void sl_result_set_last(const char *root, const char *trail, const char *key) {
    char now[SL_RESULT_KEY_SIZE];
    if (sl_result_last(root, trail, now) && strcmp(now, key) == 0)
        return;
    sl_autofree char *path = last_path(root, trail), *folder = sl_xstrdup(path),
                     *temp = sl_xasprintf("%s.tmp-%ld", path, (long)getpid());
    *strrchr(folder, '/') = 0;
    unlink(temp);
    if (symlink(key, temp) < 0 &&
        (errno != ENOENT || make_private(folder, NULL) < 0 || symlink(key, temp) < 0))
        return;
    if (rename(temp, path) < 0)
        unlink(temp);
}

/* ---- Differences ----------------------------------------------------------------------------- */

static char *value_text(const json_t *value) {
    if (!value)
        return sl_xstrdup("not given");
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
    if (text && strlen(text) > VALUE_MAX)
        strcpy(text + VALUE_MAX - 3, "...");
    return text ? sl_make_printable(text) : sl_xstrdup("?");
}

static bool equal(const json_t *a, const json_t *b) {
    return a == b || (a && b && json_equal((json_t *)a, (json_t *)b));
}

static void add_param(struct sl_str *out, const char *name, const json_t *before, const json_t *now,
                      int *n) {
    if (equal(before, now) || ++*n > DIFFERENCES_MAX)
        return;
    sl_autofree char *was = value_text(before), *is = value_text(now);
    sl_str_addf(out, "%sparameter %s was %s, is %s", *n > 1 ? "; " : "", name, was, is);
}

static void compare_params(struct sl_str *out, const json_t *before, const json_t *now, int *n) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)now, name, value)
        add_param(out, name, json_object_get(before, name), value, n);
    json_object_foreach((json_t *)before, name, value) if (!json_object_get(now, name))
        add_param(out, name, value, NULL, n);
}

/* Members that are other ones now; "input audio", "the content of /m/x.bin". */
static void compare_members(struct sl_str *out, const char *what, const json_t *before,
                            const json_t *now, int *n) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)now, name,
                        value) if (!equal(json_object_get(before, name), value) &&
                                   ++*n <= DIFFERENCES_MAX)
        sl_str_addf(out, "%s%s%s is another one", *n > 1 ? "; " : "", what, name);
    json_object_foreach((json_t *)before, name,
                        value) if (!json_object_get(now, name) && ++*n <= DIFFERENCES_MAX)
        sl_str_addf(out, "%s%s%s is not there any more", *n > 1 ? "; " : "", what, name);
}

char *sl_recipe_difference(const json_t *before, const json_t *now) {
    static const struct {
        const char *key, *text;
    } plain[] = {{"use", "it is another stage"},
                 {"version", "the stage is of another version"},
                 {"build", "its plugin was rebuilt"},
                 {"device", "it runs on another kind of device"},
                 {"env", "SLUICE_CPU is another one"}};
    struct sl_str out = {0};
    int n = 0;
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (!equal(json_object_get(before, plain[i].key), json_object_get(now, plain[i].key)) &&
            ++n <= DIFFERENCES_MAX)
            sl_str_addf(&out, "%s%s", n > 1 ? "; " : "", plain[i].text);
    compare_params(&out, json_object_get(before, "params"), json_object_get(now, "params"), &n);
    compare_members(&out, "the content of ", json_object_get(before, "files"),
                    json_object_get(now, "files"), &n);
    compare_members(&out, "input ", json_object_get(before, "inputs"),
                    json_object_get(now, "inputs"), &n);
    if (n > DIFFERENCES_MAX)
        sl_str_addf(&out, "; and %d more", n - DIFFERENCES_MAX);
    return out.data;
}
