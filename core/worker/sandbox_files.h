/* What a sandbox (sandbox.h) lets a process read and write, kept by Landlock. */
#ifndef WORKER_SANDBOX_FILES_H
#define WORKER_SANDBOX_FILES_H

#include "base/err.h"
#include "ipc/frame.h"
#include "worker/sandbox.h"

/* Enters Landlock, which the kernel has in `version`, with the rules of the base and of
 * SL_FRAME_SANDBOX. SLUICE_INTERNAL: the kernel refused. */
int sl_sandbox_enter_files(int version, const struct sl_sandbox_base *base,
                           const struct sl_frame *frame, struct sl_err *err);

#endif
