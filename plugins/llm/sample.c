/*
 * Sampling: see sample.h. Candidates go into a heap, from which the likeliest are taken until a
 * limit is reached, so that a vocabulary is never sorted in full. Random numbers are a function of
 * seed and step (num/philox.h).
 */
#include "llm/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "num/cpu/kernels.h"
#include "num/philox.h"

#define WORDS(n) (((n) + 31) / 32)

int32_t lm_sampler_init(struct lm_sampler *s, uint32_t n_vocab, struct num_err *err) {
    *s = (struct lm_sampler){.n_vocab = n_vocab,
                             .candidates = malloc(n_vocab * sizeof *s->candidates),
                             .seen = calloc(WORDS(n_vocab), sizeof *s->seen),
                             .allowed = calloc(WORDS(n_vocab), sizeof *s->allowed),
                             .work = malloc(n_vocab * sizeof *s->work)};
    if (s->candidates && s->seen && s->allowed && s->work)
        return SLUICE_OK;
    lm_sampler_finish(s);
    return num_fail_memory(err, "sampling", lm_sampler_bytes(n_vocab));
}

void lm_sampler_finish(struct lm_sampler *s) {
    free(s->candidates);
    free(s->seen);
    free(s->allowed);
    free(s->work);
    *s = (struct lm_sampler){0};
}

uint64_t lm_sampler_bytes(uint32_t n_vocab) {
    return (uint64_t)n_vocab * (sizeof(struct lm_candidate) + sizeof(float)) + 8 * WORDS(n_vocab);
}

static bool bit(const uint32_t *bits, int32_t token) {
    return bits[token / 32] >> (token % 32) & 1;
}

/* ---- Penalties and constraint ---------------------------------------------------------------- */

/* Once for each token that is there. */
static void penalise_repetition(struct lm_sampler *s, float penalty, const int32_t *tokens,
                                size_t n) {
    for (size_t i = 0; i < n; i++) {
        int32_t t = tokens[i];
        if (bit(s->seen, t))
            continue;
        s->seen[t / 32] |= 1u << (t % 32);
        s->work[t] = s->work[t] > 0 ? s->work[t] / penalty : s->work[t] * penalty;
    }
    for (size_t i = 0; i < n; i++)
        s->seen[tokens[i] / 32] = 0;
}

static void penalise_answer(struct lm_sampler *s, const struct lm_sampling *how,
                            const int32_t *tokens, size_t n) {
    for (size_t i = 0; i < n; i++) {
        int32_t t = tokens[i];
        s->work[t] -= how->frequency_penalty + (bit(s->seen, t) ? 0 : how->presence_penalty);
        s->seen[t / 32] |= 1u << (t % 32);
    }
    for (size_t i = 0; i < n; i++)
        s->seen[tokens[i] / 32] = 0;
}

/* Minus infinity for what may not follow; false where nothing may. */
static bool constrain(struct lm_sampler *s, const struct lm_constraint *c) {
    bool any = false;
    memset(s->allowed, 0, WORDS(s->n_vocab) * sizeof *s->allowed);
    c->mask(c->ctx, s->allowed, s->n_vocab);
    for (uint32_t t = 0; t < s->n_vocab; t++) {
        bool may = bit(s->allowed, (int32_t)t);
        any |= may;
        s->work[t] = may ? s->work[t] : -INFINITY;
    }
    return any;
}

/* ---- Choosing ------------------------------------------------------------------------------- */

/* The first of the largest; a model that yields no numbers gets token 0. */
static int32_t likeliest(const float *logits, uint32_t n) {
    float top = num_kernels()->max(logits, n);
    uint32_t i = 0;
    while (i < n && !(logits[i] == top))
        i++;
    return i < n ? (int32_t)i : 0;
}

static bool before(struct lm_candidate a, struct lm_candidate b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

static void sink(struct lm_candidate *heap, size_t n, size_t at) {
    struct lm_candidate c = heap[at];
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        child += child + 1 < n && before(heap[child + 1], heap[child]);
        if (!before(heap[child], c))
            break;
        heap[at] = heap[child];
    }
    heap[at] = c;
}

static struct lm_candidate take_top(struct lm_candidate *heap, size_t *n) {
    struct lm_candidate top = heap[0];
    heap[0] = heap[--*n];
    if (*n)
        sink(heap, *n, 0);
    return top;
}

/*
 * Moves the tokens that the limits keep to the back of the heap's memory, likeliest last; returns
 * how many. Each limit counts what the one before it has left, so top-p is of the sum of top-k.
 */
static size_t keep(struct lm_sampler *s, size_t n, const struct lm_sampling *how, float top) {
    struct lm_candidate *c = s->candidates;
    size_t left = n, most = how->top_k && how->top_k < n ? how->top_k : n, kept = 0;
    double total = 0, sum = 0;
    for (size_t i = n / 2; i-- > 0;)
        sink(c, n, i);
    for (size_t i = 0; i < most; i++) {
        struct lm_candidate next = take_top(c, &left);
        c[left] = next;
        total += exp((double)next.logit - top);
    }
    bool all = !(how->top_p > 0 && how->top_p < 1);
    double least = how->min_p > 0 ? how->min_p : 0; /* of the likeliest */
    for (; kept < most && (all || kept == 0 || sum < how->top_p * total); kept++) {
        double p = exp((double)c[n - 1 - kept].logit - top);
        if (kept && p < least)
            break;
        sum += p;
    }
    return kept;
}

/* Tokens less likely than e^-30 times the likeliest are left out where there is any limit: all of
 * them together weigh less than 1e-7. */
static size_t gather(struct lm_sampler *s, float temperature, float top) {
    size_t n = 0;
    for (uint32_t t = 0; t < s->n_vocab; t++) {
        float logit = s->work[t] / temperature;
        if (logit >= top - 30)
            s->candidates[n++] = (struct lm_candidate){logit, (int32_t)t};
    }
    return n;
}

static int32_t draw(struct lm_sampler *s, const struct lm_sampling *how, uint64_t step) {
    float top = s->work[likeliest(s->work, s->n_vocab)] / how->temperature;
    size_t n = gather(s, how->temperature, top);
    if (n == 0)
        return likeliest(s->work, s->n_vocab);
    bool limited = how->top_k || (how->top_p > 0 && how->top_p < 1) || how->min_p > 0;
    size_t kept = limited ? keep(s, n, how, top) : n;
    const struct lm_candidate *c = s->candidates + n - kept;
    double total = 0, sum = 0;
    for (size_t i = 0; i < kept; i++)
        total += exp((double)c[i].logit - top);
    struct num_philox random = num_philox(
        (struct num_philox){{(uint32_t)step, (uint32_t)(step >> 32), 0x6c6d, 0}}, how->seed);
    double at = num_uniform(random.v[0]) * total;
    for (size_t i = kept; i-- > 0;) {
        sum += exp((double)c[i].logit - top);
        if (sum >= at)
            return c[i].token;
    }
    return c[0].token;
}

/* ---- All of it ------------------------------------------------------------------------------ */

static float log_probability(const float *logits, uint32_t n, int32_t token) {
    float top = logits[likeliest(logits, n)];
    const struct num_kernels *kernels = num_kernels();
    return logits[token] - top - logf(kernels->sum_exp(logits, n, top));
}

static float repetition_of(const struct lm_sampling *how) {
    return how->repetition_penalty > 0 ? how->repetition_penalty : 1;
}

bool lm_sample_is_plain(const struct lm_sampling *how, const struct lm_constraint *constraint) {
    return !(how->temperature > 0) && repetition_of(how) == 1 && how->presence_penalty == 0 &&
           how->frequency_penalty == 0 && !(constraint && constraint->mask);
}

int32_t lm_sample_plain(const float *logits, uint32_t n_vocab, float *ret_logprob) {
    int32_t token = likeliest(logits, n_vocab);
    *ret_logprob = log_probability(logits, n_vocab, token);
    return token;
}

int32_t lm_sample(struct lm_sampler *s, const float *logits, const struct lm_sampling *how,
                  const struct lm_constraint *constraint, const int32_t *tokens, size_t n_tokens,
                  size_t n_prompt, uint64_t step, float *ret_logprob) {
    float repetition = repetition_of(how);
    bool greedy = !(how->temperature > 0), constrained = constraint && constraint->mask;
    memcpy(s->work, logits, s->n_vocab * sizeof *logits);
    if (repetition != 1)
        penalise_repetition(s, repetition, tokens, n_tokens);
    if (how->presence_penalty != 0 || how->frequency_penalty != 0)
        penalise_answer(s, how, tokens + n_prompt, n_tokens - n_prompt);
    int32_t token = greedy ? likeliest(s->work, s->n_vocab) : -1;
    bool sure =
        greedy && constrained && constraint->allows && constraint->allows(constraint->ctx, token);
    if (constrained && !sure) {
        if (!constrain(s, constraint))
            return -1;
        token = likeliest(s->work, s->n_vocab);
    }
    if (!greedy)
        token = draw(s, how, step);
    if (constrained && !sure && !bit(s->allowed, token))
        return -1; /* no number among the allowed */
    *ret_logprob = log_probability(logits, s->n_vocab, token);
    return token;
}
