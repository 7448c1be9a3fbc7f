/*
 * The stage audio/vad: the glue between the host, a detector and the rules that make regions.
 *
 *     samples -> detector (blocks of a second) -> probabilities -> segmenter -> regions -> JSON
 *
 * Nothing is kept but the block and a few marks: the samples stay in the mapped input and the
 * regions go straight into the mapped output.
 */
#include "audio/vad/stage.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audio/vad/embedded.h"
#include "audio/vad/segment.h"
#include "audio/vad/silero.h"
#include "num/resolve.h"

#define REGION_LEN     128                  /* bytes of one region's JSON at most */
#define FIRST_CAPACITY (UINT64_C(64) << 10) /* bytes */

struct vad {
    const struct sluice_host *host;
    struct vad_rules rules;
    struct vad_detector detector;
};

/* One job: its output as far as it is written. */
struct job {
    const struct sluice_host *host;
    struct sluice_job *job;
    char *data;                  /* mapped by the host */
    uint64_t len, capacity;      /* bytes at `data` */
    int64_t n_regions, n_speech; /* regions, and samples in them */
    int32_t status;              /* of the first write that failed */
};

/* ---- output ---- */

/* Appends text to the output. */
static void write_text(struct job *j, const char *text, size_t len) {
    if (j->status != SLUICE_OK)
        return;
    if (j->len + len > j->capacity) {
        uint64_t want = j->capacity ? 2 * j->capacity : FIRST_CAPACITY;
        void *data;
        j->status = j->host->output_grow(j->job, "regions", want, &data);
        if (j->status != SLUICE_OK) {
            j->host->fail(j->job, "no room for the regions of speech");
            return;
        }
        j->data = data;
        j->capacity = want;
    }
    memcpy(j->data + j->len, text, len);
    j->len += len;
}

/* Seconds with all digits that a sample count has (7), without needless zeros. */
static void seconds_text(int64_t samples, char *ret, size_t size) {
    int len = snprintf(ret, size, "%lld.%07lld", (long long)(samples / VAD_RATE),
                       (long long)(samples % VAD_RATE * (10000000 / VAD_RATE)));
    while (len > 2 && ret[len - 1] == '0' && ret[len - 2] != '.')
        ret[--len] = '\0';
}

static void take_region(void *ctx, const struct vad_region *region) {
    struct job *j = ctx;
    const struct sluice_stream *stream = j->host->extension(j->host, SLUICE_EXT_STREAM);
    char start[32], end[32], text[REGION_LEN];
    seconds_text(region->start, start, sizeof start);
    seconds_text(region->end, end, sizeof end);
    int len = snprintf(text, sizeof text, "%s{\"start\": %s, \"end\": %s, \"score\": %.4f}",
                       j->n_regions > 0 ? ",\n  " : "\n  ", start, end, region->score);
    write_text(j, text, (size_t)len);
    const char *object = strchr(text, '{');
    if (stream)
        stream->publish(j->job, "regions", object, strlen(object));
    j->n_regions++;
    j->n_speech += region->end - region->start;
}

static void set_metrics(const struct job *j, const struct vad_samples *samples) {
    const struct sluice_metrics *metrics = j->host->extension(j->host, SLUICE_EXT_METRICS);
    if (!metrics)
        return;
    metrics->set(j->job, "audio_s", (double)samples->n / VAD_RATE);
    metrics->set(j->job, "speech_s", (double)j->n_speech / VAD_RATE);
}

/* ---- job ---- */

static int32_t detect(const struct vad *self, struct job *j, const struct vad_samples *samples) {
    struct vad_segmenter segmenter;
    int64_t n_frames = vad_n_frames(samples);
    self->detector.reset(self->detector.self);
    vad_segmenter_init(&segmenter, &self->rules, take_region, j);
    for (int64_t first = 0; first < n_frames && j->status == SLUICE_OK; first += VAD_BLOCK) {
        float probabilities[VAD_BLOCK];
        int n = n_frames - first < VAD_BLOCK ? (int)(n_frames - first) : VAD_BLOCK;
        if (j->host->cancelled(j->job))
            return SLUICE_CANCELLED;
        self->detector.run(self->detector.self, samples, first, n, probabilities);
        for (int i = 0; i < n; i++)
            vad_segmenter_push(&segmenter, probabilities[i]);
        j->host->progress(j->job, (double)(first + n) / (double)n_frames, NULL);
    }
    vad_segmenter_finish(&segmenter, samples->n);
    return j->status;
}

static int32_t vad_process(void *opaque, struct sluice_job *job) {
    const struct vad *self = opaque;
    const struct sluice_host *host = self->host;
    struct sluice_view view = {SLUICE_SIZED(struct sluice_view)};
    struct job j = {.host = host, .job = job};
    struct vad_samples samples;
    struct num_err err = {0};
    int32_t status = host->input(job, "audio", &view);
    if (status != SLUICE_OK)
        return status;
    status = vad_samples_open(view.data, view.len, host->item(job), &samples, &err);
    if (status != SLUICE_OK) {
        host->fail(job, err.text);
        return status;
    }
    write_text(&j, "{\"regions\": [", 13);
    status = detect(self, &j, &samples);
    write_text(&j, j.n_regions > 0 ? "\n]}\n" : "]}\n", j.n_regions > 0 ? 4 : 3);
    if (status == SLUICE_OK)
        status = j.status;
    if (status != SLUICE_OK)
        return status;
    set_metrics(&j, &samples);
    return host->output_commit(job, "regions", j.len);
}

/* ---- parameters ---- */

static int32_t read_ms(const struct sluice_host *host, const char *name, int64_t *ret) {
    int64_t ms;
    int32_t status = host->param_int(host, name, &ms);
    if (status == SLUICE_OK)
        *ret = ms * (VAD_RATE / 1000);
    return status;
}

/* The one that may be absent. */
static int32_t read_float(const struct sluice_host *host, const char *name, double absent,
                          double *ret) {
    int32_t status = host->param_float(host, name, ret);
    if (status != SLUICE_UNSUPPORTED)
        return status;
    *ret = absent;
    return SLUICE_OK;
}

static int32_t read_rules(const struct sluice_host *host, struct vad_rules *ret,
                          struct num_err *err) {
    struct vad_rules r;
    double max_s;
    if (host->param_float(host, "threshold", &r.threshold) ||
        read_float(host, "neg_threshold", fmax(r.threshold - 0.15, 0.01), &r.neg_threshold) ||
        read_float(host, "max_speech_duration_s", INFINITY, &max_s) ||
        read_ms(host, "min_speech_duration_ms", &r.min_speech) ||
        read_ms(host, "min_silence_duration_ms", &r.min_silence) ||
        read_ms(host, "speech_pad_ms", &r.pad))
        return num_fail(err, SLUICE_INTERNAL, "cannot read the parameters");
    r.max_speech = vad_max_speech(max_s, r.pad);
    if (r.neg_threshold > fmax(r.threshold, 0.01))
        return num_fail(err, SLUICE_INPUT,
                        "neg_threshold is %g, above threshold (%g); it must be lower: speech ends "
                        "below it",
                        r.neg_threshold, r.threshold);
    if (r.max_speech < VAD_FRAME)
        return num_fail(err, SLUICE_INPUT,
                        "max_speech_duration_s is %g, which leaves nothing beside the padding of "
                        "%lld ms on either side; use at least %g",
                        max_s, (long long)(r.pad / (VAD_RATE / 1000)),
                        (double)(2 * r.pad + 2 * VAD_FRAME) / VAD_RATE);
    *ret = r;
    return SLUICE_OK;
}

static int32_t open_network(const char *path, struct vad_detector *ret, struct num_err *err) {
    struct vad_silero_weights *weights = calloc(1, sizeof *weights);
    if (!weights)
        return num_fail_memory(err, "the weights", sizeof *weights);
    int32_t status = vad_silero_load(path, weights, err);
    if (status == SLUICE_OK)
        status = vad_silero_create(weights, ret, err);
    free(weights);
    return status;
}

/* "embedded", a path, or the name of a model that is installed. */
static int32_t open_detector(const struct sluice_host *host, const char *model,
                             struct vad_detector *ret, struct num_err *err) {
    char room[NUM_MODEL_PATH];
    const char *path;
    if (strcmp(model, "embedded") == 0)
        return vad_embedded_create(ret, err);
    int32_t status = num_model_find(model, host->share_dir(host), room, &path, err);
    return status == SLUICE_OK ? open_network(path, ret, err)
                               : num_fail_in(err, "model \"%.100s\"", model);
}

/* ---- stage ---- */

static int32_t vad_create(const struct sluice_host *host, void **ret_self) {
    struct num_err err = {0};
    const char *model;
    struct vad *self = calloc(1, sizeof *self);
    int32_t status = self ? read_rules(host, &self->rules, &err)
                          : num_fail_memory(&err, "the stage", sizeof *self);
    if (status == SLUICE_OK && host->param_string(host, "model", &model) != SLUICE_OK)
        status = num_fail(&err, SLUICE_INTERNAL, "cannot read the parameters");
    if (status == SLUICE_OK)
        status = open_detector(host, model, &self->detector, &err);
    if (status != SLUICE_OK) {
        host->error(host, err.text);
        free(self);
        return status;
    }
    self->host = host;
    *ret_self = self;
    return SLUICE_OK;
}

static void vad_destroy(void *opaque) {
    struct vad *self = opaque;
    if (self)
        self->detector.destroy(self->detector.self);
    free(self);
}

/* ---- declaration ---- */

static const struct sluice_port port_audio = {
    .size = SLUICE_SIZED(struct sluice_port),
    .name = "audio",
    .type = SLUICE_TYPE_AUDIO,
    .doc = "The recording.",
};

static const struct sluice_port port_regions = {
    .size = SLUICE_SIZED(struct sluice_port),
    .name = "regions",
    .type = SLUICE_TYPE_REGIONS,
    .doc = "Where there is speech; score is the mean probability of speech in the region.",
};

static const struct sluice_param param_model = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_STRING,
    .name = "model",
    .default_value = "embedded",
    .doc = "embedded, the name of an installed model such as vad-synth, or the path of Silero VAD "
           "weights: whisper.cpp's ggml file or Silero's safetensors file.",
};

static const struct sluice_param param_threshold = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_FLOAT,
    .flags = SLUICE_PARAM_RANGED,
    .name = "threshold",
    .default_value = "0.5",
    .min = 0,
    .max = 1,
    .doc = "Probability from which a region of speech starts.",
};

static const struct sluice_param param_neg_threshold = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_FLOAT,
    .flags = SLUICE_PARAM_RANGED,
    .name = "neg_threshold",
    .min = 0,
    .max = 1,
    .doc = "Probability below which a region may end; without it threshold - 0.15, at least 0.01.",
};

static const struct sluice_param param_min_speech = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_INT,
    .flags = SLUICE_PARAM_RANGED,
    .name = "min_speech_duration_ms",
    .default_value = "250",
    .min = 0,
    .max = 3600000,
    .unit = "ms",
    .doc = "Regions up to this length are dropped.",
};

static const struct sluice_param param_max_speech = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_FLOAT,
    .flags = SLUICE_PARAM_RANGED,
    .name = "max_speech_duration_s",
    .min = 0,
    .max = 360000,
    .unit = "s",
    .doc = "Longer regions are cut, at the longest silence in them where there is one over 98 ms; "
           "without it they are not.",
};

static const struct sluice_param param_min_silence = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_INT,
    .flags = SLUICE_PARAM_RANGED,
    .name = "min_silence_duration_ms",
    .default_value = "500",
    .min = 0,
    .max = 3600000,
    .unit = "ms",
    .doc = "A pause this long ends a region.",
};

static const struct sluice_param param_pad = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_INT,
    .flags = SLUICE_PARAM_RANGED,
    .name = "speech_pad_ms",
    .default_value = "400",
    .min = 0,
    .max = 60000,
    .unit = "ms",
    .doc = "Added at both ends of a region; close regions share the pause between them.",
};

static const struct sluice_port *const inputs[] = {&port_audio, NULL};
static const struct sluice_port *const outputs[] = {&port_regions, NULL};
static const struct sluice_param *const params[] = {
    &param_model,      &param_threshold,   &param_neg_threshold, &param_min_speech,
    &param_max_speech, &param_min_silence, &param_pad,           NULL,
};

const struct sluice_stage vad_stage = {
    .size = SLUICE_SIZED(struct sluice_stage),
    .flags = SLUICE_STAGE_DETERMINISTIC,
    .id = "audio/vad",
    .version = "1",
    .summary = "Finds the stretches of speech in a recording.",
    .inputs = inputs,
    .outputs = outputs,
    .params = params,
    .create = vad_create,
    .process = vad_process,
    .destroy = vad_destroy,
};
