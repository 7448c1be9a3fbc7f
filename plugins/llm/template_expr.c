/*
 * Expressions of a template: recursive descent with Jinja's precedences, from loose to tight:
 *     x if c else y, or, and, not, comparison, + -, ~, * / // %, **, sign, postfix, filter and test
 * Nesting is bounded, so that no template overflows the stack.
 */
#include <string.h>

#include "llm/template_parse.h"

static struct lm_tpl_node *parse_or(struct lm_tpl_parser *p);
static struct lm_tpl_node *parse_unary(struct lm_tpl_parser *p, bool with_filters);
static struct lm_tpl_node *parse_primary(struct lm_tpl_parser *p);

/* ---- Lists of arguments, items and keys ---- */

static void append(struct lm_tpl_node ***tail, struct lm_tpl_node *n) {
    **tail = n;
    *tail = &n->next;
}

/* "(" has been read; up to and with ")". */
static struct lm_tpl_node *parse_args(struct lm_tpl_parser *p) {
    struct lm_tpl_node *kids = NULL, **tail = &kids;
    while (!lm_tpl_skip(p, ")") && !p->lexer.status) {
        struct lm_tpl_node *arg = lm_tpl_node_new(p, N_ARG);
        if (lm_tpl_at(p, "*") || lm_tpl_at(p, "**"))
            lm_tpl_unsupported(p, "arguments that are unpacked with * are not supported");
        struct lm_tpl_node *value = lm_tpl_expression(p);
        if (value->kind == N_NAME && lm_tpl_skip(p, "=")) {
            arg->text = value->text;
            value = lm_tpl_expression(p);
        }
        arg->a = value;
        append(&tail, arg);
        if (!lm_tpl_at(p, ")"))
            lm_tpl_expect(p, ",");
    }
    return kids;
}

static struct lm_tpl_node *parse_list(struct lm_tpl_parser *p) {
    struct lm_tpl_node *n = lm_tpl_node_new(p, N_LIST), **tail = &n->kids;
    lm_tpl_expect(p, "[");
    while (!lm_tpl_skip(p, "]") && !p->lexer.status) {
        append(&tail, lm_tpl_expression(p));
        if (!lm_tpl_at(p, "]"))
            lm_tpl_expect(p, ",");
    }
    return n;
}

static struct lm_tpl_node *parse_dict(struct lm_tpl_parser *p) {
    struct lm_tpl_node *n = lm_tpl_node_new(p, N_DICT), **tail = &n->kids;
    lm_tpl_expect(p, "{");
    while (!lm_tpl_skip(p, "}") && !p->lexer.status) {
        append(&tail, lm_tpl_expression(p));
        lm_tpl_expect(p, ":");
        append(&tail, lm_tpl_expression(p));
        if (!lm_tpl_at(p, "}"))
            lm_tpl_expect(p, ",");
    }
    return n;
}

struct lm_tpl_node *lm_tpl_tuple(struct lm_tpl_parser *p, bool with_condition, const char *end) {
    struct lm_tpl_node *first = with_condition ? lm_tpl_expression(p) : parse_or(p);
    if (!lm_tpl_at(p, ","))
        return first;
    struct lm_tpl_node *n = lm_tpl_node_new(p, N_TUPLE), **tail = &n->kids;
    append(&tail, first);
    while (lm_tpl_skip(p, ",") && !p->lexer.status) {
        if (p->token.kind == K_BLOCK_END || p->token.kind == K_PRINT_END ||
            (end && lm_tpl_at(p, end)))
            break;
        append(&tail, with_condition ? lm_tpl_expression(p) : parse_or(p));
    }
    return n;
}

static struct lm_tpl_node *parse_group(struct lm_tpl_parser *p) {
    lm_tpl_expect(p, "(");
    if (lm_tpl_skip(p, ")"))
        return lm_tpl_node_new(p, N_TUPLE);
    struct lm_tpl_node *n = lm_tpl_tuple(p, true, ")");
    lm_tpl_expect(p, ")");
    return n;
}

/* ---- What stands at the bottom ---- */

static struct lm_tpl_node *literal(struct lm_tpl_parser *p, struct lm_tpl_value v) {
    struct lm_tpl_node *n = lm_tpl_node_new(p, N_LITERAL);
    n->value = v;
    lm_tpl_advance(p);
    return n;
}

static struct lm_tpl_node *parse_name(struct lm_tpl_parser *p) {
    static const struct {
        const char *name;
        struct lm_tpl_value value;
    } constants[] = {
        {"true", {.kind = T_BOOL, .b = true}},
        {"True", {.kind = T_BOOL, .b = true}},
        {"false", {.kind = T_BOOL}},
        {"False", {.kind = T_BOOL}},
        {"none", {.kind = T_NONE}},
        {"None", {.kind = T_NONE}},
    };
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (lm_tpl_is(p->token.text, constants[i].name))
            return literal(p, constants[i].value);
    struct lm_tpl_node *n = lm_tpl_node_new(p, N_NAME);
    n->text = p->token.text;
    lm_tpl_advance(p);
    return n;
}

/* Strings that follow each other are one. */
static struct lm_tpl_node *parse_string(struct lm_tpl_parser *p) {
    struct lm_tpl_text *text = lm_tpl_parse_alloc(p, sizeof *text);
    *text = p->token.text;
    struct lm_tpl_node *n = literal(p, (struct lm_tpl_value){.kind = T_STRING, .s = text});
    while (p->token.kind == K_STRING && !p->lexer.status) {
        char *joined = lm_tpl_parse_alloc(p, text->len + p->token.text.len + 1);
        if (p->lexer.status)
            break;
        memcpy(joined, text->data, text->len);
        memcpy(joined + text->len, p->token.text.data, p->token.text.len);
        *text = (struct lm_tpl_text){joined, text->len + p->token.text.len};
        lm_tpl_advance(p);
    }
    return n;
}

static struct lm_tpl_node *parse_primary(struct lm_tpl_parser *p) {
    switch (p->token.kind) {
    case K_NAME:
        return parse_name(p);
    case K_STRING:
        return parse_string(p);
    case K_INT:
        return literal(p, LM_TPL_INT(p->token.i));
    case K_FLOAT:
        return literal(p, LM_TPL_FLOAT(p->token.f));
    default:
        break;
    }
    if (lm_tpl_at(p, "("))
        return parse_group(p);
    if (lm_tpl_at(p, "["))
        return parse_list(p);
    if (lm_tpl_at(p, "{"))
        return parse_dict(p);
    lm_tpl_unexpected(p, "an expression");
    return lm_tpl_node_new(p, N_LITERAL);
}

/* ---- Behind it: attributes, items, calls, filters, tests ---- */

static struct lm_tpl_node *none(struct lm_tpl_parser *p) {
    struct lm_tpl_node *n = lm_tpl_node_new(p, N_LITERAL);
    n->value = LM_TPL_NONE;
    return n;
}

/* "[" has been read. */
static struct lm_tpl_node *parse_subscript(struct lm_tpl_parser *p, struct lm_tpl_node *of) {
    struct lm_tpl_node *n = lm_tpl_node_new(p, N_ITEM);
    n->a = of;
    if (!lm_tpl_at(p, ":"))
        n->b = lm_tpl_expression(p);
    if (!lm_tpl_at(p, ":")) {
        lm_tpl_expect(p, "]");
        return n;
    }
    n->kind = N_SLICE;
    struct lm_tpl_node **tail = &n->kids;
    append(&tail, n->b ? n->b : none(p));
    for (int i = 0; i < 2; i++) {
        bool given = lm_tpl_skip(p, ":") && !lm_tpl_at(p, ":") && !lm_tpl_at(p, "]");
        append(&tail, given ? lm_tpl_expression(p) : none(p));
    }
    lm_tpl_expect(p, "]");
    return n;
}

static struct lm_tpl_node *parse_attribute(struct lm_tpl_parser *p, struct lm_tpl_node *of) {
    struct lm_tpl_node *n = lm_tpl_node_new(p, N_ATTR);
    n->a = of;
    if (p->token.kind == K_INT) { /* list.0 */
        n->kind = N_ITEM;
        n->b = literal(p, LM_TPL_INT(p->token.i));
        return n;
    }
    n->text = lm_tpl_expect_name(p, "the name of an attribute");
    return n;
}

static struct lm_tpl_node *parse_call(struct lm_tpl_parser *p, struct lm_tpl_node *of) {
    struct lm_tpl_node *n = lm_tpl_node_new(p, N_CALL);
    n->a = of;
    n->kids = parse_args(p);
    return n;
}

static struct lm_tpl_node *parse_postfix(struct lm_tpl_parser *p, struct lm_tpl_node *n) {
    while (!p->lexer.status) {
        if (lm_tpl_skip(p, "."))
            n = parse_attribute(p, n);
        else if (lm_tpl_skip(p, "["))
            n = parse_subscript(p, n);
        else if (lm_tpl_skip(p, "("))
            n = parse_call(p, n);
        else
            break;
    }
    return n;
}

struct lm_tpl_node *lm_tpl_filters(struct lm_tpl_parser *p, struct lm_tpl_node *of) {
    do {
        struct lm_tpl_node *n = lm_tpl_node_new(p, N_FILTER);
        n->a = of;
        n->text = lm_tpl_expect_name(p, "the name of a filter");
        if (lm_tpl_skip(p, "("))
            n->kids = parse_args(p);
        of = n;
    } while (lm_tpl_skip(p, "|") && !p->lexer.status);
    return of;
}

/* Whether a test without brackets has an argument here: "divisibleby 3", not "defined and". */
static bool argument_follows(const struct lm_tpl_parser *p) {
    static const char *const words[] = {"else", "or", "and", "if", "is", "not", "in", "recursive"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (lm_tpl_at_name(p, words[i]))
            return false;
    return p->token.kind == K_NAME || p->token.kind == K_STRING || p->token.kind == K_INT ||
           p->token.kind == K_FLOAT || lm_tpl_at(p, "[") || lm_tpl_at(p, "{");
}

static struct lm_tpl_node *parse_test(struct lm_tpl_parser *p, struct lm_tpl_node *of) {
    struct lm_tpl_node *n = lm_tpl_node_new(p, N_TEST);
    n->a = of;
    n->negate = lm_tpl_skip_name(p, "not");
    n->text = lm_tpl_expect_name(p, "the name of a test");
    if (lm_tpl_skip(p, "(")) {
        n->kids = parse_args(p);
    } else if (argument_follows(p)) {
        n->kids = lm_tpl_node_new(p, N_ARG);
        n->kids->a = parse_postfix(p, parse_primary(p));
    }
    return n;
}

static struct lm_tpl_node *parse_filters_and_tests(struct lm_tpl_parser *p, struct lm_tpl_node *n) {
    while (!p->lexer.status) {
        if (lm_tpl_skip(p, "|"))
            n = lm_tpl_filters(p, n);
        else if (lm_tpl_skip_name(p, "is"))
            n = parse_test(p, n);
        else if (lm_tpl_skip(p, "("))
            n = parse_call(p, n);
        else
            break;
    }
    return n;
}

/* ---- Operators ---- */

static struct lm_tpl_node *parse_unary(struct lm_tpl_parser *p, bool with_filters) {
    struct lm_tpl_node *n;
    if (!lm_tpl_enter(p))
        return lm_tpl_node_new(p, N_LITERAL);
    if (lm_tpl_at(p, "-") || lm_tpl_at(p, "+")) {
        n = lm_tpl_node_new(p, N_SIGN);
        n->op = lm_tpl_at(p, "-") ? OP_SUB : OP_ADD;
        lm_tpl_advance(p);
        n->a = parse_unary(p, false);
    } else {
        n = parse_primary(p);
    }
    n = parse_postfix(p, n);
    if (with_filters)
        n = parse_filters_and_tests(p, n);
    p->depth--;
    return n;
}

struct level {
    const char *sign;
    enum lm_tpl_op op;
};

/* Operators from the tightest level to the loosest. */
static const struct level levels[][4] = {
    {{"**", OP_POW}},
    {{"*", OP_MUL}, {"/", OP_DIV}, {"//", OP_FLOORDIV}, {"%", OP_MOD}},
    {{"~", OP_CONCAT}},
    {{"+", OP_ADD}, {"-", OP_SUB}},
};

static enum lm_tpl_op op_here(const struct lm_tpl_parser *p, int level) {
    for (int i = 0; i < 4 && levels[level][i].sign; i++)
        if (lm_tpl_at(p, levels[level][i].sign))
            return levels[level][i].op;
    return 0;
}

static struct lm_tpl_node *parse_binary(struct lm_tpl_parser *p, int level) {
    if (level < 0)
        return parse_unary(p, true);
    struct lm_tpl_node *left = parse_binary(p, level - 1);
    enum lm_tpl_op op;
    while ((op = op_here(p, level)) && !p->lexer.status) {
        struct lm_tpl_node *n = lm_tpl_node_new(p, N_BINARY);
        lm_tpl_advance(p);
        n->op = op;
        n->a = left;
        n->b = parse_binary(p, level - 1);
        left = n;
    }
    return left;
}

static enum lm_tpl_op comparison_here(struct lm_tpl_parser *p) {
    static const struct level signs[] = {{"==", OP_EQ}, {"!=", OP_NE}, {"<", OP_LT},
                                         {"<=", OP_LE}, {">", OP_GT},  {">=", OP_GE}};
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (lm_tpl_skip(p, signs[i].sign))
            return signs[i].op;
    if (lm_tpl_skip_name(p, "in"))
        return OP_IN;
    if (!lm_tpl_at_name(p, "not"))
        return 0;
    lm_tpl_advance(p);
    if (!lm_tpl_skip_name(p, "in"))
        lm_tpl_unexpected(p, "`in`");
    return OP_NOT_IN;
}

static struct lm_tpl_node *parse_compare(struct lm_tpl_parser *p) {
    struct lm_tpl_node *first = parse_binary(p, 3), *n = NULL, **tail = NULL;
    enum lm_tpl_op op;
    while ((op = comparison_here(p)) && !p->lexer.status) {
        if (!n) {
            n = lm_tpl_node_new(p, N_COMPARE);
            n->a = first;
            tail = &n->kids;
        }
        struct lm_tpl_node *kid = lm_tpl_node_new(p, N_ARG);
        kid->op = op;
        kid->a = parse_binary(p, 3);
        append(&tail, kid);
    }
    return n ? n : first;
}

static struct lm_tpl_node *parse_not(struct lm_tpl_parser *p) {
    if (!lm_tpl_at_name(p, "not"))
        return parse_compare(p);
    struct lm_tpl_node *n = lm_tpl_node_new(p, N_NOT);
    if (!lm_tpl_enter(p))
        return n;
    lm_tpl_advance(p);
    n->a = parse_not(p);
    p->depth--;
    return n;
}

static struct lm_tpl_node *join(struct lm_tpl_parser *p, enum lm_tpl_node_kind kind,
                                struct lm_tpl_node *a, struct lm_tpl_node *b) {
    struct lm_tpl_node *n = lm_tpl_node_new(p, kind);
    n->a = a;
    n->b = b;
    return n;
}

static struct lm_tpl_node *parse_and(struct lm_tpl_parser *p) {
    struct lm_tpl_node *n = parse_not(p);
    while (lm_tpl_skip_name(p, "and"))
        n = join(p, N_AND, n, parse_not(p));
    return n;
}

static struct lm_tpl_node *parse_or(struct lm_tpl_parser *p) {
    struct lm_tpl_node *n = parse_and(p);
    while (lm_tpl_skip_name(p, "or"))
        n = join(p, N_OR, n, parse_and(p));
    return n;
}

struct lm_tpl_node *lm_tpl_expression(struct lm_tpl_parser *p) {
    if (!lm_tpl_enter(p))
        return lm_tpl_node_new(p, N_LITERAL);
    struct lm_tpl_node *n = parse_or(p);
    while (lm_tpl_skip_name(p, "if")) {
        n = join(p, N_IF_ELSE, n, parse_or(p));
        if (lm_tpl_skip_name(p, "else"))
            n->c = lm_tpl_expression(p);
    }
    p->depth--;
    return n;
}
