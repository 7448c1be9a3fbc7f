/* Runs `sluice-worker --inspect` once for all tests of loading: a process of its own, with a limit.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "check/case.h"
#include "proc/spawn.h"

#define EXIT_LOAD                                                                                  \
    1 /* of sluice-worker --inspect: it was not opened; the reason is the last line                \
       */
#define EXIT_WRONG 2
#define MAX_JSON   (1u << 20)

/* What the process wrote, how it ended, and the last of its words. */
struct outcome {
    struct sl_str json;
    int status;
    bool late;
    char words[512];
};

static void read_all(int fd, int64_t deadline_ms, struct outcome *o) {
    char chunk[4096];
    for (;;) {
        struct pollfd p = {fd, POLLIN, 0};
        int64_t left = deadline_ms - sl_now_ms();
        if (poll(&p, 1, left > 0 ? (int)left : 0) == 0) {
            o->late = true;
            return;
        }
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || o->json.len > MAX_JSON)
            return;
        sl_str_addn(&o->json, chunk, (size_t)n);
    }
}

static void read_words(int log_fd, struct outcome *o) {
    off_t size = lseek(log_fd, 0, SEEK_END), room = sizeof o->words - 1;
    ssize_t n = pread(log_fd, o->words, (size_t)room, size > room ? size - room : 0);
    size_t len = n > 0 ? (size_t)n : 0;
    while (len > 0 && (o->words[len - 1] == '\n' || o->words[len - 1] == ' '))
        len--;
    o->words[len] = 0;
    char *line = strrchr(o->words, '\n');
    if (line)
        memmove(o->words, line + 1, strlen(line + 1) + 1);
    o->words[sl_utf8_valid(o->words, strlen(o->words))] = 0;
}

static int run(const struct sl_case *c, struct outcome *o, struct sl_err *err) {
    int ends[2], pidfd = -1;
    pid_t pid = 0;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return sl_err_sys(err, sl_err_class_of_errno(errno), errno, "no pipe");
    sl_autoclose int log_fd = memfd_create("log", MFD_CLOEXEC);
    const char *argv[] = {c->options->worker, "--inspect", c->path, "--fd", "3", NULL};
    struct sl_spawn spec = {.program = argv[0],
                            .argv = argv,
                            .log_fd = log_fd,
                            .channel_fd = ends[1],
                            .stdin_fd = -1,
                            .containment = SL_CONTAIN_KEEPER,
                            .visible_cards = ""};
    int rc = sl_spawn_start(&spec, &pid, &pidfd, err);
    close(ends[1]);
    if (rc == 0) {
        read_all(ends[0], sl_now_ms() + c->options->limit_s * 1000, o);
        if (o->late)
            kill(pid, SIGKILL);
        while (waitpid(pid, &o->status, 0) < 0 && errno == EINTR)
            ;
        kill(-pid, SIGKILL); /* a session of its own: what constructors started */
        read_words(log_fd, o);
        close(pidfd);
    }
    close(ends[0]);
    return rc;
}

static void set_failure(struct sl_inspection *in, const struct outcome *o, int limit_s) {
    int s = o->status;
    in->load_failed = true;
    if (o->late)
        snprintf(in->failure, sizeof in->failure, "loading it took longer than %d s", limit_s);
    else if (WIFSIGNALED(s))
        snprintf(in->failure, sizeof in->failure, "loading it crashed (%s)",
                 strsignal(WTERMSIG(s)));
    else if (WEXITSTATUS(s) == EXIT_LOAD || WEXITSTATUS(s) == EXIT_WRONG)
        snprintf(in->failure, sizeof in->failure, "%s", o->words);
    else
        snprintf(in->failure, sizeof in->failure, "loading it ended the process (exit status %d)",
                 WEXITSTATUS(s));
    if (WIFEXITED(s) && WEXITSTATUS(s) == EXIT_WRONG && !o->late)
        in->load_failed = false;
}

static void take_facts(struct sl_inspection *in, const struct outcome *o) {
    sl_autojson json_t *facts = NULL;
    struct sl_err err;
    if (sl_json_parse(sl_str_text(&o->json), o->json.len, &facts, &err) < 0) {
        snprintf(in->failure, sizeof in->failure, "its loading was not reported: %.900s", err.msg);
        return;
    }
    in->load_ms = sl_json_num(facts, "load_ms", 0);
    in->threads = (int64_t)sl_json_num(facts, "threads", 0);
    in->printed = (int64_t)sl_json_num(facts, "printed", 0);
    in->data_bytes = (int64_t)sl_json_num(facts, "data_bytes", 0);
    in->opened = json_incref(json_object_get(facts, "opened"));
    in->libraries = json_incref(json_object_get(facts, "libraries"));
}

void sl_case_inspect(struct sl_case *c) {
    struct sl_inspection *in = &c->inspection;
    struct outcome o = {.status = 0};
    struct sl_err err;
    if (in->done)
        return;
    in->done = true;
    if (run(c, &o, &err) < 0)
        snprintf(in->failure, sizeof in->failure, "%s", err.msg);
    else if (o.late || !WIFEXITED(o.status) || WEXITSTATUS(o.status) != 0)
        set_failure(in, &o, c->options->limit_s);
    else
        take_facts(in, &o);
    sl_str_finish(&o.json);
}
