/*
 * A language model of random weights on the CPU:
 *
 *     bench_llm_cpu make SHAPE TYPE FILE.gguf                     writes the model (135m, 0.5b)
 *     bench_llm_cpu run FILE.gguf THREADS ROUNDS [COMPUTE]        measures; a line of JSON
 *     bench_llm_cpu together FILE.gguf THREADS ROUNDS [COMPUTE]   tokens/s of 1, 2, 4, 8 requests
 *                                                                 at a time
 *
 * Prefill: 512 tokens of a prompt. Decode: 64 tokens after 128. Best of the rounds. Beside it the
 * speed of reading as many bytes as a token's weights. tests/bench/llm_cpu.py adds llama.cpp.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/ceilings.h"
#include "llm/generate.h"
#include "unit/llm/make_model.h"

enum { PREFILL = 512, PROMPT = 128, TOKENS = 64 };

static const char *const shapes[][2] = {
    {"135m",
     "{\"model_type\": \"llama\", \"vocab_size\": 49152, \"hidden_size\": 576,"
     " \"intermediate_size\": 1536, \"num_hidden_layers\": 30, \"num_attention_heads\": 9,"
     " \"num_key_value_heads\": 3, \"rms_norm_eps\": 1e-5, \"max_position_embeddings\": 2048,"
     " \"rope_theta\": 10000.0, \"tie_word_embeddings\": true}"},
    {"0.5b",
     "{\"model_type\": \"qwen2\", \"vocab_size\": 151936, \"hidden_size\": 896,"
     " \"intermediate_size\": 4864, \"num_hidden_layers\": 24, \"num_attention_heads\": 14,"
     " \"num_key_value_heads\": 2, \"rms_norm_eps\": 1e-6, \"max_position_embeddings\": 2048,"
     " \"rope_theta\": 1000000.0, \"tie_word_embeddings\": true}"},
};

static int make(const char *shape, const char *type, const char *path) {
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (strcmp(shapes[i][0], shape) == 0) {
            json_t *config = json_loads(shapes[i][1], 0, NULL);
            lm_made_gguf(config, lm_made_type(type), NULL, path);
            json_decref(config);
            return 0;
        }
    fprintf(stderr, "no shape %s\n", shape);
    return 2;
}

static void check(int32_t status, const struct num_err *err) {
    if (status) {
        fprintf(stderr, "%s\n", err->text);
        exit(1);
    }
}

/* Runs one request of n prompt tokens, other ones each time, and adds its times to `stats`. */
static struct lm_stats ask(struct lm_engine *engine, uint32_t n, uint32_t max_tokens,
                           uint32_t n_vocab) {
    static uint32_t turn;
    int32_t prompt[PREFILL];
    struct num_err err;
    struct lm_stats before = lm_engine_stats(engine), after;
    turn++;
    for (uint32_t i = 0; i < n; i++)
        prompt[i] = (int32_t)((i * 7919 + turn * 104729) % n_vocab);
    struct lm_request request = {
        .prompt = prompt, .n_prompt = n, .max_tokens = max_tokens, .ignore_eos = true};
    check(lm_engine_run(engine, &request, &err), &err);
    after = lm_engine_stats(engine);
    after.prompt_s -= before.prompt_s;
    after.token_s -= before.token_s;
    return after;
}

static enum lm_compute compute_of(const char *name) {
    return !name || strcmp(name, "auto") == 0 ? LM_AUTO
           : strcmp(name, "f32") == 0         ? LM_F32
           : strcmp(name, "int8") == 0        ? LM_INT8
                                              : LM_BF16;
}

static int run(const char *path, uint32_t threads, int rounds, const char *compute) {
    struct num_pool *pool;
    struct lm_model *model;
    struct lm_engine *engine;
    struct num_err err;
    struct lm_limits limits = {.n_requests = 1, .context = 1024};
    double prefill = 1e9, token = 1e9;
    check(num_pool_create(threads, &pool, &err), &err);
    double start = bench_now_s();
    check(lm_model_load(path, compute_of(compute), pool, 0, &model, &err), &err);
    double load_s = bench_now_s() - start;
    check(lm_engine_create(model, &limits, &engine, &err), &err);
    uint32_t n_vocab = lm_model_config(model)->n_vocab;
    uint64_t bytes = lm_model_bytes(model);
    double read = ceiling_read(pool, bytes, 5);
    for (int i = 0; i < rounds; i++) {
        double s = ask(engine, PREFILL, 1, n_vocab).prompt_s / PREFILL;
        prefill = s < prefill ? s : prefill;
        s = ask(engine, PROMPT, TOKENS, n_vocab).token_s / (TOKENS - 1);
        token = s < token ? s : token;
    }
    read = ceiling_read(pool, bytes, 5) > read ? ceiling_read(pool, bytes, 5) : read;
    printf(
        "{\"program\": \"ours\", \"prefill_tok_s\": %.1f, \"decode_tok_s\": %.2f, \"weights_mb\": "
        "%.1f, \"read_gb_s\": %.1f, \"share_of_reading\": %.3f, \"load_s\": %.2f}\n",
        1 / prefill, 1 / token, (double)bytes / 1e6, read / 1e9, (double)bytes / token / read,
        load_s);
    lm_engine_destroy(engine);
    lm_model_free(model);
    num_pool_destroy(pool);
    return 0;
}

/* Seconds for a token of each of n requests at the same time. */
static double step_s(struct lm_engine *engine, uint32_t n, uint32_t n_vocab) {
    struct lm_stats before = lm_engine_stats(engine), after;
    struct num_err err;
    uint64_t id;
    uint32_t n_left = n;
    for (uint32_t i = 0; i < n; i++) {
        int32_t prompt[2] = {(int32_t)(i % n_vocab), 1};
        struct lm_request request = {
            .prompt = prompt, .n_prompt = 2, .max_tokens = TOKENS, .ignore_eos = true};
        check(lm_engine_add(engine, &request, &id, &err), &err);
    }
    while (n_left)
        check(lm_engine_step(engine, &n_left, &err), &err);
    after = lm_engine_stats(engine);
    return (after.token_s - before.token_s) / (TOKENS - 1);
}

static int together(const char *path, uint32_t threads, int rounds, const char *compute) {
    static const uint32_t sizes[] = {1, 2, 4, 8};
    double best[4] = {1e9, 1e9, 1e9, 1e9};
    struct num_pool *pool;
    struct lm_model *model;
    struct lm_engine *engine;
    struct num_err err;
    struct lm_limits limits = {.n_requests = 8, .context = 256};
    check(num_pool_create(threads, &pool, &err), &err);
    check(lm_model_load(path, compute_of(compute), pool, 0, &model, &err), &err);
    check(lm_engine_create(model, &limits, &engine, &err), &err);
    uint32_t n_vocab = lm_model_config(model)->n_vocab;
    for (int round = 0; round < rounds; round++)
        for (int i = 0; i < 4; i++) {
            double s = step_s(engine, sizes[i], n_vocab);
            best[i] = s < best[i] ? s : best[i];
        }
    for (int i = 0; i < 4; i++)
        printf("%u at a time: %.1f tokens/s, %.2f times as many as alone\n", sizes[i],
               sizes[i] / best[i], sizes[i] * best[0] / best[i]);
    lm_engine_destroy(engine);
    lm_model_free(model);
    num_pool_destroy(pool);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 5 && strcmp(argv[1], "make") == 0)
        return make(argv[2], argv[3], argv[4]);
    if (argc >= 5 && strcmp(argv[1], "run") == 0)
        return run(argv[2], (uint32_t)atoi(argv[3]), atoi(argv[4]), argc > 5 ? argv[5] : NULL);
    if (argc >= 5 && strcmp(argv[1], "together") == 0)
        return together(argv[2], (uint32_t)atoi(argv[3]), atoi(argv[4]), argc > 5 ? argv[5] : NULL);
    fprintf(stderr,
            "bench_llm_cpu make SHAPE TYPE FILE | run|together FILE THREADS ROUNDS [COMPUTE]\n");
    return 2;
}
