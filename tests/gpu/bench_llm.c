/*
 * Language models on a card in the shape of Llama-3-8B, weights of bf16, Q8_0 and Q4_K: tokens a
 * second of one request and of 64, a prompt, and the share of the card's bandwidth, a copy on the
 * card measured in the same run. With arguments only the types that they name.
 *
 * The file is a header and a hole: weights are zeros, which cost what others cost. Times are the
 * host's, logits on the host and a token chosen. Prints one JSON object a line.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gpu/bench.h"
#include "llm/card.h"
#include "unit/cuda_llm/gguf.h"

enum { PROMPT = 128, TOKENS = 128, LONG = 2048, TOGETHER = 64 };

static const struct shape llama_3_8b = {4096, 14336, 32, 32, 8, 128256, 8192};

/* ---- Measurements ---------------------------------------------------------------------------- */

static struct lm_stats ask(struct lm_engine *e, uint32_t n_requests, uint32_t n, uint32_t tokens) {
    static int32_t prompt[LONG];
    static int32_t turn;
    struct lm_stats before = lm_engine_stats(e), after;
    struct num_err err = {0};
    uint32_t left = 1;
    for (uint32_t r = 0; r < n_requests; r++) {
        uint64_t id;
        turn++;
        for (uint32_t i = 0; i < n; i++)
            prompt[i] = (int32_t)((i * 7919 + (uint32_t)turn * 104729) % llama_3_8b.n_vocab);
        struct lm_request request = {
            .prompt = prompt, .n_prompt = n, .max_tokens = tokens, .ignore_eos = true};
        if (lm_engine_add(e, &request, &id, &err))
            bench_die("a request", err.text);
    }
    while (left)
        if (lm_engine_step(e, &left, &err))
            bench_die("a step", err.text);
    after = lm_engine_stats(e);
    after.prompt_s -= before.prompt_s;
    after.token_s -= before.token_s;
    after.n_tokens -= before.n_tokens;
    return after;
}

/* Engines for more requests than a few have other kernels. */
static struct lm_engine *engine(const struct lm_model *m, uint32_t n_requests) {
    struct lm_limits limits = {.n_requests = n_requests, .context = 4096, .n_full = 8};
    struct lm_engine *e;
    struct num_err err = {0};
    if (lm_engine_create(m, &limits, &e, &err))
        bench_die("an engine", err.text);
    return e;
}

static void measure(const char *name, const char *path, struct num_pool *pool, double most) {
    struct lm_engine *e;
    struct lm_model *m;
    struct num_err err = {0};
    double start = bench_now_s();
    if (lm_model_load_on(path, LM_BF16, pool, 0, &lm_card_cuda, 0, &m, &err))
        bench_die(name, err.text);
    double load_s = bench_now_s() - start;
    e = engine(m, 1);
    double bytes = (double)lm_model_bytes(m);
    ask(e, 1, PROMPT, 8);
    double one = (TOKENS - 1) / ask(e, 1, PROMPT, TOKENS).token_s;
    double prompt = LONG / ask(e, 1, LONG, 1).prompt_s;
    lm_engine_destroy(e);
    e = engine(m, TOGETHER);
    ask(e, TOGETHER, 32, 4);
    struct lm_stats all = ask(e, TOGETHER, 32, 64);
    printf("{\"name\": \"llm_cuda, llama-3-8b, %s\", \"tokens_per_s\": %.1f, "
           "\"share_of_bandwidth\": %.3f, \"prompt_tokens_per_s\": %.0f, "
           "\"tokens_per_s_of_%d\": %.0f, \"weights_gb\": %.2f, \"load_s\": %.1f}\n",
           name, one, one * bytes / most, prompt, TOGETHER, (double)all.n_tokens / all.token_s,
           bytes / 1e9, load_s);
    fflush(stdout);
    lm_engine_destroy(e);
    lm_model_free(m);
}

static bool is_asked(const char *name, int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return argc < 2;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        enum num_weight_type blocks;
        uint32_t type;
    } ways[] = {
        {"bf16", NUM_WEIGHT_BF16, 30}, {"Q8_0", NUM_WEIGHT_Q8_0, 8}, {"Q4_K", NUM_WEIGHT_Q4_K, 12}};
    char path[] = P_tmpdir "/sluice-bench-XXXXXX";
    struct num_pool *pool;
    struct num_err err = {0};
    int fd;
    bench_need_card();
    if ((fd = mkstemp(path)) < 0 || close(fd))
        bench_die(path, "cannot be made");
    if (num_pool_create((uint32_t)sysconf(_SC_NPROCESSORS_ONLN), &pool, &err))
        bench_die("threads", err.text);
    double most = bench_bytes_per_s();
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if (!is_asked(ways[i].name, argc, argv))
            continue;
        make_file(path, &llama_3_8b, ways[i].blocks, ways[i].type);
        measure(ways[i].name, path, pool, most);
    }
    unlink(path);
    num_pool_destroy(pool);
    return 0;
}
