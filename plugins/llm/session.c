/* What all kinds of sessions have in common: see session.h. */
#include "llm/session.h"

#include <stdlib.h>
#include <string.h>

#include "num/unicode.h"

void lm_session_close(struct lm_session *s) {
    if (s)
        s->ops->close(s);
}

int32_t lm_session_count(const struct lm_session *s, const char *text, size_t len, uint32_t *ret,
                         struct num_err *err) {
    return s->ops->count(s, text, len, ret, err);
}

static bool is_utf8(const char *text, size_t len) {
    json_t *string = json_stringn(text, len);
    json_decref(string);
    return string != NULL;
}

static int32_t check_texts(const char *system, const char *user, size_t len, struct num_err *err) {
    if (is_utf8(user, len) && (!system || is_utf8(system, strlen(system))))
        return SLUICE_OK;
    return num_fail(err, SLUICE_INPUT, "the text for the model is not UTF-8");
}

int32_t lm_session_frame(const struct lm_session *s, const char *system, const char *user,
                         size_t len, uint32_t *ret, struct num_err *err) {
    int32_t status = check_texts(system, user, len, err);
    return status == SLUICE_OK ? s->ops->frame(s, system, user, len, ret, err) : status;
}

/* ---- One question ---------------------------------------------------------------------------- */

bool lm_question_cancelled(const struct lm_question *q) {
    return atomic_load(&q->stop) || (q->ask.cancelled && q->ask.cancelled(q->ask.ctx));
}

static void keep(void *ctx, const char *text, size_t len) {
    struct lm_question *q = ctx;
    num_buf_add(&q->out, text, len);
}

static void keep_and_show(void *ctx, const char *text, size_t len) {
    struct lm_question *q = ctx;
    num_buf_add(&q->out, text, len);
    if (q->ask.text)
        q->ask.text(q->ask.ctx, text, len);
}

void lm_question_restart(struct lm_question *q) {
    num_buf_finish(&q->out);
    q->thought = (struct lm_thought){q->strips ? LM_THOUGHT_BEFORE : LM_THOUGHT_BEHIND, {0}, 0};
}

void lm_question_text(struct lm_question *q, const char *text, size_t len, bool show) {
    lm_thought_add(&q->thought, text, len, show ? keep_and_show : keep, q);
}

/* The answer with blanks for control characters, without white space at its ends. */
static void clean(struct num_buf *out, size_t front) {
    num_autobuf text = {0};
    size_t begin;
    for (size_t i = front; i < out->len; i++) {
        uint8_t c = (uint8_t)out->data[i];
        bool control = (c < ' ' && c != '\n' && c != '\t') || c == 0x7f;
        num_buf_addc(&text, control ? ' ' : (char)c);
    }
    bool failed = out->failed || text.failed;
    size_t len = num_text_trim(num_buf_text(&text), text.len, &begin);
    num_buf_finish(out);
    num_buf_add(out, num_buf_text(&text) + begin, len);
    out->failed |= failed;
}

void lm_question_end(struct lm_question *q, int32_t status) {
    lm_thought_end(&q->thought, keep, q);
    clean(&q->out, q->strips ? lm_thought_front(num_buf_text(&q->out), q->out.len) : 0);
    if (status == SLUICE_OK && q->out.failed)
        status = num_fail_memory(&q->err, "an answer", q->out.len);
    q->status = status;
    atomic_store(&q->done, true);
}

void lm_session_start(struct lm_session *s, struct lm_question *q) {
    q->strips = !s->thoughts && !q->ask.grammar;
    lm_question_restart(q);
    int32_t status = check_texts(q->ask.system, q->ask.user, q->ask.user_len, &q->err);
    if (status == SLUICE_OK)
        s->ops->start(s, q);
    else
        lm_question_end(q, status);
}

void lm_session_step(struct lm_session *s) {
    s->ops->step(s);
}

void lm_session_wake(struct lm_session *s) {
    if (s->ops->wake)
        s->ops->wake(s);
}

int32_t lm_session_ask(struct lm_session *s, const struct lm_ask *ask, struct num_buf *out,
                       struct lm_answer *ret, struct num_err *err) {
    struct lm_question q = {.ask = *ask};
    int32_t status = lm_session_ask_all(s, &q, 1, NULL, NULL, err);
    num_buf_add(out, num_buf_text(&q.out), q.out.len);
    num_buf_finish(&q.out);
    if (status == SLUICE_OK && out->failed)
        status = num_fail_memory(err, "an answer", out->len);
    if (status == SLUICE_OK && ret)
        *ret = q.answer;
    return status;
}

/* ---- Several --------------------------------------------------------------------------------- */

struct round {
    struct lm_question *questions;
    size_t n, n_started, n_done;
    bool *seen; /* [n]: counted in n_done */
    int32_t status;
};

/* Counts what has become done, and ends the rest where one failed. */
static void look(struct round *r, struct num_err *err) {
    for (size_t i = 0; i < r->n_started; i++) {
        struct lm_question *q = &r->questions[i];
        if (r->seen[i] || !atomic_load(&q->done))
            continue;
        r->seen[i] = true;
        r->n_done++;
        if (q->status == SLUICE_OK || r->status != SLUICE_OK)
            continue;
        r->status = q->status;
        if (err)
            *err = q->err;
    }
    for (size_t i = 0; r->status != SLUICE_OK && i < r->n_started; i++)
        atomic_store(&r->questions[i].stop, true);
}

static int32_t work(struct lm_session *s, struct round *r,
                    void (*answered)(void *ctx, size_t n_done), void *ctx, struct num_err *err) {
    while (r->n_done < (r->status == SLUICE_OK ? r->n : r->n_started)) {
        size_t before = r->n_done;
        while (r->status == SLUICE_OK && r->n_started < r->n &&
               r->n_started - r->n_done < s->parallel)
            lm_session_start(s, &r->questions[r->n_started++]);
        look(r, err);
        if (r->n_done == before) {
            lm_session_step(s);
            look(r, err);
        }
        if (answered && r->n_done != before)
            answered(ctx, r->n_done);
    }
    return r->status;
}

int32_t lm_session_ask_all(struct lm_session *s, struct lm_question *questions, size_t n,
                           void (*answered)(void *ctx, size_t n_done), void *ctx,
                           struct num_err *err) {
    struct round r = {.questions = questions, .n = n, .seen = calloc(n + 1, 1)};
    if (!r.seen)
        return num_fail_memory(err, "questions", n);
    int32_t status = work(s, &r, answered, ctx, err);
    free(r.seen);
    return status;
}

void lm_questions_free(struct lm_question *questions, size_t n) {
    for (size_t i = 0; questions && i < n; i++)
        num_buf_finish(&questions[i].out);
    free(questions);
}
