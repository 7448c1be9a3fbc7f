/*
 * The plugin `align`: glue between the host and the engines. One stage, align/words: the transcript
 * is read, one of the methods sets the times of its words, edges move to where the sound is, and
 * the transcript is written again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sluice/plugin.h>

#include "align/attention.h"
#include "align/ctc_words.h"
#include "align/energy.h"
#include "align/script.h"
#include "num/audio.h"
#include "stage/stage.h"

struct stage {
    const struct sluice_host *host;
    struct al_ctc_words *ctc; /* method ctc; NULL: attention */
    bool energy;              /* edges move to where the sound is, */
    double drop;              /* so many dB below a word's loudest part */
};

struct work {
    const struct stage *self;
    struct sluice_job *job;
    struct num_audio audio;
    struct al_script script;
    struct num_err err;
};

/* ---- Job ------------------------------------------------------------------------------------- */

static bool is_cancelled(void *ctx) {
    const struct work *w = ctx;
    return w->self->host->cancelled(w->job) != 0;
}

static void tell_progress(void *ctx, double done) {
    const struct work *w = ctx;
    w->self->host->progress(w->job, done, "align");
}

static void set_metric(const struct work *w, const char *name, double value) {
    st_metric(w->self->host, w->job, name, value);
}

static int32_t align_by_attention(struct work *w, const struct num_watch *watch) {
    struct sluice_view attention = {.size = SLUICE_SIZED(struct sluice_view)};
    struct al_attention_report report = {0};
    if (w->self->host->input(w->job, "attention", &attention) != SLUICE_OK)
        return num_fail(&w->err, SLUICE_INPUT,
                        "method attention needs the input `attention`: connect that of "
                        "whisper/transcribe");
    int32_t status =
        al_attention_align(attention.data, attention.len, &w->script, watch, &report, &w->err);
    if (status)
        return status;
    set_metric(w, "words", (double)report.n_words);
    set_metric(w, "words_left", (double)report.n_others);
    return SLUICE_OK;
}

/* A card that has failed for this process fails every job to come. The process ends, which counts
 * as a crash of its job, so that this is tried again in a fresh one. */
static void leave_lost_card(const struct stage *self) {
    struct al_device_info info = {0};
    if (!al_ctc_words_device(self->ctc, &info) || !info.lost)
        return;
    self->host->log(self->host, SLUICE_LOG_ERROR,
                    "the card has failed and cannot be used by this process any more: it ends, so "
                    "that another one can try");
    _exit(EXIT_FAILURE);
}

static int32_t align_by_ctc(struct work *w, const struct num_watch *watch) {
    struct al_ctc_report report = {0};
    int32_t status = al_ctc_words_align(w->self->ctc, w->audio.pcm, w->audio.n, &w->script, watch,
                                        &report, &w->err);
    if (status) {
        leave_lost_card(w->self);
        return status;
    }
    set_metric(w, "words", (double)report.n_words);
    set_metric(w, "words_left", (double)report.n_others);
    set_metric(w, "words_with_star", (double)report.n_stars);
    struct al_device_info info;
    if (al_ctc_words_device(w->self->ctc, &info))
        set_metric(w, "gpu_peak_bytes", (double)info.bytes);
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

static int32_t read_inputs(struct work *w, const struct num_watch *watch) {
    const struct sluice_host *host = w->self->host;
    struct sluice_view audio, transcript;
    int32_t status = st_input(host, w->job, "audio", &audio, &w->err);
    if (!status)
        status = st_input(host, w->job, "transcript", &transcript, &w->err);
    if (!status)
        status = num_audio_open(audio.data, audio.len, &w->audio, &w->err);
    if (!status)
        status = al_script_read(transcript.data, transcript.len, watch, &w->script, &w->err);
    return status;
}

static int32_t commit(struct work *w) {
    char *text = NULL;
    int32_t status = al_script_write(&w->script, &text, &w->err);
    if (!status)
        status = st_commit(w->self->host, w->job, "transcript", text, strlen(text), &w->err);
    free(text);
    return status;
}

static int32_t process(void *self, struct sluice_job *job) {
    struct work w = {.self = self, .job = job};
    const struct num_watch watch = {&w, is_cancelled, tell_progress};
    int32_t status = read_inputs(&w, &watch);
    if (!status)
        status = w.self->ctc ? align_by_ctc(&w, &watch) : align_by_attention(&w, &watch);
    if (!status && w.self->energy)
        status = move_edges(&w);
    if (!status) {
        al_script_settle(&w.script);
        status = commit(&w);
    }
    num_audio_close(&w.audio);
    al_script_finish(&w.script);
    return st_end(w.self->host, job, status, &w.err);
}

/* ---- Instance -------------------------------------------------------------------------------- */

static enum num_compute choose_compute(const char *name) {
    bool bf16 = strcmp(name, "bf16") == 0;
    if (strcmp(name, "auto") == 0)
        bf16 = num_kernels()->native_bf16;
    return bf16 ? NUM_COMPUTE_BF16 : NUM_COMPUTE_F32;
}

/* The backend that the host's device asks for. */
static int32_t choose_backend(const struct stage *self, struct al_ctc_options *options,
                              struct num_err *err) {
    const struct sluice_budget *budget = self->host->budget(self->host);
    if (budget->device != SLUICE_DEVICE_CUDA)
        return SLUICE_OK;
#ifdef SLUICE_HAVE_CUDA
    (void)err;
    options->backend = &al_backend_cuda;
    options->device = budget->device_index;
    options->device_memory = budget->gpu_memory;
    return SLUICE_OK;
#else
    (void)options;
    return st_fail_cuda(err);
#endif
}

static void log_device(const struct stage *self) {
    struct al_device_info info = {0};
    char text[160];
    if (!al_ctc_words_device(self->ctc, &info))
        return;
    snprintf(text, sizeof text, "runs on %.63s, with %.2f GiB of its memory", info.name,
             (double)info.bytes / (1 << 30));
    self->host->log(self->host, SLUICE_LOG_INFO, text);
}

/* Loads the model of method ctc. */
static int32_t load_model(struct stage *self, struct num_err *err) {
    const struct sluice_host *host = self->host;
    struct al_ctc_options options = {.n_threads = host->budget(host)->cpus};
    const char *model = NULL, *compute = NULL;
    int32_t status = host->param_string(host, "compute", &compute);
    if (!status)
        status = host->param_float(host, "window", &options.window_s);
    if (!status)
        status = host->param_float(host, "context", &options.context_s);
    if (!status)
        status = host->param_float(host, "padding", &options.padding_s);
    if (status)
        return num_fail(err, status, "the host does not know the parameters of align/words");
    if (host->param_string(host, "model", &model) || !model[0])
        return num_fail(err, SLUICE_INPUT,
                        "method ctc needs `model`, the Hugging Face folder of a wav2vec2 or HuBERT "
                        "model with a CTC head");
    if (host->param_string(host, "language", &options.language))
        options.language = NULL;
    if (host->param_string(host, "dictionary", &options.dictionary))
        options.dictionary = NULL;
    status = choose_backend(self, &options, err);
    if (status)
        return status;
    options.compute = options.backend && strcmp(compute, "auto") == 0 ? NUM_COMPUTE_BF16
                                                                      : choose_compute(compute);
    status = al_ctc_words_create(model, &options, &self->ctc, err);
    if (!status)
        log_device(self);
    return status;
}

static int32_t read_params(struct stage *self, struct num_err *err) {
    const struct sluice_host *host = self->host;
    const char *edges = NULL, *method = NULL;
    int32_t status = host->param_string(host, "edges", &edges);
    if (!status)
        status = host->param_string(host, "method", &method);
    if (!status)
        status = host->param_float(host, "edge_drop", &self->drop);
    if (status)
        return num_fail(err, status, "the host does not know the parameters of align/words");
    bool ctc = strcmp(method, "ctc") == 0;
    self->energy = strcmp(edges, "energy") == 0 || (strcmp(edges, "auto") == 0 && !ctc);
    if (!ctc && host->budget(host)->device == SLUICE_DEVICE_CUDA)
        return num_fail(err, SLUICE_UNSUPPORTED,
                        "method attention runs on the processor alone; use device: cpu");
    return ctc ? load_model(self, err) : SLUICE_OK;
}

static void destroy(void *instance) {
    struct stage *self = instance;
    al_ctc_words_destroy(self->ctc);
    free(self);
}

static int32_t create(const struct sluice_host *host, void **ret_self) {
    struct stage *self = calloc(1, sizeof *self);
    struct num_err err = {0};
    if (!self) {
        host->error(host, "out of memory");
        return SLUICE_RESOURCE;
    }
    self->host = host;
    int32_t status = read_params(self, &err);
    if (status) {
        host->error(host, err.text);
        destroy(self);
    } else {
        *ret_self = self;
    }
    return status;
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
    .choices = (const char *const[]){"attention", "ctc", NULL},
    .doc = "Where times come from: the alignment heads of Whisper, or a CTC model."};
static const struct sluice_param model_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_STRING,
    .name = "model",
    .doc = "Method ctc: folder of a wav2vec2 or HuBERT model with a CTC head, from Hugging Face."};
static const struct sluice_param language_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_STRING,
    .name = "language",
    .doc = "Method ctc, with a model of many languages such as MMS: which is spoken, as the model "
           "calls it (eng, deu); left out, the one that the model is saved for."};
static const struct sluice_param dictionary_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_STRING,
    .name = "dictionary",
    .doc = "Method ctc, with a model of phonemes: path of a file with a word, a TAB and its "
           "phonemes on each line."};
static const struct sluice_param compute_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_STRING,
    .name = "compute",
    .default_value = "auto",
    .choices = (const char *const[]){"auto", "f32", "bf16", NULL},
    .doc = "Method ctc: numbers that the network computes with; auto takes the faster, on a card "
           "bf16."};
static const struct sluice_param window_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_FLOAT,
    .flags = SLUICE_PARAM_RANGED,
    .name = "window",
    .default_value = "30",
    .min = 5,
    .max = 300,
    .unit = "s",
    .doc = "Method ctc: most sound that the network sees at once; decides its memory."};
static const struct sluice_param context_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_FLOAT,
    .flags = SLUICE_PARAM_RANGED,
    .name = "context",
    .default_value = "3",
    .min = 0,
    .max = 60,
    .unit = "s",
    .doc = "Method ctc: how far windows of a segment longer than a window overlap on each side."};
static const struct sluice_param padding_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_FLOAT,
    .flags = SLUICE_PARAM_RANGED,
    .name = "padding",
    .default_value = "0.5",
    .min = 0,
    .max = 2,
    .unit = "s",
    .doc = "Method ctc: how far outside of its segment a word may be said."};
static const struct sluice_param edges_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_STRING,
    .name = "edges",
    .default_value = "auto",
    .choices = (const char *const[]){"auto", "energy", "method", NULL},
    .doc = "Words are cut to where their sound is (energy; auto: with attention), or stay as the "
           "method says."};
static const struct sluice_param drop_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_FLOAT,
    .flags = SLUICE_PARAM_RANGED,
    .name = "edge_drop",
    .default_value = "30",
    .min = 3,
    .max = 90,
    .unit = "dB",
    .doc = "With energy, a word's edges are where it is this far below its loudest part."};

#ifdef SLUICE_HAVE_CUDA
#define STAGE_FLAGS (SLUICE_STAGE_DETERMINISTIC | SLUICE_STAGE_CUDA)
#else
#define STAGE_FLAGS SLUICE_STAGE_DETERMINISTIC
#endif

static const struct sluice_stage words_stage = {
    .size = SLUICE_SIZED(struct sluice_stage),
    .flags = STAGE_FLAGS,
    .id = "align/words",
    .version = "1",
    .summary = "Finds when each word of a transcript is said.",
    .inputs = (const struct sluice_port *const[]){&audio_in, &transcript_in, &attention_in, NULL},
    .outputs = (const struct sluice_port *const[]){&transcript_out, NULL},
    .params = (const struct sluice_param *const[]){&method_param, &model_param, &language_param,
                                                   &dictionary_param, &compute_param, &window_param,
                                                   &context_param, &padding_param, &edges_param,
                                                   &drop_param, NULL},
    .create = create,
    .process = process,
    .destroy = destroy};

static const struct sluice_stage *const stages[] = {&words_stage, NULL};

SLUICE_EXPORT const struct sluice_plugin sluice_plugin_entry = {SLUICE_PLUGIN_HEADER, "align",
                                                                SLUICE_VERSION, "MIT", stages};
