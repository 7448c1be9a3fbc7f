/*
 * HTTP on libcurl: see http.h.
 *
 * A download asks for the bytes behind those that are there. A server that answers with the whole
 * file (200) makes it begin anew; one that sends another part than asked for, or more than the
 * file's size, is refused. Redirects from an https endpoint stay https.
 */
#include "fetch/http.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <curl/curl.h>

#include <sluice/version.h>

#include "base/mem.h"

#define CONNECT_TIMEOUT_S 30
#define MAX_REDIRECTS     10

struct sl_http {
    CURL *curl;
    struct sl_http_options o;
};

/* One transfer. */
struct transfer {
    struct sl_http *http;
    struct sl_str *text; /* either a text ... */
    size_t limit;
    struct sl_http_file *file; /* ... or a file */
    /* first byte of the answer, by its Content-Range; UINT64_MAX: none said */
    uint64_t range_begin;
    bool begun;
    int status; /* why a callback stopped, with its sentence in *err */
    struct sl_err *err;
    const char *what;
};

bool sl_http_interrupted(const struct sl_http *http, int wait_ms) {
    struct pollfd p = {.fd = http->o.signals, .events = POLLIN};
    return poll(&p, 1, wait_ms) > 0;
}

/* ---- Callbacks of libcurl -------------------------------------------------------------------- */

static size_t refuse(struct transfer *t, int cls) {
    t->status = cls;
    return 0;
}

static size_t on_text(struct transfer *t, const char *data, size_t n) {
    if (t->text->len + n > t->limit) {
        sl_err_set(t->err, SLUICE_INPUT, "%s is larger than %zu bytes", t->what, t->limit);
        return refuse(t, SLUICE_INPUT);
    }
    sl_str_addn(t->text, data, n);
    return n;
}

/* Decides by the answer's status where its body goes. */
static int begin_body(struct transfer *t) {
    struct sl_http_file *f = t->file;
    long code = 0;
    curl_easy_getinfo(t->http->curl, CURLINFO_RESPONSE_CODE, &code);
    t->begun = true;
    if (code == 206 && t->range_begin == f->have)
        return 0;
    if (code == 206)
        return sl_err_set(t->err, SLUICE_TRANSIENT,
                          "%s: the server sent another part than it was asked for", t->what);
    f->have = 0;
    if (ftruncate(f->fd, 0) < 0 || lseek(f->fd, 0, SEEK_SET) < 0)
        return sl_err_sys(t->err, SLUICE_INTERNAL, errno, "%s", t->what);
    return 0;
}

static size_t on_file(struct transfer *t, const char *data, size_t n) {
    struct sl_http_file *f = t->file;
    if (!t->begun && begin_body(t) < 0)
        return refuse(t, t->err->cls);
    if (n > f->size - f->have) {
        sl_err_set(t->err, SLUICE_INPUT,
                   "%s: the server sends more than the %" PRIu64 " bytes that it announced",
                   t->what, f->size);
        return refuse(t, SLUICE_INPUT);
    }
    for (size_t done = 0; done < n;) {
        ssize_t wrote = write(f->fd, data + done, n - done);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0) {
            sl_err_sys(t->err, sl_err_class_of_errno(errno), errno, "%s cannot be written",
                       t->what);
            return refuse(t, t->err->cls);
        }
        done += (size_t)wrote;
        f->have += (uint64_t)wrote;
    }
    return n;
}

static size_t on_body(char *data, size_t size, size_t n, void *ctx) {
    struct transfer *t = ctx;
    return t->text ? on_text(t, data, size * n) : on_file(t, data, size * n);
}

/* `x-linked-etag: "<sha256>"` of the hub, also before a redirect. */
static void read_etag(struct sl_http_file *f, const char *value) {
    char hex[66] = "";
    const char *quote = strchr(value, '"');
    if (quote && sscanf(quote + 1, "%65[0-9a-fA-F]", hex) == 1 && strlen(hex) == 64)
        memcpy(f->sha256, hex, 65);
}

static size_t on_header(char *data, size_t size, size_t n, void *ctx) {
    struct transfer *t = ctx;
    char line[512];
    snprintf(line, sizeof line, "%.*s", (int)(size * n < sizeof line ? size * n : sizeof line - 1),
             data);
    if (t->file && strncasecmp(line, "x-linked-etag:", 14) == 0)
        read_etag(t->file, line);
    if (strncasecmp(line, "content-range: bytes ", 21) == 0 &&
        sscanf(line + 21, "%" SCNu64, &t->range_begin) != 1)
        t->range_begin = UINT64_MAX;
    return size * n;
}

static int on_progress(void *ctx, curl_off_t dl_total, curl_off_t dl, curl_off_t ul_total,
                       curl_off_t ul) {
    struct transfer *t = ctx;
    (void)dl_total, (void)dl, (void)ul_total, (void)ul;
    if (t->file && t->file->progress)
        t->file->progress(t->file->ctx, t->file->have);
    return sl_http_interrupted(t->http, 0);
}

/* ---- Transfers ------------------------------------------------------------------------------- */

static void set_up(struct transfer *t, const char *url) {
    CURL *c = t->http->curl;
    const struct sl_http_options *o = &t->http->o;
    const char *after_redirect = strncmp(o->endpoint, "https:", 6) == 0 ? "https" : "http,https";
    curl_easy_reset(c);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "sluice/" SLUICE_VERSION);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, after_redirect);
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)MAX_REDIRECTS);
    curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT,
                     (long)(o->timeout_s < CONNECT_TIMEOUT_S ? o->timeout_s : CONNECT_TIMEOUT_S));
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)o->timeout_s);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, t);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    if (o->token) {
        curl_easy_setopt(c, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        curl_easy_setopt(c, CURLOPT_XOAUTH2_BEARER, o->token);
    }
}

static int refused(const struct transfer *t, long code) {
    const char *endpoint = t->http->o.endpoint;
    switch (code) {
    case 401:
    case 403:
        return sl_err_set(
            t->err, SLUICE_INPUT,
            "%s: %s refuses it (%ld): it does not exist, or HF_TOKEN must hold a token "
            "that may read it",
            t->what, endpoint, code);
    case 404:
        return sl_err_set(t->err, SLUICE_INPUT, "%s: %s has no such model, revision or file (404)",
                          t->what, endpoint);
    default:
        return sl_err_set(t->err, code == 429 || code >= 500 ? SLUICE_TRANSIENT : SLUICE_INPUT,
                          "%s: %s answered with status %ld", t->what, endpoint, code);
    }
}

static int explain(const struct transfer *t, CURLcode code, const char *details) {
    long status = 0;
    if (t->status)
        return t->status;
    switch (code) {
    case CURLE_ABORTED_BY_CALLBACK:
        return sl_err_set(t->err, SLUICE_CANCELLED, "%s: interrupted", t->what);
    case CURLE_HTTP_RETURNED_ERROR:
        curl_easy_getinfo(t->http->curl, CURLINFO_RESPONSE_CODE, &status);
        return refused(t, status);
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return sl_err_set(t->err, SL_USAGE, "the endpoint \"%s\" is not an http or https URL",
                          t->http->o.endpoint);
    case CURLE_TOO_MANY_REDIRECTS:
        return sl_err_set(t->err, SLUICE_INPUT, "%s: %s redirects without end", t->what,
                          t->http->o.endpoint);
    default:
        return sl_err_set(t->err, SLUICE_TRANSIENT, "%s: %s", t->what,
                          *details ? details : curl_easy_strerror(code));
    }
}

static int perform(struct transfer *t, const char *path) {
    sl_autofree char *url = sl_xasprintf("%s%s", t->http->o.endpoint, path), *range = NULL;
    char details[CURL_ERROR_SIZE] = "";
    set_up(t, url);
    curl_easy_setopt(t->http->curl, CURLOPT_ERRORBUFFER, details);
    if (t->file && t->file->have > 0) {
        range = sl_xasprintf("%" PRIu64 "-", t->file->have);
        curl_easy_setopt(t->http->curl, CURLOPT_RANGE, range);
    }
    CURLcode code = curl_easy_perform(t->http->curl);
    int rc = code == CURLE_OK ? 0 : explain(t, code, details);
    curl_easy_setopt(t->http->curl, CURLOPT_ERRORBUFFER, NULL);
    return rc;
}

int sl_http_text(struct sl_http *http, const char *path, const char *what, size_t limit,
                 struct sl_str *ret, struct sl_err *err) {
    struct transfer t = {.http = http, .text = ret, .limit = limit, .err = err, .what = what};
    return perform(&t, path);
}

int sl_http_download(struct sl_http *http, const char *path, const char *what,
                     struct sl_http_file *file, struct sl_err *err) {
    struct transfer t = {
        .http = http, .file = file, .range_begin = UINT64_MAX, .err = err, .what = what};
    off_t end = lseek(file->fd, 0, SEEK_END);
    if (end < 0)
        return sl_err_sys(err, SLUICE_INTERNAL, errno, "%s", what);
    file->have = (uint64_t)end;
    if (file->size != UINT64_MAX && file->have > file->size) {
        file->have = 0;
        if (ftruncate(file->fd, 0) < 0 || lseek(file->fd, 0, SEEK_SET) < 0)
            return sl_err_sys(err, SLUICE_INTERNAL, errno, "%s", what);
    }
    if (file->have == file->size)
        return 0;
    int rc = perform(&t, path);
    if (rc == 0 && !t.begun && file->size != 0 && file->size != UINT64_MAX)
        rc = sl_err_set(err, SLUICE_TRANSIENT, "%s: the server sent nothing", what);
    if (rc == 0 && file->size != UINT64_MAX && file->have < file->size)
        rc = sl_err_set(err, SLUICE_TRANSIENT,
                        "%s: the server sent %" PRIu64 " of %" PRIu64 " bytes", what, file->have,
                        file->size);
    return rc;
}

struct sl_http *sl_http_create(const struct sl_http_options *options) {
    CURL *curl = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? curl_easy_init() : NULL;
    if (!curl)
        return NULL;
    struct sl_http *http = sl_xcalloc(1, sizeof *http);
    http->curl = curl;
    http->o = *options;
    return http;
}

void sl_http_destroy(struct sl_http *http) {
    if (!http)
        return;
    curl_easy_cleanup(http->curl);
    curl_global_cleanup();
    free(http);
}
