/* The journal: checksummed JSON lines, see journal.h. */
#include "run/journal.h"

#include <errno.h>
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

#define SUM_DIGITS 16
#define READ_CHUNK (64u << 10)

int sl_journal_create(const char *path, struct sl_journal *ret, struct sl_err *err) {
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0)
        return sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s: cannot be opened", path);
    *ret = (struct sl_journal){.fd = fd};
    return 0;
}

int sl_journal_reopen(const char *path, uint64_t good, struct sl_journal *ret, struct sl_err *err) {
    int rc = sl_journal_create(path, ret, err);
    if (rc == 0 && ftruncate(ret->fd, (off_t)good) < 0) {
        rc = sl_err_sys(err, sl_err_class_of_errno(errno), errno,
                        "%s: its torn end cannot be cut off", path);
        sl_close(&ret->fd);
    }
    return rc;
}

void sl_journal_add(struct sl_journal *j, json_t *record) {
    char when[SL_TIME_SIZE];
    json_object_set_new(record, "time", json_string(sl_format_time(sl_wall_s(), when)));
    sl_autofree char *text = sl_json_line(record);
    sl_str_addf(&j->pending, "%016" PRIx64 " %s\n", (uint64_t)XXH3_64bits(text, strlen(text)),
                text);
    json_decref(record);
}

static int sync_now(struct sl_journal *j, struct sl_err *err) {
    j->unsynced_ms = 0;
    if (fdatasync(j->fd) < 0 && errno != EINVAL && errno != EROFS)
        return sl_err_sys(err, sl_err_class_of_errno(errno), errno,
                          "the run's journal cannot be synced");
    return 0;
}

int sl_journal_write(struct sl_journal *j, struct sl_err *err) {
    if (j->pending.len) {
        int rc = sl_write_all(j->fd, j->pending.data, j->pending.len, err);
        if (rc < 0)
            return sl_err_wrap(err, "the run's journal");
        sl_str_clear(&j->pending);
        if (!j->unsynced_ms)
            j->unsynced_ms = sl_now_ms();
    }
    return 0;
}

int sl_journal_due_ms(const struct sl_journal *j) {
    if (!j->unsynced_ms)
        return -1;
    int64_t left = j->unsynced_ms + SL_JOURNAL_SYNC_MS - sl_now_ms();
    return left > 0 ? (int)left : 0;
}

int sl_journal_close(struct sl_journal *j, struct sl_err *err) {
    int rc = sl_journal_write(j, err);
    if (rc == 0 && j->unsynced_ms)
        rc = sync_now(j, err);
    sl_close(&j->fd);
    sl_str_finish(&j->pending);
    return rc;
}

/* Who reads. */
struct reader {
    sl_journal_wants *wants; /* NULL: everything */
    void (*each)(void *ctx, const json_t *record);
    void *ctx;
};

/* Takes "<sum> <json>", one line without its newline; false: damaged. */
static bool read_line(const struct reader *r, const char *line, size_t len) {
    char digits[SUM_DIGITS + 1] = {0}, *end;
    struct sl_err err;
    json_t *record = NULL;
    if (len < SUM_DIGITS + 3 || line[SUM_DIGITS] != ' ')
        return false;
    memcpy(digits, line, SUM_DIGITS);
    uint64_t sum = strtoull(digits, &end, 16);
    const char *text = line + SUM_DIGITS + 1;
    size_t text_len = len - SUM_DIGITS - 1;
    if (*end || sum != (uint64_t)XXH3_64bits(text, text_len))
        return false;
    if (r->wants && !r->wants(r->ctx, text, text_len))
        return true;
    if (sl_json_parse(text, text_len, &record, &err) < 0)
        return false;
    bool good = json_is_object(record);
    if (good)
        r->each(r->ctx, record);
    json_decref(record);
    return good;
}

static int read_span(const struct reader *r, const char *text, size_t len, size_t *ret_good) {
    size_t at = 0;
    int n = 0;
    while (at < len) {
        const char *newline = memchr(text + at, '\n', len - at);
        if (!newline || !read_line(r, text + at, (size_t)(newline - text) - at))
            break;
        at = (size_t)(newline - text) + 1;
        n++;
    }
    *ret_good = at;
    return n;
}

int sl_journal_read(const char *text, size_t len, void (*each)(void *ctx, const json_t *record),
                    void *ctx, size_t *ret_good) {
    return read_span(&(struct reader){NULL, each, ctx}, text, len, ret_good);
}

int sl_journal_read_file(const char *path, void (*each)(void *ctx, const json_t *record), void *ctx,
                         uint64_t *ret_good, struct sl_err *err) {
    return sl_journal_scan_file(path, NULL, each, ctx, ret_good, err);
}

int sl_journal_scan_file(const char *path, sl_journal_wants *wants,
                         void (*each)(void *ctx, const json_t *record), void *ctx,
                         uint64_t *ret_good, struct sl_err *err) {
    const struct reader reader = {wants, each, ctx};
    uint64_t all = 0;
    sl_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s: cannot be opened", path);
    sl_autofree char *chunk = sl_xmalloc(READ_CHUNK);
    sl_autostr struct sl_str text = {0};
    for (ssize_t n; (n = read(fd, chunk, READ_CHUNK)) != 0;) {
        size_t good;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s: cannot be read", path);
        sl_str_addn(&text, chunk, (size_t)n);
        if (!memchr(chunk, '\n', (size_t)n))
            continue;
        read_span(&reader, text.data, text.len, &good);
        all += good;
        if (memchr(text.data + good, '\n', text.len - good))
            break;
        memmove(text.data, text.data + good, text.len - good);
        text.len -= good;
    }
    if (ret_good)
        *ret_good = all;
    return 0;
}

/* ---- By their texts -------------------------------------------------------------------------- */

static bool begins_with(const char *text, size_t len, const char *begin) {
    size_t n = strlen(begin);
    return len > n && memcmp(text, begin, n) == 0;
}

bool sl_journal_item(const char *text, size_t len, char ret_name[SL_JOURNAL_NAME_BYTES]) {
    static const char head[] = "{\"type\":\"", joint[] = "\",\"item\":\"";
    if (!begins_with(text, len, head))
        return false;
    const char *at = memchr(text + strlen(head), '"', len - strlen(head));
    if (!at || !begins_with(at, len - (size_t)(at - text), joint))
        return false;
    at += strlen(joint);
    const char *end = memchr(at, '"', len - (size_t)(at - text));
    if (!end || end - at >= SL_JOURNAL_NAME_BYTES || memchr(at, '\\', (size_t)(end - at)))
        return false;
    memcpy(ret_name, at, (size_t)(end - at));
    ret_name[end - at] = 0;
    return true;
}
