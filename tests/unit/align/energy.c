/*
 * Edges by energy on made sounds: bursts of a tone in silence or noise.
 */
#include "unit/test.h"

#include "align/energy.h"

enum { RATE = 16000, N = 2 * RATE };

/* A tone of `loud` from 0.5 to 1.0 s in noise of `quiet`. */
static void make(float *pcm, double loud, double quiet) {
    uint32_t state = 1;
    for (size_t i = 0; i < N; i++) {
        state = state * 1664525 + 1013904223;
        pcm[i] = (float)(quiet * ((double)(state >> 8) / (1 << 23) - 1));
        if (i >= RATE / 2 && i < RATE)
            pcm[i] += (float)(loud * sin(0.2 * (double)i));
    }
}

static void check_trim(const float *pcm, double start, double end, double want_start,
                       double want_end) {
    struct al_energy energy;
    CHECK_INT(al_energy_init(&energy, pcm, N, NULL), 0);
    al_energy_trim(&energy, 30, &start, &end);
    CHECK_NEAR(start, want_start, 0.011);
    CHECK_NEAR(end, want_end, 0.011);
    al_energy_finish(&energy);
}

TEST(a_stretch_becomes_its_loud_part) {
    float *pcm = calloc(N, sizeof *pcm);
    for (int noisy = 0; noisy < 2; noisy++) {
        make(pcm, 0.3, noisy ? 0.03 : 0);
        check_trim(pcm, 0.2, 1.5, 0.5, 1.0);
        check_trim(pcm, 0.6, 1.5, 0.6, 1.0);
        check_trim(pcm, 0.7, 0.8, 0.7, 0.8);
    }
    free(pcm);
}

TEST(the_beginning_of_the_next_word_is_not_of_this_one) {
    float *pcm = calloc(N, sizeof *pcm);
    make(pcm, 0.3, 0);
    for (size_t i = RATE * 13 / 10; i < N; i++)
        pcm[i] = (float)(0.3 * sin(0.2 * (double)i));
    check_trim(pcm, 0.5, 1.32, 0.5, 1.0);
    check_trim(pcm, 0.5, 1.4, 0.5, 1.4); /* too much of it to be an onset */
    for (size_t i = RATE * 21 / 20; i < N; i++)
        pcm[i] = i < RATE * 27 / 25 ? (float)(0.3 * sin(0.2 * (double)i)) : 0;
    check_trim(pcm, 0.5, 1.08, 0.5, 1.08); /* nor is a pause of 50 ms one between words */
    free(pcm);
}

TEST(what_cannot_be_cut_stays) {
    float *pcm = calloc(N, sizeof *pcm);
    make(pcm, 0, 0);
    check_trim(pcm, 0.2, 1.5, 0.2, 1.5);
    make(pcm, 0.3, 0);
    check_trim(pcm, 0.2, 0.505, 0.2, 0.505); /* a loud part of 5 ms is no word */
    check_trim(pcm, 3, 4, 3, 4);
    check_trim(pcm, 0.9, 7, 0.9, 1.0);
    check_trim(pcm, 0.4, 0.4, 0.4, 0.4);
    pcm[RATE / 4] = NAN;
    pcm[RATE / 3] = INFINITY;
    check_trim(pcm, 0.2, 1.5, 0.5, 1.0);
    free(pcm);
    struct al_energy none;
    double start = 0, end = 1;
    CHECK_INT(al_energy_init(&none, NULL, 0, NULL), 0);
    al_energy_trim(&none, 30, &start, &end);
    CHECK_NEAR(end, 1, 0);
    al_energy_finish(&none);
}

TEST_MAIN()
