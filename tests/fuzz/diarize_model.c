/* Models of diarization: the first byte chooses which, then a config up to the first NUL, then
 * tensors. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "diarize/models.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void make(char which, const struct dz_weights *w, struct num_pool *pool) {
    struct num_err err;
    struct dz_pyannet *segmentation = NULL;
    struct dz_resnet *embedding = NULL;
    struct dz_plda plda = {0};
    if (which == 's' &&
        dz_pyannet_create(w, NUM_COMPUTE_BF16, pool, &segmentation, &err) == SLUICE_OK) {
        struct dz_pyannet_shape shape;
        dz_pyannet_shape(segmentation, &shape);
        if (shape.n_frames == 0 || shape.n_classes == 0)
            abort();
        dz_pyannet_destroy(segmentation);
    } else if (which == 'e' &&
               dz_resnet_create(w, NUM_COMPUTE_F32, pool, &embedding, &err) == SLUICE_OK) {
        dz_resnet_destroy(embedding);
    } else if (dz_plda_load(w, &plda, &err) == SLUICE_OK) {
        dz_plda_finish(&plda);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *nul = size > 1 ? memchr(data + 1, 0, size - 1) : NULL;
    struct dz_weights w = {0};
    struct num_pool *pool = NULL;
    if (!nul)
        return 0;
    const char *type = data[0] == 's' ? "pyannet" : data[0] == 'e' ? "resnet" : "plda";
    size_t config = (size_t)(nul - data) - 1, skip = config + 2;
    if (dz_weights_parse(data + skip, size - skip, (const char *)data + 1, config, type, &w,
                         NULL) != SLUICE_OK)
        return 0;
    if (num_pool_create(1, &pool, NULL) == SLUICE_OK)
        make((char)data[0], &w, pool);
    num_pool_destroy(pool);
    dz_weights_close(&w);
    return 0;
}
