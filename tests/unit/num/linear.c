/*
 * Layers of every type, on every kernel table that this processor can run, against plain loops over
 * odd sizes. The reference takes the operands as they were rounded and sums in double, so what is
 * left are sums in float: n products of values up to 1 may lose n half units in the last place
 * (2^-24), in practice far less. Sums of bytes are integers and have to be the same everywhere.
 */
#include "unit/num/tables.h"

#include "num/cpu/linear.h"
#include "num/half.h"

/* A layer with its inputs and the sums that it should give. */
struct layer {
    size_t n_out, k, ldy;
    struct num_arena arena;
    struct num_linear linear;
    float *weight, *bias;
};

static void layer_init(struct layer *l, enum num_compute type, size_t n_out, size_t k) {
    *l = (struct layer){.n_out = n_out, .k = k, .ldy = NUM_PANELS(n_out) * NUM_PANEL};
    l->weight = values(n_out * k, 1);
    l->bias = values(n_out, 3);
    CHECK_INT(num_linear_init(&l->linear, type, n_out, k, l->weight, l->bias, &l->arena, NULL), 0);
}

static void layer_finish(struct layer *l) {
    num_arena_finish(&l->arena);
    free(l->weight);
    free(l->bias);
}

/* n rows of x in the layer's type, with what kernels may read behind them. */
struct inputs {
    struct num_rows rows;
    char *data;
    float *scales;
};

static void inputs_init(struct inputs *in, const struct num_kernels *kernels, const struct layer *l,
                        const float *x, size_t n) {
    size_t bytes = num_rows_bytes(l->linear.type, l->k);
    in->data = aligned_alloc(64, ((n + NUM_ROW_PAD) * bytes + 63) / 64 * 64);
    in->scales = calloc(n, sizeof *in->scales);
    memset(in->data, 0xff, (n + NUM_ROW_PAD) * bytes); /* no number: must not matter */
    for (size_t r = 0; r < n; r++)
        num_row_convert(kernels, l->linear.type, x + r * l->k, l->k, in->data + r * bytes,
                        &in->scales[r]);
    in->rows = (struct num_rows){in->data, bytes, in->scales};
}

static void inputs_finish(struct inputs *in) {
    free(in->data);
    free(in->scales);
}

static double input_value(const struct inputs *in, enum num_compute type, size_t r, size_t i) {
    const char *row = in->data + r * in->rows.ldx;
    if (type == NUM_COMPUTE_F32)
        return ((const float *)row)[i];
    if (type == NUM_COMPUTE_BF16)
        return num_bf16_to_f32(((const uint16_t *)row)[i]);
    return (double)((const int8_t *)row)[i] * in->scales[r];
}

static void run(const struct layer *l, const struct num_kernels *kernels, const struct inputs *in,
                size_t first_row, size_t n_rows, enum num_form form, void *y) {
    struct num_finish finish = {.form = form, .y = y, .ldy = l->ldy};
    num_linear_rows(&l->linear, kernels, 0, NUM_PANELS(l->n_out), &in->rows, first_row, n_rows,
                    &finish);
}

static void check_layer(enum num_compute type, size_t rows, size_t n_out, size_t k,
                        bool accumulate) {
    struct layer l;
    layer_init(&l, type, n_out, k);
    float *x = values(rows * k, 2), w[n_out * k];
    for (size_t o = 0; o < n_out; o++)
        num_linear_row(&l.linear, o, w + o * k);
    FOR_EACH_TABLE(kernels) {
        struct inputs in;
        inputs_init(&in, kernels, &l, x, rows);
        float *y = values(rows * l.ldy, 4), *before = values(rows * l.ldy, 4);
        run(&l, kernels, &in, 0, rows, accumulate ? NUM_FORM_ADD_F32 : NUM_FORM_F32, y);
        for (size_t r = 0; r < rows; r++)
            for (size_t o = 0; o < n_out; o++) {
                double sum = l.bias[o] + (accumulate ? before[r * l.ldy + o] : 0);
                for (size_t i = 0; i < k; i++)
                    sum += (double)w[o * k + i] * input_value(&in, type, r, i);
                CHECK_NEAR(y[r * l.ldy + o], sum, 1e-6 + 2e-7 * (double)k);
            }
        free(y);
        free(before);
        inputs_finish(&in);
    }
    free(x);
    layer_finish(&l);
}

static void check_all_sizes(enum num_compute type) {
    const size_t rows[] = {1, 2, 5, 13, 16, 17, 31, 49};
    const size_t outs[] = {1, 31, 33, 129};
    const size_t ks[] = {1, 31, 64, 100, 1500};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (size_t o = 0; o < sizeof outs / sizeof *outs; o++)
            for (size_t k = 0; k < sizeof ks / sizeof *ks; k++)
                check_layer(type, rows[r], outs[o], ks[k], (r + o + k) % 2);
    check_layer(type, 300, 33, 65, false); /* more rows than stay on the stack */
}

TEST(layers_of_floats) {
    check_all_sizes(NUM_COMPUTE_F32);
}

TEST(layers_of_bfloat16) {
    check_all_sizes(NUM_COMPUTE_BF16);
}

TEST(layers_of_bytes) {
    check_all_sizes(NUM_COMPUTE_INT8);
}

/* What packing rounds: half a unit of 8 bits, and half a step of 127. */
TEST(weights_are_rounded_to_nearest) {
    enum { OUT = 65, K = 133 };
    for (int type = NUM_COMPUTE_F32; type <= NUM_COMPUTE_INT8; type++) {
        struct layer l;
        float row[K];
        layer_init(&l, (enum num_compute)type, OUT, K);
        for (size_t o = 0; o < OUT; o++) {
            num_linear_row(&l.linear, o, row);
            float largest = 0;
            for (size_t i = 0; i < K; i++)
                largest = fmaxf(largest, fabsf(l.weight[o * K + i]));
            for (size_t i = 0; i < K; i++) {
                float w = l.weight[o * K + i];
                double bound = type == NUM_COMPUTE_F32    ? 0
                               : type == NUM_COMPUTE_BF16 ? fabsf(w) / 256
                                                          : 0.501 * largest / 127;
                CHECK_NEAR(row[i], w, bound);
            }
        }
        layer_finish(&l);
    }
}

/* To the bit, alone or in company, whatever takes few rows and whatever takes many. */
TEST(a_row_does_not_depend_on_the_others) {
    enum { ROWS = 35, OUT = 200, K = 700 };
    for (int type = NUM_COMPUTE_F32; type <= NUM_COMPUTE_INT8; type++) {
        struct layer l;
        layer_init(&l, (enum num_compute)type, OUT, K);
        float *x = values(ROWS * K, 2);
        FOR_EACH_TABLE(kernels) {
            struct inputs in;
            inputs_init(&in, kernels, &l, x, ROWS);
            float *all = values(ROWS * l.ldy, 4), *some = values(ROWS * l.ldy, 5);
            run(&l, kernels, &in, 0, ROWS, NUM_FORM_F32, all);
            for (size_t r = 0; r < ROWS; r++)
                run(&l, kernels, &in, r, 1, NUM_FORM_F32, some);
            for (size_t r = 0; r < ROWS; r++)
                CHECK(memcmp(some + r * l.ldy, all + r * l.ldy, OUT * sizeof *all) == 0);
            for (size_t r = 0; r < ROWS; r += 5)
                run(&l, kernels, &in, r, 5, NUM_FORM_F32, some);
            for (size_t r = 0; r < ROWS; r++)
                CHECK(memcmp(some + r * l.ldy, all + r * l.ldy, OUT * sizeof *all) == 0);
            free(all);
            free(some);
            inputs_finish(&in);
        }
        free(x);
        layer_finish(&l);
    }
}

TEST(bytes_give_the_same_on_every_processor) {
    enum { ROWS = 19, OUT = 96, K = 1000 };
    struct layer l;
    layer_init(&l, NUM_COMPUTE_INT8, OUT, K);
    float *x = values(ROWS * K, 2), first[ROWS * OUT], y[ROWS * OUT];
    FOR_EACH_TABLE(kernels) {
        struct inputs in;
        inputs_init(&in, kernels, &l, x, ROWS);
        run(&l, kernels, &in, 0, ROWS, NUM_FORM_F32, table == 0 ? first : y);
        for (size_t i = 0; i < ROWS * OUT && table > 0; i++)
            CHECK_NEAR(y[i], first[i], 1e-6 * fabsf(first[i]) + 1e-7); /* sums times scale + bias */
        inputs_finish(&in);
    }
    free(x);
    layer_finish(&l);
}

TEST(layers_split_over_threads_without_a_change) {
    enum { ROWS = 2, OUT = 3001, K = 384 };
    for (int type = NUM_COMPUTE_F32; type <= NUM_COMPUTE_INT8; type++) {
        struct layer l;
        layer_init(&l, (enum num_compute)type, OUT, K);
        float *x = values(ROWS * K, 2);
        float *one = values(ROWS * l.ldy, 4), *more = values(ROWS * l.ldy, 5);
        struct inputs in;
        inputs_init(&in, num_kernels(), &l, x, ROWS);
        for (uint32_t n = 1; n <= 3; n++) {
            struct num_pool *pool;
            struct num_finish f = {.form = NUM_FORM_F32, .y = n == 1 ? one : more, .ldy = l.ldy};
            CHECK_INT(num_pool_create(n, &pool, NULL), 0);
            num_linear_run(&l.linear, num_kernels(), pool, &in.rows, ROWS, &f);
            num_pool_destroy(pool);
            for (size_t r = 0; r < ROWS && n > 1; r++)
                CHECK(memcmp(one + r * l.ldy, more + r * l.ldy, OUT * sizeof *one) == 0);
        }
        inputs_finish(&in);
        free(x);
        free(one);
        free(more);
        layer_finish(&l);
    }
}

/* The call on bare floats does what a layer does. */
TEST(panels_equal_layers) {
    enum { ROWS = 51, OUT = 70, K = 77 };
    struct layer l;
    layer_init(&l, NUM_COMPUTE_F32, OUT, K);
    float *x = values(ROWS * K, 2);
    float *y = values(ROWS * l.ldy, 4), *z = values(ROWS * l.ldy, 4);
    FOR_EACH_TABLE(kernels) {
        struct inputs in;
        inputs_init(&in, kernels, &l, x, ROWS);
        run(&l, kernels, &in, 0, ROWS, NUM_FORM_ADD_F32, y);
        kernels->panels(x, K, ROWS, K, (const float *)l.linear.panels, NUM_PANELS(OUT),
                        l.linear.bias, 1, z, l.ldy);
        CHECK(memcmp(y, z, ROWS * l.ldy * sizeof *y) == 0);
        inputs_finish(&in);
    }
    free(x);
    free(y);
    free(z);
    layer_finish(&l);
}

TEST(an_arena_gives_zeros_on_lines) {
    struct num_arena arena = {0};
    const size_t sizes[] = {1, 63, 64, 65, 1 << 20, 70 << 20, 7};
    for (int i = 0; i < 7; i++) {
        unsigned char *p = NULL;
        CHECK_INT(num_arena_take(&arena, sizes[i], "a piece", &p, NULL), 0);
        CHECK((uintptr_t)p % 64 == 0);
        CHECK(p[0] == 0 && p[sizes[i] - 1] == 0);
        memset(p, 0xff, sizes[i]);
    }
    struct num_err err = {0};
    void *p;
    CHECK(num_arena_take(&arena, SIZE_MAX - 5, "a piece", &p, &err) == SLUICE_RESOURCE);
    num_arena_finish(&arena);
    num_arena_finish(&arena);
}

TEST_MAIN()
