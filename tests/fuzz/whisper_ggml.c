/* Any bytes as a model file of whisper.cpp: what parses can be read to the end of every tensor and
 * piece. */
#include <stdlib.h>

#include "whisper/ggml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct wh_ggml ggml;
    struct num_bpe bpe;
    struct num_err err;
    if (wh_ggml_parse(data, size, "fuzz", &ggml, &err))
        return 0;
    for (size_t i = 0; i < ggml.n_tensors; i++) {
        const struct num_weights *w = &ggml.tensors[i];
        float *row = malloc(w->cols * sizeof *row);
        num_weights_to_f32(w, w->rows - 1, 1, row);
        free(row);
    }
    if (wh_ggml_bpe(&ggml, "fuzz", &bpe, &err) == 0) {
        num_bpe_special(&bpe, "<|en|>");
        num_bpe_finish(&bpe);
    }
    wh_ggml_finish(&ggml);
    return 0;
}
