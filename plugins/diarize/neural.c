/* See neural.h: the windows one batch after another, then clustering of what was kept of them. */
#include "diarize/neural.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "diarize/ahc.h"
#include "diarize/fbank.h"
#include "diarize/tracks.h"

#define RATE_HZ       16000
#define AHC_THRESHOLD 0.7045654963945799 /* speaker-diarization-3.1 */
#define AHC_MIN_SIZE  12
#define VBX_THRESHOLD 0.6 /* speaker-diarization-community-1 */
#define VBX_MOST      512 /* speakers to begin with, so that memory is in proportion */
#define MIN_PRIOR     1e-7
#define CLEAN_SHARE   0.2  /* of a window that a speaker has alone, to count in clustering */
#define NETWORK_SHARE 0.95 /* of the progress */

struct diarization {
    const struct dz_neural *models;
    const float *pcm;
    size_t n_samples;
    struct dz_neural_options options;
    const struct num_watch *watch;
    struct num_err *err;
    struct dz_pyannet_shape shape;
    size_t step, n_windows, size; /* size: of an embedding */
    uint8_t *sets;                /* (n_windows, n_frames) */
    float *embeddings;            /* (n_windows * n_local, size) */
    uint32_t *active; /* (n_windows * n_local): frames in which the local speaker speaks, */
    uint32_t *clean;  /* and those in which nobody else does */
    uint32_t *train;  /* [n_train]: the local speakers that are clustered */
    size_t n_train;
    uint32_t *labels;  /* [n_train] */
    double *centroids; /* (n_clusters, size) */
    size_t n_clusters;
    bool forced;      /* the number of clusters is not what clustering found */
    int8_t *clusters; /* (n_windows, n_local) */
};

/* ---- windows ---- */

/* Samples of a window: the recording's, or a copy in `room` where it goes on beyond the end. */
static const float *window_at(const struct diarization *d, size_t window, float *room) {
    size_t at = window * d->step, n = d->shape.window;
    if (at + n <= d->n_samples)
        return d->pcm + at;
    size_t left = at < d->n_samples ? d->n_samples - at : 0;
    memcpy(room, d->pcm + at, left * sizeof *room);
    memset(room + left, 0, (n - left) * sizeof *room);
    return room;
}

static size_t best_of(const float *scores, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (scores[i] > scores[best])
            best = i;
    return best;
}

/* The sets of n windows from `first` on, and how long each local speaker speaks. */
static void keep_sets(struct diarization *d, size_t first, size_t n, const float *scores) {
    const struct dz_pyannet_shape *s = &d->shape;
    for (size_t w = first; w < first + n; w++)
        for (size_t t = 0; t < s->n_frames; t++, scores += s->n_classes) {
            uint8_t set =
                d->models->backend->set(d->models->networks, best_of(scores, s->n_classes));
            d->sets[w * s->n_frames + t] = set;
            for (size_t i = 0; i < s->n_local; i++) {
                d->active[w * s->n_local + i] += set >> i & 1;
                d->clean[w * s->n_local + i] += set == 1u << i;
            }
        }
}

/* Where the local speaker speaks alone; anywhere, if that is too short to hear him. */
static void make_mask(const struct diarization *d, size_t window, size_t speaker, float *ret) {
    const struct dz_pyannet_shape *s = &d->shape;
    const uint8_t *sets = d->sets + window * s->n_frames;
    size_t least = (s->n_frames * DZ_FBANK_FRAME + s->window - 1) / s->window;
    bool alone = d->clean[window * s->n_local + speaker] > least;
    for (size_t t = 0; t < s->n_frames; t++)
        ret[t] = alone ? sets[t] == 1u << speaker : sets[t] >> speaker & 1;
}

/* Weights that are no numbers give vectors that are none: those are like nobody. */
static void make_finite(float *x, size_t n) {
    bool finite = true;
    for (size_t i = 0; i < n; i++)
        finite = finite && isfinite(x[i]);
    if (!finite)
        memset(x, 0, n * sizeof *x);
}

struct batch {
    float *rooms; /* (DZ_BATCH, window) */
    const float *windows[DZ_BATCH];
    float *scores;
    float *masks; /* (DZ_BATCH, n_local, n_frames) */
    struct dz_heard heard[DZ_BATCH * DZ_MAX_LOCAL];
};

/* The embeddings of windows [at, at + n) of a batch that begins with window `first`. */
static int32_t embed(struct diarization *d, struct batch *b, size_t first, size_t at, size_t n) {
    const struct dz_pyannet_shape *s = &d->shape;
    const struct dz_neural *m = d->models;
    size_t n_heard = 0;
    for (size_t i = 0; i < n * s->n_local; i++) {
        size_t window = first + at + i / s->n_local, speaker = i % s->n_local;
        size_t row = window * s->n_local + speaker;
        float *mask = b->masks + i * s->n_frames;
        if (d->active[row] == 0)
            continue;
        make_mask(d, window, speaker, mask);
        b->heard[n_heard++] =
            (struct dz_heard){i / s->n_local, mask, d->embeddings + row * d->size};
    }
    int32_t status = m->backend->hear(m->networks, b->windows + at, n, b->heard, n_heard, d->err);
    for (size_t i = 0; status == SLUICE_OK && i < n_heard; i++)
        make_finite(b->heard[i].ret, d->size);
    return status;
}

static int32_t run_batch(struct diarization *d, struct batch *b, size_t first, size_t n) {
    const struct dz_neural *m = d->models;
    size_t step = m->backend->n_windows;
    for (size_t i = 0; i < n; i++)
        b->windows[i] = window_at(d, first + i, b->rooms + i * d->shape.window);
    int32_t status = m->backend->segment(m->networks, b->windows, n, b->scores, d->err);
    if (status == SLUICE_OK)
        keep_sets(d, first, n, b->scores);
    for (size_t i = 0; status == SLUICE_OK && i < n; i += step) {
        size_t some = n - i < step ? n - i : step;
        status = num_go_on(d->watch, d->err);
        if (status == SLUICE_OK)
            status = embed(d, b, first, i, some);
        num_progress(d->watch, NETWORK_SHARE * (double)(first + i + some) / (double)d->n_windows);
    }
    return status;
}

static int32_t run_networks(struct diarization *d) {
    const struct dz_pyannet_shape *s = &d->shape;
    struct batch b = {
        .rooms = malloc(DZ_BATCH * s->window * sizeof(float)),
        .scores = malloc(DZ_BATCH * s->n_frames * s->n_classes * sizeof(float)),
        .masks = malloc(DZ_BATCH * s->n_local * s->n_frames * sizeof(float)),
    };
    int32_t status = b.rooms && b.scores && b.masks
                         ? SLUICE_OK
                         : num_fail_memory(d->err, "windows", DZ_BATCH * s->window * 4);
    for (size_t at = 0; status == SLUICE_OK && at < d->n_windows; at += DZ_BATCH) {
        size_t left = d->n_windows - at;
        status = num_go_on(d->watch, d->err);
        if (status == SLUICE_OK)
            status = run_batch(d, &b, at, left < DZ_BATCH ? left : DZ_BATCH);
    }
    free(b.rooms);
    free(b.scores);
    free(b.masks);
    return status;
}

/* ---- clustering ---- */

/* Those who speak alone long enough; where nobody does, all who speak. */
static void choose_train(struct diarization *d) {
    double least = CLEAN_SHARE * (double)d->shape.n_frames;
    size_t n = d->n_windows * d->shape.n_local;
    for (int strict = 1; strict >= 0 && d->n_train == 0; strict--)
        for (size_t i = 0; i < n; i++)
            if (strict ? d->clean[i] >= least && d->active[i] > 0 : d->active[i] > 0)
                d->train[d->n_train++] = (uint32_t)i;
}

static const float *train_row(const struct diarization *d, size_t i) {
    return d->embeddings + d->train[i] * d->size;
}

static void make_unit(const float *x, size_t n, float *ret) {
    double square = 0;
    for (size_t i = 0; i < n; i++)
        square += (double)x[i] * x[i];
    double scale = 1 / sqrt(square + 1e-30);
    for (size_t i = 0; i < n; i++)
        ret[i] = (float)(x[i] * scale);
}

static int32_t cluster_tree(struct diarization *d, const struct dz_ahc_options *options) {
    float *unit = malloc(d->n_train * d->size * sizeof *unit);
    if (!unit)
        return num_fail_memory(d->err, "clustering", d->n_train * d->size * sizeof *unit);
    for (size_t i = 0; i < d->n_train; i++)
        make_unit(train_row(d, i), d->size, unit + i * d->size);
    int32_t status = dz_ahc_cluster(options, unit, d->n_train, d->size, d->watch, d->labels,
                                    &d->n_clusters, d->err);
    free(unit);
    return status;
}

/* Means of the embeddings with a label. */
static int32_t set_centroids(struct diarization *d) {
    if (d->n_clusters > DZ_MAX_CLUSTERS)
        return num_fail(d->err, SLUICE_INTERNAL, "clustering gave %zu speakers", d->n_clusters);
    d->centroids = calloc(d->n_clusters * d->size, sizeof *d->centroids);
    if (!d->centroids)
        return num_fail_memory(d->err, "clustering", d->n_clusters * d->size * 8);
    for (size_t i = 0; i < d->n_train; i++)
        for (size_t v = 0; v < d->size; v++) /* cosines do not ask how many they were */
            d->centroids[d->labels[i] * d->size + v] += train_row(d, i)[v];
    size_t counts[DZ_MAX_CLUSTERS] = {0};
    for (size_t i = 0; i < d->n_train; i++)
        counts[d->labels[i]]++;
    for (size_t i = 0; i < d->n_clusters * d->size; i++)
        d->centroids[i] /= (double)counts[i / d->size];
    return SLUICE_OK;
}

static struct dz_ahc_options tree_options(const struct diarization *d, bool published_with_vbx) {
    double published = published_with_vbx ? VBX_THRESHOLD : AHC_THRESHOLD;
    return (struct dz_ahc_options){d->options.threshold > 0 ? d->options.threshold : published,
                                   AHC_MIN_SIZE, d->options.min_speakers, d->options.max_speakers};
}

static int32_t cluster_by_tree(struct diarization *d) {
    struct dz_ahc_options options = tree_options(d, d->models->plda != NULL);
    int32_t status = cluster_tree(d, &options);
    d->forced = d->options.min_speakers == d->options.max_speakers;
    return status == SLUICE_OK ? set_centroids(d) : status;
}

/* Centroids of the speakers that live, weighted by responsibilities. */
static int32_t take_living(struct diarization *d, const double *shares, const double *priors,
                           size_t n_speakers, size_t n_living) {
    d->n_clusters = n_living;
    d->centroids = calloc(n_living * d->size, sizeof *d->centroids);
    if (!d->centroids)
        return num_fail_memory(d->err, "clustering", n_living * d->size * 8);
    double *row = d->centroids;
    for (size_t s = 0; s < n_speakers; s++) {
        double sum = 0;
        if (priors[s] <= MIN_PRIOR)
            continue;
        for (size_t i = 0; i < d->n_train; i++) {
            double share = shares[i * n_speakers + s];
            sum += share;
            for (size_t v = 0; v < d->size; v++)
                row[v] += share * train_row(d, i)[v];
        }
        for (size_t v = 0; v < d->size; v++)
            row[v] /= sum;
        row += d->size;
    }
    return SLUICE_OK;
}

static int32_t run_vbx(struct diarization *d, double *x, double *shares, double *priors,
                       size_t *ret_living) {
    const struct dz_plda *plda = d->models->plda;
    size_t n_labels = d->n_clusters;
    float *rows = malloc(d->n_train * d->size * sizeof *rows);
    if (!rows)
        return num_fail_memory(d->err, "clustering", d->n_train * d->size * sizeof *rows);
    for (size_t i = 0; i < d->n_train; i++)
        memcpy(rows + i * d->size, train_row(d, i), d->size * sizeof *rows);
    int32_t status = dz_plda_apply(plda, rows, d->n_train, x, d->err);
    free(rows);
    if (status == SLUICE_OK)
        status = dz_vbx_run(&dz_vbx_defaults, x, d->n_train, plda->n_out, plda->psi, d->labels,
                            n_labels, shares, priors, d->err);
    *ret_living = 0;
    for (size_t s = 0; status == SLUICE_OK && s < n_labels; s++)
        *ret_living += priors[s] > MIN_PRIOR;
    return status;
}

/* VBx from the clusters of the tree; the tree alone where VBx finds too few or too many. */
static int32_t cluster_by_vbx(struct diarization *d) {
    struct dz_ahc_options all = {tree_options(d, true).threshold, 1, 0, VBX_MOST};
    int32_t status = cluster_tree(d, &all);
    if (status != SLUICE_OK)
        return status;
    size_t n_labels = d->n_clusters, living = 0;
    double *x = malloc(d->n_train * d->models->plda->n_out * sizeof *x);
    double *shares = malloc((d->n_train + 1) * n_labels * sizeof *shares);
    status =
        x && shares ? SLUICE_OK : num_fail_memory(d->err, "clustering", d->n_train * n_labels * 8);
    double *priors = shares + d->n_train * n_labels;
    if (status == SLUICE_OK)
        status = run_vbx(d, x, shares, priors, &living);
    bool fits = living >= d->options.min_speakers && living <= d->options.max_speakers;
    if (status == SLUICE_OK)
        status = fits ? take_living(d, shares, priors, n_labels, living) : cluster_by_tree(d);
    d->forced = !fits;
    free(x);
    free(shares);
    return status;
}

/* ---- clusters of all local speakers ---- */

static double cosine(const float *a, const double *b, size_t n) {
    double both = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        both += a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += b[i] * b[i];
    }
    return both / sqrt(aa * bb + 1e-30);
}

void dz_match(const double *scores, size_t n, size_t n_clusters, int8_t *ret) {
    double best[1 << DZ_MAX_LOCAL];
    uint8_t taker[DZ_MAX_CLUSTERS][1 << DZ_MAX_LOCAL]; /* who takes the cluster, + 1 */
    size_t n_masks = (size_t)1 << n, most = n < n_clusters ? n : n_clusters;
    for (size_t m = 0; m < n_masks; m++)
        best[m] = m == 0 ? 0 : -INFINITY;
    for (size_t k = 0; k < n_clusters; k++)
        for (size_t m = n_masks; m-- > 0;) { /* from large sets to small: each cluster once */
            taker[k][m] = 0;
            for (size_t s = 0; s < n; s++) {
                double sum =
                    m >> s & 1 ? best[m ^ (size_t)1 << s] + scores[s * n_clusters + k] : -INFINITY;
                if (sum > best[m]) {
                    best[m] = sum;
                    taker[k][m] = (uint8_t)(s + 1);
                }
            }
        }
    size_t mask = 0;
    double top = -INFINITY;
    for (size_t m = 0; m < n_masks; m++)
        if ((size_t)__builtin_popcountll(m) == most && best[m] > top) {
            top = best[m];
            mask = m;
        }
    memset(ret, -1, n);
    for (size_t k = n_clusters; k-- > 0;)
        if (taker[k][mask]) {
            size_t s = taker[k][mask] - 1u;
            ret[s] = (int8_t)k;
            mask ^= (size_t)1 << s;
        }
}

static int8_t nearest(const double *row, size_t n) {
    size_t best = 0;
    for (size_t k = 1; k < n; k++)
        if (row[k] > row[best])
            best = k;
    return (int8_t)best;
}

/* Each to a cluster of his own; to the nearest where there are too few, or their number was
 * forced. */
static void assign_window(struct diarization *d, size_t window) {
    size_t n = d->shape.n_local;
    double scores[DZ_MAX_LOCAL * DZ_MAX_CLUSTERS] = {0};
    int8_t *ret = d->clusters + window * n;
    for (size_t s = 0; s < n; s++)
        for (size_t k = 0; k < d->n_clusters; k++)
            scores[s * d->n_clusters + k] = d->active[window * n + s] > 0
                                                ? cosine(d->embeddings + (window * n + s) * d->size,
                                                         d->centroids + k * d->size, d->size)
                                                : -3;
    dz_match(scores, n, d->n_clusters, ret);
    for (size_t s = 0; s < n; s++) {
        if (d->active[window * n + s] == 0)
            ret[s] = -1;
        else if (d->forced || ret[s] < 0)
            ret[s] = nearest(scores + s * d->n_clusters, d->n_clusters);
    }
}

static int32_t cluster(struct diarization *d) {
    choose_train(d);
    if (d->n_train == 0)
        return SLUICE_OK;
    int32_t status = d->models->plda && d->n_train > 1 ? cluster_by_vbx(d) : cluster_by_tree(d);
    for (size_t w = 0; status == SLUICE_OK && w < d->n_windows; w++)
        assign_window(d, w);
    return status;
}

/* ---- the whole ---- */

static int32_t make_embeddings(const struct diarization *d, const struct dz_turns *turns,
                               const uint8_t *cluster_of, float **ret) {
    float *rows = malloc((turns->n_speakers * d->size + 1) * sizeof *rows);
    if (!rows)
        return num_fail_memory(d->err, "the embeddings", turns->n_speakers * d->size * 4);
    for (size_t i = 0; i < turns->n_speakers * d->size; i++)
        rows[i] = (float)d->centroids[cluster_of[i / d->size] * d->size + i % d->size];
    *ret = rows;
    return SLUICE_OK;
}

static int32_t put_together(struct diarization *d, struct dz_turns *ret,
                            struct dz_turns *ret_exclusive, float **ret_embeddings) {
    uint8_t cluster_of[DZ_MAX_CLUSTERS];
    struct dz_tracks tracks = {
        .n_windows = d->n_windows,
        .n_frames = d->shape.n_frames,
        .n_local = d->shape.n_local,
        .window_step = d->step,
        .frame = d->shape.frame,
        .frame_step = d->shape.step,
        .sets = d->sets,
        .clusters = d->clusters,
        .n_at_once = d->options.max_speakers,
        .end_s = (double)d->n_samples / RATE_HZ,
    };
    dz_autoturns turns = {0}, exclusive = {0};
    int32_t status = dz_tracks_make(&tracks, &turns, &exclusive, cluster_of, d->err);
    if (status == SLUICE_OK)
        status = make_embeddings(d, &turns, cluster_of, ret_embeddings);
    if (status != SLUICE_OK)
        return status;
    num_progress(d->watch, 1);
    *ret = turns;
    *ret_exclusive = exclusive;
    turns = exclusive = (struct dz_turns){0};
    return SLUICE_OK;
}

/* All whole windows, and one that goes on beyond the end where samples are left. */
static size_t count_windows(size_t n_samples, size_t window, size_t step) {
    if (n_samples <= window)
        return n_samples > 0;
    return 1 + (n_samples - window + step - 1) / step;
}

static int32_t make_buffers(struct diarization *d) {
    size_t n = d->n_windows * d->shape.n_local;
    d->sets = malloc(d->n_windows * d->shape.n_frames + 1);
    d->embeddings = malloc((n * d->size + 1) * sizeof *d->embeddings);
    d->active = calloc(4 * n + 1, sizeof *d->active);
    d->clusters = malloc(n + 1);
    if (!d->sets || !d->embeddings || !d->active || !d->clusters)
        return num_fail_memory(d->err, "the windows", n * d->size * sizeof *d->embeddings);
    d->clean = d->active + n;
    d->train = d->clean + n;
    d->labels = d->train + n;
    memset(d->clusters, -1, n);
    return SLUICE_OK;
}

int32_t dz_neural_run(const struct dz_neural *models, const float *pcm, size_t n_samples,
                      const struct dz_neural_options *options, const struct num_watch *watch,
                      struct dz_turns *ret, struct dz_turns *ret_exclusive, float **ret_embeddings,
                      struct num_err *err) {
    struct diarization d = {.models = models,
                            .pcm = pcm,
                            .n_samples = n_samples,
                            .options = *options,
                            .watch = watch,
                            .err = err,
                            .size = models->backend->size(models->networks)};
    models->backend->shape(models->networks, &d.shape);
    if (d.options.max_speakers == 0 || d.options.max_speakers > DZ_MAX_CLUSTERS)
        d.options.max_speakers = DZ_MAX_CLUSTERS;
    if (d.options.min_speakers == 0)
        d.options.min_speakers = 1;
    d.step = (size_t)fmax(1, rint(d.options.step_s * RATE_HZ));
    d.n_windows = count_windows(n_samples, d.shape.window, d.step);
    int32_t status = make_buffers(&d);
    if (status == SLUICE_OK)
        status = run_networks(&d);
    if (status == SLUICE_OK)
        status = cluster(&d);
    if (status == SLUICE_OK)
        status = put_together(&d, ret, ret_exclusive, ret_embeddings);
    free(d.sets);
    free(d.embeddings);
    free(d.active);
    free(d.clusters);
    free(d.centroids);
    return status;
}
