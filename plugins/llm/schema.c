/*
 * JSON schemas as grammars: see schema.h. Each place of the schema becomes a rule that is named by
 * its path, so that what $ref points to is compiled once and may contain itself. Rules are compiled
 * from a list: a rule that is mentioned first is made later.
 */
#include "llm/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "num/buf.h"
#include "llm/grammar_program.h"

#define MAX_PLACES 4096

/* Rules that are the same in every grammar; their names are no paths. */
static const char *const common[] = {"start",  "white space", "character", "string",
                                     "number", "integer",     "any value"};
enum { R_START, R_SPACE, R_CHAR, R_STRING, R_NUMBER, R_INTEGER, R_ANY };

struct place {
    const json_t *schema;
    char *path; /* owned */
};

struct compiler {
    struct lm_grammar *g;
    const json_t *root;
    struct place places[MAX_PLACES];
    size_t n_places, n_done;
    int32_t status;
    struct num_err *err;
};

static void fail(struct compiler *c, int32_t status, const char *path, const char *what) {
    if (!c->status)
        c->status = num_fail(c->err, status, "the schema at %.200s: %s", path, what);
}

/* The rule of the schema at `path`, compiled later where it is new. */
static uint32_t rule_of(struct compiler *c, const json_t *schema, const char *path) {
    size_t known = c->g->n_rules;
    uint32_t rule = lm_grammar_rule(c->g, path, strlen(path));
    if (c->g->n_rules == known || c->status)
        return rule;
    char *copy = c->n_places < MAX_PLACES ? strdup(path) : NULL;
    if (copy)
        c->places[c->n_places++] = (struct place){schema, copy};
    else
        fail(c, SLUICE_RESOURCE, path, "it is too large");
    return rule;
}

static void text(struct compiler *c, const char *bytes) {
    lm_emit_literal(c->g, bytes, strlen(bytes));
}

static void call(struct compiler *c, uint32_t rule) {
    lm_emit(c->g, I_CALL, rule, 0);
}

static void end_rule(struct compiler *c) {
    lm_emit(c->g, I_RETURN, 0, 0);
}

/* ---- Rules that every schema uses ---- */

static void chars(struct compiler *c, uint32_t first, uint32_t last) {
    const uint32_t range[1][2] = {{first, last}};
    lm_emit_chars(c->g, range, 1);
}

static void digits(struct compiler *c, uint32_t min, uint32_t max) {
    size_t r = lm_emit_repeat(c->g, min, max);
    chars(c, '0', '9');
    lm_emit_repeated(c->g, r);
}

static void optional_text(struct compiler *c, const char *bytes) {
    size_t r = lm_emit_repeat(c->g, 0, 1);
    text(c, bytes);
    lm_emit_repeated(c->g, r);
}

static void space_rule(struct compiler *c) {
    size_t end = LM_NO_END, split = lm_emit_or(c->g);
    text(c, " ");
    lm_emit_else(c->g, split, &end);
    size_t r = lm_emit_repeat(c->g, 0, 1);
    text(c, "\n");
    size_t blanks = lm_emit_repeat(c->g, 0, 20);
    text(c, " ");
    lm_emit_repeated(c->g, blanks);
    lm_emit_repeated(c->g, r);
    lm_emit_end(c->g, end);
}

/* One of the hexadecimal digits of `set`. */
static void hex(struct compiler *c, const char *set) {
    struct lm_byte_set bytes = {{0}};
    for (; *set; set++)
        lm_set_add(&bytes, (uint8_t)*set, (uint8_t)*set);
    lm_emit_set(c->g, &bytes);
}

/* \uXXXX, but for surrogates: D800 to DFFF. */
static void escape_rule(struct compiler *c) {
    static const char all[] = "0123456789abcdefABCDEF";
    size_t end = LM_NO_END, split = lm_emit_or(c->g);
    hex(c, "\"\\/bfnrt");
    lm_emit_else(c->g, split, &end);
    text(c, "u");
    size_t inner = LM_NO_END;
    split = lm_emit_or(c->g);
    hex(c, "dD");
    hex(c, "01234567");
    lm_emit_else(c->g, split, &inner);
    hex(c, "0123456789abcefABCEF");
    hex(c, all);
    lm_emit_end(c->g, inner);
    hex(c, all);
    hex(c, all);
    lm_emit_end(c->g, end);
}

static void char_rule(struct compiler *c) {
    static const uint32_t plain[][2] = {{0x20, '!'}, {'#', '['}, {']', 0x10ffff}};
    size_t end = LM_NO_END, split = lm_emit_or(c->g);
    text(c, "\\");
    escape_rule(c);
    lm_emit_else(c->g, split, &end);
    lm_emit_chars(c->g, plain, 3);
    lm_emit_end(c->g, end);
}

static void string(struct compiler *c, uint32_t min, uint32_t max) {
    text(c, "\"");
    size_t r = lm_emit_repeat(c->g, min, max);
    call(c, R_CHAR);
    lm_emit_repeated(c->g, r);
    text(c, "\"");
}

static void integer(struct compiler *c, uint32_t max_digits) {
    size_t end = LM_NO_END, split;
    optional_text(c, "-");
    split = lm_emit_or(c->g);
    text(c, "0");
    lm_emit_else(c->g, split, &end);
    chars(c, '1', '9');
    digits(c, 0, max_digits - 1);
    lm_emit_end(c->g, end);
}

static void number_rule(struct compiler *c) {
    integer(c, 15);
    size_t fraction = lm_emit_repeat(c->g, 0, 1);
    text(c, ".");
    digits(c, 1, 15);
    lm_emit_repeated(c->g, fraction);
    size_t exponent = lm_emit_repeat(c->g, 0, 1);
    hex(c, "eE");
    size_t sign = lm_emit_repeat(c->g, 0, 1);
    hex(c, "+-");
    lm_emit_repeated(c->g, sign);
    digits(c, 1, 2);
    lm_emit_repeated(c->g, exponent);
}

/* "[" item ("," item)* "]", or the same of members in braces, whose keys are strings. */
static void sequence(struct compiler *c, uint32_t item, const char *brackets, bool keys,
                     uint32_t min, uint32_t max) {
    char open[2] = {brackets[0]}, close[2] = {brackets[1]};
    text(c, open);
    call(c, R_SPACE);
    size_t outer = lm_emit_repeat(c->g, min ? 1 : 0, max ? 1 : 0);
    uint32_t more_max = max == LM_UNBOUNDED || max == 0 ? max : max - 1;
    for (int more = 0; more < 2; more++) {
        size_t r = 0;
        if (more) {
            r = lm_emit_repeat(c->g, min ? min - 1 : 0, more_max);
            text(c, ",");
            call(c, R_SPACE);
        }
        if (keys) {
            call(c, R_STRING);
            text(c, ":");
            call(c, R_SPACE);
        }
        call(c, item);
        if (more)
            lm_emit_repeated(c->g, r);
    }
    call(c, R_SPACE);
    lm_emit_repeated(c->g, outer);
    text(c, close);
}

static void any_rule(struct compiler *c) {
    static const char *const words[] = {"true", "false", "null"};
    size_t end = LM_NO_END, split;
    for (size_t i = 0; i < 3; i++) {
        split = lm_emit_or(c->g);
        text(c, words[i]);
        lm_emit_else(c->g, split, &end);
    }
    for (uint32_t rule = R_STRING; rule <= R_NUMBER; rule++) {
        split = lm_emit_or(c->g);
        call(c, rule);
        lm_emit_else(c->g, split, &end);
    }
    split = lm_emit_or(c->g);
    sequence(c, R_ANY, "[]", false, 0, LM_UNBOUNDED);
    lm_emit_else(c->g, split, &end);
    sequence(c, R_ANY, "{}", true, 0, LM_UNBOUNDED);
    lm_emit_end(c->g, end);
}

static void common_rules(struct compiler *c) {
    static void (*const bodies[])(struct compiler * c) = {
        [R_SPACE] = space_rule, [R_CHAR] = char_rule, [R_NUMBER] = number_rule, [R_ANY] = any_rule};
    for (uint32_t i = 0; i < sizeof common / sizeof *common; i++)
        lm_grammar_rule(c->g, common[i], strlen(common[i]));
    for (uint32_t i = R_SPACE; i <= R_ANY; i++) {
        lm_grammar_begin(c->g, i);
        if (i == R_STRING)
            string(c, 0, LM_UNBOUNDED);
        else if (i == R_INTEGER)
            integer(c, 18);
        else
            bodies[i](c);
        end_rule(c);
    }
}

/* ---- Values of one type ---- */

/* A keyword that counts; `otherwise` where it is absent. */
static uint32_t count(struct compiler *c, const struct place *p, const char *key,
                      uint32_t otherwise) {
    const json_t *v = json_object_get(p->schema, key);
    if (!v)
        return otherwise;
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > 1000000)
        fail(c, SLUICE_INPUT, p->path, "a count has to be an integer from 0 to 1000000");
    return (uint32_t)json_integer_value(v);
}

static void check_counts(struct compiler *c, const struct place *p, uint32_t min, uint32_t max) {
    if (min > max)
        fail(c, SLUICE_INPUT, p->path, "the least count is above the most");
}

static void string_of(struct compiler *c, const struct place *p) {
    uint32_t min = count(c, p, "minLength", 0), max = count(c, p, "maxLength", LM_UNBOUNDED);
    check_counts(c, p, min, max);
    string(c, min, max);
}

static uint32_t child(struct compiler *c, const struct place *p, const json_t *schema,
                      const char *between, const char *name) {
    num_autobuf path = {0};
    num_buf_adds(&path, p->path);
    num_buf_adds(&path, between);
    for (; *name; name++) /* RFC 6901 */
        num_buf_adds(&path, *name == '~' ? "~0" : *name == '/' ? "~1" : (char[]){*name, 0});
    return rule_of(c, schema, num_buf_text(&path));
}

static void array_of(struct compiler *c, const struct place *p) {
    uint32_t min = count(c, p, "minItems", 0), max = count(c, p, "maxItems", LM_UNBOUNDED);
    const json_t *items = json_object_get(p->schema, "items");
    check_counts(c, p, min, max);
    sequence(c, items ? child(c, p, items, "/items", "") : (uint32_t)R_ANY, "[]", false, min, max);
}

static bool is_required(const struct place *p, const char *name) {
    const json_t *list = json_object_get(p->schema, "required"), *v;
    size_t i;
    json_array_foreach(list, i, v) if (json_is_string(v) &&
                                       strcmp(json_string_value(v), name) == 0) return true;
    return false;
}

static void check_required(struct compiler *c, const struct place *p, const json_t *properties) {
    const json_t *list = json_object_get(p->schema, "required"), *v;
    size_t i;
    if (list && !json_is_array(list))
        fail(c, SLUICE_INPUT, p->path, "required has to be a list");
    json_array_foreach(list, i, v) if (!json_is_string(v) ||
                                       !json_object_get(properties, json_string_value(v)))
        fail(c, SLUICE_UNSUPPORTED, p->path, "what is required has to be among the properties");
}

static void member(struct compiler *c, const struct place *p, const char *name,
                   const json_t *schema) {
    json_t *key = json_string(name);
    char *quoted = key ? json_dumps(key, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    if (quoted)
        text(c, quoted);
    else
        c->g->failed = true;
    free(quoted);
    json_decref(key);
    text(c, ":");
    call(c, R_SPACE);
    call(c, child(c, p, schema, "/properties/", name));
}

/*
 * The code of a member, once without one before it and once behind one, where a comma comes first.
 * rows: where the code of what comes behind it begins; becomes where its own does.
 */
static void member_rows(struct compiler *c, const struct place *p, const char *name, json_t *schema,
                        uint32_t rows[2]) {
    const uint32_t go_on = rows[1];
    for (int row = 0; row < 2; row++) {
        uint32_t at = (uint32_t)c->g->n_code;
        if (!is_required(p, name))
            lm_emit(c->g, I_SPLIT, at + 1, rows[row]);
        if (row) {
            text(c, ",");
            call(c, R_SPACE);
        }
        member(c, p, name, schema);
        lm_emit(c->g, I_JUMP, go_on, 0);
        rows[row] = at;
    }
}

/* Members in order: written from the last to the first, so that each knows where it goes on. */
static void object_of(struct compiler *c, const struct place *p) {
    json_t *properties = json_object_get(p->schema, "properties"), *value;
    const char *names[1024], *name;
    size_t n = 0;
    check_required(c, p, properties);
    if (!properties) {
        sequence(c, R_ANY, "{}", true, 0, LM_UNBOUNDED);
        return;
    }
    json_object_foreach(properties, name, value) {
        if (n == sizeof names / sizeof *names) {
            fail(c, SLUICE_RESOURCE, p->path, "more than 1024 properties");
            return;
        }
        names[n++] = name;
    }
    text(c, "{");
    call(c, R_SPACE);
    uint32_t begin = lm_emit(c->g, I_JUMP, 0, 0);
    uint32_t rows[2] = {(uint32_t)c->g->n_code};
    text(c, "}");
    uint32_t exit_first = lm_emit(c->g, I_JUMP, 0, 0);
    rows[1] = (uint32_t)c->g->n_code;
    call(c, R_SPACE);
    text(c, "}");
    uint32_t exit_behind = lm_emit(c->g, I_JUMP, 0, 0);
    while (n-- > 0 && !c->g->failed && !c->status)
        member_rows(c, p, names[n], json_object_get(properties, names[n]), rows);
    if (c->g->failed)
        return;
    c->g->code[begin].a = rows[0];
    c->g->code[exit_first].a = c->g->code[exit_behind].a = (uint32_t)c->g->n_code;
}

static void value_of_type(struct compiler *c, const struct place *p, const char *type) {
    if (strcmp(type, "object") == 0) {
        object_of(c, p);
    } else if (strcmp(type, "array") == 0) {
        array_of(c, p);
    } else if (strcmp(type, "string") == 0) {
        string_of(c, p);
    } else if (strcmp(type, "number") == 0) {
        call(c, R_NUMBER);
    } else if (strcmp(type, "integer") == 0) {
        call(c, R_INTEGER);
    } else if (strcmp(type, "null") == 0) {
        text(c, "null");
    } else if (strcmp(type, "boolean") == 0) {
        size_t end = LM_NO_END, split = lm_emit_or(c->g);
        text(c, "true");
        lm_emit_else(c->g, split, &end);
        text(c, "false");
        lm_emit_end(c->g, end);
    } else {
        fail(c, SLUICE_INPUT, p->path,
             "type: expected object, array, string, number, integer, boolean or null");
    }
}

/* ---- Schemas ---- */

static void literal(struct compiler *c, const json_t *value) {
    char *dump = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    if (dump)
        text(c, dump);
    else
        c->g->failed = true;
    free(dump);
}

/* One of a list: of values, of types, or of schemas. */
static void one_of(struct compiler *c, const struct place *p, const json_t *list, int what) {
    size_t end = LM_NO_END, n = json_array_size(list);
    if (n == 0)
        fail(c, SLUICE_INPUT, p->path, "expected a list that is not empty");
    for (size_t i = 0; i < n && !c->status; i++) {
        const json_t *v = json_array_get(list, i);
        char number[24];
        snprintf(number, sizeof number, "%zu", i);
        size_t split = i + 1 < n ? lm_emit_or(c->g) : 0;
        if (what == 'v')
            literal(c, v);
        else if (what == 't')
            value_of_type(c, p, json_is_string(v) ? json_string_value(v) : "");
        else
            call(c, child(c, p, v, "/anyOf/", number));
        if (i + 1 < n)
            lm_emit_else(c->g, split, &end);
    }
    lm_emit_end(c->g, end);
}

static void reference(struct compiler *c, const struct place *p, const char *pointer) {
    if (strncmp(pointer, "#", 1) != 0 || (pointer[1] && pointer[1] != '/')) {
        fail(c, SLUICE_UNSUPPORTED, p->path, "$ref: only places of the schema itself, \"#/...\"");
        return;
    }
    const json_t *at = lm_schema_at(c->root, pointer);
    if (at)
        call(c, rule_of(c, at, pointer));
    else
        fail(c, SLUICE_INPUT, p->path, "$ref points to nothing");
}

static void check_keywords(struct compiler *c, const struct place *p) {
    static const char known[] = " type properties required items minItems maxItems minLength "
                                "maxLength enum const anyOf $ref "
                                "title description default examples $schema $id $comment $defs "
                                "definitions deprecated readOnly "
                                "writeOnly format additionalProperties ";
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)p->schema, key, value) {
        char word[80], what[160];
        snprintf(word, sizeof word, " %.60s ", key);
        if (strchr(key, ' ') || !strstr(known, word)) {
            snprintf(what, sizeof what, "the keyword %.60s is not supported", key);
            fail(c, SLUICE_UNSUPPORTED, p->path, what);
        }
    }
}

static void schema_of(struct compiler *c, const struct place *p) {
    const json_t *s = p->schema, *type = json_object_get(s, "type");
    if (json_is_true(s)) {
        call(c, R_ANY);
        return;
    }
    if (!json_is_object(s)) {
        fail(c, SLUICE_INPUT, p->path, "expected a schema: an object, or true");
        return;
    }
    check_keywords(c, p);
    const json_t *pointer = json_object_get(s, "$ref"), *value = json_object_get(s, "const");
    const json_t *values = json_object_get(s, "enum"), *any = json_object_get(s, "anyOf");
    if (pointer)
        reference(c, p, json_is_string(pointer) ? json_string_value(pointer) : "");
    else if (value)
        literal(c, value);
    else if (values)
        one_of(c, p, values, 'v');
    else if (any && (type || json_object_get(s, "properties")))
        fail(c, SLUICE_UNSUPPORTED, p->path, "anyOf beside type or properties");
    else if (any)
        one_of(c, p, any, 's');
    else if (json_is_array(type))
        one_of(c, p, type, 't');
    else if (type)
        value_of_type(c, p, json_is_string(type) ? json_string_value(type) : "");
    else if (json_object_get(s, "properties"))
        object_of(c, p);
    else if (json_object_get(s, "items"))
        array_of(c, p);
    else
        call(c, R_ANY);
}

static void compile(struct compiler *c) {
    common_rules(c);
    lm_grammar_begin(c->g, R_START);
    call(c, rule_of(c, c->root, "#"));
    end_rule(c);
    for (; c->n_done < c->n_places && !c->status && !c->g->failed; c->n_done++) {
        struct place p = c->places[c->n_done];
        lm_grammar_begin(c->g, lm_grammar_rule(c->g, p.path, strlen(p.path)));
        schema_of(c, &p);
        end_rule(c);
    }
}

int32_t lm_schema_compile(const json_t *schema, struct lm_grammar **ret, struct num_err *err) {
    struct num_err spare;
    struct compiler *c = calloc(1, sizeof *c);
    if (!c)
        return num_fail_memory(err, "the schema", sizeof *c);
    c->g = lm_grammar_new();
    c->root = schema;
    c->err = err ? err : &spare;
    if (c->g)
        compile(c);
    else
        c->status = num_fail_memory(c->err, "the schema", sizeof *c->g);
    int32_t status = c->status;
    if (status == SLUICE_OK)
        status = lm_grammar_finish(c->g, ret, c->err);
    else
        lm_grammar_destroy(c->g);
    for (size_t i = 0; i < c->n_places; i++)
        free(c->places[i].path);
    free(c);
    return status;
}
