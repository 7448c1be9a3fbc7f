/* The parser's state and what its two halves share: statements (template_parse.c) and expressions
 * (template_expr.c). After a failure all of it goes on with tokens of kind K_END. */
#ifndef LLM_TEMPLATE_PARSE_H
#define LLM_TEMPLATE_PARSE_H

#include "llm/template_node.h"

struct lm_tpl_parser {
    struct lm_tpl_lexer lexer;
    struct lm_tpl_token token; /* the one to be looked at */
    struct lm_template *t;
    uint32_t depth;
    struct lm_tpl_node spare; /* what allocations get after a failure; nobody reads it */
};

/* Zeroed memory of the tree; never NULL: after a failure the spare node, whatever
 * the size, so that larger things ask for the status first. */
void *lm_tpl_parse_alloc(struct lm_tpl_parser *p, size_t size);
struct lm_tpl_node *lm_tpl_node_new(struct lm_tpl_parser *p, enum lm_tpl_node_kind kind);
bool lm_tpl_enter(struct lm_tpl_parser *p); /* one level deeper; false beyond the limit */

void lm_tpl_advance(struct lm_tpl_parser *p);
bool lm_tpl_at(const struct lm_tpl_parser *p, const char *sign);
bool lm_tpl_skip(struct lm_tpl_parser *p, const char *sign);
void lm_tpl_expect(struct lm_tpl_parser *p, const char *sign);
bool lm_tpl_at_name(const struct lm_tpl_parser *p, const char *name);
bool lm_tpl_skip_name(struct lm_tpl_parser *p, const char *name);
struct lm_tpl_text lm_tpl_expect_name(struct lm_tpl_parser *p, const char *what);
void lm_tpl_unexpected(struct lm_tpl_parser *p, const char *expected);
void lm_tpl_unsupported(struct lm_tpl_parser *p, const char *what);

struct lm_tpl_node *lm_tpl_expression(struct lm_tpl_parser *p);
/* Expressions separated by commas; a single one is itself. `end`: a sign that may follow a
 * comma. */
struct lm_tpl_node *lm_tpl_tuple(struct lm_tpl_parser *p, bool with_condition, const char *end);
/* Filters behind `of`, the first "|" having been read. */
struct lm_tpl_node *lm_tpl_filters(struct lm_tpl_parser *p, struct lm_tpl_node *of);

#endif
