/*
 * All pairs are weighed once; after a merge only those of the new cluster. Each row remembers its
 * best partner among the rows before it, so finding the best pair looks at rows, not at pairs.
 */
#include "diarize/bic.h"

#include <math.h>
#include <stdlib.h>

struct clustering {
    const struct dz_bic *bic;
    struct dz_stats *stats; /* [n] */
    double *log_det;        /* [n] */
    float *cost;            /* (n, n): of joining i and j < i; below 0 is worth it */
    size_t *best;           /* [n]: of the rows j < i, the cheapest for i */
    unsigned char *alive;   /* [n] */
    size_t n, n_alive;
};

static double cost_of(const struct clustering *c, size_t i, size_t j) {
    struct dz_stats both = c->stats[i];
    dz_stats_join(&both, &c->stats[j]);
    double gain = both.n * dz_stats_log_det(&both, c->bic->floor) - c->stats[i].n * c->log_det[i] -
                  c->stats[j].n * c->log_det[j];
    double n_parameters = DZ_DIM + DZ_PAIRS;
    return 0.5 * (gain - c->bic->penalty * n_parameters * log(both.n));
}

static float *cost_at(const struct clustering *c, size_t i, size_t j) {
    return i > j ? &c->cost[i * c->n + j] : &c->cost[j * c->n + i];
}

static void find_best(struct clustering *c, size_t i) {
    c->best[i] = i;
    for (size_t j = 0; j < i; j++)
        if (c->alive[j] && (c->best[i] == i || *cost_at(c, i, j) < *cost_at(c, i, c->best[i])))
            c->best[i] = j;
}

/* The cheapest pair, i > j; false with one cluster. */
static int cheapest(const struct clustering *c, size_t *ret_i, size_t *ret_j) {
    float least = INFINITY;
    *ret_i = *ret_j = 0;
    for (size_t i = 1; i < c->n; i++)
        if (c->alive[i] && c->best[i] != i && *cost_at(c, i, c->best[i]) < least) {
            least = *cost_at(c, i, c->best[i]);
            *ret_i = i;
            *ret_j = c->best[i];
        }
    return *ret_i > 0;
}

/* Row i goes into row j < i. */
static void merge(struct clustering *c, size_t i, size_t j) {
    dz_stats_join(&c->stats[j], &c->stats[i]);
    c->log_det[j] = dz_stats_log_det(&c->stats[j], c->bic->floor);
    c->alive[i] = 0;
    c->n_alive--;
    for (size_t k = 0; k < c->n; k++)
        if (c->alive[k] && k != j)
            *cost_at(c, k, j) = (float)cost_of(c, k, j);
    for (size_t k = j; k < c->n; k++)
        if (c->alive[k] && (k == j || c->best[k] == i || c->best[k] == j))
            find_best(c, k);
        else if (c->alive[k] && *cost_at(c, k, j) < *cost_at(c, k, c->best[k]))
            c->best[k] = j;
}

static int goes_on(const struct clustering *c, float cost) {
    size_t least = c->bic->at_least ? c->bic->at_least : 1;
    if (c->n_alive <= least)
        return 0;
    return cost < 0 || (c->bic->at_most > 0 && c->n_alive > c->bic->at_most);
}

static void run(struct clustering *c) {
    for (size_t i = 0; i < c->n; i++) {
        c->alive[i] = 1;
        c->log_det[i] = dz_stats_log_det(&c->stats[i], c->bic->floor);
        for (size_t j = 0; j < i; j++)
            *cost_at(c, i, j) = (float)cost_of(c, i, j);
        find_best(c, i);
    }
    size_t i, j;
    while (cheapest(c, &i, &j) && goes_on(c, *cost_at(c, i, j)))
        merge(c, i, j);
}

int32_t dz_bic_cluster(const struct dz_bic *bic, struct dz_stats *stats, size_t n, size_t *ret_n,
                       struct num_err *err) {
    struct clustering c = {bic,
                           stats,
                           calloc(n + 1, sizeof *c.log_det),
                           calloc(n * n + 1, sizeof *c.cost),
                           calloc(n + 1, sizeof *c.best),
                           calloc(n + 1, 1),
                           n,
                           n};
    int32_t status = SLUICE_OK;
    if (c.log_det && c.cost && c.best && c.alive) {
        run(&c);
        size_t kept = 0;
        for (size_t i = 0; i < n; i++)
            if (c.alive[i])
                stats[kept++] = stats[i];
        *ret_n = kept;
    } else {
        status = num_fail_memory(err, "clustering", n * n * sizeof *c.cost);
    }
    free(c.log_det);
    free(c.cost);
    free(c.best);
    free(c.alive);
    return status;
}
