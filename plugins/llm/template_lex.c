/*
 * Tokens of a template. Text outside of tags is cut as Jinja cuts it with trim_blocks and
 * lstrip_blocks: white space in front of a block or comment that begins its line, and one newline
 * behind it, go; "-" inside a tag strips all white space on that side, "+" keeps it.
 */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llm/template_node.h"
#include "num/unicode.h"

int32_t lm_tpl_fail_at(struct lm_tpl_lexer *x, uint32_t line, uint32_t column, int32_t status,
                       const char *format, ...) {
    char text[400];
    va_list args;
    if (x->status)
        return x->status;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    x->status = num_fail(x->err, status, "%s, line %u, column %u: %s", x->name, line, column, text);
    return x->status;
}

/* Line and column of offset `at`, which never goes back. */
static void count_to(struct lm_tpl_lexer *x, size_t at) {
    for (; x->counted < at; x->counted++) {
        if (x->text[x->counted] == '\n') {
            x->line++;
            x->column = 1;
        } else if (((uint8_t)x->text[x->counted] & 0xc0) != 0x80) {
            x->column++;
        }
    }
}

static void fail_here(struct lm_tpl_lexer *x, size_t at, const char *what) {
    count_to(x, at);
    lm_tpl_fail_at(x, x->line, x->column, SLUICE_INPUT, "%s", what);
    x->at = x->len;
}

static bool is_ascii_space(char c) {
    return c == ' ' || (c >= 9 && c <= 13);
}

static char peek(const struct lm_tpl_lexer *x, size_t ahead) {
    return x->at + ahead < x->len ? x->text[x->at + ahead] : '\0';
}

/* ---- Outside of tags ---- */

/* The offset of the next tag at or after `at`, or the end. */
static size_t find_tag(const struct lm_tpl_lexer *x, size_t at) {
    for (; at + 1 < x->len; at++)
        if (x->text[at] == '{' &&
            (x->text[at + 1] == '{' || x->text[at + 1] == '%' || x->text[at + 1] == '#'))
            return at;
    return x->len;
}

static size_t skip_space(const struct lm_tpl_lexer *x, size_t at) {
    size_t step;
    while (at < x->len && num_char_is_white(num_char_next(x->text + at, x->len - at, &step)))
        at += step;
    return at;
}

/* The end of the text [begin, tag) once what the tag strips is gone. */
static size_t strip_before(const struct lm_tpl_lexer *x, size_t begin, size_t tag) {
    char sign = tag + 2 < x->len ? x->text[tag + 2] : '\0';
    size_t skip, line = tag;
    if (tag == x->len)
        return tag;
    if (sign == '-') {
        size_t len = num_text_trim(x->text + begin, tag - begin, &skip);
        return len ? begin + skip + len : begin;
    }
    if (sign == '+' || x->text[tag + 1] == '{')
        return tag;
    while (line > begin && x->text[line - 1] != '\n' && is_ascii_space(x->text[line - 1]))
        line--;
    bool starts = line > begin ? x->text[line - 1] == '\n' : x->line_starts;
    return starts ? line : tag;
}

/* Consumes the end of a tag that lies at x->at, `skip` bytes long, with what it strips behind
 * it. */
static void end_tag(struct lm_tpl_lexer *x, size_t skip, bool strips, bool newline) {
    size_t end = x->at + skip;
    if (strips)
        end = skip_space(x, end);
    else if (newline && end < x->len && x->text[end] == '\n')
        end++;
    x->at = end;
    x->line_starts = end > 0 && x->text[end - 1] == '\n';
}

static void skip_comment(struct lm_tpl_lexer *x) {
    size_t begin = x->at;
    const char *end = memmem(x->text + begin + 2, x->len - begin - 2, "#}", 2);
    if (!end) {
        fail_here(x, begin, "the comment {# does not end with #}");
        return;
    }
    x->at = (size_t)(end - x->text);
    char sign = x->at > begin + 2 ? x->text[x->at - 1] : '\0';
    end_tag(x, 2, sign == '-', sign != '+');
}

static void begin_tag(struct lm_tpl_lexer *x, struct lm_tpl_token *ret) {
    count_to(x, x->at);
    ret->line = x->line;
    ret->column = x->column;
    ret->kind = x->text[x->at + 1] == '{' ? K_PRINT_BEGIN : K_BLOCK_BEGIN;
    x->inside = ret->kind;
    x->depth = 0;
    x->at += 2;
    if (peek(x, 0) == '-' || peek(x, 0) == '+')
        x->at++;
}

/* Text up to the next tag, or the begin of a tag; comments are passed over. */
static void next_outside(struct lm_tpl_lexer *x, struct lm_tpl_token *ret) {
    while (x->at < x->len && !x->status) {
        size_t begin = x->at, tag = find_tag(x, begin), end = strip_before(x, begin, tag);
        x->at = tag;
        if (end > begin) {
            *ret = (struct lm_tpl_token){.kind = K_TEXT, .text = {x->text + begin, end - begin}};
            return;
        }
        if (tag == x->len)
            break;
        if (x->text[tag + 1] != '#') {
            begin_tag(x, ret);
            return;
        }
        skip_comment(x);
    }
    ret->kind = K_END;
}

/* ---- Inside of tags ---- */

static bool is_name_char(char c, bool first) {
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (!first && c >= '0' && c <= '9');
}

static void read_name(struct lm_tpl_lexer *x, struct lm_tpl_token *ret) {
    size_t begin = x->at;
    while (x->at < x->len && is_name_char(x->text[x->at], false))
        x->at++;
    ret->kind = K_NAME;
    ret->text = (struct lm_tpl_text){x->text + begin, x->at - begin};
}

static void read_number(struct lm_tpl_lexer *x, struct lm_tpl_token *ret) {
    char digits[64];
    size_t n = 0, begin = x->at;
    bool real = false;
    for (; x->at < x->len && n + 1 < sizeof digits; x->at++) {
        char c = x->text[x->at], next = peek(x, 1);
        bool exponent = (c == 'e' || c == 'E') && n > 0;
        if (c == '_')
            continue;
        if (c == '.' && !real && next >= '0' && next <= '9')
            real = true;
        else if (exponent && ((next >= '0' && next <= '9') || next == '-' || next == '+')) {
            real = true;
            digits[n++] = c;
            c = x->text[++x->at];
        } else if (c < '0' || c > '9')
            break;
        digits[n++] = c;
    }
    digits[n] = '\0';
    errno = 0;
    ret->kind = real ? K_FLOAT : K_INT;
    ret->f = strtod(digits, NULL);
    ret->i = real ? 0 : strtoll(digits, NULL, 10);
    if (errno == ERANGE || n + 1 == sizeof digits || !isfinite(ret->f))
        fail_here(x, begin, "the number is too large");
}

static unsigned hex_value(char c) {
    return c >= '0' && c <= '9'   ? (unsigned)(c - '0')
           : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
           : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10)
                                  : 16;
}

/* The character of `n` hexadecimal digits behind the escape at x->at; false where there are
 * fewer. */
static bool read_hex(struct lm_tpl_lexer *x, size_t n, struct num_buf *out) {
    uint32_t c = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned digit = hex_value(peek(x, 1 + i));
        if (digit > 15)
            return false;
        c = c * 16 + digit;
    }
    if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return false;
    num_buf_add_char(out, c);
    x->at += n;
    return true;
}

/* The escape whose letter is at x->at. What Python does not know stays as it is. */
static void read_escape(struct lm_tpl_lexer *x, struct num_buf *out) {
    static const char letters[] = "nrtabfv0\\'\"", meanings[] = "\n\r\t\a\b\f\v\0\\'\"";
    char c = peek(x, 0);
    const char *known = c ? strchr(letters, c) : NULL;
    size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits && read_hex(x, digits, out))
        return;
    if (digits)
        fail_here(x, x->at, "the escape in this string is not a character");
    else if (known)
        num_buf_addc(out, meanings[known - letters]);
    else if (c != '\n') {
        num_buf_addc(out, '\\');
        num_buf_addc(out, c);
    }
}

static void read_string(struct lm_tpl_lexer *x, struct lm_tpl_token *ret) {
    num_autobuf out = {0};
    size_t begin = x->at;
    char quote = x->text[x->at++];
    for (; x->at < x->len && x->text[x->at] != quote && !x->status; x->at++) {
        if (x->text[x->at] != '\\') {
            num_buf_addc(&out, x->text[x->at]);
            continue;
        }
        x->at++;
        if (x->at < x->len)
            read_escape(x, &out);
    }
    if (x->at >= x->len) {
        fail_here(x, begin, "the string does not end");
        return;
    }
    x->at++;
    char *data = lm_tpl_alloc(x->arena, out.len + 1);
    if (!data || out.failed) {
        x->status = num_fail_memory(x->err, x->name, out.len);
        return;
    }
    memcpy(data, num_buf_text(&out), out.len);
    ret->kind = K_STRING;
    ret->text = (struct lm_tpl_text){data, out.len};
}

static void read_sign(struct lm_tpl_lexer *x, struct lm_tpl_token *ret) {
    static const char *const pairs[] = {"==", "!=", "<=", ">=", "//", "**"};
    size_t n = 1;
    char c = peek(x, 0);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (c == pairs[i][0] && peek(x, 1) == pairs[i][1])
            n = 2;
    if (n == 1 && !strchr("+-*/%~|.,:()[]{}<>=", c)) {
        fail_here(x, x->at, "this character has no meaning inside a tag");
        return;
    }
    if (strchr("([{", c))
        x->depth++;
    else if (strchr(")]}", c) && x->depth > 0)
        x->depth--;
    ret->kind = K_SIGN;
    ret->text = (struct lm_tpl_text){x->text + x->at, n};
    x->at += n;
}

/* The end of the tag, where it is at x->at. */
static bool ends_tag(struct lm_tpl_lexer *x, struct lm_tpl_token *ret) {
    bool block = x->inside == K_BLOCK_BEGIN;
    char sign = peek(x, 0), first = block ? '%' : '}';
    bool signed_end =
        (sign == '-' || (block && sign == '+')) && peek(x, 1) == first && peek(x, 2) == '}';
    bool plain_end = x->depth == 0 && peek(x, 0) == first && peek(x, 1) == '}';
    if (!signed_end && !plain_end)
        return false;
    end_tag(x, signed_end ? 3 : 2, signed_end && sign == '-',
            block && !(signed_end && sign == '+'));
    ret->kind = block ? K_BLOCK_END : K_PRINT_END;
    x->inside = K_TEXT;
    return true;
}

static void next_inside(struct lm_tpl_lexer *x, struct lm_tpl_token *ret) {
    while (x->at < x->len && is_ascii_space(x->text[x->at]))
        x->at++;
    count_to(x, x->at);
    ret->line = x->line;
    ret->column = x->column;
    if (x->at >= x->len) {
        lm_tpl_fail_at(x, x->line, x->column, SLUICE_INPUT, "the template ends inside a tag");
        return;
    }
    char c = x->text[x->at];
    if (ends_tag(x, ret))
        return;
    if (is_name_char(c, true))
        read_name(x, ret);
    else if (c >= '0' && c <= '9')
        read_number(x, ret);
    else if (c == '"' || c == '\'')
        read_string(x, ret);
    else
        read_sign(x, ret);
}

void lm_tpl_next(struct lm_tpl_lexer *x, struct lm_tpl_token *ret) {
    *ret = (struct lm_tpl_token){.kind = K_END, .line = x->line, .column = x->column};
    if (x->status)
        return;
    if (x->inside == K_TEXT)
        next_outside(x, ret);
    else
        next_inside(x, ret);
    if (x->status)
        ret->kind = K_END;
}
