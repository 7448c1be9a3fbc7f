/* URL and key of a server: see endpoint.h. URLs are read by libcurl, which is who uses them. */
#include "llm/http/endpoint.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMPLETIONS "/chat/completions"
#define LEAST_PART  4 /* bytes of a key that are too many to be shown */

/* ---- URL ------------------------------------------------------------------------------------ */

static bool is_loopback(const char *host) {
    size_t len = strlen(host);
    struct in_addr v4;
    static const char local[] = "localhost";
    return strcasecmp(host, local) == 0 ||
           (inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127) ||
           strcmp(host, "[::1]") == 0 || strcmp(host, "::1") == 0 ||
           (len > sizeof local && strcasecmp(host + len - sizeof local, ".localhost") == 0);
}

/* BASE/chat/completions, unless it is that already. */
static int set_path(CURLU *u) {
    char *path = NULL, whole[2048];
    if (curl_url_get(u, CURLUPART_PATH, &path, 0))
        return -1;
    size_t len = strlen(path);
    while (len && path[len - 1] == '/')
        len--;
    size_t tail = strlen(COMPLETIONS);
    bool has = len >= tail && memcmp(path + len - tail, COMPLETIONS, tail) == 0;
    int n = snprintf(whole, sizeof whole, "%.*s%s", (int)(len < 1900 ? len : 1900),
                     len ? path : "/v1", has ? "" : COMPLETIONS);
    if (len == 0)
        n = snprintf(whole, sizeof whole, "/v1" COMPLETIONS);
    curl_free(path);
    return len < 1900 && n > 0 ? (int)curl_url_set(u, CURLUPART_PATH, whole, 0) : -1;
}

static char *origin_of(CURLU *u, const char *scheme, const char *host) {
    char *port = NULL, *origin = NULL;
    bool has = curl_url_get(u, CURLUPART_PORT, &port, 0) == CURLUE_OK;
    if (asprintf(&origin, "%s://%.200s%s%s", scheme, host, has ? ":" : "", has ? port : "") < 0)
        origin = NULL;
    curl_free(port);
    return origin;
}

static int32_t refuse(const char *what, struct num_err *err) {
    return num_fail(err, SLUICE_INPUT, "endpoint: %s, such as http://localhost:8080/v1", what);
}

static int32_t parse(CURLU *u, const char *url, struct lm_endpoint *e, struct num_err *err) {
    char *scheme = NULL, *host = NULL, *secret = NULL, *whole = NULL;
    int32_t status = SLUICE_OK;
    if (curl_url_set(u, CURLUPART_URL, url, 0) || curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) ||
        curl_url_get(u, CURLUPART_HOST, &host, 0) || !*host)
        status = refuse("expected the URL of a server's API", err);
    else if (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)
        status = refuse("expected a URL that begins with http:// or https://", err);
    else if (curl_url_get(u, CURLUPART_USER, &secret, 0) == CURLUE_OK ||
             curl_url_get(u, CURLUPART_PASSWORD, &secret, 0) == CURLUE_OK)
        status =
            refuse("expected a URL without a user and password; a key belongs into `key`", err);
    else if (curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0) || set_path(u) ||
             curl_url_get(u, CURLUPART_URL, &whole, 0))
        status = refuse("expected a URL with a shorter path", err);
    if (status == SLUICE_OK) {
        e->url = strdup(whole);
        e->origin = origin_of(u, scheme, host);
        e->loopback = is_loopback(host);
        e->open = strcmp(scheme, "http") == 0;
        if (!e->url || !e->origin)
            status = num_fail_memory(err, "a URL", strlen(whole));
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(secret);
    curl_free(whole);
    return status;
}

int32_t lm_endpoint_parse(const char *url, struct lm_endpoint *ret, struct num_err *err) {
    struct lm_endpoint e = {0};
    CURLU *u = curl_url();
    if (!u)
        return num_fail_memory(err, "a URL", strlen(url));
    int32_t status = parse(u, url, &e, err);
    curl_url_cleanup(u);
    if (status == SLUICE_OK)
        *ret = e;
    else
        lm_endpoint_finish(&e);
    return status;
}

/* ---- Key ------------------------------------------------------------------------------------ */

/* Takes the first line of `text` where it is a key; `text` is wiped. */
static int32_t take_key(struct lm_endpoint *e, char *text, const char *kind, const char *name,
                        struct num_err *err) {
    size_t len = strcspn(text, "\r\n"), from = 0;
    int32_t status = SLUICE_OK;
    while (len && (text[len - 1] == ' ' || text[len - 1] == '\t'))
        len--;
    while (from < len && (text[from] == ' ' || text[from] == '\t'))
        from++;
    for (size_t i = from; i < len; i++)
        if (text[i] <= ' ' || text[i] > '~')
            status = SLUICE_INPUT;
    if (from == len)
        status = num_fail(err, SLUICE_INPUT, "key: the %s %.200s is empty", kind, name);
    else if (status != SLUICE_OK)
        num_fail(err, status, "key: the %s %.200s has characters that are in no key", kind, name);
    else if (!(e->key = strndup(text + from, len - from)))
        status = num_fail_memory(err, "a key", len);
    explicit_bzero(text, strlen(text));
    return status;
}

static int32_t key_of_environment(struct lm_endpoint *e, const char *name, struct num_err *err) {
    const char *value = getenv(name);
    if (!value)
        return num_fail(err, SLUICE_INPUT, "key: the variable %.200s is not set", name);
    char *copy = strndup(value, LM_MAX_KEY);
    if (!copy)
        return num_fail_memory(err, "a key", LM_MAX_KEY);
    int32_t status = take_key(e, copy, "variable", name, err);
    free(copy);
    return status;
}

static int32_t key_of_file(struct lm_endpoint *e, const char *path, struct num_err *err) {
    char text[LM_MAX_KEY + 1] = "";
    FILE *f = fopen(path, "re");
    if (!f)
        return num_fail(err, SLUICE_INPUT, "key: %.300s cannot be read: %s", path, strerror(errno));
    setvbuf(f, NULL, _IONBF, 0); /* no second copy of it in memory */
    size_t n = fread(text, 1, LM_MAX_KEY, f);
    text[n] = '\0';
    fclose(f);
    return take_key(e, text, "file", path, err);
}

int32_t lm_endpoint_read_key(struct lm_endpoint *e, const char *where, struct num_err *err) {
    json_t *json = json_loads(where, JSON_DECODE_ANY, NULL);
    const char *name = json_string_value(json_object_get(json, "env"));
    const char *path = json_string_value(json_object_get(json, "file"));
    int32_t status;
    if (json_object_size(json) != 1 || (!name && !path))
        status = num_fail(err, SLUICE_INPUT,
                          "key: expected { env: NAME } or { file: PATH }, not the key itself");
    else
        status = name ? key_of_environment(e, name, err) : key_of_file(e, path, err);
    json_decref(json);
    return status;
}

void lm_endpoint_redact(const struct lm_endpoint *e, char *text) {
    size_t len = e->key ? strlen(e->key) : 0;
    for (char *at = text; len && (at = strstr(at, e->key));) {
        size_t tail = strlen(at + len);
        size_t mark = len < 3 ? len : 3;
        memcpy(at, "***", mark);
        memmove(at + mark, at + len, tail + 1);
        at += mark;
    }
    size_t n = strlen(text), most = n < len ? n : len;
    for (size_t part = most; part >= LEAST_PART; part--)
        if (memcmp(text + n - part, e->key, part) == 0) {
            memcpy(text + n - part, "***", sizeof "***");
            return;
        }
}

void lm_endpoint_finish(struct lm_endpoint *e) {
    if (e->key)
        explicit_bzero(e->key, strlen(e->key));
    free(e->key);
    free(e->url);
    free(e->origin);
    *e = (struct lm_endpoint){0};
}
