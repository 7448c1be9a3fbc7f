/*
 * One thread, one range at a time: see ahead.h. The thread sleeps between ranges; a range is handed
 * over and back under one lock, so the frames themselves need none.
 */
#include "whisper/ahead.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct wh_ahead {
    const struct num_mel *mel;
    struct num_pool *pool; /* of the thread alone */
    size_t n_mels, n_frames;
    float *frames; /* (n_frames, n_mels) */
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock */
    struct wh_ahead_range range; /* what `frames` hold, or will; n 0: nothing */
    bool busy, stop;
};

static void *run(void *ctx) {
    struct wh_ahead *a = ctx;
    struct num_err ignored;
    pthread_mutex_lock(&a->lock);
    while (!a->stop) {
        if (!a->busy) {
            pthread_cond_wait(&a->changed, &a->lock);
            continue;
        }
        struct wh_ahead_range r = a->range;
        pthread_mutex_unlock(&a->lock);
        int32_t status =
            num_mel_log(a->mel, a->pool, r.pcm, r.n_samples, r.first, r.n, a->frames, &ignored);
        pthread_mutex_lock(&a->lock);
        if (status)
            a->range.n = 0;
        a->busy = false;
        pthread_cond_broadcast(&a->changed);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

int32_t wh_ahead_create(const struct num_mel *mel, size_t n_mels, size_t n_frames,
                        struct wh_ahead **ret, struct num_err *err) {
    struct wh_ahead *a = calloc(1, sizeof *a);
    size_t bytes = n_frames * n_mels * sizeof *a->frames;
    if (!a)
        return num_fail_memory(err, "the spectrogram", sizeof *a);
    *a = (struct wh_ahead){.mel = mel, .n_mels = n_mels, .n_frames = n_frames};
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->changed, NULL);
    a->frames = malloc(bytes);
    int32_t status = a->frames ? num_pool_create(1, &a->pool, err)
                               : num_fail_memory(err, "the spectrogram", bytes);
    if (!status) {
        a->started = pthread_create(&a->thread, NULL, run, a) == 0;
        if (!a->started)
            status = num_fail(err, SLUICE_RESOURCE, "no thread for the spectrogram");
    }
    if (status)
        wh_ahead_destroy(a);
    else
        *ret = a;
    return status;
}

void wh_ahead_destroy(struct wh_ahead *ahead) {
    if (!ahead)
        return;
    if (ahead->started) {
        pthread_mutex_lock(&ahead->lock);
        ahead->stop = true;
        pthread_cond_broadcast(&ahead->changed);
        pthread_mutex_unlock(&ahead->lock);
        pthread_join(ahead->thread, NULL);
    }
    pthread_cond_destroy(&ahead->changed);
    pthread_mutex_destroy(&ahead->lock);
    num_pool_destroy(ahead->pool);
    free(ahead->frames);
    free(ahead);
}

static void wait_idle(struct wh_ahead *a) {
    while (a->busy)
        pthread_cond_wait(&a->changed, &a->lock);
}

static bool same_signal(const struct wh_ahead_range *a, const struct wh_ahead_range *b) {
    return a->pcm == b->pcm && a->n_samples == b->n_samples;
}

void wh_ahead_start(struct wh_ahead *ahead, const struct wh_ahead_range *range) {
    struct wh_ahead *a = ahead;
    pthread_mutex_lock(&a->lock);
    const struct wh_ahead_range *r = &a->range;
    if (!same_signal(r, range) || r->first != range->first || r->n != range->n) {
        wait_idle(a);
        a->range = *range;
        a->busy = true;
        pthread_cond_broadcast(&a->changed);
    }
    pthread_mutex_unlock(&a->lock);
}

void wh_ahead_copy(struct wh_ahead *ahead, const struct wh_ahead_range *range, float *ret,
                   size_t *ret_first, size_t *ret_end) {
    struct wh_ahead *a = ahead;
    size_t end = range->first + range->n;
    *ret_first = *ret_end = end;
    pthread_mutex_lock(&a->lock);
    size_t own = a->range.first, own_end = own + a->range.n;
    size_t from = own > range->first ? own : range->first, to = own_end < end ? own_end : end;
    if (same_signal(&a->range, range) && from < to) {
        wait_idle(a);
        if (a->range.n) { /* it did not fail */
            memcpy(ret + (from - range->first) * a->n_mels, a->frames + (from - own) * a->n_mels,
                   (to - from) * a->n_mels * sizeof *ret);
            *ret_first = from;
            *ret_end = to;
        }
    }
    pthread_mutex_unlock(&a->lock);
}

void wh_ahead_drop(struct wh_ahead *ahead) {
    pthread_mutex_lock(&ahead->lock);
    wait_idle(ahead);
    ahead->range = (struct wh_ahead_range){0};
    pthread_mutex_unlock(&ahead->lock);
}
