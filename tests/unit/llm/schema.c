/*
 * JSON schemas as grammars: texts that are in and out, and random walks through the automata of
 * random schemas, each of which has to end in JSON that the schema accepts (by a validator of its
 * own here).
 */
#include "unit/test.h"

#include <jansson.h>

#include "num/buf.h"
#include "llm/mask.h"
#include "llm/matcher.h"
#include "llm/schema.h"

static struct lm_matcher *matcher_of(const char *schema, struct lm_grammar **ret) {
    struct num_err err = {0};
    struct lm_matcher *m = NULL;
    json_t *json = json_loads(schema, JSON_DECODE_ANY, NULL);
    CHECK(json);
    if (lm_schema_compile(json, ret, &err) || lm_matcher_create(*ret, &m, &err))
        TEST_FAIL("%s: %s", schema, err.text);
    json_decref(json);
    return m;
}

/* 1: in; 0: the text may go on; -1: out. */
static int match(const char *schema, const char *text) {
    struct lm_grammar *g = NULL;
    struct lm_matcher *m = matcher_of(schema, &g);
    int32_t state = lm_matcher_start(m);
    for (; *text && state != LM_DEAD; text++)
        state = lm_matcher_step(m, state, (uint8_t)*text);
    int result = state == LM_DEAD ? -1 : lm_matcher_accepts(m, state);
    CHECK(!lm_matcher_failed(m));
    lm_matcher_destroy(m);
    lm_grammar_destroy(g);
    return result;
}

static const char person[] =
    "{\"type\": \"object\", \"required\": [\"b\"], \"properties\": {\"a\": {\"type\": "
    "\"integer\"}, "
    "\"b\": {\"type\": \"string\", \"minLength\": 1, \"maxLength\": 2}, \"c\": {\"enum\": [1, "
    "\"x\", null]}}}";

TEST(objects) {
    CHECK_INT(match(person, "{\"b\":\"x\"}"), 1);
    CHECK_INT(match(person, "{ \"a\": 12, \"b\": \"x\u00e4\", \"c\": null }"), 1);
    CHECK_INT(match(person, "{\n  \"b\": \"\\n\\u00e4\",\n  \"c\": \"x\"\n}"), 1);
    CHECK_INT(match(person, "{\"b\":\"xyz"), -1);
    CHECK_INT(match(person, "{\"b\":\"\""), -1);
    CHECK_INT(match(person, "{\"c\""), -1); /* b is required */
    CHECK_INT(match(person, "{\"b\":\"x\",\"a\""), -1);
    CHECK_INT(match(person, "{\"b\":\"x\",}"), -1);
    CHECK_INT(match(person, "{\"b\":\"x\""), 0);
    CHECK_INT(match(person, "{\"a\":01"), -1);
    CHECK_INT(match("{\"properties\": {}}", "{}"), 1);
}

TEST(values) {
    static const char two[] = "{\"type\": \"array\", \"items\": {\"type\": \"boolean\"}, "
                              "\"minItems\": 2, \"maxItems\": 3}";
    CHECK_INT(match(two, "[true]"), -1);
    CHECK_INT(match(two, "[true, false]"), 1);
    CHECK_INT(match(two, "[true,false,true]"), 1);
    CHECK_INT(match(two, "[true,false,true,"), -1);
    CHECK_INT(match("{\"type\": \"array\", \"maxItems\": 0}", "[]"), 1);
    CHECK_INT(match("{\"type\": \"number\"}", "-1.5e+10"), 1);
    CHECK_INT(match("{\"type\": \"number\"}", "1."), 0);
    CHECK_INT(match("{\"type\": [\"string\", \"null\"]}", "null"), 1);
    CHECK_INT(match("{\"anyOf\": [{\"const\": \"yes\"}, {\"type\": \"integer\"}]}", "\"yes\""), 1);
    CHECK_INT(match("{\"type\": \"string\"}", "\"\\ud800"), -1);
    CHECK_INT(match("{\"type\": \"string\"}", "\"\xff"), -1);
    CHECK_INT(match("{\"type\": \"string\"}", "\"\xed\xa0"), -1);
    CHECK_INT(match("true", "{\"a\": [1, {\"b\": null}]}"), 1);
}

TEST(references_may_be_recursive) {
    static const char tree[] =
        "{\"$ref\": \"#/$defs/t\", \"$defs\": {\"t\": {\"type\": \"object\", \"properties\": "
        "{\"kids\": {\"type\": \"array\", \"items\": {\"$ref\": \"#/$defs/t\"}}}}}}";
    CHECK_INT(match(tree, "{\"kids\": [{\"kids\": []}, {}]}"), 1);
    CHECK_INT(match(tree, "{\"kids\": [{\"kids\": [3"), -1);
}

TEST(what_cannot_be_compiled_is_named) {
    static const struct {
        const char *schema;
        int32_t status;
        const char *says;
    } cases[] = {
        {"3", SLUICE_INPUT, "at #: expected a schema"},
        {"{\"type\": \"strin\"}", SLUICE_INPUT, "expected object"},
        {"{\"properties\": {\"a\": {\"pattern\": \"x\"}}}", SLUICE_UNSUPPORTED,
         "#/properties/a: the keyword pattern"},
        {"{\"properties\": {}, \"required\": [\"a\"]}", SLUICE_UNSUPPORTED, "required"},
        {"{\"type\": \"string\", \"minLength\": 3, \"maxLength\": 2}", SLUICE_INPUT, "least"},
        {"{\"enum\": []}", SLUICE_INPUT, "not empty"},
        {"{\"$ref\": \"#/$defs/x\"}", SLUICE_INPUT, "points to nothing"},
        {"{\"$ref\": \"#\"}", SLUICE_INPUT, "never ends"},
        {"{\"$defs\": {\"a\": {\"required\": [\"x\"], \"properties\": {\"x\": {\"$ref\": "
         "\"#/$defs/a\"}}}}, \"$ref\": \"#/$defs/a\"}",
         SLUICE_INPUT, "never ends"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct lm_grammar *g = NULL;
        struct num_err err = {0};
        json_t *json = json_loads(cases[i].schema, JSON_DECODE_ANY, NULL);
        int32_t status = lm_schema_compile(json, &g, &err);
        if (status != cases[i].status || !strstr(err.text, cases[i].says))
            TEST_FAIL("%s: %d, %s", cases[i].schema, (int)status, err.text);
        json_decref(json);
    }
}

/* ---- Random schemas ---- */

static uint32_t seed = 1;

static uint32_t draw(uint32_t n) {
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % n;
}

static json_t *random_schema(int depth) {
    static const char *const simple[] = {"string", "number", "integer", "boolean", "null"};
    uint32_t kind = draw(depth > 0 ? 9 : 6), low = draw(3);
    json_t *s = json_object(), *list, *properties;
    char name[] = "p0";
    if (kind < 5) {
        json_object_set_new(s, "type", json_string(simple[kind]));
        if (kind == 0 && draw(2)) {
            json_object_set_new(s, "minLength", json_integer(low));
            json_object_set_new(s, "maxLength", json_integer(low + draw(4)));
        }
    } else if (kind == 5) {
        json_object_set_new(s, "enum", json_pack("[s, i, {s: [n, b]}]", "\u00e4\"\n", 7, "k", 1));
    } else if (kind == 6) {
        json_object_set_new(s, "type", json_string("array"));
        json_object_set_new(s, "items", random_schema(depth - 1));
        json_object_set_new(s, "minItems", json_integer(low));
        json_object_set_new(s, "maxItems", json_integer(low + draw(3)));
    } else if (kind == 7) {
        list = json_array();
        for (uint32_t i = 0; i <= draw(3); i++)
            json_array_append_new(list, random_schema(depth - 1));
        json_object_set_new(s, "anyOf", list);
    } else {
        list = json_array();
        properties = json_object();
        for (uint32_t i = draw(5); i-- > 0;) {
            name[1] = (char)('0' + i);
            json_object_set_new(properties, name, random_schema(depth - 1));
            if (draw(2))
                json_array_append_new(list, json_string(name));
        }
        json_object_set_new(s, "properties", properties);
        json_object_set_new(s, "required", list);
    }
    return s;
}

static bool is_valid(const json_t *v, const json_t *s);

static bool valid_object(const json_t *v, const json_t *s) {
    const char *key;
    json_t *member, *name;
    size_t i;
    json_array_foreach(json_object_get(s, "required"), i, name) {
        if (!json_object_get(v, json_string_value(name)))
            return false;
    }
    json_object_foreach((json_t *)(uintptr_t)v, key, member) {
        const json_t *of = json_object_get(json_object_get(s, "properties"), key);
        if (!of || !is_valid(member, of))
            return false;
    }
    return json_is_object(v);
}

static bool within(size_t n, const json_t *s, const char *min, const char *max) {
    const json_t *most = json_object_get(s, max);
    return (json_int_t)n >= json_integer_value(json_object_get(s, min)) &&
           (!most || (json_int_t)n <= json_integer_value(most));
}

static bool is_valid(const json_t *v, const json_t *s) {
    const char *type = json_string_value(json_object_get(s, "type"));
    json_t *one;
    size_t i, n = 0;
    json_array_foreach(json_object_get(s, "enum"), i, one) {
        if (json_equal(v, one))
            return true;
    }
    json_array_foreach(json_object_get(s, "anyOf"), i, one) {
        if (is_valid(v, one))
            return true;
    }
    if (json_object_get(s, "properties"))
        return valid_object(v, s);
    if (!type)
        return false;
    if (strcmp(type, "array") == 0) {
        json_array_foreach(v, i, one) {
            if (!is_valid(one, json_object_get(s, "items")))
                return false;
        }
        return json_is_array(v) && within(json_array_size(v), s, "minItems", "maxItems");
    }
    if (strcmp(type, "string") == 0) {
        for (const char *at = json_string_value(v); at && *at; at++)
            n += ((uint8_t)*at & 0xc0) != 0x80;
        return json_is_string(v) && (json_string_length(v) != strlen(json_string_value(v)) ||
                                     within(n, s, "minLength", "maxLength"));
    }
    return strcmp(type, "integer") == 0   ? json_is_integer(v)
           : strcmp(type, "number") == 0  ? json_is_number(v)
           : strcmp(type, "boolean") == 0 ? json_is_boolean(v)
                                          : json_is_null(v);
}

/* Writes allowed bytes at random until the text may end; every state has a byte or may end. */
static void walk(struct lm_matcher *m, struct num_buf *out) {
    static const char likely[] = "\"}],:0 ";
    int32_t state = lm_matcher_start(m), next;
    while (!lm_matcher_accepts(m, state) || (draw(2) && !lm_matcher_is_final(m, state))) {
        uint8_t byte = (uint8_t)draw(256);
        if (out->len > 60 && draw(2))
            byte = (uint8_t)likely[draw(7)];
        for (int tries = 0; (next = lm_matcher_step(m, state, byte)) == LM_DEAD; tries++, byte++)
            CHECK(tries < 256);
        state = lm_matcher_tidy(m, next);
        num_buf_addc(out, (char)byte);
    }
}

TEST(random_schemas) {
    size_t n_bytes = 0;
    for (int i = 0; i < 400; i++) {
        json_t *schema = random_schema(3);
        num_autotext *text = json_dumps(schema, 0);
        struct lm_grammar *g = NULL;
        struct lm_matcher *m = matcher_of(text, &g);
        for (int k = 0; k < 10; k++) {
            num_autobuf out = {0};
            walk(m, &out);
            n_bytes += out.len;
            json_error_t where;
            json_t *v = json_loadb(out.data, out.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &where);
            if (!v || !is_valid(v, schema) || !lm_schema_accepts(schema, v))
                TEST_FAIL("%s\n  gives %s (%s)", text, out.data, v ? "not valid" : where.text);
            json_decref(v);
        }
        lm_matcher_destroy(m);
        lm_grammar_destroy(g);
        json_decref(schema);
    }
    printf("  4000 texts, %zu bytes\n", n_bytes);
    CHECK(n_bytes > 40000);
}

TEST(values_that_others_wrote) {
    static const struct {
        const char *schema, *value;
        bool accepted;
    } cases[] = {
        {"{\"type\": \"integer\"}", "3.0", true},
        {"{\"type\": \"integer\"}", "3.5", false},
        {"{\"type\": [\"null\", \"string\"]}", "null", true},
        {"{\"type\": [\"null\", \"string\"]}", "1", false},
        {"{\"type\": \"string\", \"minLength\": 2, \"maxLength\": 3}", "\"\u00e4\u00e4\"", true},
        {"{\"type\": \"string\", \"minLength\": 2, \"maxLength\": 3}", "\"a\"", false},
        {"{\"type\": \"string\", \"maxLength\": 3}", "\"abcd\"", false},
        {"{\"type\": \"array\", \"minItems\": 1, \"items\": {\"type\": \"number\"}}", "[1, 2]",
         true},
        {"{\"type\": \"array\", \"minItems\": 1, \"items\": {\"type\": \"number\"}}", "[]", false},
        {"{\"type\": \"array\", \"maxItems\": 1}", "[1, 2]", false},
        {"{\"items\": {\"type\": \"number\"}}", "[\"a\"]", false},
        {"{\"properties\": {\"a\": true}, \"required\": [\"a\"]}", "{\"b\": 1, \"a\": 2}", true},
        {"{\"properties\": {\"a\": true}, \"required\": [\"a\"]}", "{\"b\": 1}", false},
        {"{\"properties\": {\"a\": true}, \"additionalProperties\": false}", "{\"b\": 1}", false},
        {"{\"properties\": {\"a\": true}}", "[]", false},
        {"{\"properties\": {\"a\": {\"type\": \"null\"}}}", "{\"a\": 1}", false},
        {"{\"enum\": [1, \"a\"]}", "1.0", true},
        {"{\"enum\": [1, \"a\"]}", "\"b\"", false},
        {"{\"const\": {\"a\": []}}", "{\"a\": []}", true},
        {"{\"const\": {\"a\": []}}", "{}", false},
        {"{\"anyOf\": [{\"type\": \"null\"}, {\"$ref\": \"#/$defs/x~1y\"}], \"$defs\": {\"x/y\": "
         "{\"type\": \"boolean\"}}}",
         "true", true},
        {"{\"anyOf\": [{\"type\": \"null\"}, {\"$ref\": \"#/$defs/x\"}], \"$defs\": {\"x\": "
         "{\"type\": \"boolean\"}}}",
         "1", false},
        {"true", "[1, {}]", true},
        {"{}", "\"x\"", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *schema = json_loads(cases[i].schema, JSON_DECODE_ANY, NULL);
        json_t *value = json_loads(cases[i].value, JSON_DECODE_ANY, NULL);
        struct lm_grammar *g = NULL;
        CHECK_INT(lm_schema_compile(schema, &g, NULL), SLUICE_OK);
        if (!value || lm_schema_accepts(schema, value) != cases[i].accepted)
            TEST_FAIL("%s: %s", cases[i].schema, cases[i].value);
        lm_grammar_destroy(g);
        json_decref(schema);
        json_decref(value);
    }
}

/* ---- Tokens ---- */

#define N_TOKENS 20000

struct tokens {
    char text[N_TOKENS][8];
};

static const uint8_t *bytes_of(const void *ctx, int32_t token, size_t *ret_len) {
    const struct tokens *t = ctx;
    *ret_len = strlen(t->text[token]);
    return (const uint8_t *)t->text[token];
}

/* Every mask says of every token what its bytes say, one after the other; every walk over tokens
 * ends in JSON. */
TEST(masks_are_those_of_the_bytes) {
    static const char alphabet[] = "{}[]\":,abcx123 \n\\u-.etrufalsn\xc3\xa4";
    static struct tokens tokens;
    static uint32_t allowed[N_TOKENS / 32];
    struct lm_vocabulary *v = NULL;
    struct lm_grammar *g = NULL;
    struct num_err err;
    for (int i = 1; i < N_TOKENS; i++) /* token 0 is a special one */
        for (uint32_t k = 0, len = i < 64 ? 1 : 1 + draw(6); k < len; k++)
            tokens.text[i][k] =
                alphabet[i < 64 ? (uint32_t)i % (sizeof alphabet - 1) : draw(sizeof alphabet - 1)];
    struct lm_matcher *m = matcher_of(person, &g);
    CHECK_INT(lm_vocabulary_create(bytes_of, &tokens, N_TOKENS, &v, &err), SLUICE_OK);
    for (int walk = 0; walk < 20; walk++) {
        num_autobuf out = {0};
        int32_t state = lm_matcher_start(m), token = 0;
        while (!lm_matcher_accepts(m, state)) {
            uint32_t n_allowed = 0, chosen;
            memset(allowed, 0, sizeof allowed);
            lm_vocabulary_mask(v, m, state, allowed, N_TOKENS);
            for (int32_t t = 0; t < N_TOKENS; t++) {
                bool bit = allowed[t / 32] >> (t % 32) & 1;
                CHECK(bit == (lm_vocabulary_step(v, m, state, t) != LM_DEAD));
                n_allowed += bit;
            }
            CHECK(n_allowed > 0);
            chosen = draw(n_allowed);
            for (token = 0; !(allowed[token / 32] >> (token % 32) & 1) || chosen-- > 0; token++)
                ;
            num_buf_adds(&out, tokens.text[token]);
            state = lm_vocabulary_step(v, m, state, token);
        }
        json_t *value = json_loads(num_buf_text(&out), 0, NULL);
        CHECK(value && json_object_get(value, "b"));
        json_decref(value);
    }
    lm_vocabulary_destroy(v);
    lm_matcher_destroy(m);
    lm_grammar_destroy(g);
}

TEST_MAIN()
