/* The stages with a model on this machine, and the parameters that are theirs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "llm/card.h"
#include "llm/session_engine.h"
#include "llm/stage_model.h"
#include "num/files.h"
#include "num/resolve.h"

static const char *const computes[] = {"auto", "f32", "bf16", "int8", NULL};

/* The model that comes along, for the stages that it was trained for. */
#define OURS "scribe-synth"
#define MODEL_DOC                                                                                  \
    "A language model: the path of a GGUF file or of a Hugging Face folder, or the name of an "    \
    "installed one"

static LM_PARAM(param_model, "model", .kind = SLUICE_PARAM_STRING, .flags = SLUICE_PARAM_REQUIRED,
                .doc = MODEL_DOC ".");
static LM_PARAM(param_model_ours, "model", .kind = SLUICE_PARAM_STRING, .default_value = OURS,
                .doc = MODEL_DOC "; " OURS " comes along, is for trying out and understands the "
                                 "sentences of a grammar only.");
static LM_PARAM(param_compute, "compute", .kind = SLUICE_PARAM_STRING, .default_value = "auto",
                .choices = computes,
                .doc = "What to calculate with: f32 is exact; bf16 and int8 are faster; auto is "
                       "bf16 where the processor multiplies it or the file is quantised, else "
                       "f32; on a card it is bf16, and there is no int8.");
static LM_PARAM(param_top_k, "top_k", .kind = SLUICE_PARAM_INT, .default_value = "0",
                LM_RANGE(0, 1000000),
                .doc = "Sample among so many of the likeliest tokens; 0: all.");
static LM_PARAM(param_min_p, "min_p", .kind = SLUICE_PARAM_FLOAT, .default_value = "0",
                LM_RANGE(0, 1),
                .doc = "Leave out tokens below this part of the likeliest one's probability.");
static LM_PARAM(param_repetition_penalty, "repetition_penalty", .kind = SLUICE_PARAM_FLOAT,
                .default_value = "1", LM_RANGE(0.01, 100),
                .doc = "Above 1, tokens that were there already become less likely.");

/* ---- The backend ---------------------------------------------------------------------------- */

static int32_t read_sampling(const struct sluice_host *host, struct lm_ask *ask) {
    struct lm_sampling *how = &ask->sampling;
    int64_t tokens = 0, top_k = 0, seed = 0;
    int32_t status = host->param_int(host, "max_tokens", &tokens);
    if (status == SLUICE_OK)
        status = host->param_int(host, "top_k", &top_k);
    if (status == SLUICE_OK)
        status = host->param_int(host, "seed", &seed);
    if (status == SLUICE_OK)
        status = lm_stage_float(host, "temperature", &how->temperature);
    if (status == SLUICE_OK)
        status = lm_stage_float(host, "top_p", &how->top_p);
    if (status == SLUICE_OK)
        status = lm_stage_float(host, "min_p", &how->min_p);
    if (status == SLUICE_OK)
        status = lm_stage_float(host, "repetition_penalty", &how->repetition_penalty);
    ask->max_tokens = (uint32_t)tokens;
    how->top_k = (uint32_t)top_k;
    how->seed = (uint64_t)seed;
    if (status != SLUICE_OK)
        host->error(host, "the host does not know the parameters of sampling");
    return status;
}

static enum lm_compute compute_of(const char *name) {
    for (int i = 0; computes[i]; i++)
        if (strcmp(computes[i], name) == 0)
            return (enum lm_compute)i;
    return LM_AUTO;
}

static int32_t read_options(const struct sluice_host *host, struct lm_session_options *o) {
    const char *compute = NULL;
    int64_t context = 0, batch = 0;
    int32_t thoughts = 0, status = host->param_string(host, "model", &o->model);
    if (status == SLUICE_OK)
        status = host->param_string(host, "compute", &compute);
    if (status == SLUICE_OK)
        status = host->param_int(host, "context", &context);
    if (status == SLUICE_OK)
        status = host->param_int(host, "batch_size", &batch);
    if (status == SLUICE_OK)
        status = host->param_bool(host, "thoughts", &thoughts);
    if (status != SLUICE_OK) {
        host->error(host, "the host does not know the parameters of a model");
        return status;
    }
    o->compute = compute_of(compute);
    o->context = (uint32_t)context;
    o->parallel = (uint32_t)batch;
    o->thoughts = thoughts != 0;
    return SLUICE_OK;
}

/* A card that has failed for this process fails every job to come. The process ends, which counts
 * as a crash of its jobs, so that they are tried again in a fresh one. */
static void on_lost(void *ctx) {
    const struct sluice_host *host = ctx;
    host->log(host, SLUICE_LOG_ERROR,
              "the card has failed and cannot be used by this process any more: it ends, so that "
              "another one can try");
    _exit(EXIT_FAILURE);
}

/* The card that the host's device asks for. */
static int32_t choose_card(const struct sluice_host *host, struct lm_session_options *o,
                           struct num_err *err) {
    const struct sluice_budget *budget = host->budget(host);
    if (budget->device != SLUICE_DEVICE_CUDA)
        return SLUICE_OK;
#ifdef SLUICE_HAVE_CUDA
    (void)err;
    o->card = &lm_card_cuda;
    o->device = budget->device_index;
    o->memory = budget->gpu_memory;
    o->lost = on_lost;
    o->ctx = (void *)(uintptr_t)host;
    return SLUICE_OK;
#else
    (void)o;
    (void)on_lost;
    return st_fail_cuda(err);
#endif
}

static void log_card(const struct sluice_host *host, const struct lm_session *session) {
    struct lm_card_info info = {0};
    char text[160];
    if (!lm_session_card(session, &info))
        return;
    snprintf(text, sizeof text, "runs on %.63s, with weights of %.2f GiB", info.name,
             (double)info.bytes / (1 << 30));
    host->log(host, SLUICE_LOG_INFO, text);
}

static int32_t open_model(const struct sluice_host *host, struct lm_session **ret) {
    const struct sluice_budget *budget = host->budget(host);
    struct lm_session_options options = {.n_threads = budget->cpus, .memory = budget->memory};
    struct num_err err = {0};
    char room[NUM_MODEL_PATH];
    int32_t status = read_options(host, &options);
    if (status != SLUICE_OK)
        return status;
    const char *name = options.model;
    status = choose_card(host, &options, &err);
    if (status == SLUICE_OK)
        status = num_model_find(name, host->share_dir(host), room, &options.model, &err);
    status = status == SLUICE_OK ? lm_session_open(&options, ret, &err)
                                 : num_fail_in(&err, "model \"%.100s\"", name);
    if (status != SLUICE_OK) {
        host->error(host, err.text);
        return status;
    }
    log_card(host, *ret);
    if (strcmp(name, OURS) == 0)
        host->log(host, SLUICE_LOG_WARN,
                  "model " OURS
                  " is for trying out: it understands the sentences of a grammar only; "
                  "name another for real recordings");
    return SLUICE_OK;
}

static const struct lm_backend own = {open_model, read_sampling};

/* ---- The stages ----------------------------------------------------------------------------- */

#define OF_MODEL &param_compute, &lm_param_context, &lm_param_batch_size, &lm_param_thoughts, NULL
#define OF_SAMPLING                                                                                \
    &lm_param_max_tokens, &lm_param_temperature, &param_top_k, &lm_param_top_p, &param_min_p,      \
        &param_repetition_penalty, &lm_param_seed
#ifdef SLUICE_HAVE_CUDA
#define STAGE_FLAGS (SLUICE_STAGE_DETERMINISTIC | SLUICE_STAGE_CUDA)
#else
#define STAGE_FLAGS SLUICE_STAGE_DETERMINISTIC
#endif
#define COMMON                                                                                     \
    .size = SLUICE_SIZED(struct sluice_stage), .flags = STAGE_FLAGS,                               \
    .inputs = (const struct sluice_port *const[]){&lm_port_transcript, NULL},                      \
    .process = lm_stage_process, .max_jobs = LM_MAX_REQUESTS

static int32_t create_generate(const struct sluice_host *host, void **ret_self) {
    return lm_generate_create(host, &own, ret_self);
}

const struct sluice_stage lm_generate_stage = {
    COMMON,
    .id = "llm/generate",
    .version = "2",
    .summary = "Asks a language model anything about a transcript.",
    .outputs = (const struct sluice_port *const[]){&lm_port_answer, NULL},
    .params = (const struct sluice_param *const[]){&param_model, &lm_param_prompt_generate,
                                                   &lm_param_system, &lm_param_stop,
                                                   &lm_param_grammar, OF_SAMPLING, OF_MODEL},
    .create = create_generate,
    .destroy = lm_generate_destroy};

static int32_t create_summarize(const struct sluice_host *host, void **ret_self) {
    return lm_summarize_create(host, &own, ret_self);
}

const struct sluice_stage lm_summarize_stage = {
    COMMON,
    .id = "llm/summarize",
    .version = "2",
    .summary = "Summarises a transcript of any length with a language model.",
    .outputs = (const struct sluice_port *const[]){&lm_port_summary, NULL},
    .params = (const struct sluice_param *const[]){&param_model_ours, &lm_param_prompt_digest,
                                                   OF_SAMPLING, OF_MODEL},
    .create = create_summarize,
    .destroy = lm_digest_destroy};

static int32_t create_extract(const struct sluice_host *host, void **ret_self) {
    return lm_extract_create(host, &own, ret_self);
}

const struct sluice_stage lm_extract_stage = {
    COMMON,
    .id = "llm/extract",
    .version = "2",
    .summary = "Extracts facts from a transcript as JSON of a schema, with a language model.",
    .outputs = (const struct sluice_port *const[]){&lm_port_json, NULL},
    .params = (const struct sluice_param *const[]){&param_model_ours, &lm_param_prompt_digest,
                                                   &lm_param_schema, OF_SAMPLING, OF_MODEL},
    .create = create_extract,
    .destroy = lm_digest_destroy};

static int32_t create_punctuate(const struct sluice_host *host, void **ret_self) {
    return lm_punctuate_create(host, &own, ret_self);
}

const struct sluice_stage lm_punctuate_stage = {
    COMMON,
    .id = "llm/punctuate",
    .version = "2",
    .summary = "Restores punctuation and case with a language model, without changing a word.",
    .outputs = (const struct sluice_port *const[]){&lm_port_punctuated, NULL},
    .params = (const struct sluice_param *const[]){&param_model_ours, &lm_param_prompt_punctuate,
                                                   &lm_param_window, OF_MODEL},
    .create = create_punctuate,
    .destroy = lm_rewrite_destroy};

static int32_t create_translate(const struct sluice_host *host, void **ret_self) {
    return lm_translate_create(host, &own, ret_self);
}

const struct sluice_stage lm_translate_stage = {
    COMMON,
    .id = "llm/translate",
    .version = "1",
    .summary = "Translates the segments of a transcript with a language model.",
    .outputs = (const struct sluice_port *const[]){&lm_port_translated, NULL},
    .params =
        (const struct sluice_param *const[]){&param_model, &lm_param_to, &lm_param_prompt_translate,
                                             &lm_param_window, OF_MODEL},
    .create = create_translate,
    .destroy = lm_rewrite_destroy};
