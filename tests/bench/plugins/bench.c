/*
 * Stages that the engine's benchmark times: bench/fill makes a recording of `seconds` (audio/1),
 * bench/sum adds its samples up, bench/warm does nothing in a process that stays. Each says when it
 * was done by the monotonic clock, as the metric `at_s`, so that the hand-over between two
 * processes can be read off the journal.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <sluice/plugin.h>

#define RATE        16000
#define HEADER_SIZE 256
#define SUM_BLOCK   4096

static const struct sluice_host *host_of(void *self) {
    return self;
}

static int32_t create(const struct sluice_host *host, void **ret_self) {
    *ret_self = (void *)host;
    return SLUICE_OK;
}

static void say_when(const struct sluice_host *host, struct sluice_job *job) {
    const struct sluice_metrics *metrics = host->extension(host, SLUICE_EXT_METRICS);
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    if (metrics)
        metrics->set(job, "at_s", (double)t.tv_sec + (double)t.tv_nsec * 1e-9);
}

/* A safetensors header padded with blanks to HEADER_SIZE bytes after its length. */
static void write_header(char *data, unsigned long long n_samples) {
    char text[HEADER_SIZE + 1];
    int len = snprintf(
        text, sizeof text,
        "{\"__metadata__\":{\"sample_rate\":\"16000\"},\"pcm\":{\"dtype\":\"F32\",\"shape\":[%llu],"
        "\"data_offsets\":[0,%llu]}}",
        n_samples, 4 * n_samples);
    uint64_t size = HEADER_SIZE;
    memcpy(data, &size, sizeof size);
    memset(data + 8, ' ', HEADER_SIZE);
    memcpy(data + 8, text, (size_t)len);
}

static int32_t fill(void *self, struct sluice_job *job) {
    const struct sluice_host *host = host_of(self);
    double seconds = 600;
    void *data;
    host->param_float(host, "seconds", &seconds);
    uint64_t n = (uint64_t)(seconds * RATE), size = 8 + HEADER_SIZE + 4 * n;
    int32_t rc = host->output_grow(job, "audio", size, &data);
    if (rc != SLUICE_OK)
        return rc;
    write_header(data, n);
    float *pcm = (float *)((char *)data + 8 + HEADER_SIZE);
    for (uint64_t i = 0; i < n; i++)
        pcm[i] = (float)(i % 7) * 0.125f;
    say_when(host, job);
    return host->output_commit(job, "audio", size);
}

/* Sixteen partial sums in floats, as numpy adds up a block. */
static double sum_block(const float *pcm, uint64_t n) {
    float parts[16] = {0};
    double total = 0;
    uint64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int k = 0; k < 16; k++)
            parts[k] += pcm[i + (uint64_t)k];
    for (; i < n; i++)
        total += pcm[i];
    for (int k = 0; k < 16; k++)
        total += parts[k];
    return total;
}

static int32_t sum(void *self, struct sluice_job *job) {
    const struct sluice_host *host = host_of(self);
    struct sluice_view view = {.size = SLUICE_SIZED(struct sluice_view)};
    void *text;
    int32_t rc = host->input(job, "audio", &view);
    if (rc != SLUICE_OK)
        return rc;
    uint64_t header;
    memcpy(&header, view.data, sizeof header);
    const float *pcm = (const float *)((const char *)view.data + 8 + header);
    uint64_t n = (view.len - 8 - header) / 4;
    double total = 0;
    for (uint64_t i = 0; i < n; i += SUM_BLOCK)
        total += sum_block(pcm + i, n - i < SUM_BLOCK ? n - i : SUM_BLOCK);
    say_when(host, job);
    rc = host->output_grow(job, "text", 64, &text);
    if (rc != SLUICE_OK)
        return rc;
    return host->output_commit(job, "text", (uint64_t)snprintf(text, 64, "%.0f\n", total));
}

static int32_t nothing(void *self, struct sluice_job *job) {
    (void)self;
    (void)job;
    return SLUICE_OK;
}

static const struct sluice_port audio = {SLUICE_SIZED(struct sluice_port), 0, "audio",
                                         SLUICE_TYPE_AUDIO, "A recording."};
static const struct sluice_port text = {SLUICE_SIZED(struct sluice_port), 0, "text",
                                        SLUICE_TYPE_TEXT, "Its sum."};
static const struct sluice_port *const audio_ports[] = {&audio, NULL};
static const struct sluice_port *const text_ports[] = {&text, NULL};
static const struct sluice_param seconds = {.size = SLUICE_SIZED(struct sluice_param),
                                            .kind = SLUICE_PARAM_DURATION,
                                            .name = "seconds",
                                            .default_value = "600s",
                                            .unit = "s",
                                            .doc = "Length of the recording."};
static const struct sluice_param *const params[] = {&seconds, NULL};
static const struct sluice_stage fill_stage = {.size = SLUICE_SIZED(struct sluice_stage),
                                               .id = "bench/fill",
                                               .version = "1",
                                               .summary = "Makes a recording.",
                                               .outputs = audio_ports,
                                               .params = params,
                                               .create = create,
                                               .process = fill};
static const struct sluice_stage sum_stage = {.size = SLUICE_SIZED(struct sluice_stage),
                                              .id = "bench/sum",
                                              .version = "1",
                                              .summary = "Adds up the samples of a recording.",
                                              .inputs = audio_ports,
                                              .outputs = text_ports,
                                              .create = create,
                                              .process = sum};
static const struct sluice_stage warm_stage = {.size = SLUICE_SIZED(struct sluice_stage),
                                               .id = "bench/warm",
                                               .version = "1",
                                               .summary =
                                                   "Does nothing, for many items in one process.",
                                               .max_jobs = 4,
                                               .process = nothing};
static const struct sluice_stage *const stages[] = {&fill_stage, &sum_stage, &warm_stage, NULL};
SLUICE_EXPORT const struct sluice_plugin sluice_plugin_entry = {
    SLUICE_PLUGIN_HEADER, .name = "bench", .version = "1", .licence = "MIT", .stages = stages};
