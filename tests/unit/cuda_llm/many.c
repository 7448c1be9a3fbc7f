/*
 * Products of many rows with matrix instructions: of every type of weights and every form, against
 * those of few rows, and each row to the bit whatever the number of rows. Runs on the emulated card
 * and on a real one.
 */
#include "unit/cuda_encoder/device.h"

#include "llm/cuda/cuda.h"

enum { MOST = 40 };

static const enum num_weight_type types[] = {NUM_WEIGHT_F32,  NUM_WEIGHT_F16,  NUM_WEIGHT_BF16,
                                             NUM_WEIGHT_Q4_0, NUM_WEIGHT_Q4_1, NUM_WEIGHT_Q5_0,
                                             NUM_WEIGHT_Q5_1, NUM_WEIGHT_Q8_0, NUM_WEIGHT_Q4_K,
                                             NUM_WEIGHT_Q5_K, NUM_WEIGHT_Q6_K};

/* Bits that are numbers in the plane they are for: scales of some size, plain ones below 2. */
static void *plane(size_t bytes, enum num_weight_type type, bool scales, uint32_t seed) {
    uint8_t *data = keep(malloc(bytes + 1));
    uint16_t *halves = (uint16_t *)(void *)data;
    uint32_t state = seed;
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)((state = state * 1664525u + 1013904223u) >> 24);
    for (size_t i = 0; i < bytes / 2; i++) {
        if (scales)
            halves[i] = (uint16_t)(0x1c00 | (halves[i] & 0x83ff));
        else if (type == NUM_WEIGHT_F16)
            halves[i] = (uint16_t)(0x3400 | (halves[i] & 0x83ff));
        else if (type == NUM_WEIGHT_BF16 || (type == NUM_WEIGHT_F32 && i % 2))
            halves[i] = (uint16_t)(0x3e80 | (halves[i] & 0x807f));
    }
    return bytes ? device_copy(data, bytes) : NULL;
}

static struct lm_cuda_matrix matrix(enum num_weight_type type, uint32_t n_out, uint32_t k,
                                    uint32_t seed) {
    struct lm_cuda_planes p = lm_cuda_planes_of(type);
    struct lm_cuda_matrix m = {.type = type, .n_out = n_out, .k = k};
    bool super = p.super > 0;
    m.groups = lm_cuda_width(k) / LM_CUDA_GROUP;
    size_t n = (size_t)n_out * m.groups;
    m.low = plane(n * p.low, type, false, seed);
    m.high = plane(n * p.high, NUM_N_WEIGHT_TYPES, false, seed + 1);
    m.meta = plane(n * p.meta, NUM_N_WEIGHT_TYPES, !super, seed + 2);
    m.super = plane(n / 8 * p.super, NUM_N_WEIGHT_TYPES, true, seed + 3);
    m.bias = device_copy(random_values(n_out, 1, 0, seed + 4), n_out * sizeof(float));
    return m;
}

static void matrix_free(struct lm_cuda_matrix *m) {
    void *all[] = {m->low, m->high, m->meta, m->super, m->bias};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        cudaFree(all[i]);
}

/* Rows in bfloat16, and the same as floats. */
struct inputs {
    float *x;
    void *typed;
    uint32_t ld;
};

static struct inputs inputs_of(uint32_t k) {
    struct inputs in = {.ld = lm_cuda_width(k)};
    float *x = random_values((size_t)MOST * in.ld, 1, 0, 7);
    for (size_t i = 0; i < (size_t)MOST * in.ld; i++)
        x[i] = i % in.ld < k ? x[i] : 0;
    in.typed = device_values(x, (size_t)MOST * in.ld, NUM_CUDA_BF16);
    in.x = device_copy(x, (size_t)MOST * in.ld * sizeof *x);
    return in;
}

/* The results of n rows, on a card of so many multiprocessors or (0) by the kernel for few rows,
 * behind what lies there before, which is 1. */
static float *run(struct lm_cuda_product p, const struct inputs *in, uint32_t n,
                  uint32_t processors) {
    const size_t bytes = (size_t)n * p.ldy * sizeof(float);
    float *ones = keep(malloc(bytes));
    for (size_t i = 0; i < (size_t)n * p.ldy; i++)
        ones[i] = 1;
    p.y = device_copy(ones, bytes);
    p.n = n;
    p.x = in->x;
    p.ldx = in->ld;
    CHECK_CUDA(processors ? lm_cuda_product_many(&p, in->typed, processors, NULL)
                          : lm_cuda_product_run(&p, NULL));
    float *got = host_values(p.y, (size_t)n * p.ldy, NUM_CUDA_F32);
    cudaFree(p.y);
    return got;
}

/* Weights are rounded to 8 bits: the error of a sum of k is that of one product times the root of
 * k, and some; a gate multiplies two. */
static void check(const struct lm_cuda_product *p, const struct inputs *in, uint32_t n,
                  uint32_t processors) {
    const float *few = run(*p, in, n, 0), *many = run(*p, in, n, processors);
    const float *less = run(*p, in, 3, processors);
    const size_t total = (size_t)n * p->ldy;
    double squares = 0, off = 0;
    for (size_t i = 0; i < total; i++) {
        squares += (double)few[i] * few[i];
        CHECK(isfinite(few[i]) && isfinite(many[i])); /* fmax() passes over what is no number */
        off = fmax(off, fabs((double)few[i] - many[i]));
    }
    double spread = sqrt(squares / (double)total);
    if (!(off < (p->form == LM_CUDA_GATE ? 0.05 : 0.02) * spread) || !(spread > 0.1))
        TEST_FAIL("%s, form %d, %u rows: off by %g of %g", num_weight_name(p->parts[0]->type),
                  (int)p->form, n, off, spread);
    CHECK(memcmp(many, less, 3 * p->ldy * sizeof *many) == 0);
}

TEST(every_type) {
    struct inputs in = inputs_of(256);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct lm_cuda_matrix m = matrix(types[i], 20, 256, (uint32_t)(100 * i));
        struct lm_cuda_product p = {.parts = {&m}, .n_parts = 1, .ldy = 20};
        check(&p, &in, 12, 1);
        matrix_free(&m);
    }
}

TEST(every_form) {
    static const struct {
        uint32_t rows, processors; /* of which 1, 2 and 4 warps share outputs */
    } ways[] = {{4, 1}, {17, 3}, {40, 8}};
    struct inputs in = inputs_of(600); /* no whole number of groups, nor of spans */
    struct lm_cuda_matrix a = matrix(NUM_WEIGHT_Q8_0, 51, 600, 1);
    struct lm_cuda_matrix b = matrix(NUM_WEIGHT_Q8_0, 51, 600, 2);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct lm_cuda_product gate = {
            .parts = {&a, &b}, .n_parts = 2, .ldy = 52, .form = LM_CUDA_GATE};
        struct lm_cuda_product sum = {.parts = {&a}, .n_parts = 1, .ldy = 51, .form = LM_CUDA_ADD};
        struct lm_cuda_product both = {.parts = {&a, &b}, .n_parts = 2, .ldy = 102};
        check(&gate, &in, ways[i].rows, ways[i].processors);
        check(&sum, &in, ways[i].rows, ways[i].processors);
        check(&both, &in, ways[i].rows, ways[i].processors);
    }
    matrix_free(&a);
    matrix_free(&b);
}

TEST(more_rows_are_refused) {
    struct inputs in = inputs_of(32);
    struct lm_cuda_matrix m = matrix(NUM_WEIGHT_BF16, 8, 32, 3);
    struct lm_cuda_product p = {.parts = {&m}, .n_parts = 1, .n = LM_CUDA_MANY + 1};
    CHECK_INT(lm_cuda_product_many(&p, in.typed, 1, NULL), cudaErrorInvalidValue);
    matrix_free(&m);
}

TEST_MAIN()
