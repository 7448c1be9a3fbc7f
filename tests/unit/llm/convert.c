/*
 * Hugging Face folders converted to GGUF by tools/convert, and back: the same logits and tokens,
 * for every family and every way to scale positions that GGUF files can say.
 */
#include "unit/llm/case.h"

#include "llm/model.h"

#define STORIES SHARED_DIR "/data/models/stories260K"

/* Runs tools/convert; its exit status, and what it says in `said`. */
static int convert(const char *arguments, char said[512]) {
    char command[1024];
    snprintf(command, sizeof command, "python3 '%s/tools/convert' %s 2>&1", SOURCE_DIR, arguments);
    FILE *f = popen(command, "r");
    CHECK(f != NULL);
    said[fread(said, 1, 511, f)] = '\0';
    return pclose(f);
}

static void ask(const struct lm_model *model, const json_t *one, struct answer *ret) {
    int32_t prompt[CASE_MAX_TOKENS];
    size_t n = case_tokens(one, "prompt", prompt);
    struct lm_request request = case_request(prompt, n, 16, ret);
    struct lm_engine *engine = case_engine(model, 1, (uint32_t)n + 64, LM_KV_AUTO);
    case_run(engine, &request);
    lm_engine_destroy(engine);
}

static struct lm_model *load(const char *path, struct num_pool *pool) {
    struct lm_model *model = NULL;
    struct num_err err = {0};
    if (lm_model_load(path, LM_F32, pool, 0, &model, &err))
        TEST_FAIL("%s: %s", path, err.text);
    return model;
}

/* Largest difference of the first logits; fails where tokens differ. */
static float compare(const struct lm_model *a, const struct lm_model *b, const json_t *one) {
    size_t n = lm_model_config(a)->n_vocab;
    float first[n], second[n], worst = 0;
    struct answer x = {.first_logits = first, .n_vocab = n};
    struct answer y = {.first_logits = second, .n_vocab = n};
    CHECK_INT(lm_model_config(b)->n_vocab, n);
    ask(a, one, &x);
    ask(b, one, &y);
    CHECK_INT(x.n, y.n);
    CHECK(memcmp(x.tokens, y.tokens, x.n * sizeof *x.tokens) == 0);
    for (size_t i = 0; i < n; i++)
        worst = fmaxf(worst, fabsf(first[i] - second[i]));
    return worst;
}

static void check_case(const json_t *one, struct num_pool *pool) {
    char folder[TEST_PATH], command[200], path[64], said[512];
    const char *name = json_string_value(json_object_get(one, "name"));
    bool refused = strstr(name, "dynamic") || strstr(name, "qwen2-windows");
    make_test_folder(folder);
    lm_made_folder(json_object_get(one, "config"),
                   lm_made_type(json_string_value(json_object_get(one, "type"))),
                   strcmp(name, "llama2") == 0 ? 2 : 1, folder);
    snprintf(path, sizeof path, "%s/model.gguf", folder);
    snprintf(command, sizeof command, "%s -o %s", folder, path);
    int status = convert(command, said);
    if (refused) {
        CHECK(status != 0);
        CHECK_HAS(said, strstr(name, "dynamic") ? "dynamic" : "windows");
    } else {
        if (status)
            TEST_FAIL("%s: %s", name, said);
        struct lm_model *a = load(folder, pool), *b = load(path, pool);
        float worst = compare(a, b, one);
        printf("  %-18s logits within %.1e\n", name, worst);
        CHECK(worst < 1e-5f); /* angles of scaled positions are rounded elsewhere */
        lm_model_free(b);
        snprintf(command, sizeof command, "%s -o %s/back", path, folder);
        if (convert(command, said))
            TEST_FAIL("%s, back: %s", name, said);
        snprintf(path, sizeof path, "%s/back", folder);
        b = load(path, pool);
        CHECK(compare(a, b, one) < 1e-5f);
        lm_model_free(a);
        lm_model_free(b);
    }
    remove_test_files(folder);
}

TEST(folders_and_files_give_the_same) {
    json_t *all = cases_load();
    struct num_pool *pool = case_pool(2);
    const json_t *one;
    size_t i, n = 0;
    json_array_foreach(all, i, one) {
        const char *name = json_string_value(json_object_get(one, "name"));
        if (strcmp(json_string_value(json_object_get(one, "format")), "hf") != 0 ||
            strstr(name, "long"))
            continue;
        check_case(one, pool);
        n++;
    }
    CHECK(n >= 10);
    num_pool_destroy(pool);
    json_decref(all);
}

/* Rounded to 8 bits, the file is smaller and its logits are near. */
TEST(types_of_weights) {
    static const struct {
        const char *type;
        float bound;
    } cases[] = {{"f16", 0.02f}, {"bf16", 0.1f}, {"q8_0", 0.2f}};
    json_t *all = cases_load();
    const json_t *one = case_named(all, "llama2");
    struct num_pool *pool = case_pool(1);
    char folder[TEST_PATH], arguments[200], path[64], said[512];
    make_test_folder(folder);
    lm_made_folder(json_object_get(one, "config"), NUM_WEIGHT_F32, 1, folder);
    snprintf(path, sizeof path, "%s/model.gguf", folder);
    struct lm_model *exact = load(folder, pool);
    size_t n = lm_model_config(exact)->n_vocab;
    float want[n], got[n];
    struct answer a = {.first_logits = want, .n_vocab = n};
    ask(exact, one, &a);
    for (size_t i = 0; i < 3; i++) {
        float worst = 0;
        snprintf(arguments, sizeof arguments, "%s -o %s --type %s", folder, path, cases[i].type);
        if (convert(arguments, said))
            TEST_FAIL("%s", said);
        struct lm_model *model = load(path, pool);
        struct answer b = {.first_logits = got, .n_vocab = n};
        ask(model, one, &b);
        for (size_t k = 0; k < n; k++)
            worst = fmaxf(worst, fabsf(want[k] - got[k]));
        printf("  %s: logits within %.4f\n", cases[i].type, worst);
        CHECK(worst > 0 && worst < cases[i].bound);
        lm_model_free(model);
    }
    lm_model_free(exact);
    remove_test_files(folder);
    num_pool_destroy(pool);
    json_decref(all);
}

static void check_tokens(const struct lm_model *a, const struct lm_model *b, const char *text) {
    int32_t *x, *y;
    size_t n, n_y, len = strlen(text);
    struct num_err err;
    CHECK_INT(lm_tokenizer_encode(lm_model_tokenizer(a), text, len, LM_ENCODE_BOS, &x, &n, &err),
              SLUICE_OK);
    CHECK_INT(lm_tokenizer_encode(lm_model_tokenizer(b), text, len, LM_ENCODE_BOS, &y, &n_y, &err),
              SLUICE_OK);
    CHECK_INT(n, n_y);
    CHECK(memcmp(x, y, n * sizeof *x) == 0);
    free(x);
    free(y);
}

/* SentencePiece's tokens from the list of merges: texts are cut as the folder's tokenizer cuts
 * them. */
TEST(tokens_of_a_real_vocabulary) {
    static const char *const texts[] = {"Once upon a time, there was a little girl named Lily.", "",
                                        "  two  blanks ", "h\u00e9llo \u4f60\u597d \U0001F600",
                                        "a\nb\t3.14"};
    char folder[TEST_PATH], arguments[400], path[3][64], said[512];
    struct num_pool *pool = case_pool(1);
    if (access(STORIES "/stories260K.bin", R_OK))
        SKIP("%s is absent", STORIES);
    make_test_folder(folder);
    snprintf(path[0], sizeof path[0], "%s/hf", folder);
    snprintf(path[1], sizeof path[1], "%s/model.gguf", folder);
    snprintf(arguments, sizeof arguments, "'%s/stories260K.bin' '%s/tok512.bin' -o %s", STORIES,
             STORIES, path[0]);
    CHECK_INT(convert(arguments, said), 0);
    snprintf(arguments, sizeof arguments, "%s -o %s", path[0], path[1]);
    if (convert(arguments, said))
        TEST_FAIL("%s", said);
    snprintf(path[2], sizeof path[2], "%s/back", folder);
    snprintf(arguments, sizeof arguments, "%s -o %s", path[1], path[2]);
    if (convert(arguments, said))
        TEST_FAIL("%s", said);
    struct lm_model *models[3];
    for (int i = 0; i < 3; i++)
        models[i] = load(path[i], pool);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        for (int other = 1; other < 3; other++)
            check_tokens(models[0], models[other], texts[i]);
    for (int i = 0; i < 3; i++)
        lm_model_free(models[i]);
    num_pool_destroy(pool);
    remove_test_files(folder);
}

TEST(what_cannot_be_converted_is_said) {
    char said[512];
    CHECK(convert("/nowhere -o x.gguf", said) != 0);
    CHECK_HAS(said, "is no folder");
    CHECK(convert("/tmp -o x", said) != 0);
    CHECK_HAS(said, "becomes a GGUF file");
    CHECK(convert("/tmp -o x.gguf", said) != 0);
    CHECK_HAS(said, "config.json");
}

TEST_MAIN()
