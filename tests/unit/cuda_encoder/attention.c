/*
 * Attention of all types, against the definition in double.
 */
#include "device.h"

#include "num/cuda/attention.h"

enum { HEAD = NUM_CUDA_HEAD };

struct shape {
    size_t n, n_heads, n_batch;
    float spread; /* of queries: with a larger one few keys win */
};

/* One query's result in double; weights sum to one. */
static void attend(const float *qkv, const struct shape *s, size_t row, size_t head, double scale,
                   double *ret) {
    size_t ld = 3 * s->n_heads * HEAD, window = row / s->n * s->n;
    const float *q = qkv + row * ld + head * HEAD;
    double *scores = malloc(s->n * sizeof *scores), max = -INFINITY, sum = 0;
    for (size_t j = 0; j < s->n; j++) {
        const float *k = qkv + (window + j) * ld + (s->n_heads + head) * HEAD;
        scores[j] = 0;
        for (size_t e = 0; e < HEAD; e++)
            scores[j] += (double)q[e] * k[e] * scale;
        max = scores[j] > max ? scores[j] : max;
    }
    memset(ret, 0, HEAD * sizeof *ret);
    for (size_t j = 0; j < s->n; j++) {
        const float *v = qkv + (window + j) * ld + (2 * s->n_heads + head) * HEAD;
        double weight = exp(scores[j] - max);
        sum += weight;
        for (size_t e = 0; e < HEAD; e++)
            ret[e] += weight * v[e];
    }
    for (size_t e = 0; e < HEAD; e++)
        ret[e] /= sum;
    free(scores);
}

/*
 * Results are means of values of deviation 1, so they are below about 4. Their errors: scores are
 * about as large as the spread, and a float's rounding of them becomes one of the weights; half
 * types round each weight and the result once.
 */
static void check_shape(struct shape s, enum num_cuda_type type) {
    size_t D = s.n_heads * HEAD, rows = s.n * s.n_batch;
    float *qkv = random_values(rows * 3 * D, 1, 0, (uint32_t)(s.n * 31 + s.n_heads));
    for (size_t i = 0; i < rows * 3 * D; i++)
        if (i % (3 * D) < D)
            qkv[i] *= s.spread;
    char *device = device_values(qkv, rows * 3 * D, type);
    void *ret = device_room(rows * D * 4);
    size_t bytes = num_cuda_type_bytes(type);
    struct num_cuda_attention a = {.q = device,
                                   .k = device + D * bytes,
                                   .v = device + 2 * D * bytes,
                                   .ret = ret,
                                   .ld = 3 * D,
                                   .ld_ret = D,
                                   .n = s.n,
                                   .n_heads = s.n_heads,
                                   .n_batch = s.n_batch,
                                   .scale = 0.125f};
    CHECK_CUDA(num_cuda_attention_run(&a, type, NULL));
    float *got = host_values(ret, rows * D, type);
    double tolerance = 4e-6 * (1 + s.spread), want[HEAD];
    for (size_t row = 0; row < rows; row++)
        for (size_t h = 0; h < s.n_heads; h++) {
            attend(qkv, &s, row, h, a.scale, want);
            for (size_t e = 0; e < HEAD; e++)
                CHECK_NEAR(got[row * D + h * HEAD + e], want[e],
                           tolerance + 2 * rounding_of(type) * (1 + fabs(want[e])));
        }
    free(qkv);
    free(got);
    cudaFree(device);
    cudaFree(ret);
}

static void check_shapes(enum num_cuda_type type) {
    const struct shape shapes[] = {{1, 1, 1, 1},   {7, 1, 2, 1},   {31, 2, 1, 1},
                                   {64, 1, 1, 1},  {65, 1, 1, 1},  {100, 2, 3, 1},
                                   {128, 1, 1, 1}, {129, 3, 1, 4}, {200, 1, 2, 12}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_shape(shapes[i], type);
}

TEST(attention_f32) {
    check_shapes(NUM_CUDA_F32);
}

TEST(attention_f16) {
    check_shapes(NUM_CUDA_F16);
}

TEST(attention_bf16) {
    check_shapes(NUM_CUDA_BF16);
}

/* The last keys have by far the highest scores: what was added before must be scaled down. */
static void check_rising(enum num_cuda_type type) {
    enum { N = 256 };
    float *qkv = random_values(N * 3 * HEAD, 0.1f, 0, 9);
    for (size_t i = 0; i < N; i++) {
        qkv[i * 3 * HEAD] = 8;
        qkv[i * 3 * HEAD + HEAD] = (float)i / 8;
    }
    struct shape s = {N, 1, 1, 1};
    char *device = device_values(qkv, N * 3 * HEAD, type);
    size_t bytes = num_cuda_type_bytes(type);
    void *ret = device_room(N * HEAD * 4);
    CHECK_CUDA(num_cuda_attention_run(&(struct num_cuda_attention){device, device + HEAD * bytes,
                                                                   device + 2 * HEAD * bytes, ret,
                                                                   3 * HEAD, HEAD, N, 1, 1, 0.125f},
                                      type, NULL));
    float *got = host_values(ret, N * HEAD, type);
    double want[HEAD];
    for (size_t row = 0; row < N; row++) {
        attend(qkv, &s, row, 0, 0.125, want);
        for (size_t e = 0; e < HEAD; e++)
            CHECK_NEAR(got[row * HEAD + e], want[e],
                       type == NUM_CUDA_F32 ? 1e-5 : rounding_of(type));
    }
}

TEST(scores_that_rise) {
    for (size_t t = 0; t < N_TYPES; t++)
        check_rising(all_types[t]);
}

TEST_MAIN()
