/*
 * Windows of a transcript whose answers are checked: ranges of segments are asked about together,
 * as many at a time as the session takes; where an answer does not count, each half is asked about
 * alone, down to single segments: at most 2n - 1 questions for n segments.
 */
#ifndef LM_RANGES_H
#define LM_RANGES_H

#include "llm/session.h"
#include "llm/transcript.h"

/* What those who ask are told. */
struct lm_ranges_options {
    const char *system;   /* what the model is told to do; NULL: a text of their own */
    const char *language; /* lm_translate: to translate into, a code or a name */
    uint32_t max_marks;   /* letters and numbers of a window, about */
    void *ctx;            /* of the following, which may be NULL */
    bool (*cancelled)(void *ctx);
    void (*progress)(void *ctx, double fraction);
};

struct lm_ranges_job {
    struct lm_session *session;
    struct lm_transcript *transcript;
    const struct lm_ranges_options *options;
    size_t max_segments; /* of a window */
    bool of_one_speaker; /* a window has one */
    void *ctx;
    /*
     * Prepares the question about segments [first, last), whose user text is appended to `text`;
     * *ret_fits false: it is too long for the context. Who cancels, and the ask's user text, are
     * set afterwards.
     */
    int32_t (*make)(void *ctx, size_t first, size_t last, struct lm_ask *ret_ask,
                    struct num_buf *text, bool *ret_fits, struct num_err *err);
    /* Whether the answer counts; if so it has been taken into the transcript. */
    int32_t (*take)(void *ctx, size_t first, size_t last, const struct lm_question *q,
                    bool *ret_counts, struct num_err *err);
};

struct lm_ranges_report {
    size_t n_segments;             /* with words */
    size_t n_changed, n_kept;      /* with an answer that counts; without */
    size_t n_questions, n_refused; /* answers that do not count */
    uint64_t n_tokens;
};

/*
 * Asks about all segments; those without words are not counted. SLUICE_CANCELLED, SLUICE_RESOURCE,
 * and what the session answers.
 */
int32_t lm_ranges_run(const struct lm_ranges_job *job, struct lm_ranges_report *ret,
                      struct num_err *err);

#endif
