/*
 * Chat templates: the part of Jinja that published models use, as transformers renders it (blocks
 * trimmed, `trim_blocks` and `lstrip_blocks`; break and continue; tojson without escapes for HTML).
 *
 * Statements: for (with if, else, unpacking, loop.*), if/elif/else, set (also of namespaces and of
 * blocks), macro, filter, break, continue, generation. Expressions: all operators, tests, slices,
 * lists, tuples, dicts, calls; the filters, tests and methods are in the tables of
 * template_filter.c, template_string.c and template_method.c. Functions: namespace, range, dict,
 * raise_exception, strftime_now. What is not among them is SLUICE_UNSUPPORTED, with line and
 * column; where a name is looked up while rendering, when that line is reached.
 *
 * A template comes from a stranger's file: it runs within limits of steps, memory, depth and
 * output, and touches nothing outside.
 */
#ifndef LLM_TEMPLATE_H
#define LLM_TEMPLATE_H

#include <jansson.h>

#include "num/buf.h"
#include "num/err.h"

struct lm_template;

struct lm_template_limits {
    uint64_t max_steps; /* nodes evaluated; long texts count by their bytes */
    size_t max_memory;  /* bytes of values */
    size_t max_output;  /* bytes */
    int64_t now;        /* seconds since 1970, for strftime_now, in the local time zone */
};

/* Enough for any published template and a transcript of a day. */
#define LM_TEMPLATE_LIMITS                                                                         \
    ((struct lm_template_limits){                                                                  \
        .max_steps = 50 << 20, .max_memory = 256 << 20, .max_output = 64 << 20})

/*
 * Parses a template. `name` stands in messages ("chat template"): "NAME, line 3, column 7: ...".
 * SLUICE_INPUT: not well formed; SLUICE_UNSUPPORTED: uses what is not supported; SLUICE_RESOURCE.
 */
int32_t lm_template_parse(const char *text, size_t len, const char *name, struct lm_template **ret,
                          struct num_err *err);
void lm_template_destroy(struct lm_template *t); /* takes NULL */

/*
 * Appends the template's text to `out`. `variables`: an object, whose members are the template's
 * variables. SLUICE_INPUT: the template fails, or calls raise_exception (with its message);
 * SLUICE_UNSUPPORTED; SLUICE_RESOURCE: over a limit. A template may be rendered by several threads.
 */
int32_t lm_template_render(const struct lm_template *t, const json_t *variables,
                           const struct lm_template_limits *limits, struct num_buf *out,
                           struct num_err *err);

#endif
