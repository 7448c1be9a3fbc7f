/*
 * Attention over panels, on every kernel table that this processor can run, against plain loops in
 * double over the operands as they were rounded. Floats: sums of some hundred products. Bfloat16:
 * each weight is off by 2^-9 of itself at most, and so is the mean of values up to 1 (a fast 2^x
 * adds 2e-4).
 */
#include "unit/test.h"

#include "num/cpu/attend.h"
#include "num/half.h"

enum { MAX_D = 160 };

struct head {
    enum num_compute type;
    size_t d, n_keys, n_queries, ldq; /* ldq: values */
    float *q, *k, *v;                 /* as they were rounded */
    struct num_kv kv;
    uint32_t *panels;
    void *queries; /* (n_queries, ldq) in `type` */
    struct num_sight *sight;
};

static float rounded(enum num_compute type, float x) {
    return type == NUM_COMPUTE_F32 ? x : num_bf16_to_f32(num_f32_to_bf16(x));
}

static float *values(enum num_compute type, size_t n, uint32_t seed, float size) {
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = rounded(type, size * ((float)(seed >> 8) / (1 << 23) - 1));
    }
    return x;
}

static void put(enum num_compute type, void *to, size_t i, float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (type == NUM_COMPUTE_F32)
        ((float *)to)[i] = x;
    else
        ((uint16_t *)to)[i] = (uint16_t)(bits >> 16);
}

/* Keys and values in two goes. */
static void fill(struct head *h) {
    size_t n = h->n_keys, some = n / 2 / 2 * 2, size = h->type == NUM_COMPUTE_F32 ? 4 : 2;
    char *rows = malloc(2 * h->n_keys * h->d * size + 4), *v = rows + h->n_keys * h->d * size;
    for (size_t i = 0; i < h->n_keys * h->d; i++) {
        put(h->type, rows, i, h->k[i]);
        put(h->type, v, i, h->v[i]);
    }
    num_kv_fill(&h->kv, h->panels, 0, some, rows, v, h->d);
    num_kv_fill(&h->kv, h->panels, some, n - some, rows + some * h->d * size,
                v + some * h->d * size, h->d);
    free(rows);
}

/* Query i sees all, or, where there is a `window`, that many positions up to its own, the last
 * query being at the last. */
static void head_init(struct head *h, enum num_compute type, size_t d, size_t n_keys,
                      size_t n_queries, size_t window) {
    *h = (struct head){.type = type, .d = d, .n_keys = n_keys, .n_queries = n_queries};
    h->q = values(type, n_queries * d, 1, 2);
    h->k = values(type, n_keys * d, 2, 2);
    h->v = values(type, n_keys * d, 3, 1);
    num_kv_init(&h->kv, type, n_keys, d);
    h->panels = calloc(h->kv.head_words, sizeof *h->panels);
    memset(h->panels, 0xff, h->kv.head_words * sizeof *h->panels);
    num_kv_prepare(&h->kv, h->panels, n_keys);
    fill(h);
    h->ldq = (h->kv.d_words + 16) * num_per_word(type);
    h->queries = calloc((n_queries + NUM_ROW_PAD) * h->ldq, 4);
    for (size_t i = 0; i < n_queries * d; i++)
        put(type, h->queries, i / d * h->ldq + i % d, h->q[i]);
    h->sight = window ? malloc(n_queries * sizeof *h->sight) : NULL;
    for (size_t i = 0; window && i < n_queries; i++) {
        size_t high = n_keys - n_queries + i + 1;
        h->sight[i] = (struct num_sight){high > window ? high - window : 0, high};
    }
}

static void head_finish(struct head *h) {
    free(h->q);
    free(h->k);
    free(h->v);
    free(h->panels);
    free(h->queries);
    free(h->sight);
}

static void expect(const struct head *h, size_t i, double out[MAX_D]) {
    struct num_sight sight = h->sight ? h->sight[i] : (struct num_sight){0, h->n_keys};
    double sum = 0, weights[h->n_keys];
    for (size_t t = sight.low; t < sight.high; t++) {
        double score = 0;
        for (size_t e = 0; e < h->d; e++)
            score += (double)h->q[i * h->d + e] * h->k[t * h->d + e];
        sum += weights[t] = exp(score / sqrt((double)h->d));
    }
    for (size_t e = 0; e < h->d; e++) {
        out[e] = 0;
        for (size_t t = sight.low; t < sight.high; t++)
            out[e] += weights[t] / sum * h->v[t * h->d + e];
    }
}

static float *attend(const struct head *h, const struct num_kernels *kernels, size_t first,
                     size_t n) {
    void *work = aligned_alloc(64, (num_attend_bytes(kernels, &h->kv) + 63) / 64 * 64);
    float *out = calloc(h->n_queries * h->d, sizeof *out);
    size_t ldq = h->ldq * 4 / num_per_word(h->type);
    struct num_attend a = {.kernels = kernels,
                           .kv = &h->kv,
                           .head = h->panels,
                           .n_keys = h->n_keys,
                           .sight = h->sight ? h->sight + first : NULL,
                           .n_queries = n,
                           .q = (const char *)h->queries + first * ldq,
                           .ldq = ldq,
                           .out_type = NUM_COMPUTE_F32,
                           .out = out + first * h->d,
                           .ld_out = h->d * sizeof *out};
    num_attend(&a, work);
    free(work);
    return out;
}

static void check_head(const struct head *h, const struct num_kernels *kernels, double exactness) {
    double want[MAX_D], tolerance = h->type == NUM_COMPUTE_F32 ? exactness : 2.2e-3;
    float *out = attend(h, kernels, 0, h->n_queries);
    for (size_t i = 0; i < h->n_queries; i++) {
        expect(h, i, want);
        for (size_t e = 0; e < h->d; e++)
            if (!(fabs(out[i * h->d + e] - want[e]) < tolerance))
                TEST_FAIL("%s, type %d, d %zu, %zu keys, query %zu of %zu, element %zu: %g, not %g",
                          kernels->name, h->type, h->d, h->n_keys, i, h->n_queries, e,
                          (double)out[i * h->d + e], want[e]);
    }
    free(out);
}

static void check(enum num_compute type, size_t d, size_t n_keys, size_t n_queries, size_t window) {
    const struct num_kernels *tables[NUM_MAX_KERNELS];
    size_t n_tables = num_kernels_all(tables);
    struct head h;
    head_init(&h, type, d, n_keys, n_queries, window);
    for (size_t i = 0; i < n_tables; i++)
        check_head(&h, tables[i], 3e-6);
    head_finish(&h);
}

static const enum num_compute types[] = {NUM_COMPUTE_F32, NUM_COMPUTE_BF16};

TEST(all_queries_see_all_keys) {
    const size_t widths[] = {8, 33, 64, 80, 128}, lens[] = {1, 31, 256, 515};
    for (size_t type = 0; type < 2; type++)
        for (size_t d = 0; d < 5; d++)
            for (size_t n = 0; n < 4; n++)
                check(types[type], widths[d], lens[n], 1 + 33 * n, 0);
}

TEST(each_sees_what_came_before_it) {
    for (size_t type = 0; type < 2; type++) {
        check(types[type], 64, 70, 70, 1000);
        check(types[type], 64, 600, 96, 1000);
        check(types[type], 40, 300, 40, 1000);
    }
}

TEST(within_a_window) {
    for (size_t type = 0; type < 2; type++) {
        check(types[type], 64, 700, 300, 33);
        check(types[type], 128, 530, 64, 300);
        check(types[type], 64, 300, 300, 1);
    }
}

/* To the bit: a row alone, and one among others, whatever they see. */
TEST(a_query_does_not_depend_on_its_neighbours) {
    for (size_t type = 0; type < 2; type++)
        for (size_t window = 0; window <= 200; window += 100) {
            struct head h;
            head_init(&h, types[type], 64, 600, 70, window);
            const struct num_kernels *tables[NUM_MAX_KERNELS];
            size_t n_tables = num_kernels_all(tables);
            for (size_t i = 0; i < n_tables; i++) {
                float *all = attend(&h, tables[i], 0, 70), *some = attend(&h, tables[i], 50, 20);
                CHECK(memcmp(all + 50 * h.d, some + 50 * h.d, 20 * h.d * sizeof *all) == 0);
                free(all);
                free(some);
            }
            head_finish(&h);
        }
}

TEST(positions_may_come_one_by_one) {
    const size_t widths[] = {33, 64};
    for (size_t type = 0; type < 2; type++)
        for (size_t d = 0; d < 2; d++) {
            struct head h;
            head_init(&h, types[type], widths[d], 45, 1, 0);
            uint32_t *panels = calloc(h.kv.head_words, sizeof *panels);
            uint32_t *copy = calloc(h.kv.head_words, sizeof *copy);
            memset(h.panels, 0, h.kv.head_words * sizeof *panels);
            fill(&h);
            for (size_t t = 0; t < 45; t++)
                num_kv_set(&h.kv, panels, t, h.k + t * h.d, h.v + t * h.d);
            num_kv_copy(&h.kv, 45, copy, panels);
            CHECK(memcmp(panels, h.panels, h.kv.head_words * sizeof *panels) == 0);
            CHECK(memcmp(copy, h.panels, h.kv.head_words * sizeof *panels) == 0);
            free(panels);
            free(copy);
            head_finish(&h);
        }
}

TEST(output_takes_the_place_of_queries) {
    struct head h;
    head_init(&h, NUM_COMPUTE_BF16, 64, 300, 50, 0);
    float *want = attend(&h, num_kernels(), 0, 50);
    void *work = aligned_alloc(64, (num_attend_bytes(num_kernels(), &h.kv) + 63) / 64 * 64);
    struct num_attend a = {.kernels = num_kernels(),
                           .kv = &h.kv,
                           .head = h.panels,
                           .n_keys = 300,
                           .n_queries = 50,
                           .q = h.queries,
                           .ldq = 2 * h.ldq,
                           .out_type = NUM_COMPUTE_BF16,
                           .out = h.queries,
                           .ld_out = 2 * h.ldq};
    num_attend(&a, work);
    for (size_t i = 0; i < 50 * 64; i++)
        CHECK(num_bf16_to_f32(((uint16_t *)h.queries)[i / 64 * h.ldq + i % 64]) ==
              rounded(NUM_COMPUTE_BF16, want[i]));
    free(want);
    free(work);
    head_finish(&h);
}

/* Scores far apart, rising and falling: the largest of a later block takes over. Some are in the
 * hundreds, and so off by as many units in the last place of 1. */
TEST(scores_may_be_large) {
    for (size_t type = 0; type < 2; type++) {
        const struct num_kernels *tables[NUM_MAX_KERNELS];
        size_t n_tables = num_kernels_all(tables);
        struct head h;
        head_init(&h, types[type], 64, 600, 40, 0);
        for (size_t t = 0; t < 600; t++) {
            float size = t < 300 ? (float)(t / 20) * 4 : t == 555 ? 200 : 1;
            for (size_t e = 0; e < 64; e++)
                h.k[t * 64 + e] = rounded(types[type], h.k[t * 64 + e] * size);
        }
        fill(&h);
        for (size_t i = 0; i < n_tables; i++)
            check_head(&h, tables[i], 1e-4);
        head_finish(&h);
    }
}

TEST_MAIN()
