/*
 * Since all changes cost the same, a state is reached from itself or from the best one: a bit for
 * each state and frame, and the best one of each frame, are all that walking back needs.
 */
#include "diarize/viterbi.h"

#include <stdbool.h>
#include <stdlib.h>

struct dz_viterbi {
    const struct dz_gauss *speakers;
    uint32_t n_speakers;
    float change_cost;
    float *scores;   /* [n_speakers] */
    bool *changed;   /* (max_frames, n_speakers): the state was reached from the best one */
    uint16_t *bests; /* [max_frames]: the best state before the frame */
};

int32_t dz_viterbi_create(const struct dz_gauss *speakers, uint32_t n_speakers, float change_cost,
                          size_t max_frames, struct dz_viterbi **ret, struct num_err *err) {
    struct dz_viterbi *v = calloc(1, sizeof *v);
    if (v) {
        *v = (struct dz_viterbi){speakers,
                                 n_speakers,
                                 change_cost,
                                 calloc(n_speakers, sizeof *v->scores),
                                 malloc(max_frames * n_speakers * sizeof *v->changed),
                                 malloc(max_frames * sizeof *v->bests)};
    }
    if (!v || !v->scores || !v->changed || !v->bests) {
        dz_viterbi_destroy(v);
        return num_fail_memory(err, "the sequence of speakers", max_frames * (n_speakers + 2));
    }
    *ret = v;
    return SLUICE_OK;
}

void dz_viterbi_destroy(struct dz_viterbi *viterbi) {
    if (!viterbi)
        return;
    free(viterbi->scores);
    free(viterbi->changed);
    free(viterbi->bests);
    free(viterbi);
}

static uint32_t best_of(const struct dz_viterbi *v) {
    uint32_t best = 0;
    for (uint32_t s = 1; s < v->n_speakers; s++)
        if (v->scores[s] > v->scores[best])
            best = s;
    return best;
}

/* Scores stay near 0: the best one is taken off everywhere. */
static void advance(struct dz_viterbi *v, const float *frame, size_t t) {
    uint32_t best = best_of(v);
    float top = v->scores[best];
    v->bests[t] = (uint16_t)best;
    for (uint32_t s = 0; s < v->n_speakers; s++) {
        float stay = v->scores[s] - top;
        bool changed = stay < -v->change_cost;
        v->changed[t * v->n_speakers + s] = changed;
        v->scores[s] =
            (changed ? -v->change_cost : stay) + dz_gauss_log_likelihood(&v->speakers[s], frame);
    }
}

void dz_viterbi_run(struct dz_viterbi *viterbi, const float *frames, size_t n, uint16_t *ret) {
    for (size_t t = 0; t < n; t++)
        advance(viterbi, frames + t * DZ_DIM, t);
    uint32_t state = best_of(viterbi);
    for (size_t t = n; t-- > 0;) {
        ret[t] = (uint16_t)state;
        if (viterbi->changed[t * viterbi->n_speakers + state])
            state = viterbi->bests[t];
    }
}
