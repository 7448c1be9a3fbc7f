/*
 * Orphans of workers, see orphans.h. The children are those of the kernel's list; a process that is
 * killed hands its own on to us, so rounds follow until the list holds none that is unknown.
 * SIGKILL takes effect within a millisecond or so: waiting for it here is shorter than any
 * machinery to do so in the loop.
 */
#include "proc/orphans.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

#define PAUSE_MS 1

static FILE *open_children(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%ld/children", (long)getpid());
    return fopen(path, "re");
}

bool sl_orphans_adopt(void) {
    FILE *list = open_children();
    long pid;
    bool alone = list && fscanf(list, "%ld", &pid) != 1;
    if (list)
        fclose(list);
    return alone && prctl(PR_SET_CHILD_SUBREAPER, 1) == 0;
}

void sl_orphans_release(void) {
    prctl(PR_SET_CHILD_SUBREAPER, 0);
}

/* One round over the list: reaps what has ended and kills the rest. *ret_left: how many live. */
static int round_of(bool (*is_ours)(void *ctx, pid_t pid), void *ctx, int *ret_left) {
    FILE *list = open_children();
    int killed = 0;
    *ret_left = 0;
    for (long pid; list && fscanf(list, "%ld", &pid) == 1;) {
        if (is_ours(ctx, (pid_t)pid) || waitpid((pid_t)pid, NULL, WNOHANG) != 0)
            continue;
        killed += kill((pid_t)pid, SIGKILL) == 0;
        ++*ret_left;
    }
    if (list)
        fclose(list);
    return killed;
}

int sl_orphans_kill(bool (*is_ours)(void *ctx, pid_t pid), void *ctx) {
    int64_t end_ms = sl_now_ms() + SL_ORPHANS_LIMIT_MS;
    int left, most = 0, n;
    while ((n = round_of(is_ours, ctx, &left)), left > 0 && sl_now_ms() < end_ms) {
        most = n > most ? n : most;
        poll(NULL, 0, PAUSE_MS);
    }
    return most;
}
