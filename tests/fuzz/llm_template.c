/* A chat template, parsed and rendered within small limits. */
#include <stdint.h>
#include <stdlib.h>

#include "llm/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char variables_json[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \" Be short. \"}, {\"role\": \"user\", "
    "\"content\": \"Hi \\u00e4\"}, {\"role\": \"assistant\", \"content\": [{\"text\": \"x\"}]}], "
    "\"bos_token\": \"<s>\", \"tools\": [{\"function\": {\"name\": \"f\", \"a\": [1, 2.5, "
    "null]}}]}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct lm_template_limits limits = {
        .max_steps = 20000, .max_memory = 1 << 20, .max_output = 1 << 18};
    struct lm_template *t = NULL;
    num_autobuf out = {0};
    struct num_err err = {0};
    if (lm_template_parse((const char *)data, size, "fuzz", &t, &err) != SLUICE_OK)
        return 0;
    json_t *variables = json_loads(variables_json, 0, NULL);
    int32_t status = lm_template_render(t, variables, &limits, &out, &err);
    if (status == SLUICE_OK ? out.len > limits.max_output : out.len > 0)
        abort();
    json_decref(variables);
    lm_template_destroy(t);
    return 0;
}
