/* A grammar in GBNF, and behind a NUL the bytes that its automaton is given. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "llm/gbnf.h"
#include "llm/matcher.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct lm_grammar *g = NULL;
    struct lm_matcher *m = NULL;
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    size_t len = end ? (size_t)(end - data) : size;
    if (lm_gbnf_compile((const char *)data, len, &g, NULL) != SLUICE_OK)
        return 0;
    if (lm_matcher_create(g, &m, NULL) == SLUICE_OK) {
        int32_t state = lm_matcher_start(m);
        for (size_t i = len + 1; i < size && state != LM_DEAD; i++)
            state = lm_matcher_tidy(m, lm_matcher_step(m, state, data[i]));
        lm_matcher_destroy(m);
    }
    lm_grammar_destroy(g);
    return 0;
}
