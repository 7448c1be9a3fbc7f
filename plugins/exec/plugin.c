/*
 * The plugin `exec`: stage command, any program as a stage. Glue only: inputs become paths, the
 * program runs (child.h), what it wrote is copied into the outputs.
 *
 *     argv: [prog, "--in=${in.audio}", "${out.text}"]      outputs: { text: text/1 }
 *             |          |                   |
 *       PATH search   view.path     SCRATCH/text.txt --> output_grow + read + output_commit
 *
 * The program writes into the job's scratch folder and not into the output itself, since an output
 * grows by calls to the host that a program cannot make. No shell is involved; a pipeline that
 * wants one says so.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sluice/plugin.h>

#include "exec/child.h"
#include "exec/config.h"
#include "exec/program.h"
#include "exec/refs.h"

#define COPY_BYTES (8u << 20) /* between two looks at cancelled() */

struct command {
    const struct sluice_host *host;
    const struct sluice_scratch *scratch; /* NULL: the host has none; then there are no outputs */
    struct cmd_config config;
};

/* What one job needs while it is prepared and run. */
struct run {
    const struct command *command;
    struct sluice_job *job;
    const char *folder; /* the job's scratch folder, or NULL */
    char path[4096];    /* result of the last output_path() */
    char **argv;        /* NULL-terminated, owned */
    char **env;         /* NULL-terminated, owned */
    char *file;         /* the program's, owned */
};

static void run_finish(struct run *run) {
    cmd_env_free(run->argv);
    cmd_env_free(run->env);
    free(run->file);
}
#define autorun __attribute__((cleanup(run_finish))) struct run

/* ---- create ---------------------------------------------------------------------------------- */

static int32_t read_params(const struct sluice_host *host, struct cmd_config *ret,
                           struct cmd_err *err) {
    static const char *const names[] = {"argv", "outputs", "env", "exit_codes"};
    const char *texts[4] = {NULL};
    for (size_t i = 0; i < 4; i++) {
        int32_t status = host->param_json(host, names[i], &texts[i]);
        if (status != SLUICE_OK && status != SLUICE_UNSUPPORTED)
            return cmd_fail(err, status, "the host does not know the parameter %s", names[i]);
    }
    return cmd_config_read(texts[0], texts[1], texts[2], texts[3], ret, err);
}

static int32_t create(const struct sluice_host *host, void **ret_self) {
    struct cmd_err err = {0};
    struct command *self = calloc(1, sizeof *self);
    if (!self) {
        host->error(host, "out of memory");
        return SLUICE_RESOURCE;
    }
    self->host = host;
    self->scratch = host->extension(host, SLUICE_EXT_SCRATCH);
    int32_t status = read_params(host, &self->config, &err);
    if (status == SLUICE_OK && self->config.n_outputs && !self->scratch)
        status = cmd_fail(&err, SLUICE_UNSUPPORTED,
                          "this host has no scratch folder, which a command with outputs needs");
    if (status != SLUICE_OK) {
        host->error(host, err.message);
        cmd_config_finish(&self->config);
        free(self);
        return status;
    }
    *ret_self = self;
    return SLUICE_OK;
}

static void destroy(void *instance) {
    struct command *self = instance;
    if (self)
        cmd_config_finish(&self->config);
    free(self);
}

/* ---- before the program ---------------------------------------------------------------------- */

/* Path of output `port` in the scratch folder, in run->path; NULL: too long. */
static const char *output_path(struct run *run, const char *port, struct cmd_err *err) {
    const char *type = cmd_config_output(&run->command->config, port);
    int n = snprintf(run->path, sizeof run->path, "%s/%s%s", run->folder, port,
                     cmd_type_extension(type ? type : ""));
    if (n > 0 && (size_t)n < sizeof run->path)
        return run->path;
    cmd_fail(err, SLUICE_UNSUPPORTED, "the scratch folder's name is too long");
    return NULL;
}

static const char *unknown_input(struct run *run, const char *port, struct cmd_err *err) {
    char known[256] = "";
    const char *name;
    size_t at = 0;
    for (uint32_t i = 0; (name = run->command->host->input_name(run->job, i)); i++)
        if (at < sizeof known)
            at += (size_t)snprintf(known + at, sizeof known - at, "%s%s", i ? ", " : "", name);
    cmd_fail(err, SLUICE_UNSUPPORTED, "${in.%s}: nothing is connected there; connected: %s", port,
             *known ? known : "nothing");
    return NULL;
}

/* A cmd_resolver. */
static const char *resolve(void *context, bool is_output, const char *port, struct cmd_err *err) {
    struct run *run = context;
    if (is_output)
        return output_path(run, port, err);
    struct sluice_view view = {.size = SLUICE_SIZED(struct sluice_view)};
    int32_t status = run->command->host->input(run->job, port, &view);
    if (status == SLUICE_OK && view.path)
        return view.path;
    return unknown_input(run, port, err);
}

static int32_t make_argv(struct run *run, struct cmd_err *err) {
    const struct cmd_config *config = &run->command->config;
    run->argv = calloc(config->n_argv + 1, sizeof *run->argv);
    if (!run->argv)
        return cmd_fail(err, SLUICE_RESOURCE, "out of memory");
    int status = 0;
    for (size_t i = 0; status == 0 && i < config->n_argv; i++)
        status = cmd_refs_expand(config->argv[i], resolve, run, &run->argv[i], err);
    return status;
}

static int32_t make_env(struct run *run, struct cmd_err *err) {
    const struct cmd_config *config = &run->command->config;
    struct cmd_pair *pairs = calloc(config->n_env + 1, sizeof *pairs);
    int status = pairs ? 0 : cmd_fail(err, SLUICE_RESOURCE, "out of memory");
    size_t n = 0;
    while (status == 0 && n < config->n_env) {
        pairs[n].name = config->env[n].name;
        status = cmd_refs_expand(config->env[n].value, resolve, run, &pairs[n].value, err);
        n += status == 0;
    }
    if (status == 0) {
        run->env = cmd_env_make(run->folder, pairs, n);
        if (!run->env)
            status = cmd_fail(err, SLUICE_RESOURCE, "out of memory");
    }
    for (size_t i = 0; i < n; i++)
        free(pairs[i].value);
    free(pairs);
    return status;
}

/* Fills in folder, argv, env and file; removes what an earlier attempt may have left at the
 * outputs. */
static int32_t prepare(struct run *run, struct cmd_err *err) {
    const struct command *command = run->command;
    run->folder = command->scratch ? command->scratch->path(run->job) : NULL;
    if (!run->folder && command->config.n_outputs)
        return cmd_fail(err, SLUICE_RESOURCE, "the scratch folder could not be made");
    int32_t status = make_argv(run, err);
    if (status == SLUICE_OK)
        status = make_env(run, err);
    if (status == SLUICE_OK)
        status = cmd_program_find(run->argv[0], cmd_env_get(run->env, "PATH"), &run->file, err);
    for (size_t i = 0; status == SLUICE_OK && i < command->config.n_outputs; i++)
        if (output_path(run, command->config.outputs[i].name, err))
            unlink(run->path);
    return status;
}

/* ---- while it runs --------------------------------------------------------------------------- */

static bool is_cancelled(void *context) {
    struct run *run = context;
    return run->command->host->cancelled(run->job) != 0;
}

static void beat(void *context) {
    struct run *run = context;
    run->command->host->progress(run->job, -1, NULL);
}

/* The class of the end, with a message where it is a failure. */
static int32_t judge(const struct run *run, const struct cmd_child_end *end, struct cmd_err *err) {
    const char *program = run->argv[0];
    if (end->cancelled)
        return cmd_fail(err, SLUICE_CANCELLED, "%s was stopped", program);
    int32_t class = cmd_exit_codes_class(&run->command->config.exit_codes, end->status);
    if (class == SLUICE_OK)
        return class;
    char how[128];
    if (end->signal)
        snprintf(how, sizeof how, "was killed by signal %d (%s)", end->signal,
                 strsignal(end->signal));
    else
        snprintf(how, sizeof how, "exited with status %d", end->status);
    if (*end->last_line)
        return cmd_fail(err, class, "%s %s; its last line on standard error: \"%s\"", program, how,
                        end->last_line);
    return cmd_fail(err, class, "%s %s and wrote nothing to standard error", program, how);
}

/* ---- after the program ----------------------------------------------------------------------- */

/* Reads `size` bytes of `fd` to `data`, with heartbeats. */
static int32_t read_all(struct run *run, int fd, char *data, uint64_t size, struct cmd_err *err) {
    for (uint64_t done = 0; done < size;) {
        if (is_cancelled(run))
            return cmd_fail(err, SLUICE_CANCELLED, "%s was stopped", run->argv[0]);
        size_t want = size - done < COPY_BYTES ? (size_t)(size - done) : COPY_BYTES;
        ssize_t n = read(fd, data + done, want);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return cmd_fail(err, SLUICE_INTERNAL, "%s: cannot be read: %s", run->path,
                            n < 0 ? strerror(errno) : "it became shorter");
        done += (uint64_t)n;
        beat(run);
    }
    return SLUICE_OK;
}

/* Copies the open file into output `port`. */
static int32_t commit_file(struct run *run, const char *port, int fd, uint64_t size,
                           struct cmd_err *err) {
    const struct sluice_host *host = run->command->host;
    void *data = NULL;
    int32_t status = host->output_grow(run->job, port, size ? size : 1, &data);
    if (status != SLUICE_OK)
        return cmd_fail(err, status, "no room for the %llu bytes of the output `%s`",
                        (unsigned long long)size, port);
    status = read_all(run, fd, data, size, err);
    return status == SLUICE_OK ? host->output_commit(run->job, port, size) : status;
}

/* Copies what the program wrote for `port`, which must be there. */
static int32_t take_output(struct run *run, const char *port, struct cmd_err *err) {
    if (!output_path(run, port, err))
        return SLUICE_UNSUPPORTED;
    int fd = open(run->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return cmd_fail(
            err, SLUICE_INTERNAL,
            "%s ended well but did not write its output `%s`: it must write the file that "
            "${out.%s} names, or `outputs` must not declare it",
            run->argv[0], port, port);
    struct stat st;
    int32_t status = SLUICE_OK;
    if (fd < 0 || fstat(fd, &st) < 0)
        status = cmd_fail(err, SLUICE_INTERNAL, "the output `%s` of %s cannot be read: %s", port,
                          run->argv[0], strerror(errno));
    else if (!S_ISREG(st.st_mode))
        status = cmd_fail(err, SLUICE_INTERNAL, "the output `%s` of %s is not a plain file", port,
                          run->argv[0]);
    else
        status = commit_file(run, port, fd, (uint64_t)st.st_size, err);
    if (fd >= 0)
        close(fd);
    return status;
}

static int32_t process(void *instance, struct sluice_job *job) {
    const struct command *self = instance;
    autorun run = {.command = self, .job = job};
    struct cmd_child_end end = {0};
    struct cmd_err err = {0};
    int32_t status = prepare(&run, &err);
    if (status == SLUICE_OK && is_cancelled(&run))
        status = cmd_fail(&err, SLUICE_CANCELLED, "%s was not started", run.argv[0]);
    if (status == SLUICE_OK) {
        struct cmd_child_spec spec = {run.file, run.argv, run.env};
        struct cmd_child_watch watch = {&run, is_cancelled, beat};
        self->host->progress(job, -1, NULL);
        status = cmd_child_run(&spec, &watch, &end, &err);
    }
    if (status == SLUICE_OK)
        status = judge(&run, &end, &err);
    for (size_t i = 0; status == SLUICE_OK && i < self->config.n_outputs; i++)
        status = take_output(&run, self->config.outputs[i].name, &err);
    if (status != SLUICE_OK && *err.message)
        self->host->fail(job, err.message);
    return status;
}

/* ---- the declaration ------------------------------------------------------------------------- */

static const struct sluice_port any_in = {
    SLUICE_SIZED(struct sluice_port), SLUICE_PORT_OPTIONAL, "*", "*",
    "Anything; the program gets its path where argv or env say ${in.PORT}."};
static const struct sluice_port any_out = {
    SLUICE_SIZED(struct sluice_port), SLUICE_PORT_OPTIONAL, "*", "*",
    "As `outputs` declares; the program writes the file that ${out.PORT} names."};
static const struct sluice_port *const inputs[] = {&any_in, NULL};
static const struct sluice_port *const outputs[] = {&any_out, NULL};

static const struct sluice_param argv_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_JSON,
    .flags = SLUICE_PARAM_REQUIRED,
    .name = "argv",
    .doc = "The program and its arguments, a list; no shell reads it."};
static const struct sluice_param outputs_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_JSON,
    .name = "outputs",
    .default_value = "{}",
    .doc = "The outputs: a map of port name to type, such as {text: text/1}."};
static const struct sluice_param env_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_JSON,
    .name = "env",
    .default_value = "{}",
    .doc = "Environment variables beside PATH, HOME, LANG and TMPDIR: a map of name to value."};
static const struct sluice_param exit_codes_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_JSON,
    .name = "exit_codes",
    .default_value = "{}",
    .doc = "Exit status to ok, input, unsupported, resource, transient or internal; by default 0 "
           "is ok, "
           "75 transient, 137 resource, any other internal."};
static const struct sluice_param *const params[] = {&argv_param, &outputs_param, &env_param,
                                                    &exit_codes_param, NULL};

static const struct sluice_stage command_stage = {
    .size = SLUICE_SIZED(struct sluice_stage),
    .id = "exec/command",
    .version = "1",
    .summary = "Runs any program: inputs as paths, outputs as files that it writes.",
    .inputs = inputs,
    .outputs = outputs,
    .params = params,
    .create = create,
    .process = process,
    .destroy = destroy};

static const struct sluice_stage *const stages[] = {&command_stage, NULL};

SLUICE_EXPORT const struct sluice_plugin sluice_plugin_entry = {SLUICE_PLUGIN_HEADER, "exec",
                                                                SLUICE_VERSION, "MIT", stages};
