/*
 * The cards of this machine, as NVIDIA's driver sees them: names, memory, who uses it. The driver
 * is asked by a helper process (`sluice-worker --gpu`, worker/nvml.h), so that a driver that hangs
 * holds up nobody and no library of NVIDIA's is mapped here. Not CUDA: asking makes no context and
 * takes no memory of a card.
 *
 * An answer is one JSON object:
 *   {"driver": "550.54.15", "cuda": 12040,
 *    "cards": [{"index": 0, "uuid": "GPU-...", "name": "...", "capability": 90,
 *               "total": B, "reserved": B, "free": B, "persistence": true, "divided": false,
 *               "processes": [[pid, B]...], "error": "..."}]}
 * or {"error": "why the driver cannot be used"}. Bytes. All but index may be absent; a card with
 * "error" cannot be used.
 */
#ifndef PROC_GPU_H
#define PROC_GPU_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define SL_GPU_MAX_CARDS     64
#define SL_GPU_MAX_PROCESSES 256 /* of one card */
#define SL_GPU_UUID_SIZE     96
#define SL_GPU_NAME_SIZE     96

struct sl_gpu_process {
    pid_t pid; /* by the driver's count: in a container perhaps not ours */
    uint64_t used;
};

struct sl_gpu {
    int index; /* the driver's, as nvidia-smi counts */
    char uuid[SL_GPU_UUID_SIZE], name[SL_GPU_NAME_SIZE];
    uint64_t capacity, free; /* bytes; capacity: all but what the driver keeps for itself */
    int capability;          /* 90: 9.0; 0: not known */
    bool persistent, divided;
    char *error;                      /* why it cannot be used, owned; or NULL */
    struct sl_gpu_process *processes; /* owned */
    int n_processes;
};

struct sl_gpus {
    char *error;          /* why there are none, owned; or NULL */
    char driver[32];      /* "550.54.15", or "" */
    int cuda;             /* the newest CUDA that the driver serves, 12040: 12.4; 0: not known */
    struct sl_gpu *cards; /* owned, at most SL_GPU_MAX_CARDS */
    int n;
};

/* Reads an answer. Pure; fuzzed. SLUICE_INTERNAL: not an answer; *ret is empty then. */
int sl_gpus_parse(const char *text, size_t len, struct sl_gpus *ret, struct sl_err *err);
void sl_gpus_finish(struct sl_gpus *g); /* frees; empty again. Empty is fine */

/*
 * Leaves the cards that CUDA_VISIBLE_DEVICES names, in its order: numbers, UUIDs or beginnings of
 * them, up to the first that is none (as CUDA does). NULL: all stay. Where it names parts of a
 * divided card none stays and `error` says why.
 */
void sl_gpus_restrict(struct sl_gpus *g, const char *visible);

/* ---- The helper ------------------------------------------------------------------------------ */

#define SL_GPU_FIRST_LIMIT_MS 30000 /* a driver without persistence mode sets up its cards first */
#define SL_GPU_LIMIT_MS       10000

struct sl_gpu_helper {
    pid_t pid;
    int pidfd, socket; /* owned; socket is non-blocking, to be watched */
};

/* Starts one; call from the main thread. */
int sl_gpu_helper_start(const char *worker_program, struct sl_gpu_helper *ret, struct sl_err *err);
/* Kills it; does not wait for one that the kernel cannot end (a driver that hangs). Stopped already
 * is fine. */
void sl_gpu_helper_stop(struct sl_gpu_helper *h);

/* Asks; the answer comes on the socket. SL_CRASH: the helper is gone. */
int sl_gpu_helper_ask(const struct sl_gpu_helper *h, struct sl_err *err);
/* 1: an answer, restricted to CUDA_VISIBLE_DEVICES; 0: none yet; negative: the helper is of no use
 * any more. */
int sl_gpu_helper_receive(const struct sl_gpu_helper *h, struct sl_gpus *ret, struct sl_err *err);
/* Asks and waits. SL_TIMEOUT: the driver does not answer. */
int sl_gpu_helper_query(const struct sl_gpu_helper *h, int limit_ms, struct sl_gpus *ret,
                        struct sl_err *err);

/* The same with a helper for this one question. What goes wrong is in ret->error: no driver is an
 * answer too. */
void sl_gpus_look(const char *worker_program, struct sl_gpus *ret);

/* Which libraries of CUDA there are (worker/libraries.h), asked in a process of their own; *ret is
 * owned. */
int sl_gpu_libraries(const char *worker_program, json_t **ret, struct sl_err *err);

#endif
