/* Log-mel frames by num/mel.h, then the cosine transform by a table: see cepstra.h. */
#include "diarize/cepstra.h"

#include <math.h>
#include <stdlib.h>

#define N_BANDS 80
#define BLOCK   256 /* frames at a time */

struct dz_cepstra {
    struct num_mel *mel;
    struct num_pool *pool;
    float cosine[DZ_DIM][N_BANDS];
    float bands[BLOCK * N_BANDS];
};

int32_t dz_cepstra_create(struct num_pool *pool, struct dz_cepstra **ret, struct num_err *err) {
    struct dz_cepstra *c = calloc(1, sizeof *c);
    if (!c)
        return num_fail_memory(err, "the cepstra", sizeof *c);
    c->pool = pool;
    int32_t status = num_mel_create(N_BANDS, &c->mel, err);
    if (status != SLUICE_OK) {
        free(c);
        return status;
    }
    for (size_t i = 0; i < DZ_DIM; i++)
        for (size_t b = 0; b < N_BANDS; b++)
            c->cosine[i][b] = (float)(sqrt((i ? 2.0 : 1.0) / N_BANDS) *
                                      cos(M_PI * (double)i * ((double)b + 0.5) / N_BANDS));
    *ret = c;
    return SLUICE_OK;
}

void dz_cepstra_destroy(struct dz_cepstra *cepstra) {
    if (cepstra)
        num_mel_destroy(cepstra->mel);
    free(cepstra);
}

static void transform(const struct dz_cepstra *c, const float *bands, float *ret) {
    for (size_t i = 0; i < DZ_DIM; i++) {
        float sum = 0;
        for (size_t b = 0; b < N_BANDS; b++)
            sum += c->cosine[i][b] * bands[b];
        ret[i] = sum;
    }
}

int32_t dz_cepstra_compute(struct dz_cepstra *cepstra, const float *pcm, size_t n_samples,
                           size_t first, size_t n, float *ret, struct num_err *err) {
    for (size_t done = 0; done < n; done += BLOCK) {
        size_t count = n - done < BLOCK ? n - done : BLOCK;
        int32_t status = num_mel_log(cepstra->mel, cepstra->pool, pcm, n_samples, first + done,
                                     count, cepstra->bands, err);
        if (status != SLUICE_OK)
            return status;
        for (size_t t = 0; t < count; t++)
            transform(cepstra, cepstra->bands + t * N_BANDS, ret + (done + t) * DZ_DIM);
    }
    return SLUICE_OK;
}
