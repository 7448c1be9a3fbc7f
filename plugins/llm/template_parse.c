/*
 * Statements of a template, and what the expressions need of the parser. Bodies end at a block
 * whose word is one of those that the statement names.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llm/template_parse.h"
#include "num/utf8.h"

#define MAX_MEMORY   (64u << 20)
#define MAX_TEMPLATE (8u << 20)
#define MAX_DEPTH    150

/* ---- Tokens and nodes ---- */

void *lm_tpl_parse_alloc(struct lm_tpl_parser *p, size_t size) {
    void *data = lm_tpl_alloc(&p->t->arena, size);
    if (data)
        return data;
    if (!p->lexer.status)
        p->lexer.status =
            num_fail(p->lexer.err, SLUICE_RESOURCE, "%s: it is too large", p->t->name);
    memset(&p->spare, 0, sizeof p->spare);
    return &p->spare;
}

struct lm_tpl_node *lm_tpl_node_new(struct lm_tpl_parser *p, enum lm_tpl_node_kind kind) {
    struct lm_tpl_node *n = lm_tpl_parse_alloc(p, sizeof *n);
    n->kind = kind;
    n->line = p->token.line;
    n->column = p->token.column;
    return n;
}

bool lm_tpl_enter(struct lm_tpl_parser *p) {
    if (p->lexer.status)
        return false;
    if (p->depth == MAX_DEPTH) {
        lm_tpl_fail_at(&p->lexer, p->token.line, p->token.column, SLUICE_UNSUPPORTED,
                       "nested more than %d deep", MAX_DEPTH);
        p->token.kind = K_END;
        return false;
    }
    p->depth++;
    return true;
}

void lm_tpl_advance(struct lm_tpl_parser *p) {
    lm_tpl_next(&p->lexer, &p->token);
}

bool lm_tpl_at(const struct lm_tpl_parser *p, const char *sign) {
    return p->token.kind == K_SIGN && lm_tpl_is(p->token.text, sign);
}

bool lm_tpl_skip(struct lm_tpl_parser *p, const char *sign) {
    if (!lm_tpl_at(p, sign))
        return false;
    lm_tpl_advance(p);
    return true;
}

bool lm_tpl_at_name(const struct lm_tpl_parser *p, const char *name) {
    return p->token.kind == K_NAME && lm_tpl_is(p->token.text, name);
}

bool lm_tpl_skip_name(struct lm_tpl_parser *p, const char *name) {
    if (!lm_tpl_at_name(p, name))
        return false;
    lm_tpl_advance(p);
    return true;
}

void lm_tpl_unexpected(struct lm_tpl_parser *p, const char *expected) {
    static const char *const names[K_SIGN + 1] = {[K_END] = "the end of the template",
                                                  [K_TEXT] = "text",
                                                  [K_PRINT_BEGIN] = "{{",
                                                  [K_PRINT_END] = "}}",
                                                  [K_BLOCK_BEGIN] = "{%",
                                                  [K_BLOCK_END] = "%}",
                                                  [K_INT] = "a number",
                                                  [K_FLOAT] = "a number",
                                                  [K_STRING] = "a string"};
    const char *found = names[p->token.kind];
    if (found)
        lm_tpl_fail_at(&p->lexer, p->token.line, p->token.column, SLUICE_INPUT,
                       "expected %s, found %s", expected, found);
    else
        lm_tpl_fail_at(&p->lexer, p->token.line, p->token.column, SLUICE_INPUT,
                       "expected %s, found `%.*s`", expected,
                       (int)(p->token.text.len < 40 ? p->token.text.len : 40), p->token.text.data);
    p->token.kind = K_END;
}

void lm_tpl_unsupported(struct lm_tpl_parser *p, const char *what) {
    lm_tpl_fail_at(&p->lexer, p->token.line, p->token.column, SLUICE_UNSUPPORTED, "%s", what);
    p->token.kind = K_END;
}

void lm_tpl_expect(struct lm_tpl_parser *p, const char *sign) {
    char text[8];
    snprintf(text, sizeof text, "`%s`", sign);
    if (!lm_tpl_skip(p, sign))
        lm_tpl_unexpected(p, text);
}

struct lm_tpl_text lm_tpl_expect_name(struct lm_tpl_parser *p, const char *what) {
    struct lm_tpl_text text = p->token.text;
    if (p->token.kind == K_NAME)
        lm_tpl_advance(p);
    else
        lm_tpl_unexpected(p, what);
    return text;
}

/* ---- Statements ---- */

static struct lm_tpl_node *parse_body(struct lm_tpl_parser *p, const char *const *ends);

static void expect_block_end(struct lm_tpl_parser *p) {
    if (p->token.kind == K_BLOCK_END)
        lm_tpl_advance(p);
    else
        lm_tpl_unexpected(p, "%}");
}

/* The end of a block, "{% endfor %}" of which "{%" and the word have been seen. */
static void finish_block(struct lm_tpl_parser *p, const char *word) {
    if (!lm_tpl_skip_name(p, word)) {
        char text[32];
        snprintf(text, sizeof text, "{%% %s %%}", word);
        lm_tpl_unexpected(p, text);
    }
    expect_block_end(p);
}

static struct lm_tpl_node *parse_if(struct lm_tpl_parser *p) {
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    struct lm_tpl_node *n = lm_tpl_node_new(p, N_IF), **tail = &n->kids;
    bool last = false;
    do {
        struct lm_tpl_node *branch = lm_tpl_node_new(p, N_BRANCH);
        branch->a = last ? NULL : lm_tpl_tuple(p, false, NULL);
        expect_block_end(p);
        branch->body = parse_body(p, ends);
        *tail = branch;
        tail = &branch->next;
        if (last || lm_tpl_at_name(p, "endif"))
            break;
        last = lm_tpl_at_name(p, "else");
        lm_tpl_advance(p);
    } while (!p->lexer.status);
    finish_block(p, "endif");
    return n;
}

/* Names that values are given to: a, b; or one attribute of a namespace. */
static struct lm_tpl_node *parse_targets(struct lm_tpl_parser *p, bool attributes) {
    struct lm_tpl_node *first = NULL, **tail = &first;
    bool bracket = lm_tpl_skip(p, "(");
    do {
        struct lm_tpl_node *n = lm_tpl_node_new(p, N_NAME);
        n->text = lm_tpl_expect_name(p, "a name");
        if (attributes && lm_tpl_skip(p, ".")) {
            struct lm_tpl_node *attribute = lm_tpl_node_new(p, N_ATTR);
            attribute->a = n;
            attribute->text = lm_tpl_expect_name(p, "the name of an attribute");
            n = attribute;
        }
        *tail = n;
        tail = &n->next;
    } while (lm_tpl_skip(p, ",") && !p->lexer.status);
    if (bracket)
        lm_tpl_expect(p, ")");
    return first;
}

static struct lm_tpl_node *parse_for(struct lm_tpl_parser *p) {
    static const char *const ends[] = {"else", "endfor", NULL}, *const last[] = {"endfor", NULL};
    struct lm_tpl_node *n = lm_tpl_node_new(p, N_FOR);
    n->kids = parse_targets(p, false);
    if (!lm_tpl_skip_name(p, "in"))
        lm_tpl_unexpected(p, "`in`");
    n->a = lm_tpl_tuple(p, false, NULL);
    if (lm_tpl_skip_name(p, "if"))
        n->b = lm_tpl_expression(p);
    if (lm_tpl_at_name(p, "recursive"))
        lm_tpl_unsupported(p, "loops that call themselves (recursive) are not supported");
    expect_block_end(p);
    n->body = parse_body(p, ends);
    if (lm_tpl_skip_name(p, "else")) {
        expect_block_end(p);
        n->else_body = parse_body(p, last);
    }
    finish_block(p, "endfor");
    return n;
}

static struct lm_tpl_node *parse_set(struct lm_tpl_parser *p) {
    static const char *const ends[] = {"endset", NULL};
    struct lm_tpl_node *n = lm_tpl_node_new(p, N_SET);
    n->kids = parse_targets(p, true);
    if (lm_tpl_skip(p, "=")) {
        n->a = lm_tpl_tuple(p, true, NULL);
        expect_block_end(p);
        return n;
    }
    if (lm_tpl_skip(p, "|"))
        n->b = lm_tpl_filters(p, NULL);
    expect_block_end(p);
    n->body = parse_body(p, ends);
    finish_block(p, "endset");
    return n;
}

static struct lm_tpl_node *parse_macro(struct lm_tpl_parser *p) {
    static const char *const ends[] = {"endmacro", NULL};
    struct lm_tpl_node *n = lm_tpl_node_new(p, N_MACRO), **tail = &n->kids;
    n->text = lm_tpl_expect_name(p, "the name of a macro");
    lm_tpl_expect(p, "(");
    while (!lm_tpl_skip(p, ")") && !p->lexer.status) {
        struct lm_tpl_node *parameter = lm_tpl_node_new(p, N_ARG);
        parameter->text = lm_tpl_expect_name(p, "the name of a parameter");
        if (lm_tpl_skip(p, "="))
            parameter->a = lm_tpl_expression(p);
        *tail = parameter;
        tail = &parameter->next;
        if (!lm_tpl_at(p, ")"))
            lm_tpl_expect(p, ",");
    }
    expect_block_end(p);
    n->body = parse_body(p, ends);
    finish_block(p, "endmacro");
    return n;
}

static struct lm_tpl_node *parse_filtered(struct lm_tpl_parser *p) {
    static const char *const ends[] = {"endfilter", NULL};
    struct lm_tpl_node *n = lm_tpl_node_new(p, N_FILTERED);
    n->a = lm_tpl_filters(p, NULL);
    expect_block_end(p);
    n->body = parse_body(p, ends);
    finish_block(p, "endfilter");
    return n;
}

/* {% generation %}: marks what the model wrote, for training; its body is rendered as it is. */
static struct lm_tpl_node *parse_generation(struct lm_tpl_parser *p) {
    static const char *const ends[] = {"endgeneration", NULL};
    struct lm_tpl_node *n = lm_tpl_node_new(p, N_BODY);
    expect_block_end(p);
    n->body = parse_body(p, ends);
    finish_block(p, "endgeneration");
    return n;
}

static struct lm_tpl_node *parse_jump(struct lm_tpl_parser *p, enum lm_tpl_node_kind kind) {
    struct lm_tpl_node *n = lm_tpl_node_new(p, kind);
    expect_block_end(p);
    return n;
}

static struct lm_tpl_node *parse_break(struct lm_tpl_parser *p) {
    return parse_jump(p, N_BREAK);
}

static struct lm_tpl_node *parse_continue(struct lm_tpl_parser *p) {
    return parse_jump(p, N_CONTINUE);
}

static struct lm_tpl_node *parse_statement(struct lm_tpl_parser *p) {
    static const struct {
        const char *word;
        struct lm_tpl_node *(*parse)(struct lm_tpl_parser *p);
    } statements[] = {
        {"if", parse_if},       {"for", parse_for},           {"set", parse_set},
        {"macro", parse_macro}, {"filter", parse_filtered},   {"generation", parse_generation},
        {"break", parse_break}, {"continue", parse_continue},
    };
    struct lm_tpl_node *n = NULL;
    if (!lm_tpl_enter(p))
        return lm_tpl_node_new(p, N_TEXT);
    for (size_t i = 0; i < sizeof statements / sizeof *statements && !n; i++)
        if (lm_tpl_skip_name(p, statements[i].word))
            n = statements[i].parse(p);
    if (!n && p->token.kind == K_NAME) {
        lm_tpl_fail_at(&p->lexer, p->token.line, p->token.column, SLUICE_UNSUPPORTED,
                       "the statement `%.*s` is not supported here",
                       (int)(p->token.text.len < 40 ? p->token.text.len : 40), p->token.text.data);
        p->token.kind = K_END;
    } else if (!n) {
        lm_tpl_unexpected(p, "a statement");
    }
    p->depth--;
    return n ? n : lm_tpl_node_new(p, N_TEXT);
}

static struct lm_tpl_node *parse_print(struct lm_tpl_parser *p) {
    struct lm_tpl_node *n = lm_tpl_node_new(p, N_PRINT);
    n->a = lm_tpl_tuple(p, true, NULL);
    if (p->token.kind == K_PRINT_END)
        lm_tpl_advance(p);
    else
        lm_tpl_unexpected(p, "}}");
    return n;
}

static bool ends_body(const struct lm_tpl_parser *p, const char *const *ends) {
    for (; ends && *ends; ends++)
        if (lm_tpl_at_name(p, *ends))
            return true;
    return false;
}

/* Up to a block that begins with one of `ends` (its word is then the token), or the end. */
static struct lm_tpl_node *parse_body(struct lm_tpl_parser *p, const char *const *ends) {
    struct lm_tpl_node *first = NULL, **tail = &first;
    while (!p->lexer.status && p->token.kind != K_END) {
        struct lm_tpl_node *n;
        if (p->token.kind == K_TEXT) {
            n = lm_tpl_node_new(p, N_TEXT);
            n->text = p->token.text;
            lm_tpl_advance(p);
        } else if (p->token.kind == K_PRINT_BEGIN) {
            lm_tpl_advance(p);
            n = parse_print(p);
        } else {
            lm_tpl_advance(p);
            if (ends_body(p, ends))
                return first;
            n = parse_statement(p);
        }
        *tail = n;
        tail = &n->next;
    }
    if (ends && !p->lexer.status) {
        char text[48];
        snprintf(text, sizeof text, "{%% %s %%}", *ends);
        lm_tpl_unexpected(p, text);
    }
    return first;
}

/* ---- The template ---- */

/* A copy with newlines as \n and without a last one, as Jinja reads a template. */
static size_t normalise(const char *text, size_t len, char *ret) {
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] != '\r')
            ret[n++] = text[i];
        else if (i + 1 == len || text[i + 1] != '\n')
            ret[n++] = '\n';
    }
    return n > 0 && ret[n - 1] == '\n' ? n - 1 : n;
}

static bool is_utf8(const char *text, size_t len) {
    uint32_t c;
    for (size_t at = 0, step; at < len; at += step) {
        step = num_utf8_next((const uint8_t *)text + at, len - at, &c);
        if (step == 0)
            return false;
    }
    return true;
}

static int32_t parse(struct lm_template *t, const char *text, size_t len, struct num_err *err) {
    if (len > MAX_TEMPLATE)
        return num_fail(err, SLUICE_UNSUPPORTED, "%s: longer than 8 MiB", t->name);
    if (!is_utf8(text, len))
        return num_fail(err, SLUICE_INPUT, "%s: it is not UTF-8 text", t->name);
    t->arena.limit = MAX_MEMORY;
    char *copy = lm_tpl_alloc(&t->arena, len + 1);
    if (!copy)
        return num_fail_memory(err, t->name, len);
    struct lm_tpl_parser p = {.t = t};
    p.lexer = (struct lm_tpl_lexer){.text = copy,
                                    .len = normalise(text, len, copy),
                                    .line = 1,
                                    .column = 1,
                                    .inside = K_TEXT,
                                    .line_starts = true,
                                    .arena = &t->arena,
                                    .name = t->name,
                                    .err = err};
    lm_tpl_advance(&p);
    t->body = parse_body(&p, NULL);
    return p.lexer.status;
}

int32_t lm_template_parse(const char *text, size_t len, const char *name, struct lm_template **ret,
                          struct num_err *err) {
    struct num_err spare;
    struct lm_template *t = calloc(1, sizeof *t);
    if (!t)
        return num_fail_memory(err, name, sizeof *t);
    snprintf(t->name, sizeof t->name, "%s", name);
    int32_t status = parse(t, text, len, err ? err : &spare);
    if (status == SLUICE_OK)
        *ret = t;
    else
        lm_template_destroy(t);
    return status;
}

void lm_template_destroy(struct lm_template *t) {
    if (!t)
        return;
    lm_tpl_arena_finish(&t->arena);
    free(t);
}
