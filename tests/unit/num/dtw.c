/*
 * The median filter against sorting, and the path on small cases whose results are known.
 */
#include "unit/test.h"

#include "num/dtw.h"

static int compare_floats(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

TEST(median_of_seven_equals_sorting) {
    float from[40], to[40];
    for (size_t n = 1; n <= 40; n++) {
        for (size_t i = 0; i < n; i++)
            from[i] = (float)(i * 7919 % 31) - 9;
        num_median_filter(from, n, to);
        for (size_t i = 0; i < n; i++) {
            float around[7];
            for (int k = -3; k <= 3; k++) {
                int at = abs((int)i + k), last = (int)n - 1;
                around[k + 3] = from[n <= 3 ? i : (size_t)(at > last ? 2 * last - at : at)];
            }
            qsort(around, 7, sizeof *around, compare_floats);
            CHECK(to[i] == around[3]);
        }
    }
}

TEST(the_path_follows_the_best_fit) {
    const float fit[3 * 5] = {9, 9, -1, -1, -1, -1, -1, 9, -1, -1, -1, -1, -1, 9, 9};
    uint32_t starts[3];
    CHECK_INT(num_dtw(fit, 3, 5, starts, NULL), 0);
    CHECK(starts[0] == 0 && starts[1] == 2 && starts[2] == 3);
    CHECK_INT(num_dtw(fit, 1, 5, starts, NULL), 0);
    CHECK_INT(starts[0], 0);
    CHECK_INT(num_dtw(fit, 3, 1, starts, NULL), 0);
    CHECK(starts[0] == 0 && starts[1] == 0 && starts[2] == 0);
}

TEST_MAIN()
