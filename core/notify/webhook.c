/*
 * A POST of the run as JSON. Tried again, with pauses of 1, 2, 4 ... seconds (at most 30), after
 * what may pass: no connection, a timeout, status 408, 429 and those from 500 on. Redirects are not
 * followed.
 */
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "notify/notify.h"

#define MAX_PAUSE_S 30

static size_t on_body(char *data, size_t size, size_t n, void *ctx) {
    (void)data, (void)ctx;
    return size * n;
}

/* 0, SLUICE_TRANSIENT (try again) or SLUICE_INPUT. */
static int post(CURL *c, const char *details, struct sl_err *err) {
    long status = 0;
    CURLcode code = curl_easy_perform(c);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    if (code == CURLE_OK && status >= 200 && status < 300)
        return 0;
    if (code == CURLE_OK)
        return sl_err_set(
            err, status == 408 || status == 429 || status >= 500 ? SLUICE_TRANSIENT : SLUICE_INPUT,
            "the server answered with status %ld", status);
    bool passing = code == CURLE_COULDNT_CONNECT || code == CURLE_OPERATION_TIMEDOUT ||
                   code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_GOT_NOTHING ||
                   code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR;
    return sl_err_set(err, passing ? SLUICE_TRANSIENT : SLUICE_INPUT, "%s",
                      *details ? details : curl_easy_strerror(code));
}

static int try_again_and_again(const struct sl_notify *n, CURL *c, const json_t *hook,
                               const char *details, struct sl_err *err) {
    int attempts = (int)sl_json_num(hook, "attempts", 1), pause_s = 1;
    for (int i = 1;; i++) {
        curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)(1000 * sl_notify_time(n, hook)));
        int rc = post(c, details, err);
        if (rc != SLUICE_TRANSIENT)
            return rc;
        if (i >= attempts || sl_now_ms() + pause_s * 1000 >= n->until_ms)
            return sl_err_wrap(err, "%d attempts, the last", i);
        poll(NULL, 0, pause_s * 1000);
        pause_s = 2 * pause_s < MAX_PAUSE_S ? 2 * pause_s : MAX_PAUSE_S;
    }
}

int sl_notify_webhook(struct sl_notify *n, const json_t *hook, struct sl_err *err) {
    char details[CURL_ERROR_SIZE];
    const char *url = NULL, *token = NULL;
    int rc = sl_notify_value(n, hook, "url", &url, err);
    if (rc == 0)
        rc = sl_notify_value(n, hook, "token", &token, err);
    if (rc < 0)
        return rc;
    CURL *c = sl_notify_transfer(hook, sl_notify_time(n, hook), details);
    if (!c)
        return sl_err_set(err, SLUICE_INTERNAL, "libcurl cannot start");
    sl_autofree char *body = sl_json_line(n->run);
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    if (token) {
        curl_easy_setopt(c, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        curl_easy_setopt(c, CURLOPT_XOAUTH2_BEARER, token);
    }
    rc = try_again_and_again(n, c, hook, details, err);
    curl_easy_cleanup(c);
    curl_slist_free_all(headers);
    return rc;
}
