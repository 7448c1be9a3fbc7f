/* A watched folder, see inbox.h. Files that are not settled yet are candidates; they are looked at
 * four times a second. */
#include "sched/inbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"
#include "run/gather.h"

#define TICK_S 0.25
#define EVENTS                                                                                     \
    (IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_MODIFY | IN_DELETE_SELF | IN_MOVE_SELF)
#define EVENT_BYTES (64u << 10)

struct candidate {
    char *name; /* owned */
    off_t size;
    struct timespec changed;
    int64_t since_ms; /* it has been like this */
    bool closed;      /* it was seen to be closed, or moved in */
    bool settled;
};

struct sl_inbox {
    struct sl_inbox_spec spec;
    struct sl_watch watch;
    struct sl_timer tick, rescan;
    struct candidate *candidates;
    int n, cap;
    json_t *names; /* told, or candidates */
    bool open;
};

/* ---- Candidates ------------------------------------------------------------------------------ */

static struct candidate *find(struct sl_inbox *in, const char *name) {
    for (int i = in->n - 1; i >= 0; i--)
        if (strcmp(in->candidates[i].name, name) == 0)
            return &in->candidates[i];
    return NULL;
}

/* Notes a file; one that was told already is left alone. */
static void note(struct sl_inbox *in, const char *name, bool closed) {
    if (!sl_gather_wants(name, in->spec.type))
        return;
    const json_t *known = json_object_get(in->names, name);
    if (json_is_true(known))
        return;
    if (!known) {
        SL_PUSH_ROOM(in->candidates, in->n, in->cap);
        in->candidates[in->n++] = (struct candidate){.name = sl_xstrdup(name), .size = -1};
        json_object_set_new_nocheck(in->names, name, json_false());
        if (!in->tick.at_ms)
            sl_timer_set(in->spec.loop, &in->tick, TICK_S);
    }
    if (closed)
        find(in, name)->closed = true;
}

/* Whether somebody has the file open for writing: a read lease is refused then. False where the
 * kernel does not say. */
static bool is_written(const char *path) {
    sl_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0)
        return false;
    if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
        fcntl(fd, F_SETLEASE, F_UNLCK);
        return false;
    }
    return errno == EAGAIN;
}

/* False: it is gone, or no file. */
static bool look(struct sl_inbox *in, struct candidate *c) {
    sl_autofree char *path = sl_path_join(in->spec.folder, c->name);
    int64_t now = sl_now_ms();
    struct stat st;
    if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_size == 0 && c->closed))
        return false;
    if (st.st_size != c->size || memcmp(&st.st_mtim, &c->changed, sizeof c->changed) != 0) {
        c->size = st.st_size;
        c->changed = st.st_mtim;
        c->since_ms = now;
        return true;
    }
    double quiet_s = (double)(now - c->since_ms) / 1000;
    if (st.st_size > 0 && quiet_s >= (c->closed ? SL_INBOX_CLOSED_S : SL_INBOX_SETTLE_S))
        c->settled = !is_written(path);
    return true;
}

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void tell(struct sl_inbox *in, const char **paths, int n) {
    qsort(paths, (size_t)n, sizeof *paths, by_bytes);
    in->spec.settled(in->spec.ctx, paths, n);
}

/* Looks at all candidates and tells those that are settled. */
static void look_at_all(struct sl_inbox *in) {
    sl_autofree const char **paths = sl_xcalloc((size_t)in->n, sizeof *paths);
    int kept = 0, n = 0;
    for (int i = 0; i < in->n; i++) {
        struct candidate c = in->candidates[i];
        bool there = look(in, &c);
        if (there && !c.settled) {
            in->candidates[kept++] = c;
            continue;
        }
        if (there) {
            json_object_set_new_nocheck(in->names, c.name, json_true());
            paths[n++] = sl_path_join(in->spec.folder, c.name);
        } else {
            json_object_del(in->names, c.name);
        }
        free(c.name);
    }
    in->n = kept;
    if (n > 0)
        tell(in, paths, n);
    for (int i = 0; i < n; i++)
        free((char *)paths[i]);
}

static void on_tick(struct sl_timer *t) {
    struct sl_inbox *in = t->ctx;
    look_at_all(in);
    if (in->open && in->n > 0)
        sl_timer_set(in->spec.loop, &in->tick, TICK_S);
}

/* ---- The folder ------------------------------------------------------------------------------ */

static void lose(struct sl_inbox *in, const char *why) {
    if (!in->open)
        return;
    sl_inbox_close(in);
    in->spec.lost(in->spec.ctx, why);
}

static void scan(struct sl_inbox *in) {
    DIR *dir = opendir(in->spec.folder);
    if (!dir) {
        lose(in, "the watched folder cannot be read any more");
        return;
    }
    for (struct dirent *e; (e = readdir(dir));)
        if (e->d_type != DT_DIR)
            note(in, e->d_name, false);
    closedir(dir);
}

static void on_rescan(struct sl_timer *t) {
    struct sl_inbox *in = t->ctx;
    scan(in);
    if (in->open)
        sl_timer_set(in->spec.loop, &in->rescan, SL_INBOX_RESCAN_S);
}

void sl_inbox_event(struct sl_inbox *in, unsigned mask, const char *name) {
    if (mask & IN_Q_OVERFLOW) {
        sl_log(in->spec.log, SLUICE_LOG_INFO,
               "%s: more happened than the kernel could tell; the folder is looked through",
               in->spec.folder);
        scan(in);
    } else if (mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED)) {
        lose(in, "the watched folder is gone");
    } else if (!(mask & IN_ISDIR) && *name) {
        note(in, name, mask & (IN_CLOSE_WRITE | IN_MOVED_TO));
    }
}

static void on_events(struct sl_watch *w) {
    struct sl_inbox *in = w->ctx;
    sl_autofree char *buf = sl_xmalloc(EVENT_BYTES);
    ssize_t n = read(w->fd, buf, EVENT_BYTES);
    for (ssize_t at = 0; in->open && at < n;) {
        struct inotify_event e;
        memcpy(&e, buf + at, sizeof e);
        sl_inbox_event(in, e.mask, e.len ? buf + at + sizeof e : "");
        at += (ssize_t)(sizeof e + e.len);
    }
}

/* ---- Its life -------------------------------------------------------------------------------- */

static int start_watching(struct sl_inbox *in, struct sl_err *err) {
    const char *folder = in->spec.folder;
    in->watch.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (in->watch.fd < 0 || inotify_add_watch(in->watch.fd, folder, EVENTS | IN_ONLYDIR) < 0) {
        int error = errno;
        sl_close(&in->watch.fd);
        return sl_err_sys(err, SL_USAGE, error, "%s: cannot be watched%s", folder,
                          error == ENOSPC || error == EMFILE
                              ? " (raise fs.inotify.max_user_watches or max_user_instances)"
                              : "");
    }
    return sl_watch_start(in->spec.loop, &in->watch, err);
}

int sl_inbox_create(const struct sl_inbox_spec *spec, struct sl_inbox **ret, struct sl_err *err) {
    struct sl_inbox *in = sl_xcalloc(1, sizeof *in);
    in->spec = *spec;
    in->names = json_object();
    in->open = true;
    in->watch = (struct sl_watch){.fd = -1, .ready = on_events, .ctx = in};
    in->tick = (struct sl_timer){.fire = on_tick, .ctx = in};
    in->rescan = (struct sl_timer){.fire = on_rescan, .ctx = in};
    int rc = start_watching(in, err);
    if (rc < 0) {
        sl_inbox_destroy(in);
        return rc;
    }
    on_rescan(&in->rescan);
    *ret = in;
    return 0;
}

void sl_inbox_close(struct sl_inbox *in) {
    int fd = in->watch.fd;
    in->open = false;
    sl_timer_stop(in->spec.loop, &in->tick);
    sl_timer_stop(in->spec.loop, &in->rescan);
    sl_watch_stop(in->spec.loop, &in->watch);
    sl_close(&fd);
}

bool sl_inbox_is_open(const struct sl_inbox *in) {
    return in && in->open;
}

void sl_inbox_destroy(struct sl_inbox *in) {
    if (!in)
        return;
    sl_inbox_close(in);
    for (int i = 0; i < in->n; i++)
        free(in->candidates[i].name);
    free(in->candidates);
    json_decref(in->names);
    free(in);
}
