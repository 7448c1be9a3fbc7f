/*
 * Questions to a server: see client.h. All transfers are of one libcurl multi handle and on the
 * caller's thread; a question is a small machine: it waits for its time, is under way, and is done
 * or waits again.
 */
#include "llm/http/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <sluice/version.h>

#include "llm/http/reply.h"
#include "llm/matcher.h"
#include "llm/schema.h"
#include "num/unicode.h"

#define POLL_MS       100
#define CONNECT_S     15
#define MAX_WAIT_S    120        /* that a server may ask for */
#define MAX_REFUSAL   (64 << 10) /* bytes of its body that are read, about */
#define FRAME_TOKENS  32         /* about what a chat template adds */
#define BYTES_A_TOKEN 3          /* of ASCII; of English it is rather four */

struct client;

struct post {
    struct client *client;
    struct post *next;
    struct lm_question *q;
    char *body; /* owned */
    CURL *easy; /* NULL: it waits */
    struct lm_reply reply;
    struct num_buf refusal;
    char details[CURL_ERROR_SIZE];
    uint32_t n_attempts;
    double due;   /* when it is to begin */
    double alive; /* when a byte came last */
};

struct client {
    struct lm_session base;
    struct lm_client_options options;
    CURLM *multi;
    struct curl_slist *headers;
    struct post *posts;
    uint32_t n_running;
};

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- Bytes ---------------------------------------------------------------------------------- */

static void on_text(void *ctx, const char *text, size_t len) {
    struct post *p = ctx;
    lm_question_text(p->q, text, len, p->n_attempts == 1);
}

static size_t on_body(char *data, size_t size, size_t n, void *ctx) {
    struct post *p = ctx;
    long status = 0;
    size_t len = size * n;
    p->alive = now_s();
    curl_easy_getinfo(p->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 200 && status < 300)
        return lm_reply_feed(&p->reply, data, len) ? len : 0;
    if (p->refusal.len >= MAX_REFUSAL)
        return 0; /* enough; there may be no end of it */
    num_buf_add(&p->refusal, data, len);
    return len;
}

/* ---- Beginning ------------------------------------------------------------------------------ */

static void forget_attempt(struct post *p) {
    if (p->easy) {
        curl_multi_remove_handle(p->client->multi, p->easy);
        curl_easy_cleanup(p->easy);
        p->client->n_running--;
    }
    p->easy = NULL;
    lm_reply_finish(&p->reply);
    num_buf_finish(&p->refusal);
}

static void set_options(struct post *p, CURL *c) {
    const struct lm_client_options *o = &p->client->options;
    curl_easy_setopt(c, CURLOPT_URL, o->endpoint.url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_POSTFIELDS, p->body);
    curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(p->body));
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, p->client->headers);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "sluice/" SLUICE_VERSION);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, p->details);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, p);
    curl_easy_setopt(c, CURLOPT_PRIVATE, p);
    if (o->endpoint.loopback)
        curl_easy_setopt(c, CURLOPT_PROXY, "");
    if (o->ca)
        curl_easy_setopt(c, CURLOPT_CAINFO, o->ca);
    if (o->endpoint.key) {
        curl_easy_setopt(c, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
        curl_easy_setopt(c, CURLOPT_XOAUTH2_BEARER, o->endpoint.key);
    }
}

static void end(struct post *p, int32_t status);

static void begin(struct post *p) {
    struct client *c = p->client;
    CURL *easy = curl_easy_init();
    if (!easy) {
        end(p, num_fail_memory(&p->q->err, "a connection", 0));
        return;
    }
    p->easy = easy;
    p->n_attempts++;
    p->details[0] = '\0';
    p->alive = now_s();
    p->reply = (struct lm_reply){.text = on_text, .ctx = p};
    lm_question_restart(p->q);
    set_options(p, easy);
    curl_multi_add_handle(c->multi, easy);
    c->n_running++;
}

/* ---- Ending --------------------------------------------------------------------------------- */

static void end(struct post *p, int32_t status) {
    struct client *c = p->client;
    struct lm_question *q = p->q;
    forget_attempt(p);
    for (struct post **at = &c->posts; *at; at = &(*at)->next)
        if (*at == p) {
            *at = p->next;
            break;
        }
    free(p->body);
    free(p);
    if (status != SLUICE_OK)
        lm_endpoint_redact(&c->options.endpoint, q->err.text);
    lm_question_end(q, status);
}

/* What q->err says may pass: again later, or it is the end. `wait_s`: what the server asks for, 0:
 * nothing. */
static void again(struct post *p, int32_t status, double wait_s) {
    const struct lm_client_options *o = &p->client->options;
    double pause = o->pause_s > 0 ? o->pause_s : 1;
    for (uint32_t i = 1; i < p->n_attempts; i++)
        pause *= 2;
    pause = wait_s > 0 ? wait_s : pause;
    if (p->n_attempts < o->attempts && pause <= MAX_WAIT_S) {
        forget_attempt(p);
        p->due = now_s() + pause;
        return;
    }
    num_fail_in(&p->q->err, "%s, attempt %u of %u", o->endpoint.origin, p->n_attempts, o->attempts);
    end(p, status);
}

static void refused(struct post *p, long status) {
    const struct lm_client_options *o = &p->client->options;
    struct num_err *err = &p->q->err;
    char reason[300];
    curl_off_t wait_s = 0;
    lm_reply_refusal(num_buf_text(&p->refusal), p->refusal.len, reason, sizeof reason);
    lm_endpoint_redact(&o->endpoint, reason);
    const char *colon = *reason ? ": " : "";
    if (lm_client_passes(status)) {
        curl_easy_getinfo(p->easy, CURLINFO_RETRY_AFTER, &wait_s);
        num_fail(err, SLUICE_TRANSIENT, "the server answers with status %ld%s%s", status, colon,
                 reason);
        again(p, SLUICE_TRANSIENT, (double)wait_s);
        return;
    }
    const char *hint = status == 401 || status == 403 ? " (is the `key` right?)"
                       : status == 404                ? " (are `endpoint` and `model` right?)"
                       : status / 100 == 3 ? " (it points elsewhere: give that URL as `endpoint`)"
                                           : "";
    end(p, num_fail(err, SLUICE_INPUT, "%s refuses the question with status %ld%s%s%s",
                    o->endpoint.origin, status, hint, colon, reason));
}

/* Takes the fence off that models put around JSON: "```json ... ```". */
static void take_fence_off(struct num_buf *out) {
    size_t at, len = num_text_trim(num_buf_text(out), out->len, &at);
    const char *text = out->data + at;
    const char *line = len > 6 && memcmp(text, "```", 3) == 0 ? memchr(text, '\n', len) : NULL;
    size_t from = line ? (size_t)(line - text) + 1 : 0;
    if (!line || from > len - 3 || memcmp(text + len - 3, "```", 3) != 0)
        return;
    memmove(out->data, text + from, len - 3 - from);
    out->len = len - 3 - from;
}

static bool is_by_grammar(const struct lm_grammar *grammar, const struct num_buf *text) {
    struct lm_matcher *m = NULL;
    if (lm_matcher_create(grammar, &m, NULL) != SLUICE_OK)
        return false;
    int32_t state = lm_matcher_start(m);
    for (size_t i = 0; i < text->len && state != LM_DEAD; i++)
        state = lm_matcher_tidy(m, lm_matcher_step(m, state, (uint8_t)text->data[i]));
    bool fits = state != LM_DEAD && lm_matcher_accepts(m, state);
    lm_matcher_destroy(m);
    return fits;
}

static bool fits(struct lm_question *q) {
    if (!q->ask.schema)
        return !q->ask.grammar || is_by_grammar(q->ask.grammar, &q->out);
    take_fence_off(&q->out);
    json_t *value = json_loadb(num_buf_text(&q->out), q->out.len, JSON_DECODE_ANY, NULL);
    bool accepted = value && lm_schema_accepts(q->ask.schema, value);
    json_decref(value);
    return accepted;
}

/* Thoughts whose beginning was the prompt's are taken off where the answer is in no form because of
 * them. */
static bool is_as_asked(struct lm_question *q) {
    struct num_buf *out = &q->out;
    bool any = !q->ask.schema && !q->ask.grammar, good = fits(q);
    size_t front = good || !q->strips ? 0 : lm_thought_front(num_buf_text(out), out->len);
    if (front) {
        out->len -= front;
        memmove(out->data, out->data + front, out->len);
        good = fits(q);
    }
    q->strips &= any || !good; /* a text of a form stays as it is */
    return good;
}

static void answered(struct post *p) {
    struct lm_question *q = p->q;
    q->answer =
        (struct lm_answer){p->reply.n_prompt, p->reply.n_cached, p->reply.n_tokens, p->reply.end};
    if (is_as_asked(q) || q->ask.checks) {
        end(p, SLUICE_OK);
    } else if (p->reply.end == LM_END_LENGTH) {
        end(p, num_fail(&q->err, SLUICE_INPUT,
                        "the answer was cut off before it was whole: raise max_tokens"));
    } else {
        num_fail(&q->err, SLUICE_TRANSIENT,
                 "the answer is not of the form that was asked for; does the server know %s?",
                 q->ask.schema ? "response_format" : "grammar");
        again(p, SLUICE_TRANSIENT, 0);
    }
}

static bool passes(CURLcode code) {
    return code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST ||
           code == CURLE_OPERATION_TIMEDOUT || code == CURLE_GOT_NOTHING ||
           code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR || code == CURLE_PARTIAL_FILE ||
           code == CURLE_SSL_CONNECT_ERROR || code == CURLE_HTTP2 || code == CURLE_HTTP2_STREAM ||
           code == CURLE_WEIRD_SERVER_REPLY;
}

static void broken(struct post *p, CURLcode code) {
    struct num_err *err = &p->q->err;
    const char *why = *p->details ? p->details : curl_easy_strerror(code);
    if (passes(code)) {
        num_fail(err, SLUICE_TRANSIENT, "%s", why);
        again(p, SLUICE_TRANSIENT, 0);
    } else {
        end(p, num_fail(err, SLUICE_INPUT, "%s: %s", p->client->options.endpoint.origin, why));
    }
}

static void over(struct post *p, CURLcode code) {
    long status = 0;
    curl_easy_getinfo(p->easy, CURLINFO_RESPONSE_CODE, &status);
    bool enough = p->reply.status != SLUICE_OK || p->refusal.len >= MAX_REFUSAL;
    if (code != CURLE_OK && !enough) {
        broken(p, code);
        return;
    }
    if (status < 200 || status >= 300) {
        refused(p, status);
        return;
    }
    int32_t ended = lm_reply_end(&p->reply, &p->q->err);
    if (ended == SLUICE_OK)
        answered(p);
    else if (ended == SLUICE_TRANSIENT)
        again(p, ended, 0);
    else {
        num_fail_in(&p->q->err, "%s", p->client->options.endpoint.origin);
        end(p, ended);
    }
}

bool lm_client_passes(long status) {
    return status == 408 || status == 429 || status >= 500;
}

/* ---- Steps ---------------------------------------------------------------------------------- */

/* Ends what is cancelled or silent, begins what is due. */
static void look_after(struct client *c) {
    double now = now_s();
    for (struct post *p = c->posts, *next; p; p = next) {
        next = p->next;
        if (lm_question_cancelled(p->q)) {
            end(p, num_fail(&p->q->err, SLUICE_CANCELLED, "cancelled"));
        } else if (p->easy && now - p->alive > c->options.timeout_s) {
            num_fail(&p->q->err, SLUICE_TRANSIENT, "the server has been silent for %.0f s",
                     c->options.timeout_s);
            again(p, SLUICE_TRANSIENT, 0);
        } else if (!p->easy && p->due <= now && c->n_running < c->base.parallel) {
            begin(p);
        }
    }
}

static void step(struct lm_session *s) {
    struct client *c = (struct client *)s;
    int n = 0;
    look_after(c);
    curl_multi_perform(c->multi, &n);
    for (CURLMsg *m; (m = curl_multi_info_read(c->multi, &n));) {
        struct post *p = NULL;
        CURLcode code = m->data.result;
        if (m->msg == CURLMSG_DONE && curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &p) == 0)
            over(p, code);
    }
    if (c->posts)
        curl_multi_poll(c->multi, NULL, 0, POLL_MS, NULL);
}

static void wake(struct lm_session *s) {
    curl_multi_wakeup(((struct client *)s)->multi);
}

static void start(struct lm_session *s, struct lm_question *q) {
    struct client *c = (struct client *)s;
    struct post *p = calloc(1, sizeof *p), **at = &c->posts;
    char *body = p ? lm_client_body(&c->options, &q->ask) : NULL;
    if (!body) {
        free(p);
        lm_question_end(q, num_fail_memory(&q->err, "a question", q->ask.user_len));
        return;
    }
    q->strips = !c->base.thoughts; /* also before JSON */
    p->client = c;
    p->q = q;
    p->body = body;
    while (*at) /* behind the others, so that they begin in order */
        at = &(*at)->next;
    *at = p;
}

/* ---- Life ----------------------------------------------------------------------------------- */

static int32_t count(const struct lm_session *s, const char *text, size_t len, uint32_t *ret,
                     struct num_err *err) {
    (void)s, (void)err;
    uint64_t n = 0, n_ascii = 0;
    for (size_t i = 0; i < len; i++) {
        n_ascii += (uint8_t)text[i] < 0x80;
        n += (uint8_t)text[i] >= 0xc0; /* the first byte of a character */
    }
    n += (n_ascii + BYTES_A_TOKEN - 1) / BYTES_A_TOKEN;
    *ret = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
    return SLUICE_OK;
}

static int32_t frame(const struct lm_session *s, const char *system, const char *user, size_t len,
                     uint32_t *ret, struct num_err *err) {
    uint32_t n_system = 0, n_user = 0;
    if (system)
        count(s, system, strlen(system), &n_system, err);
    count(s, user, len, &n_user, err);
    uint64_t n = (uint64_t)n_system + n_user + FRAME_TOKENS;
    *ret = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
    return SLUICE_OK;
}

static void close_client(struct lm_session *s) {
    struct client *c = (struct client *)s;
    curl_multi_cleanup(c->multi);
    curl_slist_free_all(c->headers);
    lm_endpoint_finish(&c->options.endpoint);
    json_decref((json_t *)(uintptr_t)c->options.extra);
    free(c);
}

static const struct lm_session_ops client_ops = {close_client, count, frame, start, step, wake};

/* The sandbox has to let sockets be made; said here once, and not by every question. */
static int32_t check_network(struct num_err *err) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 && (errno == EPERM || errno == EACCES))
        return num_fail(err, SLUICE_UNSUPPORTED,
                        "the stage may not use the network: give it `network: true`");
    if (fd >= 0)
        close(fd);
    return SLUICE_OK;
}

static int32_t open_client(struct client *c, struct num_err *err) {
    static const char *const headers[] = {"Content-Type: application/json",
                                          "Accept: text/event-stream, application/json", "Expect:"};
    int32_t status = check_network(err);
    if (status != SLUICE_OK)
        return status;
    if (curl_global_init(CURL_GLOBAL_DEFAULT))
        return num_fail(err, SLUICE_INTERNAL, "libcurl cannot start");
    c->multi = curl_multi_init();
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        struct curl_slist *longer = curl_slist_append(c->headers, headers[i]);
        c->headers = longer ? longer : c->headers;
        if (!longer)
            return num_fail_memory(err, "headers", 0);
    }
    return c->multi ? SLUICE_OK : num_fail_memory(err, "connections", 0);
}

int32_t lm_client_open(struct lm_client_options *options, struct lm_session **ret,
                       struct num_err *err) {
    struct client *c = calloc(1, sizeof *c);
    if (!c) {
        lm_endpoint_finish(&options->endpoint);
        return num_fail_memory(err, "a client", sizeof *c);
    }
    c->options = *options;
    json_incref((json_t *)(uintptr_t)options->extra);
    options->endpoint = (struct lm_endpoint){0};
    c->base = (struct lm_session){.ops = &client_ops,
                                  .context = options->context,
                                  .parallel = options->parallel,
                                  .thoughts = options->thoughts};
    int32_t status = open_client(c, err);
    if (status != SLUICE_OK)
        close_client(&c->base);
    else
        *ret = &c->base;
    return status;
}
