/*
 * A model of somebody else's with its real weights: stories260K of llama2.c, converted by
 * tools/convert to GGUF and to a Hugging Face folder, writes the text that its authors publish,
 * byte for byte.
 */
#include "unit/test.h"

#include "llm/generate.h"

#define STORIES SHARED_DIR "/data/models/stories260K"
#define STEPS   200

struct answer {
    const struct lm_model *model;
    char text[4096];
};

/* The answer is the whole text: decoded as one, without the blank that SentencePiece has in
 * front. */
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
static void generate(const char *path, enum lm_compute compute, struct answer *ret) {
    struct num_pool *pool = NULL;
    struct lm_model *model = NULL;
    struct lm_engine *engine = NULL;
    struct num_err err = {0};
    const struct lm_limits limits = {.n_requests = 1};
    int32_t bos = 1;
    struct lm_request request = {
        .prompt = &bos, .n_prompt = 1, .max_tokens = STEPS, .ctx = ret, .done = on_done};
    if (num_pool_create(1, &pool, &err) || lm_model_load(path, compute, pool, 0, &model, &err))
        TEST_FAIL("%s: %s", path, err.text);
    ret->model = model;
    if (lm_engine_create(model, &limits, &engine, &err) || lm_engine_run(engine, &request, &err))
        TEST_FAIL("%s: %s", path, err.text);
    lm_engine_destroy(engine);
    lm_model_free(model);
    num_pool_destroy(pool);
}

/* The published text; skips where it is absent. */
static void read_expected(char want[4096]) {
    FILE *f = fopen(STORIES "/expected.txt", "rb");
    if (!f)
        SKIP("%s is absent", STORIES);
    size_t len = fread(want, 1, 4095, f);
    fclose(f);
    want[len] = '\0';
    CHECK(len > 400);
}

/* Converts the model to `output`, a file or a folder, and lets it write. */
static void write_story(const char *output, enum lm_compute compute, struct answer *ret) {
    char folder[TEST_PATH], command[1024], path[256];
    make_test_folder(folder);
    snprintf(path, sizeof path, "%s/%s", folder, output);
    snprintf(command, sizeof command,
             "python3 '%s/tools/convert' '%s/stories260K.bin' '%s/tok512.bin' -o '%s'", SOURCE_DIR,
             STORIES, STORIES, path);
    CHECK_INT(system(command), 0);
    generate(path, compute, ret);
    remove_test_files(folder);
}

TEST(the_published_story_from_gguf) {
    char want[4096];
    struct answer got = {0};
    read_expected(want);
    write_story("stories.gguf", LM_F32, &got);
    CHECK_STR(got.text, want);
}

TEST(the_published_story_from_a_hugging_face_folder) {
    char want[4096];
    struct answer got = {0};
    read_expected(want);
    write_story("stories", LM_F32, &got);
    CHECK_STR(got.text, want);
}

/* Roundings add up: the story goes another way somewhere. */
TEST(the_beginning_in_bfloat16) {
    char want[4096];
    struct answer got = {0};
    size_t same = 0;
    read_expected(want);
    write_story("stories.gguf", LM_BF16, &got);
    while (want[same] && got.text[same] == want[same])
        same++;
    printf("  the first %zu of %zu bytes are the same\n", same, strlen(want));
    CHECK(same > 20);
}

TEST_MAIN()
