/*
 * The stages diarize/enrol, which keeps the voice of a recording with one speaker, and
 * diarize/identify, which names the speakers whose voices were kept: glue between the host and
 * voices.h.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diarize/stages.h"
#include "diarize/turns.h"
#include "diarize/voices.h"
#include "stage/stage.h"

struct stage {
    const struct sluice_host *host;
    struct dz_voices known; /* identify */
    double threshold, margin;
};

struct work {
    const struct stage *self;
    struct sluice_job *job;
    struct dz_voices voices;
    struct num_err err;
};

/* Embeddings that can be compared from one recording to the next. */
static int32_t read_voices(struct work *w) {
    struct sluice_view view;
    int32_t status = st_input(w->self->host, w->job, "embeddings", &view, &w->err);
    if (status == SLUICE_OK)
        status = dz_voices_read(view.data, view.len, "embeddings", &w->voices, &w->err);
    if (status == SLUICE_OK && strcmp(w->voices.kind, "cepstra") == 0)
        status = num_fail(&w->err, SLUICE_INPUT,
                          "the classic method tells voices apart within one recording only; give "
                          "diarize/speakers the models of the neural method");
    return status;
}

static int32_t process(void *instance, struct sluice_job *job, int32_t (*run)(struct work *w)) {
    struct work w = {.self = instance, .job = job};
    int32_t status = run(&w);
    dz_voices_finish(&w.voices);
    return st_end(w.self->host, job, status, &w.err);
}

static void destroy(void *instance) {
    struct stage *self = instance;
    if (self)
        dz_voices_finish(&self->known);
    free(self);
}

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

/* ---- diarize/enrol ---- */

static int32_t run_enrol(struct work *w) {
    void *file = NULL;
    size_t len = 0;
    int32_t status = read_voices(w);
    if (status == SLUICE_OK && w->voices.n != 1)
        status = num_fail(&w->err, SLUICE_INPUT,
                          "%zu speakers were found, and one is to be enrolled; with num_speakers 1 "
                          "of diarize/speakers everybody counts as one",
                          w->voices.n);
    if (status == SLUICE_OK)
        status = dz_voices_write(&w->voices, 0, w->self->host->item(w->job), &file, &len, &w->err);
    if (status == SLUICE_OK)
        status = st_commit(w->self->host, w->job, "voice", file, len, &w->err);
    free(file);
    return status;
}

static int32_t enrol_process(void *instance, struct sluice_job *job) {
    return process(instance, job, run_enrol);
}

static int32_t enrol_create(const struct sluice_host *host, void **ret_self) {
    struct stage *self = NULL;
    int32_t status = make(host, &self);
    if (status == SLUICE_OK)
        *ret_self = self;
    return status;
}

static const struct sluice_port embeddings_in = {
    SLUICE_SIZED(struct sluice_port), 0, "embeddings", SLUICE_TYPE_EMBEDDINGS,
    "Voices of the recording's speakers, by the neural method of diarize/speakers."};
static const struct sluice_port voice_out = {SLUICE_SIZED(struct sluice_port), 0, "voice",
                                             SLUICE_TYPE_EMBEDDINGS,
                                             "The voice, under the name of the item."};

const struct sluice_stage dz_enrol_stage = {
    .size = SLUICE_SIZED(struct sluice_stage),
    .flags = SLUICE_STAGE_DETERMINISTIC,
    .id = "diarize/enrol",
    .version = "1",
    .summary = "Keeps the voice of a recording with one speaker, for diarize/identify.",
    .inputs = (const struct sluice_port *const[]){&embeddings_in, NULL},
    .outputs = (const struct sluice_port *const[]){&voice_out, NULL},
    .create = enrol_create,
    .process = enrol_process,
    .destroy = destroy};

/* ---- diarize/identify ---- */

/* The name of a speaker: that of the known one whom he is like, or his own. */
static const char *name_of(const struct work *w, const char *speaker, size_t *n_named) {
    const struct stage *self = w->self;
    size_t row = 0;
    char text[256];
    while (row < w->voices.n && strcmp(w->voices.names[row], speaker) != 0)
        row++;
    if (row == w->voices.n || self->known.n == 0)
        return speaker;
    struct dz_likeness like = dz_voices_compare(&w->voices, row, &self->known);
    bool is_known = like.score >= self->threshold && like.score - like.next >= self->margin;
    const char *best = self->known.names[like.best];
    snprintf(text, sizeof text, "%.60s %s %.60s: likeness %.2f, of the next %.2f", speaker,
             is_known ? "is" : "is nobody known; nearest is", best, like.score,
             like.next < -1 ? 0 : like.next);
    self->host->log(self->host, SLUICE_LOG_INFO, text);
    *n_named += is_known;
    return is_known ? best : speaker;
}

/* The same turns under other names; speakers with the same name become one. */
static int32_t rename_turns(const struct dz_turns *turns, const char *const *names,
                            const struct dz_turns *order, struct dz_turns *ret,
                            struct num_err *err) {
    dz_autoturns out = {0};
    size_t capacity = 0;
    int32_t status = SLUICE_OK;
    for (size_t i = 0; status == SLUICE_OK && i < turns->n_turns; i++) {
        struct dz_turn turn = turns->turns[i];
        uint32_t s = 0;
        while (strcmp(order->speakers[s], turns->speakers[turn.speaker]) != 0)
            s++;
        status = dz_speaker(&out, names[s], &turn.speaker, err);
        if (status == SLUICE_OK)
            status = dz_append(&out, &capacity, turn, err);
    }
    if (status != SLUICE_OK)
        return status;
    *ret = out;
    out = (struct dz_turns){0};
    return SLUICE_OK;
}

/* Adds the speakers of the exclusive track that the other one lacks. */
static int32_t add_speakers(struct dz_turns *to, const struct dz_turns *from, struct num_err *err) {
    int32_t status = SLUICE_OK;
    for (uint32_t i = 0, index; status == SLUICE_OK && i < from->n_speakers; i++)
        status = dz_speaker(to, from->speakers[i], &index, err);
    return status;
}

static int32_t commit_renamed(struct work *w, const struct dz_turns *turns,
                              const struct dz_turns *exclusive, const char **names) {
    dz_autoturns renamed = {0}, renamed_exclusive = {0};
    char *text = NULL;
    int32_t status = rename_turns(turns, names, turns, &renamed, &w->err);
    if (status == SLUICE_OK)
        status = rename_turns(exclusive, names, turns, &renamed_exclusive, &w->err);
    if (status == SLUICE_OK)
        status = dz_turns_write(&renamed, &renamed_exclusive, &text, &w->err);
    if (status == SLUICE_OK)
        status = st_commit(w->self->host, w->job, "turns", text, strlen(text), &w->err);
    free(text);
    return status;
}

static int32_t name_all(struct work *w, const struct dz_turns *turns,
                        const struct dz_turns *exclusive) {
    const struct sluice_host *host = w->self->host;
    const char **names = calloc(turns->n_speakers + 1, sizeof *names);
    size_t n_named = 0;
    if (!names)
        return num_fail_memory(&w->err, "names", turns->n_speakers * sizeof *names);
    for (uint32_t i = 0; i < turns->n_speakers; i++)
        names[i] = name_of(w, turns->speakers[i], &n_named);
    int32_t status = commit_renamed(w, turns, exclusive, names);
    st_metric(host, w->job, "speakers", turns->n_speakers);
    st_metric(host, w->job, "named", (double)n_named);
    free(names);
    return status;
}

static int32_t check_kind(struct work *w) {
    const struct dz_voices *known = &w->self->known;
    if (known->n == 0 || w->voices.n == 0)
        return SLUICE_OK;
    if (known->size != w->voices.size || strcmp(known->kind, w->voices.kind) != 0)
        return num_fail(
            &w->err, SLUICE_INPUT,
            "known speakers were enrolled with another embedding model (%.40s) than the "
            "recording's (%.40s); enrol them again",
            known->kind, w->voices.kind);
    return SLUICE_OK;
}

static int32_t run_identify(struct work *w) {
    struct sluice_view view;
    struct st_job watched = {w->self->host, w->job};
    const struct num_watch watch = st_watch(&watched);
    dz_autoturns turns = {0}, exclusive = {0};
    int32_t status = st_input(w->self->host, w->job, "turns", &view, &w->err);
    if (status == SLUICE_OK)
        status = dz_turns_read(view.data, view.len, 0, &watch, &turns, &w->err);
    if (status == SLUICE_OK)
        status = dz_turns_read(view.data, view.len, 1, &watch, &exclusive, &w->err);
    if (status == SLUICE_OK)
        status = add_speakers(&turns, &exclusive, &w->err);
    if (status == SLUICE_OK)
        status = read_voices(w);
    if (status == SLUICE_OK)
        status = check_kind(w);
    return status == SLUICE_OK ? name_all(w, &turns, &exclusive) : status;
}

static int32_t identify_process(void *instance, struct sluice_job *job) {
    return process(instance, job, run_identify);
}

static int32_t identify_create(const struct sluice_host *host, void **ret_self) {
    struct num_err err = {0};
    struct stage *self = NULL;
    const char *folder = NULL;
    int32_t status = make(host, &self);
    if (status != SLUICE_OK)
        return status;
    if (host->param_string(host, "enrolment", &folder) ||
        host->param_float(host, "threshold", &self->threshold) ||
        host->param_float(host, "margin", &self->margin))
        status = num_fail(&err, SLUICE_INTERNAL, "cannot read the parameters");
    if (status == SLUICE_OK && (status = dz_voices_read_folder(folder, &self->known, &err)))
        num_fail_in(&err, "enrolment");
    if (status != SLUICE_OK) {
        host->error(host, err.text);
        destroy(self);
        return status;
    }
    if (self->known.n == 0)
        host->log(host, SLUICE_LOG_WARN,
                  "nobody is enrolled: no NAME.safetensors in the enrolment folder");
    *ret_self = self;
    return SLUICE_OK;
}

static const struct sluice_port turns_in = {SLUICE_SIZED(struct sluice_port), 0, "turns",
                                            SLUICE_TYPE_TURNS, "Who speaks when."};
static const struct sluice_port turns_out = {SLUICE_SIZED(struct sluice_port), 0, "turns",
                                             SLUICE_TYPE_TURNS,
                                             "The same, with the names of those who are known."};
static const struct sluice_param enrolment_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_STRING,
    .flags = SLUICE_PARAM_REQUIRED,
    .name = "enrolment",
    .doc = "Folder of known voices: NAME.safetensors, or NAME/ with several (diarize/enrol)."};
static const struct sluice_param threshold_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_FLOAT,
    .flags = SLUICE_PARAM_RANGED,
    .name = "threshold",
    .default_value = "0.5",
    .min = -1,
    .max = 1,
    .doc = "Least likeness (cosine) of a speaker and a known one to be the same."};
static const struct sluice_param margin_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_FLOAT,
    .flags = SLUICE_PARAM_RANGED,
    .name = "margin",
    .default_value = "0.05",
    .min = 0,
    .max = 2,
    .doc = "How much more a speaker has to be like the best than like the second best."};

const struct sluice_stage dz_identify_stage = {
    .size = SLUICE_SIZED(struct sluice_stage),
    .flags = SLUICE_STAGE_DETERMINISTIC,
    .id = "diarize/identify",
    .version = "1",
    .summary = "Names the speakers whose voices are known.",
    .inputs = (const struct sluice_port *const[]){&turns_in, &embeddings_in, NULL},
    .outputs = (const struct sluice_port *const[]){&turns_out, NULL},
    .params = (const struct sluice_param *const[]){&enrolment_param, &threshold_param,
                                                   &margin_param, NULL},
    .create = identify_create,
    .process = identify_process,
    .destroy = destroy};
