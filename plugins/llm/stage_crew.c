/*
 * Jobs at work together: each has a thread that reads, asks and writes, and the main thread answers
 * all of them with one session, so that what they ask at the same time is worked on in one batch.
 *
 * The threads see a session of their own that hands questions to the main thread and waits. That
 * thread does all computing of the model, and all that only the host's main thread may do: taking
 * jobs, committing outputs, finishing. It works on a question of its own for each that is handed
 * over, and touches the asker's only to set what became of it, `done` last.
 */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "llm/stage_model.h"

#define WAIT_NS 100000000 /* without a question: how long until new jobs are looked for */

struct crew;

struct member {
    struct lm_session session; /* what its thread asks */
    struct crew *crew;
    struct member *next;
    struct sluice_job *job;
    uint64_t n_seen; /* of crew.n_answered */
    struct lm_work work;
    pthread_t thread;
    int32_t status; /* of its work, and what happened, once `over` */
    struct num_err err;
    bool over;
};

/* A question on its way through the main thread. */
struct handed {
    struct lm_question own; /* what the session is asked */
    struct lm_question *q;  /* the asker's */
    struct handed *next;
};

struct crew {
    const struct lm_stage *stage;
    struct member *members;
    uint32_t n_members;
    pthread_mutex_t lock; /* of what follows, and of every member's `over` */
    pthread_cond_t asked, answered;
    struct handed *first, **last; /* questions that are not begun yet */
    uint64_t n_answered;          /* counts steps after which answers may be there */
    struct handed *begun;         /* the main thread's */
};

/* ---- The threads' session -------------------------------------------------------------------- */

static struct member *member_of(const struct lm_session *s) {
    return (struct member *)(uintptr_t)s;
}

static int32_t count(const struct lm_session *s, const char *text, size_t len, uint32_t *ret,
                     struct num_err *err) {
    return lm_session_count(member_of(s)->crew->stage->session, text, len, ret, err);
}

static int32_t frame(const struct lm_session *s, const char *system, const char *user, size_t len,
                     uint32_t *ret, struct num_err *err) {
    return lm_session_frame(member_of(s)->crew->stage->session, system, user, len, ret, err);
}

static bool on_cancelled(void *ctx) {
    const struct handed *h = ctx;
    return lm_question_cancelled(h->q);
}

static void on_text(void *ctx, const char *text, size_t len) {
    const struct handed *h = ctx;
    h->q->ask.text(h->q->ask.ctx, text, len);
}

static void hand_over(struct lm_session *s, struct lm_question *q) {
    struct crew *c = member_of(s)->crew;
    struct handed *h = calloc(1, sizeof *h);
    if (!h) {
        lm_question_end(q, num_fail_memory(&q->err, "a question", sizeof *h));
        return;
    }
    h->q = q;
    h->own.ask = q->ask;
    h->own.ask.ctx = h;
    h->own.ask.cancelled = on_cancelled;
    h->own.ask.text = q->ask.text ? on_text : NULL;
    pthread_mutex_lock(&c->lock);
    *c->last = h;
    c->last = &h->next;
    pthread_cond_signal(&c->asked);
    pthread_mutex_unlock(&c->lock);
    lm_session_wake(c->stage->session);
}

/* Waits until something has been answered since it was here last. */
static void wait_for_answers(struct lm_session *s) {
    struct member *m = member_of(s);
    struct crew *c = m->crew;
    pthread_mutex_lock(&c->lock);
    while (c->n_answered == m->n_seen)
        pthread_cond_wait(&c->answered, &c->lock);
    m->n_seen = c->n_answered;
    pthread_mutex_unlock(&c->lock);
}

static const struct lm_session_ops member_ops = {NULL, count, frame, hand_over, wait_for_answers};

static void *work(void *arg) {
    struct member *m = arg;
    struct crew *c = m->crew;
    m->status = c->stage->work(c->stage, &m->work, &m->err);
    if (m->status == SLUICE_OK && m->work.out.failed)
        m->status = num_fail_memory(&m->err, "the output", m->work.out.len);
    pthread_mutex_lock(&c->lock);
    m->over = true;
    pthread_cond_signal(&c->asked);
    pthread_mutex_unlock(&c->lock);
    /* end_members() joins this thread: the crew is there until then */
    lm_session_wake(c->stage->session);
    return NULL;
}

/* ---- Members --------------------------------------------------------------------------------- */

/* Commits what the work made, or says why there is nothing. */
static int32_t conclude(const struct lm_stage *stage, struct lm_work *w, int32_t status,
                        struct num_err *err) {
    const struct sluice_host *host = stage->host;
    struct sluice_job *job = w->watch.job;
    if (status == SLUICE_OK)
        status = st_commit(host, job, stage->port, num_buf_text(&w->out), w->out.len, err);
    num_buf_finish(&w->out);
    return st_end(host, job, status, err);
}

static struct lm_work work_of(const struct lm_stage *stage, struct sluice_job *job,
                              struct lm_session *session) {
    const struct sluice_host *host = stage->host;
    return (struct lm_work){.watch = {host, job, -1, host->extension(host, SLUICE_EXT_STREAM)},
                            .session = session};
}

static int32_t begin_member(struct crew *c, struct sluice_job *job) {
    struct num_err err;
    struct member *m = calloc(1, sizeof *m);
    if (!m)
        return st_end(c->stage->host, job, num_fail_memory(&err, "a job", sizeof *m), &err);
    m->session = *c->stage->session;
    m->session.ops = &member_ops;
    m->crew = c;
    m->job = job;
    m->n_seen = c->n_answered;
    m->work = work_of(c->stage, job, &m->session);
    if (pthread_create(&m->thread, NULL, work, m)) {
        free(m);
        int32_t status = num_fail(&err, SLUICE_RESOURCE, "a thread for the job cannot be started");
        return st_end(c->stage->host, job, status, &err);
    }
    m->next = c->members;
    c->members = m;
    c->n_members++;
    return SLUICE_OK;
}

/* Ends jobs whose threads are through, process()'s own too: others may come without end. */
static void end_members(struct crew *c) {
    for (struct member **at = &c->members; *at;) {
        struct member *m = *at;
        pthread_mutex_lock(&c->lock);
        bool over = m->over;
        pthread_mutex_unlock(&c->lock);
        if (!over) {
            at = &m->next;
            continue;
        }
        pthread_join(m->thread, NULL);
        *at = m->next;
        c->n_members--;
        int32_t status = conclude(c->stage, &m->work, m->status, &m->err);
        c->stage->host->finish(m->job, status);
        free(m);
    }
}

/* ---- The main thread ------------------------------------------------------------------------- */

/* Begins what was handed over; without anything to do it waits for that a moment. */
static void begin_questions(struct crew *c) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += WAIT_NS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&c->lock);
    if (!c->first && !c->begun)
        pthread_cond_timedwait(&c->asked, &c->lock, &until);
    struct handed *list = c->first;
    c->first = NULL;
    c->last = &c->first;
    pthread_mutex_unlock(&c->lock);
    while (list) {
        struct handed *h = list;
        list = h->next;
        h->next = c->begun;
        c->begun = h;
        lm_session_start(c->stage->session, &h->own);
    }
}

/* Gives answers back to those who asked. */
static void give_answers(struct crew *c) {
    uint64_t n = 0;
    for (struct handed **at = &c->begun; *at;) {
        struct handed *h = *at;
        if (!atomic_load(&h->own.done)) {
            at = &h->next;
            continue;
        }
        *at = h->next;
        h->q->out = h->own.out;
        h->q->answer = h->own.answer;
        h->q->status = h->own.status;
        h->q->err = h->own.err;
        atomic_store(&h->q->done, true);
        free(h);
        n++;
    }
    if (!n)
        return;
    pthread_mutex_lock(&c->lock);
    c->n_answered += n;
    pthread_cond_broadcast(&c->answered);
    pthread_mutex_unlock(&c->lock);
}

/* Jobs that wait at the host, as many as the session gains from. */
static void take_jobs(struct crew *c) {
    const struct sluice_host *host = c->stage->host;
    while (c->n_members < c->stage->session->parallel) {
        struct sluice_job *job = host->take(host, 0);
        if (!job)
            break;
        int32_t status = begin_member(c, job);
        if (status != SLUICE_OK)
            host->finish(job, status);
    }
}

static int32_t together(const struct lm_stage *stage, struct sluice_job *job) {
    struct crew c = {.stage = stage, .last = &c.first};
    pthread_mutex_init(&c.lock, NULL);
    pthread_cond_init(&c.asked, NULL);
    pthread_cond_init(&c.answered, NULL);
    int32_t status = begin_member(&c, job);
    while (c.n_members) {
        take_jobs(&c);
        begin_questions(&c);
        if (c.begun)
            lm_session_step(stage->session);
        give_answers(&c);
        end_members(&c);
    }
    pthread_cond_destroy(&c.answered);
    pthread_cond_destroy(&c.asked);
    pthread_mutex_destroy(&c.lock);
    return status;
}

static int32_t alone(const struct lm_stage *stage, struct sluice_job *job) {
    struct lm_work w = work_of(stage, job, stage->session);
    struct num_err err = {0};
    int32_t status = stage->work(stage, &w, &err);
    if (status == SLUICE_OK && w.out.failed)
        status = num_fail_memory(&err, "the output", w.out.len);
    return conclude(stage, &w, status, &err);
}

int32_t lm_stage_process(void *self, struct sluice_job *job) {
    const struct lm_stage *stage = self;
    return stage->session->parallel > 1 ? together(stage, job) : alone(stage, job);
}
