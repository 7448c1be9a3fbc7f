/*
 * The plugin `export`: stages srt, vtt, txt, tsv, lrc and json. Glue only: an input in, one writer
 * of the engine (formats.h, json.h), an output committed.
 *
 * A text stage's create() is one line that names its writer; all share the rest. The whole file is
 * built in memory and copied into the output once: it is small beside the transcript it was read
 * from.
 */
#include <stdlib.h>
#include <string.h>

#include <sluice/plugin.h>

#include "export/formats.h"
#include "export/json.h"
#include "stage/stage.h"

struct exporter {
    const struct sluice_host *host;
    ex_writer *write; /* NULL: JSON */
    struct ex_layout layout;
    const char *defaults; /* of JSON; borrowed from the host; NULL: none */
};

static int32_t make(const struct sluice_host *host, ex_writer *write, struct exporter **ret) {
    struct exporter *self = calloc(1, sizeof *self);
    if (!self) {
        host->error(host, "out of memory");
        return SLUICE_RESOURCE;
    }
    self->host = host;
    self->write = write;
    *ret = self;
    return SLUICE_OK;
}

/* For the formats with cues: reads the layout too. */
static int32_t make_subtitles(const struct sluice_host *host, ex_writer *write, void **ret_self) {
    int64_t width = 0, count = 0;
    int32_t status = host->param_int(host, "max_line_width", &width);
    if (status == SLUICE_OK)
        status = host->param_int(host, "max_line_count", &count);
    if (status != SLUICE_OK) {
        host->error(host, "the host does not know max_line_width or max_line_count");
        return status;
    }
    struct exporter *self = NULL;
    status = make(host, write, &self);
    if (status != SLUICE_OK)
        return status;
    self->layout = (struct ex_layout){(uint32_t)width, (uint32_t)count};
    *ret_self = self;
    return SLUICE_OK;
}

static int32_t make_plain(const struct sluice_host *host, ex_writer *write, void **ret_self) {
    struct exporter *self = NULL;
    int32_t status = make(host, write, &self);
    if (status == SLUICE_OK)
        *ret_self = self;
    return status;
}

static int32_t create_srt(const struct sluice_host *host, void **ret_self) {
    return make_subtitles(host, ex_write_srt, ret_self);
}
static int32_t create_vtt(const struct sluice_host *host, void **ret_self) {
    return make_subtitles(host, ex_write_vtt, ret_self);
}
static int32_t create_txt(const struct sluice_host *host, void **ret_self) {
    return make_plain(host, ex_write_txt, ret_self);
}
static int32_t create_tsv(const struct sluice_host *host, void **ret_self) {
    return make_plain(host, ex_write_tsv, ret_self);
}
static int32_t create_lrc(const struct sluice_host *host, void **ret_self) {
    return make_plain(host, ex_write_lrc, ret_self);
}

static int32_t create_json(const struct sluice_host *host, void **ret_self) {
    struct num_err err;
    const char *defaults = NULL;
    int32_t status = host->param_json(host, "defaults", &defaults);
    if (status == SLUICE_OK)
        status = ex_json_check_defaults(defaults, &err);
    else if (status == SLUICE_UNSUPPORTED)
        status = SLUICE_OK;
    else
        num_fail(&err, status, "the host does not know defaults");
    if (status != SLUICE_OK) {
        host->error(host, err.text);
        return status;
    }
    struct exporter *self = NULL;
    status = make(host, NULL, &self);
    if (status != SLUICE_OK)
        return status;
    self->defaults = defaults;
    *ret_self = self;
    return SLUICE_OK;
}

static void destroy(void *self) {
    free(self);
}

static int32_t process_text(void *instance, struct sluice_job *job) {
    const struct exporter *self = instance;
    struct sluice_view view;
    struct num_err err = {0};
    ex_autotranscript transcript = {0};
    num_autobuf out = {0};
    struct st_job watched = {self->host, job};
    const struct num_watch watch = st_watch(&watched);
    int32_t status = st_input(self->host, job, "transcript", &view, &err);
    if (status == SLUICE_OK)
        status = ex_transcript_read(view.data, view.len, &watch, &transcript, &err);
    if (status == SLUICE_OK)
        status = num_go_on(&watch, &err);
    if (status == SLUICE_OK)
        status = self->write(&transcript, &self->layout, &out, &err);
    if (status == SLUICE_OK)
        status = st_commit(self->host, job, "text", out.data, out.len, &err);
    return st_end(self->host, job, status, &err);
}

#define MAX_ADDITIONS 64

/* Collects the connected inputs beside `transcript`. Sources that failed and were ignored are left
 * out. */
static int32_t open_additions(const struct exporter *self, struct sluice_job *job,
                              struct ex_addition *additions, size_t *ret_n, struct num_err *err) {
    size_t n = 0;
    const char *name;
    for (uint32_t i = 0; (name = self->host->input_name(job, i)); i++) {
        if (strcmp(name, "transcript") == 0)
            continue;
        if (n == MAX_ADDITIONS)
            return num_fail(err, SLUICE_UNSUPPORTED, "more than %d inputs are connected",
                            MAX_ADDITIONS);
        struct sluice_view view;
        int32_t status = st_input(self->host, job, name, &view, err);
        if (status == SLUICE_UNSUPPORTED)
            continue;
        if (status != SLUICE_OK)
            return status;
        additions[n++] = (struct ex_addition){name, view.type, view.data, view.len};
    }
    *ret_n = n;
    return SLUICE_OK;
}

static int32_t process_json(void *instance, struct sluice_job *job) {
    const struct exporter *self = instance;
    struct sluice_view view;
    struct ex_addition additions[MAX_ADDITIONS];
    size_t n = 0;
    struct num_err err = {0};
    num_autobuf out = {0};
    struct st_job watched = {self->host, job};
    const struct num_watch watch = st_watch(&watched);
    int32_t status = st_input(self->host, job, "transcript", &view, &err);
    if (status == SLUICE_OK)
        status = open_additions(self, job, additions, &n, &err);
    if (status == SLUICE_OK)
        status =
            ex_json_write(view.data, view.len, additions, n, self->defaults, &watch, &out, &err);
    if (status == SLUICE_OK)
        status = st_commit(self->host, job, "json", out.data, out.len, &err);
    return st_end(self->host, job, status, &err);
}

static const struct sluice_port transcript_in = {SLUICE_SIZED(struct sluice_port), 0, "transcript",
                                                 SLUICE_TYPE_TRANSCRIPT,
                                                 "The transcript to write."};
static const struct sluice_port more_in = {
    SLUICE_SIZED(struct sluice_port), SLUICE_PORT_OPTIONAL, "*", "*",
    "Further results, each added under its port's name: text as a string, JSON as it is."};
static const struct sluice_port text_out = {SLUICE_SIZED(struct sluice_port), 0, "text",
                                            SLUICE_TYPE_TEXT, "The file's text."};
static const struct sluice_port json_out = {SLUICE_SIZED(struct sluice_port), 0, "json",
                                            SLUICE_TYPE_JSON,
                                            "The transcript with what was added."};
static const struct sluice_port *const text_inputs[] = {&transcript_in, NULL};
static const struct sluice_port *const json_inputs[] = {&transcript_in, &more_in, NULL};
static const struct sluice_port *const text_outputs[] = {&text_out, NULL};
static const struct sluice_port *const json_outputs[] = {&json_out, NULL};

static const struct sluice_param max_line_width = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_INT,
    .flags = SLUICE_PARAM_RANGED,
    .name = "max_line_width",
    .default_value = "0",
    .min = 0,
    .max = 10000,
    .unit = "characters",
    .doc = "Longest line of a subtitle; 0 leaves lines as they are."};
static const struct sluice_param max_line_count = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_INT,
    .flags = SLUICE_PARAM_RANGED,
    .name = "max_line_count",
    .default_value = "0",
    .min = 0,
    .max = 10000,
    .unit = "lines",
    .doc = "Most lines of a subtitle, which is split in time where it has more; 0 is no limit."};
static const struct sluice_param *const layout_params[] = {&max_line_width, &max_line_count, NULL};

static const struct sluice_param defaults_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_JSON,
    .name = "defaults",
    .doc =
        "Members that are there in any case, such as {summary: \"\"} where the summary may fail."};

#define TEXT_STAGE(name, layout, what)                                                             \
    static const struct sluice_stage name##_stage = {.size = SLUICE_SIZED(struct sluice_stage),    \
                                                     .flags = SLUICE_STAGE_DETERMINISTIC,          \
                                                     .id = "export/" #name,                        \
                                                     .version = "1",                               \
                                                     .summary = what,                              \
                                                     .inputs = text_inputs,                        \
                                                     .outputs = text_outputs,                      \
                                                     .params = layout,                             \
                                                     .create = create_##name,                      \
                                                     .process = process_text,                      \
                                                     .destroy = destroy}

TEXT_STAGE(srt, layout_params, "Writes SubRip subtitles.");
TEXT_STAGE(vtt, layout_params, "Writes WebVTT subtitles.");
TEXT_STAGE(txt, NULL, "Writes the text, one segment a line.");
TEXT_STAGE(tsv, NULL, "Writes a table: start and end in milliseconds, and the text.");
TEXT_STAGE(lrc, NULL, "Writes timed lyrics, as music players show them.");

static const struct sluice_stage json_stage = {
    .size = SLUICE_SIZED(struct sluice_stage),
    .flags = SLUICE_STAGE_DETERMINISTIC,
    .id = "export/json",
    .version = "1",
    .summary = "Writes the transcript as JSON, with further results added.",
    .inputs = json_inputs,
    .outputs = json_outputs,
    .params = (const struct sluice_param *const[]){&defaults_param, NULL},
    .create = create_json,
    .process = process_json,
    .destroy = destroy};

static const struct sluice_stage *const stages[] = {&srt_stage, &vtt_stage, &txt_stage, &json_stage,
                                                    &tsv_stage, &lrc_stage, NULL};

SLUICE_EXPORT const struct sluice_plugin sluice_plugin_entry = {SLUICE_PLUGIN_HEADER, "export",
                                                                SLUICE_VERSION, "MIT", stages};
