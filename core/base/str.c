/* Growable text, UTF-8 and nearest names, see str.h. Pure functions but for allocation. */
#include "base/str.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define NEAREST_MAX_LEN 64

static void grow(struct sl_str *s, size_t more) {
    if (s->cap - s->len > more)
        return;
    size_t cap = s->cap ? s->cap : 64;
    while (cap - s->len <= more)
        cap *= 2;
    s->data = sl_xrealloc(s->data, cap, 1);
    s->cap = cap;
}

void sl_str_addn(struct sl_str *s, const char *text, size_t len) {
    grow(s, len);
    memcpy(s->data + s->len, text, len);
    s->len += len;
    s->data[s->len] = 0;
}

void sl_str_add(struct sl_str *s, const char *text) {
    sl_str_addn(s, text, strlen(text));
}

void sl_str_vaddf(struct sl_str *s, const char *fmt, va_list args) {
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    if (len > 0) {
        grow(s, (size_t)len);
        vsnprintf(s->data + s->len, (size_t)len + 1, fmt, again);
        s->len += (size_t)len;
    }
    va_end(again);
}

void sl_str_addf(struct sl_str *s, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    sl_str_vaddf(s, fmt, args);
    va_end(args);
}

void sl_str_pad(struct sl_str *s, char c, int count) {
    for (int i = 0; i < count; i++)
        sl_str_addn(s, &c, 1);
}

void sl_str_clear(struct sl_str *s) {
    s->len = 0;
    if (s->data)
        s->data[0] = 0;
}

void sl_str_finish(struct sl_str *s) {
    free(s->data);
    *s = (struct sl_str){0};
}

const char *sl_str_text(const struct sl_str *s) {
    return s->data ? s->data : "";
}

/* Length of the valid sequence at text[0..len), or 0. */
static size_t utf8_sequence(const unsigned char *t, size_t len) {
    if (t[0] < 0x80)
        return 1;
    size_t n = t[0] >= 0xf0 ? 4 : t[0] >= 0xe0 ? 3 : t[0] >= 0xc2 ? 2 : 0;
    if (n == 0 || n > len || t[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((t[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (t[0] == 0xe0 && t[1] < 0xa0) || (t[0] == 0xf0 && t[1] < 0x90);
    bool surrogate = t[0] == 0xed && t[1] >= 0xa0;
    bool beyond = t[0] == 0xf4 && t[1] >= 0x90;
    return overlong || surrogate || beyond ? 0 : n;
}

size_t sl_utf8_valid(const char *text, size_t len) {
    size_t at = 0;
    while (at < len) {
        size_t n = utf8_sequence((const unsigned char *)text + at, len - at);
        if (n == 0)
            return at;
        at += n;
    }
    return len;
}

/* Bytes of the code point at `text` (1 for a stray byte), and whether it takes a column. */
static size_t code_point(const char *text, int *ret_columns) {
    const unsigned char *t = (const unsigned char *)text;
    size_t n = utf8_sequence(t, strnlen(text, 4));
    *ret_columns = 1;
    if (n == 2) {
        uint32_t c = ((t[0] & 0x1fu) << 6) | (t[1] & 0x3fu);
        *ret_columns = c >= 0x300 && c <= 0x36f ? 0 : 1;
    }
    return n ? n : 1;
}

int sl_utf8_columns(const char *text) {
    int columns = 0, one;
    while (*text) {
        text += code_point(text, &one);
        columns += one;
    }
    return columns;
}

size_t sl_utf8_prefix(const char *text, int columns) {
    size_t at = 0;
    int used = 0, one;
    while (text[at]) {
        size_t n = code_point(text + at, &one);
        if (used + one > columns)
            break;
        used += one;
        at += n;
    }
    return at;
}

/* A lead byte and continuation bytes up to the end of the text, fewer than it announces. */
static bool is_cut_off(const char *text) {
    const unsigned char *t = (const unsigned char *)text;
    size_t n = t[0] >= 0xf0 ? 4 : t[0] >= 0xe0 ? 3 : 2, have = 1;
    while (have < n && (t[have] & 0xc0) == 0x80)
        have++;
    return t[0] >= 0xc2 && t[0] <= 0xf4 && have < n && t[have] == 0;
}

char *sl_make_printable(char *text) {
    for (char *at = text; *at;) {
        size_t n = utf8_sequence((const unsigned char *)at, strnlen(at, 4));
        bool control = (n == 1 && ((unsigned char)*at < ' ' || *at == 0x7f)) ||
                       (n == 2 && (unsigned char)at[0] == 0xc2 && (unsigned char)at[1] < 0xa0);
        if (n == 0 && is_cut_off(at)) {
            *at = 0;
            break;
        }
        if (n == 0 || control)
            memset(at, n == 0 ? '?' : ' ', n ? n : 1);
        at += n ? n : 1;
    }
    return text;
}

bool sl_is_identifier(const char *text) {
    if (*text < 'a' || *text > 'z')
        return false;
    for (; *text; text++)
        if (!((*text >= 'a' && *text <= 'z') || (*text >= '0' && *text <= '9') || *text == '_'))
            return false;
    return true;
}

bool sl_starts_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool sl_ends_with(const char *text, const char *suffix) {
    size_t n = strlen(text), m = strlen(suffix);
    return n >= m && strcmp(text + n - m, suffix) == 0;
}

static int min3(int a, int b, int c) {
    int m = a < b ? a : b;
    return m < c ? m : c;
}

/* Optimal string alignment distance (Damerau 1964, restricted), three rows. */
static int distance(const char *a, const char *b) {
    int n = (int)strlen(a), m = (int)strlen(b);
    if (n > NEAREST_MAX_LEN || m > NEAREST_MAX_LEN)
        return NEAREST_MAX_LEN;
    int rows[3][NEAREST_MAX_LEN + 1];
    int *before = rows[0], *last = rows[1], *row = rows[2];
    for (int j = 0; j <= m; j++)
        last[j] = j;
    for (int i = 1; i <= n; i++) {
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            int ca = tolower((unsigned char)a[i - 1]), cb = tolower((unsigned char)b[j - 1]);
            row[j] = min3(last[j] + 1, row[j - 1] + 1, last[j - 1] + (ca != cb));
            if (i > 1 && j > 1 && ca == tolower((unsigned char)b[j - 2]) &&
                cb == tolower((unsigned char)a[i - 2]) && before[j - 2] + 1 < row[j])
                row[j] = before[j - 2] + 1;
        }
        int *oldest = before;
        before = last;
        last = row;
        row = oldest;
    }
    return last[m];
}

const char *sl_nearest(const char *word, const char *const *candidates, size_t n) {
    int limit = (int)strlen(word) / 3, best = 0;
    const char *nearest = NULL;
    if (limit < 1)
        limit = 1;
    for (size_t i = 0; i < n; i++) {
        int d = distance(word, candidates[i]);
        if (d <= limit && (!nearest || d < best)) {
            nearest = candidates[i];
            best = d;
        }
    }
    return nearest;
}

void sl_str_add_list(struct sl_str *s, const char *const *words, size_t n, const char *last_joint) {
    if (n == 0)
        sl_str_add(s, "none");
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            sl_str_addf(s, "%s", i + 1 < n ? ", " : "");
        if (i > 0 && i + 1 == n)
            sl_str_addf(s, " %s ", last_joint);
        sl_str_add(s, words[i]);
    }
}
