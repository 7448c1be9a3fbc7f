/*
 * The run: set-up, the loop, signals, the end. One thread. Each turn: wait, handle what happened,
 * start what may start, make the journal durable.
 */
#include "sched/run.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "proc/orphans.h"
#include "sched/confine.h"
#include "sched/run_internal.h"

/* What finished items may leave on the disk until the run ends. Removing files one by one between
 * tasks costs more than the tasks: on ext4 a new file looks through the inodes that were freed in
 * the last seconds. */
#define DONE_BYTES_KEPT    ((uint64_t)256 << 20)
#define PIPELINE_MAX_BYTES (8u << 20)

static int count_cpus(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0 ? CPU_COUNT(&set) : 1;
}

static void on_signal(struct sl_watch *w) {
    struct run *run = w->ctx;
    struct signalfd_siginfo info;
    if (read(w->fd, &info, sizeof info) != sizeof info)
        return;
    if (!run->stopping && sl_incoming_stop(run, "interrupted"))
        return;
    run->interrupted = true;
    if (run->n_signals++ == 0) {
        sl_run_cancel_all(run, "interrupted");
        return;
    }
    for (struct carrier *c = run->carriers; c; c = c->next)
        sl_worker_kill(c->worker);
}

static int take_signals(struct run *run, sigset_t *ret_before, struct sl_err *err) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, ret_before);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGIO, SIG_IGN); /* of a lease that is broken while it is tried (run/artifact.c) */
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return sl_err_sys(err, sl_err_class_of_errno(errno), errno, "signals cannot be watched");
    run->signals = (struct sl_watch){.fd = fd, .ready = on_signal, .ctx = run};
    return sl_watch_start(run->loop, &run->signals, err);
}

static int keep_pipeline(const struct run *run, struct sl_err *err) {
    sl_autofree char *text = NULL, *path = sl_path_join(run->dir->path, "pipeline.yaml");
    size_t len;
    if (run->spec->pipeline_text)
        return sl_write_file(path, run->spec->pipeline_text, strlen(run->spec->pipeline_text), err);
    if (!run->spec->pipeline_file)
        return 0;
    int rc = sl_read_file(run->spec->pipeline_file, PIPELINE_MAX_BYTES, &text, &len, err);
    return rc < 0 ? rc : sl_write_file(path, text, len, err);
}

static void attach_observers(struct run *run, struct sl_loop *loop) {
    for (int i = 0; i < run->spec->n_observers; i++)
        if (run->spec->observers[i].attach)
            run->spec->observers[i].attach(run->spec->observers[i].ctx, loop, &run->log);
}

static int open_files(struct run *run, struct sl_err *err) {
    sl_autofree char *journal = sl_path_join(run->dir->path, "journal");
    sl_autofree char *log = sl_path_join(run->dir->path, "log");
    run->log = (struct sl_log){.fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666)};
    if (run->spec->replay)
        return sl_journal_reopen(journal, run->spec->replay->good, &run->journal, err);
    int rc = sl_journal_create(journal, &run->journal, err);
    return rc < 0 ? rc : keep_pipeline(run, err);
}

static void set_up_keeping(struct run *run) {
    run->most_in_flight = SL_WARM_IN_FLIGHT + run->slots;
    for (int s = 0; s < run->plan->n_stages; s++) {
        run->keeps |= sl_run_keeps(run, s);
        if (run->plan->stages[s].max_jobs > run->most_in_flight)
            run->most_in_flight = run->plan->stages[s].max_jobs;
    }
}

static void remove_scratch(const struct run *run) {
    sl_autofree char *path = sl_path_join(run->dir->path, "scratch");
    sl_remove_tree(path, NULL);
}

/* The record comes first: what is said of kept results belongs after it. */
static int go_on(struct run *run, struct sl_err *err) {
    remove_scratch(run);
    int rc = sl_rundir_make_folders(run->dir, err);
    if (rc == 0)
        rc = sl_record_resume(run, err);
    if (rc == 0)
        rc = sl_resume_restore(run, run->spec->replay, err);
    if (rc == 0)
        sl_resume_end_items(run, run->spec->replay);
    return rc;
}

static int set_up(struct run *run, sigset_t *ret_before, struct sl_err *err) {
    int rc = sl_loop_create(&run->loop, err);
    if (rc == 0)
        rc = take_signals(run, ret_before, err);
    if (rc == 0)
        rc = open_files(run, err);
    if (rc == 0)
        rc = sl_durable_start(run, err);
    if (rc < 0)
        return rc;
    attach_observers(run, run->loop);
    run->containment = sl_containment_detect();
    run->confinement = sl_confinement_detect();
    run->item_folders =
        sl_confine_folders(run->spec->items, run->spec->n_items, &run->arena, &run->n_item_folders);
    run->shared_reads = sl_confine_shared(run->places.share_dir, &run->arena, &run->n_shared_reads);
    run->adopts = run->containment == SL_CONTAIN_KEEPER && !run->spec->wrap && sl_orphans_adopt();
    sl_guard_set_up(run);
    run->admission = run->spec->admission;
    rc = run->admission
             ? 0
             : sl_admission_create(run->plan, run->spec->worker_program, &run->admission, err);
    if (rc < 0)
        return rc;
    if (!run->spec->wrap)
        run->forkserver = sl_forkserver_create(run->spec->worker_program, &run->log);
    sl_tasks_init_room(&run->tasks, run->plan, run->spec->n_items,
                       run->spec->watch_dir ? run->spec->max_items : run->spec->n_items);
    run->health = sl_xcalloc((size_t)run->plan->n_stages, sizeof *run->health);
    run->held = sl_xcalloc((size_t)run->plan->n_stages, sizeof *run->held);
    run->begun = sl_xcalloc((size_t)run->tasks.max_items, sizeof *run->begun);
    set_up_keeping(run);
    sl_reuse_start(run);
    rc = run->spec->replay ? go_on(run, err) : sl_record_begin(run, err);
    sl_admission_attach(run);
    return rc == 0 && run->spec->watch_dir ? sl_incoming_start(run, err) : rc;
}

static void tear_down(struct run *run, const sigset_t *before) {
    int fd = run->signals.fd;
    while (run->carriers)
        sl_run_carrier_destroy(run->carriers);
    sl_forkserver_destroy(run->forkserver);
    sl_durable_finish(run);
    sl_incoming_finish(run);
    sl_admission_detach(run);
    if (run->admission != run->spec->admission)
        sl_admission_destroy(run->admission);
    if (run->loop) {
        attach_observers(run, NULL);
        sl_timer_stop(run->loop, &run->guard);
        sl_timer_stop(run->loop, &run->logs);
        sl_timer_stop(run->loop, &run->wake);
        sl_watch_stop(run->loop, &run->signals);
        sl_loop_destroy(run->loop);
    }
    sl_close(&fd);
    sl_close(&run->log.fd);
    sl_limiter_finish(&run->limiter);
    sl_reuse_finish(run);
    sl_tasks_finish(&run->tasks);
    for (int s = 0; run->health && s < run->plan->n_stages; s++)
        free(run->health[s].text);
    free(run->health);
    free(run->late);
    sl_outputs_drop(run);
    free(run->done);
    free(run->begun);
    free(run->held);
    if (run->adopts)
        sl_orphans_release();
    sigprocmask(SIG_SETMASK, before, NULL);
}

/* A journal that cannot be written ends the run: without it nothing that was done would be known.
 * Output files that wait for the disk still get there. */
static void write_journal(struct run *run, struct sl_err *err) {
    struct sl_err other = {0};
    if (run->journal_failed) {
        sl_durable_turn(run, &other);
        return;
    }
    run->journal_failed = sl_journal_write(&run->journal, err);
    if (!run->journal_failed)
        run->journal_failed = sl_durable_turn(run, err);
    if (run->journal_failed)
        sl_run_cancel_all(run, err->msg);
}

static bool goes_on(const struct run *run) {
    return run->open_items > 0 || run->carriers || sl_incoming_is_open(run) ||
           sl_reuse_is_busy(run);
}

static int loop(struct run *run, struct sl_err *err) {
    while (goes_on(run)) {
        sl_run_dispatch(run);
        bool more = sl_run_hash_some(run);
        more |= sl_outputs_write_some(run);
        more |= sl_reuse_some(run);
        write_journal(run, err);
        if (!run->journal_failed)
            sl_artifacts_remove(run, DONE_BYTES_KEPT);
        if (!goes_on(run))
            break; /* there may be nobody to end the wait */
        int rc = sl_loop_turn(run->loop, more ? 0 : sl_durable_due_ms(run), err);
        if (rc < 0)
            return rc;
    }
    if (run->journal_failed)
        return run->journal_failed; /* what is there may be needed again */
    int rc = sl_durable_end(run, err);
    sl_artifacts_remove(run, 0);
    return rc < 0 ? rc : sl_durable_end(run, err);
}

static void init(struct run *run, const struct sl_run_spec *spec, const struct sl_rundir *dir) {
    *run = (struct run){.spec = spec, .plan = spec->plan, .dir = dir};
    run->journal.fd = run->log.fd = run->signals.fd = -1;
    run->places =
        (struct sl_places){.run = dir->path, .share_dir = spec->share_dir, .inputs = spec->inputs};
    run->cpus = count_cpus();
    run->slots = spec->jobs > 0 ? spec->jobs : run->cpus;
    run->open_items = spec->n_items;
    run->began_ms = sl_now_ms();
    run->random_state = (unsigned)sl_now_ns();
}

int sl_run(const struct sl_run_spec *spec, const struct sl_rundir *dir, struct sl_run_result *ret,
           struct sl_err *err) {
    struct run run;
    sigset_t before;
    sigprocmask(SIG_SETMASK, NULL, &before);
    init(&run, spec, dir);
    int rc = set_up(&run, &before, err);
    bool begun = rc == 0 || spec->replay;
    if (rc == 0)
        rc = loop(&run, err);
    run.result.n_items = run.tasks.n_items;
    run.result.interrupted = run.interrupted;
    run.result.seconds = (double)(sl_now_ms() - run.began_ms) / 1000;
    /* Before the record: a run that has ended is not resumed, so nobody would do it later. */
    remove_scratch(&run);
    if (rc == 0) {
        sl_record_end(&run);
        rc = sl_journal_write(&run.journal, err);
        run.journal.unsynced_ms = 0; /* what it says follows from what is on the disk */
    }
    struct sl_err closing = {0};
    if (run.journal.fd >= 0 && sl_journal_close(&run.journal, &closing) < 0 && rc == 0) {
        rc = closing.cls;
        *err = closing;
    }
    *ret = run.result;
    tear_down(&run, &before);
    if (!begun)
        sl_remove_tree(dir->path, NULL); /* it has no journal that anybody could read */
    return rc;
}
