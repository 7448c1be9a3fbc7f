/*
 * Notifications at the end of a run, see tell.h. The job goes to sluice-notify through its standard
 * input, so nothing of it shows in a list of processes; its answers come line by line. By then the
 * loop and the journal are closed.
 */
#include "cli/tell.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/units.h"

#define MAX_FAILURES 20
#define DEFAULT_S    120.0
#define GRACE_S      5.0 /* that sluice-notify has beyond the limit it was told */
#define MAX_ANSWERS  (256u << 10)

static void on_event(void *ctx, const struct sl_event *ev) {
    struct sl_tell *tell = ctx;
    if (ev->type != SL_EVENT_ITEM_END || ev->item_state != SL_ITEM_FAILED)
        return;
    if (!tell->failures)
        tell->failures = json_array();
    if (json_array_size(tell->failures) == MAX_FAILURES)
        return;
    json_t *one = json_object();
    sl_json_set(one, "item", sl_json_text(tell->items[ev->item].name));
    sl_json_set(one, "message", sl_json_text(ev->text ? ev->text : ""));
    json_array_append_new(tell->failures, one);
}

struct sl_observer sl_tell_observer(struct sl_tell *tell) {
    return (struct sl_observer){.event = on_event, .ctx = tell};
}

void sl_tell_finish(struct sl_tell *tell) {
    json_decref(tell->failures);
}

/* ---- The job --------------------------------------------------------------------------------- */

static json_t *run_json(const struct sl_tell *tell, const struct sl_plan *plan,
                        const struct sl_rundir *dir, const char *out_dir,
                        const struct sl_run_result *r) {
    json_t *run = json_object();
    sl_json_set(run, "id", json_string(dir->id));
    sl_json_set(run, "pipeline", sl_json_text(plan->name));
    sl_json_set(run, "state",
                json_string(r->interrupted ? "cancelled"
                            : r->n_failed  ? "failed"
                                           : "ok"));
    sl_json_set(run, "ok", json_integer(r->n_ok));
    sl_json_set(run, "failed", json_integer(r->n_failed));
    sl_json_set(run, "cancelled", json_integer(r->n_cancelled));
    sl_json_set(run, "seconds", json_real(r->seconds));
    sl_json_set(run, "out", out_dir ? sl_json_text(out_dir) : NULL);
    sl_json_set(run, "folder", sl_json_text(dir->path));
    sl_json_set(run, "failures", tell->failures ? json_incref(tell->failures) : json_array());
    return run;
}

static void add_hooks(json_t *all, const char *text) {
    sl_autojson json_t *hooks = text ? json_loads(text, 0, NULL) : NULL;
    if (hooks)
        json_array_extend(all, hooks);
}

static double limit_s(void) {
    const char *text = getenv("SLUICE_NOTIFY_WAIT");
    double seconds;
    return text && sl_parse_duration(text, &seconds) && seconds > 0 ? seconds : DEFAULT_S;
}

/* ---- The process ----------------------------------------------------------------------------- */

struct notifier {
    pid_t pid;
    int in, out; /* our ends */
};

static int spawn(const char *log_path, struct notifier *ret) {
    sl_autofree char *prefix = sl_install_prefix(),
                     *program = sl_path_join(prefix, "libexec/sluice/sluice-notify");
    char *argv[] = {program, NULL};
    int in[2], out[2];
    posix_spawn_file_actions_t files;
    if (pipe2(in, O_CLOEXEC) < 0)
        return errno;
    if (pipe2(out, O_CLOEXEC) < 0) {
        int error = errno;
        close(in[0]);
        close(in[1]);
        return error;
    }
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, out[1], STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&files, STDERR_FILENO, log_path, O_WRONLY | O_CREAT | O_APPEND,
                                     0600);
    int error = posix_spawn(&ret->pid, program, &files, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    close(in[0]);
    close(out[1]);
    ret->in = in[1];
    ret->out = out[0];
    if (error) {
        close(in[1]);
        close(out[0]);
    }
    return error;
}

/* Reads until the end, or until the time is over. False: it had to be stopped. */
static bool collect(const struct notifier *n, double seconds, struct sl_str *answers) {
    int64_t end = sl_now_ms() + (int64_t)(seconds * 1000), left;
    char chunk[4096];
    while ((left = end - sl_now_ms()) > 0) {
        struct pollfd p = {n->out, POLLIN, 0};
        if (poll(&p, 1, (int)left) <= 0)
            continue;
        ssize_t got = read(n->out, chunk, sizeof chunk);
        if (got == 0 || answers->len > MAX_ANSWERS)
            return true;
        if (got > 0)
            sl_str_addn(answers, chunk, (size_t)got);
    }
    kill(n->pid, SIGKILL);
    return false;
}

static void warn(const struct sl_log *log, struct sl_outlet *to, const char *what,
                 const char *message) {
    sl_autofree char *line = sl_xasprintf("sluice: warning: %s was not sent: %s\n", what, message);
    sl_log(log, SLUICE_LOG_WARN, "%s was not sent: %s", what, message);
    sl_outlet_put(to, line, strlen(line));
}

static int read_answers(const char *text, const struct sl_log *log, struct sl_outlet *to) {
    int n = 0;
    for (const char *end; (end = strchr(text, '\n')); text = end + 1, n++) {
        sl_autojson json_t *answer = NULL;
        if (sl_json_parse(text, (size_t)(end - text), &answer, NULL) < 0)
            continue;
        sl_autofree char *what =
            sl_xasprintf("the notification (%s)", sl_json_str(answer, "kind", "?"));
        if (json_is_true(json_object_get(answer, "ok")))
            sl_log(log, SLUICE_LOG_INFO, "%s was sent", what);
        else
            warn(log, to, what, sl_json_str(answer, "message", ""));
    }
    return n;
}

static void notify(const json_t *job, const char *log_path, const struct sl_log *log,
                   struct sl_outlet *to) {
    int n_hooks = (int)json_array_size(json_object_get(job, "hooks"));
    sl_autofree char *text = sl_json_line(job);
    sl_autostr struct sl_str answers = {0};
    struct notifier n;
    int error = spawn(log_path, &n);
    if (error) {
        warn(log, to, "a notification", strerror(error));
        return;
    }
    sl_write_all(n.in, text, strlen(text), NULL);
    close(n.in);
    bool in_time = collect(&n, limit_s() + GRACE_S, &answers);
    close(n.out);
    while (waitpid(n.pid, NULL, 0) < 0 && errno == EINTR)
        ;
    int n_answers = answers.len ? read_answers(answers.data, log, to) : 0;
    if (n_answers < n_hooks)
        warn(log, to, "a notification",
             in_time ? "sluice-notify ended early" : "it took too long (SLUICE_NOTIFY_WAIT)");
}

void sl_tell_end(struct sl_tell *tell, const struct sl_plan *plan, const struct sl_rundir *dir,
                 const char *out_dir, const struct sl_run_result *result, struct sl_outlet *to) {
    json_t *hooks = json_array();
    add_hooks(hooks, plan->on_finish);
    if (result->n_failed > 0)
        add_hooks(hooks, plan->on_failure);
    sl_autojson json_t *job = json_object();
    sl_json_set(job, "run", run_json(tell, plan, dir, out_dir, result));
    sl_json_set(job, "limit_s", json_real(limit_s()));
    bool any = json_array_size(hooks) > 0;
    sl_json_set(job, "hooks", hooks);
    if (!any)
        return;
    sl_autofree char *run_log = sl_path_join(dir->path, "log"),
                     *printed = sl_path_join(dir->path, "notify.log");
    sl_autoclose int fd = open(run_log, O_WRONLY | O_APPEND | O_CLOEXEC);
    struct sl_log log = {.fd = fd};
    struct stat st;
    notify(job, printed, &log, to);
    if (stat(printed, &st) == 0 && st.st_size == 0)
        unlink(printed);
}
