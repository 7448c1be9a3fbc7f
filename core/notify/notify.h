/*
 * sluice-notify: tells people that a run has ended. Started by `sluice` when the run is over, so
 * nothing here can hold a run up or change what came of it.
 *
 * Reads one JSON object from standard input, {"run": {...}, "hooks": [...]} (graph/hooks.h says
 * what hooks are), and writes one for each hook as it is done: {"kind", "ok", "message"}. "limit_s"
 * is the time for all of them. Secrets are looked up here and nowhere else; they are taken out of
 * every message.
 */
#ifndef NOTIFY_NOTIFY_H
#define NOTIFY_NOTIFY_H

#include <curl/curl.h>

#include "base/json.h"
#include "base/str.h"

#define SL_NOTIFY_MAX_SECRETS 8

struct sl_notify {
    const json_t *run;                    /* what ended */
    char *secrets[SL_NOTIFY_MAX_SECRETS]; /* of the hook at work; owned */
    int n_secrets;
    int64_t until_ms; /* when all has to be done */
};

/* Seconds for the hook, or for one attempt of it: its timeout, or what is left of the time for
 * all. */
double sl_notify_time(const struct sl_notify *n, const json_t *hook);

/* The text that a member of `hook` stands for: itself, or the content of what {"env"} or {"file"}
 * names, without the line end. Borrowed until the hook is done. SL_USAGE: it cannot be had. *ret is
 * NULL where there is no such member. */
int sl_notify_value(struct sl_notify *n, const json_t *hook, const char *key, const char **ret,
                    struct sl_err *err);

/* Each does its kind of hook, within its timeout. */
int sl_notify_mail(struct sl_notify *n, const json_t *hook, struct sl_err *err);
int sl_notify_webhook(struct sl_notify *n, const json_t *hook, struct sl_err *err);
int sl_notify_command(struct sl_notify *n, const json_t *hook, struct sl_err *err);

/* A transfer of libcurl with what all have in common; NULL: libcurl cannot start. `details` holds
 * CURL_ERROR_SIZE bytes. */
CURL *sl_notify_transfer(const json_t *hook, double timeout_s, char *details);

/* mail.c: the whole message with its headers, as SMTP wants it. Pure but for `when` and `host`. */
void sl_notify_write_mail(const json_t *run, const json_t *hook, const char *when, const char *host,
                          struct sl_str *out);

#endif
