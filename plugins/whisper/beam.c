/*
 * Beam search for one request: see rows.h.
 *
 * Every step, each beam offers its likeliest n + 1 continuations; from the list sorted by
 * log-probability, those that end the text are finished, and the first n others become the beams.
 * It is over once n * patience texts are finished. Where fewer than n are, the best beams stand in
 * as they are. (decoding.py of github.com/openai/whisper; patience: Kasai et al. 2022.)
 *
 * Of the finished texts only the best ranked is kept: the ranking looks at one text at a time.
 */
#include <math.h>
#include <string.h>

#include "whisper/rows.h"

/* Inserts into a list sorted by falling sum, behind equals; drops what is past `max`. */
static uint32_t insert(struct wh_candidate *list, uint32_t n, uint32_t max, struct wh_candidate c) {
    uint32_t at = n;
    while (at > 0 && list[at - 1].sum < c.sum)
        at--;
    if (at == max)
        return n;
    uint32_t kept = n < max ? n : max - 1;
    memmove(list + at + 1, list + at, (kept - at) * sizeof *list);
    list[at] = c;
    return kept + 1;
}

/* The likeliest continuations of one beam, best first; returns how many (at most max). */
static uint32_t likeliest(const struct wh_search *s, const struct wh_group *g, uint32_t beam,
                          float *logits, uint32_t max, struct wh_candidate *ret) {
    const struct wh_rules *rules = &g->request->rules;
    uint32_t n = 0, row = g->rows[beam];
    wh_rules_apply(rules, s->rows[row].history, wh_row_tokens(s, s->tokens, row), logits);
    double below = s->rows[row].sum - wh_log_sum_exp(s, logits, (size_t)rules->n_vocab);
    float worst = -INFINITY;
    for (int32_t v = 0; v < rules->n_vocab; v++) {
        if (!(logits[v] > worst))
            continue;
        n = insert(ret, n, max, (struct wh_candidate){logits[v] + below, beam, v});
        if (n == max)
            worst = logits[ret[n - 1].token];
    }
    return n;
}

/* The continuations of all beams, best first. */
static uint32_t gather(struct wh_search *s, const struct wh_group *g, float *logits) {
    uint32_t each = wh_request_rows(g->request) + 1, n = 0;
    for (uint32_t b = 0; b < g->n_alive; b++) {
        struct wh_candidate own[WH_MAX_CANDIDATES + 1];
        uint32_t n_own = likeliest(s, g, b, logits + (size_t)b * s->model->dims.n_vocab, each, own);
        for (uint32_t i = 0; i < n_own; i++)
            n = insert(s->candidates, n, WH_MAX_CANDIDATES * (WH_MAX_CANDIDATES + 1), own[i]);
    }
    return n;
}

/* Beam `to` becomes beam c.beam with c.token behind it. */
static void extend(struct wh_search *s, struct wh_group *g, uint32_t to, struct wh_candidate c) {
    uint32_t row = g->rows[to], source = g->rows[c.beam];
    const struct wh_row *before = &s->rows[source];
    int32_t *tokens = wh_row_tokens(s, s->next_tokens, row);
    memcpy(tokens, wh_row_tokens(s, s->tokens, source), (size_t)before->history.n * sizeof *tokens);
    tokens[before->history.n] = c.token;
    s->next_rows[row] =
        (struct wh_row){.group = g,
                        .number = to,
                        .history = wh_history_push(&g->request->rules, before->history, c.token),
                        .sum = c.sum};
    s->to[to] = row;
    s->from[to] = source;
}

/* Takes the beams that extend() made for the current ones, in the backend too. */
static int32_t adopt(struct wh_search *s, const struct wh_group *g, struct num_err *err) {
    uint32_t n = 0;
    for (uint32_t b = 0; b < g->n_alive; b++) {
        uint32_t row = g->rows[b];
        s->rows[row] = s->next_rows[row];
        memcpy(wh_row_tokens(s, s->tokens, row), wh_row_tokens(s, s->next_tokens, row),
               (size_t)s->rows[row].history.n * sizeof *s->tokens);
        s->to[n] = s->to[b];
        s->from[n] = s->from[b];
        n += s->from[n] != s->to[n];
    }
    return n ? s->model->backend->reorder(s->model->self, s->to, s->from, n, err) : SLUICE_OK;
}

/* Offers the best beams as they are, until as many texts as beams were looked at. */
static void offer_unfinished(struct wh_search *s, struct wh_group *g) {
    bool offered[WH_MAX_CANDIDATES] = {false};
    for (; g->n_finished < wh_request_rows(g->request); g->n_finished++) {
        uint32_t best = g->n_alive;
        for (uint32_t b = 0; b < g->n_alive; b++)
            if (!offered[b] &&
                (best == g->n_alive || s->rows[g->rows[b]].sum > s->rows[g->rows[best]].sum))
                best = b;
        if (best == g->n_alive)
            return;
        offered[best] = true;
        const struct wh_row *row = &s->rows[g->rows[best]];
        wh_group_offer(g, wh_row_tokens(s, s->tokens, g->rows[best]), (uint32_t)row->history.n,
                       row->sum);
    }
}

int32_t wh_beam_advance(struct wh_search *s, struct wh_group *g, float *logits,
                        struct num_err *err) {
    const struct wh_request *request = g->request;
    uint32_t n_beams = wh_request_rows(request), wanted = wh_texts_wanted(request), n_new = 0;
    uint32_t n = gather(s, g, logits);
    for (uint32_t i = 0; i < n && n_new < n_beams; i++) {
        struct wh_candidate c = s->candidates[i];
        if (c.token != request->rules.eot) {
            extend(s, g, n_new++, c);
        } else if (g->n_finished < wanted) {
            uint32_t row = g->rows[c.beam];
            wh_group_offer(g, wh_row_tokens(s, s->tokens, row), (uint32_t)s->rows[row].history.n,
                           c.sum);
            g->n_finished++;
        }
    }
    bool over = g->n_finished >= wanted || n_new == 0;
    if (n_new) { /* otherwise nothing may follow, and the beams stand as they are */
        g->n_alive = n_new;
        int32_t status = adopt(s, g, err);
        if (status)
            return status;
    }
    if (!over && (uint32_t)s->rows[g->rows[0]].history.n < request->max_tokens)
        return SLUICE_OK;
    offer_unfinished(s, g);
    g->n_alive = 0;
    return SLUICE_OK;
}
