/*
 * The plugin `audio`, and its stage audio/decode: the glue between the host and the decoder. (The
 * stage audio/vad is in vad/stage.c.)
 *
 * Samples are appended to the mapped output, which grows by half again when it is full. The
 * safetensors header stands in front of them and needs their number, so room of a fixed size is
 * kept for it and it is written last.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libavutil/log.h>

#include <sluice/plugin.h>

#include "audio/decode.h"
#include "audio/input.h"
#include "audio/vad/stage.h"
#include "num/safetensors.h"
#include "num/utf8.h"

#define HEADER_LEN     4096                /* bytes kept for the header */
#define FIRST_CAPACITY (UINT64_C(8) << 20) /* bytes: two minutes */
#define SOURCE_LEN     (3 * NAME_MAX + 1)  /* bytes: see num_utf8_clean() */

struct decoder {
    const struct sluice_host *host;
    struct ad_options options;
};

/* One job: its output as far as it is written. */
struct job {
    const struct sluice_host *host;
    struct sluice_job *job;
    uint8_t *data;     /* mapped by the host */
    uint64_t capacity; /* bytes at `data` */
    uint64_t n_bytes;  /* of samples, behind HEADER_LEN */
    char name[SOURCE_LEN];
};

/* ---- sink ---- */

static int32_t reserve(struct job *j, uint64_t need) {
    if (need <= j->capacity)
        return SLUICE_OK;
    uint64_t want = j->capacity + j->capacity / 2;
    if (want < FIRST_CAPACITY)
        want = FIRST_CAPACITY;
    if (want < need)
        want = need;
    void *data;
    int32_t status = j->host->output_grow(j->job, "audio", want, &data);
    if (status != SLUICE_OK && want > need) /* room for less? */
        status = j->host->output_grow(j->job, "audio", want = need, &data);
    if (status != SLUICE_OK)
        return status;
    j->data = data;
    j->capacity = want;
    return SLUICE_OK;
}

static int sink_write(void *ctx, const float *samples, int64_t n) {
    struct job *j = ctx;
    uint64_t len = (uint64_t)n * sizeof *samples;
    int32_t status = reserve(j, HEADER_LEN + j->n_bytes + len);
    if (status != SLUICE_OK) {
        char text[SOURCE_LEN + 192];
        snprintf(
            text, sizeof text,
            "%s: no room for its samples (%.1f s are written): the disk of the run's folder is "
            "full, or a limit of the stage is reached",
            j->name, (double)j->n_bytes / sizeof *samples / AD_RATE);
        j->host->fail(j->job, text);
        return status;
    }
    memcpy(j->data + HEADER_LEN + j->n_bytes, samples, len);
    j->n_bytes += len;
    return SLUICE_OK;
}

static int sink_cancelled(void *ctx) {
    const struct job *j = ctx;
    return j->host->cancelled(j->job);
}

static void sink_progress(void *ctx, double fraction) {
    const struct job *j = ctx;
    j->host->progress(j->job, fraction, NULL);
}

static void sink_warn(void *ctx, const char *message) {
    const struct job *j = ctx;
    char text[SOURCE_LEN + 768];
    snprintf(text, sizeof text, "%s: %s", j->name, message);
    j->host->log(j->host, SLUICE_LOG_WARN, text);
}

/* ---- output ---- */

static int32_t commit(struct job *j, const struct ad_result *result) {
    char duration[32];
    snprintf(duration, sizeof duration, "%.6f", result->duration_s);
    struct num_tensor pcm = {.name = "pcm", .dtype = NUM_F32, .n_dims = 1};
    pcm.shape[0] = (uint64_t)result->n_samples;
    struct num_meta meta[] = {
        {"sample_rate", "16000"}, {"source", j->name}, {"duration", duration}};
    struct num_err err;
    void *header = NULL;
    size_t len = 0;
    int32_t status = num_safetensors_header(&pcm, 1, meta, 3, HEADER_LEN, &header, &len, &err);
    if (status == SLUICE_OK && len != HEADER_LEN)
        status = num_fail(&err, SLUICE_INTERNAL, "%s: its name does not fit the header", j->name);
    if (status != SLUICE_OK) {
        j->host->fail(j->job, err.text);
    } else {
        memcpy(j->data, header, HEADER_LEN);
        status = j->host->output_commit(j->job, "audio", HEADER_LEN + j->n_bytes);
    }
    free(header);
    return status;
}

/* The file's own name, made valid UTF-8: it goes into JSON and messages. */
static void base_name(const char *path, char *ret) {
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    size_t len = strlen(name);
    num_utf8_clean((const uint8_t *)name, len < NAME_MAX ? len : NAME_MAX, ret);
}

/* ---- stage ---- */

static int32_t decode_create(const struct sluice_host *host, void **ret_self) {
    int64_t track = -1, channel = -1;
    int32_t status = host->param_int(host, "stream", &track);
    if (status == SLUICE_OK)
        status = host->param_int(host, "channel", &channel);
    struct decoder *self = status == SLUICE_OK ? calloc(1, sizeof *self) : NULL;
    if (!self) {
        host->error(host, status == SLUICE_OK ? "out of memory" : "cannot read the parameters");
        return status == SLUICE_OK ? SLUICE_RESOURCE : status;
    }
    self->host = host;
    self->options = (struct ad_options){.track = (int)track, .channel = (int)channel};
    av_log_set_callback(ad_input_log);
    *ret_self = self;
    return SLUICE_OK;
}

static int32_t decode_file(const struct decoder *self, struct job *j, const char *path,
                           struct ad_result *ret) {
    struct num_err err = {0};
    struct ad_file file;
    struct ad_sink sink = {j, sink_write, sink_cancelled, sink_progress, sink_warn};
    int32_t status = ad_file_init(&file, path, j->name, &err);
    if (status == SLUICE_OK) {
        status = ad_decode(&file.source, j->name, &self->options, &sink, ret, &err);
        ad_file_finish(&file);
    }
    if (status != SLUICE_OK && err.text[0])
        j->host->fail(j->job, err.text);
    return status;
}

static int32_t decode_process(void *opaque, struct sluice_job *job) {
    const struct decoder *self = opaque;
    const struct sluice_host *host = self->host;
    struct sluice_view view = {SLUICE_SIZED(struct sluice_view)};
    int32_t status = host->input(job, "file", &view);
    if (status != SLUICE_OK)
        return status;
    struct job *j = calloc(1, sizeof *j);
    if (!j)
        return SLUICE_RESOURCE;
    j->host = host;
    j->job = job;
    base_name(view.path, j->name);
    struct ad_result result = {0};
    status = decode_file(self, j, view.path, &result);
    if (status == SLUICE_OK)
        status = commit(j, &result);
    free(j);
    return status;
}

static void decode_destroy(void *self) {
    free(self);
}

static const struct sluice_port port_file = {
    .size = SLUICE_SIZED(struct sluice_port),
    .name = "file",
    .type = SLUICE_TYPE_FILE,
    .doc = "Any audio or video file.",
};

static const struct sluice_port port_audio = {
    .size = SLUICE_SIZED(struct sluice_port),
    .name = "audio",
    .type = SLUICE_TYPE_AUDIO,
    .doc = "Its audio, mono, 16 kHz.",
};

static const struct sluice_param param_stream = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_INT,
    .flags = SLUICE_PARAM_RANGED,
    .name = "stream",
    .default_value = "-1",
    .min = -1,
    .max = 999,
    .doc = "Which audio track to take, 0 is the first; -1 takes the main one.",
};

static const struct sluice_param param_channel = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_INT,
    .flags = SLUICE_PARAM_RANGED,
    .name = "channel",
    .default_value = "-1",
    .min = -1,
    .max = 63,
    .doc = "Which channel to take, 0 is the first (left); -1 takes the mean of all.",
};

static const struct sluice_port *const inputs[] = {&port_file, NULL};
static const struct sluice_port *const outputs[] = {&port_audio, NULL};
static const struct sluice_param *const params[] = {&param_stream, &param_channel, NULL};

static const struct sluice_stage stage_decode = {
    .size = SLUICE_SIZED(struct sluice_stage),
    .flags = SLUICE_STAGE_DETERMINISTIC,
    .id = "audio/decode",
    .version = "1",
    .summary = "Decodes any audio or video file to mono 16 kHz samples on an exact timeline.",
    .inputs = inputs,
    .outputs = outputs,
    .params = params,
    .create = decode_create,
    .process = decode_process,
    .destroy = decode_destroy,
};

static const struct sluice_stage *const stages[] = {&stage_decode, &vad_stage, NULL};

SLUICE_EXPORT const struct sluice_plugin sluice_plugin_entry = {
    SLUICE_PLUGIN_HEADER, .name = "audio",  .version = SLUICE_VERSION,
    .licence = "MIT",     .stages = stages,
};
