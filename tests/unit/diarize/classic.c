/* The engine of diarize/speakers: distributions, clustering, decoding, and the whole on made
 * sounds. */
#include "unit/test.h"

#include "diarize/bic.h"
#include "diarize/cepstra.h"
#include "diarize/classic.h"
#include "diarize/viterbi.h"

static uint64_t random_state = 1;

static double uniform(void) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (double)(random_state >> 11) / (double)(UINT64_C(1) << 53);
}

static double normal(void) {
    return sqrt(-2 * log(1 - uniform())) * cos(2 * M_PI * uniform());
}

static const double no_floor[DZ_DIM];
static const double small_floor[DZ_DIM] = {1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3,
                                           1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3,
                                           1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3};

/* n frames around `centre`, each value `spread` wide, neighbours correlated. */
static void make_frames(float *frames, size_t n, double centre, double spread) {
    for (size_t t = 0; t < n; t++) {
        double before = 0;
        for (size_t i = 0; i < DZ_DIM; i++) {
            before = 0.5 * before + normal();
            frames[t * DZ_DIM + i] = (float)(centre * (i % 3 == 0) + spread * before);
        }
    }
}

/* ---- gauss.h ---- */

TEST(the_determinant_of_independent_values_is_the_product_of_variances) {
    struct dz_stats stats = {0};
    float frames[2 * DZ_DIM * DZ_DIM] = {0};
    for (size_t i = 0; i < DZ_DIM; i++) { /* value i is +-(i + 1) in two frames, 0 elsewhere */
        frames[2 * i * DZ_DIM + i] = (float)(i + 1);
        frames[(2 * i + 1) * DZ_DIM + i] = -(float)(i + 1);
    }
    double expected = 0;
    for (size_t i = 0; i < DZ_DIM; i++)
        expected += log((double)((i + 1) * (i + 1)) / DZ_DIM);
    dz_stats_add(&stats, frames, 2 * (size_t)DZ_DIM);
    CHECK_NEAR(dz_stats_log_det(&stats, no_floor), expected, 1e-9);
}

TEST(sums_of_parts_are_those_of_the_whole) {
    static float frames[100 * DZ_DIM];
    struct dz_stats whole = {0}, first = {0}, second = {0};
    make_frames(frames, 100, 1, 1);
    dz_stats_add(&whole, frames, 100);
    dz_stats_add(&first, frames, 30);
    dz_stats_add(&second, frames + (size_t)30 * DZ_DIM, 70);
    dz_stats_join(&first, &second);
    CHECK_NEAR(dz_stats_log_det(&first, no_floor), dz_stats_log_det(&whole, no_floor), 1e-9);
}

/* With a covariance that is known to be diagonal, the density is a product of simple ones. */
TEST(the_likelihood_is_that_of_the_density) {
    struct dz_stats stats = {.n = 4};
    float frame[DZ_DIM];
    double expected = 0;
    for (size_t i = 0; i < DZ_DIM; i++) {
        double mean = 0.1 * (double)i, variance = 1 + 0.2 * (double)i;
        stats.sum[i] = 4 * mean;
        for (size_t j = 0; j < i; j++)
            stats.product[i * (i + 1) / 2 + j] = 4 * mean * 0.1 * (double)j;
        stats.product[i * (i + 1) / 2 + i] = 4 * (variance + mean * mean);
        frame[i] = (float)(mean + 0.5);
        expected -= 0.5 * (log(2 * M_PI * variance) + 0.25 / variance);
    }
    struct dz_gauss gauss;
    dz_gauss_init(&gauss, &stats, no_floor);
    CHECK_NEAR(dz_gauss_log_likelihood(&gauss, frame), expected, 1e-4);
}

/* ---- bic.h ---- */

/* Clustering by definition: every pair is weighed anew before every merge. */
static size_t slow_cluster(const struct dz_bic *bic, struct dz_stats *stats, size_t n) {
    for (;;) {
        double least = INFINITY;
        size_t a = 0, b = 0;
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < i; j++) {
                struct dz_stats both = stats[i];
                dz_stats_join(&both, &stats[j]);
                double cost = both.n * dz_stats_log_det(&both, bic->floor) -
                              stats[i].n * dz_stats_log_det(&stats[i], bic->floor) -
                              stats[j].n * dz_stats_log_det(&stats[j], bic->floor) -
                              bic->penalty * (DZ_DIM + DZ_PAIRS) * log(both.n);
                if (cost < least) {
                    least = cost;
                    a = j;
                    b = i;
                }
            }
        size_t floor_n = bic->at_least ? bic->at_least : 1;
        if (n <= floor_n || (least >= 0 && (bic->at_most == 0 || n <= bic->at_most)))
            return n;
        dz_stats_join(&stats[a], &stats[b]);
        memmove(&stats[b], &stats[b + 1], (n - b - 1) * sizeof *stats);
        n--;
    }
}

#define N_SETS 24

TEST(clustering_merges_as_its_definition_says) {
    static float frames[60 * DZ_DIM];
    for (int round = 0; round < 6; round++) {
        static struct dz_stats quick[N_SETS], slow[N_SETS];
        memset(quick, 0, sizeof quick);
        for (size_t i = 0; i < N_SETS; i++) {
            make_frames(frames, 60, (double)(i % 3) * 0.8 * round, 1 + 0.3 * (double)(i % 2));
            dz_stats_add(&quick[i], frames, 60);
        }
        memcpy(slow, quick, sizeof slow);
        struct dz_bic bic = {0.5 + 0.4 * round, small_floor, round == 4 ? 7 : 0,
                             round == 5 ? 2 : 0};
        size_t n = 0;
        CHECK_INT(dz_bic_cluster(&bic, quick, N_SETS, &n, NULL), SLUICE_OK);
        CHECK_INT(n, slow_cluster(&bic, slow, N_SETS));
        for (size_t i = 0; i < n; i++) {
            CHECK_NEAR(quick[i].n, slow[i].n, 0);
            CHECK_NEAR(quick[i].sum[0], slow[i].sum[0], 1e-6);
        }
    }
}

TEST(clusters_are_those_of_the_sources) {
    static float frames[100 * DZ_DIM];
    static struct dz_stats stats[30];
    for (size_t i = 0; i < 30; i++) {
        make_frames(frames, 100, (double)(i % 3) * 4, 1);
        dz_stats_add(&stats[i], frames, 100);
    }
    struct dz_bic bic = {2, small_floor, 0, 0};
    size_t n = 0;
    CHECK_INT(dz_bic_cluster(&bic, stats, 30, &n, NULL), SLUICE_OK);
    CHECK_INT(n, 3);
    for (size_t i = 0; i < n; i++)
        CHECK_NEAR(stats[i].sum[0] / stats[i].n, 4.0 * (double)i, 0.3);
}

TEST(one_set_and_none_stay_what_they_are) {
    struct dz_stats one = {.n = 3};
    struct dz_bic bic = {2, small_floor, 0, 0};
    size_t n = 7;
    CHECK_INT(dz_bic_cluster(&bic, &one, 1, &n, NULL), SLUICE_OK);
    CHECK_INT(n, 1);
    CHECK_INT(dz_bic_cluster(&bic, &one, 0, &n, NULL), SLUICE_OK);
    CHECK_INT(n, 0);
}

/* ---- viterbi.h ---- */

#define N_STATES 3
#define N_STEPS  8

static double score_of(const struct dz_gauss *g, const float *frames, const unsigned *path,
                       double change_cost) {
    double score = 0;
    for (size_t t = 0; t < N_STEPS; t++) {
        score += dz_gauss_log_likelihood(&g[path[t]], frames + t * DZ_DIM);
        score -= t > 0 && path[t] != path[t - 1] ? change_cost : 0;
    }
    return score;
}

TEST(no_other_sequence_is_likelier) {
    struct dz_gauss g[N_STATES];
    static float frames[50 * DZ_DIM];
    for (size_t s = 0; s < N_STATES; s++) {
        struct dz_stats stats = {0};
        make_frames(frames, 50, (double)s * 0.5, 1);
        dz_stats_add(&stats, frames, 50);
        dz_gauss_init(&g[s], &stats, small_floor);
    }
    for (int round = 0; round < 10; round++) {
        for (size_t t = 0; t < N_STEPS; t++)
            make_frames(frames + t * DZ_DIM, 1, uniform(), 1);
        struct dz_viterbi *v = NULL;
        uint16_t found[N_STEPS];
        unsigned path[N_STEPS];
        CHECK_INT(dz_viterbi_create(g, N_STATES, 2.0f, N_STEPS, &v, NULL), SLUICE_OK);
        dz_viterbi_run(v, frames, N_STEPS, found);
        dz_viterbi_destroy(v);
        double best = -INFINITY;
        for (unsigned code = 0; code < 6561; code++) { /* 3^8 */
            for (unsigned t = 0, c = code; t < N_STEPS; t++, c /= N_STATES)
                path[t] = c % N_STATES;
            best = fmax(best, score_of(g, frames, path, 2));
        }
        for (size_t t = 0; t < N_STEPS; t++)
            path[t] = found[t];
        CHECK_NEAR(score_of(g, frames, path, 2), best, 1e-3);
    }
}

TEST(blocks_continue_each_other) {
    struct dz_gauss g[2];
    static float frames[1000 * DZ_DIM];
    for (size_t s = 0; s < 2; s++) {
        struct dz_stats stats = {0};
        make_frames(frames, 1000, (double)s, 1);
        dz_stats_add(&stats, frames, 1000);
        dz_gauss_init(&g[s], &stats, small_floor);
    }
    make_frames(frames, 20, 0, 1);
    make_frames(frames + (size_t)20 * DZ_DIM, 20, 1, 1);
    struct dz_viterbi *v = NULL;
    uint16_t found[40];
    CHECK_INT(dz_viterbi_create(g, 2, 30, 20, &v, NULL), SLUICE_OK);
    dz_viterbi_run(v, frames, 20, found);
    dz_viterbi_run(v, frames + (size_t)20 * DZ_DIM, 20, found + 20);
    dz_viterbi_destroy(v);
    for (size_t t = 0; t < 20; t++)
        CHECK_INT(found[t], 0);
    CHECK_INT(found[39], 1);
}

/* ---- the whole ---- */

/* A buzz of `pitch` Hz through a resonance at `formant` Hz, with some noise: a vowel of a voice. */
static void make_sound(float *pcm, size_t n, double pitch, double formant) {
    double y1 = 0, y2 = 0, r = 0.97, angle = 2 * M_PI * formant / 16000;
    for (size_t i = 0; i < n; i++) {
        double wobble = 1 + 0.05 * sin(2 * M_PI * 3 * (double)i / 16000);
        double pulse = fmod((double)i * pitch * wobble / 16000, 1) < pitch / 16000 ? 1 : 0;
        double y = 2 * r * cos(angle * wobble) * y1 - r * r * y2 + pulse + 0.02 * normal();
        y2 = y1;
        y1 = y;
        pcm[i] = (float)(0.05 * y);
    }
}

struct probe {
    int cancel_after, n_calls;
    double last;
};

static bool probe_cancelled(void *ctx) {
    struct probe *p = ctx;
    return p->cancel_after >= 0 && p->n_calls++ >= p->cancel_after;
}

static void probe_progress(void *ctx, double fraction) {
    struct probe *p = ctx;
    CHECK(fraction >= p->last - 1e-9 && fraction <= 1);
    p->last = fraction;
}

static int32_t run(const float *pcm, size_t n, const struct dz_span *spans, size_t n_spans,
                   struct dz_classic_options options, int cancel_after, struct dz_turns *ret) {
    static float embeddings[DZ_MAX_SPEAKERS * DZ_EMBEDDING_SIZE];
    struct num_pool *pool = NULL;
    struct num_err err = {0};
    struct probe probe = {cancel_after, 0, 0};
    struct num_watch watch = {&probe, probe_cancelled, probe_progress};
    CHECK_INT(num_pool_create(1, &pool, &err), SLUICE_OK);
    int32_t status =
        dz_classic_run(pcm, n, spans, n_spans, &options, pool, &watch, ret, embeddings, &err);
    num_pool_destroy(pool);
    if (status == SLUICE_OK)
        CHECK_NEAR(probe.last, ret->n_turns ? 1.0 : 0.2, 1e-9);
    return status;
}

#define N_PARTS 8
#define PART    48000 /* samples: 3 s */

static float *make_dialogue(struct dz_span *spans) {
    float *pcm = calloc((size_t)N_PARTS * PART, sizeof *pcm);
    CHECK(pcm);
    for (size_t i = 0; i < N_PARTS; i++) {
        make_sound(pcm + i * PART, PART, i % 2 ? 210 : 110, i % 2 ? 1500 : 700);
        spans[i] = (struct dz_span){i * PART / 160 + (i > 0), PART / 160 - (i > 0)};
    }
    return pcm;
}

TEST(two_voices_are_told_apart) {
    struct dz_span spans[N_PARTS];
    float *pcm = make_dialogue(spans);
    dz_autoturns turns = {0};
    CHECK_INT(run(pcm, (size_t)N_PARTS * PART, spans, N_PARTS,
                  (struct dz_classic_options){2.2, 0, 0}, -1, &turns),
              SLUICE_OK);
    CHECK_INT(turns.n_speakers, 2);
    CHECK_INT(turns.n_turns, N_PARTS);
    CHECK_STR(turns.speakers[0], "SPEAKER_00");
    for (size_t i = 0; i < N_PARTS; i++) {
        CHECK_INT(turns.turns[i].speaker, i % 2);
        CHECK_NEAR(turns.turns[i].start, 3.0 * (double)i, 0.02);
    }
    free(pcm);
}

TEST(the_number_of_speakers_can_be_told) {
    struct dz_span spans[N_PARTS];
    float *pcm = make_dialogue(spans);
    for (uint32_t k = 1; k <= 3; k++) {
        dz_autoturns turns = {0};
        CHECK_INT(run(pcm, (size_t)N_PARTS * PART, spans, N_PARTS,
                      (struct dz_classic_options){2.2, k, k}, -1, &turns),
                  SLUICE_OK);
        CHECK(turns.n_speakers <= k && (k > 2 || turns.n_speakers == k));
    }
    free(pcm);
}

TEST(little_speech_is_one_speaker_and_none_is_nobody) {
    float pcm[3200];
    make_sound(pcm, 3200, 110, 700);
    struct dz_span spans[] = {{2, 5}, {10, 4}};
    dz_autoturns turns = {0}, none = {0};
    CHECK_INT(run(pcm, 3200, spans, 2, (struct dz_classic_options){2.2, 0, 0}, -1, &turns),
              SLUICE_OK);
    CHECK_INT(turns.n_speakers, 1);
    CHECK_INT(turns.n_turns, 2);
    CHECK_INT(run(pcm, 3200, spans, 0, (struct dz_classic_options){2.2, 0, 0}, -1, &none),
              SLUICE_OK);
    CHECK_INT(none.n_turns, 0);
}

TEST(digital_silence_is_no_trouble) {
    float *pcm = calloc(160000, sizeof *pcm);
    struct dz_span spans[] = {{0, 1000}};
    dz_autoturns turns = {0};
    CHECK(pcm);
    CHECK_INT(run(pcm, 160000, spans, 1, (struct dz_classic_options){2.2, 0, 0}, -1, &turns),
              SLUICE_OK);
    CHECK_INT(turns.n_speakers, 1);
    free(pcm);
}

TEST(it_stops_when_told_to) {
    struct dz_span spans[N_PARTS];
    float *pcm = make_dialogue(spans);
    for (int after = 0; after < 5; after++) {
        dz_autoturns turns = {0};
        CHECK_INT(run(pcm, (size_t)N_PARTS * PART, spans, N_PARTS,
                      (struct dz_classic_options){2.2, 0, 0}, after, &turns),
                  SLUICE_CANCELLED);
        CHECK(turns.turns == NULL);
    }
    free(pcm);
}

TEST_MAIN()
