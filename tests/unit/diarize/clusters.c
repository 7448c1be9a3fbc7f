/* Clustering of embeddings and putting turns together, against slow ways of the same
 * definitions. */
#include "unit/test.h"

#include "diarize/ahc.h"
#include "diarize/neural.h"
#include "diarize/tracks.h"
#include "diarize/vbx.h"

#define DIM 12

static uint64_t random_state = 3;

static double uniform(void) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (double)(random_state >> 11) / (double)(UINT64_C(1) << 53);
}

static double normal(void) {
    return sqrt(-2 * log(1 - uniform())) * cos(2 * M_PI * uniform());
}

/* n unit vectors round n_voices directions. */
static void make_voices(float *x, size_t n, size_t n_voices, double spread) {
    double centres[16][DIM];
    for (size_t k = 0; k < n_voices; k++)
        for (size_t d = 0; d < DIM; d++)
            centres[k][d] = normal();
    for (size_t i = 0; i < n; i++) {
        double row[DIM], square = 0;
        for (size_t d = 0; d < DIM; d++) {
            row[d] = centres[i % n_voices][d] + spread * normal();
            square += row[d] * row[d];
        }
        for (size_t d = 0; d < DIM; d++)
            x[i * DIM + d] = (float)(row[d] / sqrt(square));
    }
}

/* ---- ahc.h ---- */

/* Lance and Williams' recurrence on a matrix of squared distances, all pairs looked at every
 * time. */
static void slow_link(const float *x, size_t n, struct dz_merge *ret) {
    double d[64][64];
    uint32_t node[64], size[64];
    int alive[64];
    for (size_t i = 0; i < n; i++) {
        node[i] = (uint32_t)i;
        size[i] = 1;
        alive[i] = 1;
        for (size_t j = 0; j < n; j++) {
            d[i][j] = 0;
            for (size_t v = 0; v < DIM; v++)
                d[i][j] += ((double)x[i * DIM + v] - x[j * DIM + v]) *
                           ((double)x[i * DIM + v] - x[j * DIM + v]);
        }
    }
    for (size_t m = 0; m + 1 < n; m++) {
        size_t a = 0, b = 0;
        double least = INFINITY;
        for (size_t i = 0; i < n; i++)
            for (size_t j = i + 1; j < n; j++)
                if (alive[i] && alive[j] && d[i][j] < least) {
                    least = d[i][j];
                    a = i;
                    b = j;
                }
        uint32_t low = node[a] < node[b] ? node[a] : node[b];
        ret[m] = (struct dz_merge){low, node[a] + node[b] - low, size[a] + size[b], sqrt(least)};
        double na = size[a], nb = size[b], all = na + nb;
        for (size_t k = 0; k < n; k++)
            if (alive[k] && k != a && k != b)
                d[a][k] = d[k][a] =
                    na / all * d[a][k] + nb / all * d[b][k] - na * nb / (all * all) * least;
        size[a] += size[b];
        node[a] = (uint32_t)(n + m);
        alive[b] = 0;
    }
}

TEST(trees_are_those_of_the_recurrence) {
    for (int round = 0; round < 20; round++) {
        size_t n = 2 + (size_t)round * 3;
        float x[64 * DIM], copy[64 * DIM];
        struct dz_merge quick[64], slow[64];
        make_voices(x, n, 1 + (size_t)round % 5, 0.2 * (round % 4 + 1));
        memcpy(copy, x, sizeof copy);
        slow_link(x, n, slow);
        CHECK_INT(dz_ahc_link(copy, n, DIM, NULL, quick, NULL), SLUICE_OK);
        for (size_t i = 0; i + 1 < n; i++) {
            CHECK_INT(quick[i].a, slow[i].a);
            CHECK_INT(quick[i].b, slow[i].b);
            CHECK_INT(quick[i].size, slow[i].size);
            CHECK_NEAR(quick[i].distance, slow[i].distance, 1e-5);
        }
    }
}

/* Leaves belong together where a node holds both and nothing below it is too high. */
static int together(const struct dz_merge *merges, size_t n, size_t i, size_t j, double threshold) {
    for (size_t m = 0; m + 1 < n; m++) {
        uint32_t stack[128] = {(uint32_t)(n + m)};
        size_t depth = 1;
        int has_i = 0, has_j = 0, low = 1;
        while (depth > 0) {
            uint32_t node = stack[--depth];
            has_i |= node == i;
            has_j |= node == j;
            if (node < n)
                continue;
            low &= merges[node - n].distance <= threshold;
            stack[depth++] = merges[node - n].a;
            stack[depth++] = merges[node - n].b;
        }
        if (has_i && has_j && low)
            return 1;
    }
    return i == j;
}

TEST(cuts_are_what_they_are_called) {
    for (int round = 0; round < 12; round++) {
        enum { N = 30 };
        float x[N * DIM];
        struct dz_merge merges[N];
        uint32_t labels[N], next = 0;
        size_t n = 0;
        make_voices(x, N, 4, 0.6);
        CHECK_INT(dz_ahc_link(x, N, DIM, NULL, merges, NULL), SLUICE_OK);
        double threshold = 0.15 * round;
        CHECK_INT(dz_ahc_cut(merges, N, threshold, labels, &n, NULL), SLUICE_OK);
        for (size_t i = 0; i < N; i++) {
            CHECK(labels[i] <= next);
            next += labels[i] == next;
            for (size_t j = 0; j < i; j++)
                CHECK_INT(labels[i] == labels[j], together(merges, N, i, j, threshold));
        }
        CHECK_INT(n, next);
    }
}

TEST(voices_are_found_and_small_clusters_join) {
    enum { N = 64 };
    float x[N * DIM];
    uint32_t labels[N];
    size_t n = 0;
    make_voices(x, N - 1, 3, 0.1);
    for (size_t d = 0; d < DIM; d++) /* one that is like nobody, but most like the first voice */
        x[(N - 1) * DIM + d] = (float)((d == 0) - 0.2 * x[d]) / 1.2f;
    struct dz_ahc_options options = {0.7, 12, 0, 0};
    CHECK_INT(dz_ahc_cluster(&options, x, N, DIM, NULL, labels, &n, NULL), SLUICE_OK);
    CHECK_INT(n, 3);
    for (size_t i = 0; i + 1 < N; i++)
        CHECK_INT(labels[i], i % 3);
    CHECK(labels[N - 1] < 3);
}

TEST(the_number_of_clusters_can_be_bounded) {
    enum { N = 60 };
    float x[N * DIM];
    uint32_t labels[N];
    make_voices(x, N, 4, 0.3);
    for (size_t k = 1; k <= 6; k++) {
        size_t n = 0;
        struct dz_ahc_options exactly = {0.7, 1, k, k}, most = {0.7, 1, 0, k};
        CHECK_INT(dz_ahc_cluster(&exactly, x, N, DIM, NULL, labels, &n, NULL), SLUICE_OK);
        CHECK_INT(n, k);
        CHECK_INT(dz_ahc_cluster(&most, x, N, DIM, NULL, labels, &n, NULL), SLUICE_OK);
        CHECK(n <= k);
    }
}

TEST(one_vector_and_none_are_clustered) {
    float x[DIM] = {1};
    uint32_t label = 7;
    size_t n = 9;
    struct dz_ahc_options options = {0.7, 12, 0, 0}, two = {0.7, 12, 2, 2};
    CHECK_INT(dz_ahc_cluster(&options, x, 1, DIM, NULL, &label, &n, NULL), SLUICE_OK);
    CHECK_INT(n, 1);
    CHECK_INT(label, 0);
    CHECK_INT(dz_ahc_cluster(&two, x, 1, DIM, NULL, &label, &n, NULL), SLUICE_OK);
    CHECK_INT(n, 1);
    CHECK_INT(dz_ahc_cluster(&options, x, 0, DIM, NULL, &label, &n, NULL), SLUICE_OK);
    CHECK_INT(n, 0);
}

/* ---- vbx.h ---- */

#define VN 40
#define VK 5

struct slow_vbx {
    double share[VN][VK], prior[VK];
};

/* The paper's equations one after the other; logarithms are summed without a shift. */
static double slow_round(struct slow_vbx *v, const double *x, const float *psi, double fa,
                         double fb) {
    double alpha[VK][DIM], inverse[VK][DIM], bound = 0;
    for (size_t k = 0; k < VK; k++)
        for (size_t d = 0; d < DIM; d++) {
            double n = 0, sum = 0;
            for (size_t t = 0; t < VN; t++) {
                n += v->share[t][k];
                sum += v->share[t][k] * x[t * DIM + d] * sqrt(psi[d]);
            }
            inverse[k][d] = 1 / (1 + fa / fb * n * psi[d]);
            alpha[k][d] = fa / fb * inverse[k][d] * sum;
            bound += fb / 2 * (log(inverse[k][d]) - inverse[k][d] - alpha[k][d] * alpha[k][d] + 1);
        }
    for (size_t t = 0; t < VN; t++) {
        double p[VK], all = 0;
        for (size_t k = 0; k < VK; k++) {
            double log_p = 0;
            for (size_t d = 0; d < DIM; d++) {
                double value = x[t * DIM + d];
                log_p += alpha[k][d] * value * sqrt(psi[d]) - 0.5 * value * value -
                         0.5 * log(2 * M_PI) -
                         0.5 * (inverse[k][d] + alpha[k][d] * alpha[k][d]) * psi[d];
            }
            p[k] = exp(fa * log_p) * (v->prior[k] + 1e-8);
            all += p[k];
        }
        bound += log(all);
        for (size_t k = 0; k < VK; k++)
            v->share[t][k] = p[k] / all;
    }
    for (size_t k = 0; k < VK; k++) {
        v->prior[k] = 0;
        for (size_t t = 0; t < VN; t++)
            v->prior[k] += v->share[t][k] / VN;
    }
    return bound;
}

TEST(vbx_is_what_the_paper_says) {
    for (int round = 0; round < 10; round++) {
        double x[VN * DIM], shares[VN * VK], priors[VK];
        float psi[DIM];
        uint32_t labels[VN];
        struct slow_vbx slow;
        double all = exp(7) + VK - 1;
        for (size_t d = 0; d < DIM; d++)
            psi[d] = (float)(4 * uniform());
        for (size_t t = 0; t < VN; t++) {
            labels[t] = (uint32_t)(t % VK);
            for (size_t d = 0; d < DIM; d++)
                x[t * DIM + d] = (t % 3 == d % 3 ? 2.0 : 0.0) + normal();
            for (size_t k = 0; k < VK; k++)
                slow.share[t][k] = (k == labels[t] ? exp(7) : 1) / all;
        }
        for (size_t k = 0; k < VK; k++)
            slow.prior[k] = 1.0 / VK;
        double before = 0;
        for (int i = 0; i < 20; i++) {
            double bound = slow_round(&slow, x, psi, 0.07 * (round + 1), 0.8);
            if (i > 0 && bound - before < 1e-4)
                break;
            CHECK(i == 0 || bound >= before);
            before = bound;
        }
        struct dz_vbx_options options = dz_vbx_defaults;
        options.fa = 0.07 * (round + 1);
        CHECK_INT(dz_vbx_run(&options, x, VN, DIM, psi, labels, VK, shares, priors, NULL),
                  SLUICE_OK);
        for (size_t i = 0; i < (size_t)VN * VK; i++)
            CHECK_NEAR(shares[i], slow.share[i / VK][i % VK], 1e-9);
        for (size_t k = 0; k < VK; k++)
            CHECK_NEAR(priors[k], slow.prior[k], 1e-9);
    }
}

/* ---- dz_match() ---- */

static double best_sum(const double *scores, size_t n, size_t k, size_t s, unsigned taken,
                       size_t left) {
    if (s == n)
        return left == 0 ? 0 : -INFINITY;
    double best = best_sum(scores, n, k, s + 1, taken, left);
    for (size_t c = 0; left > 0 && c < k; c++)
        if (!(taken >> c & 1))
            best = fmax(best, scores[s * k + c] +
                                  best_sum(scores, n, k, s + 1, taken | 1u << c, left - 1));
    return best;
}

TEST(pairs_are_the_best_there_are) {
    for (int round = 0; round < 200; round++) {
        size_t n = 1 + (size_t)round % 4, k = 1 + (size_t)round / 4 % 5;
        double scores[20], sum = 0;
        int8_t pairs[4];
        unsigned taken = 0;
        size_t n_pairs = 0;
        for (size_t i = 0; i < n * k; i++)
            scores[i] = normal();
        dz_match(scores, n, k, pairs);
        for (size_t s = 0; s < n; s++) {
            if (pairs[s] < 0)
                continue;
            CHECK(!(taken >> pairs[s] & 1));
            taken |= 1u << pairs[s];
            sum += scores[s * k + (size_t)pairs[s]];
            n_pairs++;
        }
        CHECK_INT(n_pairs, n < k ? n : k);
        CHECK_NEAR(sum, best_sum(scores, n, k, 0, 0, n_pairs), 1e-9);
    }
}

/* ---- tracks.h ---- */

/* Two windows of ten frames, five frames apart: A alone, both, B alone. */
TEST(turns_are_put_together) {
    uint8_t sets[2][10] = {{1, 1, 1, 1, 3, 3, 2, 2, 2, 0}, {2, 1, 1, 1, 0, 0, 0, 0, 1, 1}};
    int8_t clusters[2][2] = {{4, 9}, {9, 4}};
    struct dz_tracks tracks = {2, 10, 2, 800, 160, 160, &sets[0][0], &clusters[0][0], 2, 1.0};
    uint8_t cluster_of[DZ_MAX_CLUSTERS];
    dz_autoturns turns = {0}, exclusive = {0};
    CHECK_INT(dz_tracks_make(&tracks, &turns, &exclusive, cluster_of, NULL), SLUICE_OK);
    static const struct dz_turn expected[] = {
        {0.005, 0.065, 0}, {0.045, 0.095, 1}, {0.135, 0.155, 1}};
    CHECK_INT(turns.n_turns, 3);
    CHECK_INT(turns.n_speakers, 2);
    CHECK_STR(turns.speakers[1], "SPEAKER_01");
    CHECK_INT(cluster_of[0], 4);
    CHECK_INT(cluster_of[1], 9);
    for (size_t i = 0; i < 3; i++) {
        CHECK_NEAR(turns.turns[i].start, expected[i].start, 1e-9);
        CHECK_NEAR(turns.turns[i].end, expected[i].end, 1e-9);
        CHECK_INT(turns.turns[i].speaker, expected[i].speaker);
    }
    for (size_t i = 1; i < exclusive.n_turns; i++)
        CHECK(exclusive.turns[i].start >= exclusive.turns[i - 1].end);
    CHECK_STR(exclusive.speakers[1], "SPEAKER_01");
}

/* The same by arrays over all frames and clusters. */
TEST(turns_are_those_of_whole_arrays) {
    enum { W = 12, F = 40, L = 3, K = 4, T = 11 * 16 + F + 2 };
    for (int round = 0; round < 30; round++) {
        static uint8_t sets[W * F];
        static int8_t clusters[W * L];
        static double heard[T][K], count[T], windows[T];
        memset(heard, 0, sizeof heard);
        memset(count, 0, sizeof count);
        memset(windows, 0, sizeof windows);
        for (size_t i = 0; i < W * F; i++)
            sets[i] = i % 5 ? sets[i - 1] : (uint8_t)(uniform() * 8);
        for (size_t i = 0; i < W * L; i++)
            clusters[i] = (int8_t)(uniform() * (K + 1) - 1);
        for (size_t w = 0; w < W; w++)
            for (size_t f = 0; f < F; f++) {
                size_t t = (size_t)rint((double)w * 2500 / 160) + f;
                int seen[K] = {0};
                windows[t]++;
                for (size_t s = 0; s < L; s++)
                    if (sets[w * F + f] >> s & 1) {
                        count[t]++;
                        if (clusters[w * L + s] >= 0)
                            seen[clusters[w * L + s]] = 1;
                    }
                for (size_t k = 0; k < K; k++)
                    heard[t][k] += seen[k];
            }
        struct dz_tracks tracks = {W, F, L, 2500, 160, 160, sets, clusters, 2, 100};
        uint8_t cluster_of[DZ_MAX_CLUSTERS];
        dz_autoturns turns = {0}, exclusive = {0};
        CHECK_INT(dz_tracks_make(&tracks, &turns, &exclusive, cluster_of, NULL), SLUICE_OK);
        for (size_t t = 0; t < T; t++) {
            double at = (double)t * 0.01 + 0.006;
            size_t wanted = windows[t] > 0 ? (size_t)rint(count[t] / windows[t]) : 0, n = 0,
                   one = 0;
            wanted = wanted > 2 ? 2 : wanted;
            for (size_t i = 0; i < turns.n_turns; i++) {
                const struct dz_turn *turn = &turns.turns[i];
                if (turn->start > at || turn->end <= at)
                    continue;
                size_t cluster = cluster_of[turn->speaker], louder = 0;
                for (size_t k = 0; k < K; k++)
                    louder += heard[t][k] > heard[t][cluster];
                CHECK(heard[t][cluster] > 0);
                CHECK(louder < wanted);
                n++;
            }
            for (size_t i = 0; i < exclusive.n_turns; i++)
                one += exclusive.turns[i].start <= at && exclusive.turns[i].end > at;
            size_t there = 0;
            for (size_t k = 0; k < K; k++)
                there += heard[t][k] > 0;
            CHECK_INT(n, wanted < there ? wanted : there);
            CHECK_INT(one, n > 0);
        }
    }
}

TEST_MAIN()
