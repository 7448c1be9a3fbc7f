/*
 * Mixed-radix FFT of real frames: see fft.h.
 *
 * The n real samples are read as n / 2 complex ones, transformed by Stockham's self-sorting scheme
 * with radices 2 to 7 (C. Van Loan, Computational Frameworks for the Fast Fourier Transform, 1.7),
 * and untangled into the spectrum of the real signal. Twiddles are computed in double. There is no
 * inverse transform.
 */
#include "num/fft.h"

#include <math.h>
#include <stdlib.h>

#define B           NUM_FFT_BATCH
#define MAX_FACTORS 32
#define MAX_RADIX   7

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

/* Output k of a butterfly of radix p: y = w sum_j x[j * step] exp(-2 pi i j k / p). */
static void butterfly_output(const struct num_fft *fft, const struct row *x, size_t step, size_t p,
                             size_t k, float w_re, float w_im, struct row *y) {
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

/* Radix 5 with its symmetries: outputs 1 and 4, and 2 and 3, share their sums. `w[k]` turns output
 * k. */
static void butterfly5(const struct row *x, size_t step, const float w_re[5], const float w_im[5],
                       struct row *y, size_t y_step) {
    const float c1 = 0.309016994f, c2 = -0.809016994f; /* cos(2 pi / 5), cos(4 pi / 5) */
    const float s1 = 0.951056516f, s2 = 0.587785252f;  /* sines of the same */
    const struct row *a = x, *b = x + step, *c = x + 2 * step, *d = x + 3 * step, *e = x + 4 * step;
    for (int i = 0; i < B; i++) {
        float p_re = b->re[i] + e->re[i], p_im = b->im[i] + e->im[i];
        float q_re = c->re[i] + d->re[i], q_im = c->im[i] + d->im[i];
        float r_re = b->re[i] - e->re[i], r_im = b->im[i] - e->im[i];
        float t_re = c->re[i] - d->re[i], t_im = c->im[i] - d->im[i];
        float u_re = a->re[i] + c1 * p_re + c2 * q_re, u_im = a->im[i] + c1 * p_im + c2 * q_im;
        float v_re = a->re[i] + c2 * p_re + c1 * q_re, v_im = a->im[i] + c2 * p_im + c1 * q_im;
        float f_re = s1 * r_re + s2 * t_re, f_im = s1 * r_im + s2 * t_im;
        float g_re = s2 * r_re - s1 * t_re, g_im = s2 * r_im - s1 * t_im;
        const float re[5] = {a->re[i] + p_re + q_re, u_re + f_im, v_re + g_im, v_re - g_im,
                             u_re - f_im};
        const float im[5] = {a->im[i] + p_im + q_im, u_im - f_re, v_im - g_re, v_im + g_re,
                             u_im + f_re};
#pragma GCC unroll 5
        for (int k = 0; k < 5; k++) {
            y[(size_t)k * y_step].re[i] = re[k] * w_re[k] - im[k] * w_im[k];
            y[(size_t)k * y_step].im[i] = re[k] * w_im[k] + im[k] * w_re[k];
        }
    }
}

/* One butterfly of radix p, its outputs turned by exp(-2 pi i turn k / n). */
static void butterfly(const struct num_fft *fft, const struct row *x, size_t step, size_t p,
                      size_t turn, struct row *y, size_t y_step) {
    float w_re[MAX_RADIX], w_im[MAX_RADIX];
    for (size_t k = 0; k < p; k++) {
        w_re[k] = fft->re[turn * k % fft->n];
        w_im[k] = fft->im[turn * k % fft->n];
    }
    if (p == 2)
        butterfly2(x, step, w_re[1], w_im[1], y, y_step);
    else if (p == 5)
        butterfly5(x, step, w_re, w_im, y, y_step);
    else
        for (size_t k = 0; k < p; k++)
            butterfly_output(fft, x, step, p, k, w_re[k], w_im[k], y + k * y_step);
}

/* The complex transform of x (half rows); the result is in x or in y, which it returns. */
static struct row *transform(const struct num_fft *fft, struct row *x, struct row *y) {
    size_t n = fft->half, stride = 1;
    for (size_t f = 0; f < fft->n_factors; f++) {
        size_t p = fft->factors[f], m = n / p;
        for (size_t q = 0; q < m; q++)
            for (size_t t = 0; t < stride;
                 t++) /* exp(-2 pi i q / n) is entry 2 q stride of the table */
                butterfly(fft, x + q * stride + t, m * stride, p, 2 * q * stride,
                          y + p * q * stride + t, stride);
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
