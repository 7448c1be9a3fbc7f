/* Jobs at work together: what they ask at the same time is answered in one batch, and each ends as
 * its own work does. */
#include "unit/llm/fake_session.h"
#include "unit/test.h"

#include <unistd.h>

#include "llm/stage_model.h"

enum { N_JOBS = 9, PARALLEL = 4 };

struct sluice_job {
    int number;
    int32_t status;
    char output[4096], message[200];
    bool ended;
};

/* ---- A session: a question is answered by its own text, after a step for each of its bytes --- */

struct fake {
    struct lm_session base;
    struct lm_question *asked[64];
    uint32_t left[64], n, most;
    atomic_uint n_wakes;
    int patience; /* steps without an answer, until questions of two jobs are there */
};

static void start(struct lm_session *s, struct lm_question *q) {
    struct fake *f = (struct fake *)s;
    CHECK(f->n < 64);
    f->left[f->n] = (uint32_t)q->ask.user_len;
    f->asked[f->n++] = q;
    f->most = f->n > f->most ? f->n : f->most;
}

static void end(struct fake *f, uint32_t i, int32_t status) {
    struct lm_question *q = f->asked[i];
    f->asked[i] = f->asked[--f->n];
    f->left[i] = f->left[f->n];
    if (status == SLUICE_OK)
        lm_question_text(q, q->ask.user, q->ask.user_len, true);
    else
        num_fail(&q->err, status, "question %.20s failed", q->ask.user);
    lm_question_end(q, status);
}

static void step(struct lm_session *s) {
    struct fake *f = (struct fake *)s;
    usleep(200);
    if (f->most <= PARALLEL && f->patience-- > 0)
        return;
    for (uint32_t i = f->n; i-- > 0;) {
        if (lm_question_cancelled(f->asked[i]))
            end(f, i, SLUICE_CANCELLED);
        else if (f->left[i]-- == 0)
            end(f, i, strstr(f->asked[i]->ask.user, "bad") ? SLUICE_INPUT : SLUICE_OK);
    }
}

static void wake(struct lm_session *s) {
    atomic_fetch_add(&((struct fake *)s)->n_wakes, 1);
}

static const struct lm_session_ops ops = {NULL, fake_count, fake_frame, start, step, wake};

/* ---- A host: jobs that wait, and what became of them ----------------------------------------- */

struct fake_crew {
    struct sluice_host host;
    struct sluice_job jobs[N_JOBS];
    int n_taken;
    int cancelled; /* the number of a job that is, -1: none */
    bool endless;  /* jobs come again until the first has ended */
};

static struct fake_crew crew;

static int32_t is_cancelled(struct sluice_job *job) {
    return job->number == crew.cancelled;
}

static void on_progress(struct sluice_job *job, double fraction, const char *what) {
    (void)fraction, (void)what;
    CHECK(!job->ended);
}

static void on_fail(struct sluice_job *job, const char *message) {
    snprintf(job->message, sizeof job->message, "%s", message);
}

static int32_t grow(struct sluice_job *job, const char *port, uint64_t capacity, void **ret_data) {
    CHECK_STR(port, "text");
    CHECK(capacity < sizeof job->output && !job->ended);
    *ret_data = job->output;
    return SLUICE_OK;
}

static int32_t commit(struct sluice_job *job, const char *port, uint64_t len) {
    (void)port;
    job->output[len] = '\0';
    return SLUICE_OK;
}

static struct sluice_job *take(const struct sluice_host *host, int32_t wait_ms) {
    (void)host, (void)wait_ms;
    if (crew.n_taken < N_JOBS)
        return &crew.jobs[crew.n_taken++];
    for (int i = 1; crew.endless && !crew.jobs[0].ended && i < N_JOBS; i++)
        if (crew.jobs[i].ended) {
            crew.jobs[i].ended = false;
            return &crew.jobs[i];
        }
    return NULL;
}

static void finish(struct sluice_job *job, int32_t status) {
    CHECK(!job->ended);
    job->ended = true;
    job->status = status;
}

static const void *extension(const struct sluice_host *host, const char *id) {
    (void)host, (void)id;
    return NULL;
}

/* ---- The work: five questions, one of them bad in job 2 -------------------------------------- */

static int32_t ask_five(const void *stage, struct lm_work *w, struct num_err *err) {
    struct lm_question q[5] = {0};
    char texts[5][64];
    (void)stage;
    for (int i = 0; i < 5; i++) {
        int number = w->watch.job->number;
        snprintf(texts[i], sizeof texts[i], "%d.%d %s", number, i,
                 number == 2 && i == 3 ? "bad" : "well");
        q[i].ask = (struct lm_ask){.user = texts[i],
                                   .user_len = strlen(texts[i]),
                                   .ctx = &w->watch,
                                   .cancelled = lm_watch_cancelled};
    }
    int32_t status = lm_session_ask_all(w->session, q, 5, NULL, NULL, err);
    for (int i = 0; i < 5; i++) {
        num_buf_add(&w->out, num_buf_text(&q[i].out), q[i].out.len);
        num_buf_addc(&w->out, ';');
        num_buf_finish(&q[i].out);
    }
    return status;
}

static void run_with(uint32_t parallel, int cancelled, bool endless, struct fake *f) {
    struct lm_stage stage = {&crew.host, &f->base, "text", ask_five};
    f->base = (struct lm_session){&ops, 4096, parallel, false};
    memset(&crew, 0, sizeof crew);
    crew.host = (struct sluice_host){.cancelled = is_cancelled,
                                     .progress = on_progress,
                                     .fail = on_fail,
                                     .output_grow = grow,
                                     .output_commit = commit,
                                     .take = take,
                                     .finish = finish,
                                     .extension = extension};
    crew.cancelled = cancelled;
    crew.endless = endless;
    for (int i = 0; i < N_JOBS; i++)
        crew.jobs[i].number = i;
    if (parallel > 1)
        crew.n_taken = 1;
    int32_t status = lm_stage_process(&stage, &crew.jobs[0]);
    /* one of a crew does not wait for process() to return */
    CHECK(crew.jobs[0].ended == (parallel > 1));
    if (!crew.jobs[0].ended)
        finish(&crew.jobs[0], status);
    CHECK_INT(f->n, 0);
}

static void run(uint32_t parallel, int cancelled, struct fake *f) {
    run_with(parallel, cancelled, false, f);
}

static void check_output(int job) {
    char want[200] = "";
    for (int i = 0; i < 5; i++)
        snprintf(want + strlen(want), sizeof want - strlen(want), "%d.%d well;", job, i);
    CHECK_INT(crew.jobs[job].status, SLUICE_OK);
    CHECK_STR(crew.jobs[job].output, want);
}

TEST(jobs_are_answered_together) {
    struct fake f = {.patience = 100000};
    run(PARALLEL, -1, &f);
    CHECK_INT(crew.n_taken, N_JOBS);
    for (int i = 0; i < N_JOBS; i++)
        if (i != 2)
            check_output(i);
    CHECK(f.most > PARALLEL);                /* questions of more than one job */
    CHECK(atomic_load(&f.n_wakes) > N_JOBS); /* whoever waits for a server is told of the others */
    CHECK_INT(crew.jobs[2].status, SLUICE_INPUT);
    CHECK_STR(crew.jobs[2].message, "question 2.3 bad failed");
    CHECK_STR(crew.jobs[2].output, "");
}

TEST(one_that_is_cancelled_leaves_the_others) {
    struct fake f = {0};
    run(PARALLEL, 5, &f);
    CHECK_INT(crew.jobs[5].status, SLUICE_CANCELLED);
    CHECK_STR(crew.jobs[5].message, "");
    check_output(4);
    check_output(6);
    run(PARALLEL, 0, &f);
    CHECK_INT(crew.jobs[0].status, SLUICE_CANCELLED);
    check_output(1);
}

TEST(a_job_ends_while_others_still_come) {
    struct fake f = {0};
    run_with(PARALLEL, -1, true, &f);
    check_output(0);
}

TEST(one_at_a_time_takes_no_other) {
    struct fake f = {0};
    run(1, -1, &f);
    check_output(0);
    CHECK_INT(crew.n_taken, 0);
    CHECK_INT(f.most, 1);
}

TEST_MAIN()
