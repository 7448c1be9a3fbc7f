/*
 * NVML through dlopen, see nvml.h. The functions and layouts used here are those of NVIDIA's NVML
 * reference manual (docs.nvidia.com/deploy/nvml-api); they are stable, each carries its version in
 * its name. Those that older drivers lack are optional: reserved memory, compute capability,
 * persistence and MIG mode, processes.
 *
 * Every answer is made anew: a card that is lost, or a driver that is loaded later, shows in the
 * next one.
 */
#include "worker/nvml.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "base/json.h"
#include "base/mem.h"
#include "worker/libraries.h"

#define LIBRARY       "libnvidia-ml.so.1"
#define PROCESS_NAME  "sluice-gpu"
#define MAX_PROCESSES 256 /* of one card that are told */
#define NOT_AVAILABLE UINT64_MAX
#define ERROR_MORE    7 /* NVML_ERROR_INSUFFICIENT_SIZE */

typedef void *device_t;

struct memory {
    uint64_t total, free, used;
};

struct memory_v2 {
    uint32_t version;
    uint64_t total, reserved, free, used; /* used holds what is reserved too */
};
#define MEMORY_V2 (sizeof(struct memory_v2) | 2u << 24)

struct process {
    uint32_t pid;
    uint64_t used;
    uint32_t gpu_instance, compute_instance;
};

struct nvml {
    void *library;
    bool running; /* between init and shutdown */
    int (*init)(void);
    int (*shutdown)(void);
    const char *(*error_text)(int status);
    int (*driver_version)(char *text, unsigned size);
    int (*cuda_version)(int *ret);
    int (*count)(unsigned *ret);
    int (*handle)(unsigned index, device_t *ret);
    int (*name)(device_t d, char *text, unsigned size);
    int (*uuid)(device_t d, char *text, unsigned size);
    int (*memory)(device_t d, struct memory *ret);
    int (*memory_v2)(device_t d, struct memory_v2 *ret);
    int (*processes)(device_t d, unsigned *n, struct process *ret);
    int (*capability)(device_t d, int *ret_major, int *ret_minor);
    int (*persistence)(device_t d, unsigned *ret);
    int (*mig)(device_t d, unsigned *ret_current, unsigned *ret_pending);
};

/* ---- The library ----------------------------------------------------------------------------- */

static int need(struct nvml *n, const char *name, void *to, struct sl_err *err) {
    *(void **)to = dlsym(n->library, name);
    return *(void **)to ? 0 : sl_err_set(err, SLUICE_UNSUPPORTED, "%s has no %s", LIBRARY, name);
}

static void want(struct nvml *n, const char *name, void *to) {
    *(void **)to = dlsym(n->library, name);
}

static int find_functions(struct nvml *n, struct sl_err *err) {
    const struct {
        const char *name;
        void *to;
    } needed[] = {{"nvmlInit_v2", &n->init},
                  {"nvmlShutdown", &n->shutdown},
                  {"nvmlErrorString", &n->error_text},
                  {"nvmlSystemGetDriverVersion", &n->driver_version},
                  {"nvmlDeviceGetCount_v2", &n->count},
                  {"nvmlDeviceGetHandleByIndex_v2", &n->handle},
                  {"nvmlDeviceGetName", &n->name},
                  {"nvmlDeviceGetUUID", &n->uuid},
                  {"nvmlDeviceGetMemoryInfo", &n->memory}};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (need(n, needed[i].name, needed[i].to, err) < 0)
            return SLUICE_UNSUPPORTED;
    want(n, "nvmlSystemGetCudaDriverVersion_v2", &n->cuda_version);
    want(n, "nvmlDeviceGetMemoryInfo_v2", &n->memory_v2);
    want(n, "nvmlDeviceGetComputeRunningProcesses_v3", &n->processes);
    if (!n->processes) /* the same layout */
        want(n, "nvmlDeviceGetComputeRunningProcesses_v2", &n->processes);
    want(n, "nvmlDeviceGetCudaComputeCapability", &n->capability);
    want(n, "nvmlDeviceGetPersistenceMode", &n->persistence);
    want(n, "nvmlDeviceGetMigMode", &n->mig);
    return 0;
}

static void close_library(struct nvml *n) {
    if (n->running)
        n->shutdown();
    if (n->library)
        dlclose(n->library);
    *n = (struct nvml){0};
}

static int open_library(struct nvml *n, struct sl_err *err) {
    const char *path = getenv("SLUICE_NVML");
    if (n->running)
        return 0;
    n->library = dlopen(path && *path ? path : LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!n->library)
        return sl_err_set(err, SLUICE_UNSUPPORTED, "no NVIDIA driver: %s", dlerror());
    int rc = find_functions(n, err);
    if (rc == 0 && (rc = n->init()) != 0)
        rc = sl_err_set(err, SLUICE_UNSUPPORTED,
                        "the NVIDIA driver cannot be used: %s (NVML error %d)", n->error_text(rc),
                        rc);
    n->running = rc == 0;
    if (rc < 0)
        close_library(n);
    return rc;
}

/* ---- A card ---------------------------------------------------------------------------------- */

static bool add_memory(const struct nvml *n, device_t d, json_t *card, int *ret_error) {
    struct memory_v2 v2 = {.version = MEMORY_V2};
    struct memory v1;
    *ret_error = n->memory_v2 ? n->memory_v2(d, &v2) : -1;
    if (*ret_error != 0) {
        if ((*ret_error = n->memory(d, &v1)) != 0)
            return false;
        v2 = (struct memory_v2){.total = v1.total, .free = v1.free};
    }
    sl_json_set(card, "total", json_integer((json_int_t)v2.total));
    sl_json_set(card, "reserved", json_integer((json_int_t)v2.reserved));
    sl_json_set(card, "free", json_integer((json_int_t)v2.free));
    return true;
}

static void add_processes(const struct nvml *n, device_t d, json_t *card) {
    struct process list[MAX_PROCESSES];
    unsigned count = MAX_PROCESSES;
    if (!n->processes || n->processes(d, &count, list) != 0)
        return;
    json_t *all = json_array();
    for (unsigned i = 0; i < count && i < MAX_PROCESSES; i++)
        if (list[i].used != NOT_AVAILABLE)
            json_array_append_new(
                all, json_pack("[I,I]", (json_int_t)list[i].pid, (json_int_t)list[i].used));
    sl_json_set(card, "processes", all);
}

static void add_text(json_t *card, const char *key, device_t d,
                     int (*get)(device_t, char *, unsigned)) {
    char text[96] = "";
    if (get(d, text, sizeof text) == 0)
        sl_json_set(card, key, sl_json_text(text));
}

static void add_modes(const struct nvml *n, device_t d, json_t *card) {
    unsigned on = 0, pending;
    int major, minor;
    if (n->capability && n->capability(d, &major, &minor) == 0)
        sl_json_set(card, "capability", json_integer(major * 10 + minor));
    if (n->persistence && n->persistence(d, &on) == 0)
        sl_json_set(card, "persistence", json_boolean(on));
    if (n->mig && n->mig(d, &on, &pending) == 0)
        sl_json_set(card, "divided", json_boolean(on));
}

static json_t *card_json(const struct nvml *n, unsigned index) {
    json_t *card = json_object();
    device_t d;
    sl_json_set(card, "index", json_integer(index));
    int error = n->handle(index, &d);
    if (error == 0) {
        add_text(card, "uuid", d, n->uuid);
        add_text(card, "name", d, n->name);
        add_modes(n, d, card);
        if (add_memory(n, d, card, &error))
            add_processes(n, d, card);
    }
    if (error != 0)
        sl_json_set(card, "error", sl_json_text(n->error_text(error)));
    return card;
}

/* ---- An answer ------------------------------------------------------------------------------- */

static int add_cards(const struct nvml *n, json_t *answer, struct sl_err *err) {
    char driver[96] = "";
    int cuda = 0, error;
    unsigned count = 0;
    if ((error = n->count(&count)) != 0)
        return sl_err_set(err, SLUICE_UNSUPPORTED, "the cards cannot be counted: %s",
                          n->error_text(error));
    if (n->driver_version(driver, sizeof driver) == 0)
        sl_json_set(answer, "driver", sl_json_text(driver));
    if (n->cuda_version && n->cuda_version(&cuda) == 0)
        sl_json_set(answer, "cuda", json_integer(cuda));
    json_t *cards = json_array();
    for (unsigned i = 0; i < count; i++)
        json_array_append_new(cards, card_json(n, i));
    sl_json_set(answer, "cards", cards);
    return 0;
}

static char *answer_text(struct nvml *n) {
    struct sl_err err = {0};
    sl_autojson json_t *answer = json_object();
    int rc = open_library(n, &err);
    if (rc == 0 && (rc = add_cards(n, answer, &err)) < 0)
        close_library(n); /* the next one begins from the start */
    if (rc < 0)
        sl_json_set(answer, "error", sl_json_text(err.msg));
    return sl_json_line(answer);
}

int sl_nvml_serve(int socket) {
    struct nvml n = {0};
    char request[16];
    prctl(PR_SET_NAME, PROCESS_NAME);
    for (;;) {
        ssize_t got = recv(socket, request, sizeof request, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        sl_autofree char *text = request[0] == 'l' ? sl_libraries_text() : answer_text(&n);
        if (send(socket, text, strlen(text), MSG_NOSIGNAL) < 0)
            break;
    }
    close_library(&n);
    return 0;
}
