/*
 * Finds the tokens of windows that a backend has encoded, for many requests at once, under the
 * rules of rules.h: the likeliest token each time, beams, or the best of several samples, as
 * decoding.py of github.com/openai/whisper. Knows neither audio nor text.
 *
 * Requests join and leave at any step:
 *
 *     while (there is work) {
 *         while (another request waits && wh_search_has_room(search, its rows))
 *             wh_search_add(search, request, result, err);
 *         wh_search_step(search, err);
 *         take the results that are `finished`
 *     }
 *
 * What a request gets depends on nothing that is beside it.
 */
#ifndef WH_SEARCH_H
#define WH_SEARCH_H

#include "whisper/model.h"
#include "whisper/request.h"

/* Buffers for the rows of one model; made once. */
struct wh_search;

int32_t wh_search_create(struct wh_model *model, struct wh_search **ret, struct num_err *err);
void wh_search_destroy(struct wh_search *search);

struct wh_result {
    bool finished; /* the rest counts, and the request's rows are free */
    /* (max_tokens), the caller's room: what was produced, without the end of text */
    int32_t *tokens;
    uint32_t n_tokens;
    /* of the tokens, and of the end of text where it was reached, among what the rules allowed */
    double sum_logprob;
    double avg_logprob; /* sum / (n_tokens + 1) */
    /* of <|nospeech|> where the transcript starts; 0 for models without it */
    double no_speech_prob;
};

/* Whether that many rows are free. */
bool wh_search_has_room(const struct wh_search *search, uint32_t n_rows);

/*
 * Adds a request: it takes free rows of the backend, and part from the next step on. Both are
 * borrowed, at the same address, and its slot stays encoded, until `result` is finished or dropped.
 * SLUICE_INTERNAL where the prompt does not fit the decoder, or there is no room.
 */
int32_t wh_search_add(struct wh_search *search, const struct wh_request *request,
                      struct wh_result *result, struct num_err *err);

/*
 * Prefills what was added and continues every other row by a token, or by several where the
 * backend can. Nothing to do is a success. On failure all requests are dropped.
 */
int32_t wh_search_step(struct wh_search *search, struct num_err *err);

/* Forgets the request behind `result`; NULL: all of them. */
void wh_search_drop(struct wh_search *search, const struct wh_result *result);

/* A free row, for what else needs one: the backend's prefill() or attention(), before the next
 * wh_search_add(). There must be one. */
uint32_t wh_search_spare_row(const struct wh_search *search);

/* n of them. */
void wh_search_spare_rows(const struct wh_search *search, uint32_t n, uint32_t *ret_rows);

/*
 * Decodes n requests whose rows are together at most the model's n_rows, and nothing else. Asks
 * `watch` before every step. On failure the results are undefined; SLUICE_CANCELLED where `watch`
 * said so.
 */
int32_t wh_search_run(struct wh_search *search, const struct wh_request *requests, uint32_t n,
                      const struct num_watch *watch, struct wh_result *results,
                      struct num_err *err);

/* Logits (V) behind the single token <|startoftranscript|>, for language detection. Needs a free
 * row. Borrowed until the next call. */
int32_t wh_search_start_logits(struct wh_search *search, uint32_t slot, const float **ret_logits,
                               struct num_err *err);

#endif
