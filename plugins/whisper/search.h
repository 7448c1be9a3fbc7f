/*
 * Finds the tokens of windows that a backend has encoded, for a batch of rows at once: greedy
 * choice under the rules of rules.h. Knows neither audio nor text.
 */
#ifndef WH_SEARCH_H
#define WH_SEARCH_H

#include "whisper/model.h"

/* Buffers for the rows of one model; made once. */
struct wh_search;

int32_t wh_search_create(struct wh_model *model, struct wh_search **ret, struct num_err *err);
void wh_search_destroy(struct wh_search *search);

/* One window to decode. Borrowed for the call. */
struct wh_request {
    uint32_t slot;
    const int32_t *prompt; /* ends with the tokens of wh_prompt_tokens() */
    uint32_t n_prompt;
    uint32_t sot_index;  /* of <|startoftranscript|> in the prompt: there the silence is judged */
    uint32_t max_tokens; /* at most this many are produced */
    struct wh_rules rules;
};

struct wh_result {
    int32_t
        *tokens; /* (max_tokens), the caller's room: what was produced, without the end of text */
    uint32_t n_tokens;
    double
        sum_logprob; /* of the tokens and of the end of text, among those that the rules allowed */
    double avg_logprob; /* sum / (n_tokens + 1) */
    double
        no_speech_prob; /* of <|nospeech|> where the transcript starts; 0 for models without it */
};

/*
 * Decodes n requests, at most the model's n_rows. Asks `watch` before every token. On failure the
 * results are undefined; SLUICE_CANCELLED where `watch` said so.
 */
int32_t wh_search_greedy(struct wh_search *search, const struct wh_request *requests, uint32_t n,
                         const struct wh_watch *watch, struct wh_result *results,
                         struct num_err *err);

/* Logits (V) behind the single token <|startoftranscript|>, for language detection. Uses row 0. */
int32_t wh_search_start_logits(struct wh_search *search, uint32_t slot, const float **ret_logits,
                               struct num_err *err);

#endif
