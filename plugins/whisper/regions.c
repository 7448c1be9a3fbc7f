/*
 * Reading, merging and cutting regions of speech: see regions.h.
 */
#include "whisper/regions.h"

#include <math.h>
#include <stdlib.h>

#include <jansson.h>

#include "num/buf.h"
#include "num/mel.h"

/* ---- Reading ----------------------------------------------------------------------------------
 */

static int32_t read_region(const json_t *o, size_t index, size_t n_samples, struct wh_region *ret,
                           struct num_err *err) {
    const json_t *start = json_object_get(o, "start"), *end = json_object_get(o, "end");
    double from = json_number_value(start), to = json_number_value(end);
    if (!json_is_number(start) || !json_is_number(end) || !(from >= 0) || !(to >= from))
        return num_fail(err, SLUICE_INPUT,
                        "region %zu has no start and end in seconds, the end not before the start",
                        index);
    double last = (double)n_samples;
    ret->first = (size_t)fmin(floor(from * NUM_MEL_RATE_HZ), last);
    ret->end = (size_t)fmin(ceil(to * NUM_MEL_RATE_HZ), last);
    return SLUICE_OK;
}

static int compare_regions(const void *a, const void *b) {
    const struct wh_region *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

/* Sorts, joins those that touch or overlap, and drops empty ones; returns how many are left. */
static size_t tidy(struct wh_region *regions, size_t n) {
    size_t kept = 0;
    qsort(regions, n, sizeof *regions, compare_regions);
    for (size_t i = 0; i < n; i++) {
        struct wh_region r = regions[i];
        if (r.first == r.end)
            continue;
        if (kept > 0 && r.first < regions[kept - 1].end) {
            if (r.end > regions[kept - 1].end)
                regions[kept - 1].end = r.end;
        } else
            regions[kept++] = r;
    }
    return kept;
}

int32_t wh_regions_parse(const char *json, size_t len, size_t n_samples, struct wh_region **ret,
                         size_t *ret_n, struct num_err *err) {
    json_error_t why;
    json_t *root = json_loadb(json, len, 0, &why);
    const json_t *list = json_object_get(root, "regions"), *o;
    size_t n = json_array_size(list), i;
    struct wh_region *regions = calloc(n + 1, sizeof *regions);
    int32_t status = SLUICE_OK;
    if (!json_is_array(list))
        status = num_fail(err, SLUICE_INPUT,
                          "the regions are not an object with a list \"regions\""
                          "%s%.100s",
                          root ? "" : ": ", root ? "" : why.text);
    else if (!regions)
        status = num_fail_memory(err, "the regions", n * sizeof *regions);
    json_array_foreach(list, i, o) {
        if (!status)
            status = read_region(o, i, n_samples, &regions[i], err);
    }
    json_decref(root);
    if (status) {
        free(regions);
        return status;
    }
    *ret = regions;
    *ret_n = tidy(regions, n);
    return SLUICE_OK;
}

/* ---- Cut and merge ----------------------------------------------------------------------------
 */

#define PAUSE_HOPS 20 /* a cut looks for the quietest 200 ms */

static double hop_energy(const float *pcm) {
    double sum = 0;
    for (size_t i = 0; i < NUM_MEL_HOP; i++)
        if (isfinite(pcm[i]))
            sum += (double)pcm[i] * pcm[i];
    return sum;
}

/* The middle of the quietest pause in [from, to), both at hops and further apart than a pause; the
 * latest of several. */
static size_t quietest(const float *pcm, size_t from, size_t to) {
    double energies[PAUSE_HOPS] = {0}, sum = 0, least = INFINITY;
    size_t n = (to - from) / NUM_MEL_HOP, best = n - PAUSE_HOPS / 2;
    for (size_t i = 0; i < n; i++) {
        double e = hop_energy(pcm + from + i * NUM_MEL_HOP);
        energies[i % PAUSE_HOPS] = e;
        sum = 0; /* anew each time: differences would drift */
        for (size_t k = 0; k < PAUSE_HOPS; k++)
            sum += energies[k];
        if (i + 1 >= PAUSE_HOPS && sum <= least) {
            least = sum;
            best = i + 1 - PAUSE_HOPS / 2;
        }
    }
    return from + best * NUM_MEL_HOP;
}

struct spans {
    struct wh_span *items;
    size_t n, room;
};

static int32_t add_span(struct spans *s, size_t first, size_t end, struct num_err *err) {
    if (end - first < NUM_MEL_HOP)
        return SLUICE_OK;
    int32_t status = num_grow(&s->items, s->n, &s->room, sizeof *s->items, "the windows", err);
    if (status == SLUICE_OK)
        s->items[s->n++] = (struct wh_span){first, end - first};
    return status;
}

/* Adds spans from `first` to `end` until what is left fits one; moves *first to that. */
static int32_t cut(const float *pcm, size_t *first, size_t end, size_t longest, struct spans *spans,
                   struct num_err *err) {
    while (end - *first > longest) {
        size_t half = longest / 2 / NUM_MEL_HOP * NUM_MEL_HOP;
        size_t at = quietest(pcm, *first + half, *first + longest);
        int32_t status = add_span(spans, *first, at, err);
        if (status)
            return status;
        *first = at;
    }
    return SLUICE_OK;
}

int32_t wh_regions_merge(const float *pcm, const struct wh_region *regions, size_t n,
                         size_t longest, struct wh_span **ret, size_t *ret_n, struct num_err *err) {
    struct spans spans = {0};
    size_t first = 0, end = 0; /* of the span in the making */
    int32_t status = SLUICE_OK;
    longest = longest / NUM_MEL_HOP * NUM_MEL_HOP;
    for (size_t i = 0; !status && i < n; i++) {
        const struct wh_region *r = &regions[i];
        if (end > 0 && r->end - first <= longest) {
            end = r->end;
            continue;
        }
        if (end > 0)
            status = add_span(&spans, first, end, err);
        first = r->first / NUM_MEL_HOP * NUM_MEL_HOP;
        end = r->end;
        if (!status)
            status = cut(pcm, &first, end, longest, &spans, err);
    }
    if (!status && end > 0)
        status = add_span(&spans, first, end, err);
    if (!status && !spans.items) {
        spans.items = malloc(sizeof *spans.items);
        if (!spans.items)
            status = num_fail_memory(err, "the windows", sizeof *spans.items);
    }
    if (status) {
        free(spans.items);
        return status;
    }
    *ret = spans.items;
    *ret_n = spans.n;
    return SLUICE_OK;
}
