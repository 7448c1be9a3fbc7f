/*
 * Models of quantised blocks in compute: int8 and auto, where the decoder multiplies blocks as they
 * are stored: which layers that holds for, how far logits are off the exact mode's, and that tokens
 * of a prompt yield what they yield one by one.
 *
 * Errors are the root mean square of the difference over that of the values. Stored blocks are off
 * by up to 0.019, packed bytes by up to 0.025. With Q6_K it is up to 0.08 where the encoder is
 * packed as bytes: these random blocks differ in size more than one scale for a whole output can
 * follow.
 */
#include "unit/whisper/clips.h"

#include "unit/compare.h"
#include "unit/whisper/make_model.h"
#include "whisper/cpu.h"

enum { D = 256, V = 1000, N_TOKENS = 10 };

#define LOGITS_BOUND 0.03

struct stored_model {
    struct wh_dims dims;
    struct made *made;
    struct num_weights *views;
    float *mel;
};

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct num_weights *)a)->name, ((const struct num_weights *)b)->name);
}

static void make(struct stored_model *m, enum num_weight_type type) {
    m->dims = made_dims(80, D, V, 2);
    m->made = made_create(&m->dims, type, 11);
    m->views = calloc(m->made->n_tensors, sizeof *m->views);
    for (size_t i = 0; i < m->made->n_tensors; i++) {
        m->views[i] = m->made->tensors[i].view;
        m->views[i].name = m->made->tensors[i].ours;
    }
    qsort(m->views, m->made->n_tensors, sizeof *m->views, by_name);
    size_t n = 2ul * m->dims.n_audio_ctx * m->dims.n_mels;
    m->mel = malloc(n * sizeof *m->mel);
    for (size_t i = 0; i < n; i++)
        m->mel[i] = (float)(i * 7919 % 1000) / 500 - 1;
}

static void unmake(struct stored_model *m) {
    free(m->mel);
    free(m->views);
    made_free(m->made);
}

/* Loads, encodes and passes all tokens: the first n_prompt at once, the others one by one. */
static struct wh_cpu *run(const struct stored_model *m, enum wh_compute compute, uint32_t n_threads,
                          uint32_t n_prompt, float *ret_logits) {
    const struct wh_backend *backend = &wh_backend_cpu;
    struct wh_weights weights = {
        .tensors = m->views, .n_tensors = m->made->n_tensors, .path = "made"};
    struct wh_limits limits = {n_threads, 1, 1, compute};
    struct num_err err = {0};
    int32_t tokens[N_TOKENS];
    uint32_t slot = 0;
    void *self;
    for (int i = 0; i < N_TOKENS; i++)
        tokens[i] = i * 97 % V;
    if (backend->load(&weights, &m->dims, &limits, &self, &err))
        TEST_FAIL("%s", err.text);
    CHECK_INT(backend->encode(self, (const float *const *)&m->mel, &slot, 1, NULL, &err), 0);
    struct wh_prompt prompt = {0, 0, tokens, n_prompt, 0, ret_logits};
    CHECK_INT(backend->prefill(self, &prompt, 1, &err), 0);
    for (uint32_t i = n_prompt; i < N_TOKENS; i++) {
        struct wh_step step = {0, tokens[i]};
        CHECK_INT(backend->step(self, &step, 1, ret_logits + i * V, &err), 0);
    }
    return self;
}

static bool should_be_stored(const struct num_kernels *kernels, int type, int compute) {
    bool wide = type == NUM_WEIGHT_Q8_0 || type == NUM_WEIGHT_Q6_K;
    return num_quant_kernels(kernels)->lanes > 4 && !(wide && compute == WH_COMPUTE_INT8);
}

/* One type on one table: logits of both modes beside the exact ones. */
static void check_type(const struct stored_model *m, const struct num_kernels *kernels, int type,
                       const float *exact) {
    static float got[N_TOKENS * V];
    for (int compute = WH_COMPUTE_INT8; compute <= WH_COMPUTE_AUTO; compute++) {
        struct wh_cpu *cpu = run(m, (enum wh_compute)compute, 2, 4, got);
        bool stored = should_be_stored(kernels, type, compute);
        CHECK_INT(cpu->vocabulary.stored.k, stored ? D : 0);
        CHECK_INT(cpu->decoder[1].qkv.stored.n_out, stored ? 3 * D : 0);
        CHECK_INT(cpu->decoder[1].fc2.stored.k, stored ? 4 * D : 0);
        double off = relative_error(got, exact, N_TOKENS * V);
        printf("  %s %s %s: logits off by %.4f\n", kernels->name,
               num_weight_name((enum num_weight_type)type),
               compute == WH_COMPUTE_INT8 ? "int8" : "auto", off);
        bool follows = type != NUM_WEIGHT_Q6_K || compute == WH_COMPUTE_AUTO;
        CHECK(off < (follows ? LOGITS_BOUND : 0.1));
        wh_backend_cpu.free(cpu);
    }
}

TEST(logits_of_every_type) {
    static float exact[N_TOKENS * V];
    const struct num_kernels *tables[NUM_MAX_KERNELS];
    size_t n_tables = num_kernels_all(tables);
    for (int type = NUM_WEIGHT_Q4_0; type <= NUM_WEIGHT_Q6_K; type++) {
        struct stored_model m;
        make(&m, (enum num_weight_type)type);
        wh_backend_cpu.free(run(&m, WH_COMPUTE_F32, 2, 4, exact));
        for (size_t i = 0; i < n_tables; i++) {
            CHECK_INT(setenv("SLUICE_CPU", tables[i]->name, 1), 0);
            check_type(&m, tables[i], type, exact);
        }
        unsetenv("SLUICE_CPU");
        unmake(&m);
    }
}

TEST(neither_prompts_nor_threads_change_a_bit) {
    static float steps[N_TOKENS * V], prompt[N_TOKENS * V];
    for (int type = NUM_WEIGHT_Q4_0; type <= NUM_WEIGHT_Q6_K; type++) {
        struct stored_model m;
        make(&m, (enum num_weight_type)type);
        wh_backend_cpu.free(run(&m, WH_COMPUTE_INT8, 1, 1, steps));
        wh_backend_cpu.free(run(&m, WH_COMPUTE_INT8, 3, N_TOKENS, prompt));
        CHECK(memcmp(steps, prompt, sizeof steps) == 0);
        unmake(&m);
    }
}

TEST(exact_modes_and_floats_store_nothing) {
    static float logits[N_TOKENS * V];
    struct stored_model m;
    make(&m, NUM_WEIGHT_Q4_0);
    for (int compute = WH_COMPUTE_F32; compute <= WH_COMPUTE_BF16; compute++) {
        struct wh_cpu *cpu = run(&m, (enum wh_compute)compute, 1, 4, logits);
        CHECK_INT(cpu->vocabulary.stored.k, 0);
        wh_backend_cpu.free(cpu);
    }
    unmake(&m);
    make(&m, NUM_WEIGHT_F16);
    struct wh_cpu *cpu = run(&m, WH_COMPUTE_INT8, 1, 4, logits);
    CHECK_INT(cpu->vocabulary.stored.k, 0);
    wh_backend_cpu.free(cpu);
    unmake(&m);
}

TEST_MAIN()
