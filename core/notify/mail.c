/*
 * A mail by SMTP. With `tls: required`, the default, smtp:// goes on after STARTTLS only, and the
 * server's certificate is verified; a password is never sent before that.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/units.h"
#include "notify/notify.h"

#define MAX_LINE 500 /* bytes of a message in the mail; SMTP takes lines of 998 */

/* RFC 2047: what is not plain ASCII becomes base64, in words of at most 45 bytes. */
static void add_header(struct sl_str *out, const char *name, const char *text) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    bool plain = true;
    for (const char *c = text; *c; c++)
        plain &= *c >= ' ' && *c < 0x7f;
    sl_str_addf(out, "%s: ", name);
    for (size_t len; !plain && *text; text += len) {
        for (len = strlen(text) < 45 ? strlen(text) : 45;
             ((unsigned char)text[len] & 0xc0) == 0x80;)
            len--;
        sl_str_add(out, "=?UTF-8?B?");
        for (size_t i = 0; i < len; i += 3) {
            unsigned b[3] = {(unsigned char)text[i], i + 1 < len ? (unsigned char)text[i + 1] : 0,
                             i + 2 < len ? (unsigned char)text[i + 2] : 0};
            unsigned bits = b[0] << 16 | b[1] << 8 | b[2];
            for (int k = 0; k < 4; k++)
                sl_str_pad(out, i + (size_t)k > len ? '=' : digits[bits >> (18 - 6 * k) & 63], 1);
        }
        sl_str_add(out, text[len] ? "?=\r\n " : "?=");
    }
    if (plain)
        sl_str_add(out, text);
    sl_str_add(out, "\r\n");
}

static void add_line(struct sl_str *out, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void add_line(struct sl_str *out, const char *fmt, ...) {
    sl_autostr struct sl_str line = {0};
    va_list args;
    va_start(args, fmt);
    sl_str_vaddf(&line, fmt, args);
    va_end(args);
    sl_make_printable(line.data);
    size_t len = strlen(line.data);
    while (len > MAX_LINE ||
           (len < strlen(line.data) && ((unsigned char)line.data[len] & 0xc0) == 0x80))
        len = len > MAX_LINE ? MAX_LINE : len - 1;
    sl_str_addn(out, line.data, len);
    sl_str_add(out, "\r\n");
}

static void add_body(const json_t *run, struct sl_str *out) {
    char took[32];
    const json_t *failure;
    size_t i, n = json_array_size(json_object_get(run, "failures"));
    double failed = sl_json_num(run, "failed", 0);
    add_line(out, "Run %s of %s: %s after %s.", sl_json_str(run, "id", ""),
             sl_json_str(run, "pipeline", ""), sl_json_str(run, "state", ""),
             sl_format_duration(sl_json_num(run, "seconds", 0), took, sizeof took));
    add_line(out, "%.0f ok, %.0f failed, %.0f cancelled.", sl_json_num(run, "ok", 0), failed,
             sl_json_num(run, "cancelled", 0));
    sl_str_add(out, "\r\n");
    json_array_foreach(json_object_get(run, "failures"), i, failure) add_line(
        out, "  %s: %s", sl_json_str(failure, "item", ""), sl_json_str(failure, "message", ""));
    if (failed > (double)n)
        add_line(out, "  and %.0f more", failed - (double)n);
    add_line(out, "Outputs: %s", sl_json_str(run, "out", "none"));
    add_line(out, "Run folder: %s", sl_json_str(run, "folder", ""));
}

void sl_notify_write_mail(const json_t *run, const json_t *hook, const char *when, const char *host,
                          struct sl_str *out) {
    const json_t *to;
    size_t i;
    sl_autostr struct sl_str subject = {0};
    sl_str_addf(&subject, "[sluice] %s: %s, %.0f ok, %.0f failed", sl_json_str(run, "pipeline", ""),
                sl_json_str(run, "state", ""), sl_json_num(run, "ok", 0),
                sl_json_num(run, "failed", 0));
    sl_make_printable(subject.data);
    add_header(out, "Date", when);
    add_header(out, "From", sl_json_str(hook, "from", ""));
    json_array_foreach(json_object_get(hook, "to"), i, to)
        sl_str_addf(out, "%s%s", i ? ",\r\n " : "To: ", json_string_value(to));
    sl_str_add(out, "\r\n");
    add_header(out, "Subject", sl_str_text(&subject));
    sl_str_addf(out, "Message-ID: <%s@%s>\r\n", sl_json_str(run, "id", ""), host);
    sl_str_add(out, "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
                    "Content-Transfer-Encoding: 8bit\r\nAuto-Submitted: auto-generated\r\n\r\n");
    add_body(run, out);
}

struct upload {
    const char *data;
    size_t left;
};

static size_t on_read(char *buf, size_t size, size_t n, void *ctx) {
    struct upload *u = ctx;
    size_t take = u->left < size * n ? u->left : size * n;
    memcpy(buf, u->data, take);
    u->data += take;
    u->left -= take;
    return take;
}

static void date(char *buf, size_t size) {
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(buf, size, "%a, %d %b %Y %H:%M:%S +0000", &tm);
}

static int send_it(CURL *c, const json_t *hook, struct upload *upload, const char *details,
                   struct sl_err *err) {
    struct curl_slist *to = NULL;
    const json_t *one;
    size_t i;
    json_array_foreach(json_object_get(hook, "to"), i, one) to =
        curl_slist_append(to, json_string_value(one));
    curl_easy_setopt(c, CURLOPT_MAIL_RCPT, to);
    curl_easy_setopt(c, CURLOPT_MAIL_FROM, sl_json_str(hook, "from", ""));
    curl_easy_setopt(c, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(c, CURLOPT_READDATA, upload);
    curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
    CURLcode code = curl_easy_perform(c);
    curl_slist_free_all(to);
    if (code == CURLE_OK)
        return 0;
    return sl_err_set(err, SLUICE_TRANSIENT, "%s: %s", sl_json_str(hook, "server", ""),
                      *details ? details : curl_easy_strerror(code));
}

int sl_notify_mail(struct sl_notify *n, const json_t *hook, struct sl_err *err) {
    char details[CURL_ERROR_SIZE], when[64], host[256] = "localhost";
    const char *password = NULL, *user = sl_json_str(hook, "user", NULL);
    sl_autostr struct sl_str text = {0};
    int rc = sl_notify_value(n, hook, "password", &password, err);
    if (rc < 0)
        return rc;
    CURL *c = sl_notify_transfer(hook, sl_notify_time(n, hook), details);
    if (!c)
        return sl_err_set(err, SLUICE_INTERNAL, "libcurl cannot start");
    date(when, sizeof when);
    gethostname(host, sizeof host - 1);
    sl_notify_write_mail(n->run, hook, when, host, &text);
    curl_easy_setopt(c, CURLOPT_URL, sl_json_str(hook, "server", ""));
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(c, CURLOPT_USE_SSL,
                     (long)(strcmp(sl_json_str(hook, "tls", ""), "none") == 0 ? CURLUSESSL_NONE
                                                                              : CURLUSESSL_ALL));
    if (user && password) {
        curl_easy_setopt(c, CURLOPT_USERNAME, user);
        curl_easy_setopt(c, CURLOPT_PASSWORD, password);
    }
    rc = send_it(c, hook, &(struct upload){text.data, text.len}, details, err);
    curl_easy_cleanup(c);
    return rc;
}
