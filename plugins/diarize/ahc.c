/*
 * Every cluster knows its nearest neighbour (M. Anderberg, "Cluster Analysis for Applications",
 * 1973): a merge asks all others for their distance to the new centroid, and only those whose
 * neighbour is gone look at everybody again.
 */
#include "diarize/ahc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SMALL_SHARE 0.1 /* of all vectors: min_size is not above it */

/* ---- linkage ---- */

struct linkage {
    float *x; /* (n, dim): centroids of those that live */
    size_t n, dim, n_alive;
    uint32_t *alive;       /* [n_alive]: slots, ascending */
    uint32_t *nearest;     /* [n]: slot */
    float *distance;       /* [n]: squared, to it */
    uint32_t *node, *size; /* [n]: what the slot holds */
};

static float squared(const float *restrict a, const float *restrict b, size_t dim) {
    float sum = 0;
    for (size_t i = 0; i < dim; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum;
}

static void look_round(struct linkage *l, uint32_t slot) {
    l->distance[slot] = INFINITY;
    for (size_t i = 0; i < l->n_alive; i++) {
        uint32_t other = l->alive[i];
        float d =
            other == slot ? INFINITY : squared(l->x + slot * l->dim, l->x + other * l->dim, l->dim);
        if (d < l->distance[slot]) {
            l->distance[slot] = d;
            l->nearest[slot] = other;
        }
    }
}

static uint32_t closest(const struct linkage *l) {
    uint32_t best = l->alive[0];
    for (size_t i = 1; i < l->n_alive; i++)
        if (l->distance[l->alive[i]] < l->distance[best])
            best = l->alive[i];
    return best;
}

static void bury(struct linkage *l, uint32_t slot) {
    size_t at = 0;
    while (l->alive[at] != slot)
        at++;
    l->n_alive--;
    memmove(l->alive + at, l->alive + at + 1, (l->n_alive - at) * sizeof *l->alive);
}

static void move_centroid(struct linkage *l, uint32_t into, uint32_t from) {
    float a = (float)l->size[into], b = (float)l->size[from];
    float *x = l->x + into * l->dim, *y = l->x + from * l->dim;
    for (size_t i = 0; i < l->dim; i++)
        x[i] = (a * x[i] + b * y[i]) / (a + b);
}

/* The slot `into` has a new centroid, `gone` is no more. */
static void tell_neighbours(struct linkage *l, uint32_t into, uint32_t gone) {
    for (size_t i = 0; i < l->n_alive; i++) {
        uint32_t slot = l->alive[i];
        if (slot == into || l->nearest[slot] == into || l->nearest[slot] == gone) {
            look_round(l, slot);
            continue;
        }
        float d = squared(l->x + slot * l->dim, l->x + into * l->dim, l->dim);
        if (d < l->distance[slot]) {
            l->distance[slot] = d;
            l->nearest[slot] = into;
        }
    }
}

static void merge(struct linkage *l, size_t number, struct dz_merge *ret) {
    uint32_t from = closest(l), into = l->nearest[from];
    uint32_t a = l->node[into], b = l->node[from];
    *ret = (struct dz_merge){a < b ? a : b, a < b ? b : a, l->size[into] + l->size[from],
                             sqrt(l->distance[from])};
    move_centroid(l, into, from);
    l->size[into] += l->size[from];
    l->node[into] = (uint32_t)(l->n + number);
    bury(l, from);
    tell_neighbours(l, into, from);
}

static int32_t link_all(struct linkage *l, const struct num_watch *watch, struct dz_merge *ret,
                        struct num_err *err) {
    for (size_t i = 0; i < l->n; i++) {
        l->alive[i] = l->node[i] = (uint32_t)i;
        l->size[i] = 1;
    }
    l->n_alive = l->n;
    for (size_t i = 0; i < l->n; i++) {
        if (i % 64 == 0 && num_cancelled(watch))
            return num_fail(err, SLUICE_CANCELLED, "cancelled");
        look_round(l, (uint32_t)i);
    }
    for (size_t i = 0; i + 1 < l->n; i++) {
        if (i % 64 == 0 && num_cancelled(watch))
            return num_fail(err, SLUICE_CANCELLED, "cancelled");
        merge(l, i, &ret[i]);
    }
    return SLUICE_OK;
}

int32_t dz_ahc_link(float *x, size_t n, size_t dim, const struct num_watch *watch,
                    struct dz_merge *ret, struct num_err *err) {
    uint32_t *numbers = calloc(4 * n + 1, sizeof *numbers);
    float *distance = calloc(n + 1, sizeof *distance);
    struct linkage l = {.x = x,
                        .n = n,
                        .dim = dim,
                        .alive = numbers,
                        .nearest = numbers + n,
                        .distance = distance,
                        .node = numbers + 2 * n,
                        .size = numbers + 3 * n};
    int32_t status = numbers && distance ? link_all(&l, watch, ret, err)
                                         : num_fail_memory(err, "clustering", 20 * n);
    free(numbers);
    free(distance);
    return status;
}

/* ---- cutting ---- */

/* The merges that are done: those whose whole subtree has heights up to the threshold. */
static void find_done(const struct dz_merge *merges, size_t n, const double *heights,
                      double threshold, uint8_t *done) {
    for (size_t i = 0; i + 1 < n; i++) {
        const struct dz_merge *m = &merges[i];
        done[i] =
            heights[i] <= threshold && (m->a < n || done[m->a - n]) && (m->b < n || done[m->b - n]);
    }
}

/* Roots from the top down: a node that a done merge took has that one's. Numbers in the order of
 * leaves. */
static size_t number_roots(const struct dz_merge *merges, size_t n, const uint8_t *done,
                           uint32_t *root, uint32_t *number, uint32_t *ret_labels) {
    uint32_t n_labels = 0;
    for (size_t i = 0; i + 1 < 2 * n; i++) {
        root[i] = (uint32_t)i;
        number[i] = UINT32_MAX;
    }
    for (size_t i = n - 1; i-- > 0;)
        if (done[i])
            root[merges[i].a] = root[merges[i].b] = root[n + i];
    for (size_t i = 0; i < n; i++) {
        if (number[root[i]] == UINT32_MAX)
            number[root[i]] = n_labels++;
        ret_labels[i] = number[root[i]];
    }
    return n_labels;
}

static int32_t cut(const struct dz_merge *merges, size_t n, const double *heights, double threshold,
                   uint32_t *ret_labels, size_t *ret_n, struct num_err *err) {
    uint8_t *done = malloc(n + 1);
    uint32_t *root = malloc(4 * (n + 1) * sizeof *root);
    int32_t status = SLUICE_OK;
    if (n == 0) {
        *ret_n = 0;
    } else if (done && root) {
        find_done(merges, n, heights, threshold, done);
        *ret_n = number_roots(merges, n, done, root, root + 2 * n, ret_labels);
    } else {
        status = num_fail_memory(err, "clustering", 17 * n);
    }
    free(done);
    free(root);
    return status;
}

int32_t dz_ahc_cut(const struct dz_merge *merges, size_t n, double threshold, uint32_t *ret_labels,
                   size_t *ret_n, struct num_err *err) {
    double *heights = malloc((n + 1) * sizeof *heights);
    if (!heights)
        return num_fail_memory(err, "clustering", n * sizeof *heights);
    for (size_t i = 0; i + 1 < n; i++)
        heights[i] = merges[i].distance;
    int32_t status = cut(merges, n, heights, threshold, ret_labels, ret_n, err);
    free(heights);
    return status;
}

/* ---- the number of clusters ---- */

struct clustering {
    const struct dz_ahc_options *options;
    const float *x;
    size_t n, dim, min_size;
    struct dz_merge *merges;
    double *heights;  /* [n] */
    uint32_t *labels; /* [n] */
    size_t n_labels;
    uint32_t *sizes; /* [n]: of the clusters */
};

static size_t count_large(struct clustering *c) {
    size_t n_large = 0;
    memset(c->sizes, 0, c->n * sizeof *c->sizes);
    for (size_t i = 0; i < c->n; i++)
        c->sizes[c->labels[i]]++;
    for (size_t k = 0; k < c->n_labels; k++)
        n_large += c->sizes[k] >= c->min_size;
    return n_large;
}

/* The cut after merge `last`, in the order of merging; *ret_large clusters are large. */
static int32_t cut_after(struct clustering *c, size_t last, size_t *ret_large,
                         struct num_err *err) {
    for (size_t i = 0; i + 1 < c->n; i++)
        c->heights[i] = (double)i;
    int32_t status = cut(c->merges, c->n, c->heights, (double)last, c->labels, &c->n_labels, err);
    if (status == SLUICE_OK)
        *ret_large = count_large(c);
    return status;
}

struct distant {
    double distance;
    size_t merge;
};

static int by_distance(const void *a, const void *b) {
    const struct distant *x = a, *y = b;
    if (x->distance != y->distance)
        return x->distance < y->distance ? -1 : 1;
    return (x->merge > y->merge) - (x->merge < y->merge);
}

static size_t apart(size_t a, size_t b) {
    return a > b ? a - b : b - a;
}

/* Looks for a cut with `wanted` large clusters, from the threshold's surroundings outwards, and
 * takes the best there is. */
static int32_t search(struct clustering *c, size_t wanted, size_t *n_large, struct num_err *err) {
    size_t n_merges = c->n - 1, best = n_merges - 1, best_large = 1;
    struct distant *order = malloc(n_merges * sizeof *order);
    if (!order)
        return num_fail_memory(err, "clustering", n_merges * sizeof *order);
    for (size_t i = 0; i < n_merges; i++)
        order[i] = (struct distant){fabs(c->merges[i].distance - c->options->threshold), i};
    qsort(order, n_merges, sizeof *order, by_distance);
    int32_t status = SLUICE_OK;
    for (size_t i = 0; status == SLUICE_OK && *n_large != wanted && i < n_merges; i++) {
        if (c->merges[order[i].merge].size < c->min_size)
            continue;
        status = cut_after(c, order[i].merge, n_large, err);
        if (apart(*n_large, wanted) < apart(best_large, wanted)) {
            best = order[i].merge;
            best_large = *n_large;
        }
    }
    if (status == SLUICE_OK && *n_large != wanted)
        status = cut_after(c, best, n_large, err);
    free(order);
    return status;
}

/* ---- small clusters ---- */

/* Means of the clusters: (n_labels, dim). */
static void set_means(const struct clustering *c, double *means) {
    memset(means, 0, c->n_labels * c->dim * sizeof *means);
    for (size_t i = 0; i < c->n; i++)
        for (size_t d = 0; d < c->dim; d++)
            means[c->labels[i] * c->dim + d] += c->x[i * c->dim + d] / c->sizes[c->labels[i]];
}

static double cosine(const double *a, const double *b, size_t dim) {
    double both = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < dim; i++) {
        both += a[i] * b[i];
        aa += a[i] * a[i];
        bb += b[i] * b[i];
    }
    return both / sqrt(aa * bb + 1e-30);
}

/* The large cluster that a small one joins; its own number where it is large. */
static size_t home_of(const struct clustering *c, const double *means, size_t k) {
    size_t best = k;
    double most = -INFINITY;
    for (size_t other = 0; c->sizes[k] < c->min_size && other < c->n_labels; other++) {
        double like = c->sizes[other] < c->min_size
                          ? -INFINITY
                          : cosine(means + k * c->dim, means + other * c->dim, c->dim);
        if (like > most) {
            most = like;
            best = other;
        }
    }
    return best;
}

static int32_t join_small(struct clustering *c, struct num_err *err) {
    double *means = malloc((c->n_labels * c->dim + 1) * sizeof *means);
    uint32_t *home = malloc((c->n_labels + 1) * sizeof *home);
    int32_t status =
        means && home ? SLUICE_OK : num_fail_memory(err, "clustering", c->n_labels * c->dim * 8);
    if (status == SLUICE_OK) {
        set_means(c, means);
        for (size_t k = 0; k < c->n_labels; k++)
            home[k] = (uint32_t)home_of(c, means, k);
        for (size_t i = 0; i < c->n; i++)
            c->labels[i] = home[c->labels[i]];
    }
    free(means);
    free(home);
    return status;
}

/* Numbers from 0 in the order of first members; `sizes` serves as a table. */
static void renumber(struct clustering *c) {
    uint32_t n = 0;
    memset(c->sizes, 0xff, c->n * sizeof *c->sizes);
    for (size_t i = 0; i < c->n; i++) {
        uint32_t *number = &c->sizes[c->labels[i]];
        if (*number == UINT32_MAX)
            *number = n++;
        c->labels[i] = *number;
    }
    c->n_labels = n;
}

static int32_t run(struct clustering *c, const struct num_watch *watch, struct num_err *err) {
    float *copy = malloc(c->n * c->dim * sizeof *copy);
    if (!copy)
        return num_fail_memory(err, "clustering", c->n * c->dim * sizeof *copy);
    memcpy(copy, c->x, c->n * c->dim * sizeof *copy);
    int32_t status = dz_ahc_link(copy, c->n, c->dim, watch, c->merges, err);
    free(copy);
    if (status == SLUICE_OK)
        status = dz_ahc_cut(c->merges, c->n, c->options->threshold, c->labels, &c->n_labels, err);
    if (status != SLUICE_OK)
        return status;
    size_t n_large = count_large(c), wanted = n_large;
    if (wanted < c->options->at_least)
        wanted = c->options->at_least;
    if (c->options->at_most && wanted > c->options->at_most)
        wanted = c->options->at_most;
    if (wanted != n_large && c->n > 1)
        status = search(c, wanted, &n_large, err);
    if (status == SLUICE_OK && n_large == 0)
        memset(c->labels, 0, c->n * sizeof *c->labels);
    else if (status == SLUICE_OK && n_large < c->n_labels)
        status = join_small(c, err);
    renumber(c);
    return status;
}

int32_t dz_ahc_cluster(const struct dz_ahc_options *options, const float *x, size_t n, size_t dim,
                       const struct num_watch *watch, uint32_t *ret_labels, size_t *ret_n,
                       struct num_err *err) {
    struct clustering c = {.options = options, .x = x, .n = n, .dim = dim, .labels = ret_labels};
    size_t small = (size_t)rint(SMALL_SHARE * (double)n);
    c.min_size = small < 1 ? 1 : small;
    c.min_size = options->min_size < c.min_size ? options->min_size : c.min_size;
    c.merges = malloc((n + 1) * sizeof *c.merges);
    c.heights = malloc((n + 1) * sizeof *c.heights);
    c.sizes = malloc((n + 1) * sizeof *c.sizes);
    int32_t status = c.merges && c.heights && c.sizes
                         ? SLUICE_OK
                         : num_fail_memory(err, "clustering", n * sizeof *c.merges);
    if (status == SLUICE_OK && n > 0)
        status = run(&c, watch, err);
    if (status == SLUICE_OK)
        *ret_n = c.n_labels;
    free(c.merges);
    free(c.heights);
    free(c.sizes);
    return status;
}
