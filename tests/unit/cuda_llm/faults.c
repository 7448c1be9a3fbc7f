/*
 * Language models on a card when something goes wrong: calls of the runtime from load to tokens
 * fail, one in each round; requests end with a sentence and nothing on the card is left behind. A
 * kernel that dies is told apart. What does not fit is refused with the numbers, and what kernels
 * do not take with what to do.
 */
#include "emu/emu.h"
#include "unit/llm/case.h"

#include "llm/card.h"

/* The model's file, which stays while the test runs. */
struct file {
    char folder[TEST_PATH], path[64];
};

static void file_make(struct file *f, const char *name) {
    json_t *all = cases_load();
    const json_t *one = case_named(all, name);
    make_test_folder(f->folder);
    snprintf(f->path, sizeof f->path, "%s/model.gguf", f->folder);
    lm_made_gguf(json_object_get(one, "config"),
                 lm_made_type(json_string_value(json_object_get(one, "type"))), NULL, f->path);
    json_decref(all);
}

static void on_done(void *ctx, const struct lm_result *r) {
    enum lm_end *end = ctx;
    *end = r->end;
    if (r->end == LM_END_FAILED)
        CHECK(r->err->status && r->err->text[0]);
}

static int32_t ask(struct lm_engine *e, struct num_err *err) {
    static const int32_t prompt[] = {1, 2, 3, 4, 5};
    enum lm_end end = LM_END_CANCELLED;
    struct lm_request r = {
        .prompt = prompt, .n_prompt = 5, .max_tokens = 3, .ignore_eos = true, .ctx = &end};
    r.done = on_done;
    int32_t status = lm_engine_run(e, &r, err);
    CHECK(end == (status ? LM_END_FAILED : LM_END_LENGTH));
    return status;
}

static int32_t run(const struct file *f, struct num_err *err) {
    struct num_pool *pool = case_pool(1);
    struct lm_model *model = NULL;
    struct lm_engine *engine = NULL;
    struct lm_limits limits = {.n_requests = 2, .context = 64};
    int32_t status = lm_model_load_on(f->path, LM_AUTO, pool, 0, &lm_card_cuda, 0, &model, err);
    if (!status)
        status = lm_engine_create(model, &limits, &engine, err);
    if (!status)
        status = ask(engine, err);
    emu_fail_call(NULL, 0, cudaSuccess); /* what gives memory back does not fail */
    lm_engine_destroy(engine);
    lm_model_free(model);
    num_pool_destroy(pool);
    return status;
}

static bool succeeds(const struct file *f) {
    struct num_err err = {0};
    struct emu_counts before, after;
    emu_counts(&before);
    int32_t status = run(f, &err);
    emu_counts(&after);
    CHECK(after.n_live == before.n_live && after.bytes_used == before.bytes_used);
    CHECK(status == 0 || (status == err.status && err.text[0]));
    return status == 0;
}

TEST(calls_may_fail) {
    struct file f;
    size_t failed = 0;
    file_make(&f, "qwen2-Q8_0");
    CHECK(succeeds(&f));
    for (int call = 1;; call += 7, failed++) {
        emu_fail_call(NULL, call, cudaErrorMemoryAllocation);
        if (succeeds(&f))
            break;
    }
    CHECK(failed > 10);
    remove_test_files(f.folder);
}

TEST(a_kernel_that_dies_is_told_apart) {
    struct file f;
    struct num_err err = {0};
    struct num_pool *pool = case_pool(1);
    struct lm_model *model = NULL;
    struct lm_engine *e;
    struct lm_card_info info;
    file_make(&f, "qwen2-Q8_0");
    CHECK_INT(lm_model_load_on(f.path, LM_AUTO, pool, 0, &lm_card_cuda, 0, &model, &err), 0);
    e = case_engine(model, 1, 64, LM_KV_AUTO);
    CHECK_INT(ask(e, &err), 0);
    CHECK(lm_model_card(model, &info) && !info.lost && info.bytes == lm_model_bytes(model));
    emu_fail_kernel(5, cudaErrorIllegalAddress);
    CHECK_INT(ask(e, &err), SLUICE_INTERNAL);
    CHECK(strstr(err.text, "cannot be used by this process"));
    CHECK(lm_model_card(model, &info) && info.lost);
    CHECK_INT(ask(e, &err), SLUICE_INTERNAL);
    lm_engine_destroy(e);
    lm_model_free(model);
    num_pool_destroy(pool);
    remove_test_files(f.folder);
}

TEST(memory_is_flat) {
    struct file f;
    struct num_err err = {0};
    struct emu_counts before, after;
    struct num_pool *pool = case_pool(1);
    struct lm_model *model = NULL;
    file_make(&f, "qwen2-Q8_0");
    CHECK_INT(lm_model_load_on(f.path, LM_AUTO, pool, 0, &lm_card_cuda, 0, &model, &err), 0);
    struct lm_engine *e = case_engine(model, 2, 64, LM_KV_AUTO);
    CHECK_INT(ask(e, &err), 0);
    emu_counts(&before);
    for (int i = 0; i < 5; i++)
        CHECK_INT(ask(e, &err), 0);
    emu_counts(&after);
    CHECK(after.bytes_peak == before.bytes_peak && after.n_allocations == before.n_allocations);
    lm_engine_destroy(e);
    lm_model_free(model);
    num_pool_destroy(pool);
    remove_test_files(f.folder);
}

TEST(what_does_not_fit_is_refused) {
    struct file f;
    struct num_err err = {0};
    struct num_pool *pool = case_pool(1);
    struct lm_model *model = NULL;
    struct lm_limits limits = {.n_requests = 2, .context = 64};
    struct lm_plan plan;
    file_make(&f, "llama-F32");
    CHECK_INT(lm_model_load_on(f.path, LM_F32, pool, 1 << 20, &lm_card_cuda, 0, &model, &err),
              SLUICE_RESOURCE);
    CHECK(strstr(err.text, "where 1 MiB may be used") && strstr(err.text, "gpu_memory"));
    CHECK_INT(lm_model_load_on(f.path, LM_F32, pool, 4 << 20, &lm_card_cuda, 0, &model, &err), 0);
    CHECK_INT(lm_plan(model, &limits, &plan, &err), SLUICE_RESOURCE);
    CHECK(strstr(err.text, "4 MiB are too little") && strstr(err.text, "context of 64 tokens"));
    lm_model_free(model);
    CHECK_INT(lm_model_load_on(f.path, LM_F32, pool, 64 << 20, &lm_card_cuda, 0, &model, &err), 0);
    CHECK_INT(lm_plan(model, &limits, &plan, &err), 0);
    CHECK(plan.weight_bytes + plan.work_bytes + plan.kv_bytes <= 64 << 20);
    lm_model_free(model);
    model = NULL;
    CHECK_INT(lm_model_load_on(f.path, LM_INT8, pool, 0, &lm_card_cuda, 0, &model, &err),
              SLUICE_UNSUPPORTED);
    CHECK(strstr(err.text, "device: cpu") && model == NULL);
    num_pool_destroy(pool);
    remove_test_files(f.folder);
}

TEST_MAIN()
