/* The stage llm/extractive: glue between the host and extractive.h. */
#include <stdlib.h>

#include "llm/extractive.h"
#include "llm/stages.h"

struct stage {
    const struct sluice_host *host;
    struct lm_extractive_options options;
};

static int32_t read_options(const struct sluice_host *host, struct lm_extractive_options *ret) {
    int64_t sentences = 0, words = 0, shortest = 0;
    int32_t speakers = 0;
    int32_t status = host->param_int(host, "sentences", &sentences);
    if (status == SLUICE_OK)
        status = host->param_int(host, "max_words", &words);
    if (status == SLUICE_OK)
        status = host->param_int(host, "min_sentence_words", &shortest);
    if (status == SLUICE_OK)
        status = host->param_float(host, "max_similarity", &ret->max_similarity);
    if (status == SLUICE_OK)
        status = host->param_bool(host, "speakers", &speakers);
    ret->max_sentences = (uint32_t)sentences;
    ret->max_words = (uint32_t)words;
    ret->min_words = (uint32_t)shortest;
    ret->speakers = speakers != 0;
    if (status != SLUICE_OK)
        host->error(host, "the host does not know the parameters of llm/extractive");
    return status;
}

static int32_t create(const struct sluice_host *host, void **ret_self) {
    struct lm_extractive_options options = {0};
    int32_t status = read_options(host, &options);
    if (status != SLUICE_OK)
        return status;
    struct stage *self = calloc(1, sizeof *self);
    if (!self) {
        host->error(host, "out of memory");
        return SLUICE_RESOURCE;
    }
    *self = (struct stage){host, options};
    *ret_self = self;
    return SLUICE_OK;
}

static void destroy(void *self) {
    free(self);
}

/* With a heartbeat. */
static bool is_cancelled(void *ctx) {
    const struct st_job *w = ctx;
    w->host->progress(w->job, -1, NULL);
    return w->host->cancelled(w->job) != 0;
}

static int32_t process(void *instance, struct sluice_job *job) {
    const struct stage *self = instance;
    const struct sluice_host *host = self->host;
    struct st_job watched = {host, job};
    struct lm_extractive_options options = self->options;
    struct lm_extractive_report report = {0};
    struct sluice_view view;
    struct num_err err = {0};
    lm_autotranscript transcript = {0};
    num_autobuf out = {0};
    const struct num_watch watch = {&watched, is_cancelled, NULL};
    options.watch = &watch;
    int32_t status = st_input(host, job, "transcript", &view, &err);
    if (status == SLUICE_OK)
        status = lm_transcript_read(view.data, view.len, &watch, &transcript, &err);
    if (status == SLUICE_OK)
        status = lm_extract_summary(&transcript, &options, &out, &report, &err);
    if (status != SLUICE_OK)
        return st_end(host, job, status, &err);
    st_metric(host, job, "sentences", (double)report.n_sentences);
    st_metric(host, job, "sentences_taken", (double)report.n_taken);
    st_metric(host, job, "words_taken", report.n_words);
    status = st_commit(host, job, "text", num_buf_text(&out), out.len, &err);
    return st_end(host, job, status, &err);
}

static const struct sluice_port transcript_in = {
    SLUICE_SIZED(struct sluice_port), 0, "transcript", SLUICE_TYPE_TRANSCRIPT,
    "What was said; with speakers, a sentence never runs over a change of them."};
static const struct sluice_port text_out = {SLUICE_SIZED(struct sluice_port), 0, "text",
                                            SLUICE_TYPE_TEXT,
                                            "The chosen sentences in their order, one a line."};

#define DECLARE(id, ...)                                                                           \
    static const struct sluice_param param_##id = {                                                \
        .size = SLUICE_SIZED(struct sluice_param), .name = #id, __VA_ARGS__}
#define RANGE(low, high) .flags = SLUICE_PARAM_RANGED, .min = low, .max = high

DECLARE(sentences, .kind = SLUICE_PARAM_INT, .default_value = "5", RANGE(1, 1000),
        .unit = "sentences", .doc = "Most sentences of the summary.");
DECLARE(max_words, .kind = SLUICE_PARAM_INT, .default_value = "0", RANGE(0, 1000000),
        .unit = "words",
        .doc = "Most words of the summary, which has a sentence in any case; 0 is no limit.");
DECLARE(min_sentence_words, .kind = SLUICE_PARAM_INT, .default_value = "4", RANGE(1, 100),
        .unit = "words", .doc = "Shorter sentences are left out where there are longer ones.");
DECLARE(max_similarity, .kind = SLUICE_PARAM_FLOAT, .default_value = "0.6", RANGE(0, 1),
        .doc = "A sentence this similar to one that was taken, by the cosine of their words, is "
               "left out.");
DECLARE(speakers, .kind = SLUICE_PARAM_BOOL, .default_value = "true",
        .doc = "Put the speaker in front of each sentence, where the transcript has speakers.");

const struct sluice_stage lm_extractive_stage = {
    .size = SLUICE_SIZED(struct sluice_stage),
    .flags = SLUICE_STAGE_DETERMINISTIC,
    .id = "llm/extractive",
    .version = "1",
    .summary = "Summarises a transcript by its own most telling sentences, without a model.",
    .inputs = (const struct sluice_port *const[]){&transcript_in, NULL},
    .outputs = (const struct sluice_port *const[]){&text_out, NULL},
    .params = (const struct sluice_param *const[]){&param_sentences, &param_max_words,
                                                   &param_min_sentence_words, &param_max_similarity,
                                                   &param_speakers, NULL},
    .create = create,
    .process = process,
    .destroy = destroy};
