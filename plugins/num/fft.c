/*
 * Mixed-radix FFT of real frames: see fft.h.
 *
 * The n real samples are read as n / 2 complex ones, transformed by Stockham's self-sorting scheme with radices
 * 2, 3, 5, 7 (C. Van Loan, Computational Frameworks for the Fast Fourier Transform, 1.7), and untangled into the
 * spectrum of the real signal. Twiddles are computed in double. There is no inverse transform.
 */
#include "num/fft.h"

#include <math.h>
#include <stdlib.h>

#define B NUM_FFT_BATCH
#define MAX_FACTORS 32
#define MAX_RADIX 7

struct num_fft {
    size_t n, half;
    size_t n_factors, factors[MAX_FACTORS];
    float *re, *im; /* exp(-2 pi i k / n), k in [0, n) */
};

int32_t num_fft_create(size_t n, struct num_fft **ret, struct num_err *err) {
    struct num_fft *fft = calloc(1, sizeof *fft);
    float *re = calloc(n ? n : 1, sizeof *re), *im = calloc(n ? n : 1, sizeof *im);
    if (!fft || !re || !im) {
        free(fft);
        free(re);
        free(im);
        return num_fail_memory(err, "a Fourier transform", n * sizeof *re * 2);
    }
    *fft = (struct num_fft){.n = n, .half = n / 2, .re = re, .im = im};
    size_t rest = n / 2;
    for (size_t p = 2; p <= MAX_RADIX; p++)
        for (; rest && rest % p == 0 && fft->n_factors < MAX_FACTORS; rest /= p)
            fft->factors[fft->n_factors++] = p;
    if (n % 2 || rest != 1) {
        num_fft_destroy(fft);
        return num_fail(err, SLUICE_UNSUPPORTED, "no Fourier transform of %zu samples", n);
    }
    for (size_t k = 0; k < n; k++) {
        re[k] = (float)cos(2 * M_PI * (double)k / (double)n);
        im[k] = (float)-sin(2 * M_PI * (double)k / (double)n);
    }
    *ret = fft;
    return SLUICE_OK;
}

void num_fft_destroy(struct num_fft *fft) {
    if (!fft)
        return;
    free(fft->re);
    free(fft->im);
    free(fft);
}

size_t num_fft_work(const struct num_fft *fft) {
    return 4 * fft->half * B;
}

/* One complex value of each frame. */
struct row {
    float re[B], im[B];
};

/* y = (sum_j x[j * step] * exp(-2 pi i j k / p)) * w, for the output k of a butterfly of radix p. */
static void butterfly_output(const struct num_fft *fft, const struct row *x, size_t step, size_t p, size_t k,
                             float w_re, float w_im, struct row *y) {
    float re[B], im[B];
    for (int i = 0; i < B; i++) {
        re[i] = x->re[i];
        im[i] = x->im[i];
    }
    for (size_t j = 1; j < p; j++) {
        const struct row *from = x + j * step;
        size_t turn = j * k % p * (fft->n / p);
        float c = fft->re[turn], s = fft->im[turn];
        for (int i = 0; i < B; i++) {
            re[i] += from->re[i] * c - from->im[i] * s;
            im[i] += from->re[i] * s + from->im[i] * c;
        }
    }
    for (int i = 0; i < B; i++) {
        y->re[i] = re[i] * w_re - im[i] * w_im;
        y->im[i] = re[i] * w_im + im[i] * w_re;
    }
}

static void butterfly2(const struct row *x, size_t step, float w_re, float w_im, struct row *y,
                       size_t y_step) {
    const struct row *a = x, *b = x + step;
    struct row *sum = y, *diff = y + y_step;
    for (int i = 0; i < B; i++) {
        float re = a->re[i] - b->re[i], im = a->im[i] - b->im[i];
        sum->re[i] = a->re[i] + b->re[i];
        sum->im[i] = a->im[i] + b->im[i];
        diff->re[i] = re * w_re - im * w_im;
        diff->im[i] = re * w_im + im * w_re;
    }
}

/* The complex transform of x (half rows); the result is in x or in y, which it returns. */
static struct row *transform(const struct num_fft *fft, struct row *x, struct row *y) {
    size_t n = fft->half, stride = 1;
    for (size_t f = 0; f < fft->n_factors; f++) {
        size_t p = fft->factors[f], m = n / p;
        for (size_t q = 0; q < m; q++)
            for (size_t t = 0; t < stride; t++) {
                const struct row *from = x + q * stride + t;
                struct row *to = y + p * q * stride + t;
                size_t turn = 2 * q * stride; /* exp(-2 pi i q / n) in the table of fft->n */
                if (p == 2)
                    butterfly2(from, m * stride, fft->re[turn], fft->im[turn], to, stride);
                else
                    for (size_t k = 0; k < p; k++)
                        butterfly_output(fft, from, m * stride, p, k, fft->re[turn * k % fft->n],
                                         fft->im[turn * k % fft->n], to + k * stride);
            }
        n = m;
        stride *= p;
        struct row *swap = x;
        x = y;
        y = swap;
    }
    return x;
}

void num_fft_power(const struct num_fft *fft, const float *x, float *work, float *ret) {
    size_t half = fft->half;
    struct row *a = (struct row *)work, *b = a + half;
    for (size_t j = 0; j < half; j++)
        for (int i = 0; i < B; i++) {
            a[j].re[i] = x[2 * j * B + (size_t)i];
            a[j].im[i] = x[(2 * j + 1) * B + (size_t)i];
        }
    const struct row *z = transform(fft, a, b);
    for (size_t k = 0; k <= half; k++) {
        const struct row *u = &z[k % half], *v = &z[(half - k) % half];
        float c = k < half ? fft->re[k] : -1, s = k < half ? fft->im[k] : 0;
        for (int i = 0; i < B; i++) {
            float even_re = (u->re[i] + v->re[i]) / 2, even_im = (u->im[i] - v->im[i]) / 2;
            float odd_re = (u->im[i] + v->im[i]) / 2, odd_im = (v->re[i] - u->re[i]) / 2;
            float re = even_re + odd_re * c - odd_im * s, im = even_im + odd_re * s + odd_im * c;
            ret[k * B + (size_t)i] = re * re + im * im;
        }
    }
}
