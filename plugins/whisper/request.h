/*
 * What is asked of the search for one window, and the table by which a backend takes the search
 * over: on a device, whole steps then run without the host, which only looks now and then whether a
 * request is finished. Results are those of search.c and beam.c for the same logits; sums of
 * log-probabilities are equal to rounding.
 */
#ifndef WH_REQUEST_H
#define WH_REQUEST_H

#include <math.h>

#include "num/err.h"
#include "whisper/rules.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WH_MAX_CANDIDATES 32 /* beams or samples of one request */

/* One window to decode. */
struct wh_request {
    uint32_t slot;
    const int32_t *prompt;
    uint32_t n_prompt;
    uint32_t sot_index;  /* of <|startoftranscript|> in the prompt: there the silence is judged */
    uint32_t max_tokens; /* at most this many are produced; n_prompt + max_tokens <= C + 1 */
    struct wh_rules rules;
    float temperature;     /* 0: beams, or the likeliest token; above: samples */
    uint32_t n_candidates; /* rows that the request takes; 0 counts as 1 */
    float patience; /* beams: n_candidates * patience texts are finished first; 0 counts as 1 */
    float length_penalty;  /* alpha of Wu et al. 2016, equation 14; below 0: by plain length */
    struct wh_noise noise; /* of samples */
};

/* Rows that a request takes. */
static inline uint32_t wh_request_rows(const struct wh_request *request) {
    return request->n_candidates ? request->n_candidates : 1;
}

static inline bool wh_is_beam_search(const struct wh_request *request) {
    return request->temperature <= 0 && wh_request_rows(request) > 1;
}

/* Texts that a beam search finishes before it is over. */
static inline uint32_t wh_texts_wanted(const struct wh_request *request) {
    double patience = request->patience > 0 ? request->patience : 1;
    double n = rint(wh_request_rows(request) * patience);
    return n < 1 ? 1 : (uint32_t)n;
}

/* How a text of n tokens ranks: its log-probability, weakened by its length. */
WH_FN double wh_rank(float length_penalty, uint32_t n, double sum) {
    if (length_penalty >= 0)
        return sum / pow((5 + (double)n) / 6, (double)length_penalty);
    return sum / (n ? n : 1);
}

/* A request to start on a backend; `rows`: those that it takes, named from now on by the first. */
struct wh_taken {
    const struct wh_request *request;
    const uint32_t *rows; /* (wh_request_rows()) */
    int32_t no_speech; /* the token whose probability is wanted where the transcript starts; -1 */
};

/* What became of a request: as struct wh_result. */
struct wh_found {
    uint32_t row; /* its first */
    uint32_t n_tokens;
    const int32_t *tokens; /* borrowed until the next call */
    double sum_logprob, no_speech_prob;
};

/* Functions fail with a class and a sentence; then every request that was taken is dropped. */
struct wh_backend_search {
    /* Whether it runs such a request; the caller does itself what it does not. Called before
     * anything of it is on the way. */
    bool (*takes)(void *self, const struct wh_request *request);

    /* Prefills the prompts and chooses the first tokens. The requests may go when it returns. */
    int32_t (*start)(void *self, const struct wh_taken *taken, uint32_t n, struct num_err *err);

    /* Continues what was taken by some tokens, or as far as it goes; stores those that are
     * finished, whose rows are free again. Some may be finished and be told of by a later call
     * only: each call makes progress. ret_found (n_rows). */
    int32_t (*run)(void *self, struct wh_found *ret_found, uint32_t *ret_n, struct num_err *err);

    /* Forgets the request whose first row this is. */
    void (*drop)(void *self, uint32_t row);
};

#ifdef __cplusplus
}
#endif

#endif
