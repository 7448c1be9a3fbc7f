/*
 * Lanes are given out in order of start, each worker the lowest one that is free: so their number
 * is that of the workers that ran at once. A worker keeps its lane for as long as it has attempts.
 */
#include "report/lanes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"

double sl_report_time(const char *text) {
    struct tm t = {0};
    double seconds;
    if (sscanf(text, "%d-%d-%dT%d:%d:%lf", &t.tm_year, &t.tm_mon, &t.tm_mday, &t.tm_hour, &t.tm_min,
               &seconds) != 6)
        return 0;
    t.tm_year -= 1900;
    t.tm_mon -= 1;
    return (double)timegm(&t) + seconds;
}

static size_t count_attempts(const json_t *state) {
    json_t *item, *stage;
    size_t i, s, n = 0;
    json_array_foreach(json_object_get(state, "items"), i, item)
        json_array_foreach(json_object_get(item, "stages"), s, stage) n +=
        json_array_size(json_object_get(stage, "attempts"));
    return n;
}

static void collect(struct sl_lanes *l, const json_t *state, double began) {
    json_t *item, *stage, *attempt;
    size_t i, s, a;
    json_array_foreach(json_object_get(state, "items"), i, item)
        json_array_foreach(json_object_get(item, "stages"), s, stage)
            json_array_foreach(json_object_get(stage, "attempts"), a, attempt) {
        double start = sl_report_time(sl_json_str(attempt, "started", "")) - began;
        double wall = fmax(sl_json_num(attempt, "wall_s", 0), 0);
        if (!(start >= 0 && start < 1e9))
            start = 0;
        l->bars[l->n_bars++] = (struct sl_bar){
            item, stage, attempt, start, start + wall, i, (int)sl_json_num(attempt, "worker", 0),
            0};
        l->length_s = fmax(l->length_s, start + wall);
    }
}

static int by_length(const void *a, const void *b) {
    const struct sl_bar *x = a, *y = b;
    double dx = x->end_s - x->start_s, dy = y->end_s - y->start_s;
    return (dx < dy) - (dx > dy);
}

static int by_start(const void *a, const void *b) {
    const struct sl_bar *x = a, *y = b;
    return (x->start_s > y->start_s) - (x->start_s < y->start_s);
}

struct lane {
    double free_from;
    int worker;
};

/* The lane of the bar's worker, or the lowest free one. */
static int choose_lane(const struct lane *lanes, int n, const struct sl_bar *bar) {
    int lowest = n;
    for (int i = 0; i < n; i++) {
        if (bar->worker > 0 && lanes[i].worker == bar->worker &&
            lanes[i].free_from <= bar->start_s + 0.01)
            return i;
        if (lowest == n && lanes[i].free_from <= bar->start_s)
            lowest = i;
    }
    return lowest;
}

static void give_lanes(struct sl_lanes *l) {
    sl_autofree struct lane *lanes = sl_xcalloc(l->n_bars + 1, sizeof *lanes);
    for (size_t i = 0; i < l->n_bars; i++) {
        struct sl_bar *bar = &l->bars[i];
        bar->lane = choose_lane(lanes, l->n_lanes, bar);
        if (bar->lane == l->n_lanes)
            l->n_lanes++;
        lanes[bar->lane] = (struct lane){bar->end_s, bar->worker};
    }
}

void sl_lanes_init(struct sl_lanes *lanes, const json_t *state, size_t max_bars) {
    size_t n = count_attempts(state);
    *lanes = (struct sl_lanes){.bars = sl_xcalloc(n + 1, sizeof *lanes->bars),
                               .length_s = sl_json_num(state, "seconds", 0)};
    collect(lanes, state, sl_report_time(sl_json_str(state, "started", "")));
    if (n > max_bars) {
        qsort(lanes->bars, n, sizeof *lanes->bars, by_length);
        lanes->n_left_out = n - max_bars;
        lanes->n_bars = max_bars;
    }
    qsort(lanes->bars, lanes->n_bars, sizeof *lanes->bars, by_start);
    give_lanes(lanes);
}

void sl_lanes_finish(struct sl_lanes *lanes) {
    free(lanes->bars);
    *lanes = (struct sl_lanes){0};
}
