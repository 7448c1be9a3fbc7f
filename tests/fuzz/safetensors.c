/* Any bytes as a safetensors file: what parses can be read to its end. */
#include <stdlib.h>

#include "num/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct num_safetensors st;
    struct num_err err;
    if (num_safetensors_parse(data, size, "fuzz", &st, &err))
        return 0;
    for (size_t i = 0; i < st.n_tensors; i++) {
        const struct num_tensor *t = &st.tensors[i];
        float *values = num_tensor_is_float(t) ? malloc(t->n_elements * sizeof *values + 1) : NULL;
        if (values)
            num_tensor_to_f32(t, values);
        free(values);
    }
    num_safetensors_close(&st);
    return 0;
}
