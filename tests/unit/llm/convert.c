/*
 * A model of somebody else's with its real weights: stories260K of llama2.c, converted by tools/convert
 * to GGUF and to a Hugging Face folder, writes the text that its authors publish, byte for byte.
 */
#include "unit/test.h"

#include "llm/generate.h"

#define STORIES SHARED_DIR "/data/models/stories260K"
#define STEPS   200

struct answer {
    const struct lm_model *model;
    char text[4096];
};

/* The answer is the whole text: decoded as one, without the blank that SentencePiece has in front. */
static void on_done(void *ctx, const struct lm_result *result) {
    struct answer *a = ctx;
    char *text = NULL;
    struct num_err err;
    CHECK_INT(lm_tokenizer_decode(lm_model_tokenizer(a->model), result->tokens, result->n_tokens,
                                  false, &text, &err),
              SLUICE_OK);
    snprintf(a->text, sizeof a->text, "%s", text);
    free(text);
}

/* What the model writes behind BOS, 200 tokens, greedily. */
static void generate(const char *path, struct answer *ret) {
    struct num_pool *pool = NULL;
    struct lm_model *model = NULL;
    struct lm_engine *engine = NULL;
    struct num_err err = {0};
    const struct lm_limits limits = {.n_requests = 1};
    int32_t bos = 1;
    struct lm_request request = {
        .prompt = &bos, .n_prompt = 1, .max_tokens = STEPS, .ctx = ret, .done = on_done};
    if (num_pool_create(1, &pool, &err) || lm_model_load(path, LM_F32, pool, 0, &model, &err))
        TEST_FAIL("%s: %s", path, err.text);
    ret->model = model;
    if (lm_engine_create(model, &limits, &engine, &err) || lm_engine_run(engine, &request, &err))
        TEST_FAIL("%s: %s", path, err.text);
    lm_engine_destroy(engine);
    lm_model_free(model);
    num_pool_destroy(pool);
}

static void check(const char *output) {
    char folder[] = "/tmp/sluice-test-XXXXXX", command[1024], path[256], want[4096];
    FILE *f = fopen(STORIES "/expected.txt", "rb");
    struct answer got = {0};
    if (!f)
        SKIP("%s is absent", STORIES);
    size_t len = fread(want, 1, sizeof want - 1, f);
    fclose(f);
    want[len] = '\0';
    CHECK(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/%s", folder, output);
    snprintf(command, sizeof command,
             "python3 '%s/tools/convert' '%s/stories260K.bin' '%s/tok512.bin' -o '%s'", SOURCE_DIR,
             STORIES, STORIES, path);
    CHECK_INT(system(command), 0);
    generate(path, &got);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    CHECK_INT(system(command), 0);
    CHECK(len > 400);
    CHECK_STR(got.text, want);
}

TEST(gguf) {
    check("stories.gguf");
}

TEST(hugging_face) {
    check("stories");
}

TEST_MAIN()
