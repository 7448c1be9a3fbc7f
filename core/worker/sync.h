/* `sluice-worker --sync N`: brings files of a run to the disk, so that the core does not wait for
 * it. */
#ifndef WORKER_SYNC_H
#define WORKER_SYNC_H

/* Serves the core on a socket until it is closed (base/durable.h has what is said); returns an exit
 * status. */
int sl_sync_serve(int socket);

#endif
