/*
 * The stage diarize/speakers: the glue between the host and the two methods, classic.h and
 * neural.h. Turns become JSON and the speakers' vectors a safetensors file.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "diarize/cepstra.h"
#include "diarize/classic.h"
#include "diarize/models.h"
#include "diarize/stages.h"
#include "diarize/tracks.h"
#include "num/audio.h"
#include "num/resolve.h"
#include "num/safetensors.h"
#include "stage/stage.h"

#define SAMPLES_PER_FRAME (NUM_AUDIO_RATE_HZ / 100)

/* Where the threshold is 0. */
#define CLASSIC_PENALTY 2.2

struct options {
    double threshold, step_s;
    uint32_t min_speakers, max_speakers; /* 0: not known */
};

struct speakers {
    const struct sluice_host *host;
    struct options options;
    struct num_pool *pool;
    struct dz_models models; /* without a backend: the classic method */
};

struct work {
    const struct speakers *self;
    struct sluice_job *job;
    struct num_audio audio;
    struct dz_span *spans;
    size_t n_spans;
    struct dz_turns turns, exclusive; /* exclusive: no turns where it is the same */
    float *embeddings;                /* (speakers, size) */
    size_t size;
    const char *kind; /* of embeddings: those of another kind cannot be compared */
    struct num_err err;
};

/* ---- inputs ---- */

/* Regions of samples to spans of frames, at least one frame each. */
static int32_t make_spans(struct work *w, const struct num_region *regions, size_t n) {
    w->spans = calloc(n + 1, sizeof *w->spans);
    if (!w->spans)
        return num_fail_memory(&w->err, "the regions", n * sizeof *w->spans);
    size_t until = 0;
    for (size_t i = 0; i < n; i++) {
        size_t first = regions[i].start / SAMPLES_PER_FRAME,
               end = regions[i].end / SAMPLES_PER_FRAME;
        if (first < until)
            first = until;
        if (end <= first)
            continue;
        w->spans[w->n_spans++] = (struct dz_span){first, end - first};
        until = end;
    }
    return SLUICE_OK;
}

static int32_t read_regions(struct work *w, const struct num_watch *watch) {
    struct sluice_view regions;
    struct num_region *list = NULL;
    size_t n = 0;
    int32_t status = st_input(w->self->host, w->job, "regions", &regions, &w->err);
    if (status == SLUICE_UNSUPPORTED)
        return num_fail(&w->err, SLUICE_INPUT,
                        "the classic method has to be told where speech is: connect `regions`, as "
                        "with audio/vad");
    if (status == SLUICE_OK)
        status = num_regions_read(regions.data, regions.len, w->audio.n, watch, &list, &n, &w->err);
    if (status == SLUICE_OK)
        status = make_spans(w, list, n);
    free(list);
    return status;
}

static int32_t read_audio(struct work *w) {
    struct sluice_view audio;
    int32_t status = st_input(w->self->host, w->job, "audio", &audio, &w->err);
    return status == SLUICE_OK ? num_audio_open(audio.data, audio.len, &w->audio, &w->err) : status;
}

/* ---- outputs ---- */

static int32_t commit_turns(struct work *w) {
    char *text = NULL;
    const struct dz_turns *exclusive = w->exclusive.n_turns ? &w->exclusive : &w->turns;
    int32_t status = dz_turns_write(&w->turns, exclusive, &text, &w->err);
    if (status == SLUICE_OK)
        status = st_commit(w->self->host, w->job, "turns", text, strlen(text), &w->err);
    free(text);
    return status;
}

/* The names of the rows as a JSON list. */
static char *names_of(const struct dz_turns *turns) {
    json_t *list = json_array();
    for (uint32_t i = 0; i < turns->n_speakers; i++)
        json_array_append_new(list, json_string(turns->speakers[i]));
    char *text = json_dumps(list, JSON_COMPACT);
    json_decref(list);
    return text;
}

static int32_t commit_embeddings(struct work *w) {
    char *names = names_of(&w->turns);
    if (!names)
        return num_fail_memory(&w->err, "the speakers", 64);
    struct num_tensor rows = {.name = "embeddings", .dtype = NUM_F32, .n_dims = 2};
    rows.shape[0] = w->turns.n_speakers;
    rows.shape[1] = w->size;
    struct num_meta meta[] = {{"speakers", names}, {"kind", w->kind}};
    void *header = NULL;
    size_t len = 0;
    int32_t status = num_safetensors_header(&rows, 1, meta, 2, 0, &header, &len, &w->err);
    if (status == SLUICE_OK)
        status = st_commit_two(w->self->host, w->job, "embeddings", header, len, w->embeddings,
                               w->turns.n_speakers * w->size * sizeof(float), &w->err);
    free(header);
    free(names);
    return status;
}

static void set_metrics(const struct work *w) {
    const struct sluice_host *host = w->self->host;
    size_t n_frames = 0;
    for (size_t i = 0; i < w->n_spans; i++)
        n_frames += w->spans[i].n;
    st_metric(host, w->job, "audio_s", (double)w->audio.n / NUM_AUDIO_RATE_HZ);
    if (w->spans)
        st_metric(host, w->job, "speech_s", (double)n_frames / DZ_FRAMES_PER_S);
    st_metric(host, w->job, "speakers", w->turns.n_speakers);
    st_metric(host, w->job, "turns", (double)w->turns.n_turns);
    if (w->self->models.card) {
        struct dz_device_info info;
        w->self->models.backend->info(w->self->models.card, &info);
        st_metric(host, w->job, "gpu_peak_bytes", (double)info.bytes);
    }
}

/* ---- job ---- */

static int32_t run_classic(struct work *w, const struct num_watch *watch) {
    const struct options *o = &w->self->options;
    struct dz_classic_options options = {o->threshold > 0 ? o->threshold : CLASSIC_PENALTY,
                                         o->min_speakers, o->max_speakers};
    w->size = DZ_EMBEDDING_SIZE;
    w->kind = "cepstra";
    w->embeddings = calloc(DZ_MAX_SPEAKERS * DZ_EMBEDDING_SIZE, sizeof *w->embeddings);
    if (!w->embeddings)
        return num_fail_memory(&w->err, "the embeddings", DZ_MAX_SPEAKERS * DZ_EMBEDDING_SIZE * 4);
    int32_t status = read_regions(w, watch);
    if (status != SLUICE_OK)
        return status;
    return dz_classic_run(w->audio.pcm, w->audio.n, w->spans, w->n_spans, &options, w->self->pool,
                          watch, &w->turns, w->embeddings, &w->err);
}

/* A card that has failed for this process fails every job to come. The process ends, which counts
 * as a crash of its job, so that this is tried again in a fresh one. */
static void leave_lost_card(const struct speakers *self) {
    struct dz_device_info info = {0};
    if (self->models.card)
        self->models.backend->info(self->models.card, &info);
    if (!info.lost)
        return;
    self->host->log(self->host, SLUICE_LOG_ERROR,
                    "the card has failed and cannot be used by this process any more: it ends, so "
                    "that another one can try");
    _exit(EXIT_FAILURE);
}

static int32_t run_neural(struct work *w, const struct num_watch *watch) {
    const struct options *o = &w->self->options;
    const struct dz_models *m = &w->self->models;
    struct dz_neural models = dz_models_neural(m);
    double own = m->has_plda ? 0 : m->threshold;
    struct dz_neural_options options = {o->threshold > 0 ? o->threshold : own, o->step_s,
                                        o->min_speakers, o->max_speakers};
    w->size = models.backend->size(models.networks);
    w->kind = m->kind;
    return dz_neural_run(&models, w->audio.pcm, w->audio.n, &options, watch, &w->turns,
                         &w->exclusive, &w->embeddings, &w->err);
}

static int32_t run(struct work *w) {
    struct st_job watched = {w->self->host, w->job};
    const struct num_watch watch = st_watch(&watched);
    int32_t status = read_audio(w);
    if (status == SLUICE_OK)
        status = w->self->models.backend ? run_neural(w, &watch) : run_classic(w, &watch);
    if (status == SLUICE_OK)
        status = commit_turns(w);
    if (status == SLUICE_OK)
        status = commit_embeddings(w);
    if (status == SLUICE_OK)
        set_metrics(w);
    return status;
}

static int32_t speakers_process(void *instance, struct sluice_job *job) {
    const struct speakers *self = instance;
    struct work *w = calloc(1, sizeof *w);
    if (!w) {
        self->host->fail(job, "out of memory");
        return SLUICE_RESOURCE;
    }
    w->self = self;
    w->job = job;
    int32_t status = run(w);
    if (status != SLUICE_OK)
        leave_lost_card(self);
    st_end(self->host, job, status, &w->err);
    dz_turns_finish(&w->turns);
    dz_turns_finish(&w->exclusive);
    free(w->embeddings);
    num_audio_close(&w->audio);
    free(w->spans);
    free(w);
    return status;
}

/* ---- instance ---- */

static int32_t read_options(const struct sluice_host *host, struct options *ret,
                            struct num_err *err) {
    int64_t number = 0, least = 0, most = 0;
    struct options options;
    if (host->param_float(host, "threshold", &options.threshold) ||
        host->param_float(host, "step", &options.step_s) ||
        host->param_int(host, "num_speakers", &number) ||
        host->param_int(host, "min_speakers", &least) ||
        host->param_int(host, "max_speakers", &most))
        return num_fail(err, SLUICE_INTERNAL, "cannot read the parameters");
    if (number > 0 && (least > 0 || most > 0))
        return num_fail(err, SLUICE_INPUT,
                        "num_speakers says how many speakers there are; min_speakers and "
                        "max_speakers are for when that is not known");
    if (most > 0 && least > most)
        return num_fail(err, SLUICE_INPUT, "min_speakers is %lld, above max_speakers (%lld)",
                        (long long)least, (long long)most);
    options.min_speakers = (uint32_t)(number > 0 ? number : least);
    options.max_speakers = (uint32_t)(number > 0 ? number : most);
    *ret = options;
    return SLUICE_OK;
}

/* The path of the model that the parameter names; NULL where it is left out. */
static int32_t path_of(const struct sluice_host *host, const char *name, char room[NUM_MODEL_PATH],
                       const char **ret, struct num_err *err) {
    const char *value = NULL;
    *ret = NULL;
    if (host->param_string(host, name, &value) != SLUICE_OK || !value || !*value)
        return SLUICE_OK;
    int32_t status = num_model_find(value, host->share_dir(host), room, ret, err);
    return status == SLUICE_OK ? status : num_fail_in(err, "%s \"%.100s\"", name, value);
}

/* The folders of the models that the parameters name. */
static int32_t find_models(const struct sluice_host *host, char rooms[3][NUM_MODEL_PATH],
                           struct dz_model_paths *ret, struct num_err *err) {
    int32_t status = path_of(host, "segmentation", rooms[0], &ret->segmentation, err);
    if (status == SLUICE_OK)
        status = path_of(host, "embedding", rooms[1], &ret->embedding, err);
    return status == SLUICE_OK ? path_of(host, "plda", rooms[2], &ret->plda, err) : status;
}

/* The backend that the host's device asks for. */
static int32_t choose_backend(const struct sluice_host *host, struct dz_model_paths *paths,
                              struct num_err *err) {
    const struct sluice_budget *budget = host->budget(host);
    if (budget->device != SLUICE_DEVICE_CUDA)
        return SLUICE_OK;
#ifdef SLUICE_HAVE_CUDA
    (void)err;
    paths->backend = &dz_backend_cuda;
    paths->options.device = budget->device_index;
    paths->options.device_memory = budget->gpu_memory;
    return SLUICE_OK;
#else
    (void)paths;
    return st_fail_cuda(err);
#endif
}

static void log_device(const struct speakers *self) {
    struct dz_device_info info = {0};
    char text[160];
    if (!self->models.card)
        return;
    self->models.backend->info(self->models.card, &info);
    snprintf(text, sizeof text, "runs on %.63s, with %.2f GiB of its memory", info.name,
             (double)info.bytes / (1 << 30));
    self->host->log(self->host, SLUICE_LOG_INFO, text);
}

/* A method that is of no use to a card. */
static int32_t stay_classic(const struct sluice_host *host, bool chosen, struct num_err *err) {
    if (host->budget(host)->device == SLUICE_DEVICE_CUDA)
        return num_fail(err, SLUICE_UNSUPPORTED,
                        "the classic method runs on the processor alone; use device: cpu");
    if (!chosen)
        host->log(host, SLUICE_LOG_INFO,
                  "method auto: no models are given, so voices are told apart without; "
                  "overlapping speech goes to one speaker");
    return SLUICE_OK;
}

/* The models, where the method takes them; says which method it is. */
static int32_t load_models(struct speakers *self, struct num_err *err) {
    const struct sluice_host *host = self->host;
    const char *method = NULL, *compute = NULL;
    char rooms[3][NUM_MODEL_PATH];
    struct dz_model_paths paths = {.options = {.compute = NUM_COMPUTE_F32}};
    if (host->param_string(host, "method", &method) ||
        host->param_string(host, "compute", &compute))
        return num_fail(err, SLUICE_INTERNAL, "cannot read the parameters");
    if (strcmp(method, "classic") == 0)
        return stay_classic(host, true, err);
    int32_t status = find_models(host, rooms, &paths, err);
    if (status != SLUICE_OK)
        return status;
    bool asked = strcmp(method, "neural") == 0, given = paths.segmentation || paths.embedding;
    if (!asked && !given)
        return stay_classic(host, false, err);
    if (!paths.segmentation || !paths.embedding)
        return num_fail(err, SLUICE_INPUT,
                        "the neural method needs two models, `segmentation` and `embedding`; `%s` "
                        "is missing",
                        paths.segmentation ? "embedding" : "segmentation");
    status = choose_backend(host, &paths, err);
    if (status != SLUICE_OK)
        return status;
    if (strcmp(compute, "bf16") == 0 ||
        (strcmp(compute, "auto") == 0 && (paths.backend || num_kernels()->native_bf16)))
        paths.options.compute = NUM_COMPUTE_BF16;
    if (!paths.plda)
        host->log(host, SLUICE_LOG_INFO,
                  "no PLDA is given: clustering is agglomerative alone, without VBx");
    status = dz_models_load(&paths, self->pool, &self->models, err);
    if (status == SLUICE_OK)
        log_device(self);
    return status;
}

static void speakers_destroy(void *instance) {
    struct speakers *self = instance;
    if (self) {
        dz_models_finish(&self->models);
        num_pool_destroy(self->pool);
    }
    free(self);
}

static int32_t speakers_create(const struct sluice_host *host, void **ret_self) {
    struct num_err err = {0};
    struct speakers *self = calloc(1, sizeof *self);
    int32_t status = self ? read_options(host, &self->options, &err)
                          : num_fail_memory(&err, "the stage", sizeof *self);
    if (self)
        self->host = host;
    if (status == SLUICE_OK)
        status = num_pool_create(host->budget(host)->cpus, &self->pool, &err);
    if (status == SLUICE_OK)
        status = load_models(self, &err);
    if (status != SLUICE_OK) {
        host->error(host, err.text);
        speakers_destroy(self);
        return status;
    }
    *ret_self = self;
    return SLUICE_OK;
}

/* ---- declaration ---- */

static const struct sluice_port audio_in = {SLUICE_SIZED(struct sluice_port), 0, "audio",
                                            SLUICE_TYPE_AUDIO, "The recording."};
static const struct sluice_port regions_in = {
    SLUICE_SIZED(struct sluice_port), SLUICE_PORT_OPTIONAL, "regions", SLUICE_TYPE_REGIONS,
    "Where speech is, for the classic method; best without pauses: speech_pad_ms 60, "
    "min_silence_duration_ms 200. The neural method finds speech itself."};
static const struct sluice_port turns_out = {SLUICE_SIZED(struct sluice_port), 0, "turns",
                                             SLUICE_TYPE_TURNS, "Who speaks when."};
static const struct sluice_port embeddings_out = {
    SLUICE_SIZED(struct sluice_port), SLUICE_PORT_OPTIONAL, "embeddings", SLUICE_TYPE_EMBEDDINGS,
    "A row for each speaker: what his voice sounds like."};

#define COUNT(param, what)                                                                         \
    static const struct sluice_param param##_param = {.size = SLUICE_SIZED(struct sluice_param),   \
                                                      .kind = SLUICE_PARAM_INT,                    \
                                                      .flags = SLUICE_PARAM_RANGED,                \
                                                      .name = #param,                              \
                                                      .default_value = "0",                        \
                                                      .min = 0,                                    \
                                                      .max = DZ_MAX_SPEAKERS,                      \
                                                      .doc = what}

COUNT(num_speakers, "How many speakers there are; 0 finds out.");
COUNT(min_speakers, "There are at least as many speakers; 0 is not known.");
COUNT(max_speakers, "There are at most as many speakers; 0 is not known.");

static const struct sluice_param threshold_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_FLOAT,
    .flags = SLUICE_PARAM_RANGED,
    .name = "threshold",
    .default_value = "0",
    .min = 0,
    .max = 100,
    .doc = "How different voices must be to be two; higher finds fewer speakers. 0 is the method's "
           "own: 2.2 classic, 0.6 with a PLDA, else that of the embedding model or 0.7046."};

static const struct sluice_param step_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_DURATION,
    .flags = SLUICE_PARAM_RANGED,
    .name = "step",
    .default_value = "1s",
    .min = 0.1,
    .max = 30,
    .doc = "From one window of the neural method to the next; longer is faster and less exact."};

static const struct sluice_param method_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_STRING,
    .name = "method",
    .default_value = "auto",
    .choices = (const char *const[]){"auto", "classic", "neural", NULL},
    .doc = "neural: with trained models; classic: without; auto: neural where models are given."};

static const struct sluice_param compute_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_STRING,
    .name = "compute",
    .default_value = "auto",
    .choices = (const char *const[]){"auto", "f32", "bf16", NULL},
    .doc =
        "Numbers that the networks multiply; auto: bf16 where the processor multiplies it, and on "
        "a card."};

#define PATH(param, what)                                                                          \
    static const struct sluice_param param##_param = {.size = SLUICE_SIZED(struct sluice_param),   \
                                                      .kind = SLUICE_PARAM_STRING,                 \
                                                      .name = #param,                              \
                                                      .doc = what}

PATH(segmentation,
     "The segmentation model: an installed one, such as speaker-synth/segmentation, or a "
     "folder (tools/convert_diarization).");
PATH(embedding,
     "The embedding model: an installed one, such as speaker-synth/embedding, or a folder "
     "(tools/convert_diarization).");
PATH(plda, "Folder of the PLDA with which VBx clusters; without one clustering is agglomerative.");

#ifdef SLUICE_HAVE_CUDA
#define STAGE_FLAGS (SLUICE_STAGE_DETERMINISTIC | SLUICE_STAGE_CUDA)
#else
#define STAGE_FLAGS SLUICE_STAGE_DETERMINISTIC
#endif

const struct sluice_stage dz_speakers_stage = {
    .size = SLUICE_SIZED(struct sluice_stage),
    .flags = STAGE_FLAGS,
    .id = "diarize/speakers",
    .version = "1",
    .summary = "Finds who speaks when.",
    .inputs = (const struct sluice_port *const[]){&audio_in, &regions_in, NULL},
    .outputs = (const struct sluice_port *const[]){&turns_out, &embeddings_out, NULL},
    .params =
        (const struct sluice_param *const[]){&method_param, &segmentation_param, &embedding_param,
                                             &plda_param, &compute_param, &step_param,
                                             &num_speakers_param, &min_speakers_param,
                                             &max_speakers_param, &threshold_param, NULL},
    .create = speakers_create,
    .process = speakers_process,
    .destroy = speakers_destroy};
