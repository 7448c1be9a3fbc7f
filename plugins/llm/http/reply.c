/* The parser of replies: see reply.h. Lines are collected, data lines make an event, an event is an
 * object. */
#include "llm/http/reply.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "num/utf8.h"

static int32_t fail(struct lm_reply *r, int32_t status, const char *what) {
    if (r->status == SLUICE_OK)
        r->status = num_fail(&r->err, status, "%s", what);
    return r->status;
}

/* ---- Objects -------------------------------------------------------------------------------- */

static void copy_line(const char *text, size_t len, char *ret, size_t size) {
    size_t n = 0, i = 0;
    for (; i < len && n + 1 < size; i++) {
        bool control = (uint8_t)text[i] < ' ' || text[i] == 0x7f;
        if (!control || (n && ret[n - 1] != ' '))
            ret[n++] = control ? ' ' : text[i];
    }
    while (i < len && n && ((uint8_t)ret[n - 1] & 0xc0) == 0x80) /* no half character at a cut */
        n--;
    if (i < len && n && (uint8_t)ret[n - 1] >= 0xc0)
        n--;
    ret[n] = '\0';
}

/* The message of an error object: {"error": {"message": ...}}, {"error": ...}, {"message": ...} or
 * {"detail": ...}. */
static const json_t *message_of(const json_t *object) {
    static const char *const keys[] = {"message", "detail"};
    const json_t *error = json_object_get(object, "error");
    const json_t *inner = json_object_get(error, "message");
    if (json_is_string(inner))
        return inner;
    if (json_is_string(error))
        return error;
    for (int i = 0; i < 2; i++)
        if (json_is_string(json_object_get(object, keys[i])))
            return json_object_get(object, keys[i]);
    return NULL;
}

static void fail_with(struct lm_reply *r, const json_t *object) {
    const json_t *message = message_of(object);
    char line[300] = "without a reason", text[400];
    if (message)
        copy_line(json_string_value(message), json_string_length(message), line, sizeof line);
    snprintf(text, sizeof text, "the server broke off: %s", line);
    fail(r, SLUICE_TRANSIENT, text);
}

static void take_end(struct lm_reply *r, const json_t *reason) {
    if (!json_is_string(reason))
        return;
    const char *name = json_string_value(reason);
    r->has_end = true;
    r->end = strcmp(name, "length") == 0 ? LM_END_LENGTH : LM_END_STOP;
    if (strcmp(name, "content_filter") == 0)
        fail(r, SLUICE_INPUT, "the server withholds the answer (content_filter)");
}

static uint32_t number(const json_t *object, const char *key) {
    json_int_t n = json_integer_value(json_object_get(object, key));
    return n > 0 && n < UINT32_MAX ? (uint32_t)n : 0;
}

static void take_usage(struct lm_reply *r, const json_t *usage) {
    if (!json_is_object(usage))
        return;
    r->n_prompt = number(usage, "prompt_tokens");
    r->n_tokens = number(usage, "completion_tokens");
    r->n_cached = number(json_object_get(usage, "prompt_tokens_details"), "cached_tokens");
}

/* One event's object, or the whole; the text is in the choice's `part`. */
static void take_object(struct lm_reply *r, const json_t *object, const char *part) {
    const json_t *choices = json_object_get(object, "choices");
    const json_t *error = json_object_get(object, "error");
    if (error && !json_is_null(error)) {
        fail_with(r, object);
        return;
    }
    if (!json_is_array(choices)) {
        fail(r, SLUICE_UNSUPPORTED, "the server's reply is no chat completion: it has no choices");
        return;
    }
    take_usage(r, json_object_get(object, "usage"));
    const json_t *choice = json_array_get(choices, 0);
    const json_t *content = json_object_get(json_object_get(choice, part), "content");
    if (number(choice, "index") == 0 && json_is_string(content) && r->text)
        r->text(r->ctx, json_string_value(content), json_string_length(content));
    take_end(r, json_object_get(choice, "finish_reason"));
}

static const char no_json[] =
    "the server's reply is no chat completion: it is not JSON; is the URL that of its API?";

/* ---- Events --------------------------------------------------------------------------------- */

static void end_event(struct lm_reply *r) {
    static const char done[] = "[DONE]";
    size_t len = r->event.len;
    const char *text = num_buf_text(&r->event);
    if (len == sizeof done - 1 && memcmp(text, done, len) == 0) {
        r->over = true;
    } else if (len && !r->over) {
        json_t *object = json_loadb(text, len, JSON_ALLOW_NUL, NULL);
        if (object)
            take_object(r, object, "delta");
        else if (!r->ending)
            fail(r, SLUICE_UNSUPPORTED, no_json);
        json_decref(object);
    }
    r->event.len = 0;
}

static void end_line(struct lm_reply *r) {
    static const char data[] = "data:";
    const char *line = num_buf_text(&r->line);
    size_t len = r->line.len, at = sizeof data - 1;
    r->has_field |= len && memchr(line, ':', len) && line[0] != '<';
    if (len == 0) {
        end_event(r);
    } else if (len >= at && memcmp(line, data, at) == 0) {
        at += at < len && line[at] == ' ';
        if (r->event.len)
            num_buf_addc(&r->event, '\n');
        num_buf_add(&r->event, line + at, len - at);
    }
    r->line.len = 0;
}

static void feed_events(struct lm_reply *r, const char *text, size_t len) {
    for (size_t i = 0; i < len && r->status == SLUICE_OK;) {
        size_t n = 0;
        if (r->after_cr && text[i] == '\n')
            i++;
        r->after_cr = false;
        while (i + n < len && text[i + n] != '\n' && text[i + n] != '\r')
            n++;
        num_buf_add(&r->line, text + i, n);
        i += n;
        if (r->line.len + r->event.len > LM_REPLY_MAX_EVENT)
            fail(r, SLUICE_RESOURCE, "the server's reply has an event of more than 1 MiB");
        if (i == len)
            break;
        r->after_cr = text[i++] == '\r';
        end_line(r);
    }
}

/* ---- Bytes ---------------------------------------------------------------------------------- */

/* White space and a byte order mark in front are passed over; what comes then tells the kind. */
static size_t find_kind(struct lm_reply *r, const char *text, size_t len) {
    size_t i = 0;
    for (; i < len && r->kind == LM_REPLY_UNKNOWN; i++) {
        bool passed = strchr(" \t\r\n\xef\xbb\xbf", text[i]) && text[i];
        if (!passed)
            r->kind = text[i] == '{' ? LM_REPLY_OBJECT : LM_REPLY_EVENTS;
        if (!passed)
            break;
    }
    return i;
}

bool lm_reply_feed(struct lm_reply *r, const void *data, size_t len) {
    const char *text = data;
    r->n_bytes += len;
    if (r->n_bytes > LM_REPLY_MAX)
        fail(r, SLUICE_RESOURCE, "the server's reply is larger than 64 MiB");
    size_t at = r->kind == LM_REPLY_UNKNOWN ? find_kind(r, text, len) : 0;
    if (r->status == SLUICE_OK && r->kind == LM_REPLY_EVENTS)
        feed_events(r, text + at, len - at);
    else if (r->status == SLUICE_OK && r->kind == LM_REPLY_OBJECT)
        num_buf_add(&r->line, text + at, len - at);
    if (r->line.failed || r->event.failed)
        fail(r, SLUICE_RESOURCE, "there is no memory for the server's reply");
    return r->status == SLUICE_OK;
}

static void end_object(struct lm_reply *r) {
    json_t *object = json_loadb(num_buf_text(&r->line), r->line.len, JSON_ALLOW_NUL, NULL);
    size_t len = r->line.len;
    while (len && strchr(" \t\r\n", r->line.data[len - 1]))
        len--;
    if (object) {
        take_object(r, object, "message");
        r->over = true;
    } else if (r->line.data[len - 1] == '}') {
        fail(r, SLUICE_UNSUPPORTED, no_json);
    }
    json_decref(object);
}

int32_t lm_reply_end(struct lm_reply *r, struct num_err *err) {
    if (r->status == SLUICE_OK && r->kind == LM_REPLY_OBJECT)
        end_object(r);
    if (r->status == SLUICE_OK && r->kind == LM_REPLY_EVENTS) {
        r->ending = true;
        end_line(r);
        end_event(r);
        if (!r->has_field)
            fail(r, SLUICE_UNSUPPORTED, no_json);
    }
    if (r->status == SLUICE_OK && !r->over && !r->has_end)
        fail(r, SLUICE_TRANSIENT, "the server's reply broke off");
    if (r->status != SLUICE_OK && err)
        *err = r->err;
    return r->status;
}

void lm_reply_finish(struct lm_reply *r) {
    num_buf_finish(&r->line);
    num_buf_finish(&r->event);
}

void lm_reply_refusal(const char *body, size_t len, char *ret, size_t size) {
    json_t *object = json_loadb(body, len, JSON_ALLOW_NUL, NULL);
    const json_t *message = message_of(object);
    if (message)
        copy_line(json_string_value(message), json_string_length(message), ret, size);
    else if (object || len == 0 || body[0] == '<') /* a page of HTML says nothing in a line */
        *ret = '\0';
    else
        copy_line(body, len, ret, size);
    for (char *c = ret; !object && *c; c++) /* nobody says what its characters are */
        *c = (uint8_t)*c < 0x80 ? *c : '?';
    json_decref(object);
}
