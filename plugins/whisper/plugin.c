/*
 * The stage whisper/transcribe: speech to text with a Whisper model. Glue only: parameters and
 * audio in, one call into the engine (longform.h), the transcript out; segments are published as
 * they are found.
 *
 * The model is loaded in create() and kept for all jobs of the instance.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sluice/plugin.h>

#include "num/audio.h"
#include "num/mel.h"
#include "num/resolve.h"
#include "num/safetensors.h"
#include "stage/stage.h"
#include "whisper/attention.h"
#include "whisper/longform.h"
#include "whisper/params.h"
#include "whisper/regions.h"
#include "whisper/transcript.h"

#define EMBEDDED       "whisper-synth" /* what the model "embedded" is */
#define MAX_PATH_BYTES 4096
#define MAX_PART_BYTES (32 << 10)
#define MAX_JOBS       256 /* files whose windows share a batch; batch_size at most */

struct stage {
    const struct sluice_host *host;
    struct wh_model model;
    struct wh_longform *longform;
    struct wh_params params;
    double load_s;
};

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- create --------------------------------------------------------------------------------- */

static void stage_destroy(void *self) {
    struct stage *s = self;
    if (!s)
        return;
    wh_longform_destroy(s->longform);
    wh_model_finish(&s->model);
    wh_params_finish(&s->params);
    free(s);
}

/* The backend that the host's device asks for; fails where this build or the device cannot. */
static int32_t choose_backend(const struct stage *s, const struct wh_backend **ret,
                              struct num_err *err) {
    enum wh_compute compute = s->params.compute;
    if (s->host->budget(s->host)->device == SLUICE_DEVICE_CUDA) {
#ifdef SLUICE_HAVE_CUDA
        *ret = &wh_backend_cuda;
        return SLUICE_OK;
#else
        return st_fail_cuda(err);
#endif
    }
    if (compute == WH_COMPUTE_F16 || compute == WH_COMPUTE_INT4)
        return num_fail(err, SLUICE_UNSUPPORTED,
                        "compute: %s is for CUDA; on the CPU there are f32, bf16, int8 and auto",
                        compute == WH_COMPUTE_F16 ? "f16" : "int4");
    if (s->params.cross != WH_CROSS_AUTO || s->params.kept != WH_KEPT_PLAIN)
        return num_fail(err, SLUICE_UNSUPPORTED,
                        "cross_attention and cross_kv are for CUDA; leave them out, or use device: "
                        "cuda");
    *ret = &wh_backend_cpu;
    return SLUICE_OK;
}

/* What it runs on, into the log; a smaller batch than was asked for is a warning. */
static void log_device(const struct stage *s, uint32_t batch_size) {
    const struct wh_model *m = &s->model;
    struct wh_device_info info;
    char text[256];
    if (!m->backend->info) {
        s->host->log(s->host, SLUICE_LOG_INFO, "runs on the CPU");
        return;
    }
    m->backend->info(m->self, &info);
    snprintf(text, sizeof text, "runs on %s, with %.2f GiB of its memory%s", info.name,
             (double)info.bytes / (1 << 30),
             info.absorbed ? "; windows are held without keys and values" : "");
    s->host->log(s->host, SLUICE_LOG_INFO, text);
    if (info.n_slots >= batch_size)
        return;
    snprintf(text, sizeof text,
             "decodes %u windows together instead of %u: more do not fit into the memory of %s",
             info.n_slots, batch_size, info.name);
    s->host->log(s->host, SLUICE_LOG_WARN, text);
}

static int32_t load_model(struct stage *s, struct num_err *err) {
    char path[MAX_PATH_BYTES];
    const struct sluice_budget *budget = s->host->budget(s->host);
    struct wh_limits limits = {.n_threads = budget->cpus,
                               .device = budget->device_index,
                               .device_memory = budget->gpu_memory};
    const struct wh_backend *backend = NULL;
    double start = now_s();
    int32_t status = wh_params_read(s->host, &s->params, err);
    if (!status)
        status = choose_backend(s, &backend, err);
    if (status)
        return status;
    struct wh_options *options = &s->params.options;
    limits.n_slots = options->batch_size;
    limits.least_rows = wh_options_rows(options);
    limits.n_rows = options->batch_size * limits.least_rows;
    limits.compute = s->params.compute;
    limits.cross = s->params.cross;
    limits.kept = s->params.kept;
    status = num_model_resolve(s->params.model, EMBEDDED, s->host->share_dir(s->host), path,
                               sizeof path, err);
    if (!status)
        status = wh_model_load(path, backend, &limits, &s->model, err);
    if (status)
        num_fail_in(err, "model \"%.100s\"", s->params.model);
    if (!status && s->model.dims.no_previous_text && !s->params.condition_given)
        options->condition_on_previous_text = false;
    if (!status)
        status = wh_options_check(&s->model, options, err);
    if (!status)
        status = wh_longform_create(&s->model, &s->longform, err);
    s->load_s = now_s() - start;
    if (!status)
        log_device(s, options->batch_size);
    return status;
}

static int32_t stage_create(const struct sluice_host *host, void **ret_self) {
    struct num_err err = {0};
    struct stage *s = calloc(1, sizeof *s);
    if (!s)
        return SLUICE_RESOURCE;
    s->host = host;
    int32_t status = load_model(s, &err);
    if (status) {
        host->error(host, err.text);
        stage_destroy(s);
        return status;
    }
    *ret_self = s;
    return SLUICE_OK;
}

/* ---- process -------------------------------------------------------------------------------- */

/* A job on its way. */
struct work {
    struct work *next;
    struct stage *stage;
    struct sluice_job *job;
    struct num_audio audio;
    struct wh_span *spans;
    struct wh_input input;
    struct wh_listener listener;
    struct wh_file *file; /* NULL: it failed before it was one */
    struct wh_transcript *transcript;
    struct wh_attention_file *attention; /* NULL: not asked for */
    const struct sluice_stream *stream;  /* NULL where the host has none */
    double fraction;
    char position[64];
    struct num_err err;
};

static int32_t on_segment(void *ctx, const struct wh_segment *segment) {
    struct work *w = ctx;
    int32_t status = wh_transcript_add(w->transcript, segment, &w->err);
    if (!status && w->attention)
        status = wh_attention_add(w->attention, segment, &w->err);
    char *part = !status && w->stream ? wh_transcript_last(w->transcript) : NULL;
    if (part && strlen(part) <= MAX_PART_BYTES)
        w->stream->publish(w->job, "transcript", part, strlen(part));
    free(part);
    return status;
}

static void on_progress(void *ctx, double done_s, double total_s) {
    struct work *w = ctx;
    unsigned done = (unsigned)done_s, total = (unsigned)(total_s + 0.5);
    w->fraction = total_s > 0 ? done_s / total_s : 1;
    snprintf(w->position, sizeof w->position, "%02u:%02u / %02u:%02u", done / 60, done % 60,
             total / 60, total % 60);
    w->stage->host->progress(w->job, w->fraction, w->position);
}

/* Asked before every token, so it is the heartbeat too. */
static bool on_cancelled(void *ctx) {
    struct work *w = ctx;
    w->stage->host->progress(w->job, w->fraction, w->position);
    return w->stage->host->cancelled(w->job) != 0;
}

static void set_metrics(const struct work *w, double audio_s, const struct wh_report *r) {
    const struct {
        const char *name;
        double value;
    } values[] = {
        {"audio_s", audio_s},          {"windows", r->n_windows},
        {"fallbacks", r->n_fallbacks}, {"tokens", (double)r->n_tokens},
        {"mel_s", r->mel_s},           {"encode_s", r->encode_s},
        {"decode_s", r->decode_s},     {"align_s", r->align_s},
        {"load_s", w->stage->load_s},
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        st_metric(w->stage->host, w->job, values[i].name, values[i].value);
    const struct wh_model *m = &w->stage->model;
    struct wh_device_info info;
    if (!m->backend->info)
        return;
    m->backend->info(m->self, &info);
    st_metric(w->stage->host, w->job, "gpu_peak_bytes", (double)info.bytes);
}

static int32_t commit_transcript(struct work *w, const char *language, double audio_s) {
    char *json;
    int32_t status = wh_transcript_text(w->transcript, language, audio_s, &json, &w->err);
    if (status)
        return status;
    status = st_commit(w->stage->host, w->job, "transcript", json, strlen(json), &w->err);
    free(json);
    return status;
}

static int32_t commit_attention(struct work *w) {
    void *header;
    const void *values;
    size_t header_len, len;
    int32_t status =
        wh_attention_finish(w->attention, &header, &header_len, &values, &len, &w->err);
    if (status)
        return status;
    status = st_commit_two(w->stage->host, w->job, "attention", header, header_len, values, len,
                           &w->err);
    free(header);
    return status;
}

/* Spans of the audio where regions are connected. */
static int32_t find_spans(struct work *w) {
    const struct stage *s = w->stage;
    struct sluice_view view;
    struct wh_region *regions;
    size_t n;
    int32_t status = st_input(s->host, w->job, "regions", &view, &w->err);
    if (status == SLUICE_UNSUPPORTED)
        return SLUICE_OK;
    if (!status)
        status = wh_regions_parse(view.data, view.len, w->input.n_samples, &regions, &n, &w->err);
    if (status)
        return status;
    status = wh_regions_merge(w->input.pcm, regions, n,
                              wh_options_longest(&s->model, &s->params.options), &w->spans,
                              &w->input.n_spans, &w->err);
    w->input.spans = w->spans;
    free(regions);
    return status;
}

static int32_t find_input(struct work *w) {
    struct sluice_view view;
    int32_t status = st_input(w->stage->host, w->job, "audio", &view, &w->err);
    if (!status)
        status = num_audio_open(view.data, view.len, &w->audio, &w->err);
    w->input.pcm = w->audio.pcm;
    w->input.n_samples = w->audio.n;
    return status ? status : find_spans(w);
}

/* Hands the job's audio to the engine. */
static int32_t work_start(struct work *w) {
    struct stage *s = w->stage;
    const struct wh_options *options = &s->params.options;
    w->stream = s->host->extension(s->host, SLUICE_EXT_STREAM);
    w->listener = (struct wh_listener){w, on_segment, on_progress, on_cancelled};
    int32_t status = find_input(w);
    if (!status)
        status = wh_transcript_create(&w->transcript, &w->err);
    if (!status && options->attention)
        status = wh_attention_create(&w->attention, &w->err);
    if (!status)
        status = wh_longform_add(s->longform, &w->input, options, &w->listener, &w->file, &w->err);
    return status;
}

/* Outputs of a job whose audio is transcribed. */
static int32_t work_commit(struct work *w) {
    struct wh_report report;
    double audio_s = (double)w->input.n_samples / NUM_MEL_RATE_HZ;
    int32_t status = wh_longform_take(w->stage->longform, w->file, &report, &w->err);
    if (!status)
        status = commit_transcript(w, report.language, audio_s);
    if (!status && w->attention)
        status = commit_attention(w);
    if (!status)
        set_metrics(w, audio_s, &report);
    return status;
}

/* Says why a job failed, and frees what it held but for itself. */
static int32_t work_finish(struct work *w, int32_t status) {
    st_end(w->stage->host, w->job, status, &w->err);
    wh_transcript_destroy(w->transcript);
    wh_attention_destroy(w->attention);
    free(w->spans);
    num_audio_close(&w->audio);
    return status;
}

/* Ends every job that is done: by the return of process() where it is the one that process() was
 * called with, and the last. */
static void finish_done(struct work **list, const struct sluice_job *first, int32_t *ret_last) {
    for (struct work **at = list; *at;) {
        struct work *w = *at;
        if (w->file && !wh_file_is_finished(w->file)) {
            at = &w->next;
            continue;
        }
        const struct sluice_host *host = w->stage->host;
        int32_t status = work_finish(w, w->file ? work_commit(w) : w->err.status);
        *at = w->next;
        if (!*list && w->job == first)
            *ret_last = status;
        else
            host->finish(w->job, status);
        free(w);
    }
}

/* Adds a job to the list; false without memory. */
static bool take_job(struct stage *s, struct sluice_job *job, struct work **list) {
    struct work *w = calloc(1, sizeof *w);
    if (!w)
        return false;
    *w = (struct work){.stage = s, .job = job, .next = *list};
    work_start(w);
    *list = w;
    return true;
}

/*
 * A card that has failed for this process fails every job to come. The process ends, which counts
 * as a crash of the jobs that it holds, so that each is tried again in a fresh one.
 */
static void leave_lost_card(const struct stage *s) {
    struct wh_device_info info;
    if (!s->model.backend->info)
        return;
    s->model.backend->info(s->model.self, &info);
    if (!info.lost)
        return;
    s->host->log(
        s->host, SLUICE_LOG_ERROR,
        "the card has failed and cannot be used by this process any more: it ends, so that "
        "another one can try");
    _exit(EXIT_FAILURE);
}

/* The windows of all jobs that have come share a batch; more are taken while there is room. */
static int32_t stage_process(void *self, struct sluice_job *job) {
    struct stage *s = self;
    struct work *list = NULL;
    int32_t status = SLUICE_RESOURCE;
    if (!take_job(s, job, &list))
        return status;
    while (list) {
        struct sluice_job *more = NULL;
        if (s->params.options.batch_size > 1 && wh_longform_has_room(s->longform))
            more = s->host->take(s->host, 0);
        if (more && !take_job(s, more, &list))
            s->host->finish(more, SLUICE_RESOURCE);
        wh_longform_step(s->longform);
        leave_lost_card(s);
        finish_done(&list, job, &status);
    }
    return status;
}

/* ---- Declarations --------------------------------------------------------------------------- */

static const struct sluice_port port_audio = {SLUICE_SIZED(struct sluice_port), 0, "audio",
                                              SLUICE_TYPE_AUDIO, "Speech, mono, 16 kHz."};

static const struct sluice_port port_regions = {
    SLUICE_SIZED(struct sluice_port), SLUICE_PORT_OPTIONAL, "regions", SLUICE_TYPE_REGIONS,
    "Where speech is, as audio/vad finds it: only that is transcribed, batch_size windows at "
    "once."};

static const struct sluice_port port_transcript = {
    SLUICE_SIZED(struct sluice_port), 0, "transcript", SLUICE_TYPE_TRANSCRIPT,
    "What was said, in segments with times; segments are published as they are found."};

static const struct sluice_port port_attention = {
    SLUICE_SIZED(struct sluice_port), SLUICE_PORT_OPTIONAL, "attention", SLUICE_TYPE_ATTENTION,
    "What the decoder looked at while it wrote each token, by segment; unless attention: false."};

static const struct sluice_port *const inputs[] = {&port_audio, &port_regions, NULL};
static const struct sluice_port *const outputs[] = {&port_transcript, &port_attention, NULL};

#ifdef SLUICE_HAVE_CUDA
#define STAGE_FLAGS (SLUICE_STAGE_DETERMINISTIC | SLUICE_STAGE_CUDA)
#else
#define STAGE_FLAGS SLUICE_STAGE_DETERMINISTIC
#endif

static const struct sluice_stage stage_transcribe = {
    .size = SLUICE_SIZED(struct sluice_stage),
    .flags = STAGE_FLAGS,
    .id = "whisper/transcribe",
    .version = "2",
    .summary = "Transcribes speech with a Whisper model, with the times of every segment.",
    .inputs = inputs,
    .outputs = outputs,
    .params = wh_param_list,
    .max_jobs = MAX_JOBS,
    .create = stage_create,
    .process = stage_process,
    .destroy = stage_destroy,
};

static const struct sluice_stage *const stages[] = {&stage_transcribe, NULL};

SLUICE_EXPORT const struct sluice_plugin sluice_plugin_entry = {SLUICE_PLUGIN_HEADER, "whisper",
                                                                SLUICE_VERSION, "MIT", stages};
