/* Signals and models of the tests of networks; tools/reference/diarize_common.py makes the same
 * signal. */
#ifndef TESTS_UNIT_DIARIZE_MODELS_H
#define TESTS_UNIT_DIARIZE_MODELS_H

#include "unit/test.h"

#include "diarize/weights.h"
#include "num/pool.h"

#define EXPECTED TESTS_DIR "/data/expected/"

static inline void make_noise(float *x, size_t n, uint64_t seed) {
    uint64_t state = seed;
    double before = 0;
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        double white = (double)(state >> 40) / (1 << 23) - 1;
        before = (i / 4000 % 2 ? 0.9 : 0.2) * before + white;
        x[i] = (float)(0.05 * (double)(1 + i / 2500 % 3) * before);
    }
}

static inline struct num_pool *make_pool(uint32_t n) {
    struct num_pool *pool = NULL;
    CHECK_INT(num_pool_create(n, &pool, NULL), SLUICE_OK);
    return pool;
}

/* The model NAME of tests/data/expected, whose type is `type`. */
static inline struct dz_weights open_weights(const char *name, const char *type) {
    struct dz_weights weights = {0};
    struct num_err err = {0};
    char path[512];
    snprintf(path, sizeof path, EXPECTED "%s", name);
    if (dz_weights_open(path, type, &weights, &err) != SLUICE_OK)
        TEST_FAIL("%s", err.text);
    return weights;
}

/* The largest difference to a tensor of tests/data/expected/NAME/expected.safetensors, as a share
 * of the tensor's largest value. */
static inline double difference(const char *name, const char *tensor, const float *x, size_t n) {
    struct num_safetensors st = {0};
    char path[512];
    snprintf(path, sizeof path, EXPECTED "%s/expected.safetensors", name);
    CHECK_INT(num_safetensors_open(path, &st, NULL), SLUICE_OK);
    const struct num_tensor *t = num_safetensors_find(&st, tensor);
    CHECK(t && t->dtype == NUM_F32);
    CHECK_INT(t->n_elements, n);
    float *expected = malloc(n * sizeof *expected);
    num_tensor_to_f32(t, expected);
    double most = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)expected[i] - x[i]));
        largest = fmax(largest, fabs(expected[i]));
        CHECK(isfinite(x[i]));
    }
    free(expected);
    num_safetensors_close(&st);
    printf("  %s %s: largest difference %.2g of %.3g\n", name, tensor, most, largest);
    return most / largest;
}

#endif
