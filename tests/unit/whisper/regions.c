/*
 * Regions of speech and the spans made of them: what is accepted, and that spans cover all speech,
 * fit a window, and are cut where it is quiet.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "num/philox.h"
#include "unit/test.h"

#include "whisper/regions.h"

#define RATE 16000

static size_t parse(const char *json, size_t n_samples, struct wh_region **ret) {
    struct num_err err;
    size_t n;
    if (wh_regions_parse(json, strlen(json), n_samples, ret, &n, &err))
        TEST_FAIL("%s", err.text);
    return n;
}

static void check_refused(const char *json, const char *why) {
    struct wh_region *regions;
    struct num_err err = {0};
    size_t n;
    CHECK_INT(wh_regions_parse(json, strlen(json), RATE, &regions, &n, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, why);
}

TEST(regions_are_sorted_joined_and_cut_to_the_audio) {
    struct wh_region *r;
    size_t n =
        parse("{\"regions\": [{\"start\": 2, \"end\": 3.5, \"score\": 0.9}, {\"start\": 0.25,"
              " \"end\": 1}, {\"start\": 3, \"end\": 3.25}, {\"start\": 5, \"end\": 5},"
              " {\"start\": 9, \"end\": 1e300}, {\"start\": 1, \"end\": 1.5},"
              " {\"start\": 11, \"end\": 12}]}",
              10 * RATE, &r);
    const struct wh_region want[] = {
        {4000, 16000}, {16000, 24000}, {32000, 56000}, {144000, 160000}};
    CHECK_INT(n, 4);
    CHECK(memcmp(r, want, sizeof want) == 0);
    free(r);
    CHECK_INT(parse("{\"regions\": []}", RATE, &r), 0);
    CHECK(r != NULL);
    free(r);
}

TEST(other_content_is_refused) {
    check_refused("", "not an object with a list");
    check_refused("[]", "not an object with a list");
    check_refused("{\"regions\": {}}", "not an object with a list");
    check_refused("{\"regions\": [{\"start\": 1}]}", "region 0 has no start and end");
    check_refused("{\"regions\": [{\"start\": 0, \"end\": 1}, {\"start\": 2, \"end\": 1}]}",
                  "region 1");
    check_refused("{\"regions\": [{\"start\": -1, \"end\": 1}]}", "region 0");
    check_refused("{\"regions\": [{\"start\": \"0\", \"end\": 1}]}", "region 0");
    check_refused("{\"regions\": [7]}", "region 0");
}

static size_t merge(const float *pcm, const struct wh_region *regions, size_t n, size_t longest,
                    struct wh_span **ret) {
    struct num_err err;
    size_t n_spans;
    CHECK_INT(wh_regions_merge(pcm, regions, n, longest, ret, &n_spans, &err), 0);
    return n_spans;
}

TEST(neighbours_share_a_span_as_long_as_they_fit) {
    static float pcm[60 * RATE];
    const struct wh_region regions[] = {{RATE + 7, 5 * RATE},
                                        {6 * RATE, 11 * RATE}, /* to the sample: 10 s from 1 s on */
                                        {11 * RATE + 1, 12 * RATE},
                                        {30 * RATE, 40 * RATE}};
    struct wh_span *spans;
    CHECK_INT(merge(pcm, regions, 4, 10 * RATE, &spans), 3);
    CHECK(spans[0].first == RATE && spans[0].n == 10 * RATE);
    CHECK(spans[1].first == 11 * RATE && spans[1].n == RATE);
    CHECK(spans[2].first == 30 * RATE && spans[2].n == 10 * RATE);
    free(spans);
    CHECK_INT(merge(pcm, regions, 0, 10 * RATE, &spans), 0);
    CHECK(spans != NULL);
    free(spans);
}

TEST(long_speech_is_cut_in_a_pause) {
    enum { N = 25 * RATE };
    float *pcm = malloc(N * sizeof *pcm);
    for (size_t i = 0; i < N; i++) {
        bool pause = i / RATE == 3 || (i >= 7 * RATE && i < 7 * RATE + 4800) ||
                     (i >= 14 * RATE && i < 14 * RATE + 4800);
        pcm[i] = pause ? 0.001f : i % 100 == 0 ? NAN : i % 2 ? 0.5f : -0.5f;
    }
    struct wh_span *spans;
    CHECK_INT(merge(pcm, &(struct wh_region){0, N}, 1, 10 * RATE, &spans), 4);
    /* the pause at 3 s is not in the second half of a window */
    CHECK(spans[0].n > 7 * RATE && spans[0].n < 7 * RATE + 4800);
    size_t second = spans[1].first + spans[1].n;
    CHECK(second > 14 * RATE && second < 14 * RATE + 4800);
    CHECK(spans[2].n >= 5 * RATE && spans[2].n <= 10 * RATE);
    free(spans);
    free(pcm);
}

/* Random regions: spans are in order, at frames, no longer than asked for, and lose no speech. */
TEST(spans_cover_all_speech) {
    enum { N = 120 * RATE };
    float *pcm = malloc(N * sizeof *pcm);
    uint32_t n_cut = 0, n_merged = 0;
    for (size_t i = 0; i < N; i++)
        pcm[i] = (float)num_uniform(
            num_philox((struct num_philox){{(uint32_t)(i / 4), 1, 2, 3}}, 4).v[i % 4]);
    for (uint32_t round = 0; round < 200; round++) {
        struct wh_region regions[200];
        size_t n = 0, at = 0, longest;
        for (uint32_t i = 0; i < 200; i++) {
            struct num_philox v = num_philox((struct num_philox){{i, round, 0, 0}}, 9);
            size_t first = at + v.v[0] % (v.v[1] % 3 ? 2000 : 60000);
            size_t end = first + 1 + v.v[2] % (v.v[3] % 8 ? 30000 : 700000);
            if (end > N)
                break;
            regions[n++] = (struct wh_region){first, end};
            at = end;
        }
        longest = RATE + num_philox((struct num_philox){{0, round, 1, 0}}, 9).v[0] % (29 * RATE);
        struct wh_span *spans;
        size_t n_spans = merge(pcm, regions, n, longest, &spans), s = 0;
        for (size_t i = 0; i < n_spans; i++) {
            CHECK(spans[i].first % 160 == 0 && spans[i].n >= 160 && spans[i].n <= longest);
            CHECK(spans[i].first + spans[i].n <= N);
            CHECK(i == 0 || spans[i].first + 160 > spans[i - 1].first + spans[i - 1].n);
        }
        for (size_t i = 0; i < n; i++) {
            size_t covered = regions[i].first;
            while (s < n_spans && spans[s].first <= covered && covered < regions[i].end)
                covered =
                    spans[s].first + spans[s].n > covered ? spans[s].first + spans[s].n : covered,
                s += spans[s].first + spans[s].n < regions[i].end;
            CHECK(covered + 160 > regions[i].end); /* less than a frame is no span */
            s -= s > 0;
        }
        n_cut += n_spans > n;
        n_merged += n_spans < n;
        free(spans);
    }
    printf("  more spans than regions %u times, fewer %u times\n", n_cut, n_merged);
    CHECK(n_merged > 20);
    free(pcm);
}

TEST_MAIN()
