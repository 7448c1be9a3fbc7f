/*
 * Inside the template interpreter: values, syntax tree, and the state of a rendering. All memory of
 * a tree and of a rendering is one bump arena each, freed as a whole.
 *
 * Failures stick: the first one fills the error, after which every function returns at once with a
 * value that means nothing. Loops ask `x->status`.
 */
#ifndef LLM_TEMPLATE_NODE_H
#define LLM_TEMPLATE_NODE_H

#include "llm/template.h"

/* ---- Arena ---- */

struct lm_tpl_chunk;

struct lm_tpl_arena {
    struct lm_tpl_chunk *chunks;
    size_t used, limit; /* bytes handed out, and how many may be */
};

/* Zeroed bytes, or NULL over the limit or without memory. */
void *lm_tpl_alloc(struct lm_tpl_arena *arena, size_t size);
void lm_tpl_arena_finish(struct lm_tpl_arena *arena);

/* ---- Values ---- */

enum lm_tpl_kind {
    T_UNDEFINED,
    T_NONE,
    T_BOOL,
    T_INT,
    T_FLOAT,
    T_STRING,
    T_LIST, /* and tuples */
    T_DICT,
    T_NAMESPACE,
    T_MACRO,
    T_FUNCTION, /* a global one, by its name */
    T_METHOD,   /* bound to its value */
    T_LOOP,
};

struct lm_tpl_text {
    const char *data;
    size_t len;
};

struct lm_tpl_value {
    enum lm_tpl_kind kind;
    union {
        bool b;
        int64_t i;
        double f;
        const struct lm_tpl_text *s;
        const struct lm_tpl_list *list;
        struct lm_tpl_dict *dict; /* T_DICT, T_NAMESPACE */
        const struct lm_tpl_node *macro;
        const struct lm_tpl_bound *method; /* T_METHOD, T_FUNCTION */
        const struct lm_tpl_loop *loop;
        const struct lm_tpl_text *missing; /* T_UNDEFINED: the name that was looked up, or NULL */
    };
};

struct lm_tpl_list {
    struct lm_tpl_value *items;
    size_t n;
    bool is_tuple;
};

struct lm_tpl_entry {
    struct lm_tpl_value key, value;
};

struct lm_tpl_dict {
    struct lm_tpl_entry *items;
    size_t n, cap;
};

struct lm_tpl_bound {
    struct lm_tpl_value self;
    struct lm_tpl_text name;
};

struct lm_tpl_loop {
    const struct lm_tpl_list *list;
    size_t at;
};

/* ---- Syntax tree ---- */

enum lm_tpl_node_kind {
    /* expressions */
    N_LITERAL, /* value */
    N_NAME,    /* text */
    N_LIST,    /* kids */
    N_TUPLE,   /* kids */
    N_DICT,    /* kids: key, value, key, value */
    N_ATTR,    /* a.text */
    N_ITEM,    /* a[b] */
    N_SLICE,   /* a[kids: begin, end, step; N_LITERAL none where absent] */
    N_CALL,    /* a(kids of N_ARG) */
    N_FILTER,  /* a|text(kids of N_ARG); a NULL in a filter block */
    N_TEST,    /* a is text(kids of N_ARG); negate: is not */
    N_NOT,     /* not a */
    N_SIGN,    /* op a, with op + or - */
    N_BINARY,  /* a op b */
    N_AND,     /* a and b */
    N_OR,      /* a or b */
    N_COMPARE, /* a op[kid] kid op[kid] kid ...: each kid is N_ARG with op and a */
    N_IF_ELSE, /* a if b else c; c may be NULL */
    N_ARG, /* text = a, text empty for positional; of a macro: its parameter, a default or NULL */
    /* statements */
    N_TEXT,     /* text */
    N_PRINT,    /* a */
    N_IF,       /* kids of N_BRANCH */
    N_BRANCH,   /* if a (NULL: else): body */
    N_FOR,      /* names (kids) in a if b: body, else_body */
    N_SET,      /* names (kids) = a; or one name with body; N_ATTR as a name: of a namespace */
    N_MACRO,    /* text(kids of N_ARG): body */
    N_FILTERED, /* a: N_FILTER chain whose innermost `a` is NULL; body */
    N_BODY,     /* body, as it is (generation) */
    N_BREAK,
    N_CONTINUE,
};

enum lm_tpl_op {
    OP_ADD = 1,
    OP_SUB,
    OP_MUL,
    OP_DIV,
    OP_FLOORDIV,
    OP_MOD,
    OP_POW,
    OP_CONCAT,
    OP_EQ,
    OP_NE,
    OP_LT,
    OP_LE,
    OP_GT,
    OP_GE,
    OP_IN,
    OP_NOT_IN,
};

struct lm_tpl_node {
    enum lm_tpl_node_kind kind;
    enum lm_tpl_op op;
    bool negate;
    uint32_t line, column;
    struct lm_tpl_text text;
    struct lm_tpl_value value;
    struct lm_tpl_node *a, *b, *c;
    struct lm_tpl_node *kids, *body, *else_body; /* linked by next */
    struct lm_tpl_node *next;
};

struct lm_template {
    struct lm_tpl_arena arena;
    struct lm_tpl_node *body;
    char name[64];
};

/* ---- Lexer ---- */

enum lm_tpl_token_kind {
    K_END,
    K_TEXT,        /* outside of tags */
    K_PRINT_BEGIN, /* {{ */
    K_PRINT_END,   /* }} */
    K_BLOCK_BEGIN, /* {% */
    K_BLOCK_END,   /* %} */
    K_NAME,
    K_STRING, /* text: with escapes resolved */
    K_INT,
    K_FLOAT,
    K_SIGN, /* text: one or two characters */
};

struct lm_tpl_token {
    enum lm_tpl_token_kind kind;
    struct lm_tpl_text text;
    int64_t i;
    double f;
    uint32_t line, column;
};

struct lm_tpl_lexer {
    const char *text;
    size_t len, at;
    size_t counted;                /* up to where line and column are counted */
    uint32_t line, column;         /* of `counted` */
    enum lm_tpl_token_kind inside; /* K_TEXT, K_PRINT_BEGIN, K_BLOCK_BEGIN */
    uint32_t depth;                /* open brackets inside a tag */
    bool line_starts;              /* what was consumed last ended with a newline */
    bool trim;                     /* the tag that ended asks to strip white space behind it */
    struct lm_tpl_arena *arena;
    const char *name;
    int32_t status;
    struct num_err *err;
};

void lm_tpl_next(struct lm_tpl_lexer *lexer, struct lm_tpl_token *ret);
/* Fills the error with the place, once; returns the status. */
__attribute__((format(printf, 5, 6))) int32_t lm_tpl_fail_at(struct lm_tpl_lexer *lexer,
                                                             uint32_t line, uint32_t column,
                                                             int32_t status, const char *format,
                                                             ...);

/* ---- Rendering ---- */

struct lm_tpl_var {
    struct lm_tpl_text name;
    struct lm_tpl_value value;
    struct lm_tpl_var *next;
};

struct lm_tpl_scope {
    struct lm_tpl_var *vars;
    struct lm_tpl_scope *parent;
};

struct lm_tpl_run {
    const struct lm_template *t;
    struct lm_tpl_arena arena;
    struct lm_tpl_scope *scope, *global;
    struct num_buf *out;
    const struct lm_template_limits *limits;
    uint64_t steps;
    uint32_t depth, loops; /* nested evaluations; nested loops */
    enum { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE } flow;
    const struct lm_tpl_node *at; /* what is evaluated, for messages */
    int32_t status;
    struct num_err *err;
};

#define LM_TPL_MAX_DEPTH 400

/* Fails at the current node, once. Returns undefined, for `return lm_tpl_fail(...)`. */
__attribute__((format(printf, 3, 4))) struct lm_tpl_value
lm_tpl_fail(struct lm_tpl_run *x, int32_t status, const char *format, ...);
/* Counts work; false where the limit is reached or something failed. */
bool lm_tpl_charge(struct lm_tpl_run *x, uint64_t steps);
/* Memory of the rendering; NULL after lm_tpl_fail(). */
void *lm_tpl_new(struct lm_tpl_run *x, size_t size);

struct lm_tpl_value lm_tpl_eval(struct lm_tpl_run *x, const struct lm_tpl_node *n);
void lm_tpl_exec(struct lm_tpl_run *x, const struct lm_tpl_node *body);

/* Values of positional and named arguments. */
#define LM_TPL_MAX_ARGS 16
struct lm_tpl_args {
    struct lm_tpl_value items[LM_TPL_MAX_ARGS];
    struct lm_tpl_text names[LM_TPL_MAX_ARGS]; /* empty for positional */
    size_t n, n_positional;
};
bool lm_tpl_args_eval(struct lm_tpl_run *x, const struct lm_tpl_node *kids,
                      struct lm_tpl_args *ret);
/* The argument at `index`, or of that name (NULL: none); undefined where it is not given. */
struct lm_tpl_value lm_tpl_arg(const struct lm_tpl_args *args, size_t index, const char *name);

/* Operators, of which `op` is one of its kind: see template_ops.c. */
struct lm_tpl_value lm_tpl_binary(struct lm_tpl_run *x, enum lm_tpl_op op, struct lm_tpl_value a,
                                  struct lm_tpl_value b);
bool lm_tpl_holds(struct lm_tpl_run *x, enum lm_tpl_op op, struct lm_tpl_value a,
                  struct lm_tpl_value b); /* OP_EQ to OP_NOT_IN */
struct lm_tpl_value lm_tpl_signed(struct lm_tpl_run *x, enum lm_tpl_op op, struct lm_tpl_value v);

struct lm_tpl_value lm_tpl_filter(struct lm_tpl_run *x, const char *name, struct lm_tpl_value v,
                                  const struct lm_tpl_args *args);
struct lm_tpl_value lm_tpl_test(struct lm_tpl_run *x, const char *name, struct lm_tpl_value v,
                                const struct lm_tpl_args *args);
/* A method or attribute of a value; undefined where it has none. */
struct lm_tpl_value lm_tpl_attribute(struct lm_tpl_run *x, struct lm_tpl_value v,
                                     struct lm_tpl_text name);
struct lm_tpl_value lm_tpl_call_method(struct lm_tpl_run *x, const struct lm_tpl_bound *method,
                                       const struct lm_tpl_args *args);
/* Methods of strings: see template_string.c. The second one is for names that the first one
 * knows. */
bool lm_tpl_has_string_method(struct lm_tpl_text name);
struct lm_tpl_value lm_tpl_call_string_method(struct lm_tpl_run *x, struct lm_tpl_text self,
                                              struct lm_tpl_text name,
                                              const struct lm_tpl_args *args);
struct lm_tpl_value lm_tpl_call_function(struct lm_tpl_run *x, const struct lm_tpl_bound *function,
                                         const struct lm_tpl_args *args);

/* ---- Values: see template_value.c ---- */

#define LM_TPL_UNDEFINED ((struct lm_tpl_value){.kind = T_UNDEFINED})
#define LM_TPL_NONE      ((struct lm_tpl_value){.kind = T_NONE})
#define LM_TPL_BOOL(x)   ((struct lm_tpl_value){.kind = T_BOOL, .b = (x)})
#define LM_TPL_INT(x)    ((struct lm_tpl_value){.kind = T_INT, .i = (x)})
#define LM_TPL_FLOAT(x)  ((struct lm_tpl_value){.kind = T_FLOAT, .f = (x)})

bool lm_tpl_is(struct lm_tpl_text text, const char *word);
struct lm_tpl_value lm_tpl_string(struct lm_tpl_run *x, const char *data, size_t len); /* copies */
struct lm_tpl_value lm_tpl_borrow(struct lm_tpl_run *x, const char *data, size_t len);
struct lm_tpl_value lm_tpl_list(struct lm_tpl_run *x, size_t n, struct lm_tpl_value **ret_items);
struct lm_tpl_value lm_tpl_dict(struct lm_tpl_run *x);
void lm_tpl_dict_set(struct lm_tpl_run *x, struct lm_tpl_dict *d, struct lm_tpl_value key,
                     struct lm_tpl_value value);
/* NULL where there is no such key. */
struct lm_tpl_value *lm_tpl_dict_find(struct lm_tpl_run *x, const struct lm_tpl_dict *d,
                                      struct lm_tpl_value key);
struct lm_tpl_value lm_tpl_from_json(struct lm_tpl_run *x, const json_t *json);

const char *lm_tpl_type(struct lm_tpl_value v); /* for messages: "a string" */
bool lm_tpl_truth(struct lm_tpl_value v);
bool lm_tpl_equal(struct lm_tpl_run *x, struct lm_tpl_value a, struct lm_tpl_value b);
/* Below, at or above 0; fails where the two have no order. */
int lm_tpl_compare(struct lm_tpl_run *x, struct lm_tpl_value a, struct lm_tpl_value b);
bool lm_tpl_is_number(struct lm_tpl_value v);
double lm_tpl_number(struct lm_tpl_value v);
/* What a loop runs over, as a list; fails for what cannot be iterated. */
const struct lm_tpl_list *lm_tpl_items(struct lm_tpl_run *x, struct lm_tpl_value v);
/* As Python's str() and repr(). */
void lm_tpl_print(struct lm_tpl_run *x, struct lm_tpl_value v, struct num_buf *out);
void lm_tpl_repr(struct lm_tpl_run *x, struct lm_tpl_value v, struct num_buf *out);
/* str() as a value; strings are themselves. */
struct lm_tpl_value lm_tpl_to_string(struct lm_tpl_run *x, struct lm_tpl_value v);
/* The content of a buffer as a string of the rendering. */
struct lm_tpl_value lm_tpl_take(struct lm_tpl_run *x, struct num_buf *buf);

struct lm_tpl_json_style {
    int indent; /* below 0: one line */
    bool ascii, sort;
    struct lm_tpl_text item, key; /* separators */
};
void lm_tpl_json(struct lm_tpl_run *x, struct lm_tpl_value v, const struct lm_tpl_json_style *style,
                 int level, struct num_buf *out);

/* Characters of a text, and the byte where character `index` begins (at most the end). */
size_t lm_tpl_length(struct lm_tpl_text text);
size_t lm_tpl_offset(struct lm_tpl_text text, size_t index);

#endif
