/* sluice-notify: the hooks of a run, one after the other, see notify.h. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <sluice/version.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"
#include "notify/notify.h"

#define MAX_JOB_BYTES (1u << 20)
#define MAX_SECRET    4096

/* ---- Secrets --------------------------------------------------------------------------------- */

static int keep_secret(struct sl_notify *n, char *text, const char **ret) {
    text[strcspn(text, "\r\n")] = 0;
    n->secrets[n->n_secrets++] = text;
    *ret = text;
    return 0;
}

static int from_environment(struct sl_notify *n, const char *name, const char **ret,
                            struct sl_err *err) {
    const char *value = getenv(name);
    if (!value || !*value)
        return sl_err_set(err, SL_USAGE, "environment variable %s is not set", name);
    return keep_secret(n, sl_xstrdup(value), ret);
}

static int from_file(struct sl_notify *n, const char *path, const char **ret, struct sl_err *err) {
    char *text = NULL;
    size_t len;
    int rc = sl_read_file(path, MAX_SECRET, &text, &len, err);
    if (rc < 0)
        return rc;
    keep_secret(n, text, ret);
    return **ret ? 0 : sl_err_set(err, SL_USAGE, "%s: its first line is empty", path);
}

int sl_notify_value(struct sl_notify *n, const json_t *hook, const char *key, const char **ret,
                    struct sl_err *err) {
    const json_t *value = json_object_get(hook, key);
    const char *env = sl_json_str(value, "env", NULL), *file = sl_json_str(value, "file", NULL);
    *ret = json_string_value(value);
    if (!value || *ret)
        return 0;
    if (n->n_secrets == SL_NOTIFY_MAX_SECRETS || (!env && !file))
        return sl_err_set(err, SL_USAGE, "%s: cannot be read", key);
    int rc = env ? from_environment(n, env, ret, err) : from_file(n, file, ret, err);
    return rc < 0 ? sl_err_wrap(err, "%s", key) : 0;
}

/* Puts *** in place of every secret in the message. */
static void hide_secrets(const struct sl_notify *n, char *message) {
    for (int i = 0; i < n->n_secrets; i++) {
        size_t len = strlen(n->secrets[i]);
        for (char *at = message; len > 2 && (at = strstr(at, n->secrets[i]));) {
            memmove(at + 3, at + len, strlen(at + len) + 1);
            memcpy(at, "***", 3);
            at += 3;
        }
    }
}

static void forget_secrets(struct sl_notify *n) {
    while (n->n_secrets > 0) {
        char *secret = n->secrets[--n->n_secrets];
        explicit_bzero(secret, strlen(secret));
        free(secret);
    }
}

double sl_notify_time(const struct sl_notify *n, const json_t *hook) {
    double own = sl_json_num(hook, "timeout_s", 10);
    double left = (double)(n->until_ms - sl_now_ms()) / 1000;
    return own < left ? own : left > 0.01 ? left : 0.01;
}

/* ---- Transfers ------------------------------------------------------------------------------- */

CURL *sl_notify_transfer(const json_t *hook, double timeout_s, char *details) {
    CURL *c = curl_easy_init();
    const char *ca = sl_json_str(hook, "ca", NULL);
    if (!c)
        return NULL;
    *details = 0;
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, details);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)(timeout_s * 1000));
    curl_easy_setopt(c, CURLOPT_USERAGENT, "sluice/" SLUICE_VERSION);
    if (ca)
        curl_easy_setopt(c, CURLOPT_CAINFO, ca);
    return c;
}

/* ---- Hooks ----------------------------------------------------------------------------------- */

static void answer(const char *kind, int rc, struct sl_err *err) {
    sl_autojson json_t *line = json_pack("{s:s, s:b}", "kind", kind, "ok", rc == 0);
    if (rc < 0)
        sl_json_set(line, "message", sl_json_text(sl_make_printable(err->msg)));
    sl_autofree char *text = sl_json_line(line);
    puts(text);
    fflush(stdout);
}

static void do_hook(struct sl_notify *n, const json_t *entry) {
    static const struct {
        const char *kind;
        int (*act)(struct sl_notify *n, const json_t *hook, struct sl_err *err);
    } kinds[] = {
        {"mail", sl_notify_mail}, {"webhook", sl_notify_webhook}, {"command", sl_notify_command}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const json_t *hook = json_object_get(entry, kinds[i].kind);
        struct sl_err err = {0};
        if (!hook)
            continue;
        int rc = kinds[i].act(n, hook, &err);
        hide_secrets(n, err.msg);
        forget_secrets(n);
        answer(kinds[i].kind, rc, &err);
    }
}

static int read_job(json_t **ret, struct sl_err *err) {
    sl_autostr struct sl_str text = {0};
    char chunk[4096];
    for (ssize_t n; (n = read(STDIN_FILENO, chunk, sizeof chunk)) != 0;) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || text.len > MAX_JOB_BYTES)
            return sl_err_set(err, SL_USAGE, "the job cannot be read");
        sl_str_addn(&text, chunk, (size_t)n);
    }
    return sl_json_parse(sl_str_text(&text), text.len, ret, err);
}

int main(void) {
    sl_autojson json_t *job = NULL;
    struct sl_err err = {0};
    const json_t *entry;
    size_t i;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    if (read_job(&job, &err) < 0 || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        fprintf(stderr, "sluice-notify is run by sluice: %s\n", err.msg);
        return 2;
    }
    struct sl_notify n = {.run = json_object_get(job, "run"),
                          .until_ms =
                              sl_now_ms() + (int64_t)(1000 * sl_json_num(job, "limit_s", 120))};
    json_array_foreach(json_object_get(job, "hooks"), i, entry) do_hook(&n, entry);
    curl_global_cleanup();
    return 0;
}
