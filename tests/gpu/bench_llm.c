/*
 * Language models on a card in the shape of Llama-3-8B, weights of bf16, Q8_0 and Q4_K: tokens a second of one request and of
 * 64, a prompt, and the share of the card's bandwidth, a copy on the card measured in the same run.
 *
 * The file is a header and a hole: weights are zeros, which cost what others cost. Times are the host's, logits on
 * the host and a token chosen. Prints one JSON object a line.
 */
#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "llm/card.h"
#include "num/weights.h"

enum {
    D = 4096,
    F = 14336,
    LAYERS = 32,
    HEADS = 32,
    KV_HEADS = 8,
    HEAD = D / HEADS,
    V = 128256,
    CONTEXT = 8192
};
enum { PROMPT = 128, TOKENS = 128, LONG = 2048, TOGETHER = 64 };

static void die(const char *what, const char *why) {
    fprintf(stderr, "bench_llm: %s: %s\n", what, why);
    exit(1);
}

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- The file -------------------------------------------------------------------------------- */

struct writer {
    FILE *f;
    uint64_t n_keys, n_tensors, offset;
    uint32_t type; /* ggml's number, of matrices */
    enum num_weight_type blocks;
};

static void put(struct writer *w, const void *bytes, size_t n) {
    if (fwrite(bytes, 1, n, w->f) != n)
        die("the model", "cannot be written");
}

static void put_u32(struct writer *w, uint32_t n) {
    put(w, &n, 4);
}

static void put_u64(struct writer *w, uint64_t n) {
    put(w, &n, 8);
}

static void put_text(struct writer *w, const char *text) {
    put_u64(w, strlen(text));
    put(w, text, strlen(text));
}

/* Types of values: GGUF's numbers. */
static void put_key(struct writer *w, const char *name, uint32_t type) {
    put_text(w, name);
    put_u32(w, type);
    w->n_keys++;
}

static void put_number(struct writer *w, const char *name, uint32_t n) {
    put_key(w, name, 4);
    put_u32(w, n);
}

static void put_float(struct writer *w, const char *name, float x) {
    put_key(w, name, 6);
    put(w, &x, 4);
}

static void put_string(struct writer *w, const char *name, const char *text) {
    put_key(w, name, 8);
    put_text(w, text);
}

static void put_keys(struct writer *w) {
    put_string(w, "general.architecture", "llama");
    put_number(w, "llama.block_count", LAYERS);
    put_number(w, "llama.context_length", CONTEXT);
    put_number(w, "llama.embedding_length", D);
    put_number(w, "llama.feed_forward_length", F);
    put_number(w, "llama.attention.head_count", HEADS);
    put_number(w, "llama.attention.head_count_kv", KV_HEADS);
    put_float(w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    put_float(w, "llama.rope.freq_base", 500000);
    put_string(w, "tokenizer.ggml.model", "gpt2");
    put_string(w, "tokenizer.ggml.pre", "gpt-2");
    put_key(w, "tokenizer.ggml.tokens", 9);
    put_u32(w, 8);
    put_u64(w, V);
    for (int i = 0; i < V; i++) {
        char text[16];
        snprintf(text, sizeof text, "token%d", i);
        put_text(w, text);
    }
    put_key(w, "tokenizer.ggml.merges", 9);
    put_u32(w, 8);
    put_u64(w, 0);
    put_number(w, "tokenizer.ggml.bos_token_id", 1);
    put_number(w, "tokenizer.ggml.eos_token_id", 2);
}

/* rows 0: a vector of floats. */
static void put_tensor(struct writer *w, const char *name, uint64_t rows, uint64_t cols) {
    enum num_weight_type type = rows ? w->blocks : NUM_WEIGHT_F32;
    uint64_t row = cols / num_weight_block(type) * num_weight_block_bytes(type);
    put_text(w, name);
    put_u32(w, rows ? 2 : 1);
    put_u64(w, cols);
    if (rows)
        put_u64(w, rows);
    put_u32(w, rows ? w->type : 0);
    put_u64(w, w->offset);
    w->offset += ((rows ? rows : 1) * row + 31) / 32 * 32;
    w->n_tensors++;
}

static void put_tensors(struct writer *w) {
    static const struct {
        const char *name;
        uint64_t rows, cols;
    } all[] = {{"attn_norm", 0, D},
               {"ffn_norm", 0, D},
               {"attn_q", D, D},
               {"attn_k", KV_HEADS * HEAD, D},
               {"attn_v", KV_HEADS * HEAD, D},
               {"attn_output", D, D},
               {"ffn_gate", F, D},
               {"ffn_up", F, D},
               {"ffn_down", D, F}};
    put_tensor(w, "token_embd.weight", V, D);
    put_tensor(w, "output.weight", V, D);
    put_tensor(w, "output_norm.weight", 0, D);
    for (int i = 0; i < LAYERS; i++)
        for (size_t t = 0; t < sizeof all / sizeof *all; t++) {
            char name[64];
            snprintf(name, sizeof name, "blk.%d.%s.weight", i, all[t].name);
            put_tensor(w, name, all[t].rows, all[t].cols);
        }
}

static void make(const char *path, enum num_weight_type blocks, uint32_t type) {
    struct writer w = {.f = fopen(path, "wb"), .blocks = blocks, .type = type};
    if (!w.f)
        die(path, "cannot be made");
    put(&w, "GGUF", 4);
    put_u32(&w, 3);
    put_u64(&w, 0);
    put_u64(&w, 0);
    put_keys(&w);
    put_tensors(&w);
    uint64_t end = ((uint64_t)ftell(w.f) + 31) / 32 * 32;
    fseek(w.f, 8, SEEK_SET);
    put_u64(&w, w.n_tensors);
    put_u64(&w, w.n_keys);
    if (fflush(w.f) || ftruncate(fileno(w.f), (off_t)(end + w.offset)) || fclose(w.f))
        die(path, "cannot be written");
}

/* ---- Measurements ---------------------------------------------------------------------------- */

static double bandwidth(void) {
    const size_t bytes = (size_t)2 << 30;
    void *from, *to;
    double best = 1e9;
    if (cudaMalloc(&from, bytes) || cudaMalloc(&to, bytes) || cudaMemset(from, 0, bytes))
        die("the ceiling", "memory of the card");
    for (int i = 0; i < 6; i++) {
        double start = now_s();
        if (cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToDevice) || cudaDeviceSynchronize())
            die("the ceiling", "a copy");
        if (i && now_s() - start < best)
            best = now_s() - start;
    }
    cudaFree(from);
    cudaFree(to);
    return 2 * (double)bytes / best;
}

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
            prompt[i] = (int32_t)((i * 7919 + (uint32_t)turn * 104729) % V);
        struct lm_request request = {
            .prompt = prompt, .n_prompt = n, .max_tokens = tokens, .ignore_eos = true};
        if (lm_engine_add(e, &request, &id, &err))
            die("a request", err.text);
    }
    while (left)
        if (lm_engine_step(e, &left, &err))
            die("a step", err.text);
    after = lm_engine_stats(e);
    after.prompt_s -= before.prompt_s;
    after.token_s -= before.token_s;
    after.n_tokens -= before.n_tokens;
    return after;
}

static void measure(const char *name, const char *path, struct num_pool *pool, double most) {
    struct lm_limits limits = {.n_requests = TOGETHER, .context = 4096, .n_full = 8};
    struct lm_engine *e;
    struct lm_model *m;
    struct num_err err = {0};
    double start = now_s();
    if (lm_model_load_on(path, LM_BF16, pool, 0, &lm_card_cuda, 0, &m, &err))
        die(name, err.text);
    double load_s = now_s() - start;
    if (lm_engine_create(m, &limits, &e, &err))
        die(name, err.text);
    double bytes = (double)lm_model_bytes(m);
    ask(e, 1, PROMPT, 8);
    double one = (TOKENS - 1) / ask(e, 1, PROMPT, TOKENS).token_s;
    double prompt = LONG / ask(e, 1, LONG, 1).prompt_s;
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

int main(void) {
    static const struct {
        const char *name;
        enum num_weight_type blocks;
        uint32_t type;
    } ways[] = {
        {"bf16", NUM_WEIGHT_BF16, 30}, {"Q8_0", NUM_WEIGHT_Q8_0, 8}, {"Q4_K", NUM_WEIGHT_Q4_K, 12}};
    char path[] = "/tmp/sluice-bench-llm-XXXXXX";
    struct num_pool *pool;
    struct num_err err = {0};
    int n = 0, fd;
    if (cudaGetDeviceCount(&n) || n == 0)
        return 77;
    if ((fd = mkstemp(path)) < 0 || close(fd))
        die(path, "cannot be made");
    if (num_pool_create((uint32_t)sysconf(_SC_NPROCESSORS_ONLN), &pool, &err))
        die("threads", err.text);
    double most = bandwidth();
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        make(path, ways[i].blocks, ways[i].type);
        measure(ways[i].name, path, pool, most);
    }
    unlink(path);
    num_pool_destroy(pool);
    return 0;
}
