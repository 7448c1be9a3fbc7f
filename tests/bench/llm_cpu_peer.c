/*
 * The same measurement as llm_cpu.c with llama.cpp; built by llm_cpu.py against the headers and
 * libraries of PyPI's llama-cpp-python:
 *
 *     llm_cpu_peer FILE.gguf THREADS ROUNDS
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "llama.h"

enum { PREFILL = 512, PROMPT = 128, TOKENS = 64 };

static void quiet(enum ggml_log_level level, const char *text, void *data) {
    (void)level, (void)text, (void)data;
}

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void decode(struct llama_context *c, llama_token *tokens, int n) {
    if (llama_decode(c, llama_batch_get_one(tokens, n)) != 0 || !llama_get_logits_ith(c, -1)) {
        fprintf(stderr, "llama_decode() failed\n");
        exit(1);
    }
}

int main(int argc, char **argv) {
    if (argc != 4)
        return 2;
    llama_log_set(quiet, NULL);
    llama_backend_init();
    struct llama_model *m = llama_model_load_from_file(argv[1], llama_model_default_params());
    struct llama_context_params p = llama_context_default_params();
    p.n_ctx = 1024;
    p.n_batch = p.n_ubatch = PREFILL;
    p.n_threads = p.n_threads_batch = atoi(argv[2]);
    struct llama_context *c = m ? llama_init_from_model(m, p) : NULL;
    if (!c)
        return 1;
    int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(m));
    double prefill = 1e9, token = 1e9;
    for (int turn = 0; turn < atoi(argv[3]); turn++) {
        llama_token tokens[PREFILL];
        for (int i = 0; i < PREFILL; i++)
            tokens[i] = (int)(((unsigned)i * 7919u + (unsigned)turn * 104729u) % (unsigned)n_vocab);
        llama_memory_clear(llama_get_memory(c), true);
        double start = now_s(), s;
        decode(c, tokens, PREFILL);
        s = (now_s() - start) / PREFILL;
        prefill = s < prefill ? s : prefill;
        llama_memory_clear(llama_get_memory(c), true);
        decode(c, tokens, PROMPT);
        start = now_s();
        for (int i = 0; i < TOKENS - 1; i++)
            decode(c, tokens + i, 1);
        s = (now_s() - start) / (TOKENS - 1);
        token = s < token ? s : token;
    }
    printf("{\"program\": \"llama.cpp\", \"prefill_tok_s\": %.1f, \"decode_tok_s\": %.2f}\n",
           1 / prefill, 1 / token);
    return 0;
}
