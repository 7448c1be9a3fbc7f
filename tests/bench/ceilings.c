/*
 * Register loops and a reading loop. The instruction set is chosen as the kernels choose it; a
 * processor without a type's own instruction is measured with float multiply-adds.
 */
#include "bench/ceilings.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

double bench_now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

#define LOOPS 100000

/* Each returns the operations that it has done. */
typedef double loop_fn(void);

typedef float vec4 __attribute__((vector_size(16)));

static double fma_sse2(void) {
    volatile vec4 one = {1, 1, 1, 1};
    vec4 x = one, a0 = x, a1 = a0 + x, a2 = a1 + x, a3 = a2 + x, a4 = a3 + x, a5 = a4 + x,
         a6 = a5 + x, a7 = a6 + x;
    for (int i = 0; i < LOOPS; i++) {
        a0 = a0 * x + x, a1 = a1 * x + x, a2 = a2 * x + x, a3 = a3 * x + x;
        a4 = a4 * x + x, a5 = a5 * x + x, a6 = a6 * x + x, a7 = a7 * x + x;
    }
    one = a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7;
    return 8.0 * 4 * 2 * LOOPS;
}

#ifdef __x86_64__
__attribute__((target("avx2,fma"))) static double fma_avx2(void) {
    __m256 x = _mm256_set1_ps(1), a0 = x, a1 = x, a2 = x, a3 = x, a4 = x, a5 = x, a6 = x, a7 = x,
           a8 = x, a9 = x, a10 = x, a11 = x;
    __asm__ volatile("" : "+x"(x));
#define MUL(a) a = _mm256_fmadd_ps(x, x, a)
    for (int i = 0; i < LOOPS; i++) {
        MUL(a0), MUL(a1), MUL(a2), MUL(a3), MUL(a4), MUL(a5);
        MUL(a6), MUL(a7), MUL(a8), MUL(a9), MUL(a10), MUL(a11);
        __asm__ volatile("" : "+x"(a0), "+x"(a1), "+x"(a2), "+x"(a3), "+x"(a4), "+x"(a5));
        __asm__ volatile("" : "+x"(a6), "+x"(a7), "+x"(a8), "+x"(a9), "+x"(a10), "+x"(a11));
    }
#undef MUL
    return 12.0 * 8 * 2 * LOOPS;
}

#define DOT_512(name, isa, type, first, product, ops)                                              \
    __attribute__((target(isa))) static double name(void) {                                        \
        type a0 = first, a1 = a0, a2 = a0, a3 = a0, a4 = a0, a5 = a0, a6 = a0, a7 = a0, a8 = a0,   \
             a9 = a0, a10 = a0, a11 = a0;                                                          \
        __m512i x = _mm512_set1_epi32(0x3f803f80);                                                 \
        __asm__ volatile("" : "+v"(x));                                                            \
        for (int i = 0; i < LOOPS; i++) {                                                          \
            a0 = product(a0), a1 = product(a1), a2 = product(a2), a3 = product(a3);                \
            a4 = product(a4), a5 = product(a5), a6 = product(a6), a7 = product(a7);                \
            a8 = product(a8), a9 = product(a9), a10 = product(a10), a11 = product(a11);            \
            __asm__ volatile("" : "+v"(a0), "+v"(a1), "+v"(a2), "+v"(a3), "+v"(a4), "+v"(a5));     \
            __asm__ volatile("" : "+v"(a6), "+v"(a7), "+v"(a8), "+v"(a9), "+v"(a10), "+v"(a11));   \
        }                                                                                          \
        return 12.0 * (ops)*LOOPS;                                                                 \
    }
#define FMA(a)  _mm512_fmadd_ps((__m512)x, (__m512)x, a)
#define BF16(a) _mm512_dpbf16_ps(a, (__m512bh)x, (__m512bh)x)
#define INT8(a) _mm512_dpbusd_epi32(a, x, x)
DOT_512(fma_avx512, "avx512f", __m512, _mm512_setzero_ps(), FMA, 32)
DOT_512(dot_bf16, "avx512f,avx512bf16", __m512, _mm512_setzero_ps(), BF16, 64)
DOT_512(dot_int8, "avx512f,avx512vnni", __m512i, _mm512_setzero_si512(), INT8, 128)

#define TILES(name, product, ops)                                                                  \
    __attribute__((target("amx-tile,amx-bf16,amx-int8"))) static double name(void) {               \
        uint8_t config[64] = {1};                                                                  \
        for (int i = 0; i < 8; i++)                                                                \
            config[16 + 2 * i] = 64, config[48 + i] = 16;                                          \
        __asm__ volatile("ldtilecfg %0" ::"m"(config));                                            \
        for (int i = 0; i < LOOPS / 8; i++) {                                                      \
            product(0, 4, 6);                                                                      \
            product(1, 4, 7);                                                                      \
            product(2, 5, 6);                                                                      \
            product(3, 5, 7);                                                                      \
        }                                                                                          \
        _tile_release();                                                                           \
        return 4.0 * 256 * (ops) * (LOOPS / 8);                                                    \
    }
TILES(tiles_bf16, _tile_dpbf16ps, 64)
TILES(tiles_int8, _tile_dpbssd, 128)

/*
 * What a product in memory can reach at best: 256 rows of 768 bytes (192 KB, in the second cache)
 * times a panel of 24 KB (in the first), four tiles of sums, each stored once.
 */
enum { X_ROWS = 256, X_BYTES = 768, X_LD = X_BYTES + 64, W_BYTES = X_BYTES * 32, SUM_BYTES = 4096 };

#define TILES_CACHED(name, product, ops)                                                           \
    __attribute__((target("amx-tile,amx-bf16,amx-int8"))) static double name(void) {               \
        uint8_t config[64] = {1};                                                                  \
        char *x = calloc(1, X_ROWS * X_LD + W_BYTES + SUM_BYTES);                                  \
        if (!x)                                                                                    \
            return 0;                                                                              \
        char *w = x + X_ROWS * X_LD, *sums = w + W_BYTES;                                          \
        for (int i = 0; i < 8; i++)                                                                \
            config[16 + 2 * i] = 64, config[48 + i] = 16;                                          \
        __asm__ volatile("ldtilecfg %0" ::"m"(config));                                            \
        for (int pass = 0; pass < 64; pass++)                                                      \
            for (char *at = x; at < w; at += 32 * X_LD) {                                          \
                _tile_zero(0);                                                                     \
                _tile_zero(1);                                                                     \
                _tile_zero(2);                                                                     \
                _tile_zero(3);                                                                     \
                for (int i = 0; i < X_BYTES; i += 64) {                                            \
                    _tile_loadd(6, w + 32 * i, 128);                                               \
                    _tile_loadd(4, at + i, X_LD);                                                  \
                    _tile_loadd(7, w + 32 * i + 64, 128);                                          \
                    product(0, 4, 6);                                                              \
                    product(1, 4, 7);                                                              \
                    _tile_loadd(5, at + 16 * X_LD + i, X_LD);                                      \
                    product(2, 5, 6);                                                              \
                    product(3, 5, 7);                                                              \
                }                                                                                  \
                _tile_stored(0, sums, 128);                                                        \
                _tile_stored(1, sums + 64, 128);                                                   \
                _tile_stored(2, sums + 2048, 128);                                                 \
                _tile_stored(3, sums + 2112, 128);                                                 \
            }                                                                                      \
        _tile_release();                                                                           \
        free(x);                                                                                   \
        return 64.0 * (X_ROWS / 32) * (X_BYTES / 64) * 4 * 256 * (ops);                            \
    }
TILES_CACHED(cached_bf16, _tile_dpbf16ps, 64)
TILES_CACHED(cached_int8, _tile_dpbssd, 128)
#endif

static loop_fn *best_loop(const struct num_kernels *kernels, enum num_compute type) {
#ifdef __x86_64__
    bool amx = strcmp(kernels->name, "amx") == 0;
    if (amx && type != NUM_COMPUTE_F32)
        return type == NUM_COMPUTE_BF16 ? tiles_bf16 : tiles_int8;
    if (kernels->native_bf16 && type != NUM_COMPUTE_F32)
        return type == NUM_COMPUTE_BF16 ? dot_bf16 : dot_int8;
    if (strncmp(kernels->name, "avx512", 6) == 0 || amx)
        return fma_avx512;
    if (strcmp(kernels->name, "avx2") == 0)
        return fma_avx2;
#endif
    (void)kernels;
    (void)type;
    return fma_sse2;
}

struct products {
    loop_fn *loop;
    double rate[64];
};

static void products_task(void *ctx, uint32_t index, uint32_t thread) {
    struct products *p = ctx;
    (void)thread;
    double start = bench_now_s(), ops = p->loop();
    p->rate[index] = ops / (bench_now_s() - start);
}

static double best_rate(struct num_pool *pool, loop_fn *loop, int rounds) {
    struct products p = {.loop = loop};
    uint32_t n = num_pool_threads(pool);
    double best[64] = {0}, sum = 0;
    for (int i = 0; i < rounds; i++) {
        num_pool_run(pool, n, products_task, &p);
        for (uint32_t j = 0; j < n; j++)
            best[j] = p.rate[j] > best[j] ? p.rate[j] : best[j];
    }
    for (uint32_t j = 0; j < n; j++)
        sum += best[j];
    return sum;
}

double ceiling_products(struct num_pool *pool, const struct num_kernels *kernels,
                        enum num_compute type, int rounds) {
    return best_rate(pool, best_loop(kernels, type), rounds);
}

double ceiling_cached(struct num_pool *pool, const struct num_kernels *kernels,
                      enum num_compute type, int rounds) {
    loop_fn *loop = best_loop(kernels, type);
#ifdef __x86_64__
    loop = loop == tiles_bf16 ? cached_bf16 : loop == tiles_int8 ? cached_int8 : loop;
#endif
    return best_rate(pool, loop, rounds);
}

/* ---- Reading -------------------------------------------------------------------------------- */

struct reading {
    const char *data;
    size_t part, repeats;
};

#ifdef __x86_64__
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
static void
read_part(const char *p, size_t n) {
    typedef long line __attribute__((vector_size(64)));
    line sum[4] = {{0}};
    for (size_t i = 0; i + 256 <= n; i += 256)
        for (size_t j = 0; j < 4; j++)
            sum[j] |= *(const line *)(p + i + 64 * j);
    for (size_t j = 0; j < 4; j++)
        __asm__ volatile("" ::"m"(sum[j]));
}

static void read_task(void *ctx, uint32_t index, uint32_t thread) {
    const struct reading *r = ctx;
    (void)thread;
    for (size_t i = 0; i < r->repeats; i++)
        read_part(r->data + index * r->part, r->part);
}

double ceiling_read(struct num_pool *pool, size_t bytes, int rounds) {
    size_t huge = (size_t)2 << 20, n = num_pool_threads(pool), len = bytes / huge * huge + 2 * huge;
    double best = 0;
    char *map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return 0;
    char *data = (char *)(((uintptr_t)map + huge - 1) / huge * huge);
    madvise(data, len - huge, MADV_HUGEPAGE);
    memset(data, 1, bytes);
    struct reading r = {data, bytes / n / 64 * 64, 1 + ((size_t)32 << 20) / bytes};
    for (int i = 0; i < rounds; i++) {
        double start = bench_now_s();
        num_pool_run(pool, (uint32_t)n, read_task, &r);
        double rate = (double)(r.part * n * r.repeats) / (bench_now_s() - start);
        best = rate > best ? rate : best;
    }
    munmap(map, len);
    return best;
}
