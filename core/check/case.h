/* What the tests of a plugin share. Each test is a function over this struct; it passes unless it
 * says otherwise. */
#ifndef CHECK_CASE_H
#define CHECK_CASE_H

#include <jansson.h>

#include "base/mem.h"
#include "base/str.h"
#include "check/conform.h"
#include "check/driver.h"
#include "check/elf.h"
#include "graph/catalog.h"

#define SL_CASE_STOP_MS 5000 /* for destroy() and exit */
/* Exit status of sluice-worker when it cannot allocate (base/mem.h). */
#define SL_CASE_OUT_OF_MEMORY 70

/* What `sluice-worker --inspect` found. */
struct sl_inspection {
    bool done;
    char failure[SL_ERR_SIZE]; /* why the plugin could not be loaded, or "" */
    bool load_failed;          /* it was not even opened */
    double load_ms;
    int64_t threads, printed, data_bytes;
    json_t *opened, *libraries; /* owned */
};

struct sl_case {
    const struct sl_conform_options *options;
    char *path;   /* absolute */
    char *folder; /* temporary: payloads, scratch */
    enum sl_containment containment;
    char *file; /* bytes of the plugin */
    size_t file_len;
    struct sl_elf elf;
    char elf_failure[SL_ERR_SIZE]; /* why there is no `elf`, or "" */
    struct sl_inspection inspection;
    struct sl_catalog catalog;
    const struct sl_plugin_desc *plugin; /* NULL or broken: nothing to run */

    const struct sl_stage_desc *stage; /* of the running test; NULL: of the whole plugin */
    json_t *params;                    /* values of `stage`, owned */
    char *params_text;
    char unusable[SL_ERR_SIZE]; /* why no worker of `stage` can be made, or "" */
    enum { SL_STAGE_UNKNOWN, SL_STAGE_USABLE, SL_STAGE_SKIPPED, SL_STAGE_BROKEN } usable;

    struct sl_drive *shared; /* with in_process: the worker that goes from test to test */
    enum sl_conform_outcome outcome;
    struct sl_str why;
    int n_files;
};

/* A test of the table. */
struct sl_test {
    const char *name, *what;
    bool per_stage;
    bool needs_worker; /* is skipped where create() refuses the default parameters */
    void (*run)(struct sl_case *c);
};
extern const struct sl_test sl_elf_tests[], sl_load_tests[], sl_describe_tests[], sl_create_tests[],
    sl_input_tests[], sl_repeat_tests[], sl_cancel_tests[], sl_memory_tests[],
    sl_batch_tests[]; /* each ends with a row without a name */

/* ---- Verdicts: the first failure counts, then the first warning ---- */
void sl_case_fail(struct sl_case *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sl_case_warn(struct sl_case *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sl_case_skip(struct sl_case *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A remark that stands behind "ok". */
void sl_case_note(struct sl_case *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline bool sl_case_failed(const struct sl_case *c) {
    return c->outcome == SL_CONFORM_FAIL;
}

/* The limit of a job or of create() in milliseconds. */
int sl_case_limit_ms(const struct sl_case *c);

/* ---- Workers ---- */

/* A worker of the stage that is READY, or NULL after a verdict. `params` NULL: the stage's own. */
struct sl_drive *sl_case_worker(struct sl_case *c, const char *params);
/* Spawns one with START sent, not waiting; NULL after a verdict. */
struct sl_drive *sl_case_spawn(struct sl_case *c, const char *params, uint64_t data_limit);
/* Hands it back at the end of a test: stops it in order, or kills it where the test has failed. */
void sl_case_release(struct sl_case *c, struct sl_drive *d);
/* False after a verdict: create() did not end with READY or a refusal that has a class and says
 * why. */
bool sl_case_judge_create(struct sl_case *c, const char *what, enum sl_drive_end end, int status,
                          const char *message);

/* True after a skip: the memory of this worker is not the plugin's alone. */
bool sl_case_sanitized(struct sl_case *c, struct sl_drive *d);

/* ---- Jobs ---- */

enum sl_case_inputs { SL_INPUTS_ALL, SL_INPUTS_REQUIRED, SL_INPUTS_LARGE };

/* A job of the stage with typical (or large) payloads. Output ports are those of the declaration,
 * or of the parameter `outputs`. Close it with sl_drive_job_finish. Paths live in `arena`. */
void sl_case_job(struct sl_case *c, enum sl_case_inputs which, struct sl_arena *arena,
                 struct sl_drive_job *ret);
/* Puts a payload into a file; returns its path, in `arena`. */
const char *sl_case_file(struct sl_case *c, const struct sl_str *bytes, struct sl_arena *arena);

/* Sends and waits. */
void sl_case_run_job(struct sl_case *c, struct sl_drive *d, struct sl_drive_job *job);

enum sl_case_input_kind {
    SL_VALID_INPUT,  /* INTERNAL is a failure: it says that the stage is defective */
    SL_HOSTILE_INPUT /* INTERNAL is a warning: it is retried, which cannot help */
};

/*
 * Judges a job that has ended: OK with every output committed and of its type, or a class and a
 * message in UTF-8. False after a failure. `what` is the input, for the verdict.
 */
bool sl_case_judge(struct sl_case *c, struct sl_drive *d, struct sl_drive_job *job,
                   enum sl_case_input_kind kind, const char *what);
/* True where two jobs committed the same bytes. */
bool sl_case_same_outputs(const struct sl_drive_job *a, const struct sl_drive_job *b);

/* Fills c->inspection, once. */
void sl_case_inspect(struct sl_case *c);

/* Reads the parameters of c->stage: defaults, and those of the options. SL_USAGE: a value that does
 * not fit. Sets c->unusable where a required one is missing. */
int sl_case_read_params(struct sl_case *c, struct sl_err *err);
/* The value of a parameter out of its text; NULL (owned) where it does not fit, then err says why.
 */
json_t *sl_case_param_value(const struct sl_param_desc *param, const char *text,
                            struct sl_err *err);

#endif
