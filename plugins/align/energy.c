/*
 * Levels are made once for the whole recording, a float for 5 ms: 3 MB an hour. NaN and infinity
 * count as silence.
 */
#include "align/energy.h"

#include <math.h>
#include <stdlib.h>

#define STEP_S       0.005
#define HALF_WINDOW  2       /* steps on both sides of a step's start: 20 ms */
#define SHORTEST     4       /* steps */
#define ONSET        8       /* steps: the most that a word's span can hold of the next word, */
#define PAUSE        20      /* and the least before it; stops close the mouth for less */
#define SILENCE      -100.0f /* dB */
#define SILENCE_BINS 120     /* 1 dB each, up to 20 dB */

/* Sum of the squares of step i. */
static double step_energy(const float *pcm, size_t n_samples, size_t i) {
    size_t end = (i + 1) * AL_STEP_SAMPLES;
    double sum = 0;
    for (size_t k = i * AL_STEP_SAMPLES; k < end && k < n_samples; k++)
        if (isfinite(pcm[k]))
            sum += (double)pcm[k] * (double)pcm[k];
    return sum;
}

/* The level that a tenth of the steps stay below, to 1 dB. */
static double find_floor(const float *level, size_t n) {
    size_t bins[SILENCE_BINS + 1] = {0}, seen = 0, bin = 0;
    for (size_t i = 0; i < n; i++) {
        float above = level[i] - SILENCE;
        bins[above < 0 ? 0 : above > SILENCE_BINS ? SILENCE_BINS : (size_t)above]++;
    }
    while (bin < SILENCE_BINS && (seen += bins[bin]) * 10 < n)
        bin++;
    return (double)bin + (double)SILENCE;
}

int32_t al_energy_init(struct al_energy *ret, const float *pcm, size_t n_samples,
                       struct num_err *err) {
    size_t n = (n_samples + AL_STEP_SAMPLES - 1) / AL_STEP_SAMPLES;
    float *level = malloc((n + 1) * sizeof *level);
    double *steps = malloc((n + 1) * sizeof *steps);
    int32_t status = SLUICE_OK;
    if (!level || !steps)
        status = num_fail_memory(err, "the level of the recording", n * 12);
    for (size_t i = 0; !status && i < n; i++)
        steps[i] = step_energy(pcm, n_samples, i);
    for (size_t i = 0; !status && i < n; i++) {
        size_t first = i < HALF_WINDOW ? 0 : i - HALF_WINDOW;
        size_t end = i + HALF_WINDOW > n ? n : i + HALF_WINDOW;
        double sum = 0;
        for (size_t k = first; k < end; k++)
            sum += steps[k];
        double mean = sum / (double)((end - first) * AL_STEP_SAMPLES);
        level[i] = mean > 1e-10 ? (float)(10 * log10(mean)) : SILENCE;
    }
    free(steps);
    if (status)
        free(level);
    else
        *ret = (struct al_energy){level, n, find_floor(level, n)};
    return status;
}

void al_energy_finish(struct al_energy *energy) {
    free(energy->level);
    *energy = (struct al_energy){0};
}

/* Where the sound ends that goes on to `to`, or before the pause behind which the next word begins. */
static size_t before_next(const float *level, size_t from, size_t to, double least) {
    size_t onset = to;
    while (onset > from && to - onset <= ONSET && (double)level[onset - 1] >= least)
        onset--;
    size_t quiet = onset;
    while (quiet > from && (double)level[quiet - 1] < least)
        quiet--;
    return to - onset <= ONSET && onset - quiet >= PAUSE ? quiet : to;
}

void al_energy_trim(const struct al_energy *energy, double drop, double *start, double *end) {
    double n = (double)energy->n;
    if (!(*start >= 0 && *start<n * STEP_S && * end> * start))
        return;
    size_t first = (size_t)round(*start / STEP_S), last = (size_t)round(fmin(*end / STEP_S, n));
    size_t from = first, to = last;
    float peak = -INFINITY;
    for (size_t i = first; i < last; i++)
        peak = fmaxf(peak, energy->level[i]);
    double least = fmin(energy->floor, (double)peak - 2 * AL_ABOVE_FLOOR) + AL_ABOVE_FLOOR;
    least = fmax(least, (double)peak - drop);
    while (from < to && (double)energy->level[from] < least)
        from++;
    while (to > from && (double)energy->level[to - 1] < least)
        to--;
    to = to == last ? before_next(energy->level, from, to, least) : to;
    if (to - from < SHORTEST)
        return;
    if (from > first)
        *start = (double)from * STEP_S;
    if (to < last)
        *end = (double)to * STEP_S;
}
