/*
 * The samples of an audio/1 artifact: the header is checked once, samples are copied out in small
 * stretches, so memory does not grow with the recording.
 */
#include "audio/vad/samples.h"

#include <string.h>

#include "num/safetensors.h"

int32_t vad_samples_open(const void *data, size_t len, const char *name, struct vad_samples *ret,
                         struct num_err *err) {
    struct num_safetensors st;
    int32_t status = num_safetensors_parse(data, len, name, &st, err);
    if (status != SLUICE_OK)
        return status;
    const struct num_tensor *pcm = num_safetensors_find(&st, "pcm");
    const char *rate = num_safetensors_meta(&st, "sample_rate");
    if (!pcm || pcm->dtype != NUM_F32 || pcm->n_dims != 1)
        status = num_fail(err, SLUICE_INPUT, "%s: has no row of F32 samples called \"pcm\"", name);
    else if (rate && strcmp(rate, "16000") != 0)
        status =
            num_fail(err, SLUICE_INPUT, "%s: its sample rate is \"%s\", not 16000", name, rate);
    else
        *ret = (struct vad_samples){pcm->data, (int64_t)pcm->n_elements};
    num_safetensors_close(&st);
    return status;
}

void vad_samples_read(const struct vad_samples *samples, int64_t at, int64_t n, float *ret) {
    int64_t from = at < 0 ? 0 : at, end = at + n < samples->n ? at + n : samples->n;
    memset(ret, 0, (size_t)n * sizeof *ret);
    if (from >= end)
        return;
    float *to = ret + (from - at);
    memcpy(to, (const char *)samples->data + (size_t)from * sizeof *ret,
           (size_t)(end - from) * sizeof *ret);
    for (int64_t i = 0; i < end - from; i++)
        to[i] = to[i] >= -1 && to[i] <= 1 ? to[i] : to[i] > 1 ? 1 : to[i] < -1 ? -1 : 0;
}
