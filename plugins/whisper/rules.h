/*
 * Which tokens a row may produce next, and which it takes: pure functions on one row's history and
 * logits, for the host and for device code, where the threads of a block share the loops over the
 * vocabulary and call what is inside them. They follow decoding.py of github.com/openai/whisper
 * (SuppressBlank, SuppressTokens, ApplyTimestampRules), applied in that order:
 *
 *   - listed tokens never; some not at the beginning;
 *   - with timestamps, the first token is one, not later than max_initial;
 *   - timestamps come in pairs, except right before the end of the text, and never go back; a
 *     closing one is later than the opening one;
 *   - where timestamps together are likelier than the likeliest other token, it is a timestamp.
 *
 * Before them come, where asked for, the two penalties of github.com/OpenNMT/CTranslate2: a factor
 * on the logits of texts that the row holds already, and no n-gram twice. Here both leave the end
 * of text and the timestamps alone.
 */
#ifndef WH_RULES_H
#define WH_RULES_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "num/philox.h"

#define WH_FN NUM_FN

/* Seconds of one timestamp step; the token after <|notimestamps|> is 0.00. */
#define WH_TIMESTAMP_S 0.02

struct wh_rules {
    int32_t n_vocab;
    int32_t eot;             /* texts are the ids below it, special tokens those above */
    int32_t no_timestamps;   /* <|notimestamps|> */
    int32_t timestamp_begin; /* no_timestamps + 1; timestamps reach up to n_vocab */
    int32_t max_initial;     /* steps: the first timestamp is at most this; below 0: any */
    bool timestamps;         /* decode with them */
    bool suppress_blank;     /* apply `begin_suppress` to the first token */
    const int32_t *suppress; /* never produced */
    int32_t n_suppress;
    const int32_t *begin_suppress; /* not as the first token */
    int32_t n_begin_suppress;
    float repetition_penalty; /* above 1: produced texts become less likely; 0 and 1: off */
    int32_t no_repeat_ngram;  /* no sequence of this many tokens twice; 0: off */
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
    if (!r->timestamps)
        return n;
    if (h.n == 0) {
        struct wh_range not_timestamp = {0, r->timestamp_begin};
        ret[n++] = not_timestamp;
        if (r->max_initial >= 0) {
            struct wh_range late = {r->timestamp_begin + r->max_initial + 1, r->n_vocab};
            ret[n++] = late;
        }
        return n;
    }
    struct wh_range marker = {r->no_timestamps, r->timestamp_begin};
    ret[n++] = marker;
    if (h.last_is_timestamp && h.previous_is_timestamp) {
        struct wh_range timestamp = {r->timestamp_begin, r->n_vocab};
        ret[n++] = timestamp;
    } else if (h.last_is_timestamp) {
        struct wh_range text = {0, r->eot};
        ret[n++] = text;
    }
    if (h.last_timestamp >= 0) {
        /* may repeat the time that closed */
        bool opens = h.last_is_timestamp && !h.previous_is_timestamp;
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

WH_FN bool wh_is_forbidden(const struct wh_range *ranges, int n, int32_t token) {
    bool forbidden = false;
    for (int k = 0; k < n; k++)
        forbidden |= token >= ranges[k].begin && token < ranges[k].end;
    return forbidden;
}

/* Whether timestamps of that maximum, and that sum of exp(logit - max), are together likelier than
 * a token of logit text_max; there must be one. */
WH_FN bool wh_timestamps_win(float max, float sum, float text_max) {
    return max + logf(sum) > text_max;
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
    return wh_timestamps_win(max, sum, text_max);
}

/* Whether token i of the list is there before i. */
WH_FN bool wh_is_again(const int32_t *tokens, int32_t i) {
    bool again = false;
    for (int32_t k = 0; !again && k < i; k++)
        again = tokens[k] == tokens[i];
    return again;
}

WH_FN bool wh_has_penalty(const struct wh_rules *r) {
    return r->repetition_penalty > 0 && r->repetition_penalty != 1;
}

WH_FN float wh_penalised(const struct wh_rules *r, float logit) {
    return logit < 0 ? logit * r->repetition_penalty : logit / r->repetition_penalty;
}

/* Weakens each text among the row's n tokens once. */
WH_FN void wh_penalise(const struct wh_rules *r, const int32_t *tokens, int32_t n, float *logits) {
    for (int32_t i = 0; i < n; i++)
        if (tokens[i] < r->eot && !wh_is_again(tokens, i))
            logits[tokens[i]] = wh_penalised(r, logits[tokens[i]]);
}

/* Whether token i is a text, and the last of the row's n tokens stand before it: behind them it
 * would make a sequence that the row holds already. */
WH_FN bool wh_would_repeat(const struct wh_rules *r, const int32_t *tokens, int32_t n, int32_t i) {
    int32_t before = r->no_repeat_ngram - 1, at = i - before;
    bool same = at >= 0 && tokens[i] < r->eot;
    for (int32_t k = 0; same && k < before; k++)
        same = tokens[at + k] == tokens[n - before + k];
    return same;
}

/* Forbids every text that would make the row's last tokens a sequence that it holds already. */
WH_FN void wh_forbid_repeats(const struct wh_rules *r, const int32_t *tokens, int32_t n,
                             float *logits) {
    for (int32_t i = 0; i < n; i++)
        if (wh_would_repeat(r, tokens, n, i))
            logits[tokens[i]] = -INFINITY;
}

/*
 * Sets the logits (n_vocab) of all tokens that may not come next to minus infinity. `tokens`: the
 * h.n that the row has produced; looked at only where a penalty is on.
 */
WH_FN void wh_rules_apply(const struct wh_rules *r, struct wh_history h, const int32_t *tokens,
                          float *logits) {
    struct wh_range ranges[WH_MAX_RANGES];
    if (wh_has_penalty(r))
        wh_penalise(r, tokens, h.n, logits);
    if (r->no_repeat_ngram > 0)
        wh_forbid_repeats(r, tokens, h.n, logits);
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

/* Where a draw takes its noise from: `stream` names the window and the attempt. */
struct wh_noise {
    uint64_t seed;
    uint32_t stream[2];
};

#define WH_MAX_GUMBEL 23.0f /* of 32 random bits: -log(-log(1 - 2^-33)) = 22.87 */

WH_FN float wh_gumbel(uint32_t bits) {
    return (float)-log(-log(num_uniform(bits)));
}

/* The random bits of tokens [4 group, 4 group + 4). */
WH_FN struct num_philox wh_noise_bits(struct wh_noise noise, uint32_t sample, uint32_t step,
                                      uint32_t group) {
    struct num_philox counter = {{group, sample << 16 | step, noise.stream[0], noise.stream[1]}};
    return num_philox(counter, noise.seed);
}

/*
 * A token drawn with the probabilities softmax(logits / temperature): the largest of logits /
 * temperature + noise of Gumbel's distribution. The noise of token v is a function of the seed, the
 * stream, the sample's number, the step and v alone. -1 where every token is forbidden.
 */
WH_FN int32_t wh_sample(const float *logits, int32_t n_vocab, float temperature,
                        struct wh_noise noise, uint32_t sample, uint32_t step) {
    float best = -INFINITY;
    int32_t token = -1;
    struct num_philox bits = {{0}};
    int32_t held = -1; /* the group of four that `bits` are of */
    for (int32_t v = 0; v < n_vocab; v++) {
        float x = logits[v] / temperature;
        if (!(x + WH_MAX_GUMBEL > best))
            continue;
        if (held != v / 4) {
            held = v / 4;
            bits = wh_noise_bits(noise, sample, step, (uint32_t)held);
        }
        x += wh_gumbel(bits.v[v % 4]);
        if (x > best) {
            best = x;
            token = v;
        }
    }
    return token;
}

#endif
