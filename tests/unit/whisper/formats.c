/*
 * One set of weights in every format gives the same logits, bit for bit: folders with one file or
 * several, either tokenizer, F32, F16 and BF16, and whisper.cpp's files in every type, whose values
 * are also written out as F32. Special tokens, suppressed tokens and alignment heads of the
 * published sizes; damaged files.
 */
#include "unit/whisper/clips.h"
#include "unit/whisper/make_model.h"
#include "whisper/ggml.h"
#include "whisper/published.h"

static char folder[TEST_PATH];

static const char *in(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* ---- Logits --------------------------------------------------------------------------------- */

#define PROMPT                                                                                     \
    { 1, 2, 200, 299, 7 }
#define N_PROMPT 5

static void open_path(const char *path, struct wh_model *ret) {
    struct num_err err = {0};
    struct wh_limits limits = {1, 1, 1};
    if (wh_model_load(path, &wh_backend_cpu, &limits, ret, &err))
        TEST_FAIL("%s", err.text);
}

/* (N_PROMPT, V) on a fixed window, malloc'ed. */
static float *logits_of(struct wh_model *m) {
    struct num_err err = {0};
    size_t n = 2 * (size_t)m->dims.n_audio_ctx * m->dims.n_mels;
    float *mel = malloc(n * sizeof *mel),
          *ret = malloc(N_PROMPT * (size_t)m->dims.n_vocab * sizeof *ret);
    for (size_t i = 0; i < n; i++)
        mel[i] = sinf((float)(i % 977) * 0.1f);
    const int32_t tokens[N_PROMPT] = PROMPT;
    struct wh_prompt prompt = {0, 0, tokens, N_PROMPT, 0, ret};
    uint32_t slot = 0;
    if (m->backend->encode(m->self, (const float *const[]){mel}, &slot, 1, NULL, &err) ||
        m->backend->prefill(m->self, &prompt, 1, &err))
        TEST_FAIL("%s", err.text);
    free(mel);
    return ret;
}

static void check_same(const char *path, const float *expected, const struct wh_model *like) {
    struct wh_model m;
    open_path(path, &m);
    float *logits = logits_of(&m);
    size_t n = N_PROMPT * (size_t)m.dims.n_vocab;
    CHECK_INT(m.dims.n_vocab, like->dims.n_vocab);
    CHECK(memcmp(&m.tokens, &like->tokens, sizeof m.tokens) == 0);
    CHECK(m.rules.eot == like->rules.eot && m.rules.timestamp_begin == like->rules.timestamp_begin);
    CHECK_INT(m.rules.n_suppress, like->rules.n_suppress);
    CHECK_INT(m.bpe.n_tokens, like->bpe.n_tokens);
    for (size_t i = 0; i < m.bpe.n_tokens; i++) {
        const struct num_bpe_token *a = &m.bpe.tokens[i], *b = &like->bpe.tokens[i];
        CHECK(a->len == b->len && a->special == b->special &&
              memcmp(a->bytes, b->bytes, a->len) == 0);
    }
    double off = max_difference(logits, expected, n);
    if (memcmp(logits, expected, n * sizeof *logits) != 0)
        TEST_FAIL("%s: logits differ by %g", path, off);
    free(logits);
    wh_model_finish(&m);
}

/* Logits worth comparing: finite, and not all alike. */
static void check_lively(const float *logits, size_t n) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        CHECK(isfinite(logits[i]));
        sum += logits[i];
        squares += (double)logits[i] * logits[i];
    }
    CHECK(squares / (double)n - sum / (double)n * (sum / (double)n) > 1e-3);
}

static void compare_type(enum num_weight_type type) {
    struct wh_dims dims = made_dims(80, 256, 400, 2);
    struct made *m = made_create(&dims, type, 7 + type), *f = made_dequantised(m);
    struct wh_model like;
    make_test_folder(folder);
    made_write_folder(f, folder, 0);
    open_path(folder, &like);
    float *expected = logits_of(&like);
    check_lively(expected, N_PROMPT * dims.n_vocab);
    made_write_ggml(m, in("m.bin"));
    check_same(in("m.bin"), expected, &like);
    if (type <= NUM_WEIGHT_BF16) {
        made_write_folder(m, folder, MADE_ONE_TOKENIZER | MADE_BARE_NAMES);
        check_same(folder, expected, &like);
    }
    free(expected);
    wh_model_finish(&like);
    remove_test_files(folder);
    made_free(m);
    made_free(f);
}

TEST(f32) {
    compare_type(NUM_WEIGHT_F32);
}
TEST(f16) {
    compare_type(NUM_WEIGHT_F16);
}
TEST(bf16) {
    compare_type(NUM_WEIGHT_BF16);
}
TEST(q4_0) {
    compare_type(NUM_WEIGHT_Q4_0);
}
TEST(q4_1) {
    compare_type(NUM_WEIGHT_Q4_1);
}
TEST(q5_0) {
    compare_type(NUM_WEIGHT_Q5_0);
}
TEST(q5_1) {
    compare_type(NUM_WEIGHT_Q5_1);
}
TEST(q8_0) {
    compare_type(NUM_WEIGHT_Q8_0);
}
TEST(q4_k) {
    compare_type(NUM_WEIGHT_Q4_K);
}
TEST(q5_k) {
    compare_type(NUM_WEIGHT_Q5_K);
}
TEST(q6_k) {
    compare_type(NUM_WEIGHT_Q6_K);
}

/* ---- Published sizes ------------------------------------------------------------------------ */

static void compare_shape(uint32_t n_mels, uint32_t n_vocab, uint32_t layers, int32_t sot,
                          int32_t timestamps, uint32_t n_languages) {
    struct wh_dims dims = made_dims(n_mels, 32, n_vocab, layers);
    struct made *m = made_create(&dims, NUM_WEIGHT_F32, n_vocab + layers);
    struct wh_model like;
    make_test_folder(folder);
    made_write_ggml(m, in("m.bin"));
    open_path(in("m.bin"), &like);
    float *expected = logits_of(&like);
    check_lively(expected, N_PROMPT * (size_t)n_vocab);
    CHECK(like.tokens.sot == sot && like.rules.eot == sot - 1);
    CHECK_INT(like.rules.timestamp_begin, timestamps);
    CHECK_INT(like.tokens.n_languages, n_languages);
    CHECK(like.rules.n_suppress > 0 && like.rules.n_begin_suppress == 2);
    CHECK(like.dims.english_only == (n_languages == 0));
    CHECK_INT(like.dims.n_alignment_heads, (layers - layers / 2) * dims.n_text_heads);
    made_write_folder(m, folder, MADE_MULTI_SHARD);
    check_same(folder, expected, &like);
    free(expected);
    wh_model_finish(&like);
    remove_test_files(folder);
    made_free(m);
}

TEST(english_only) {
    compare_shape(80, WH_VOCAB_ENGLISH, 2, 50257, 50363, 0);
}
TEST(multilingual) {
    compare_shape(80, WH_VOCAB_MULTILINGUAL, 2, 50258, 50364, 99);
}
TEST(cantonese_128_bands) {
    compare_shape(128, WH_VOCAB_CANTONESE, 2, 50258, 50365, 100);
}
TEST(distilled_decoder) {
    compare_shape(128, WH_VOCAB_CANTONESE, 1, 50258, 50365, 100);
}

TEST(published_alignment_heads) {
    struct wh_dims tiny = made_dims(80, 384, WH_VOCAB_MULTILINGUAL, 4);
    tiny.n_text_heads = 6;
    wh_published_alignment(&tiny, "x");
    CHECK(tiny.n_alignment_heads == 6 && tiny.alignment_heads[0].layer == 2 &&
          tiny.alignment_heads[0].head == 2);
    struct wh_dims large = made_dims(80, 1280, WH_VOCAB_MULTILINGUAL, 32);
    large.n_text_heads = 20;
    wh_published_alignment(&large, "models/large-v1");
    CHECK_INT(large.n_alignment_heads, 9);
    wh_published_alignment(&large, "models/large-v2");
    CHECK_INT(large.n_alignment_heads, 23);
    large.n_vocab = WH_VOCAB_CANTONESE;
    wh_published_alignment(&large, "x");
    CHECK(large.n_alignment_heads == 10 && large.alignment_heads[9].layer == 25 &&
          large.alignment_heads[9].head == 6);
    large.n_text_layers = 4;
    wh_published_alignment(&large, "x");
    CHECK(large.n_alignment_heads == 6 && large.alignment_heads[5].head == 14);
    large.n_text_layers = 2;
    wh_published_alignment(&large, "x");
    CHECK(large.n_alignment_heads == 20 && large.alignment_heads[0].layer == 1);
    large.n_text_layers = 30;
    wh_published_alignment(&large, "x");
    CHECK(large.n_alignment_heads == 60 && large.alignment_heads[0].layer == 27);
}

/* ---- Real headers and vocabularies ---------------------------------------------------------- */

static const int32_t suppressed[] = {
    1,     2,     7,     8,     9,     10,    14,    25,    26,    27,    28,    29,    31,
    58,    59,    60,    61,    62,    63,    90,    91,    92,    93,    359,   503,   522,
    542,   873,   893,   902,   918,   922,   931,   1350,  1853,  1982,  2460,  2627,  3246,
    3253,  3268,  3536,  3846,  3961,  4183,  4667,  6585,  6647,  7273,  9061,  9383,  10428,
    10929, 11938, 12033, 12331, 12562, 13793, 14157, 14635, 15265, 15618, 16553, 16604, 18362,
    18956, 20075, 21675, 22520, 26130, 26161, 26435, 28279, 29464, 31650, 32302, 32470, 36865,
    42863, 47425, 49870, 50254, 50258, 50358, 50359, 50360, 50361, 50362};

static const int32_t suppressed_en[] = {
    1,     2,     7,     8,     9,     10,    14,    25,    26,    27,    28,    29,    31,
    58,    59,    60,    61,    62,    63,    90,    91,    92,    93,    357,   366,   438,
    532,   685,   705,   796,   930,   1058,  1220,  1267,  1279,  1303,  1343,  1377,  1391,
    1635,  1782,  1875,  2162,  2361,  2488,  3467,  4008,  4211,  4600,  4808,  5299,  5855,
    6329,  7203,  9609,  9959,  10563, 10786, 11420, 11709, 11907, 13163, 13697, 13700, 14808,
    15306, 16410, 16791, 17992, 19203, 19510, 20724, 22305, 22935, 27007, 30109, 30420, 33409,
    34949, 40283, 40493, 40549, 47282, 49146, 50257, 50357, 50358, 50359, 50360, 50361};

static void check_list(const int32_t *found, int32_t n, const int32_t *expected,
                       size_t n_expected) {
    for (int32_t i = 0; i < n && (size_t)i < n_expected; i++)
        CHECK_INT(found[i], expected[i]);
    CHECK_INT(n, n_expected);
}

static int base64_digit(char c) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = strchr(digits, c);
    return at && c ? (int)(at - digits) : -1;
}

/* Decodes up to the first character that is no digit; returns how many bytes. */
static uint32_t base64_decode(const char *text, uint8_t *ret) {
    uint32_t bits = 0, n_bits = 0, n = 0;
    for (; base64_digit(*text) >= 0; text++) {
        bits = bits << 6 | (uint32_t)base64_digit(*text);
        n_bits += 6;
        if (n_bits >= 8)
            ret[n++] = (uint8_t)(bits >> (n_bits -= 8));
    }
    return n;
}

/* The reference's ranks: a line for each piece, its bytes in base64 and its number. */
static void read_ranks(const char *file, uint32_t n_vocab, struct num_bpe *ret) {
    char path[512], line[512];
    snprintf(path, sizeof path, "%s/data/tokenizer/%s", SHARED_DIR, file);
    FILE *f = fopen(path, "r");
    if (!f)
        SKIP("%s is not there", path);
    struct num_bpe_token *pieces = calloc(n_vocab, sizeof *pieces);
    uint8_t *bytes = malloc(1 << 20), *at = bytes;
    size_t n = 0;
    for (; fgets(line, sizeof line, f); n++) {
        pieces[n] = (struct num_bpe_token){at, base64_decode(line, at), false};
        at += pieces[n].len;
    }
    fclose(f);
    CHECK_INT(wh_published_bpe(pieces, n, n_vocab, file, ret, NULL), 0);
    free(pieces);
    free(bytes);
}

static void check_suppressed(const char *file, uint32_t n_vocab, const int32_t *list,
                             size_t n_list) {
    struct num_bpe bpe;
    read_ranks(file, n_vocab, &bpe);
    struct wh_rules rules = {.eot = num_bpe_special(&bpe, "<|endoftext|>")};
    int32_t *lists;
    CHECK_INT(wh_published_suppress(&bpe, &rules, &lists, NULL), 0);
    check_list(rules.suppress, rules.n_suppress, list, n_list);
    const int32_t begin[] = {220, rules.eot};
    check_list(rules.begin_suppress, rules.n_begin_suppress, begin, 2);
    free(lists);
    num_bpe_finish(&bpe);
}

TEST(suppressed_tokens_are_those_of_the_reference) {
    check_suppressed("multilingual.tiktoken", WH_VOCAB_MULTILINGUAL, suppressed,
                     sizeof suppressed / sizeof *suppressed);
    check_suppressed("gpt2.tiktoken", WH_VOCAB_ENGLISH, suppressed_en,
                     sizeof suppressed_en / sizeof *suppressed_en);
}

/* A header and a vocabulary of real models, which hold no tensors; with random ones behind. */
static void real_header(const char *file, const int32_t *hello, bool english) {
    char path[512];
    struct num_err err = {0};
    struct wh_model m;
    struct wh_limits limits = {1, 1, 1};
    snprintf(path, sizeof path, "%s/data/models/whisper-random/%s", SHARED_DIR, file);
    FILE *f = fopen(path, "rb");
    if (!f)
        SKIP("%s is not there", path);
    char *head = malloc(1 << 20);
    size_t len = fread(head, 1, 1 << 20, f);
    fclose(f);
    CHECK_INT(wh_model_load(path, &wh_backend_cpu, &limits, &m, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, "holds no tensors");
    make_test_folder(folder);
    struct wh_dims dims = made_dims(80, 384, english ? WH_VOCAB_ENGLISH : WH_VOCAB_MULTILINGUAL, 4);
    dims.n_audio_layers = 4;
    dims.n_audio_ctx = 1500;
    dims.n_text_ctx = 448;
    dims.n_audio_heads = dims.n_text_heads = 6;
    struct made *w = made_create(&dims, NUM_WEIGHT_Q5_0, 3);
    made_write_ggml_tensors(w, in("m.bin"), head, len);
    made_free(w);
    free(head);
    open_path(in("m.bin"), &m);
    CHECK(m.dims.n_audio_ctx == 1500 && m.dims.n_text_ctx == 448 && m.dims.n_state == 384);
    CHECK(m.dims.n_text_heads == 6 && m.dims.n_text_layers == 4 && m.dims.english_only == english);
    CHECK_INT(m.rules.timestamp_begin, english ? 50363 : 50364);
    CHECK_INT(m.dims.n_alignment_heads, english ? 8 : 6);
    char *text;
    CHECK_INT(num_bpe_decode(&m.bpe, hello, 2, &text, &err), 0);
    CHECK_STR(text, "Hello world");
    free(text);
    wh_model_finish(&m);
    remove_test_files(folder);
}

TEST(real_multilingual_header) {
    const int32_t hello[] = {15947, 1002};
    real_header("for-tests-ggml-tiny.bin", hello, false);
}

TEST(real_english_header) {
    const int32_t hello[] = {15496, 995};
    real_header("for-tests-ggml-tiny.en.bin", hello, true);
}

TEST(other_models_in_the_same_container) {
    static const char *const files[] = {"whisper-random/for-tests-ggml-parakeet-tdt.bin",
                                        "whisper-random/for-tests-ggml-parakeet-tdt-bad-nfft0.bin",
                                        "silero/for-tests-silero-v6.2.0-ggml.bin"};
    for (int i = 0; i < 3; i++) {
        char path[512];
        struct num_err err = {0};
        struct wh_model m;
        struct wh_limits limits = {1, 1, 1};
        snprintf(path, sizeof path, "%s/data/models/%s", SHARED_DIR, files[i]);
        if (access(path, R_OK) != 0)
            SKIP("%s is not there", path);
        CHECK_INT(wh_model_load(path, &wh_backend_cpu, &limits, &m, &err), SLUICE_INPUT);
        CHECK_HAS(err.text, "is not a Whisper model");
    }
}

TEST_MAIN()
