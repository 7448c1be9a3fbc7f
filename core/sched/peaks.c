/*
 * Measured needs, see peaks.h. The file is a convenience: without it declared needs count, so
 * damage is dropped and a file that cannot be written is a warning. Several cores may end at the
 * same moment: each reads the file again under a lock and replaces only what it noted itself.
 */
#include "sched/peaks.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"
#include "run/rundir.h"

#define FORMAT     "peaks/1"
#define MAX_BYTES  (4u << 20)
#define MAX_KEY    500
#define NEWS_SHARE 16 /* a peak that differs by less is not worth a write to the disk */
#define MAX_SIZE_B ((json_int_t)1 << 50) /* bytes; more is no measurement */

static const char *const KINDS[] = {"memory", "gpu_memory"};

/* ---- The file's text ------------------------------------------------------------------------- */

/* The last sizes of an array that are sizes. */
static json_t *sizes_of(const json_t *list) {
    size_t n = json_array_size(list), first = n > SL_PEAKS_KEPT ? n - SL_PEAKS_KEPT : 0;
    json_t *good = json_array();
    for (size_t i = first; i < n; i++) {
        json_int_t size = json_integer_value(json_array_get(list, i));
        if (size > 0 && size < MAX_SIZE_B)
            json_array_append_new(good, json_integer(size));
    }
    return good;
}

static json_t *entry_of(const json_t *o) {
    json_t *e = json_object();
    for (size_t i = 0; i < 2; i++)
        sl_json_set(e, KINDS[i], sizes_of(json_object_get(o, KINDS[i])));
    sl_json_set(e, "last", sl_json_text(sl_json_str(o, "last", "")));
    return e;
}

void sl_peaks_parse(const char *text, size_t len, struct sl_peaks *ret) {
    sl_autojson json_t *root = NULL;
    const char *key;
    json_t *value;
    *ret = (struct sl_peaks){.stages = json_object(), .changed = json_object()};
    if (sl_json_parse(text, len, &root, NULL) < 0 ||
        strcmp(sl_json_str(root, "sluice", ""), FORMAT) != 0)
        return;
    json_object_foreach(json_object_get(root, "stages"), key, value) {
        if (json_is_object(value) && strlen(key) <= MAX_KEY)
            sl_json_set(ret->stages, key, entry_of(value));
    }
}

char *sl_peaks_text(const struct sl_peaks *p) {
    sl_autojson json_t *root = json_object();
    sl_json_set(root, "sluice", json_string(FORMAT));
    sl_json_set(root, "stages", json_incref(p->stages));
    return sl_json_line(root);
}

void sl_peaks_finish(struct sl_peaks *p) {
    json_decref(p->stages);
    json_decref(p->changed);
    *p = (struct sl_peaks){0};
}

/* ---- Entries --------------------------------------------------------------------------------- */

char *sl_peaks_key(const char *use, const char *params, const char *device) {
    return sl_xasprintf("%s|%016llx|%s", use,
                        (unsigned long long)XXH3_64bits(params, strlen(params)), device);
}

static uint64_t largest(const json_t *list) {
    json_int_t most = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_int_t size = json_integer_value(json_array_get(list, i));
        most = size > most ? size : most;
    }
    return (uint64_t)most;
}

struct sl_peak sl_peaks_get(const struct sl_peaks *p, const char *key) {
    const json_t *e = json_object_get(p->stages, key);
    return (struct sl_peak){largest(json_object_get(e, KINDS[0])),
                            largest(json_object_get(e, KINDS[1]))};
}

/* True: it says something new, which is worth writing down. */
static bool note_size(json_t *e, const char *kind, uint64_t size, bool whole) {
    json_t *list = json_object_get(e, kind);
    uint64_t known = largest(list);
    if (size == 0 || size >= (uint64_t)MAX_SIZE_B || (!whole && size <= known))
        return false;
    if (!list)
        sl_json_set(e, kind, list = json_array());
    json_array_append_new(list, json_integer((json_int_t)size));
    if (json_array_size(list) > SL_PEAKS_KEPT)
        json_array_remove(list, 0);
    return size > known + known / NEWS_SHARE || size < known - known / NEWS_SHARE;
}

void sl_peaks_note(struct sl_peaks *p, const char *key, struct sl_peak peak, bool whole) {
    char time[SL_TIME_SIZE];
    json_t *e = json_object_get(p->stages, key);
    if (strlen(key) > MAX_KEY || (peak.memory == 0 && peak.gpu_memory == 0))
        return;
    if (!e)
        sl_json_set(p->stages, key, e = json_object());
    bool news = note_size(e, KINDS[0], peak.memory, whole);
    news |= note_size(e, KINDS[1], peak.gpu_memory, whole);
    sl_json_set(e, "last", json_string(sl_format_time(sl_wall_s(), time)));
    if (news)
        sl_json_set(p->changed, key, json_true());
}

/* ---- The file -------------------------------------------------------------------------------- */

/* Beside the folder of runs; owned. */
static char *file_path(const char *name) {
    sl_autofree char *runs = sl_runs_root();
    *strrchr(runs, '/') = 0;
    return sl_path_join(runs, name);
}

static void load(const char *path, struct sl_peaks *ret) {
    sl_autofree char *text = NULL;
    size_t len = 0;
    if (sl_read_file(path, MAX_BYTES, &text, &len, NULL) < 0)
        len = 0;
    sl_peaks_parse(text ? text : "", len, ret);
}

void sl_peaks_load(struct sl_peaks *ret) {
    sl_autofree char *path = file_path("peaks.json");
    load(path, ret);
}

/* Forgets the entry that was not used for the longest time. */
static void forget_oldest(json_t *stages) {
    const char *key, *oldest = NULL, *when = NULL;
    json_t *e;
    json_object_foreach(stages, key, e) {
        const char *last = sl_json_str(e, "last", "");
        if (!oldest || strcmp(last, when) < 0) {
            oldest = key;
            when = last;
        }
    }
    json_object_del(stages, oldest);
}

int sl_peaks_save(const struct sl_peaks *p, struct sl_err *err) {
    sl_autofree char *path = file_path("peaks.json"), *lock_path = file_path("peaks.lock"),
                     *text = NULL;
    sl_autoclose int lock = -1;
    struct sl_peaks now;
    const char *key;
    json_t *value;
    if (json_object_size(p->changed) == 0)
        return 0;
    lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock >= 0)
        flock(lock, LOCK_EX);
    load(path, &now);
    json_object_foreach(p->changed, key, value)
        json_object_set(now.stages, key, json_object_get(p->stages, key));
    while (json_object_size(now.stages) > SL_PEAKS_MAX_STAGES)
        forget_oldest(now.stages);
    text = sl_peaks_text(&now);
    sl_peaks_finish(&now);
    return sl_write_file(path, text, strlen(text), err);
}
