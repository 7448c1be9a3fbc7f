/*
 * Frames: the messages between the core and a worker, over one SOCK_SEQPACKET socket pair, one
 * frame a packet.
 *
 * A frame is a fixed header and fields; encode and decode are pure functions over a span.
 * Little-endian:
 *   u32 magic "SLF1"   u16 type   u16 n_fields   u32 job   u32 reserved (0)
 *   then n_fields times: u32 length, bytes, padded with zeros to 4
 * Numbers travel as 8-byte fields (u64, or the bits of a double); a status is a signed 64-bit
 * number in a u64, device kind is SLUICE_DEVICE_*, level is SLUICE_LOG_*. Descriptors ride beside a
 * frame as SCM_RIGHTS.
 *
 * Fields by type, in order:
 *
 *   core -> worker
 *   SL_FRAME_START     plugin path, stage id, params (JSON text), share dir, device kind, device
 *                      index, cpus, memory, gpu_memory (once, first)
 *   SL_FRAME_SANDBOX   flags (worker/sandbox.h), n_read, n_write, then as many paths (before START,
 *                      or never)
 *   SL_FRAME_JOB       job > 0; item name, scratch path, n_inputs, n_outputs, then for each input:
 *                      port, type, path; for each output: port, type. Descriptors: one for each
 *                      input whose type is not file/1 (read-only), then one for each output (an
 *                      empty file, read-write), in order
 *   SL_FRAME_FAULT     job; enum sl_fault (fault.h) (right before its JOB)
 *   SL_FRAME_CANCEL    job (job 0: all)
 *   SL_FRAME_STOP      finish what runs, destroy, exit 0
 *
 *   core <-> fork server (proc/forkserver.h)
 *   SL_FRAME_FORK      PID namespace (0, 1), visible cards ("": unchanged, else "=" and them), cpus
 *                      (0: unchanged), control group (0, 1), n_limits, then for each limit:
 *                      resource, soft, hard. Descriptors: log, channel, and cgroup.procs where it
 *                      joins a control group
 *   SL_FRAME_FORKED    process id; 0: it cannot (the answer)
 *
 *   worker -> core
 *   SL_FRAME_READY     estimate host bytes, estimate device bytes (create() succeeded)
 *   SL_FRAME_REFUSED   status, message (the plugin did not load, or create() failed; exits)
 *   SL_FRAME_PROGRESS  job; fraction (double, < 0 unknown), text
 *   SL_FRAME_LOG       job or 0; level, text (warnings and errors)
 *   SL_FRAME_PART      job; port, bytes (incremental output)
 *   SL_FRAME_METRIC    job; name, value (double)
 *   SL_FRAME_COMMIT    job; port, length in bytes (unmapped, complete)
 *   SL_FRAME_DONE      job; status, message (last of its job)
 *   SL_FRAME_EXIT      wait status of the plugin's process, user and system CPU time in
 *                      microseconds, peak resident bytes (from the worker's init, last of all)
 */
#ifndef IPC_FRAME_H
#define IPC_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define SL_FRAME_MAX_SIZE   65536 /* bytes, header included */
#define SL_FRAME_MAX_FIELDS 512
#define SL_FRAME_MAX_FDS    200

enum sl_frame_type {
    SL_FRAME_START = 1,
    SL_FRAME_JOB,
    SL_FRAME_CANCEL,
    SL_FRAME_STOP,
    SL_FRAME_FORK,
    SL_FRAME_FAULT,
    SL_FRAME_SANDBOX,
    SL_FRAME_READY = 32,
    SL_FRAME_REFUSED,
    SL_FRAME_PROGRESS,
    SL_FRAME_LOG,
    SL_FRAME_PART,
    SL_FRAME_METRIC,
    SL_FRAME_COMMIT,
    SL_FRAME_DONE,
    SL_FRAME_EXIT,
    SL_FRAME_FORKED = 64,
};

struct sl_field {
    const char *data; /* borrowed from the frame's buffer when decoded; not NUL-terminated */
    uint32_t len;
};

struct sl_frame {
    uint16_t type;
    uint16_t n_fields;
    uint32_t job;
    struct sl_field fields[SL_FRAME_MAX_FIELDS];
};

/* Building a frame: sl_frame_init, then fields in order (each is copied), then sl_frame_finish.
 * Adding more than fits is remembered and makes the last step fail. */
struct sl_frame_out {
    uint16_t type;
    uint32_t job;
    int n_fields;
    bool overflow;
    size_t size; /* encoded size so far */
    unsigned char data[SL_FRAME_MAX_SIZE];
};
void sl_frame_init(struct sl_frame_out *f, enum sl_frame_type type, uint32_t job);
void sl_frame_add(struct sl_frame_out *f, const void *data, size_t len);
void sl_frame_add_text(struct sl_frame_out *f, const char *text);
void sl_frame_add_u64(struct sl_frame_out *f, uint64_t value);
void sl_frame_add_f64(struct sl_frame_out *f, double value);
/* Completes the header; SLUICE_RESOURCE: too large. The frame is data[0..size). */
int sl_frame_finish(struct sl_frame_out *f, struct sl_err *err);

/* Checks and splits `len` bytes; fields point into `data`. SLUICE_INTERNAL: not a frame (says why).
 * Also checks that the number of fields fits the type, and that number fields have 8 bytes. */
int sl_frame_decode(const void *data, size_t len, struct sl_frame *ret, struct sl_err *err);

/* Field i as a number, or as text copied to `buf` (NUL-terminated, cut). Out-of-range fields: 0,
 * "". */
uint64_t sl_frame_u64(const struct sl_frame *f, int i);
double sl_frame_f64(const struct sl_frame *f, int i);
const char *sl_frame_text(const struct sl_frame *f, int i, char *buf, size_t size);

#endif
