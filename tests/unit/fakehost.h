/*
 * A host in memory, for tests that run a plugin's stage without a worker. Include test.h first.
 *
 *     struct fake_host h;
 *     fake_host_init(&h, sluice_plugin_entry.stages[0]);
 *     fake_param(&h, "max_line_width", "42");                       as in a pipeline file; lists as
 * JSON fake_input(&h, "transcript", "transcript/1", text, strlen(text)); CHECK_INT(fake_run(&h),
 * SLUICE_OK);                           create, process, destroy CHECK_STR(fake_output(&h, "text"),
 * "...");                    NUL behind the content fake_host_finish(&h);
 *
 * Inputs lie in files of a temporary folder, so views have paths; outputs grow in memory with new
 * bytes zero. It checks that the plugin keeps to the rules: an output is committed at most once and
 * within its capacity. For stages that take one job at a time.
 */
#ifndef TESTS_UNIT_FAKEHOST_H
#define TESTS_UNIT_FAKEHOST_H

#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>

#include <sluice/plugin.h>

#define FAKE_MAX 32

struct fake_port {
    char name[64], type[64], path[256];
    char *data; /* owned; NUL behind `len` bytes of a committed output */
    uint64_t len, capacity;
    int committed;
    int missing; /* an input whose source failed and was ignored */
};

struct fake_host {
    struct sluice_host host; /* first: the stage sees its address */
    const struct sluice_stage *stage;
    struct sluice_budget budget;
    struct {
        char name[64], *value;
    } params[FAKE_MAX];
    size_t n_params;
    struct fake_port inputs[FAKE_MAX], outputs[FAKE_MAX];
    size_t n_inputs, n_outputs;
    char folder[TEST_PATH];          /* of inputs; "scratch" below it is the job's */
    char error[1024], message[1024]; /* last error() and fail() */
    atomic_int n_progress, n_published;
    double cancel_at_s; /* time (fake_now) from which cancelled() is true; 0: never */
    int no_scratch;     /* the host has no scratch extension */
};

/* The job is the host: one at a time. */
struct sluice_job {
    struct fake_host h;
};

static inline double fake_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline struct fake_host *fake_of_host(const struct sluice_host *host) {
    return (struct fake_host *)(uintptr_t)host;
}

static inline struct fake_host *fake_of_job(struct sluice_job *job) {
    return &job->h;
}

static inline struct fake_port *fake_find(struct fake_port *ports, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(ports[i].name, name) == 0)
            return &ports[i];
    return NULL;
}

/* ---- parameters ---- */

static inline const struct sluice_param *fake_declared(const struct fake_host *h,
                                                       const char *name) {
    for (size_t i = 0; h->stage->params && h->stage->params[i]; i++)
        if (strcmp(h->stage->params[i]->name, name) == 0)
            return h->stage->params[i];
    return NULL;
}

/* The given value or the default; the status says why there is none. */
static inline int32_t fake_value(const struct sluice_host *host, const char *name,
                                 const char **ret) {
    struct fake_host *h = fake_of_host(host);
    const struct sluice_param *declared = fake_declared(h, name);
    if (!declared)
        return SLUICE_INTERNAL;
    const char *value = declared->default_value;
    for (size_t i = 0; i < h->n_params; i++)
        if (strcmp(h->params[i].name, name) == 0)
            value = h->params[i].value;
    *ret = value;
    return value ? SLUICE_OK : SLUICE_UNSUPPORTED;
}

static inline int32_t fake_param_bool(const struct sluice_host *host, const char *name,
                                      int32_t *ret) {
    const char *value = NULL;
    int32_t status = fake_value(host, name, &value);
    if (status == SLUICE_OK)
        *ret = strcmp(value, "true") == 0;
    return status;
}

static inline int32_t fake_param_int(const struct sluice_host *host, const char *name,
                                     int64_t *ret) {
    const char *value = NULL;
    int32_t status = fake_value(host, name, &value);
    if (status == SLUICE_OK)
        *ret = strtoll(value, NULL, 10);
    return status;
}

static inline int32_t fake_param_float(const struct sluice_host *host, const char *name,
                                       double *ret) {
    const char *value = NULL;
    int32_t status = fake_value(host, name, &value);
    if (status == SLUICE_OK)
        *ret = strtod(value, NULL);
    return status;
}

static inline int32_t fake_param_string(const struct sluice_host *host, const char *name,
                                        const char **ret) {
    return fake_value(host, name, ret);
}

static inline const struct sluice_budget *fake_budget(const struct sluice_host *host) {
    return &fake_of_host(host)->budget;
}

static inline const char *fake_share_dir(const struct sluice_host *host) {
    return fake_of_host(host)->folder;
}

/* ---- messages ---- */

static inline void fake_error(const struct sluice_host *host, const char *message) {
    snprintf(fake_of_host(host)->error, sizeof fake_of_host(host)->error, "%s", message);
}

static inline void fake_fail(struct sluice_job *job, const char *message) {
    snprintf(fake_of_job(job)->message, sizeof fake_of_job(job)->message, "%s", message);
}

static inline void fake_log(const struct sluice_host *host, int32_t level, const char *message) {
    (void)host;
    fprintf(stderr, "  log %d: %s\n", (int)level, message);
}

static inline void fake_progress(struct sluice_job *job, double fraction, const char *what) {
    (void)what;
    CHECK(fraction <= 1.0);
    fake_of_job(job)->n_progress++;
}

static inline int32_t fake_cancelled(struct sluice_job *job) {
    double at = fake_of_job(job)->cancel_at_s;
    return at > 0 && fake_now() >= at;
}

static inline const char *fake_item(struct sluice_job *job) {
    (void)job;
    return "item";
}

/* ---- inputs and outputs ---- */

static inline int32_t fake_open_input(struct sluice_job *job, const char *port,
                                      struct sluice_view *view) {
    struct fake_host *h = fake_of_job(job);
    struct fake_port *input = fake_find(h->inputs, h->n_inputs, port);
    CHECK(view->size >= SLUICE_SIZED(struct sluice_view));
    if (!input || input->missing)
        return SLUICE_UNSUPPORTED;
    int by_path = strcmp(input->type, SLUICE_TYPE_FILE) == 0;
    view->data = by_path ? NULL : input->data;
    view->len = by_path ? 0 : input->len;
    view->type = input->type;
    view->path = input->path;
    return SLUICE_OK;
}

static inline const char *fake_input_name(struct sluice_job *job, uint32_t i) {
    struct fake_host *h = fake_of_job(job);
    return i < h->n_inputs ? h->inputs[i].name : NULL;
}

static inline int32_t fake_output_grow(struct sluice_job *job, const char *port, uint64_t capacity,
                                       void **ret_data) {
    struct fake_host *h = fake_of_job(job);
    struct fake_port *out = fake_find(h->outputs, h->n_outputs, port);
    if (!out) {
        CHECK(h->n_outputs < FAKE_MAX);
        out = &h->outputs[h->n_outputs++];
        snprintf(out->name, sizeof out->name, "%s", port);
    }
    CHECK(!out->committed);
    if (capacity > out->capacity) {
        char *data = realloc(out->data, capacity + 1);
        if (!data)
            return SLUICE_RESOURCE;
        memset(data + out->capacity, 0, capacity + 1 - out->capacity);
        out->data = data;
        out->capacity = capacity;
    }
    *ret_data = out->data;
    return SLUICE_OK;
}

static inline int32_t fake_output_commit(struct sluice_job *job, const char *port, uint64_t len) {
    struct fake_host *h = fake_of_job(job);
    struct fake_port *out = fake_find(h->outputs, h->n_outputs, port);
    CHECK(out && !out->committed && len <= out->capacity);
    out->committed = 1;
    out->len = len;
    out->data[len] = '\0';
    return SLUICE_OK;
}

static inline struct sluice_job *fake_take(const struct sluice_host *host, int32_t wait_ms) {
    (void)host;
    (void)wait_ms;
    return NULL;
}

static inline void fake_finish(struct sluice_job *job, int32_t status) {
    (void)job;
    TEST_FAIL("finish(%d) was called for a job of a stage with one job", (int)status);
}

/* ---- extensions ---- */

static inline const char *fake_scratch_path(struct sluice_job *job) {
    static char path[128];
    snprintf(path, sizeof path, "%s/scratch", fake_of_job(job)->folder);
    mkdir(path, 0700);
    return path;
}

static inline void fake_publish(struct sluice_job *job, const char *port, const void *data,
                                uint64_t len) {
    (void)port;
    (void)data;
    CHECK(len <= 32 * 1024);
    fake_of_job(job)->n_published++;
}

static inline const void *fake_extension(const struct sluice_host *host, const char *id) {
    static const struct sluice_scratch scratch = {SLUICE_SIZED(struct sluice_scratch), 0,
                                                  fake_scratch_path};
    static const struct sluice_stream stream = {SLUICE_SIZED(struct sluice_stream), 0,
                                                fake_publish};
    if (strcmp(id, SLUICE_EXT_SCRATCH) == 0)
        return fake_of_host(host)->no_scratch ? NULL : &scratch;
    return strcmp(id, SLUICE_EXT_STREAM) == 0 ? &stream : NULL;
}

/* ---- for tests ---- */

static inline void fake_host_init(struct fake_host *h, const struct sluice_stage *stage) {
    memset(h, 0, sizeof *h);
    h->stage = stage;
    h->budget = (struct sluice_budget){.size = SLUICE_SIZED(struct sluice_budget), .cpus = 1};
    h->host = (struct sluice_host){
        .size = SLUICE_SIZED(struct sluice_host),
        .abi_minor = SLUICE_ABI_MINOR,
        .param_bool = fake_param_bool,
        .param_int = fake_param_int,
        .param_float = fake_param_float,
        .param_string = fake_param_string,
        .param_json = fake_value,
        .budget = fake_budget,
        .share_dir = fake_share_dir,
        .error = fake_error,
        .log = fake_log,
        .extension = fake_extension,
        .input = fake_open_input,
        .input_name = fake_input_name,
        .progress = fake_progress,
        .cancelled = fake_cancelled,
        .fail = fake_fail,
        .output_grow = fake_output_grow,
        .output_commit = fake_output_commit,
        .item = fake_item,
        .take = fake_take,
        .finish = fake_finish,
    };
    make_test_folder(h->folder);
}

/* Frees what the host holds and removes its folder. */
static inline void fake_host_finish(struct fake_host *h) {
    remove_test_files(h->folder);
    for (size_t i = 0; i < h->n_params; i++)
        free(h->params[i].value);
    for (size_t i = 0; i < h->n_inputs; i++)
        free(h->inputs[i].data);
    for (size_t i = 0; i < h->n_outputs; i++)
        free(h->outputs[i].data);
}

/* Gives a parameter; a second call replaces the value. */
static inline void fake_param(struct fake_host *h, const char *name, const char *value) {
    size_t i = 0;
    while (i < h->n_params && strcmp(h->params[i].name, name) != 0)
        i++;
    CHECK(i < FAKE_MAX);
    h->n_params += i == h->n_params;
    snprintf(h->params[i].name, sizeof h->params[i].name, "%s", name);
    free(h->params[i].value);
    h->params[i].value = strdup(value);
}

static inline void fake_input(struct fake_host *h, const char *port, const char *type,
                              const void *data, size_t len) {
    CHECK(h->n_inputs < FAKE_MAX);
    struct fake_port *input = &h->inputs[h->n_inputs++];
    snprintf(input->name, sizeof input->name, "%s", port);
    snprintf(input->type, sizeof input->type, "%s", type);
    snprintf(input->path, sizeof input->path, "%s/%s", h->folder, port);
    input->data = malloc(len ? len : 1); /* exactly: a sanitizer sees a read past the end */
    memcpy(input->data, data, len);
    input->len = len;
    FILE *f = fopen(input->path, "wb");
    CHECK(f && fwrite(data, 1, len, f) == len);
    CHECK_INT(fclose(f), 0);
}

/* An optional input whose source failed and was ignored. */
static inline void fake_input_missing(struct fake_host *h, const char *port) {
    fake_input(h, port, "text/1", "", 0);
    h->inputs[h->n_inputs - 1].missing = 1;
}

/* A file/1 input: the user's file at `path`. */
static inline void fake_input_file(struct fake_host *h, const char *port, const char *path) {
    fake_input(h, port, SLUICE_TYPE_FILE, "", 0);
    snprintf(h->inputs[h->n_inputs - 1].path, sizeof h->inputs[0].path, "%s", path);
}

/* create(), process() once, destroy(); returns the first failure. */
static inline int32_t fake_run(struct fake_host *h) {
    void *self = NULL;
    int32_t status = h->stage->create ? h->stage->create(&h->host, &self) : SLUICE_OK;
    if (status != SLUICE_OK) {
        CHECK(*h->error);
        return status;
    }
    status = h->stage->process(self, (struct sluice_job *)h);
    if (h->stage->destroy)
        h->stage->destroy(self);
    return status;
}

/* Content of a committed output, or NULL. */
static inline const char *fake_output(struct fake_host *h, const char *port) {
    struct fake_port *out = fake_find(h->outputs, h->n_outputs, port);
    return out && out->committed ? out->data : NULL;
}

static inline uint64_t fake_output_len(struct fake_host *h, const char *port) {
    struct fake_port *out = fake_find(h->outputs, h->n_outputs, port);
    return out && out->committed ? out->len : 0;
}

/* The stage called `id` of the plugin that is linked into the test. */
static inline const struct sluice_stage *fake_stage(const char *id) {
    for (size_t i = 0; sluice_plugin_entry.stages[i]; i++)
        if (strcmp(sluice_plugin_entry.stages[i]->id, id) == 0)
            return sluice_plugin_entry.stages[i];
    TEST_FAIL("no stage %s", id);
}

#endif
