/*
 * Viterbi over 2 n + 1 states: a blank before each token and one at the end. Their costs lie in two
 * arrays, blanks and tokens, so that one frame is two plain loops over tokens:
 *
 *     blank[j] <- max(blank[j], token[j - 1])                              + logp(blank)
 *     token[j] <- max(token[j], blank[j], token[j - 1] where they differ)  + logp(token j)
 *
 * The choice of both fits into a byte. A first pass keeps the costs where each block of frames
 * begins; then, from the last block to the first, a block is run again with its choices kept, and
 * the path is followed back through it. With few cells there is one block, and the first pass is
 * left out.
 */
#include "align/ctc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ONE_BLOCK_CELLS ((size_t)16 << 20)
#define STAY            0                 /* of a token: from itself, */
#define FROM_BLANK      1                 /* from the blank before it, */
#define FROM_TOKEN      2                 /* from the token before it */
#define BLANK_MOVES     4                 /* of the blank before it: from the token before that */
#define WATCH_CELLS     ((size_t)1 << 24) /* less than 0.1 s */

struct costs {
    double *blank; /* [n + 1] */
    double *token; /* [n] */
};

struct trellis {
    const struct al_ctc *ctc;
    const struct num_watch *watch;
    size_t n, block, n_blocks, cells; /* cells: since the watch was asked */
    double *may_skip; /* [n]: 0, or minus infinity where the token before is the same */
    double *labels;   /* [n]: log probabilities of the frame at hand */
    struct costs now, next;
    double *starts; /* (n_blocks, 2 n + 1): costs before each block */
    uint8_t *steps; /* (block, n + 1): choices */
};

size_t al_ctc_frames(const uint32_t *tokens, size_t n_tokens) {
    size_t n = n_tokens;
    for (size_t i = 1; i < n_tokens; i++)
        n += tokens[i] == tokens[i - 1];
    return n;
}

/* ---- Frames ---------------------------------------------------------------------------------- */

/* Costs of all states before the first frame: it is entered through the first blank or token. */
static void start(struct trellis *t) {
    for (size_t j = 0; j < t->n; j++)
        t->now.token[j] = t->now.blank[j + 1] = -INFINITY;
    t->now.blank[0] = 0;
}

/* Costs of blanks and tokens behind a frame, from those before it. */
static inline __attribute__((always_inline)) void
move(const struct costs *from, const struct costs *to_costs, const double *restrict may_skip,
     const double *restrict labels, double logp_blank, size_t n, uint8_t *restrict steps) {
    const double *restrict blank = from->blank, *restrict token = from->token;
    double *restrict to_blank = to_costs->blank, *restrict to_token = to_costs->token;
    to_blank[0] = blank[0] + logp_blank;
    to_token[0] = (blank[0] > token[0] ? blank[0] : token[0]) + labels[0];
    for (size_t j = 1; j < n; j++) {
        double before = token[j - 1], skip = before + may_skip[j];
        double best = blank[j] > token[j] ? blank[j] : token[j];
        to_blank[j] = (before > blank[j] ? before : blank[j]) + logp_blank;
        to_token[j] = (skip > best ? skip : best) + labels[j];
    }
    to_blank[n] = (token[n - 1] > blank[n] ? token[n - 1] : blank[n]) + logp_blank;
    if (!steps)
        return;
    steps[0] = blank[0] > token[0] ? FROM_BLANK : STAY;
    steps[n] = token[n - 1] > blank[n] ? BLANK_MOVES : 0;
    for (size_t j = 1; j < n; j++) {
        double before = token[j - 1], skip = before + may_skip[j];
        double best = blank[j] > token[j] ? blank[j] : token[j];
        int step = skip > best ? FROM_TOKEN : blank[j] > token[j] ? FROM_BLANK : STAY;
        steps[j] = (uint8_t)(step | (before > blank[j] ? BLANK_MOVES : 0));
    }
}

static void run_frame(struct trellis *t, size_t frame, uint8_t *steps) {
    const float *logp = t->ctc->logp + frame * t->ctc->n_columns;
    for (size_t j = 0; j < t->n; j++)
        t->labels[j] = (double)logp[t->ctc->tokens[j]];
    if (steps)
        move(&t->now, &t->next, t->may_skip, t->labels, (double)logp[0], t->n, steps);
    else
        move(&t->now, &t->next, t->may_skip, t->labels, (double)logp[0], t->n, NULL);
    struct costs swap = t->now;
    t->now = t->next;
    t->next = swap;
}

/* ---- Blocks ---------------------------------------------------------------------------------- */

static size_t block_end(const struct trellis *t, size_t block) {
    size_t end = (block + 1) * t->block;
    return end < t->ctc->n_frames ? end : t->ctc->n_frames;
}

static void keep_start(struct trellis *t, size_t block) {
    double *to = t->starts + block * (2 * t->n + 1);
    memcpy(to, t->now.blank, (t->n + 1) * sizeof *to);
    memcpy(to + t->n + 1, t->now.token, t->n * sizeof *to);
}

static void load_start(struct trellis *t, size_t block) {
    const double *from = t->starts + block * (2 * t->n + 1);
    memcpy(t->now.blank, from, (t->n + 1) * sizeof *from);
    memcpy(t->now.token, from + t->n + 1, t->n * sizeof *from);
}

/* Runs the frames of a block; with `keep` every frame's choices have a row of their own. */
static int32_t run_block(struct trellis *t, size_t block, bool keep, struct num_err *err) {
    size_t first = block * t->block, end = block_end(t, block);
    for (size_t frame = first; frame < end; frame++) {
        run_frame(t, frame, keep ? t->steps + (frame - first) * (t->n + 1) : NULL);
        t->cells += t->n + 1;
        if (t->cells < WATCH_CELLS)
            continue;
        t->cells = 0;
        if (num_cancelled(t->watch))
            return num_fail(err, SLUICE_CANCELLED, "cancelled");
    }
    return SLUICE_OK;
}

/* A place on the path: token j, or the blank before it. */
struct place {
    size_t j;
    bool in_token;
};

/* Follows the path from the end of a block to its start. */
static struct place trace(const struct trellis *t, size_t block, struct place at,
                          struct al_span *spans) {
    size_t first = block * t->block;
    for (size_t frame = block_end(t, block); frame-- > first;) {
        uint8_t step = t->steps[(frame - first) * (t->n + 1) + at.j];
        if (!at.in_token) {
            if (step & BLANK_MOVES)
                at = (struct place){at.j - 1, true};
            continue;
        }
        spans[at.j].first = (uint32_t)frame;
        if (spans[at.j].end == 0)
            spans[at.j].end = (uint32_t)frame + 1;
        step &= 3;
        if (step == FROM_BLANK)
            at.in_token = false;
        else if (step == FROM_TOKEN)
            at.j--;
    }
    return at;
}

static int32_t run(struct trellis *t, struct al_span *spans, struct num_err *err) {
    int32_t status = SLUICE_OK;
    start(t);
    for (size_t b = 0; !status && b + 1 < t->n_blocks; b++) {
        keep_start(t, b);
        status = run_block(t, b, false, err);
    }
    struct place at = {t->n, false};
    for (size_t b = t->n_blocks; !status && b-- > 0;) {
        if (b + 1 < t->n_blocks)
            load_start(t, b);
        status = run_block(t, b, true, err);
        if (b + 1 == t->n_blocks && t->now.token[t->n - 1] >= t->now.blank[t->n])
            at = (struct place){t->n - 1, true};
        if (!status)
            at = trace(t, b, at, spans);
    }
    return status;
}

int32_t al_ctc_align(const struct al_ctc *ctc, const struct num_watch *watch,
                     struct al_span *ret_spans, struct num_err *err) {
    size_t n = ctc->n_tokens, T = ctc->n_frames;
    if (n == 0 || T == 0)
        return SLUICE_OK;
    struct trellis t = {.ctc = ctc, .watch = watch, .n = n, .block = T};
    if (T > ONE_BLOCK_CELLS / (n + 1))
        t.block = (size_t)(4 * sqrt((double)T)) + 1;
    t.n_blocks = (T + t.block - 1) / t.block;
    double *rows = malloc((6 * n + 2) * sizeof *rows);
    t.starts = malloc(t.n_blocks * (2 * n + 1) * sizeof *t.starts);
    t.steps = malloc(t.block * (n + 1));
    int32_t status = SLUICE_OK;
    if (rows && t.starts && t.steps) {
        t.may_skip = rows;
        t.labels = rows + n;
        t.now = (struct costs){rows + 2 * n, rows + 3 * n + 1};
        t.next = (struct costs){rows + 4 * n + 1, rows + 5 * n + 2};
        for (size_t j = 0; j < n; j++)
            t.may_skip[j] = j && ctc->tokens[j] == ctc->tokens[j - 1] ? -INFINITY : 0;
        memset(ret_spans, 0, n * sizeof *ret_spans);
        status = run(&t, ret_spans, err);
    } else {
        status = num_fail_memory(err, "the alignment of a text", t.block * (n + 1));
    }
    free(rows);
    free(t.starts);
    free(t.steps);
    return status;
}
