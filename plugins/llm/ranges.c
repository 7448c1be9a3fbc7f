/* Rounds of questions about ranges of segments: see ranges.h. What a round leaves over is the next
 * one's. */
#include "llm/ranges.h"

#include <stdlib.h>

#include "llm/words.h"
#include "num/buf.h"

struct range {
    size_t first, last;
    bool fits;
    struct num_buf text; /* of its question */
};

struct list {
    struct range *items; /* [n] */
    size_t n, room;
};

struct rounds {
    const struct lm_ranges_job *job;
    struct lm_ranges_report report;
    size_t n_asked; /* of this round */
};

static void list_finish(struct list *l) {
    for (size_t i = 0; i < l->n; i++)
        num_buf_finish(&l->items[i].text);
    free(l->items);
    *l = (struct list){0};
}

static int32_t add(struct list *l, size_t first, size_t last, struct num_err *err) {
    int32_t status = num_grow(&l->items, l->n, &l->room, sizeof *l->items, "windows", err);
    if (status == SLUICE_OK)
        l->items[l->n++] = (struct range){.first = first, .last = last};
    return status;
}

static size_t with_words(const struct lm_transcript *t, size_t first, size_t last) {
    size_t n = 0;
    for (size_t i = first; i < last; i++)
        n += lm_count_marks(t->segments[i].text, t->segments[i].len) > 0;
    return n;
}

static int32_t add_with_words(const struct rounds *r, struct list *l, size_t first, size_t last,
                              struct num_err *err) {
    bool any = with_words(r->job->transcript, first, last) > 0;
    return any ? add(l, first, last, err) : SLUICE_OK;
}

/* The range's question; *ret_n counts those that are asked. */
static int32_t make(struct rounds *r, struct range *range, struct lm_question *questions,
                    size_t *ret_n, struct num_err *err) {
    struct lm_ask ask = {0};
    int32_t status =
        r->job->make(r->job->ctx, range->first, range->last, &ask, &range->text, &range->fits, err);
    if (status == SLUICE_OK && range->text.failed)
        status = num_fail_memory(err, "a question", range->text.len);
    if (status != SLUICE_OK || !range->fits)
        return status;
    ask.user = num_buf_text(&range->text);
    ask.user_len = range->text.len;
    ask.ctx = r->job->options->ctx;
    ask.cancelled = r->job->options->cancelled;
    questions[(*ret_n)++].ask = ask;
    return SLUICE_OK;
}

static void on_answer(void *ctx, size_t n_done) {
    const struct rounds *r = ctx;
    const struct lm_ranges_options *o = r->job->options;
    double left = (double)(r->n_asked - n_done) / (double)r->n_asked;
    if (o->progress)
        o->progress(o->ctx, 0.95 * (1 - left));
}

/* What becomes of a range: its answer counts, or its halves are asked about, or it stays as it
 * is. */
static int32_t settle(struct rounds *r, const struct range *range, const struct lm_question *q,
                      struct list *next, struct num_err *err) {
    size_t n = with_words(r->job->transcript, range->first, range->last);
    size_t middle = range->first + (range->last - range->first) / 2;
    bool counts = false;
    int32_t status = SLUICE_OK;
    if (q) {
        r->report.n_questions++;
        r->report.n_tokens += q->answer.n_tokens;
        status = r->job->take(r->job->ctx, range->first, range->last, q, &counts, err);
        r->report.n_refused += !counts;
    }
    if (status != SLUICE_OK)
        return status;
    if (counts || range->last - range->first == 1) {
        *(counts ? &r->report.n_changed : &r->report.n_kept) += n;
        return SLUICE_OK;
    }
    status = add_with_words(r, next, range->first, middle, err);
    return status == SLUICE_OK ? add_with_words(r, next, middle, range->last, err) : status;
}

static int32_t round_of(struct rounds *r, struct list *now, struct list *next,
                        struct num_err *err) {
    struct lm_question *questions = calloc(now->n + 1, sizeof *questions);
    size_t n = 0, at = 0;
    int32_t status =
        questions ? SLUICE_OK : num_fail_memory(err, "questions", now->n * sizeof *questions);
    for (size_t i = 0; i < now->n && status == SLUICE_OK; i++)
        status = make(r, &now->items[i], questions, &n, err);
    r->n_asked = n ? n : 1;
    if (status == SLUICE_OK)
        status = lm_session_ask_all(r->job->session, questions, n, on_answer, r, err);
    for (size_t i = 0; i < now->n && status == SLUICE_OK; i++) {
        const struct range *range = &now->items[i];
        status = settle(r, range, range->fits ? &questions[at++] : NULL, next, err);
    }
    lm_questions_free(questions, n);
    return status;
}

/* Where the window that begins at `first` ends: it has a segment, however long that is. */
static size_t window_end(const struct lm_ranges_job *job, size_t first) {
    const struct lm_segment *g = job->transcript->segments;
    size_t marks = 0, end = first;
    while (end < job->transcript->n_segments && end - first < job->max_segments) {
        if (job->of_one_speaker && !lm_same_speaker(&g[first], &g[end]))
            break;
        marks += lm_count_marks(g[end].text, g[end].len);
        if (end > first && marks > job->options->max_marks)
            break;
        end++;
    }
    return end;
}

int32_t lm_ranges_run(const struct lm_ranges_job *job, struct lm_ranges_report *ret,
                      struct num_err *err) {
    struct rounds r = {.job = job};
    struct list now = {0}, next = {0};
    size_t n = job->transcript->n_segments;
    int32_t status = SLUICE_OK;
    r.report.n_segments = with_words(job->transcript, 0, n);
    for (size_t i = 0, end; i < n && status == SLUICE_OK; i = end) {
        end = window_end(job, i);
        status = add_with_words(&r, &now, i, end, err);
    }
    while (now.n && status == SLUICE_OK) {
        status = round_of(&r, &now, &next, err);
        list_finish(&now);
        now = next;
        next = (struct list){0};
    }
    list_finish(&now);
    list_finish(&next);
    if (status == SLUICE_OK)
        *ret = r.report;
    return status;
}
