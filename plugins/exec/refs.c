/*
 * Replaces references. What opens like one must be one: "${in." and "${out." without a port name
 * and a closing brace are mistakes, said as such; "$HOME", "${x}" and "$$" are ordinary text.
 */
#include "exec/refs.h"

#include <stdlib.h>
#include <string.h>

#include <sluice/types.h>

#define MAX_PORT_LEN 63

struct text {
    char *data;
    size_t len, cap;
};

static int append(struct text *text, const char *data, size_t len, struct cmd_err *err) {
    if (text->len + len + 1 > text->cap) {
        size_t cap = (text->len + len + 1) * 2;
        char *grown = realloc(text->data, cap);
        if (!grown)
            return cmd_fail(err, SLUICE_RESOURCE, "out of memory for an argument");
        text->data = grown;
        text->cap = cap;
    }
    memcpy(text->data + text->len, data, len);
    text->len += len;
    text->data[text->len] = '\0';
    return 0;
}

/* Length of the port name at `at`: [a-z][a-z0-9_]*; 0: none. */
static size_t port_len(const char *at) {
    if (*at < 'a' || *at > 'z')
        return 0;
    return strspn(at, "abcdefghijklmnopqrstuvwxyz0123456789_");
}

/* Replaces the reference whose port name begins at `name`; *ret_end is behind its brace. */
static int expand_one(const char *whole, const char *name, bool is_output, cmd_resolver *resolve,
                      void *context, struct text *out, const char **ret_end, struct cmd_err *err) {
    char port[MAX_PORT_LEN + 1];
    size_t len = port_len(name);
    if (len == 0 || len > MAX_PORT_LEN || name[len] != '}')
        return cmd_fail(
            err, SLUICE_UNSUPPORTED,
            "\"%s\": a reference is written ${in.PORT} or ${out.PORT}, with a port name "
            "of small letters, digits and _",
            whole);
    memcpy(port, name, len);
    port[len] = '\0';
    const char *path = resolve(context, is_output, port, err);
    if (!path)
        return SLUICE_UNSUPPORTED;
    *ret_end = name + len + 1;
    return append(out, path, strlen(path), err);
}

int cmd_refs_expand(const char *text, cmd_resolver *resolve, void *context, char **ret,
                    struct cmd_err *err) {
    struct text out = {0};
    int status = append(&out, "", 0, err);
    for (const char *at = text; status == 0 && *at;) {
        if (strncmp(at, "${in.", 5) == 0) {
            status = expand_one(text, at + 5, false, resolve, context, &out, &at, err);
        } else if (strncmp(at, "${out.", 6) == 0) {
            status = expand_one(text, at + 6, true, resolve, context, &out, &at, err);
        } else {
            size_t plain = 1 + strcspn(at + 1, "$");
            status = append(&out, at, plain, err);
            at += plain;
        }
    }
    if (status < 0) {
        free(out.data);
        return status;
    }
    *ret = out.data;
    return 0;
}
