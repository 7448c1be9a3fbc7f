/* Samples stay in the payload, which is mapped from a file; regions are few and copied. */
#include "num/audio.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "num/json.h"
#include "num/safetensors.h"

/* ---- audio/1 ---- */

static int32_t find_samples(const struct num_safetensors *st, struct num_audio *ret,
                            struct num_err *err) {
    const struct num_tensor *pcm = num_safetensors_find(st, "pcm");
    const char *rate = num_safetensors_meta(st, "sample_rate");
    if (!pcm || pcm->dtype != NUM_F32 || pcm->n_dims != 1)
        return num_fail(err, SLUICE_INPUT,
                        "the audio has no tensor pcm of type F32 with one dimension");
    if (rate && strcmp(rate, "16000") != 0)
        return num_fail(err, SLUICE_INPUT, "the audio has %.20s samples a second; audio/1 has %d",
                        rate, NUM_AUDIO_RATE_HZ);
    struct num_audio audio = {pcm->data, pcm->n_elements, NULL};
    if ((uintptr_t)pcm->data % _Alignof(float) != 0) {
        audio.copy = malloc(audio.n * sizeof(float) + 1);
        if (!audio.copy)
            return num_fail_memory(err, "the audio", audio.n * sizeof(float));
        num_tensor_to_f32(pcm, audio.copy);
        audio.pcm = audio.copy;
    }
    *ret = audio;
    return SLUICE_OK;
}

int32_t num_audio_open(const void *data, size_t len, struct num_audio *ret, struct num_err *err) {
    struct num_safetensors st;
    int32_t status = num_safetensors_parse(data, len, "the audio", &st, err);
    if (status != SLUICE_OK)
        return status;
    status = find_samples(&st, ret, err);
    num_safetensors_close(&st);
    return status;
}

void num_audio_close(struct num_audio *audio) {
    free(audio->copy);
    *audio = (struct num_audio){0};
}

/* ---- regions/1 ---- */

static int by_start(const void *a, const void *b) {
    const struct num_region *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

/* Joins what overlaps or touches; returns how many are left. */
static size_t join(struct num_region *regions, size_t n) {
    size_t kept = 0;
    if (n > 0)
        qsort(regions, n, sizeof *regions, by_start);
    for (size_t i = 0; i < n; i++) {
        struct num_region *last = kept ? &regions[kept - 1] : NULL;
        if (last && regions[i].start <= last->end)
            last->end = regions[i].end > last->end ? regions[i].end : last->end;
        else
            regions[kept++] = regions[i];
    }
    return kept;
}

static int32_t read_time(const json_t *region, size_t i, const char *key, double *ret,
                         struct num_err *err) {
    const json_t *value = json_object_get(region, key);
    double seconds = json_is_number(value) ? json_number_value(value) : NAN;
    if (!(seconds >= 0 && seconds <= 3.6e7))
        return num_fail(err, SLUICE_INPUT, "regions[%zu].%s: expected a time in seconds", i, key);
    *ret = seconds;
    return SLUICE_OK;
}

/* The sample at a time, at most n_samples. */
static size_t sample_at(double seconds, size_t n_samples) {
    double sample = round(seconds * NUM_AUDIO_RATE_HZ);
    return sample < (double)n_samples ? (size_t)sample : n_samples;
}

static int32_t read_list(const json_t *list, size_t n_samples, struct num_region *ret,
                         size_t *ret_n, struct num_err *err) {
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        double start, end;
        int32_t status = read_time(item, i, "start", &start, err);
        if (status == SLUICE_OK)
            status = read_time(item, i, "end", &end, err);
        if (status != SLUICE_OK)
            return status;
        if (end < start)
            return num_fail(err, SLUICE_INPUT, "regions[%zu].end is before its start", i);
        struct num_region region = {sample_at(start, n_samples), sample_at(end, n_samples)};
        if (region.end > region.start)
            ret[n++] = region;
    }
    *ret_n = join(ret, n);
    return SLUICE_OK;
}

int32_t num_regions_read(const void *json, size_t len, size_t n_samples,
                         const struct num_watch *watch, struct num_region **ret, size_t *ret_n,
                         struct num_err *err) {
    num_autojson *root = NULL;
    int32_t status = num_json_parse(json, len, 0, "the list of regions", watch, &root, err);
    if (status != SLUICE_OK)
        return status;
    const json_t *list = json_object_get(root, "regions");
    if (!json_is_array(list))
        return num_fail(err, SLUICE_INPUT, "regions: expected a list");
    struct num_region *regions = calloc(json_array_size(list) + 1, sizeof *regions);
    if (!regions)
        return num_fail_memory(err, "the regions", json_array_size(list) * sizeof *regions);
    status = read_list(list, n_samples, regions, ret_n, err);
    if (status == SLUICE_OK)
        *ret = regions;
    else
        free(regions);
    return status;
}
