/*
 * GBNF: see gbnf.h. One pass that writes the program as it reads; what repeats an item stands
 * behind it, so its end is looked for first.
 */
#include "llm/gbnf.h"

#include <stdlib.h>
#include <string.h>

#include "llm/grammar_program.h"
#include "num/utf8.h"

#define MAX_BYTES  (64 << 10)
#define MAX_DEPTH  60      /* of parentheses */
#define MAX_RANGES 120     /* of a class */
#define MAX_REPEAT 1000000 /* times */
#define LAST_CHAR  0x10ffffu

struct parser {
    struct lm_grammar *g;
    const char *text;
    size_t len, at;
    int depth;
    int32_t status;
    struct num_err *err;
};

typedef uint32_t range[2];

static void fail(struct parser *p, const char *what) {
    size_t line = 1, column = 1;
    if (p->status)
        return;
    for (size_t i = 0; i < p->at && i < p->len; i++) {
        column = p->text[i] == '\n' ? 1 : column + (((uint8_t)p->text[i] & 0xc0) != 0x80);
        line += p->text[i] == '\n';
    }
    p->status = num_fail(p->err, SLUICE_INPUT, "%zu:%zu: %s", line, column, what);
}

static char look(const struct parser *p) {
    return p->at < p->len && !p->status ? p->text[p->at] : '\0';
}

static bool take(struct parser *p, char c) {
    bool there = look(p) == c && c;
    p->at += there;
    return there;
}

/* Blanks and comments, and ends of lines where those are none of the rule. */
static void skip_space(struct parser *p, bool lines) {
    for (char c;
         (c = look(p)) == ' ' || c == '\t' || c == '#' || (lines && (c == '\n' || c == '\r'));) {
        if (c == '#')
            while (look(p) && look(p) != '\n' && look(p) != '\r')
                p->at++;
        else
            p->at++;
    }
}

static bool is_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

static size_t name_length(const struct parser *p) {
    size_t n = 0;
    while (p->at + n < p->len && is_name(p->text[p->at + n]))
        n++;
    return n;
}

/* ---- Characters ----------------------------------------------------------------------------- */

static uint32_t hexadecimal(struct parser *p, int n) {
    uint32_t c = 0;
    for (int i = 0; i < n; i++) {
        char digit = look(p);
        int value = digit >= '0' && digit <= '9'   ? digit - '0'
                    : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                    : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                                   : -1;
        if (value < 0) {
            fail(p, "expected a hexadecimal digit");
            return 0;
        }
        c = c << 4 | (uint32_t)value;
        p->at++;
    }
    if (c > LAST_CHAR || (c >= 0xd800 && c < 0xe000))
        fail(p, "there is no such character");
    return p->status ? 0 : c;
}

/* One character of a literal or a class, which may be written by an escape. */
static uint32_t character(struct parser *p) {
    static const char names[] = "nrt\\\"[]-^", means[] = "\n\r\t\\\"[]-^";
    uint32_t c = 0;
    if (!take(p, '\\')) {
        size_t n = num_utf8_next((const uint8_t *)p->text + p->at, p->len - p->at, &c);
        if (n == 0)
            fail(p, "this is no UTF-8");
        p->at += n;
        return c;
    }
    char name = look(p);
    const char *found = name ? strchr(names, name) : NULL;
    int digits = name == 'x' ? 2 : name == 'u' ? 4 : name == 'U' ? 8 : 0;
    if (!found && !digits) {
        fail(p, "expected an escape: \\n \\r \\t \\\\ \\\" \\[ \\] \\- \\^ \\xHH \\uHHHH or "
                "\\UHHHHHHHH");
        return 0;
    }
    p->at++;
    return found ? (uint32_t)means[found - names] : hexadecimal(p, digits);
}

static void literal(struct parser *p) {
    p->at++;
    while (!p->status && look(p) != '"') {
        uint8_t bytes[4];
        if (!look(p) || look(p) == '\n') {
            fail(p, "expected the end of the text, \"");
            return;
        }
        uint32_t c = character(p);
        lm_emit_literal(p->g, (const char *)bytes, num_utf8_put(c, bytes));
    }
    p->at++;
}

static int by_first(const void *a, const void *b) {
    const uint32_t *x = a, *y = b;
    return (x[0] > y[0]) - (x[0] < y[0]);
}

/* What is in none of the n ranges; `ret` has room for n + 1. */
static size_t complement(range *ranges, size_t n, range *ret) {
    uint32_t next = 0;
    size_t n_ret = 0;
    qsort(ranges, n, sizeof *ranges, by_first);
    for (size_t i = 0; i < n; i++) {
        if (ranges[i][0] > next) {
            ret[n_ret][0] = next;
            ret[n_ret++][1] = ranges[i][0] - 1;
        }
        if (ranges[i][1] >= next)
            next = ranges[i][1] + 1;
    }
    if (next <= LAST_CHAR) {
        ret[n_ret][0] = next;
        ret[n_ret++][1] = LAST_CHAR;
    }
    return n_ret;
}

static void class(struct parser *p) {
    range ranges[MAX_RANGES], others[MAX_RANGES + 1];
    size_t n = 0;
    p->at++;
    bool negated = take(p, '^');
    while (!p->status && look(p) != ']') {
        if (!look(p) || look(p) == '\n')
            fail(p, "expected the end of the class, ]");
        else if (n == MAX_RANGES)
            fail(p, "the class has more than 120 parts");
        if (p->status)
            return;
        ranges[n][0] = ranges[n][1] = character(p);
        bool to = look(p) == '-' && p->at + 1 < p->len && p->text[p->at + 1] != ']';
        if (to) {
            p->at++;
            ranges[n][1] = character(p);
        }
        if (ranges[n][0] > ranges[n][1])
            fail(p, "the first character is behind the last");
        n++;
    }
    p->at++;
    if (negated)
        n = complement(ranges, n, others);
    if (n == 0)
        fail(p, "the class has no characters");
    if (!p->status)
        lm_emit_chars(p->g, (const range *)(negated ? others : ranges), n);
}

/* ---- Items ---------------------------------------------------------------------------------- */

/* The end of the literal or class at `at`: behind `close`. */
static size_t quoted_end(const struct parser *p, size_t at, char close) {
    for (at++; at < p->len && p->text[at] != close && p->text[at] != '\n'; at++)
        at += p->text[at] == '\\' && at + 1 < p->len;
    return at < p->len ? at + 1 : p->len;
}

/* Where the item at p->at ends; what is wrong with it is found when it is read. */
static size_t item_end(const struct parser *p) {
    size_t at = p->at, depth = 0;
    if (is_name(p->text[at]))
        return at + name_length(p);
    do {
        char c = p->text[at];
        if (c == '"' || c == '[') {
            at = quoted_end(p, at, c == '"' ? '"' : ']');
            continue;
        }
        if (c == '#')
            while (at < p->len && p->text[at] != '\n')
                at++;
        depth += c == '(';
        depth -= c == ')';
        at += at < p->len;
    } while (depth > 0 && at < p->len);
    return at;
}

static uint32_t number(struct parser *p) {
    uint32_t n = 0;
    if (look(p) < '0' || look(p) > '9')
        fail(p, "expected a number");
    while (look(p) >= '0' && look(p) <= '9' && n <= MAX_REPEAT)
        n = n * 10 + (uint32_t)(p->text[p->at++] - '0');
    if (n > MAX_REPEAT)
        fail(p, "more than 1000000 times");
    return n;
}

/* How often: *ret_min and *ret_max; once where nothing is said. */
static void repetition(struct parser *p, uint32_t *ret_min, uint32_t *ret_max) {
    *ret_min = *ret_max = 1;
    if (take(p, '*')) {
        *ret_min = 0;
        *ret_max = LM_UNBOUNDED;
    } else if (take(p, '+')) {
        *ret_max = LM_UNBOUNDED;
    } else if (take(p, '?')) {
        *ret_min = 0;
    } else if (take(p, '{')) {
        *ret_min = *ret_max = number(p);
        if (take(p, ','))
            *ret_max = look(p) == '}' ? LM_UNBOUNDED : number(p);
        if (!p->status && *ret_max < *ret_min)
            fail(p, "the least number of times is above the most");
        if (!p->status && !take(p, '}'))
            fail(p, "expected }");
    }
}

static void alternatives(struct parser *p, bool nested);

static void group(struct parser *p) {
    p->at++;
    if (++p->depth > MAX_DEPTH)
        fail(p, "more than 60 parentheses within each other");
    if (!p->status)
        alternatives(p, true);
    if (!take(p, ')'))
        fail(p, "expected )");
    p->depth--;
}

static void item_once(struct parser *p) {
    static const range any[1] = {{0, LAST_CHAR}};
    char c = look(p);
    if (c == '"') {
        literal(p);
    } else if (c == '[') {
        class(p);
    } else if (c == '(') {
        group(p);
    } else if (take(p, '.')) {
        lm_emit_chars(p->g, any, 1);
    } else {
        size_t n = name_length(p);
        lm_emit(p->g, I_CALL, lm_grammar_rule(p->g, p->text + p->at, n), 0);
        p->at += n;
    }
}

static void item(struct parser *p) {
    struct parser behind = *p;
    uint32_t min = 1, max = 1;
    behind.at = item_end(p);
    skip_space(&behind, p->depth > 0);
    repetition(&behind, &min, &max);
    if (behind.status) {
        p->status = behind.status;
        return;
    }
    bool once = min == 1 && max == 1;
    size_t repeat = once ? 0 : lm_emit_repeat(p->g, min, max);
    item_once(p);
    if (!once && !p->status)
        lm_emit_repeated(p->g, repeat);
    p->at = behind.at;
}

static bool begins_item(char c) {
    return c && (is_name(c) || strchr("\"[(.", c));
}

/* a b c | d | ...; an alternative may be empty. */
static void alternatives(struct parser *p, bool nested) {
    size_t end = LM_NO_END;
    for (bool more = true; more && !p->status && !p->g->failed;) {
        size_t split = lm_emit_or(p->g);
        skip_space(p, true);
        while (begins_item(look(p)) && !p->g->failed) {
            item(p);
            skip_space(p, nested);
        }
        more = take(p, '|');
        if (more)
            lm_emit_else(p->g, split, &end);
        else if (!p->g->failed)
            p->g->code[split].b = p->g->code[split].a; /* the last is no choice */
    }
    lm_emit_end(p->g, end);
}

/* ---- Rules ---------------------------------------------------------------------------------- */

static void rule(struct parser *p) {
    static const char assign[] = "::=";
    size_t n = name_length(p);
    if (n == 0) {
        fail(p, "expected the name of a rule");
        return;
    }
    uint32_t r = lm_grammar_rule(p->g, p->text + p->at, n);
    if (!p->g->failed && p->g->rules[r].defined) {
        fail(p, "there is a rule of that name already");
        return;
    }
    p->at += n;
    skip_space(p, false);
    if (p->len - p->at < 3 || memcmp(p->text + p->at, assign, 3) != 0) {
        fail(p, "expected ::=");
        return;
    }
    p->at += 3;
    lm_grammar_begin(p->g, r);
    alternatives(p, false);
    lm_emit(p->g, I_RETURN, 0, 0);
    if (look(p) && look(p) != '\n' && look(p) != '\r')
        fail(p, "expected an item, |, or the end of the line");
}

int32_t lm_gbnf_compile(const char *text, size_t len, struct lm_grammar **ret,
                        struct num_err *err) {
    struct num_err spare;
    struct parser p = {.g = lm_grammar_new(), .text = text, .len = len, .err = err ? err : &spare};
    if (!p.g)
        return num_fail_memory(err, "a grammar", sizeof *p.g);
    if (len > MAX_BYTES || memchr(text, 0, len))
        p.status = num_fail(p.err, SLUICE_INPUT, "a grammar is a text of at most 64 KiB");
    lm_grammar_rule(p.g, "root", 4);
    for (skip_space(&p, true); look(&p) && !p.g->failed; skip_space(&p, true))
        rule(&p);
    if (p.status) {
        lm_grammar_destroy(p.g);
        return p.status;
    }
    return lm_grammar_finish(p.g, ret, err);
}
