/*
 * Passes over the speech, a block of pieces at a time:
 *
 *   1. variances of the cepstra, from which the floors of all covariances follow;
 *   2. windows of a second and a half, clustered within the block; what they become, the block's
 *      clusters, is clustered once more over the whole recording;
 *   3. to 5. Viterbi with a normal distribution a speaker, which is then estimated anew; the last
 *      one gives the turns.
 */
#include "diarize/classic.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diarize/bic.h"
#include "diarize/cepstra.h"
#include "diarize/viterbi.h"

#define BLOCK_FRAMES  24000 /* four minutes of speech */
#define WINDOW_FRAMES 150
#define WINDOW_STEP   75
#define MIN_FRAMES    30 /* of a window: fewer say nothing about a covariance */
#define N_DECODINGS   3
#define N_PASSES      (2 + N_DECODINGS)
#define CHANGE_COST   40.0f /* log-likelihood: some 100 ms of another voice */

/* Shares of the overall variances that are added to those of clusters and of speakers. */
#define CLUSTER_FLOOR 0.001
#define SPEAKER_FLOOR 0.05

/* Clusters of a block stay apart more easily than those of the recording. */
#define BLOCK_PENALTY 0.8

struct diarization {
    const float *pcm;
    size_t n_samples;
    const struct dz_span *spans;
    size_t n_spans;
    struct dz_classic_options options;
    const struct num_watch *watch;
    struct num_err *err;
    struct dz_cepstra *cepstra;
    float *frames;         /* (BLOCK_FRAMES, DZ_DIM) */
    struct dz_span *block; /* its pieces */
    size_t n_block, block_capacity, n_frames;
    uint16_t *speaker_of; /* [BLOCK_FRAMES] */
    struct dz_stats all;
    double cluster_floor[DZ_DIM], speaker_floor[DZ_DIM];
    struct dz_stats *clusters; /* [n_clusters] */
    size_t n_clusters, cluster_capacity;
    struct dz_gauss *speakers;  /* [n_clusters] */
    struct dz_viterbi *viterbi; /* of the decoding at hand */
    struct dz_turns turns;
    size_t turns_capacity;
};

/* ---- blocks ---- */

static int32_t add_piece(struct diarization *d, struct dz_span piece) {
    if (d->n_block == d->block_capacity) {
        size_t more = d->block_capacity ? 2 * d->block_capacity : 64;
        struct dz_span *grown = reallocarray(d->block, more, sizeof *grown);
        if (!grown)
            return num_fail_memory(d->err, "stretches of speech", more * sizeof *grown);
        d->block = grown;
        d->block_capacity = more;
    }
    int32_t status = dz_cepstra_compute(d->cepstra, d->pcm, d->n_samples, piece.first, piece.n,
                                        d->frames + d->n_frames * DZ_DIM, d->err);
    if (status != SLUICE_OK)
        return status;
    d->block[d->n_block++] = piece;
    d->n_frames += piece.n;
    return SLUICE_OK;
}

/* Runs `work` on the block and empties it. */
static int32_t finish_block(struct diarization *d, int32_t (*work)(struct diarization *d),
                            double progress) {
    int32_t status = num_go_on(d->watch, d->err);
    if (status == SLUICE_OK && d->n_frames > 0)
        status = work(d);
    d->n_block = d->n_frames = 0;
    num_progress(d->watch, progress);
    return status;
}

/* Runs `work` on all speech, block by block. A stretch may be cut between two. */
static int32_t pass(struct diarization *d, unsigned number,
                    int32_t (*work)(struct diarization *d)) {
    int32_t status = SLUICE_OK;
    for (size_t i = 0; status == SLUICE_OK && i < d->n_spans; i++) {
        struct dz_span rest = d->spans[i];
        while (status == SLUICE_OK && rest.n > 0) {
            size_t room = BLOCK_FRAMES - d->n_frames;
            struct dz_span piece = {rest.first, rest.n < room ? rest.n : room};
            status = add_piece(d, piece);
            rest.first += piece.n;
            rest.n -= piece.n;
            if (status == SLUICE_OK && d->n_frames == BLOCK_FRAMES)
                status = finish_block(d, work,
                                      ((double)number + (double)i / (double)d->n_spans) / N_PASSES);
        }
    }
    return status == SLUICE_OK ? finish_block(d, work, (number + 1.0) / N_PASSES) : status;
}

/* ---- passes 1 and 2: clusters ---- */

static int32_t add_all(struct diarization *d) {
    dz_stats_add(&d->all, d->frames, d->n_frames);
    return SLUICE_OK;
}

static void set_floors(struct diarization *d) {
    for (size_t i = 0; i < DZ_DIM; i++) {
        double mean = d->all.sum[i] / d->all.n;
        double variance = d->all.product[i * (i + 1) / 2 + i] / d->all.n - mean * mean;
        variance = fmax(variance, 1e-6);
        d->cluster_floor[i] = CLUSTER_FLOOR * variance;
        d->speaker_floor[i] = SPEAKER_FLOOR * variance;
    }
}

static int32_t reserve_clusters(struct diarization *d, size_t n) {
    if (d->n_clusters + n <= d->cluster_capacity)
        return SLUICE_OK;
    size_t capacity = 2 * (d->n_clusters + n);
    struct dz_stats *grown = reallocarray(d->clusters, capacity, sizeof *grown);
    if (!grown)
        return num_fail_memory(d->err, "clusters", capacity * sizeof *grown);
    d->clusters = grown;
    d->cluster_capacity = capacity;
    return SLUICE_OK;
}

static size_t windows_of(size_t n_frames) {
    if (n_frames <= WINDOW_FRAMES)
        return n_frames >= MIN_FRAMES;
    return 1 + (n_frames - WINDOW_FRAMES + WINDOW_STEP - 1) / WINDOW_STEP;
}

/* Appends the windows of a piece, the last one ending with it. */
static void add_windows(struct diarization *d, const float *frames, size_t n_frames) {
    for (size_t i = 0; i < windows_of(n_frames); i++) {
        size_t n = n_frames < WINDOW_FRAMES ? n_frames : WINDOW_FRAMES;
        size_t at = i * WINDOW_STEP < n_frames - n ? i * WINDOW_STEP : n_frames - n;
        struct dz_stats *window = &d->clusters[d->n_clusters++];
        memset(window, 0, sizeof *window);
        dz_stats_add(window, frames + at * DZ_DIM, n);
    }
}

static int32_t cluster_block(struct diarization *d) {
    size_t n_windows = 0, before = d->n_clusters;
    for (size_t i = 0; i < d->n_block; i++)
        n_windows += windows_of(d->block[i].n);
    int32_t status = reserve_clusters(d, n_windows);
    if (status != SLUICE_OK)
        return status;
    const float *frames = d->frames;
    for (size_t i = 0; i < d->n_block; frames += d->block[i++].n * DZ_DIM)
        add_windows(d, frames, d->block[i].n);
    struct dz_bic bic = {BLOCK_PENALTY * d->options.penalty, d->cluster_floor,
                         d->options.min_speakers, 0};
    size_t n_left = 0;
    status = dz_bic_cluster(&bic, d->clusters + before, n_windows, &n_left, d->err);
    d->n_clusters = before + n_left;
    return status;
}

static int32_t cluster_all(struct diarization *d) {
    struct dz_bic bic = {d->options.penalty, d->cluster_floor, d->options.min_speakers,
                         d->options.max_speakers};
    if (d->n_clusters == 0) { /* only short stretches: one speaker */
        int32_t status = reserve_clusters(d, 1);
        if (status != SLUICE_OK)
            return status;
        d->clusters[d->n_clusters++] = d->all;
    }
    return dz_bic_cluster(&bic, d->clusters, d->n_clusters, &d->n_clusters, d->err);
}

/* ---- passes 3 to 5: speakers ---- */

static void decode(struct diarization *d) {
    dz_viterbi_run(d->viterbi, d->frames, d->n_frames, d->speaker_of);
}

static int32_t estimate_block(struct diarization *d) {
    decode(d);
    for (size_t t = 0, n; t < d->n_frames; t += n) {
        for (n = 1; t + n < d->n_frames && d->speaker_of[t + n] == d->speaker_of[t];)
            n++;
        dz_stats_add(&d->clusters[d->speaker_of[t]], d->frames + t * DZ_DIM, n);
    }
    return SLUICE_OK;
}

/* Frames [first, first + n) are the cluster's; they go on with its last turn where they meet it. */
static int32_t add_turn(struct diarization *d, size_t first, size_t n, uint32_t cluster) {
    struct dz_turn turn = {(double)first / DZ_FRAMES_PER_S, (double)(first + n) / DZ_FRAMES_PER_S,
                           0};
    char name[16];
    snprintf(name, sizeof name, "%u", cluster);
    int32_t status = dz_speaker(&d->turns, name, &turn.speaker, d->err);
    if (status != SLUICE_OK)
        return status;
    struct dz_turn *last = d->turns.n_turns ? &d->turns.turns[d->turns.n_turns - 1] : NULL;
    if (last && last->speaker == turn.speaker && last->end == turn.start) {
        last->end = turn.end;
        return SLUICE_OK;
    }
    return dz_append(&d->turns, &d->turns_capacity, turn, d->err);
}

static int32_t add_turns(struct diarization *d) {
    estimate_block(d);
    const uint16_t *speaker_of = d->speaker_of;
    for (size_t i = 0; i < d->n_block; speaker_of += d->block[i++].n)
        for (size_t t = 0, n; t < d->block[i].n; t += n) {
            for (n = 1; t + n < d->block[i].n && speaker_of[t + n] == speaker_of[t];)
                n++;
            int32_t status = add_turn(d, d->block[i].first + t, n, speaker_of[t]);
            if (status != SLUICE_OK)
                return status;
        }
    return SLUICE_OK;
}

/* One decoding: speakers from the clusters, whose sums are then gathered anew. */
static int32_t decoding(struct diarization *d, unsigned number) {
    for (size_t i = 0; i < d->n_clusters; i++) {
        if (d->clusters[i].n > 0)
            dz_gauss_init(&d->speakers[i], &d->clusters[i], d->speaker_floor);
        memset(&d->clusters[i], 0, sizeof d->clusters[i]);
    }
    int32_t status = dz_viterbi_create(d->speakers, (uint32_t)d->n_clusters, CHANGE_COST,
                                       BLOCK_FRAMES, &d->viterbi, d->err);
    if (status != SLUICE_OK)
        return status;
    status = pass(d, 2 + number, number + 1 < N_DECODINGS ? estimate_block : add_turns);
    dz_viterbi_destroy(d->viterbi);
    d->viterbi = NULL;
    return status;
}

/* ---- result ---- */

/* Speakers are named in order of appearance, as the turns' table has them; rows likewise. */
static int32_t name_speakers(struct diarization *d, float *ret_embeddings) {
    for (uint32_t s = 0; s < d->turns.n_speakers; s++) {
        const struct dz_stats *stats = &d->clusters[strtoul(d->turns.speakers[s], NULL, 10)];
        float *row = ret_embeddings + (size_t)s * DZ_EMBEDDING_SIZE;
        for (size_t i = 0; i < DZ_DIM; i++) {
            double mean = stats->sum[i] / stats->n;
            double variance = stats->product[i * (i + 1) / 2 + i] / stats->n - mean * mean;
            row[i] = (float)mean;
            row[DZ_DIM + i] = (float)sqrt(fmax(variance, 0));
        }
        char *name = NULL;
        if (asprintf(&name, "SPEAKER_%02u", s) < 0)
            return num_fail_memory(d->err, "the speakers", 16);
        free(d->turns.speakers[s]);
        d->turns.speakers[s] = name;
    }
    return SLUICE_OK;
}

static int32_t run(struct diarization *d, float *ret_embeddings) {
    int32_t status = pass(d, 0, add_all);
    if (status != SLUICE_OK || d->all.n == 0)
        return status;
    set_floors(d);
    status = pass(d, 1, cluster_block);
    if (status == SLUICE_OK)
        status = cluster_all(d);
    if (status != SLUICE_OK)
        return status;
    d->speakers = calloc(d->n_clusters, sizeof *d->speakers);
    if (!d->speakers)
        return num_fail_memory(d->err, "the speakers", d->n_clusters * sizeof *d->speakers);
    for (unsigned i = 0; status == SLUICE_OK && i < N_DECODINGS; i++)
        status = decoding(d, i);
    return status == SLUICE_OK ? name_speakers(d, ret_embeddings) : status;
}

static int32_t make_buffers(struct diarization *d, struct num_pool *pool) {
    d->frames = malloc((size_t)BLOCK_FRAMES * DZ_DIM * sizeof *d->frames);
    d->speaker_of = malloc(BLOCK_FRAMES * sizeof *d->speaker_of);
    if (!d->frames || !d->speaker_of)
        return num_fail_memory(d->err, "the cepstra", (uint64_t)BLOCK_FRAMES * DZ_DIM * 4);
    return dz_cepstra_create(pool, &d->cepstra, d->err);
}

int32_t dz_classic_run(const float *pcm, size_t n_samples, const struct dz_span *spans,
                       size_t n_spans, const struct dz_classic_options *options,
                       struct num_pool *pool, const struct num_watch *watch, struct dz_turns *ret,
                       float *ret_embeddings, struct num_err *err) {
    struct diarization d = {.pcm = pcm,
                            .n_samples = n_samples,
                            .spans = spans,
                            .n_spans = n_spans,
                            .options = *options,
                            .watch = watch,
                            .err = err};
    if (d.options.max_speakers == 0 || d.options.max_speakers > DZ_MAX_SPEAKERS)
        d.options.max_speakers = DZ_MAX_SPEAKERS;
    int32_t status = make_buffers(&d, pool);
    if (status == SLUICE_OK)
        status = run(&d, ret_embeddings);
    dz_cepstra_destroy(d.cepstra);
    free(d.frames);
    free(d.block);
    free(d.speaker_of);
    free(d.clusters);
    free(d.speakers);
    if (status == SLUICE_OK)
        *ret = d.turns;
    else
        dz_turns_finish(&d.turns);
    return status;
}
