/*
 * Whether a value is what a schema describes, by the keywords of schema.h and with the same
 * precedence ($ref, const, enum, anyOf, then the type). Members beyond `properties` pass, unless
 * additionalProperties is false. Work is bounded, whatever schema and value are.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "llm/schema.h"

#define MAX_CHECKS 1000000
#define MAX_DEPTH  4000

const json_t *lm_schema_at(const json_t *root, const char *pointer) {
    const json_t *at = root;
    char name[256];
    if (*pointer != '#')
        return NULL;
    for (const char *part = pointer + 1; *part && at;) {
        if (*part != '/')
            return NULL;
        size_t len = strcspn(++part, "/"), n = 0;
        for (size_t i = 0; i < len && n + 1 < sizeof name; i++) {
            bool escape = part[i] == '~' && i + 1 < len;
            name[n++] = !escape ? part[i] : part[++i] == '1' ? '/' : '~';
        }
        name[n] = '\0';
        at = json_is_array(at) ? json_array_get(at, strtoul(name, NULL, 10))
                               : json_object_get(at, name);
        part += len;
    }
    return at;
}

struct check {
    const json_t *root;
    uint32_t n_left;
    int depth;
};

static bool fits(struct check *c, const json_t *schema, const json_t *value);

static bool equal(const json_t *a, const json_t *b) {
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    return json_equal((json_t *)(uintptr_t)a, (json_t *)(uintptr_t)b) != 0;
}

static bool is_one_of(const json_t *values, const json_t *value) {
    for (size_t i = 0; i < json_array_size(values); i++)
        if (equal(json_array_get(values, i), value))
            return true;
    return false;
}

static bool fits_any(struct check *c, const json_t *schemas, const json_t *value) {
    for (size_t i = 0; i < json_array_size(schemas); i++)
        if (fits(c, json_array_get(schemas, i), value))
            return true;
    return false;
}

/* Whether `n` is within the two counts of the schema. */
static bool counts(const json_t *schema, const char *least, const char *most, size_t n) {
    const json_t *min = json_object_get(schema, least), *max = json_object_get(schema, most);
    return (!min || n >= (uint64_t)json_integer_value(min)) &&
           (!max || n <= (uint64_t)json_integer_value(max));
}

static size_t n_characters(const json_t *text) {
    const char *s = json_string_value(text);
    size_t n = 0;
    for (size_t i = 0; i < json_string_length(text); i++)
        n += ((uint8_t)s[i] & 0xc0) != 0x80;
    return n;
}

static bool items_fit(struct check *c, const json_t *schema, const json_t *list) {
    const json_t *items = json_object_get(schema, "items");
    if (!counts(schema, "minItems", "maxItems", json_array_size(list)))
        return false;
    for (size_t i = 0; items && i < json_array_size(list); i++)
        if (!fits(c, items, json_array_get(list, i)))
            return false;
    return true;
}

static bool members_fit(struct check *c, const json_t *schema, const json_t *object) {
    const json_t *properties = json_object_get(schema, "properties");
    const json_t *required = json_object_get(schema, "required");
    bool closed = json_is_false(json_object_get(schema, "additionalProperties"));
    const char *key;
    json_t *value;
    for (size_t i = 0; i < json_array_size(required); i++)
        if (!json_object_get(object, json_string_value(json_array_get(required, i))))
            return false;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        const json_t *own = json_object_get(properties, key);
        if (own ? !fits(c, own, value) : closed)
            return false;
    }
    return true;
}

static bool is_integer(const json_t *value) {
    return json_is_integer(value) ||
           (json_is_real(value) && floor(json_real_value(value)) == json_real_value(value));
}

static bool has_type(struct check *c, const json_t *schema, const char *type, const json_t *value) {
    if (strcmp(type, "object") == 0)
        return json_is_object(value) && members_fit(c, schema, value);
    if (strcmp(type, "array") == 0)
        return json_is_array(value) && items_fit(c, schema, value);
    if (strcmp(type, "string") == 0)
        return json_is_string(value) &&
               counts(schema, "minLength", "maxLength", n_characters(value));
    if (strcmp(type, "number") == 0)
        return json_is_number(value);
    if (strcmp(type, "integer") == 0)
        return is_integer(value);
    if (strcmp(type, "boolean") == 0)
        return json_is_boolean(value);
    return strcmp(type, "null") == 0 && json_is_null(value);
}

static bool has_any_type(struct check *c, const json_t *schema, const json_t *types,
                         const json_t *value) {
    for (size_t i = 0; i < json_array_size(types); i++)
        if (has_type(c, schema, json_string_value(json_array_get(types, i)), value))
            return true;
    return false;
}

static bool fits_one(struct check *c, const json_t *schema, const json_t *value) {
    const json_t *pointer = json_object_get(schema, "$ref");
    const json_t *constant = json_object_get(schema, "const");
    const json_t *values = json_object_get(schema, "enum"), *any = json_object_get(schema, "anyOf");
    const json_t *type = json_object_get(schema, "type");
    if (pointer)
        return fits(c, lm_schema_at(c->root, json_string_value(pointer)), value);
    if (constant)
        return equal(constant, value);
    if (values)
        return is_one_of(values, value);
    if (any)
        return fits_any(c, any, value);
    if (json_is_array(type))
        return has_any_type(c, schema, type, value);
    if (type)
        return has_type(c, schema, json_string_value(type), value);
    if (json_object_get(schema, "properties"))
        return has_type(c, schema, "object", value);
    return !json_object_get(schema, "items") || has_type(c, schema, "array", value);
}

static bool fits(struct check *c, const json_t *schema, const json_t *value) {
    if (!schema || c->n_left == 0 || c->depth == MAX_DEPTH)
        return false;
    c->n_left--;
    c->depth++;
    bool fit = fits_one(c, schema, value);
    c->depth--;
    return fit;
}

bool lm_schema_accepts(const json_t *schema, const json_t *value) {
    struct check c = {.root = schema, .n_left = MAX_CHECKS};
    return fits(&c, schema, value);
}
