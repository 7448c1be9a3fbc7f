/*
 * A JSON schema as a grammar: every text that the grammar allows is JSON that the schema accepts.
 *
 * Keywords: type (one, or a list), properties, required, items, minItems, maxItems, minLength,
 * maxLength, enum, const, anyOf, $ref to "#/$defs/...". Annotations (title, description, default,
 * ...) and `format` are passed over; any other keyword is SLUICE_UNSUPPORTED, with its place.
 *
 * Members come in the order of `properties`, without further ones; numbers have at most 15 digits
 * before and behind the point, integers at most 18; white space is a blank, or a newline with at
 * most 20 blanks. `\u` escapes are no surrogates: such characters are written as themselves.
 */
#ifndef LLM_SCHEMA_H
#define LLM_SCHEMA_H

#include <jansson.h>
#include <stdbool.h>

#include "llm/grammar.h"
#include "num/err.h"

/* SLUICE_INPUT: not a schema; SLUICE_UNSUPPORTED; SLUICE_RESOURCE. The message names the place, as
 * a path ("#/properties/names"). */
int32_t lm_schema_compile(const json_t *schema, struct lm_grammar **ret, struct num_err *err);

/* Whether a value is what a schema that has been compiled describes; pure. Members may come in any
 * order. False also for what takes too long to say. */
bool lm_schema_accepts(const json_t *schema, const json_t *value);

/* What a pointer such as "#/$defs/name" points to: object members and list indices from the root.
 * NULL: to nothing. */
const json_t *lm_schema_at(const json_t *root, const char *pointer);

#endif
