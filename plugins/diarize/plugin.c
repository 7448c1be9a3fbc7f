/*
 * The plugin `diarize`: glue between the host and the engine, a few lines a stage. Each stage reads
 * its inputs, builds its whole output in memory (it is small beside the recording) and commits it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/plugin.h>

#include "diarize/assign.h"
#include "diarize/stages.h"
#include "num/buf.h"
#include "stage/stage.h"

/* Largest RTTM file that is read: a day of short turns is a few MB. */
#define MAX_RTTM_BYTES (UINT64_C(256) << 20)

struct stage {
    const struct sluice_host *host;
    struct dz_assign_options assign;
    const char *recording; /* from_rttm; NULL: the only one */
};

static int32_t make(const struct sluice_host *host, struct stage **ret) {
    struct stage *self = calloc(1, sizeof *self);
    if (!self) {
        host->error(host, "out of memory");
        return SLUICE_RESOURCE;
    }
    self->host = host;
    *ret = self;
    return SLUICE_OK;
}

static void destroy(void *self) {
    free(self);
}

/* ---- diarize/assign ---- */

static int32_t assign_create(const struct sluice_host *host, void **ret_self) {
    int32_t split = 0;
    int64_t snap = 0;
    int32_t status = host->param_bool(host, "split", &split);
    if (status == SLUICE_OK)
        status = host->param_int(host, "snap", &snap);
    if (status != SLUICE_OK) {
        host->error(host, "the host does not know split or snap");
        return status;
    }
    struct stage *self = NULL;
    status = make(host, &self);
    if (status != SLUICE_OK)
        return status;
    self->assign = (struct dz_assign_options){.split = split != 0, .snap = (uint32_t)snap};
    *ret_self = self;
    return SLUICE_OK;
}

static void report(const struct stage *self, struct sluice_job *job, const struct dz_turns *turns,
                   const struct dz_assign_report *done) {
    const struct sluice_host *host = self->host;
    if (turns->n_turns == 0)
        host->log(host, SLUICE_LOG_WARN,
                  "nobody speaks according to the turns: the transcript gets no speakers");
    st_metric(host, job, "speakers", turns->n_speakers);
    st_metric(host, job, "words", (double)done->n_words);
    st_metric(host, job, "words_outside_turns", (double)done->n_nearest);
    st_metric(host, job, "words_snapped", (double)done->n_snapped);
    st_metric(host, job, "segments_split", (double)done->n_splits);
}

static int32_t assign_process(void *instance, struct sluice_job *job) {
    const struct stage *self = instance;
    struct sluice_view transcript, view;
    struct num_err err = {0};
    dz_autoturns turns = {0};
    num_autotext *text = NULL;
    struct dz_assign_report done = {0};
    struct st_job watched = {self->host, job};
    const struct num_watch watch = st_watch(&watched);
    struct dz_assign_options options = self->assign;
    options.watch = &watch;
    int32_t status = st_input(self->host, job, "transcript", &transcript, &err);
    if (status == SLUICE_OK)
        status = st_input(self->host, job, "turns", &view, &err);
    if (status == SLUICE_OK)
        status = dz_turns_read(view.data, view.len, 1, &watch, &turns, &err);
    if (status == SLUICE_OK)
        status = dz_assign(transcript.data, transcript.len, &turns, &options, &text, &done, &err);
    if (status == SLUICE_OK) {
        report(self, job, &turns, &done);
        status = st_commit(self->host, job, "transcript", text, strlen(text), &err);
    }
    return st_end(self->host, job, status, &err);
}

static const struct sluice_port transcript_in = {SLUICE_SIZED(struct sluice_port), 0, "transcript",
                                                 SLUICE_TYPE_TRANSCRIPT,
                                                 "What was said, best with the times of words."};
static const struct sluice_port turns_in = {SLUICE_SIZED(struct sluice_port), 0, "turns",
                                            SLUICE_TYPE_TURNS, "Who speaks when."};
static const struct sluice_port transcript_out = {
    SLUICE_SIZED(struct sluice_port), 0, "transcript", SLUICE_TYPE_TRANSCRIPT,
    "The transcript with speakers at words and segments."};
static const struct sluice_param split_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_BOOL,
    .name = "split",
    .default_value = "true",
    .doc =
        "Split segments where the speaker changes; otherwise a segment gets who says most of it."};
static const struct sluice_param snap_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_INT,
    .flags = SLUICE_PARAM_RANGED,
    .name = "snap",
    .default_value = "2",
    .min = 0,
    .max = 10,
    .unit = "words",
    .doc = "A change of speakers within a sentence moves to an end of a sentence this near."};

static const struct sluice_stage assign_stage = {
    .size = SLUICE_SIZED(struct sluice_stage),
    .flags = SLUICE_STAGE_DETERMINISTIC,
    .id = "diarize/assign",
    .version = "1",
    .summary = "Gives every word of a transcript its speaker.",
    .inputs = (const struct sluice_port *const[]){&transcript_in, &turns_in, NULL},
    .outputs = (const struct sluice_port *const[]){&transcript_out, NULL},
    .params = (const struct sluice_param *const[]){&split_param, &snap_param, NULL},
    .create = assign_create,
    .process = assign_process,
    .destroy = destroy};

/* ---- diarize/rttm ---- */

static int32_t rttm_create(const struct sluice_host *host, void **ret_self) {
    struct stage *self = NULL;
    int32_t status = make(host, &self);
    if (status == SLUICE_OK)
        *ret_self = self;
    return status;
}

static int32_t rttm_process(void *instance, struct sluice_job *job) {
    const struct stage *self = instance;
    struct sluice_view view;
    struct num_err err = {0};
    dz_autoturns turns = {0};
    num_autotext *text = NULL;
    struct st_job watched = {self->host, job};
    const struct num_watch watch = st_watch(&watched);
    int32_t status = st_input(self->host, job, "turns", &view, &err);
    if (status == SLUICE_OK)
        status = dz_turns_read(view.data, view.len, 0, &watch, &turns, &err);
    if (status == SLUICE_OK)
        status = dz_rttm_write(&turns, self->host->item(job), &text, &err);
    if (status == SLUICE_OK)
        status = st_commit(self->host, job, "text", text, strlen(text), &err);
    return st_end(self->host, job, status, &err);
}

static const struct sluice_port rttm_out = {SLUICE_SIZED(struct sluice_port), 0, "text",
                                            SLUICE_TYPE_TEXT, "The turns, a line each."};

static const struct sluice_stage rttm_stage = {
    .size = SLUICE_SIZED(struct sluice_stage),
    .flags = SLUICE_STAGE_DETERMINISTIC,
    .id = "diarize/rttm",
    .version = "1",
    .summary = "Writes speaker turns as RTTM, for scoring and for other programs.",
    .inputs = (const struct sluice_port *const[]){&turns_in, NULL},
    .outputs = (const struct sluice_port *const[]){&rttm_out, NULL},
    .create = rttm_create,
    .process = rttm_process,
    .destroy = destroy};

/* ---- diarize/from_rttm ---- */

static int32_t from_rttm_create(const struct sluice_host *host, void **ret_self) {
    struct stage *self = NULL;
    int32_t status = make(host, &self);
    if (status != SLUICE_OK)
        return status;
    status = host->param_string(host, "recording", &self->recording);
    if (status != SLUICE_OK && status != SLUICE_UNSUPPORTED) {
        host->error(host, "the host does not know the parameter recording");
        free(self);
        return status;
    }
    *ret_self = self;
    return SLUICE_OK;
}

/* The file's bytes; *ret_text is the caller's to free. */
static int32_t read_file(const char *path, char **ret_text, size_t *ret_len, struct num_err *err) {
    FILE *file = fopen(path, "rbe");
    if (!file)
        return num_fail(err, SLUICE_INPUT, "%.300s: %s", path, strerror(errno));
    char *text = NULL;
    size_t len = 0, capacity = 0, n = 0;
    int32_t status = SLUICE_OK;
    do {
        if (len == capacity) {
            capacity = capacity ? 2 * capacity : 64 << 10;
            char *grown = capacity <= MAX_RTTM_BYTES ? realloc(text, capacity) : NULL;
            if (!grown) {
                status = num_fail(err, SLUICE_INPUT, "%.300s: too large for an RTTM file", path);
                break;
            }
            text = grown;
        }
        n = fread(text + len, 1, capacity - len, file);
        len += n;
    } while (n > 0);
    if (status == SLUICE_OK && ferror(file))
        status = num_fail(err, SLUICE_INPUT, "%.300s: %s", path, strerror(errno));
    fclose(file);
    *ret_text = text;
    *ret_len = len;
    return status;
}

static int32_t from_rttm_process(void *instance, struct sluice_job *job) {
    const struct stage *self = instance;
    struct sluice_view view;
    struct num_err err = {0};
    dz_autoturns turns = {0};
    num_autotext *source = NULL, *text = NULL;
    size_t len = 0;
    int32_t status = st_input(self->host, job, "file", &view, &err);
    if (status == SLUICE_OK)
        status = read_file(view.path, &source, &len, &err);
    if (status == SLUICE_OK)
        status = dz_rttm_read(source, len, self->recording, &turns, &err);
    if (status == SLUICE_OK)
        status = dz_turns_write(&turns, NULL, &text, &err);
    if (status == SLUICE_OK)
        status = st_commit(self->host, job, "turns", text, strlen(text), &err);
    return st_end(self->host, job, status, &err);
}

static const struct sluice_port file_in = {SLUICE_SIZED(struct sluice_port), 0, "file",
                                           SLUICE_TYPE_FILE, "An RTTM file."};
static const struct sluice_port turns_out = {SLUICE_SIZED(struct sluice_port), 0, "turns",
                                             SLUICE_TYPE_TURNS, "Who speaks when."};
static const struct sluice_param recording_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_STRING,
    .name = "recording",
    .doc = "The recording whose turns are taken from a file that holds several."};

static const struct sluice_stage from_rttm_stage = {
    .size = SLUICE_SIZED(struct sluice_stage),
    .flags = SLUICE_STAGE_DETERMINISTIC,
    .id = "diarize/from_rttm",
    .version = "1",
    .summary = "Reads speaker turns from an RTTM file.",
    .inputs = (const struct sluice_port *const[]){&file_in, NULL},
    .outputs = (const struct sluice_port *const[]){&turns_out, NULL},
    .params = (const struct sluice_param *const[]){&recording_param, NULL},
    .create = from_rttm_create,
    .process = from_rttm_process,
    .destroy = destroy};

static const struct sluice_stage *const stages[] = {&dz_speakers_stage,
                                                    &dz_enrol_stage,
                                                    &dz_identify_stage,
                                                    &assign_stage,
                                                    &rttm_stage,
                                                    &from_rttm_stage,
                                                    NULL};

SLUICE_EXPORT const struct sluice_plugin sluice_plugin_entry = {SLUICE_PLUGIN_HEADER, "diarize",
                                                                SLUICE_VERSION, "MIT", stages};
