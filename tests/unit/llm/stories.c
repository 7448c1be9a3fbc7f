/*
 * A published model with its published text: stories260K, a Llama of 260,000 weights (llama2.c's
 * format, whose rows of queries and keys are those of GGUF), written here as a GGUF file.
 */
#include "unit/test.h"

#include "llm/generate.h"
#include "num/files.h"

#define FOLDER SHARED_DIR "/data/models/stories260K"

enum { DIM, HIDDEN, LAYERS, HEADS, KV_HEADS, VOCAB, CONTEXT, N_SIZES };
enum { U32 = 4, F32 = 6, STRING = 8, ARRAY = 9 };
enum { N_TOKENS = 512, MAX_TENSORS = 64 };

struct tensor {
    char name[64];
    uint64_t rows, cols; /* rows 0: a vector */
    const float *data;
};

struct writer {
    FILE *f;
    const int32_t *sizes;
    const float *at; /* the next weights */
    struct tensor tensors[MAX_TENSORS];
    size_t n_tensors;
    uint64_t n_keys;
};

static char *read_file(const char *file, size_t *ret_len) {
    char *text;
    struct num_err err;
    if (!num_file_exists(FOLDER, file))
        SKIP("%s/%s is not there", FOLDER, file);
    CHECK_INT(num_file_read(FOLDER, file, false, "", &text, ret_len, &err), 0);
    return text;
}

/* ---- Writing -------------------------------------------------------------------------------- */

static void put(struct writer *w, const void *bytes, size_t n) {
    CHECK(n == 0 || fwrite(bytes, n, 1, w->f) == 1);
}

static void put_u32(struct writer *w, uint32_t n) {
    put(w, &n, 4);
}

static void put_u64(struct writer *w, uint64_t n) {
    put(w, &n, 8);
}

static void put_text(struct writer *w, const char *text, size_t len) {
    put_u64(w, len);
    put(w, text, len);
}

static void put_key(struct writer *w, const char *key, uint32_t type) {
    put_text(w, key, strlen(key));
    put_u32(w, type);
    w->n_keys++;
}

static void put_number(struct writer *w, const char *key, int32_t n) {
    put_key(w, key, U32);
    put_u32(w, (uint32_t)n);
}

static void put_string(struct writer *w, const char *key, const char *text) {
    put_key(w, key, STRING);
    put_text(w, text, strlen(text));
}

static void put_array(struct writer *w, const char *key, uint32_t type) {
    put_key(w, key, ARRAY);
    put_u32(w, type);
    put_u64(w, N_TOKENS);
}

struct piece {
    float score;
    int32_t len;
    char bytes[64];
};

/* Blanks of a token as U+2581. */
static void put_piece(struct writer *w, const struct piece *p) {
    char name[3 * 64];
    size_t n = 0;
    for (int i = 0; i < p->len; i++) {
        bool blank = p->bytes[i] == ' ';
        memcpy(name + n, blank ? "\xe2\x96\x81" : p->bytes + i, blank ? 3 : 1);
        n += blank ? 3 : 1;
    }
    put_text(w, name, n);
}

static void put_tokenizer(struct writer *w) {
    static struct piece pieces[N_TOKENS];
    size_t len, at = 4;
    char *bytes = read_file("tok512.bin", &len);
    for (int i = 0; i < N_TOKENS; i++) {
        CHECK(at + 8 <= len);
        memcpy(&pieces[i].score, bytes + at, 4);
        memcpy(&pieces[i].len, bytes + at + 4, 4);
        CHECK(pieces[i].len >= 0 && pieces[i].len < 64);
        memcpy(pieces[i].bytes, bytes + at + 8, (size_t)pieces[i].len);
        at += 8 + (size_t)pieces[i].len;
    }
    free(bytes);
    put_string(w, "tokenizer.ggml.model", "llama");
    put_array(w, "tokenizer.ggml.tokens", STRING);
    for (int i = 0; i < N_TOKENS; i++)
        put_piece(w, &pieces[i]);
    put_array(w, "tokenizer.ggml.scores", F32);
    for (int i = 0; i < N_TOKENS; i++)
        put(w, &pieces[i].score, 4);
    put_array(w, "tokenizer.ggml.token_type", U32);
    for (int i = 0; i < N_TOKENS; i++) /* unknown, two control tokens, 256 bytes, words */
        put_u32(w, i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1);
    put_number(w, "tokenizer.ggml.bos_token_id", 1);
    put_number(w, "tokenizer.ggml.eos_token_id", 2);
}

static void put_keys(struct writer *w) {
    const int32_t *s = w->sizes;
    float eps = 1e-5f;
    put_string(w, "general.architecture", "llama");
    put_number(w, "llama.block_count", s[LAYERS]);
    put_number(w, "llama.context_length", s[CONTEXT]);
    put_number(w, "llama.embedding_length", s[DIM]);
    put_number(w, "llama.feed_forward_length", s[HIDDEN]);
    put_number(w, "llama.attention.head_count", s[HEADS]);
    put_number(w, "llama.attention.head_count_kv", s[KV_HEADS]);
    put_key(w, "llama.attention.layer_norm_rms_epsilon", F32);
    put(w, &eps, 4);
    put_tokenizer(w);
}

/* One tensor of every layer, which lie behind each other; "%d" in its name is the layer. */
static void add(struct writer *w, const char *name, int n, int rows, int cols) {
    for (int i = 0; i < n; i++) {
        struct tensor *t = &w->tensors[w->n_tensors++];
        CHECK(w->n_tensors <= MAX_TENSORS);
        snprintf(t->name, sizeof t->name, name, i);
        t->rows = (uint64_t)rows;
        t->cols = (uint64_t)cols;
        t->data = w->at;
        w->at += (size_t)(rows ? rows : 1) * (size_t)cols;
    }
}

/* In the order of llama2.c's file (export.py, version 0). */
static void add_all(struct writer *w) {
    const int32_t *s = w->sizes;
    int n = s[LAYERS], D = s[DIM], F = s[HIDDEN], kv = D / s[HEADS] * s[KV_HEADS];
    add(w, "token_embd.weight", 1, s[VOCAB], D);
    add(w, "blk.%d.attn_norm.weight", n, 0, D);
    add(w, "blk.%d.attn_q.weight", n, D, D);
    add(w, "blk.%d.attn_k.weight", n, kv, D);
    add(w, "blk.%d.attn_v.weight", n, kv, D);
    add(w, "blk.%d.attn_output.weight", n, D, D);
    add(w, "blk.%d.ffn_norm.weight", n, 0, D);
    add(w, "blk.%d.ffn_gate.weight", n, F, D);
    add(w, "blk.%d.ffn_down.weight", n, D, F);
    add(w, "blk.%d.ffn_up.weight", n, F, D);
    add(w, "output_norm.weight", 1, 0, D);
}

static uint64_t padded_bytes(const struct tensor *t) {
    return ((t->rows ? t->rows : 1) * t->cols * 4 + 31) / 32 * 32;
}

static void pad(struct writer *w) {
    while (ftell(w->f) % 32)
        fputc(0, w->f);
}

static void write_model(const char *bytes, size_t len, const char *path) {
    struct writer w = {.f = fopen(path, "wb")};
    int32_t sizes[N_SIZES];
    uint64_t offset = 0;
    memcpy(sizes, bytes, sizeof sizes);
    float *weights = malloc(len);
    memcpy(weights, bytes + sizeof sizes, len - sizeof sizes);
    w.sizes = sizes;
    w.at = weights;
    CHECK(w.f && sizes[VOCAB] == N_TOKENS);
    add_all(&w);
    put(&w, "GGUF\3\0\0\0", 8);
    put_u64(&w, w.n_tensors);
    put_u64(&w, 0); /* the number of keys, when it is known */
    put_keys(&w);
    for (size_t i = 0; i < w.n_tensors; i++) {
        const struct tensor *t = &w.tensors[i];
        put_text(&w, t->name, strlen(t->name));
        put_u32(&w, t->rows ? 2 : 1);
        put_u64(&w, t->cols);
        if (t->rows)
            put_u64(&w, t->rows);
        put_u32(&w, 0);
        put_u64(&w, offset);
        offset += padded_bytes(t);
    }
    for (size_t i = 0; i < w.n_tensors; i++) {
        const struct tensor *t = &w.tensors[i];
        pad(&w);
        put(&w, t->data, (t->rows ? t->rows : 1) * t->cols * 4);
    }
    fseek(w.f, 16, SEEK_SET);
    put_u64(&w, w.n_keys);
    CHECK_INT(fclose(w.f), 0);
    free(weights);
}

/* ---- Telling --------------------------------------------------------------------------------- */

struct story {
    char text[2048];
};

static void told(void *ctx, const struct lm_result *r) {
    struct story *s = ctx;
    CHECK(r->text_len < sizeof s->text);
    memcpy(s->text, r->text, r->text_len + 1);
}

static void tell(const char *path, enum lm_compute compute, uint32_t max_tokens,
                 struct story *ret) {
    struct num_pool *pool;
    struct lm_model *model;
    struct lm_engine *engine;
    struct num_err err;
    const int32_t bos = 1;
    struct lm_limits limits = {.n_requests = 1};
    struct lm_request request = {.prompt = &bos,
                                 .n_prompt = 1,
                                 .max_tokens = max_tokens,
                                 .stop_tokens = &bos,
                                 .n_stop_tokens = 1,
                                 .ctx = ret,
                                 .done = told};
    CHECK_INT(num_pool_create(2, &pool, &err), 0);
    if (lm_model_load(path, compute, pool, 0, &model, &err))
        TEST_FAIL("%s", err.text);
    CHECK_INT(lm_engine_create(model, &limits, &engine, &err), 0);
    CHECK_INT(lm_engine_run(engine, &request, &err), 0);
    lm_engine_destroy(engine);
    lm_model_free(model);
    num_pool_destroy(pool);
}

TEST(the_published_story) {
    char path[] = "/tmp/sluice-stories-XXXXXX";
    size_t len, want_len;
    char *bytes = read_file("stories260K.bin", &len), *want = read_file("expected.txt", &want_len);
    struct story exact, fast;
    close(mkstemp(path));
    write_model(bytes, len, path);
    tell(path, LM_F32, 0, &exact);
    tell(path, LM_BF16, 40, &fast);
    unlink(path);
    const char *story = exact.text + strspn(exact.text, " "); /* a text's first blank is no blank */
    while (want_len && want[want_len - 1] == '\n')
        want_len--;
    if (strncmp(story, want, want_len) != 0)
        TEST_FAIL("another story:\n%s\nwhere this was published:\n%.*s", story, (int)want_len,
                  want);
    size_t same = 0;
    while (fast.text[same] && fast.text[same] == exact.text[same])
        same++;
    printf("  %zu bytes; in bfloat16 the first %zu of %zu are the same\n", want_len, same,
           strlen(fast.text));
    CHECK(same > 20);
    free(bytes);
    free(want);
}

TEST_MAIN()
