/*
 * One stage a kind of bad manners, each of which one test of `sluice plugin check` finds:
 * manners/leaks (memory; `what: fd` or `thread` instead), random, bad_utf8, speechless, deaf,
 * internal, starves, remembers, worse_together, exits.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixtures/plugins/fixture.h"

FIXTURE_PORT(in, "text", SLUICE_TYPE_TEXT, 0);
FIXTURE_PORT(out, "text", SLUICE_TYPE_TEXT, 0);
static const struct sluice_port *const inputs[] = {&in, NULL};
static const struct sluice_port *const outputs[] = {&out, NULL};

static int32_t write_text(void *self, struct sluice_job *job, const char *text) {
    const struct sluice_host *host = self;
    void *data;
    int32_t rc = host->output_grow(job, "text", strlen(text), &data);
    if (rc < 0)
        return rc;
    memcpy(data, text, strlen(text));
    return host->output_commit(job, "text", strlen(text));
}

static int32_t create(const struct sluice_host *host, void **ret_self) {
    *ret_self = (void *)host;
    return SLUICE_OK;
}

/* The compiler must not see that nobody reads it. */
static char *filled(size_t size) {
    volatile char *p = malloc(size);
    for (size_t i = 0; i < size; i += 512)
        p[i] = 1;
    return (char *)p;
}

/* ---- leaks ---- */

static const char *const leak_choices[] = {"memory", "fd", "thread", NULL};
static const struct sluice_param what_param = {.size = SLUICE_SIZED(struct sluice_param),
                                               .kind = SLUICE_PARAM_STRING,
                                               .name = "what",
                                               .default_value = "memory",
                                               .choices = leak_choices,
                                               .doc = "What is left behind."};
static const struct sluice_param *const leak_params[] = {&what_param, NULL};

static void *wait_for_ever(void *arg) {
    for (;;)
        pause();
    return arg;
}

static int32_t leaks(void *self, struct sluice_job *job) {
    const struct sluice_host *host = self;
    const char *what = "";
    pthread_t thread;
    host->param_string(host, "what", &what);
    if (strcmp(what, "memory") == 0)
        (void)filled(50000);
    else if (strcmp(what, "fd") == 0)
        (void)!open("/dev/null", O_RDONLY | O_CLOEXEC);
    else
        pthread_create(&thread, NULL, wait_for_ever, NULL);
    return write_text(self, job, "done\n");
}

/* ---- the others ---- */

static int32_t random_text(void *self, struct sluice_job *job) {
    char text[] = "process 000000\n";
    for (int i = 13, pid = getpid() ^ rand(); i > 7; i--, pid /= 10)
        text[i] = (char)('0' + abs(pid % 10));
    return write_text(self, job, text);
}

static int32_t bad_utf8(void *self, struct sluice_job *job) {
    const struct sluice_host *host = self;
    host->fail(job, "not \xff\xfe text");
    return SLUICE_INPUT;
}

static int32_t speechless(void *self, struct sluice_job *job) {
    (void)self;
    (void)job;
    return SLUICE_INPUT;
}

static int32_t deaf(void *self, struct sluice_job *job) {
    const struct sluice_host *host = self;
    host->progress(job, 0, "working");
    usleep(1500000);
    return write_text(self, job, "done\n");
}

static int32_t internal(void *self, struct sluice_job *job) {
    const struct sluice_host *host = self;
    struct sluice_view v = {.size = SLUICE_SIZED(struct sluice_view)};
    host->input(job, "text", &v);
    if (v.len > 0 && (*(const char *)v.data & 0x80)) {
        host->fail(job, "that is not text");
        return SLUICE_INTERNAL;
    }
    return write_text(self, job, "done\n");
}

/* Trusts malloc. */
static int32_t starves(void *self, struct sluice_job *job) {
    free(filled(64 << 20));
    return write_text(self, job, "done\n");
}

/* A bad input spoils those that follow. */
struct memory {
    const struct sluice_host *host;
    int spoilt;
};

static int32_t create_memory(const struct sluice_host *host, void **ret_self) {
    struct memory *m = calloc(1, sizeof *m);
    if (!m)
        return SLUICE_RESOURCE;
    m->host = host;
    *ret_self = m;
    return SLUICE_OK;
}

static int32_t remembers(void *self, struct sluice_job *job) {
    struct memory *m = self;
    struct sluice_view v = {.size = SLUICE_SIZED(struct sluice_view)};
    m->host->input(job, "text", &v);
    m->spoilt |= v.len == 0;
    m->host->fail(job, "an earlier input was empty");
    return m->spoilt ? SLUICE_INPUT : write_text((void *)m->host, job, "done\n");
}

/* Two jobs at once: the second and all after it fail. */
static int32_t worse_together(void *self, struct sluice_job *job) {
    const struct sluice_host *host = self;
    for (struct sluice_job *more; (more = host->take(host, 50));) {
        host->fail(more, "one at a time, please");
        host->finish(more, SLUICE_UNSUPPORTED);
    }
    return write_text(self, job, "done\n");
}

static int32_t exits(void *self, struct sluice_job *job) {
    return write_text(self, job, "done\n");
}

static void exit_in_destroy(void *self) {
    (void)self;
    _exit(9);
}

#define STAGE(name, run, ...)                                                                      \
    static const struct sluice_stage name##_stage = {.size = SLUICE_SIZED(struct sluice_stage),    \
                                                     .id = "manners/" #name,                       \
                                                     .version = "1",                               \
                                                     .summary = "Has bad manners.",                \
                                                     .inputs = inputs,                             \
                                                     .outputs = outputs,                           \
                                                     .create = create,                             \
                                                     .process = run,                               \
                                                     __VA_ARGS__}
STAGE(leaks, leaks, .params = leak_params);
STAGE(random, random_text, .flags = SLUICE_STAGE_DETERMINISTIC);
STAGE(bad_utf8, bad_utf8, .flags = 0);
STAGE(speechless, speechless, .flags = 0);
STAGE(deaf, deaf, .flags = 0);
STAGE(internal, internal, .flags = 0);
STAGE(starves, starves, .flags = 0);
STAGE(worse_together, worse_together, .max_jobs = 4);
STAGE(exits, exits, .destroy = exit_in_destroy);
static const struct sluice_stage remembers_stage = {.size = SLUICE_SIZED(struct sluice_stage),
                                                    .id = "manners/remembers",
                                                    .version = "1",
                                                    .summary = "Has bad manners, and no full stop",
                                                    .inputs = inputs,
                                                    .outputs = outputs,
                                                    .create = create_memory,
                                                    .process = remembers};

static const struct sluice_stage *const stages[] = {&leaks_stage,
                                                    &random_stage,
                                                    &bad_utf8_stage,
                                                    &speechless_stage,
                                                    &deaf_stage,
                                                    &internal_stage,
                                                    &starves_stage,
                                                    &remembers_stage,
                                                    &worse_together_stage,
                                                    &exits_stage,
                                                    NULL};

SLUICE_EXPORT const struct sluice_plugin sluice_plugin_entry = {
    SLUICE_PLUGIN_HEADER, .name = "manners", .version = "1", .licence = "MIT", .stages = stages};
