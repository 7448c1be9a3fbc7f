/*
 * The tokenizer in the metadata of a GGUF file: tokens with types and scores, merges, and names of
 * the rule by which texts are cut ("pre").
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "llm/tokenizer_files.h"
#include "llm/vocab.h"

/* Types of tokens in tokenizer.ggml.token_type. */
enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };

struct reader {
    const struct lm_gguf *g;
    struct lm_tokenizer *t;
    struct num_err *err;
};

#define REFUSE(r, ...) num_fail((r)->err, SLUICE_INPUT, __VA_ARGS__)

/* An array of n elements of numbers; NULL where there is none, or of another kind. */
static const struct lm_gguf_key *numbers(const struct reader *r, const char *name, uint64_t n) {
    const struct lm_gguf_key *key = lm_gguf_find(r->g, "tokenizer.ggml.", name);
    return key && key->array && key->type != LM_GGUF_STRING && key->n == n ? key : NULL;
}

static int32_t read_tokens(struct reader *r) {
    const struct lm_gguf_key *key = lm_gguf_find(r->g, "tokenizer.ggml.", "tokens");
    if (!key || !key->array || key->type != LM_GGUF_STRING || key->n == 0 || key->n > LM_MAX_TOKENS)
        return REFUSE(r, "%s has no list tokenizer.ggml.tokens of 1 to %u tokens", r->g->file,
                      LM_MAX_TOKENS);
    const struct lm_gguf_key *scores = numbers(r, "scores", key->n);
    const struct lm_gguf_key *types = numbers(r, "token_type", key->n);
    struct lm_span *names = malloc(key->n * sizeof *names);
    if (!names)
        return num_fail_memory(r->err, "a vocabulary", key->n * sizeof *names);
    if (!scores && r->t->kind != LM_BYTE_BPE) {
        free(names);
        return REFUSE(r, "%s has no scores for each of its tokens", r->g->file);
    }
    lm_gguf_strings(key, names);
    int32_t status = SLUICE_OK;
    for (uint64_t i = 0; !status && i < key->n; i++) {
        int type = types ? (int)lm_gguf_element(types, i) : NORMAL;
        status = lm_vocab_set(r->t, i, names[i].at, names[i].len,
                              scores ? (float)lm_gguf_element(scores, i) : 0, r->err);
        if (status)
            break;
        struct lm_token *token = &r->t->tokens[i];
        token->special = type == CONTROL || type == UNKNOWN;
        token->added = type == CONTROL || type == USER_DEFINED;
        r->t->byte_fallback |= type == BYTE;
        if (type == UNKNOWN && r->t->unk < 0)
            r->t->unk = (int32_t)i;
    }
    free(names);
    return status;
}

/* "left right"; the blank between them is the first that is not at the front. */
static int32_t read_merges(struct reader *r) {
    const struct lm_gguf_key *key = lm_gguf_find(r->g, "tokenizer.ggml.", "merges");
    if (!key || !key->array || key->type != LM_GGUF_STRING || key->n > 1 << 24)
        return REFUSE(r, "%s has no list tokenizer.ggml.merges", r->g->file);
    int32_t status = lm_vocab_index(r->t, key->n + 1, r->err);
    struct lm_span *merges = status ? NULL : malloc((key->n + 1) * sizeof *merges);
    if (!status && !merges)
        status = num_fail_memory(r->err, "the merges", key->n * sizeof *merges);
    if (!status)
        lm_gguf_strings(key, merges);
    for (uint64_t i = 0; !status && i < key->n; i++) {
        char both[1024];
        struct lm_span m = merges[i];
        const char *blank =
            m.len > 2 && m.len < sizeof both ? memchr(m.at + 1, ' ', m.len - 1) : NULL;
        size_t left = blank ? (size_t)(blank - m.at) : 0;
        if (blank) {
            memcpy(both, m.at, left);
            memcpy(both + left, blank + 1, m.len - left - 1);
        }
        if (!blank || !lm_vocab_merge(r->t, both, left, m.len - left - 1, (int32_t)i))
            status = REFUSE(r, "%s: merge %" PRIu64 " is not of two tokens that make a third",
                            r->g->file, i);
    }
    free(merges);
    return status;
}

static const struct {
    const char *name;
    enum lm_split splits[2];
    uint32_t n;
    bool ignore_merges, bos;
} rules[] = {
    {.name = "gpt-2", .splits = {LM_SPLIT_GPT2}, .n = 1},
    {.name = "smollm", .splits = {LM_SPLIT_DIGITS, LM_SPLIT_GPT2}, .n = 2},
    {.name = "qwen2", .splits = {LM_SPLIT_QWEN2}, .n = 1},
    {.name = "llama-bpe", .splits = {LM_SPLIT_LLAMA3}, .n = 1, .ignore_merges = true, .bos = true},
    {.name = "llama3", .splits = {LM_SPLIT_LLAMA3}, .n = 1, .ignore_merges = true, .bos = true},
    {.name = "llama-v3", .splits = {LM_SPLIT_LLAMA3}, .n = 1, .ignore_merges = true, .bos = true},
};

static int32_t read_rule(struct reader *r, bool *ret_bos) {
    struct lm_span name = lm_gguf_string(r->g, "tokenizer.ggml.", "pre");
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (lm_span_is(name, rules[i].name)) {
            memcpy(r->t->splits, rules[i].splits, sizeof rules[i].splits);
            r->t->n_splits = rules[i].n;
            r->t->ignore_merges = rules[i].ignore_merges;
            *ret_bos = rules[i].bos;
            return SLUICE_OK;
        }
    return num_fail(r->err, SLUICE_UNSUPPORTED,
                    "%s: texts are to be cut as %.*s does it (tokenizer.ggml.pre); gpt-2, smollm, "
                    "qwen2 and llama-bpe are known",
                    r->g->file, name.at ? (int)(name.len < 40 ? name.len : 40) : 10,
                    name.at ? name.at : "(nothing)");
}

static int32_t read_kind(struct reader *r) {
    static const struct {
        const char *name;
        enum lm_kind kind;
    } kinds[] = {{"gpt2", LM_BYTE_BPE}, {"llama", LM_SPM_BPE}, {"t5", LM_UNIGRAM}};
    struct lm_span name = lm_gguf_string(r->g, "tokenizer.ggml.", "model");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (lm_span_is(name, kinds[i].name)) {
            r->t->kind = kinds[i].kind;
            return SLUICE_OK;
        }
    return num_fail(r->err, SLUICE_UNSUPPORTED,
                    "%s has a tokenizer of kind %.*s; gpt2, llama and t5 can be read", r->g->file,
                    name.at ? (int)(name.len < 40 ? name.len : 40) : 7,
                    name.at ? name.at : "unknown");
}

static int32_t read_number(struct reader *r, const char *name, int32_t *ret) {
    uint32_t n = UINT32_MAX;
    int32_t status = lm_gguf_u32(r->g, "tokenizer.ggml.", name, UINT32_MAX, &n, r->err);
    if (!status && n < r->t->n_tokens)
        *ret = (int32_t)n;
    return status;
}

/* What SentencePiece's vocabularies do with a text before it is cut. */
static int32_t read_normalisation(struct reader *r) {
    struct lm_tokenizer *t = r->t;
    const struct lm_gguf_key *key = lm_gguf_find(r->g, "tokenizer.ggml.", "precompiled_charsmap");
    bool space = lm_gguf_bool(r->g, "tokenizer.ggml.add_space_prefix", true);
    t->blanks = t->fuse_unk = true;
    t->prepend = space ? LM_PREPEND_ALWAYS : LM_PREPEND_NEVER;
    t->trims = lm_gguf_bool(r->g, "tokenizer.ggml.remove_extra_whitespaces", false);
    t->normalises = t->trims || (key && key->n);
    if (!key || (key->array && key->n == 0))
        return SLUICE_OK;
    if (!key->array || (key->type != LM_GGUF_U8 && key->type != LM_GGUF_I8))
        return REFUSE(r, "%s: tokenizer.ggml.precompiled_charsmap is no list of bytes", r->g->file);
    return lm_charsmap_parse(key->data, key->n, r->g->file, &t->charsmap, r->err);
}

static int32_t read_all(struct reader *r) {
    struct lm_tokenizer *t = r->t;
    bool bos = true;
    int32_t status = read_kind(r);
    if (!status)
        status = read_tokens(r);
    if (status)
        return status;
    if (t->kind == LM_BYTE_BPE) {
        status = read_rule(r, &bos);
        if (!status)
            status = read_merges(r);
    } else {
        status = read_normalisation(r);
        if (!status)
            status = lm_vocab_index(t, 0, r->err);
    }
    if (!status)
        status = read_number(r, "bos_token_id", &t->bos);
    if (!status)
        status = read_number(r, "eos_token_id", &t->eos);
    if (!status)
        status = read_number(r, "unknown_token_id", &t->unk);
    if (!status)
        status = lm_vocab_finish(t, r->err);
    if (!status && t->bos >= 0 && lm_gguf_bool(r->g, "tokenizer.ggml.add_bos_token", bos))
        t->prefix[t->n_prefix++] = t->bos;
    return status;
}

int32_t lm_tokenizer_of_gguf(const struct lm_gguf *g, struct lm_tokenizer **ret,
                             struct num_err *err) {
    struct reader r = {g, lm_tokenizer_new(), err};
    if (!r.t)
        return num_fail_memory(err, "a tokenizer", sizeof *r.t);
    int32_t status = read_all(&r);
    if (status)
        lm_tokenizer_destroy(r.t);
    else
        *ret = r.t;
    return status;
}
