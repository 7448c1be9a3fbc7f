/*
 * The plugin `align`: glue between the host and the engines. One stage, align/words: the transcript
 * is read, one of the methods sets the times of its words, edges move to where the sound is, and the
 * transcript is written again.
 */
#include <stdlib.h>
#include <string.h>

#include <sluice/plugin.h>

#include "align/attention.h"
#include "align/energy.h"
#include "align/script.h"
#include "num/audio.h"

struct stage {
    const struct sluice_host *host;
    bool energy; /* edges move to where the sound is, */
    double drop; /* so many dB below a word's loudest part */
};

struct work {
    const struct stage *self;
    struct sluice_job *job;
    struct num_audio audio;
    struct al_script script;
    struct num_err err;
};

/* ---- Job ------------------------------------------------------------------------------------- */

static int32_t open_input(struct work *w, const char *port, struct sluice_view *ret) {
    *ret = (struct sluice_view){.size = SLUICE_SIZED(struct sluice_view)};
    int32_t status = w->self->host->input(w->job, port, ret);
    return status == SLUICE_OK ? status
                               : num_fail(&w->err, status, "the input `%s` cannot be read", port);
}

static bool is_cancelled(void *ctx) {
    const struct work *w = ctx;
    return w->self->host->cancelled(w->job) != 0;
}

static void tell_progress(void *ctx, double done) {
    const struct work *w = ctx;
    w->self->host->progress(w->job, done, "align");
}

static void set_metric(const struct work *w, const char *name, double value) {
    const struct sluice_host *host = w->self->host;
    const struct sluice_metrics *metrics = host->extension(host, SLUICE_EXT_METRICS);
    if (metrics)
        metrics->set(w->job, name, value);
}

static int32_t align_by_attention(struct work *w, const struct al_watch *watch) {
    struct sluice_view attention = {.size = SLUICE_SIZED(struct sluice_view)};
    struct al_attention_report report = {0};
    if (w->self->host->input(w->job, "attention", &attention) != SLUICE_OK)
        return num_fail(&w->err, SLUICE_INPUT,
                        "method attention needs the input `attention`: connect that of "
                        "whisper/transcribe, with word_timestamps: true and attention: true");
    int32_t status =
        al_attention_align(attention.data, attention.len, &w->script, watch, &report, &w->err);
    if (status)
        return status;
    set_metric(w, "words", (double)report.n_words);
    set_metric(w, "words_left", (double)report.n_others);
    return SLUICE_OK;
}

static int32_t move_edges(struct work *w) {
    struct al_energy energy;
    int32_t status = al_energy_init(&energy, w->audio.pcm, w->audio.n, &w->err);
    if (status)
        return status;
    for (size_t i = 0; i < w->script.n_words; i++) {
        struct al_word *word = &w->script.words[i];
        if (word->timed)
            al_energy_trim(&energy, w->self->drop, &word->start, &word->end);
    }
    al_energy_finish(&energy);
    return SLUICE_OK;
}

static int32_t read_inputs(struct work *w) {
    struct sluice_view audio, transcript;
    int32_t status = open_input(w, "audio", &audio);
    if (!status)
        status = open_input(w, "transcript", &transcript);
    if (!status)
        status = num_audio_open(audio.data, audio.len, &w->audio, &w->err);
    if (!status)
        status = al_script_read(transcript.data, transcript.len, &w->script, &w->err);
    return status;
}

static int32_t commit(struct work *w) {
    char *text = NULL;
    void *data = NULL;
    int32_t status = al_script_write(&w->script, &text, &w->err);
    size_t len = text ? strlen(text) : 0;
    if (!status && w->self->host->cancelled(w->job))
        status = num_fail(&w->err, SLUICE_CANCELLED, "cancelled");
    if (!status && (status = w->self->host->output_grow(w->job, "transcript", len, &data)) != 0)
        num_fail(&w->err, status, "no room for the transcript");
    if (!status) {
        memcpy(data, text, len);
        status = w->self->host->output_commit(w->job, "transcript", len);
    }
    free(text);
    return status;
}

static int32_t process(void *self, struct sluice_job *job) {
    struct work w = {.self = self, .job = job};
    const struct al_watch watch = {&w, is_cancelled, tell_progress};
    int32_t status = read_inputs(&w);
    if (!status)
        status = align_by_attention(&w, &watch);
    if (!status && w.self->energy)
        status = move_edges(&w);
    if (!status) {
        al_script_settle(&w.script);
        status = commit(&w);
    }
    if (status && w.err.status)
        w.self->host->fail(job, w.err.text);
    num_audio_close(&w.audio);
    al_script_finish(&w.script);
    return status;
}

/* ---- Instance -------------------------------------------------------------------------------- */

static int32_t read_params(struct stage *self) {
    const struct sluice_host *host = self->host;
    const char *edges = "";
    int32_t status = host->param_string(host, "edges", &edges);
    if (!status)
        status = host->param_float(host, "edge_drop", &self->drop);
    if (status)
        host->error(host, "the host does not know the parameters of align/words");
    self->energy = strcmp(edges, "energy") == 0;
    return status;
}

static int32_t create(const struct sluice_host *host, void **ret_self) {
    struct stage *self = calloc(1, sizeof *self);
    if (!self) {
        host->error(host, "out of memory");
        return SLUICE_RESOURCE;
    }
    self->host = host;
    int32_t status = read_params(self);
    if (status)
        free(self);
    else
        *ret_self = self;
    return status;
}

static void destroy(void *self) {
    free(self);
}

/* ---- Declarations ---------------------------------------------------------------------------- */

static const struct sluice_port audio_in = {SLUICE_SIZED(struct sluice_port), 0, "audio",
                                            SLUICE_TYPE_AUDIO, "The recording."};
static const struct sluice_port transcript_in = {SLUICE_SIZED(struct sluice_port), 0, "transcript",
                                                 SLUICE_TYPE_TRANSCRIPT, "What is said in it."};
static const struct sluice_port attention_in = {
    SLUICE_SIZED(struct sluice_port), SLUICE_PORT_OPTIONAL, "attention", SLUICE_TYPE_ATTENTION,
    "What whisper/transcribe looked at while it wrote the transcript; for method attention."};
static const struct sluice_port transcript_out = {SLUICE_SIZED(struct sluice_port), 0, "transcript",
                                                  SLUICE_TYPE_TRANSCRIPT,
                                                  "The transcript with the times of its words."};

static const struct sluice_param method_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_STRING,
    .name = "method",
    .default_value = "attention",
    .choices = (const char *const[]){"attention", NULL},
    .doc = "Where times come from: attention, the alignment heads of Whisper."};
static const struct sluice_param edges_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_STRING,
    .name = "edges",
    .default_value = "energy",
    .choices = (const char *const[]){"energy", "method", NULL},
    .doc = "Whether words are cut to where their sound is (energy), or stay as the method says."};
static const struct sluice_param drop_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_FLOAT,
    .flags = SLUICE_PARAM_RANGED,
    .name = "edge_drop",
    .default_value = "30",
    .min = 3,
    .max = 90,
    .unit = "dB",
    .doc = "With edges: energy, a word's edges are where it is this far below its loudest part."};

static const struct sluice_stage words_stage = {
    .size = SLUICE_SIZED(struct sluice_stage),
    .flags = SLUICE_STAGE_DETERMINISTIC,
    .id = "align/words",
    .version = "1",
    .summary = "Finds when each word of a transcript is said.",
    .inputs = (const struct sluice_port *const[]){&audio_in, &transcript_in, &attention_in, NULL},
    .outputs = (const struct sluice_port *const[]){&transcript_out, NULL},
    .params = (const struct sluice_param *const[]){&method_param, &edges_param, &drop_param, NULL},
    .create = create,
    .process = process,
    .destroy = destroy};

static const struct sluice_stage *const stages[] = {&words_stage, NULL};

SLUICE_EXPORT const struct sluice_plugin sluice_plugin_entry = {SLUICE_PLUGIN_HEADER, "align",
                                                                SLUICE_VERSION, "MIT", stages};
