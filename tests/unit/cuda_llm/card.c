/*
 * Language models on a card beside the processor, with models of random weights written here: the
 * same greedy tokens in f32, of three types of weights. Runs on the emulated card and on a real one
 * (tools/gpu-check).
 */
#include "unit/test.h"

#include "llm/card.h"
#include "num/half.h"
#include "unit/cuda_llm/gguf.h"

enum { N_PROMPT = 12, N_TOKENS = 4 };

/* Heads of 64, and heads of 8 of which 16 share keys and values; inputs of a whole tile and a
 * half. */
static const struct shape shapes[] = {{256, 1536, 2, 4, 2, 128, 128},
                                      {256, 1536, 2, 32, 2, 128, 128}};

static uint32_t next(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* A value of about 1 / 16, and of norms near 1. */
static void fill_floats(float *to, size_t n, float around, uint32_t *state) {
    for (size_t i = 0; i < n; i++)
        to[i] = around + ((float)next(state) * 0x1p-23f - 1) / 16;
}

static void fill_blocks(uint8_t *to, size_t n, enum num_weight_type type, uint32_t *state) {
    const size_t bytes = num_weight_block_bytes(type);
    const uint16_t d = num_f32_to_f16(type == NUM_WEIGHT_Q8_0 ? 0.0006f : 0.0002f);
    const uint16_t dmin = num_f32_to_f16(0.001f);
    for (size_t i = 0; i < n; i++, to += bytes) {
        for (size_t b = 0; b < bytes; b++)
            to[b] = (uint8_t)next(state);
        memcpy(to, &d, 2);
        if (type == NUM_WEIGHT_Q4_K)
            memcpy(to + 2, &dmin, 2);
    }
}

/* Fills what the header lists: tensors follow each other in the file. */
static void fill(const char *path, uint64_t at, const struct shape *s, enum num_weight_type type) {
    const uint64_t D = s->D, F = s->F, kv = s->n_kv_heads * D / s->n_heads;
    const uint64_t layer[] = {0, 0, D * D, kv * D, kv * D, D * D, F * D, F * D, D * F};
    uint64_t sizes[3 + 9 * 8] = {s->n_vocab * D, s->n_vocab * D, 0}, n = 3;
    uint32_t state = 1;
    FILE *f = fopen(path, "r+b");
    CHECK(f && s->n_layers <= 8);
    for (uint32_t i = 0; i < s->n_layers; i++)
        for (size_t t = 0; t < 9; t++)
            sizes[n++] = layer[t];
    CHECK_INT(fseek(f, (long)at, SEEK_SET), 0);
    for (uint64_t t = 0; t < n; t++) {
        const uint64_t count = sizes[t] ? sizes[t] : D;
        const bool plain = !sizes[t] || type == NUM_WEIGHT_F32;
        const size_t blocks = count / num_weight_block(type);
        const size_t bytes = plain ? count * 4 : blocks * num_weight_block_bytes(type);
        void *data = malloc(bytes);
        CHECK(data && bytes % 32 == 0);
        if (plain)
            fill_floats(data, count, sizes[t] ? 0 : 1, &state);
        else
            fill_blocks(data, blocks, type, &state);
        CHECK(fwrite(data, bytes, 1, f) == 1);
        free(data);
    }
    CHECK_INT(fclose(f), 0);
}

struct answer {
    int32_t tokens[N_TOKENS];
    float logits[128]; /* the first */
    size_t n;
};

static void on_logits(void *ctx, const float *logits, int32_t token) {
    struct answer *a = ctx;
    if (a->n == 0)
        memcpy(a->logits, logits, sizeof a->logits);
    if (a->n < N_TOKENS)
        a->tokens[a->n++] = token;
}

static void ask(const char *path, const struct lm_card *card, struct answer *ret) {
    struct lm_limits limits = {.n_requests = 1, .context = 64};
    struct num_pool *pool;
    struct lm_model *m;
    struct lm_engine *e;
    struct num_err err;
    int32_t prompt[N_PROMPT];
    for (int32_t i = 0; i < N_PROMPT; i++)
        prompt[i] = i * 37 % 128;
    struct lm_request r = {
        .prompt = prompt, .n_prompt = N_PROMPT, .max_tokens = N_TOKENS, .ignore_eos = true};
    r.ctx = ret;
    r.logits = on_logits;
    CHECK_INT(num_pool_create(1, &pool, &err), 0);
    if (lm_model_load_on(path, LM_F32, pool, 0, card, 0, &m, &err) ||
        lm_engine_create(m, &limits, &e, &err) || lm_engine_run(e, &r, &err))
        TEST_FAIL("%s", err.text);
    lm_engine_destroy(e);
    lm_model_free(m);
    num_pool_destroy(pool);
}

TEST(tokens_are_the_processors) {
    static const struct {
        enum num_weight_type type;
        uint32_t number;
        const struct shape *shape;
    } ways[] = {{NUM_WEIGHT_F32, 0, &shapes[0]},
                {NUM_WEIGHT_Q8_0, 8, &shapes[1]},
                {NUM_WEIGHT_Q4_K, 12, &shapes[0]}};
    char path[TEST_PATH];
    close(make_test_file(path));
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct answer host = {.n = 0}, card = {.n = 0};
        float worst = 0, most = 0;
        uint64_t at = make_file(path, ways[i].shape, ways[i].type, ways[i].number);
        fill(path, at, ways[i].shape, ways[i].type);
        ask(path, NULL, &host);
        ask(path, &lm_card_cuda, &card);
        for (size_t v = 0; v < 128; v++) {
            worst = fmaxf(worst, fabsf(host.logits[v] - card.logits[v]));
            most = fmaxf(most, fabsf(host.logits[v]));
        }
        printf("  %s: logits of up to %.3f within %.1e\n", num_weight_name(ways[i].type), most,
               worst);
        CHECK(host.n == N_TOKENS && card.n == N_TOKENS && most > 0.01f && worst < 1e-4f * most);
        CHECK(memcmp(host.tokens, card.tokens, sizeof host.tokens) == 0);
    }
    unlink(path);
}

TEST_MAIN()
