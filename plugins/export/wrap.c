/*
 * Greedy line breaking: a line takes words until the next one would pass the width, then ends at
 * the last place where it may end. Such places are white space and the seam of two East Asian
 * characters (a small part of Unicode's line breaking rules, UAX 14: classes SP, ID, CL, OP and
 * CM).
 *
 * A column is a code point that is no combining mark, as subtitle tools count; wide glyphs count as
 * one. The work is linear: after a break only the part of the line that moved down is counted
 * again.
 */
#include "export/wrap.h"

#include <stdlib.h>
#include <string.h>

#include <sluice/types.h>

#include "export/text.h"
#include "num/buf.h"

/* Chinese and Japanese: a line may end before and after such a character. Korean puts spaces. */
static bool is_ideographic(uint32_t c) {
    return (c >= 0x2e80 && c <= 0x2fff) || (c >= 0x3001 && c <= 0x31ff) ||
           (c >= 0x3400 && c <= 0x9fff) || (c >= 0xf900 && c <= 0xfaff) ||
           (c >= 0xff01 && c <= 0xff9f) || (c >= 0x20000 && c <= 0x3ffff);
}

static bool is_one_of(uint32_t c, const char *set) {
    while (*set)
        if (ex_text_next(&set) == c)
            return true;
    return false;
}

/* May a line end between `before` and `after`, neither of them white space? */
static bool may_break(uint32_t before, uint32_t after) {
    if (!is_ideographic(before) && !is_ideographic(after))
        return false;
    return !is_one_of(
               after,
               ",.!?:;)]}%"
               "、。，．：；！？」』）】〉》〕］｝…‥ーゝ々ぁぃぅぇぉっゃゅょァィゥェォッャュョ") &&
           !is_one_of(before, "([{「『（【〈《〔［｛$¥￥");
}

static int add_line(struct ex_lines *lines, size_t at, size_t end, struct num_err *err) {
    int32_t status = num_grow(&lines->lines, lines->n, &lines->cap, sizeof *lines->lines,
                              "lines of a subtitle", err);
    if (status == SLUICE_OK)
        lines->lines[lines->n++] = (struct ex_line){at, end - at};
    return status;
}

/* Columns of [at, end). */
static size_t columns(const char *at, const char *end) {
    size_t n = 0;
    while (at < end)
        n += !ex_text_is_mark(ex_text_next(&at));
    return n;
}

static size_t indent_of(const struct ex_wrap *wrap, size_t line) {
    return line == 0 || (wrap->count && line % wrap->count == 0) ? wrap->indent : 0;
}

/* Wraps [text + at, text + end), which holds no line break. */
static int wrap_paragraph(const char *text, size_t at, size_t end, const struct ex_wrap *wrap,
                          struct ex_lines *lines, struct num_err *err) {
    const char *const stop = text + end;
    const char *line = text + at;
    const char *break_end = NULL;  /* where the line may end */
    const char *break_next = NULL; /* where the next begins */
    const char *space = NULL;      /* start of the white space just before p */
    size_t column = indent_of(wrap, lines->n);
    uint32_t before = ' ';
    for (const char *p = line; p < stop;) {
        const char *from = p;
        uint32_t c = ex_text_next(&p);
        bool mark = ex_text_is_mark(c);
        if (ex_text_is_space(c)) {
            space = space ? space : from;
            column++;
            before = c;
            continue;
        }
        if (space || (!mark && from > line && may_break(before, c))) {
            break_end = space ? space : from;
            break_next = from;
            space = NULL;
        }
        column += !mark;
        before = mark ? before : c;
        if (column <= wrap->width || !break_end || break_end == line)
            continue;
        int status = add_line(lines, (size_t)(line - text), (size_t)(break_end - text), err);
        if (status < 0)
            return status;
        line = break_next;
        break_end = NULL;
        column = indent_of(wrap, lines->n) + columns(line, p);
    }
    return add_line(lines, (size_t)(line - text), end, err);
}

int ex_wrap_lines(const char *text, const struct ex_wrap *wrap, struct ex_lines *ret,
                  struct num_err *err) {
    for (size_t at = 0; text[at];) {
        size_t end = at + strcspn(text + at, "\n");
        int status = wrap->width ? wrap_paragraph(text, at, end, wrap, ret, err)
                                 : add_line(ret, at, end, err);
        if (status < 0)
            return status;
        at = end + (text[end] == '\n');
    }
    return 0;
}

void ex_lines_finish(struct ex_lines *lines) {
    free(lines->lines);
    *lines = (struct ex_lines){0};
}
