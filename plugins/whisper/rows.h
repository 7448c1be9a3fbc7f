/*
 * What the search keeps of its rows and requests, shared by search.c (the loop, greedy choice and
 * samples) and beam.c.
 */
#ifndef WH_ROWS_H
#define WH_ROWS_H

#include "num/cpu/kernels.h"
#include "whisper/search.h"

/* A sequence on its way. With its request, this is all that the choice of a token needs. */
struct wh_row {
    struct wh_group *group; /* NULL: the row is free */
    uint32_t number;        /* among the group's rows: of a sample, it names its noise */
    struct wh_history history;
    double sum; /* log-probability of its tokens */
};

/* A request on its way. */
struct wh_group {
    const struct wh_request *request; /* NULL: free */
    bool taken;                       /* the backend runs it: what follows but `rows` is unused */
    struct wh_result *result;         /* holds the best text so far */
    uint32_t rows[WH_MAX_CANDIDATES]; /* the backend's, any */
    uint32_t n_alive;                 /* that go on; beams: rows[0 .. n_alive) */
    uint32_t n_finished;              /* beams: texts */
    double best_score;                /* of what `result` holds; minus infinity: nothing */
};

/* A token that could continue a beam. */
struct wh_candidate {
    double sum; /* log-probability with it */
    uint32_t beam;
    int32_t token;
};

struct wh_search {
    struct wh_model *model;
    const struct num_kernels *kernels;
    struct wh_row *rows, *next_rows; /* (n_rows) */
    int32_t *tokens, *next_tokens;   /* (n_rows, C + 1): what each row produced */
    struct wh_group *groups;         /* (n_rows): no request has fewer than one */
    struct wh_group **added;         /* (n_rows): not yet prefilled */
    uint32_t n_added;
    struct wh_taken *taken;             /* (n_rows): of `added`, those that the backend runs */
    struct wh_found *found;             /* (n_rows) */
    struct wh_prompt *prompts;          /* (n_rows) */
    struct wh_step *steps, *next_steps; /* (n_rows): the rows that go on */
    uint32_t n_next;                    /* in next_steps */
    uint32_t n_free;                    /* rows */
    uint32_t *to, *from;                /* (n_rows): rows to copy */
    struct wh_candidate *candidates;    /* (WH_MAX_CANDIDATES * (WH_MAX_CANDIDATES + 1)) */
    float *logits;                      /* (n_rows, V) */
    float *prompt_logits;               /* (C, V): of prompts from <|startoftranscript|> on */
};

static inline int32_t *wh_row_tokens(const struct wh_search *s, int32_t *tokens, uint32_t row) {
    return tokens + (size_t)row * (s->model->dims.n_text_ctx + 1);
}

/* log of the sum of exp(logits); minus infinity where all are. */
double wh_log_sum_exp(const struct wh_search *s, const float *logits, size_t n);

/* Takes the text of n tokens as the group's result where it ranks above what is there. */
void wh_group_offer(struct wh_group *group, const int32_t *tokens, uint32_t n, double sum);

/*
 * Continues the group's beams by one token each. logits (n_alive, V), overwritten. At the first
 * call n_alive is 1. Sets n_alive to 0 where the request is finished; the backend's rows follow.
 */
int32_t wh_beam_advance(struct wh_search *s, struct wh_group *group, float *logits,
                        struct num_err *err);

#endif
