/* Turns may overlap, so a running maximum of their ends makes the binary search right. */
#include "diarize/who.h"

#include <stdlib.h>

/* A stretch without length counts as this, seconds. */
#define INSTANT_S 0.001

int32_t dz_who_init(struct dz_who *who, const struct dz_turns *turns, struct num_err *err) {
    *who = (struct dz_who){turns, malloc(turns->n_turns * sizeof *who->reach),
                           calloc(turns->n_speakers, sizeof *who->sum)};
    if (!who->reach || !who->sum) {
        dz_who_finish(who);
        return num_fail_memory(err, "the turns", turns->n_turns * sizeof *who->reach);
    }
    double latest = 0;
    for (size_t i = 0; i < turns->n_turns; i++) {
        if (turns->turns[i].end > latest)
            latest = turns->turns[i].end;
        who->reach[i] = latest;
    }
    return SLUICE_OK;
}

void dz_who_finish(struct dz_who *who) {
    free(who->reach);
    free(who->sum);
    *who = (struct dz_who){0};
}

/* The first turn with one up to it that reaches beyond `start`, or n_turns. */
static size_t first_reaching(const struct dz_who *who, double start) {
    size_t low = 0, high = who->turns->n_turns;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (who->reach[middle] > start)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static double overlap(const struct dz_turn *t, double start, double end) {
    double from = t->start > start ? t->start : start, to = t->end < end ? t->end : end;
    return to > from ? to - from : 0;
}

/* The turn that ends last before `first`, or `first` itself: whichever is nearer. */
static uint32_t nearest(const struct dz_who *who, size_t first, double start, double end) {
    const struct dz_turn *turns = who->turns->turns;
    size_t before = first;
    while (before > 0 && turns[before - 1].end < who->reach[first - 1])
        before--;
    if (before == 0)
        return turns[first].speaker;
    const struct dz_turn *left = &turns[before - 1];
    bool is_last = first == who->turns->n_turns;
    if (is_last || start - left->end <= turns[first].start - end)
        return left->speaker;
    return turns[first].speaker;
}

uint32_t dz_who_speaks(struct dz_who *who, double start, double end, bool *ret_nearest) {
    const struct dz_turns *t = who->turns;
    if (end < start + INSTANT_S)
        end = start + INSTANT_S;
    size_t first = first_reaching(who, start), behind = first;
    for (; behind < t->n_turns && t->turns[behind].start < end; behind++)
        who->sum[t->turns[behind].speaker] += overlap(&t->turns[behind], start, end);
    uint32_t best = 0;
    double most = 0;
    for (size_t i = first; i < behind; i++) {
        uint32_t speaker = t->turns[i].speaker;
        if (who->sum[speaker] > most) {
            most = who->sum[speaker];
            best = speaker;
        }
        who->sum[speaker] = 0;
    }
    *ret_nearest = most == 0;
    return most == 0 ? nearest(who, first, start, end) : best;
}
