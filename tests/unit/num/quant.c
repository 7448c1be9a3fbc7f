/*
 * Stored blocks on every table of this processor beside the truth: weights dequantised by
 * num_weights_to_f32(), inputs rounded as convert() rounds them, summed in double. Float sums over
 * up to 64 parts stay within 2e-5 of the sum of magnitudes.
 */
#include "unit/test.h"

#include <math.h>

#include "num/cpu/quant.h"
#include "num/half.h"

#define TOLERANCE 2e-5

static uint32_t next(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static float uniform(uint32_t *state) {
    return (float)(int32_t)next(state) / 2147483648.0f;
}

/* Where binary16 numbers lie in a block; -1: none. */
static void scales_at(enum num_weight_type type, int *ret_d, int *ret_m) {
    *ret_d = type == NUM_WEIGHT_Q6_K ? (int)offsetof(struct num_q6_k, d) : 0;
    *ret_m = type == NUM_WEIGHT_Q4_1 || type == NUM_WEIGHT_Q5_1 || type == NUM_WEIGHT_Q4_K ||
                     type == NUM_WEIGHT_Q5_K
                 ? 2
                 : -1;
}

/* A matrix of random blocks with scales between 2^-8 and 2^-5; the data ends where the heap block
 * does. */
static struct num_weights make(enum num_weight_type type, size_t rows, size_t k, uint32_t seed) {
    struct num_weights w = {.type = type, .n_dims = 2, .shape = {rows, k}};
    uint64_t bytes;
    uint32_t state = seed * 2654435761u + 1;
    int d, m;
    CHECK(num_weights_measure(&w, &bytes));
    uint8_t *data = malloc(bytes);
    scales_at(type, &d, &m);
    for (uint64_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)(next(&state) >> 8);
    for (uint64_t at = 0; at < bytes; at += num_weight_block_bytes(type)) {
        uint16_t scale = (uint16_t)(0x1c00 + next(&state) % 0xc00);
        uint16_t min =
            (uint16_t)(0x1c00 + next(&state) % 0xc00) | (uint16_t)(next(&state) & 0x8000);
        memcpy(data + at + d, &scale, 2);
        if (m >= 0)
            memcpy(data + at + m, &min, 2);
    }
    w.data = data;
    return w;
}

/* What convert() made of a row, as floats. */
static void rounded(const char *row, size_t k, float *ret) {
    const struct num_quant_part *parts = (const struct num_quant_part *)(row + k);
    for (size_t i = 0; i < k; i++)
        ret[i] = (float)(int8_t)row[i] * parts[i / NUM_BLOCK].scale;
}

/* The true output and the sum of its terms' magnitudes. */
static double truth(const float *w, const float *x, size_t k, double *ret_size) {
    double sum = 0;
    *ret_size = 0;
    for (size_t i = 0; i < k; i++) {
        sum += (double)w[i] * x[i];
        *ret_size += fabs((double)w[i] * x[i]);
    }
    return sum;
}

#define FOR_EACH_TABLE(kernels)                                                                    \
    const struct num_kernels *tables_[NUM_MAX_KERNELS];                                            \
    size_t n_tables_ = num_kernels_all(tables_);                                                   \
    for (size_t table_ = 0; table_ < n_tables_; table_++)                                          \
        for (const struct num_kernels *kernels = tables_[table_]; kernels; kernels = NULL)

struct sizes {
    size_t part_rows, n_parts, k, n_rows;
};

/* Rows of random inputs, converted. */
static char *inputs(const struct num_quant_kernels *quant, enum num_weight_type type,
                    const struct sizes *s) {
    uint32_t state = 77;
    size_t ldx = num_quant_row_bytes(s->k);
    char *x = malloc(s->n_rows * ldx);
    float *row = malloc(s->k * sizeof *row);
    for (size_t r = 0; r < s->n_rows; r++) {
        for (size_t i = 0; i < s->k; i++)
            row[i] = uniform(&state) * (i / 32 % 3 ? 1.0f : 8.0f);
        quant->convert(type, row, s->k, x + r * ldx);
    }
    free(row);
    return x;
}

/* Largest error of a layer, as a share of the sum of magnitudes; y gets its outputs. */
static double layer_error(const struct num_kernels *kernels, enum num_weight_type type,
                          const struct sizes *s, float *y, size_t ldy) {
    const struct num_quant_kernels *quant = num_quant_kernels(kernels);
    struct num_weights parts[NUM_QUANT_MAX_PARTS];
    const struct num_weights *views[NUM_QUANT_MAX_PARTS];
    struct num_arena arena = {0};
    struct num_stored layer;
    struct num_err err = {0};
    struct num_pool *pool;
    for (size_t i = 0; i < s->n_parts; i++) {
        parts[i] = make(type, s->part_rows, s->k, (uint32_t)(i + 1));
        views[i] = &parts[i];
    }
    CHECK(num_stored_fits(views, s->n_parts));
    CHECK_INT(num_stored_init(&layer, views, s->n_parts, &arena, &err), 0);
    CHECK_INT(num_pool_create(2, &pool, &err), 0);
    char *x = inputs(quant, type, s);
    size_t ldx = num_quant_row_bytes(s->k);
    struct num_finish finish = {.form = NUM_FORM_F32, .y = y, .ldy = ldy};
    num_stored_run(&layer, kernels, pool, x, ldx, s->n_rows, &finish);
    double worst = 0, size;
    float *w = malloc(s->k * sizeof *w), *exact = malloc(s->k * sizeof *exact);
    for (size_t r = 0; r < s->n_rows; r++)
        for (size_t o = 0; o < layer.n_out; o++) {
            num_stored_row(&layer, o, w);
            rounded(x + r * ldx, s->k, exact);
            double off = fabs(y[r * ldy + o] - truth(w, exact, s->k, &size)) / size;
            worst = off > worst || isnan(off) ? off : worst;
        }
    for (size_t i = 0; i < s->n_parts; i++)
        free((void *)(uintptr_t)parts[i].data);
    num_pool_destroy(pool);
    num_arena_finish(&arena);
    free(w);
    free(exact);
    free(x);
    return worst;
}

TEST(products_of_every_type) {
    static const struct sizes all[] = {
        {16, 1, 256, 1}, {33, 1, 512, 1},  {100, 1, 256, 5}, {64, 3, 512, 1},
        {20, 3, 256, 2}, {48, 1, 2048, 3}, {5, 1, 256, 2},   {1, 1, 256, 18},
    };
    FOR_EACH_TABLE(kernels) {
        for (int type = NUM_WEIGHT_Q4_0; type <= NUM_WEIGHT_Q6_K; type++)
            for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
                size_t ldy = NUM_PANELS(all[i].part_rows * all[i].n_parts) * NUM_PANEL;
                float *y = malloc(all[i].n_rows * ldy * sizeof *y);
                double off = layer_error(kernels, (enum num_weight_type)type, &all[i], y, ldy);
                if (!(off < TOLERANCE))
                    TEST_FAIL("%s %s, %zu outputs, %zu inputs, %zu rows: off by %g", kernels->name,
                              num_weight_name((enum num_weight_type)type), all[i].part_rows,
                              all[i].k, all[i].n_rows, off);
                free(y);
            }
        printf("  %s as %s\n", kernels->name, num_quant_kernels(kernels)->name);
    }
}

/* Blocks of 32 also come in numbers that are no multiple of 256. */
TEST(short_rows) {
    FOR_EACH_TABLE(kernels) {
        for (int type = NUM_WEIGHT_Q4_0; type <= NUM_WEIGHT_Q8_0; type++)
            for (size_t k = 32; k <= 192; k += 32) {
                float y[64];
                struct sizes s = {40, 1, k, 1};
                CHECK(layer_error(kernels, (enum num_weight_type)type, &s, y, 64) < TOLERANCE);
            }
    }
}

/* To the bit: what shares the product does not matter. */
TEST(a_row_does_not_depend_on_the_others) {
    FOR_EACH_TABLE(kernels) {
        for (int type = NUM_WEIGHT_Q4_0; type <= NUM_WEIGHT_Q6_K; type++) {
            float together[20 * 64], alone[64];
            struct sizes many = {50, 1, 512, 20}, one = {50, 1, 512, 1};
            layer_error(kernels, (enum num_weight_type)type, &many, together, 64);
            layer_error(kernels, (enum num_weight_type)type, &one, alone, 64);
            CHECK(memcmp(together, alone, 50 * sizeof *alone) == 0);
        }
    }
}

/* A turned layer of the same rows; what is missing to a whole panel is zeros. */
static struct num_stored turned_layer(const struct num_weights *w,
                                      const struct num_kernels *kernels, struct num_arena *arena) {
    struct num_stored layer;
    struct num_err err;
    CHECK_INT(num_stored_create(&layer, w->type, w->rows, w->cols, arena, &err), 0);
    for (size_t p = 0; p < NUM_PANELS(w->rows); p++) {
        const uint8_t *rows[NUM_PANEL] = {NULL};
        for (size_t o = 0; o < NUM_PANEL && p * NUM_PANEL + o < w->rows; o++)
            rows[o] = (const uint8_t *)w->data + (p * NUM_PANEL + o) * w->row_bytes;
        num_stored_turn(&layer, kernels, p, rows);
    }
    return layer;
}

TEST(turned_layers_yield_the_same_to_the_bit) {
    FOR_EACH_TABLE(kernels) {
        for (int type = NUM_WEIGHT_Q4_0; type <= NUM_WEIGHT_Q6_K; type++)
            for (size_t n_rows = 1; n_rows <= 3; n_rows += 2) {
                struct sizes s = {50, 1, 512, n_rows};
                struct num_arena arena = {0};
                struct num_weights w = make((enum num_weight_type)type, 50, 512, 1);
                struct num_stored layer = turned_layer(&w, kernels, &arena);
                float plain[3 * 64], turned[3 * 64];
                char *x = inputs(num_quant_kernels(kernels), w.type, &s);
                struct num_finish finish = {.form = NUM_FORM_F32, .y = turned, .ldy = 64};
                layer_error(kernels, w.type, &s, plain, 64);
                num_stored_rows(&layer, kernels, 0, 50, x, num_quant_row_bytes(512), n_rows,
                                &finish);
                for (size_t r = 0; r < n_rows; r++)
                    CHECK(memcmp(plain + r * 64, turned + r * 64, 50 * sizeof *plain) == 0);
                num_arena_finish(&arena);
                free((void *)(uintptr_t)w.data);
                free(x);
            }
    }
}

/* bfloat16 keeps 8 bits; a Q4_K weight is a difference, whose larger part rounds first in float. */
TEST(turned_layers_unpack_to_panels) {
    FOR_EACH_TABLE(kernels) {
        for (int type = NUM_WEIGHT_Q4_0; type <= NUM_WEIGHT_Q6_K; type++) {
            struct num_arena arena = {0};
            struct num_weights w = make((enum num_weight_type)type, 64, 256, 3);
            struct num_stored layer = turned_layer(&w, kernels, &arena);
            uint32_t *panel = malloc(128 * NUM_PANEL * sizeof *panel);
            float row[256];
            num_stored_unpack(&layer, kernels, 1, panel);
            for (size_t o = 0; o < NUM_PANEL; o++) {
                num_weights_to_f32(&w, NUM_PANEL + o, 1, row);
                for (size_t i = 0; i < 256; i++) {
                    uint32_t word = panel[i / 2 * NUM_PANEL + o];
                    float got = num_bf16_to_f32((uint16_t)(word >> 16 * (i % 2)));
                    if (!(fabsf(got - row[i]) <= fabsf(row[i]) / 256 + 1e-5f))
                        TEST_FAIL("%s %s, output %zu, number %zu: %g, not %g", kernels->name,
                                  num_weight_name(w.type), o, i, got, row[i]);
                }
            }
            num_arena_finish(&arena);
            free((void *)(uintptr_t)w.data);
            free(panel);
        }
    }
}

TEST(copies_are_the_same_layer) {
    struct num_weights w[2] = {make(NUM_WEIGHT_Q5_0, 20, 64, 1), make(NUM_WEIGHT_Q5_0, 20, 64, 2)};
    const struct num_weights *views[2] = {&w[0], &w[1]};
    struct num_arena arena = {0};
    struct num_stored layer, copy;
    struct num_err err;
    float a[64], b[64];
    CHECK_INT(num_stored_init(&layer, views, 2, &arena, &err), 0);
    copy = layer;
    CHECK_INT(num_stored_copy(&copy, &arena, &err), 0);
    CHECK(copy.parts[0] != layer.parts[0] && copy.parts[1] != layer.parts[1]);
    for (size_t out = 0; out < 40; out++) {
        num_stored_row(&layer, out, a);
        num_stored_row(&copy, out, b);
        CHECK(memcmp(a, b, sizeof a) == 0);
    }
    num_arena_finish(&arena);
    free((void *)(uintptr_t)w[0].data);
    free((void *)(uintptr_t)w[1].data);
}

TEST(inputs_are_bytes_with_a_scale_for_32) {
    float x[64] = {0};
    x[3] = -2;
    x[4] = 1;
    x[40] = 1e-30f;
    FOR_EACH_TABLE(kernels) {
        _Alignas(16) char row[96];
        num_quant_kernels(kernels)->convert(NUM_WEIGHT_Q4_K, x, 64, row);
        const struct num_quant_part *parts = (const struct num_quant_part *)(row + 64);
        CHECK_INT(row[3], -127);
        CHECK_INT(row[4], 64);
        CHECK_INT(row[5], 0);
        CHECK_NEAR(parts[0].scale, 2.0 / 127, 1e-9);
        CHECK_NEAR(parts[0].sum, (64 - 127) * 2.0 / 127, 1e-6);
        CHECK_INT(row[40], 127);
    }
}

TEST(layers_of_other_types_are_no_stored_ones) {
    float zero = 0;
    struct num_weights floats = {.type = NUM_WEIGHT_F16, .data = &zero};
    struct num_weights four = {.type = NUM_WEIGHT_Q4_0}, five = {.type = NUM_WEIGHT_Q5_0};
    CHECK(!num_stored_fits((const struct num_weights *[]){&floats}, 1));
    CHECK(!num_stored_fits((const struct num_weights *[]){&four, &five}, 2));
    CHECK(num_stored_fits((const struct num_weights *[]){&four, &four}, 2));
}

TEST_MAIN()
