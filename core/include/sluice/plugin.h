/*
 * The plugin ABI of Sluice: everything a plugin includes. C11 and C++11.
 *
 * A plugin is a shared object that exports one constant, `sluice_plugin_entry`. It lists stages; a
 * stage declares its ports and parameters as data, so describing a plugin runs none of its code. A
 * stage runs in a worker process of its own:
 *
 *     create(host, &self)          once: read parameters, load models
 *     process(self, job)           once a job, one after the other: inputs in, outputs committed
 *     destroy(self)                once, before the worker exits
 *
 * Rules that hold for every declaration here:
 *   - Each struct begins with its own size, set by the compiler through SLUICE_SIZED(). A reader
 *     that knows fewer members ignores the tail; one that knows more treats a missing tail as zero.
 *     Members are only ever added at the end, with a higher ABI minor.
 *   - Statuses are int32_t, 0 or a negative class of types.h.
 *   - [main-thread] functions are called by the host on the worker's main thread, never two at
 *     once. [any-thread] host functions may be called from every thread of the plugin.
 *   - Pointers handed out by the host are borrowed; each says until when. Strings are UTF-8.
 *   - A new power is an extension with an id of its own ("sluice.stream/1"), never a changed
 *     struct.
 *
 * The shape follows CLAP (extensions by id, thread classes; github.com/free-audio/clap) and
 * PostgreSQL's magic block (a mismatch names the field that differs).
 */
#ifndef SLUICE_PLUGIN_H
#define SLUICE_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#include <sluice/types.h>
#include <sluice/version.h>

#ifdef __cplusplus
#define SLUICE_EXTERN_C                  extern "C"
#define SLUICE_STATIC_ASSERT(cond, what) static_assert(cond, what)
extern "C" {
#else
#define SLUICE_EXTERN_C
#define SLUICE_STATIC_ASSERT(cond, what) _Static_assert(cond, what)
#endif

/* First member of every struct a plugin fills in. */
#define SLUICE_SIZED(type) (uint32_t)sizeof(type)

/* Puts the entry into the shared object's dynamic symbols; plugins hide everything else. */
#define SLUICE_EXPORT SLUICE_EXTERN_C __attribute__((visibility("default")))

/* One run of a stage on one item; opaque, alive from process()/take() to its end. */
struct sluice_job;

/* ---- What a stage declares ------------------------------------------------------------------ */

#define SLUICE_PORT_OPTIONAL 1u /* may stay unconnected (input) or uncommitted (output) */

/*
 * An input or output. Two names are special:
 *   input  "*"   the stage takes any number of further inputs; `type` limits them, "*" is any
 *   output "*"   further outputs are named by the parameter `outputs`, a map of port name to type
 */
struct sluice_port {
    uint32_t size;
    uint32_t flags;   /* SLUICE_PORT_* */
    const char *name; /* [a-z][a-z0-9_]* */
    const char *type; /* see types.h */
    const char *doc;  /* one sentence */
};

#define SLUICE_PARAM_BOOL     1
#define SLUICE_PARAM_INT      2 /* int64_t */
#define SLUICE_PARAM_FLOAT    3 /* double; an integer is accepted */
#define SLUICE_PARAM_STRING   4 /* with `choices`: one of them */
#define SLUICE_PARAM_DURATION 5 /* "90s", "2h", or seconds; read with param_float(), in seconds */
#define SLUICE_PARAM_SIZE     6 /* "4GiB", or bytes; read with param_int(), in bytes */
#define SLUICE_PARAM_JSON     7 /* a number, or any list or map; read with param_json() */

#define SLUICE_PARAM_REQUIRED 1u /* has no default and must be given */
#define SLUICE_PARAM_RANGED   2u /* `min` and `max` hold (inclusive) */

struct sluice_param {
    uint32_t size;
    int32_t kind;      /* SLUICE_PARAM_* kind */
    uint32_t flags;    /* SLUICE_PARAM_REQUIRED, SLUICE_PARAM_RANGED */
    uint32_t reserved; /* 0 */
    const char *name;  /* [a-z][a-z0-9_]* */
    /* as it would be written in a pipeline file; NULL: absent unless given */
    const char *default_value;
    double min, max;            /* for INT, FLOAT, DURATION (seconds), SIZE (bytes), with RANGED */
    const char *const *choices; /* NULL, or NULL-terminated: the accepted strings */
    const char *unit;           /* NULL, or the unit of a number: "s", "tokens", "dB" */
    const char *doc;            /* one sentence */
};

struct sluice_host;

/* Same inputs and parameters give the same bytes. */
#define SLUICE_STAGE_DETERMINISTIC 1u
/* Can run on a CUDA device; without it `device` must be auto or cpu. */
#define SLUICE_STAGE_CUDA 2u

struct sluice_stage {
    uint32_t size;
    uint32_t flags;      /* SLUICE_STAGE_* */
    const char *id;      /* "plugin/stage", as `use:` names it */
    const char *version; /* of the stage's results: change it when they change */
    const char *summary; /* one sentence */
    const struct sluice_port *const *inputs;  /* NULL-terminated; NULL: none */
    const struct sluice_port *const *outputs; /* NULL-terminated; NULL: none */
    const struct sluice_param *const *params; /* NULL-terminated; NULL: none */
    uint32_t max_jobs;                        /* jobs in flight at once; 0 and 1: one */
    uint32_t reserved;                        /* 0 */

    /* [main-thread] Makes an instance and stores it in *ret_self, on success only. `host` stays
     * valid until destroy() returned. On failure say why with host->error() and return the class.
     * NULL: no state. */
    int32_t (*create)(const struct sluice_host *host, void **ret_self);

    /* [main-thread] Processes `job`: reads its inputs, commits its outputs, returns its status. On
     * failure say why with host->fail(). Should call progress() at least twice a minute: it is the
     * heartbeat. */
    int32_t (*process)(void *self, struct sluice_job *job);

    /* [main-thread] Frees the instance. NULL: nothing to free. */
    void (*destroy)(void *self);

    /* [main-thread] The stage's side of an extension, or NULL. May be NULL itself. `self` may be
     * NULL. */
    const void *(*extension)(void *self, const char *id);
};

#define SLUICE_PLUGIN_MAGIC 0x4543554cu /* bytes "LUCE" in a little-endian file */

/* The exported constant: `SLUICE_EXPORT const struct sluice_plugin sluice_plugin_entry = {...};` */
struct sluice_plugin {
    uint32_t magic;     /* SLUICE_PLUGIN_MAGIC */
    uint32_t size;      /* sizeof(struct sluice_plugin) */
    uint32_t abi_major; /* SLUICE_ABI_MAJOR */
    uint32_t abi_minor; /* SLUICE_ABI_MINOR */
    const char *name;   /* the part of stage ids before the slash */
    const char *version;
    const char *licence;                      /* SPDX identifier */
    const struct sluice_stage *const *stages; /* NULL-terminated */
};

/* The four numbers that open a struct sluice_plugin, in order. */
#define SLUICE_PLUGIN_HEADER                                                                       \
    SLUICE_PLUGIN_MAGIC, SLUICE_SIZED(struct sluice_plugin), SLUICE_ABI_MAJOR, SLUICE_ABI_MINOR

#define SLUICE_PLUGIN_ENTRY_NAME "sluice_plugin_entry"
extern __attribute__((visibility("default"))) const struct sluice_plugin sluice_plugin_entry;

/* ---- What the host gives -------------------------------------------------------------------- */

/* An input, mapped read-only. Borrowed until the job ends. */
struct sluice_view {
    uint32_t size;     /* set by the caller: SLUICE_SIZED(struct sluice_view) */
    uint32_t reserved; /* 0 */
    const void *data;  /* NULL for file/1: the file is the plugin's to open, as `path` */
    uint64_t len;      /* bytes at `data` */
    const char *type;  /* the type of what is connected */
    const char *path;  /* where the payload lies: absolute, readable, not to be written */
};

#define SLUICE_LOG_DEBUG 0
#define SLUICE_LOG_INFO  1
#define SLUICE_LOG_WARN  2
#define SLUICE_LOG_ERROR 3

#define SLUICE_DEVICE_CPU  0
#define SLUICE_DEVICE_CUDA 1

/* What the pipeline and the machine allow this stage. */
struct sluice_budget {
    uint32_t size;        /* set by the host */
    int32_t device;       /* SLUICE_DEVICE_*: the device to use, decided by the host */
    int32_t device_index; /* as the process sees it; 0 on the CPU */
    uint32_t cpus;        /* threads the stage should use, at least 1 */
    uint64_t memory;      /* bytes of host memory the stage may use; 0: no limit given */
    uint64_t gpu_memory;  /* bytes of device memory; 0: no limit given */
};

struct sluice_host {
    uint32_t size;
    uint32_t abi_minor; /* the host's */

    /* -- for create() -- */

    /* [any-thread] Parameters, checked against the declaration and with defaults filled in. `ret`
     * is written on success. SLUICE_INTERNAL: no such parameter, or of another kind;
     * SLUICE_UNSUPPORTED: it is absent (no default, not given). Strings are borrowed until
     * destroy() returned. */
    int32_t (*param_bool)(const struct sluice_host *host, const char *name, int32_t *ret);
    int32_t (*param_int)(const struct sluice_host *host, const char *name, int64_t *ret);
    int32_t (*param_float)(const struct sluice_host *host, const char *name, double *ret);
    int32_t (*param_string)(const struct sluice_host *host, const char *name, const char **ret);
    /* [any-thread] Any parameter as JSON text. */
    int32_t (*param_json)(const struct sluice_host *host, const char *name, const char **ret);

    /* [any-thread] Borrowed until destroy() returned. */
    const struct sluice_budget *(*budget)(const struct sluice_host *host);
    /* [any-thread] The folder of installed data ("share/sluice": models, schemas). Same
     * lifetime. */
    const char *(*share_dir)(const struct sluice_host *host);
    /* [any-thread] Why create() is about to fail; the last call counts. */
    void (*error)(const struct sluice_host *host, const char *message);
    /* [any-thread] One line into the attempt's log; warnings and errors also into the run's. */
    void (*log)(const struct sluice_host *host, int32_t level, const char *message);
    /* [any-thread] The host's side of an extension, or NULL where it has none. Static. */
    const void *(*extension)(const struct sluice_host *host, const char *id);

    /* -- for a job; each names its job first -- */

    /* [any-thread] Maps input `port` and fills `view`. SLUICE_UNSUPPORTED: the port is optional and
     * nothing is connected (or its source failed and was ignored). */
    int32_t (*input)(struct sluice_job *job, const char *port, struct sluice_view *view);
    /* [any-thread] Name of the i-th connected input, or NULL past the end: for stages with "*"
     * inputs. */
    const char *(*input_name)(struct sluice_job *job, uint32_t i);
    /* [any-thread] Heartbeat. `fraction` of the job in [0, 1], or below 0 where unknown; `what` one
     * short line or NULL. Cheap: the host sends at most ten a second. */
    void (*progress)(struct sluice_job *job, double fraction, const char *what);
    /* [any-thread] Nonzero once the job is to stop: return SLUICE_CANCELLED within a second. */
    int32_t (*cancelled)(struct sluice_job *job);
    /* [any-thread] Why the job is about to fail: one sentence, what failed on what; the last call
     * counts. */
    void (*fail)(struct sluice_job *job, const char *message);
    /* [main-thread] Makes output `port` at least `capacity` bytes and maps it: *ret_data is
     * writable until the next output_grow() or output_commit() of the same port. New bytes are
     * zero. The map is shared with a file: no copy is made. SLUICE_RESOURCE: no room. */
    int32_t (*output_grow)(struct sluice_job *job, const char *port, uint64_t capacity,
                           void **ret_data);
    /* [main-thread] Declares the first `len` bytes of `port` its content, unmaps it and checks it
     * against the port's type. At most once a port. Outputs count only if the job then ends with
     * SLUICE_OK. */
    int32_t (*output_commit)(struct sluice_job *job, const char *port, uint64_t len);
    /* [any-thread] The item's name, for messages. */
    const char *(*item)(struct sluice_job *job);

    /* -- for stages with max_jobs > 1 -- */

    /* [main-thread] Inside process(): the next waiting job, or NULL. Waits up to `wait_ms` (0: not
     * at all, negative: until there is one or none will come). A job taken here must be ended with
     * finish(). */
    struct sluice_job *(*take)(const struct sluice_host *host, int32_t wait_ms);
    /* [main-thread] Ends a job with its status before process() returns. Allowed for the job that
     * process() was called with too: its return value then does not count. The job is gone
     * after. */
    void (*finish)(struct sluice_job *job, int32_t status);
};

/* ---- Extensions of the host (host->extension) ----------------------------------------------- */

/* Incremental output: parts of an output, published while the job works, for people who watch. What
 * counts is still the committed output. */
#define SLUICE_EXT_STREAM "sluice.stream/1"
struct sluice_stream {
    uint32_t size;
    uint32_t reserved;
    /* [any-thread] Publishes one part, at most 32 KiB: for JSON types one JSON object (a segment, a
     * region), for text/1 text to append. Parts over the limit or of a cancelled job are
     * dropped. */
    void (*publish)(struct sluice_job *job, const char *port, const void *data, uint64_t len);
};

/* A private folder for temporary files, on a disk with room, removed after the attempt whatever
 * happens. */
#define SLUICE_EXT_SCRATCH "sluice.scratch/1"
struct sluice_scratch {
    uint32_t size;
    uint32_t reserved;
    /* [any-thread] Absolute path, made at the first call; NULL: could not be made. Borrowed until
     * the job ends. */
    const char *(*path)(struct sluice_job *job);
};

/* Numbers worth keeping: real-time factor, tokens, windows. They end up in the run's journal. */
#define SLUICE_EXT_METRICS "sluice.metrics/1"
struct sluice_metrics {
    uint32_t size;
    uint32_t reserved;
    /* [any-thread] Sets metric `name` ([a-z][a-z0-9_]*, unit as suffix: "decode_s") of the job. */
    void (*set)(struct sluice_job *job, const char *name, double value);
};

/* ---- Extensions of a stage (stage->extension) ----------------------------------------------- */

/* What the stage expects to need, asked after create(). */
#define SLUICE_EXT_MEMORY "sluice.memory/1"
struct sluice_memory {
    uint32_t size;
    uint32_t reserved;
    /* [main-thread] Bytes that one more job will need beyond what is held, 0 where unknown. */
    int32_t (*estimate)(void *self, uint64_t *ret_host_bytes, uint64_t *ret_device_bytes);
};

#ifdef __cplusplus
}
#endif

/* The layout is the contract: LP64, little-endian. */
SLUICE_STATIC_ASSERT(sizeof(void *) == 8, "Sluice plugins are 64-bit");
SLUICE_STATIC_ASSERT(sizeof(struct sluice_port) == 32, "sluice_port");
SLUICE_STATIC_ASSERT(offsetof(struct sluice_port, doc) == 24, "sluice_port.doc");
SLUICE_STATIC_ASSERT(sizeof(struct sluice_param) == 72, "sluice_param");
SLUICE_STATIC_ASSERT(offsetof(struct sluice_param, doc) == 64, "sluice_param.doc");
SLUICE_STATIC_ASSERT(sizeof(struct sluice_stage) == 96, "sluice_stage");
SLUICE_STATIC_ASSERT(offsetof(struct sluice_stage, create) == 64, "sluice_stage.create");
SLUICE_STATIC_ASSERT(sizeof(struct sluice_plugin) == 48, "sluice_plugin");
SLUICE_STATIC_ASSERT(offsetof(struct sluice_plugin, stages) == 40, "sluice_plugin.stages");
SLUICE_STATIC_ASSERT(sizeof(struct sluice_view) == 40, "sluice_view");
SLUICE_STATIC_ASSERT(sizeof(struct sluice_budget) == 32, "sluice_budget");
SLUICE_STATIC_ASSERT(sizeof(struct sluice_host) == 168, "sluice_host");
SLUICE_STATIC_ASSERT(offsetof(struct sluice_host, input) == 88, "sluice_host.input");

#endif
