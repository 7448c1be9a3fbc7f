/*
 * The sandbox of a stage: what its process can do from before its plugin is loaded until its end,
 * whatever it calls, and every process that it starts. docs/isolation.md says it for users.
 *
 *   no_new_privs   programs with setuid or capabilities of their own give none
 *   capabilities   of a worker that runs as root only those that concern files are left
 *   Landlock       files: read and run below `read` and what every program needs, write below
 *                  `write`; no signals to processes outside (from version 6 on)
 *   seccomp        no sockets, unless the network is allowed; no namespaces, mounts, tracing, keys,
 *                  modules
 *
 * Descriptors that were passed to the process stay what they are: outputs are written through them.
 */
#ifndef WORKER_SANDBOX_H
#define WORKER_SANDBOX_H

#include <stdbool.h>

#include "base/confine.h"
#include "ipc/frame.h"

/* The files that every program needs and that are here: system folders, the installation. A fork
 * server looks for them once; never freed. */
struct sl_sandbox_base;
struct sl_sandbox_base *sl_sandbox_base_find(void);

/* Applies what SL_FRAME_SANDBOX says to this process, which must have one thread. What the kernel
 * lacks is left out; the core says so. `base` may be NULL: then it looks. SLUICE_INTERNAL: it could
 * not be applied though it is there. */
int sl_sandbox_enter(const struct sl_sandbox_base *base, const struct sl_frame *frame,
                     struct sl_err *err);

/* Adds to the message of a stage that was refused something what may be behind it: nothing unless
 * `confined`. */
void sl_sandbox_explain(bool confined, char *message, size_t size);

#endif
