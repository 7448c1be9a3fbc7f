/* A channel: one end of the socket pair between the core and a worker. Frames and descriptors,
 * whole or not at all. */
#ifndef IPC_CHANNEL_H
#define IPC_CHANNEL_H

#include <sys/types.h>

#include "ipc/frame.h"

/* Makes a pair, both ends O_CLOEXEC; the core's end is non-blocking. */
int sl_channel_pair(int *ret_core_fd, int *ret_worker_fd, struct sl_err *err);

/*
 * Sends one finished frame with descriptors (borrowed). Returns 0; SLUICE_TRANSIENT: the peer does
 * not read (EAGAIN on a non-blocking socket); SL_CRASH: the peer is gone. Never raises SIGPIPE.
 */
int sl_channel_send(int fd, const struct sl_frame_out *frame, const int *fds, int n_fds,
                    struct sl_err *err);

/*
 * Receives one frame into `buf` (SL_FRAME_MAX_SIZE bytes) and decodes it; descriptors that came
 * along are in ret_fds[0..*ret_n_fds) (capacity SL_FRAME_MAX_FDS), owned by the caller, O_CLOEXEC.
 * Returns 1: a frame; 0: nothing to read now (non-blocking only); SL_CRASH: the peer closed;
 * SLUICE_INTERNAL: not a frame (descriptors were closed).
 */
int sl_channel_recv(int fd, void *buf, struct sl_frame *ret_frame, int *ret_fds, int *ret_n_fds,
                    struct sl_err *err);

#endif
