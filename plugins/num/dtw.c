/*
 * Attention to token times: see dtw.h. The matrix is made head by head, so that beside the
 * attention only one row more is held; the path keeps two columns of costs and a byte for each
 * cell, the step that led there.
 */
#include "num/dtw.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* ---- Median -----------------------------------------------------------------------------------
 */

/* The fourth of seven. After Devillard's "Fast median search" (1998): exchanges of pairs, without
 * branches, so that a loop over positions becomes vector code. */
static inline float median7(float a, float b, float c, float d, float e, float f, float g) {
#define EXCHANGE(x, y)                                                                             \
    do {                                                                                           \
        float low_ = x < y ? x : y, high_ = x < y ? y : x;                                         \
        x = low_;                                                                                  \
        y = high_;                                                                                 \
    } while (0)
    EXCHANGE(a, f);
    EXCHANGE(a, d);
    EXCHANGE(b, g);
    EXCHANGE(c, e);
    EXCHANGE(a, b);
    EXCHANGE(d, f);
    EXCHANGE(c, g);
    EXCHANGE(c, d);
    EXCHANGE(d, g);
    EXCHANGE(e, f);
    EXCHANGE(b, e);
    EXCHANGE(b, d);
    EXCHANGE(d, e);
#undef EXCHANGE
    return d;
}

/* Index i of a row of n > 3 values that is mirrored at its ends, without repeating them. */
static size_t mirrored(ptrdiff_t i, size_t n) {
    ptrdiff_t last = (ptrdiff_t)n - 1;
    i = i < 0 ? -i : i;
    return (size_t)(i > last ? 2 * last - i : i);
}

void num_median_filter(const float *from, size_t n, float *to) {
    if (n <= NUM_MEDIAN_WIDTH / 2) {
        memcpy(to, from, n * sizeof *to);
        return;
    }
    for (size_t t = 3; t + 3 < n; t++) {
        const float *x = from + t;
        to[t] = median7(x[-3], x[-2], x[-1], x[0], x[1], x[2], x[3]);
    }
    for (size_t t = 0; t < n; t++) {
        if (t == 3 && n > 6)
            t = n - 3; /* the middle is done */
        float v[NUM_MEDIAN_WIDTH];
        for (ptrdiff_t i = 0; i < NUM_MEDIAN_WIDTH; i++)
            v[i] = from[mirrored((ptrdiff_t)t + i - 3, n)];
        to[t] = median7(v[0], v[1], v[2], v[3], v[4], v[5], v[6]);
    }
}

/* ---- Matrix -----------------------------------------------------------------------------------
 */

void num_attention_cut(float *weights, size_t n_rows, size_t T, size_t n_frames) {
    for (size_t i = 0; i < n_rows; i++) {
        double sum = 0;
        for (size_t t = 0; t < n_frames; t++)
            sum += weights[i * T + t];
        for (size_t t = 0; t < n_frames && sum > 0; t++)
            weights[i * T + t] = (float)(weights[i * T + t] / sum);
    }
}

/* Brings each column of one head's rows to mean 0 and standard deviation 1. */
static void normalise(float *rows, size_t n_tokens, size_t T, size_t n_frames) {
    for (size_t t = 0; t < n_frames; t++) {
        double mean = 0, variance = 0;
        for (size_t i = 0; i < n_tokens; i++)
            mean += rows[i * T + t];
        mean /= (double)n_tokens;
        for (size_t i = 0; i < n_tokens; i++) {
            double d = rows[i * T + t] - mean;
            variance += d * d;
        }
        double scale = variance > 0 ? 1 / sqrt(variance / (double)n_tokens) : 0;
        for (size_t i = 0; i < n_tokens; i++)
            rows[i * T + t] = (float)((rows[i * T + t] - mean) * scale);
    }
}

int32_t num_attention_matrix(float *weights, size_t n_heads, size_t n_tokens, size_t T,
                             size_t n_frames, size_t first, size_t end, float *ret,
                             struct num_err *err) {
    float *filtered = malloc((n_frames + 1) * sizeof *filtered);
    if (!filtered)
        return num_fail_memory(err, "the alignment of words", n_frames * sizeof *filtered);
    memset(ret, 0, (end - first) * n_frames * sizeof *ret);
    for (size_t h = 0; h < n_heads; h++) {
        float *rows = weights + h * n_tokens * T;
        normalise(rows, n_tokens, T, n_frames);
        for (size_t i = first; i < end; i++) {
            float *to = ret + (i - first) * n_frames;
            num_median_filter(rows + i * T, n_frames, filtered);
            for (size_t t = 0; t < n_frames; t++)
                to[t] += filtered[t] / (float)n_heads;
        }
    }
    free(filtered);
    return SLUICE_OK;
}

/* ---- Path -------------------------------------------------------------------------------------
 */

enum step { BOTH, ROW, FRAME };

/* Costs of one column (n_rows + 1) from those of the column before; the steps that lead there. */
static void fill_column(const float *fit, size_t n_rows, size_t n_frames, size_t t,
                        const float *before, float *cost, uint8_t *steps) {
    cost[0] = INFINITY;
    for (size_t r = 1; r <= n_rows; r++) {
        float both = before[r - 1], row = cost[r - 1], frame = before[r];
        enum step step = both < row && both < frame  ? BOTH
                         : row < both && row < frame ? ROW
                                                     : FRAME;
        float least = step == BOTH ? both : step == ROW ? row : frame;
        cost[r] = (float)((double)least - (double)fit[(r - 1) * n_frames + t]);
        steps[(r - 1) * n_frames + t] = (uint8_t)step;
    }
}

/* Walks back from the last row and position; the smallest position of each row remains. */
static void trace(const uint8_t *steps, size_t n_rows, size_t n_frames, uint32_t *ret_starts) {
    size_t r = n_rows - 1, t = n_frames - 1;
    for (;;) {
        ret_starts[r] = (uint32_t)t;
        enum step step = (enum step)steps[r * n_frames + t];
        bool up = r > 0 && (t == 0 || step != FRAME), left = t > 0 && (r == 0 || step != ROW);
        if (!up && !left)
            return;
        r -= up;
        t -= left;
    }
}

int32_t num_dtw(const float *fit, size_t n_rows, size_t n_frames, uint32_t *ret_starts,
                struct num_err *err) {
    float *costs = malloc(2 * (n_rows + 1) * sizeof *costs);
    uint8_t *steps = malloc(n_rows * n_frames);
    int32_t status = SLUICE_OK;
    if (!costs || !steps)
        status = num_fail_memory(err, "the alignment of words", n_rows * n_frames);
    for (size_t r = 0; !status && r <= n_rows; r++)
        costs[r] = r ? INFINITY : 0;
    for (size_t t = 0; !status && t < n_frames; t++)
        fill_column(fit, n_rows, n_frames, t, costs + t % 2 * (n_rows + 1),
                    costs + (t + 1) % 2 * (n_rows + 1), steps);
    if (!status)
        trace(steps, n_rows, n_frames, ret_starts);
    free(costs);
    free(steps);
    return status;
}

/* Totals of one column, in place, from those of the column before; whether each came from the row
 * above. Rows are gone through from the last, so that the row above is still the old one. */
static void add_column(const float *fit, size_t n_rows, size_t n_frames, size_t t, double *total,
                       uint8_t *from_above) {
    for (size_t r = n_rows; r-- > 0;) {
        bool above = r > 0 && total[r - 1] > total[r];
        from_above[r * n_frames + t] = above;
        total[r] = (above ? total[r - 1] : total[r]) + (double)fit[r * n_frames + t];
    }
}

int32_t num_dtw_rows(const float *fit, size_t n_rows, size_t n_frames, uint32_t *ret_starts,
                     struct num_err *err) {
    double *total = malloc(n_rows * sizeof *total);
    uint8_t *from_above = malloc(n_rows * n_frames);
    int32_t status = SLUICE_OK;
    if (!total || !from_above)
        status = num_fail_memory(err, "the alignment of words", n_rows * n_frames);
    for (size_t r = 0; !status && r < n_rows; r++)
        total[r] = r ? -INFINITY : (double)fit[0];
    for (size_t t = 1; !status && t < n_frames; t++)
        add_column(fit, n_rows, n_frames, t, total, from_above);
    for (size_t r = n_rows, t = n_frames; !status && r-- > 0;) {
        do
            t--;
        while (t > r && !from_above[r * n_frames + t]);
        ret_starts[r] = (uint32_t)(r ? t : 0);
    }
    free(total);
    free(from_above);
    return status;
}
