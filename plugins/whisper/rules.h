/*
 * Which tokens a row may produce next: pure functions on one row's history and logits, for the host
 * and for device code. They follow decoding.py of github.com/openai/whisper (SuppressBlank,
 * SuppressTokens, ApplyTimestampRules), applied in that order:
 *
 *   - listed tokens, and all special tokens, never; some not at the beginning;
 *   - the first token is a timestamp, not later than max_initial_timestamp;
 *   - timestamps come in pairs, except right before the end of the text, and never go back; a
 *     closing one is later than the opening one;
 *   - where timestamps together are likelier than the likeliest other token, it is a timestamp.
 *
 * Without timestamps only the first rule holds, and timestamps count as special.
 */
#ifndef WH_RULES_H
#define WH_RULES_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __CUDACC__
#define WH_FN __host__ __device__ static inline
#else
#define WH_FN static inline
#endif

/* Seconds of one timestamp step; the token after <|notimestamps|> is 0.00. */
#define WH_TIMESTAMP_S 0.02

struct wh_rules {
    int32_t n_vocab;
    int32_t eot;             /* texts are the ids below it, special tokens those above */
    int32_t no_timestamps;   /* <|notimestamps|> */
    int32_t timestamp_begin; /* no_timestamps + 1; timestamps reach up to n_vocab */
    int32_t max_initial;     /* steps: the first timestamp is at most this */
    bool timestamps;         /* decode with them */
    bool suppress_blank;     /* apply `begin_suppress` to the first token */
    const int32_t *suppress; /* never produced */
    int32_t n_suppress;
    const int32_t *begin_suppress; /* not as the first token */
    int32_t n_begin_suppress;
};

/* What the rules need to know of the tokens that a row has produced. */
struct wh_history {
    int32_t n;                  /* tokens produced */
    int32_t last_timestamp;     /* its id, or -1 */
    bool last_is_timestamp;     /* false for n = 0 */
    bool previous_is_timestamp; /* the one before; true for n < 2 */
};

WH_FN struct wh_history wh_history_start(void) {
    struct wh_history h = {0, -1, false, true};
    return h;
}

WH_FN struct wh_history wh_history_push(const struct wh_rules *r, struct wh_history h,
                                        int32_t token) {
    bool timestamp = token >= r->timestamp_begin;
    h.previous_is_timestamp = h.n == 0 ? true : h.last_is_timestamp;
    h.last_is_timestamp = timestamp;
    h.last_timestamp = timestamp ? token : h.last_timestamp;
    h.n++;
    return h;
}

/* Ids [begin, end). */
struct wh_range {
    int32_t begin, end;
};

#define WH_MAX_RANGES 4

/* The ranges of ids that the history forbids; returns how many. They may be empty, and overlap. */
WH_FN int wh_forbidden(const struct wh_rules *r, struct wh_history h,
                       struct wh_range ret[WH_MAX_RANGES]) {
    int n = 0;
    struct wh_range special = {r->eot + 1, r->timestamps ? r->timestamp_begin : r->n_vocab};
    ret[n++] = special;
    if (!r->timestamps)
        return n;
    if (h.n == 0) {
        struct wh_range not_timestamp = {0, r->timestamp_begin};
        struct wh_range late = {r->timestamp_begin + r->max_initial + 1, r->n_vocab};
        ret[n++] = not_timestamp;
        ret[n++] = late;
        return n;
    }
    if (h.last_is_timestamp && h.previous_is_timestamp) {
        struct wh_range timestamp = {r->timestamp_begin, r->n_vocab};
        ret[n++] = timestamp;
    } else if (h.last_is_timestamp) {
        struct wh_range text = {0, r->eot};
        ret[n++] = text;
    }
    if (h.last_timestamp >= 0) {
        bool opens =
            h.last_is_timestamp && !h.previous_is_timestamp; /* may repeat the time that closed */
        struct wh_range past = {r->timestamp_begin, h.last_timestamp + (opens ? 0 : 1)};
        ret[n++] = past;
    }
    return n;
}

WH_FN void wh_suppress_list(const struct wh_rules *r, const int32_t *list, int32_t n,
                            float *logits) {
    for (int32_t i = 0; i < n; i++)
        if (list[i] >= 0 && list[i] < r->n_vocab)
            logits[list[i]] = -INFINITY;
}

/* Whether the timestamps together are likelier than any other token. */
WH_FN bool wh_timestamp_is_due(const struct wh_rules *r, const float *logits) {
    float text_max = -INFINITY, max = -INFINITY, sum = 0;
    for (int32_t i = 0; i < r->timestamp_begin; i++)
        text_max = logits[i] > text_max ? logits[i] : text_max;
    for (int32_t i = r->timestamp_begin; i < r->n_vocab; i++)
        max = logits[i] > max ? logits[i] : max;
    if (max == -INFINITY)
        return false;
    for (int32_t i = r->timestamp_begin; i < r->n_vocab; i++)
        sum += expf(logits[i] - max);
    return max + logf(sum) > text_max;
}

/* Sets the logits (n_vocab) of all tokens that may not come next to minus infinity. */
WH_FN void wh_rules_apply(const struct wh_rules *r, struct wh_history h, float *logits) {
    struct wh_range ranges[WH_MAX_RANGES];
    if (h.n == 0 && r->suppress_blank)
        wh_suppress_list(r, r->begin_suppress, r->n_begin_suppress, logits);
    wh_suppress_list(r, r->suppress, r->n_suppress, logits);
    int n = wh_forbidden(r, h, ranges);
    for (int k = 0; k < n; k++)
        for (int32_t i = ranges[k].begin; i < ranges[k].end; i++)
            logits[i] = -INFINITY;
    if (r->timestamps && wh_timestamp_is_due(r, logits))
        for (int32_t i = 0; i < r->timestamp_begin; i++)
            logits[i] = -INFINITY;
}

#endif
