/* A core just large enough to drive one worker: spawn, START, JOB, and waiting for what comes back.
 * A failed step ends the test case. */
#ifndef MINI_CORE_H
#define MINI_CORE_H

#include <stdbool.h>
#include <sys/types.h>

#include "ipc/channel.h"
#include "proc/forkserver.h"
#include "proc/spawn.h"

#define MINI_MAX_PORTS 8

struct mini_core {
    enum sl_containment containment; /* set before mini_start */
    bool forked;                     /* the same: by a fork server, not by exec */
    struct sl_forkserver *server;    /* of this process; made when it is needed */
    int fd, pidfd, log_fd;
    pid_t pid;
    struct sl_frame_out out;
    unsigned char buf[SL_FRAME_MAX_SIZE];
    struct sl_frame in; /* the last frame that came */
    char text[SL_FRAME_MAX_SIZE];
};

struct mini_port {
    const char *port, *type;
    const char *content; /* inputs: what it holds; file/1: the path */
    int fd;              /* filled in: of the payload; -1 for file/1 */
};

struct mini_job {
    const char *item, *scratch;
    /* up to the first without a port */
    struct mini_port inputs[MINI_MAX_PORTS], outputs[MINI_MAX_PORTS];
};

/* Spawns the worker and sends START. */
void mini_start(struct mini_core *c, const char *plugin, const char *stage, const char *params);
void mini_spawn(struct mini_core *c);
void mini_send_start(struct mini_core *c, const char *plugin, const char *stage,
                     const char *params);
/* The same, and waits for READY. */
void mini_ready(struct mini_core *c, const char *plugin, const char *stage, const char *params);

void mini_job(struct mini_core *c, uint32_t id, struct mini_job *job);
void mini_cancel(struct mini_core *c, uint32_t id);
void mini_stop(struct mini_core *c);

/* Waits (at most ten seconds) for the next frame; 0 where the worker is gone instead. */
int mini_next(struct mini_core *c);
/* Skips to the next frame of `type` (and of `job`, if not 0). */
void mini_expect(struct mini_core *c, int type, uint32_t job);
/* Text and number fields of the last frame. */
const char *mini_text(struct mini_core *c, int i);
int64_t mini_int(struct mini_core *c, int i);
/* Waits for DONE of `job`; returns its status, and the message is mini_text(c, 1). */
int mini_done(struct mini_core *c, uint32_t job);
/* Waits for EXIT and for the end of the worker; returns the plugin's wait status. *ret_code: the
 * worker's exit code. */
int mini_exit(struct mini_core *c, int *ret_code);
/* Kills and reaps, whatever state it is in. */
void mini_kill(struct mini_core *c);

/* Content of a payload or of the worker's log; a static buffer. */
const char *mini_read(int fd);
/* A descriptor with this content; anonymous. */
int mini_file(const char *content);

/* True while somebody holds the lock file of fixture/grandchild. */
bool mini_locked(const char *path);
/* Waits up to `ms` for the lock to be free. */
bool mini_unlocked_within(const char *path, int ms);

#endif
