/*
 * A program of the user's, in a session of its own, without standard input; what it prints goes to
 * notify.log of the run. Its environment is ours with SLUICE_RUN_ID, _FOLDER, _STATE, _PIPELINE,
 * _OK, _FAILED and _CANCELLED. At its timeout it and what it started get SIGKILL.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/units.h"
#include "notify/notify.h"

static void set_number(const json_t *run, const char *key, const char *variable) {
    sl_autofree char *text = sl_xasprintf("%.0f", sl_json_num(run, key, 0));
    setenv(variable, text, 1);
}

static void set_environment(const json_t *run) {
    setenv("SLUICE_RUN_ID", sl_json_str(run, "id", ""), 1);
    setenv("SLUICE_RUN_FOLDER", sl_json_str(run, "folder", ""), 1);
    setenv("SLUICE_RUN_STATE", sl_json_str(run, "state", ""), 1);
    setenv("SLUICE_RUN_PIPELINE", sl_json_str(run, "pipeline", ""), 1);
    set_number(run, "ok", "SLUICE_RUN_OK");
    set_number(run, "failed", "SLUICE_RUN_FAILED");
    set_number(run, "cancelled", "SLUICE_RUN_CANCELLED");
}

static int start(char **argv, pid_t *ret) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attr);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", 0, 0);
    posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
    posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF);
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    posix_spawnattr_setsigdefault(&attr, &pipe);
    int error = posix_spawnp(ret, argv[0], &files, &attr, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    return error;
}

static int wait_for(pid_t pid, double timeout_s, int *ret_status) {
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd p = {pidfd, POLLIN, 0};
    bool over = pidfd >= 0 && poll(&p, 1, (int)(timeout_s * 1000)) == 0;
    if (over)
        kill(-pid, SIGKILL);
    if (pidfd >= 0)
        close(pidfd);
    while (waitpid(pid, ret_status, 0) < 0 && errno == EINTR)
        ;
    kill(-pid, SIGKILL); /* what it left behind */
    return over ? -1 : 0;
}

int sl_notify_command(struct sl_notify *n, const json_t *hook, struct sl_err *err) {
    const json_t *words = json_object_get(hook, "argv");
    size_t n_words = json_array_size(words);
    sl_autofree char **argv = sl_xcalloc(n_words + 1, sizeof *argv);
    double timeout_s = sl_notify_time(n, hook);
    char took[32];
    int status = 0;
    pid_t pid;
    for (size_t i = 0; i < n_words; i++)
        argv[i] = (char *)json_string_value(json_array_get(words, i));
    set_environment(n->run);
    int error = n_words ? start(argv, &pid) : EINVAL;
    if (error)
        return sl_err_sys(err, SLUICE_INPUT, error, "%s: cannot be run",
                          n_words ? argv[0] : "argv");
    if (wait_for(pid, timeout_s, &status) < 0)
        return sl_err_set(err, SLUICE_INTERNAL, "%s: not done after %s", argv[0],
                          sl_format_duration(timeout_s, took, sizeof took));
    if (WIFSIGNALED(status))
        return sl_err_set(err, SLUICE_INTERNAL, "%s: was killed by signal %d", argv[0],
                          WTERMSIG(status));
    return WEXITSTATUS(status) == 0 ? 0
                                    : sl_err_set(err, SLUICE_INPUT,
                                                 "%s: exited with status %d; notify.log "
                                                 "in the run's folder has what it said",
                                                 argv[0], WEXITSTATUS(status));
}
