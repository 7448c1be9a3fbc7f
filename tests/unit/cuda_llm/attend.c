/*
 * Attention of a prompt's tokens over pages, with matrix instructions: against the definition in
 * double, and the same to the bit however a prompt is cut into pieces. Runs on the emulated card
 * and on a real one.
 */
#include "unit/cuda_encoder/device.h"

#include "llm/cuda/cuda.h"

struct text {
    unsigned d, n_heads, n_kv_heads, window;
    unsigned first, n; /* items: positions [first, first + n) */
    float spread;      /* of queries: with a larger one few keys win */
};

/* A text on the card and here: [position][head][d]. */
struct made {
    const struct text *t;
    unsigned n_positions;
    float *q, *k, *v; /* as the card has them, rounded */
    struct lm_cuda_attention a;
};

static size_t at(const struct text *t, unsigned heads, unsigned position, unsigned head) {
    return ((size_t)position * heads + head) * t->d;
}

/* Pages in descending order, as the engine never has them; what no position owns stays NaN. */
static char *pages_of(const struct made *m, size_t head_bytes, uint32_t *tables, unsigned n_pages) {
    const struct text *t = m->t;
    const size_t bytes = n_pages * head_bytes * t->n_kv_heads;
    char *pages = keep(malloc(bytes));
    memset(pages, 0xff, bytes);
    for (unsigned i = 0; i < n_pages; i++)
        tables[i] = n_pages - 1 - i;
    for (unsigned p = 0; p < m->n_positions; p++)
        for (unsigned h = 0; h < t->n_kv_heads; h++) {
            uint16_t *block =
                (uint16_t *)(void *)(pages +
                                     (tables[p / LM_PAGE] * t->n_kv_heads + h) * head_bytes);
            for (unsigned e = 0; e < t->d; e++) {
                size_t from = at(t, t->n_kv_heads, p, h) + e, to = (p % LM_PAGE) * t->d + e;
                block[to] = half_bits(m->k[from], NUM_CUDA_F16);
                block[LM_PAGE * t->d + to] = half_bits(m->v[from], NUM_CUDA_F16);
            }
        }
    return device_copy(pages, bytes);
}

static void round_all(float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        x[i] = half_value(half_bits(x[i], NUM_CUDA_F16), NUM_CUDA_F16);
}

static struct made make(const struct text *t) {
    struct made m = {.t = t, .n_positions = t->first + t->n};
    const unsigned n_pages = (m.n_positions + LM_PAGE - 1) / LM_PAGE, H = t->n_heads;
    const size_t n_q = (size_t)t->n * H * t->d, n_kv = (size_t)m.n_positions * t->n_kv_heads * t->d;
    uint32_t *tables = keep(malloc(n_pages * sizeof *tables));
    struct lm_cuda_item *items = keep(malloc(t->n * sizeof *items));
    m.q = random_values(n_q, t->spread, 0, 1);
    m.k = random_values(n_kv, 1, 0, 2);
    m.v = random_values(n_kv, 1, 0, 3);
    round_all(m.k, n_kv);
    round_all(m.v, n_kv);
    m.a.q = device_copy(m.q, n_q * sizeof *m.q);
    round_all(m.q, n_q);
    for (unsigned i = 0; i < t->n; i++)
        items[i] = (struct lm_cuda_item){(int32_t)(t->first + i), 0};
    m.a.cache.type = NUM_CACHE_F16;
    m.a.cache.n_kv_heads = t->n_kv_heads;
    m.a.cache.d = t->d;
    m.a.cache.max_pages = n_pages;
    m.a.cache.head_bytes = (size_t)2 * LM_PAGE * t->d * 2;
    m.a.cache.page_bytes = m.a.cache.head_bytes * t->n_kv_heads;
    m.a.cache.pages = pages_of(&m, m.a.cache.head_bytes, tables, n_pages);
    m.a.cache.tables = device_copy(tables, n_pages * sizeof *tables);
    m.a.items = device_copy(items, t->n * sizeof *items);
    m.a.ldq = m.a.ld_ret = H * t->d;
    m.a.ret = device_room(n_q * sizeof(float));
    m.a.n = t->n;
    m.a.n_heads = H;
    m.a.window = t->window;
    m.a.n_splits = 1;
    return m;
}

static void release(struct made *m) {
    cudaFree((void *)m->a.q);
    cudaFree((void *)m->a.items);
    cudaFree((void *)m->a.cache.tables);
    cudaFree(m->a.cache.pages);
    cudaFree(m->a.ret);
}

static void attend_slowly(const struct made *m, unsigned item, unsigned head, double *ret) {
    const struct text *t = m->t;
    const unsigned seen = t->first + item + 1, kv = head / (t->n_heads / t->n_kv_heads);
    const unsigned low = t->window && seen > t->window ? seen - t->window : 0;
    const float *q = m->q + at(t, t->n_heads, item, head);
    double scores[1024], max = -INFINITY, sum = 0;
    for (unsigned p = low; p < seen; p++) {
        scores[p] = 0;
        for (unsigned e = 0; e < t->d; e++)
            scores[p] += (double)q[e] * m->k[at(t, t->n_kv_heads, p, kv) + e] / sqrt(t->d);
        max = fmax(max, scores[p]);
    }
    memset(ret, 0, t->d * sizeof *ret);
    for (unsigned p = low; p < seen; p++) {
        double weight = exp(scores[p] - max);
        sum += weight;
        for (unsigned e = 0; e < t->d; e++)
            ret[e] += weight * m->v[at(t, t->n_kv_heads, p, kv) + e];
    }
    for (unsigned e = 0; e < t->d; e++)
        ret[e] /= sum;
}

/* A weight is rounded once to a half, values lie within about 4. */
static void check(const struct text *t) {
    struct made m = make(t);
    double want[LM_CUDA_MAX_HEAD];
    CHECK(lm_cuda_attends_prompts(&m.a.cache));
    CHECK_CUDA(lm_cuda_attend_prompt(&m.a, NULL));
    float *got = host_values(m.a.ret, (size_t)t->n * t->n_heads * t->d, NUM_CUDA_F32);
    for (unsigned i = 0; i < t->n; i++)
        for (unsigned h = 0; h < t->n_heads; h++) {
            attend_slowly(&m, i, h, want);
            for (unsigned e = 0; e < t->d; e++)
                CHECK_NEAR(got[at(t, t->n_heads, i, h) + e], want[e],
                           4e-6 * (1 + t->spread) +
                               rounding_of(NUM_CUDA_F16) * (1 + fabs(want[e])));
        }
    release(&m);
}

TEST(every_shape) {
    static const struct text texts[] = {
        {64, 1, 1, 0, 0, 1, 1},    {64, 2, 1, 0, 0, 70, 1},   {80, 3, 1, 0, 5, 33, 1},
        {128, 2, 2, 0, 96, 65, 1}, {8, 4, 1, 0, 30, 20, 1},   {128, 1, 1, 0, 0, 130, 12},
        {64, 2, 1, 40, 0, 100, 1}, {128, 2, 1, 3, 150, 9, 1}, {64, 1, 1, 64, 190, 70, 4},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        check(&texts[i]);
}

/* Weights of the first positions are next to nothing beside those of the last: what was added is
 * scaled down. */
TEST(rising_scores) {
    struct text t = {64, 1, 1, 0, 0, 200, 1};
    struct made m = make(&t);
    for (unsigned p = 0; p < m.n_positions; p++) {
        m.k[at(&t, 1, p, 0)] = (float)p / 4;
        m.q[at(&t, 1, p, 0)] = 8;
    }
    uint32_t tables[8];
    cudaFree(m.a.cache.pages);
    m.a.cache.pages = pages_of(&m, m.a.cache.head_bytes, tables, m.a.cache.max_pages);
    CHECK_CUDA(cudaMemcpy((void *)m.a.q, m.q, (size_t)t.n * t.d * 4, cudaMemcpyHostToDevice));
    CHECK_CUDA(lm_cuda_attend_prompt(&m.a, NULL));
    float *got = host_values(m.a.ret, (size_t)t.n * t.d, NUM_CUDA_F32);
    double want[64];
    for (unsigned i = 0; i < t.n; i++) {
        attend_slowly(&m, i, 0, want);
        for (unsigned e = 0; e < t.d; e++)
            CHECK_NEAR(got[i * t.d + e], want[e], 2e-3 + 2e-3 * fabs(want[e]));
    }
    release(&m);
}

/* Items [from, from + n) alone. */
static float *piece(const struct made *m, unsigned from, unsigned n) {
    struct lm_cuda_attention a = m->a;
    a.items += from;
    a.q += (size_t)from * a.ldq;
    a.n = n;
    CHECK_CUDA(lm_cuda_attend_prompt(&a, NULL));
    return host_values(a.ret, (size_t)n * a.ld_ret, NUM_CUDA_F32);
}

TEST(pieces_are_the_whole_to_the_bit) {
    static const unsigned cuts[] = {1, 32, 64, 77};
    static const struct text texts[] = {{64, 2, 1, 0, 0, 140, 6}, {128, 1, 1, 50, 20, 140, 6}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const struct text *t = &texts[i];
        struct made m = make(t);
        const size_t row = (size_t)t->n_heads * t->d * sizeof(float);
        const char *all = (const char *)piece(&m, 0, t->n);
        for (size_t c = 0; c < sizeof cuts / sizeof *cuts; c++) {
            CHECK(memcmp(piece(&m, 0, cuts[c]), all, cuts[c] * row) == 0);
            CHECK(memcmp(piece(&m, cuts[c], t->n - cuts[c]), all + cuts[c] * row,
                         (t->n - cuts[c]) * row) == 0);
        }
        release(&m);
    }
}

TEST(other_caches_are_left_to_the_other_kernel) {
    struct lm_cuda_cache cache = {.type = NUM_CACHE_F32, .d = 64};
    CHECK(!lm_cuda_attends_prompts(&cache));
    cache.type = NUM_CACHE_F16;
    CHECK(lm_cuda_attends_prompts(&cache));
    cache.d = 136;
    CHECK(!lm_cuda_attends_prompts(&cache));
    CHECK_INT(lm_cuda_attend_prompt(&(struct lm_cuda_attention){.cache = cache}, NULL),
              cudaErrorInvalidValue);
}

TEST_MAIN()
