/* A JSON schema, and behind a NUL the bytes that its automaton is given. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "llm/matcher.h"
#include "llm/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(const struct lm_grammar *g, const uint8_t *text, size_t len) {
    struct lm_matcher *m = NULL;
    struct num_err err;
    if (lm_matcher_create(g, &m, &err) != SLUICE_OK)
        abort();
    int32_t state = lm_matcher_start(m);
    for (size_t i = 0; i < len && state != LM_DEAD; i++)
        state = lm_matcher_tidy(m, lm_matcher_step(m, state, text[i]));
    if (state != LM_DEAD && !lm_matcher_accepts(m, state)) { /* some byte may follow */
        unsigned byte = 0;
        while (byte < 256 && lm_matcher_step(m, state, (uint8_t)byte) == LM_DEAD)
            byte++;
        if (byte == 256 && !lm_matcher_failed(m))
            abort();
    }
    lm_matcher_destroy(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct lm_grammar *g = NULL;
    struct num_err err;
    const uint8_t *end = memchr(data, 0, size);
    size_t len = end ? (size_t)(end - data) : size;
    json_t *schema = json_loadb((const char *)data, len, JSON_DECODE_ANY, NULL);
    if (schema && lm_schema_compile(schema, &g, &err) == SLUICE_OK) {
        run(g, end ? end + 1 : data, end ? size - len - 1 : 0);
        lm_grammar_destroy(g);
    }
    json_decref(schema);
    return 0;
}
