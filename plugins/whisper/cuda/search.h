/*
 * The search on the device (../request.h): what a step leaves in logits is judged, chosen from and
 * made the next step's items by two kernels behind it, so that a step is one graph and the host
 * launches the next ones without having seen this one.
 *
 *     scan     one block for 2048 logits of a row: rules, then of text and of timestamps apart the
 *              maximum, the sum of exponentials and the likeliest tokens (or the one drawn), as
 *              only both sums together tell whether a timestamp is due
 *     decide   one block for a request: adds its rows' parts up, chooses, moves the beams' texts
 *              and lists of cells (never keys and values), and writes the next items
 *
 * What a request needs is in struct wh_cuda_search, on the device, by its first row. Its texts and
 * its result go to pinned memory when it is finished; the host looks at a copy of `over` every few
 * steps, and lays the items out anew when requests come and go.
 *
 * scan.cu and choose.cu have the kernels, search.cu the host's side.
 */
#ifndef WH_CUDA_SEARCH_H
#define WH_CUDA_SEARCH_H

#include "num/err.h"
#include "whisper/request.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WH_CUDA_PART   2048 /* logits of one block */
#define WH_CUDA_PARTS  32   /* of a row, at most: each a lane's */
#define WH_CUDA_LISTED 512  /* tokens that the rules of a request may name */
#define WH_CUDA_OFFERS (WH_MAX_CANDIDATES + 1)

struct wh_cuda_row {
    uint32_t row; /* the backend's */
    struct wh_history history;
    double sum; /* log-probability of its tokens */
};

/* Where the result of a request goes: pinned memory. */
struct wh_cuda_found {
    uint32_t n_tokens;
    double sum_logprob, no_speech_prob;
};

/* A request on its way. */
struct wh_cuda_search {
    struct wh_rules rules; /* its lists are on the device, without doubles */
    struct wh_noise noise;
    float temperature, length_penalty;
    uint32_t n_rows, n_prompt, max_tokens, slot;
    uint32_t n_wanted; /* beams: texts */
    uint32_t ticket;   /* becomes over[its first row] */
    int32_t no_speech;
    bool beams;
    struct wh_cuda_found *found;
    int32_t *found_tokens; /* (max_tokens): the best text so far */

    uint32_t alive;      /* a bit for each row that goes on; beams: the lowest ones */
    uint32_t n_finished; /* beams: texts */
    uint32_t best_n;     /* the best text so far */
    double best_score, best_sum, no_speech_prob;
    struct wh_cuda_row rows[WH_MAX_CANDIDATES];
};

/* The row of a request that an item is. */
struct wh_cuda_seat {
    int32_t search; /* the request's first row; below 0: nothing */
    uint32_t number;
    uint32_t logits; /* the row of the logits that it chooses from */
    uint32_t group;  /* of number 0: the first of the groups that attend for the request */
};

/* What a block finds of text and of timestamps. Offers: n of each, likeliest first. */
struct wh_cuda_part {
    float max[2], sum[2]; /* sum of exp(logit - max) */
    uint32_t n[2];
};

struct wh_cuda_offer {
    float key, logit; /* the key orders: the logit, or with a sample's noise */
    int32_t token;
};

/* What scan and decide work on; on the device. P: parts of a row. */
struct wh_cuda_choice {
    const struct wh_cuda_seat *seats;
    struct wh_cuda_search *searches; /* (n_rows) */
    const uint16_t *own;             /* (n_rows, C): the cell of each token that a row writes */
    uint16_t *cells;                 /* (n_rows, C): those that it reads */
    int32_t *texts;                  /* (n_rows, C + 1): what each row produced */
    uint32_t *over;                  /* (n_rows) */
    struct wh_cuda_part *parts;      /* (seats, P) */
    struct wh_cuda_offer *offers;    /* (seats, P, 2, WH_CUDA_OFFERS) */
    const float *logits;             /* (., V) */
    struct wh_cuda_item *items;      /* NULL: the items are not the search's */
    struct wh_cuda_group *groups;
    uint32_t V, C, n_parts;
};

/* What start() hands over, in pinned memory, by the first row or by the row; and what comes
 * back. */
struct wh_cuda_search_host {
    uint32_t *admitted; /* (n_rows): first rows of the requests */
    struct wh_cuda_search *searches;
    int32_t *listed; /* (n_rows, WH_CUDA_LISTED) */
    uint16_t *own;   /* (n_rows, C) */
    struct wh_cuda_found *found;
    int32_t *found_tokens; /* (n_rows, C + 1) */
    uint32_t *over[2];     /* (n_rows): behind every other run of steps */
};

static inline uint32_t wh_cuda_parts_of(uint32_t n_vocab) {
    return (n_vocab + WH_CUDA_PART - 1) / WH_CUDA_PART;
}

#ifdef __cplusplus
}
#endif

#endif
