/*
 * GGUF files of models in the shape of Llama 3, written without any library: for what runs on a
 * machine with a card. Weights are a hole in the file, which reads as zeros, for the caller to
 * fill. Dies where a file cannot be written.
 */
#ifndef TESTS_UNIT_CUDA_LLM_GGUF_H
#define TESTS_UNIT_CUDA_LLM_GGUF_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "num/weights.h"

struct shape {
    uint32_t D, F, n_layers, n_heads, n_kv_heads, n_vocab, n_context;
};

struct writer {
    FILE *f;
    const struct shape *s;
    uint64_t n_keys, n_tensors, offset;
    uint32_t type; /* ggml's number, of matrices */
    enum num_weight_type blocks;
};

static void give_up(const char *what) {
    perror(what);
    exit(1);
}

static void put(struct writer *w, const void *bytes, size_t n) {
    if (fwrite(bytes, 1, n, w->f) != n)
        give_up("a model");
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
    put_number(w, "llama.block_count", w->s->n_layers);
    put_number(w, "llama.context_length", w->s->n_context);
    put_number(w, "llama.embedding_length", w->s->D);
    put_number(w, "llama.feed_forward_length", w->s->F);
    put_number(w, "llama.attention.head_count", w->s->n_heads);
    put_number(w, "llama.attention.head_count_kv", w->s->n_kv_heads);
    put_float(w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    put_float(w, "llama.rope.freq_base", 500000);
    put_string(w, "tokenizer.ggml.model", "gpt2");
    put_string(w, "tokenizer.ggml.pre", "gpt-2");
    put_key(w, "tokenizer.ggml.tokens", 9);
    put_u32(w, 8);
    put_u64(w, w->s->n_vocab);
    for (uint32_t i = 0; i < w->s->n_vocab; i++) {
        char text[20];
        snprintf(text, sizeof text, "token%u", i);
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
    const struct shape *s = w->s;
    const uint64_t D = s->D, F = s->F, kv = s->n_kv_heads * D / s->n_heads;
    const struct {
        const char *name;
        uint64_t rows, cols;
    } all[] = {{"attn_norm", 0, D}, {"ffn_norm", 0, D}, {"attn_q", D, D},
               {"attn_k", kv, D},   {"attn_v", kv, D},  {"attn_output", D, D},
               {"ffn_gate", F, D},  {"ffn_up", F, D},   {"ffn_down", D, F}};
    put_tensor(w, "token_embd.weight", s->n_vocab, D);
    put_tensor(w, "output.weight", s->n_vocab, D);
    put_tensor(w, "output_norm.weight", 0, D);
    for (uint32_t i = 0; i < s->n_layers; i++)
        for (size_t t = 0; t < sizeof all / sizeof *all; t++) {
            char name[64];
            snprintf(name, sizeof name, "blk.%u.%s.weight", i, all[t].name);
            put_tensor(w, name, all[t].rows, all[t].cols);
        }
}

/* A model whose matrices are of that type; ggml's number of it. The file is as long as its weights,
 * which are zeros. Returns where they begin. */
static uint64_t make_file(const char *path, const struct shape *s, enum num_weight_type blocks,
                          uint32_t type) {
    struct writer w = {.f = fopen(path, "wb"), .s = s, .blocks = blocks, .type = type};
    if (!w.f)
        give_up(path);
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
        give_up(path);
    return end;
}

#endif
