/* Escaping, links, figures and tones: see html.h. */
#include "report/html.h"

#include <string.h>

#include "base/units.h"

void sl_html_text(struct sl_str *out, const char *text) {
    for (; *text; text++) {
        const char *entity = *text == '&'    ? "&amp;"
                             : *text == '<'  ? "&lt;"
                             : *text == '>'  ? "&gt;"
                             : *text == '"'  ? "&quot;"
                             : *text == '\'' ? "&#39;"
                                             : NULL;
        if (entity)
            sl_str_add(out, entity);
        else
            sl_str_addn(out, (unsigned char)*text < 0x20 || *text == 0x7f ? " " : text, 1);
    }
}

/* A path as part of a URL: what RFC 3986 calls unreserved, and slashes, stay. */
static void add_url_path(struct sl_str *out, const char *path) {
    for (; *path; path++) {
        unsigned char c = (unsigned char)*path;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     strchr("-._~/", c);
        if (plain)
            sl_str_addn(out, path, 1);
        else
            sl_str_addf(out, "%%%02X", c);
    }
}

void sl_html_file(struct sl_str *out, const char *path, const char *text) {
    if (path[0] != '/') {
        sl_html_text(out, text);
        return;
    }
    sl_str_add(out, "<a href=\"file://");
    add_url_path(out, path);
    sl_str_add(out, "\">");
    sl_html_text(out, text);
    sl_str_add(out, "</a>");
}

void sl_html_duration(struct sl_str *out, double seconds) {
    char text[32];
    sl_str_add(out, seconds >= 0 ? sl_format_duration(seconds, text, sizeof text) : "-");
}

void sl_html_size(struct sl_str *out, double bytes) {
    char text[32];
    sl_str_add(out, bytes > 0 && bytes < 1e18 ? sl_format_size((uint64_t)bytes, text, sizeof text)
                                              : "-");
}

const char *sl_html_tone(const char *outcome) {
    static const char *const good[] = {"ok", "done", NULL};
    static const char *const doubtful[] = {"absent", "skipped", "cancelled", "transient", NULL};
    static const char *const open[] = {"running", "waiting",    "open", "ready",
                                       "backoff", "unfinished", NULL};
    for (size_t i = 0; good[i]; i++)
        if (strcmp(outcome, good[i]) == 0)
            return "ok";
    for (size_t i = 0; doubtful[i]; i++)
        if (strcmp(outcome, doubtful[i]) == 0)
            return "warn";
    for (size_t i = 0; open[i]; i++)
        if (strcmp(outcome, open[i]) == 0)
            return "open";
    return "bad";
}

void sl_html_outcome(struct sl_str *out, const char *outcome) {
    sl_str_addf(out, "<td class=\"%s\">", sl_html_tone(outcome));
    sl_html_text(out, outcome);
    sl_str_add(out, "</td>");
}

void sl_html_attempt_id(struct sl_str *out, size_t item, const char *stage, double attempt) {
    sl_str_addf(out, "a%zu-", item);
    sl_html_text(out, stage);
    sl_str_addf(out, "-%.0f", attempt);
}
