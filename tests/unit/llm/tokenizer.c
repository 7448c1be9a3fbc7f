/*
 * Tokenizers beside the reference (tools/reference/llm_tokenizers.py compares 10,000 texts; here
 * are 60 for each family, and the published texts of two vocabularies).
 */
#include "unit/hex.h"

#include <jansson.h>

#include "llm/charsmap.h"
#include "llm/tokenizer_files.h"
#include "num/files.h"

#define VOCABULARIES SHARED_DIR "/data/models/ggml-vocab/"

static int32_t *encode(const struct lm_tokenizer *t, const char *text, size_t len, uint32_t flags,
                       size_t *ret_n) {
    int32_t *tokens;
    struct num_err err;
    if (lm_tokenizer_encode(t, text, len, flags, &tokens, ret_n, &err))
        TEST_FAIL("%s", err.text);
    return tokens;
}

static struct lm_tokenizer *parse(const char *text, size_t len) {
    struct lm_tokenizer *t;
    struct num_err err;
    if (lm_tokenizer_parse(text, len, NULL, 0, "made", &t, &err))
        TEST_FAIL("%s", err.text);
    return t;
}

static struct lm_tokenizer *of_gguf(const char *hex) {
    void *bytes = malloc(strlen(hex) / 2);
    struct lm_tokenizer *t;
    struct lm_gguf g;
    struct num_err err;
    size_t len = unhex(hex, bytes);
    if (lm_gguf_parse(bytes, len, "made", &g, &err) || lm_tokenizer_of_gguf(&g, &t, &err))
        TEST_FAIL("%s", err.text);
    lm_gguf_finish(&g);
    free(bytes);
    return t;
}

TEST(every_family_cuts_as_the_reference_does) {
    json_error_t why;
    json_t *all = json_load_file(TESTS_DIR "/data/expected/llm_tokenizers.json", 0, &why);
    const json_t *one, *sample;
    size_t i, j;
    CHECK(all != NULL);
    json_array_foreach(all, i, one) {
        const char *name = json_string_value(json_object_get(one, "name"));
        const char *gguf = json_string_value(json_object_get(one, "gguf"));
        char *text = json_dumps(json_object_get(one, "tokenizer"), 0), bytes[4096];
        struct lm_tokenizer *t = gguf ? of_gguf(gguf) : parse(text, strlen(text));
        uint32_t flags = (uint32_t)json_integer_value(json_object_get(one, "flags"));
        json_array_foreach(json_object_get(one, "samples"), j, sample) {
            size_t len = unhex(json_string_value(json_array_get(sample, 0)), bytes), n;
            const json_t *want = json_array_get(sample, 1);
            int32_t *tokens = encode(t, bytes, len, flags, &n);
            if (n != json_array_size(want))
                TEST_FAIL("%s, text %zu: %zu tokens, not %zu", name, j, n, json_array_size(want));
            for (size_t k = 0; k < n; k++)
                CHECK_INT(tokens[k], json_integer_value(json_array_get(want, k)));
            free(tokens);
        }
        printf("  %s: %zu texts\n", name, j);
        lm_tokenizer_destroy(t);
        free(text);
    }
    json_decref(all);
}

static struct lm_tokenizer *vocabulary(const char *name) {
    char path[512];
    void *map;
    size_t len;
    struct lm_gguf g;
    struct lm_tokenizer *t;
    struct num_err err;
    snprintf(path, sizeof path, VOCABULARIES "ggml-vocab-%s.gguf", name);
    if (access(path, R_OK) != 0)
        SKIP("%s is not there", path);
    CHECK_INT(num_file_map(path, &map, &len, &err), 0);
    CHECK_INT(lm_gguf_parse(map, len, path, &g, &err), 0);
    if (lm_tokenizer_of_gguf(&g, &t, &err))
        TEST_FAIL("%s", err.text);
    lm_gguf_finish(&g);
    num_file_unmap(map, len);
    return t;
}

/* Texts of a .inp file, each ended by a line of its own, and a line of tokens for each in .out. */
static void published(const char *name) {
    static const char end[] = "\n__ggml_vocab_test__\n";
    struct lm_tokenizer *t = vocabulary(name);
    char file[64], *texts, *lines;
    size_t len, n_texts = 0;
    struct num_err err;
    snprintf(file, sizeof file, "ggml-vocab-%s.gguf.inp", name);
    CHECK_INT(num_file_read(VOCABULARIES, file, false, "", &texts, &len, &err), 0);
    char *at = realloc(texts, len + 1);
    texts = at;
    texts[len] = '\0';
    snprintf(file, sizeof file, "ggml-vocab-%s.gguf.out", name);
    CHECK_INT(num_file_read(VOCABULARIES, file, false, "", &lines, &len, &err), 0);
    char *out = realloc(lines, len + 1), *line = out;
    out[len] = '\0';
    for (char *next; (next = strstr(at, end)) && *line; at = next + sizeof end - 1, n_texts++) {
        size_t n;
        int32_t *tokens = encode(t, at, (size_t)(next - at), 0, &n);
        char *line_end = strchr(line, '\n');
        CHECK(line_end != NULL);
        for (size_t i = 0; i < n; i++) {
            long want = strtol(line, &line, 10);
            if (tokens[i] != want)
                TEST_FAIL("%s, text %zu, token %zu: %d, not %ld", name, n_texts, i, tokens[i],
                          want);
        }
        CHECK(line <= line_end && strspn(line, " ") == (size_t)(line_end - line));
        line = line_end + 1;
        free(tokens);
    }
    printf("  %s: %zu texts\n", name, n_texts);
    CHECK(n_texts > 30);
    free(texts);
    free(out);
    lm_tokenizer_destroy(t);
}

TEST(gpt2_published_texts) {
    published("gpt-2");
}

TEST(llama_published_texts) {
    published("llama-spm");
}

/* ---- Tables of normalisation ----------------------------------------------------------------- */

/* A trie in which nothing is found, and strings. */
static size_t table(const char *strings, size_t n_strings, uint8_t *ret) {
    const uint32_t bytes = 16;
    memcpy(ret, &bytes, 4);
    memset(ret + 4, 0, bytes);
    memcpy(ret + 4 + bytes, strings, n_strings);
    return 4 + bytes + n_strings;
}

static void check_normal(const struct lm_charsmap *map, bool trims, bool prepend, const char *text,
                         const char *want) {
    const struct lm_charsmap_rules rules = {trims, prepend};
    num_autobuf out = {0};
    lm_charsmap_apply(map, rules, text, strlen(text), &out);
    CHECK_INT(out.len, strlen(want));
    CHECK(memcmp(num_buf_text(&out), want, out.len) == 0);
}

TEST(blanks_are_trimmed_as_sentencepiece_trims_them) {
    struct lm_charsmap none = {0};
    check_normal(&none, false, true, " a  b ", "\u2581\u2581a\u2581\u2581b\u2581");
    check_normal(&none, true, true, "  a   b  ", "\u2581a\u2581b");
    check_normal(&none, true, false, "  a", "a");
    check_normal(&none, true, true, "   ", "");
    check_normal(&none, false, true, "", "");
}

TEST(damaged_tables_are_refused) {
    static const char ends[] = "\0A";
    uint8_t bytes[1024];
    char strings[600];
    struct lm_charsmap map;
    struct num_err err;
    size_t n = table(ends, 3, bytes);
    CHECK_INT(lm_charsmap_parse(bytes, n, "made", &map, &err), 0);
    lm_charsmap_finish(&map);
    for (size_t len = 0; len < n; len++) /* cut short it has no strings, or their end is missing */
        if (len != n - 2)
            CHECK_INT(lm_charsmap_parse(bytes, len, "made", &map, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, "made: the table of normalisation");
    memset(strings, 'x', sizeof strings);
    strings[300] = '\0';
    n = table(strings, 301, bytes);
    CHECK_INT(lm_charsmap_parse(bytes, n, "made", &map, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, "a string of 300 bytes");
    n = table("\xff\0", 2, bytes);
    CHECK_INT(lm_charsmap_parse(bytes, n, "made", &map, &err), SLUICE_INPUT);
}

/* ---- Special tokens -------------------------------------------------------------------------- */

static const char small[] =
    "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"<\": 0, \"|\": 1, \"e\": 2, \"n\": 3, \"d\": 4,"
    " \">\": 5, \"a\": 6, \"en\": 7, \"\\u0120\": 8}, \"merges\": [[\"e\", \"n\"]]},"
    " \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": "
    "true},"
    " \"added_tokens\": [{\"id\": 9, \"content\": \"<|end|>\", \"special\": true},"
    " {\"id\": 10, \"content\": \"<|end|>a\", \"special\": true}]}";

static void check_tokens(const struct lm_tokenizer *t, const char *text, uint32_t flags,
                         const int32_t *want, size_t n_want) {
    size_t n;
    int32_t *tokens = encode(t, text, strlen(text), flags, &n);
    CHECK_INT(n, n_want);
    CHECK(memcmp(tokens, want, n * sizeof *want) == 0);
    free(tokens);
}

TEST(names_of_special_tokens_are_text_unless_asked_for) {
    struct lm_tokenizer *t = parse(small, strlen(small));
    const int32_t text[] = {6, 0, 1, 7, 4, 1, 5}, special[] = {6, 9}, longest[] = {10, 6};
    check_tokens(t, "a<|end|>", 0, text, 7);
    check_tokens(t, "a<|end|>", LM_ENCODE_SPECIAL, special, 2);
    check_tokens(t, "<|end|>aa", LM_ENCODE_SPECIAL, longest, 2);
    CHECK_INT(lm_tokenizer_find(t, "<|end|>"), 9);
    CHECK_INT(lm_tokenizer_find(t, "<|en"), -1);
    CHECK(lm_tokenizer_is_special(t, 9) && !lm_tokenizer_is_special(t, 7));
    lm_tokenizer_destroy(t);
}

TEST(decoding_leaves_special_tokens_out_unless_asked_for) {
    struct lm_tokenizer *t = parse(small, strlen(small));
    const int32_t tokens[] = {6, 8, 7, 9, 4, 999, -1};
    struct num_err err;
    char *text;
    CHECK_INT(lm_tokenizer_decode(t, tokens, 7, false, &text, &err), 0);
    CHECK_STR(text, "a end");
    free(text);
    CHECK_INT(lm_tokenizer_decode(t, tokens, 7, true, &text, &err), 0);
    CHECK_STR(text, "a en<|end|>d");
    free(text);
    lm_tokenizer_destroy(t);
}

TEST(steps_that_are_none_of_ours_are_refused_by_name) {
    static const char *const texts[][2] = {
        {"{\"normalizer\": {\"type\": \"Lowercase\"}}", "Lowercase"},
        {"{\"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}}", "BertPreTokenizer"},
        {"{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"\\\\d+\"},"
         " \"behavior\": \"Isolated\", \"invert\": false}}",
         "\\d+"},
        {"{\"model\": {\"type\": \"WordPiece\"}}", "WordPiece"},
        {"{\"model\": {\"type\": \"BPE\", \"end_of_word_suffix\": \"</w>\"}}",
         "end_of_word_suffix"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct lm_tokenizer *t;
        struct num_err err;
        CHECK_INT(lm_tokenizer_parse(texts[i][0], strlen(texts[i][0]), NULL, 0, "made", &t, &err),
                  SLUICE_UNSUPPORTED);
        if (!strstr(err.text, texts[i][1]))
            TEST_FAIL("%s: %s", texts[i][1], err.text);
    }
}

TEST(a_long_text_takes_its_time_only) {
    struct lm_tokenizer *t = parse(small, strlen(small));
    size_t len = 4u << 20, n;
    char *text = malloc(len);
    memset(text, 'e', len);
    for (size_t i = 0; i < len; i += 3)
        text[i] = 'n';
    int32_t *tokens = encode(t, text, len, 0, &n);
    CHECK_INT(n, len - len / 3); /* every n but the first joins the e before it */
    free(tokens);
    free(text);
    lm_tokenizer_destroy(t);
}

TEST_MAIN()
