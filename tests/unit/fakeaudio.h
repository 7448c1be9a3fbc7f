/* Recordings for stages under test: audio/1 as the input `audio` of a fake host. */
#ifndef TESTS_UNIT_FAKEAUDIO_H
#define TESTS_UNIT_FAKEAUDIO_H

#include "unit/fakehost.h"

#include "num/safetensors.h"

/* `n` samples of `rate`, as the metadata says it. */
static inline void fake_input_audio(struct fake_host *h, const float *pcm, size_t n,
                                    const char *rate) {
    struct num_tensor t = {.name = "pcm", .dtype = NUM_F32, .n_dims = 1, .shape = {n}};
    struct num_meta meta = {"sample_rate", rate};
    void *header;
    size_t len;
    CHECK_INT(num_safetensors_header(&t, 1, &meta, 1, 0, &header, &len, NULL), SLUICE_OK);
    char *data = malloc(len + n * sizeof *pcm);
    CHECK(data != NULL);
    memcpy(data, header, len);
    if (n)
        memcpy(data + len, pcm, n * sizeof *pcm);
    fake_input(h, "audio", SLUICE_TYPE_AUDIO, data, len + n * sizeof *pcm);
    free(header);
    free(data);
}

#endif
