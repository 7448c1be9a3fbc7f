/* Reads notifications, see hooks.h: a table for each kind; texts without control characters, since
 * they become headers. */
#include "graph/hooks.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "config/schema.h"

#define MAX_ADDRESSES 50
#define MAX_TIMEOUT_S 600

struct keys {
    const struct sl_yaml *to, *url, *token, *password, *argv;
    const char *from, *server, *user, *ca;
    int tls, attempts;
    double timeout_s;
};

static const char *const tls_names[] = {"required", "none", NULL};

static const struct sl_field mail_fields[] = {
    {"to", SL_FIELD_NODE, offsetof(struct keys, to), .required = true},
    {"from", SL_FIELD_TEXT, offsetof(struct keys, from), .required = true},
    {"server", SL_FIELD_TEXT, offsetof(struct keys, server), .required = true},
    {"user", SL_FIELD_TEXT, offsetof(struct keys, user)},
    {"password", SL_FIELD_NODE, offsetof(struct keys, password)},
    {"tls", SL_FIELD_CHOICE, offsetof(struct keys, tls), .choices = tls_names},
    {"ca", SL_FIELD_TEXT, offsetof(struct keys, ca)},
    {"timeout", SL_FIELD_DURATION, offsetof(struct keys, timeout_s)},
};
static const struct sl_field webhook_fields[] = {
    {"url", SL_FIELD_NODE, offsetof(struct keys, url), .required = true},
    {"token", SL_FIELD_NODE, offsetof(struct keys, token)},
    {"attempts", SL_FIELD_INT, offsetof(struct keys, attempts), .min = 1, .max = 10},
    {"ca", SL_FIELD_TEXT, offsetof(struct keys, ca)},
    {"timeout", SL_FIELD_DURATION, offsetof(struct keys, timeout_s)},
};
static const struct sl_field command_fields[] = {
    {"argv", SL_FIELD_NODE, offsetof(struct keys, argv), .required = true},
    {"timeout", SL_FIELD_DURATION, offsetof(struct keys, timeout_s)},
};

struct reader {
    struct sl_planner *p;
    const char *what; /* "on_finish: mail" */
    const struct sl_yaml *node;
};

static const char *sub(const struct reader *r, const char *key) {
    return sl_arena_printf(&r->p->diags->arena, "%s: %s", r->what, key);
}

static bool is_clean(const char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return false;
    return true;
}

/* ---- Values ---------------------------------------------------------------------------------- */

/* A text without control characters; NULL after a mistake was reported. */
static json_t *read_line(const struct reader *r, const char *key, const struct sl_yaml *node,
                         const char *expected) {
    const char *text;
    if (sl_yaml_text(node, &text) && *text && is_clean(text))
        return json_string(text);
    sl_diag_expected(r->p->diags, sub(r, key), node, "%s", expected);
    return NULL;
}

static json_t *read_lines(const struct reader *r, const char *key, const struct sl_yaml *node,
                          const char *expected, int max) {
    json_t *all = json_array();
    if (node->kind != SL_YAML_LIST || node->n == 0 || node->n > max)
        sl_diag_expected(r->p->diags, sub(r, key), node, "a list of %s", expected);
    for (int i = 0; node->kind == SL_YAML_LIST && i < node->n && i < max; i++) {
        json_t *one = read_line(r, key, node->items[i], expected);
        if (one)
            json_array_append_new(all, one);
    }
    return all;
}

static json_t *read_secret(const struct reader *r, const char *key, const struct sl_yaml *node) {
    const char *kind = node->kind == SL_YAML_MAP && node->n == 1 ? node->pairs[0].key : "";
    const char *text;
    if ((strcmp(kind, "env") == 0 || strcmp(kind, "file") == 0) &&
        sl_yaml_text(node->pairs[0].value, &text) && *text && is_clean(text)) {
        if (*kind == 'e' && !getenv(text))
            sl_diag_warn(r->p->diags, node->pos, "%s: environment variable %.80s is not set",
                         sub(r, key), text);
        return json_pack("{s:s}", kind, text);
    }
    /* What was found is not repeated: it may be the secret. */
    if (node->kind != SL_YAML_BAD)
        sl_diag_error(r->p->diags, node->pos,
                      "%s: expected { env: NAME } or { file: PATH }; a secret is not written into "
                      "this file",
                      sub(r, key));
    return NULL;
}

static void check_url(const struct reader *r, const char *key, const char *url,
                      const char *const *schemes) {
    for (const char *const *s = schemes; *s; s++)
        if (sl_starts_with(url, *s) && url[strlen(*s)] && is_clean(url) && !strchr(url, '@'))
            return;
    sl_diag_error(r->p->diags, r->node->pos, "%s: expected %sHOST or %sHOST, without a user in it",
                  sub(r, key), schemes[0], schemes[1]);
}

static void add_text(const struct reader *r, json_t *to, const char *key, const char *text) {
    if (text && !is_clean(text))
        sl_diag_error(r->p->diags, r->node->pos, "%s: control characters", sub(r, key));
    else if (text)
        sl_json_set(to, key, json_string(text));
}

static void add_timeout(const struct reader *r, json_t *to, double timeout_s) {
    if (!(timeout_s > 0 && timeout_s <= MAX_TIMEOUT_S))
        sl_diag_error(r->p->diags, r->node->pos, "%s: expected more than 0, at most 10m",
                      sub(r, "timeout"));
    sl_json_set(to, "timeout_s", json_real(timeout_s));
}

/* ---- Kinds ----------------------------------------------------------------------------------- */

static json_t *read_mail(const struct reader *r) {
    static const char *const schemes[] = {"smtp://", "smtps://", NULL};
    struct keys k = {.timeout_s = 30};
    json_t *mail = json_object();
    if (!SL_SCHEMA_READ(mail_fields, r->what, r->node, &k, r->p->diags))
        return mail;
    json_t *one = k.to->kind == SL_YAML_SCALAR ? read_line(r, "to", k.to, "an address") : NULL;
    sl_json_set(mail, "to",
                k.to->kind != SL_YAML_SCALAR ? read_lines(r, "to", k.to, "addresses", MAX_ADDRESSES)
                : one                        ? json_pack("[o]", one)
                                             : NULL);
    check_url(r, "server", k.server, schemes);
    add_text(r, mail, "from", k.from);
    add_text(r, mail, "server", k.server);
    add_text(r, mail, "user", k.user);
    add_text(r, mail, "ca", k.ca);
    sl_json_set(mail, "tls", json_string(tls_names[k.tls]));
    sl_json_set(mail, "password", k.password ? read_secret(r, "password", k.password) : NULL);
    if (!k.user != !k.password)
        sl_diag_error(r->p->diags, r->node->pos, "%s: user and password go together", r->what);
    if (k.password && k.tls == 1)
        sl_diag_error(r->p->diags, r->node->pos,
                      "%s: tls: none would send the password in the clear; leave one of them out",
                      r->what);
    add_timeout(r, mail, k.timeout_s);
    return mail;
}

static json_t *read_webhook(const struct reader *r) {
    static const char *const schemes[] = {"https://", "http://", NULL};
    struct keys k = {.timeout_s = 10, .attempts = 4};
    json_t *hook = json_object();
    const char *url;
    if (!SL_SCHEMA_READ(webhook_fields, r->what, r->node, &k, r->p->diags))
        return hook;
    if (sl_yaml_text(k.url, &url)) {
        check_url(r, "url", url, schemes);
        add_text(r, hook, "url", url);
    } else {
        sl_json_set(hook, "url", read_secret(r, "url", k.url));
    }
    add_text(r, hook, "ca", k.ca);
    sl_json_set(hook, "token", k.token ? read_secret(r, "token", k.token) : NULL);
    sl_json_set(hook, "attempts", json_integer(k.attempts));
    add_timeout(r, hook, k.timeout_s);
    return hook;
}

static json_t *read_command(const struct reader *r) {
    struct keys k = {.timeout_s = 60};
    json_t *command = json_object();
    if (!SL_SCHEMA_READ(command_fields, r->what, r->node, &k, r->p->diags))
        return command;
    sl_json_set(command, "argv", read_lines(r, "argv", k.argv, "words, the program first", 1000));
    add_timeout(r, command, k.timeout_s);
    return command;
}

static const struct {
    const char *name;
    json_t *(*read)(const struct reader *r);
} kinds[] = {{"mail", read_mail}, {"webhook", read_webhook}, {"command", read_command}};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

static void read_hook(struct sl_planner *p, const char *key, const struct sl_yaml *node,
                      json_t *to) {
    const char *kind = node->kind == SL_YAML_MAP && node->n == 1 ? node->pairs[0].key : "";
    for (int i = 0; i < N_KINDS; i++) {
        if (strcmp(kinds[i].name, kind) != 0)
            continue;
        struct reader r = {p, sl_arena_printf(&p->diags->arena, "%s: %s", key, kind),
                           node->pairs[0].value};
        json_array_append_new(to, json_pack("{s:o}", kind, kinds[i].read(&r)));
        return;
    }
    sl_diag_expected(p->diags, key, node,
                     "one of { mail: ... }, { webhook: ... } and { command: ... }");
}

const char *sl_plan_hooks(struct sl_planner *p, const char *key, const struct sl_yaml *node) {
    int before = p->diags->n_errors;
    node = sl_expand(&p->expander, key, node, NULL, NULL);
    if (sl_yaml_is_null(node))
        return NULL;
    sl_autojson json_t *all = json_array();
    if (node->kind != SL_YAML_LIST || node->n > SL_HOOKS_MAX)
        sl_diag_expected(p->diags, key, node, "a list of at most %d notifications", SL_HOOKS_MAX);
    for (int i = 0; node->kind == SL_YAML_LIST && i < node->n && i < SL_HOOKS_MAX; i++)
        read_hook(p, key, node->items[i], all);
    if (p->diags->n_errors > before || json_array_size(all) == 0)
        return NULL;
    sl_autofree char *text = sl_json_line(all);
    return sl_arena_strdup(p->arena, text);
}
