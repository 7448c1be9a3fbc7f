/* The rules of the timeline, one case each: pure arithmetic at 1000 samples a second. */
#include "audio/timeline.h"
#include "audio/stated.h"
#include "unit/test.h"

#define RATE 1000

static struct ad_timeline fresh(void) {
    struct ad_timeline tl;
    ad_timeline_init(&tl, RATE);
    return tl;
}

#define CHECK_EDIT(edit, want_pad, want_skip, want_keep)                                           \
    do {                                                                                           \
        struct ad_edit edit_ = (edit);                                                             \
        CHECK_INT(edit_.pad, want_pad);                                                            \
        CHECK_INT(edit_.skip, want_skip);                                                          \
        CHECK_INT(edit_.keep, want_keep);                                                          \
    } while (0)

TEST(contiguous_frames_pass) {
    struct ad_timeline tl = fresh();
    for (int i = 0; i < 10; i++)
        CHECK_EDIT(ad_timeline_place(&tl, i * 100, 100, 0), 0, 0, 100);
    CHECK_INT(tl.position, 1000);
    CHECK_INT(tl.n_gaps + tl.n_overlaps + tl.n_resets, 0);
    CHECK_INT(tl.first_edit_at, -1);
}

TEST(first_frame_is_the_origin) {
    struct ad_timeline tl = fresh();
    CHECK_EDIT(ad_timeline_place(&tl, 123456, 100, 0), 0, 0, 100);
    CHECK_EDIT(ad_timeline_place(&tl, 123556, 100, 0), 0, 0, 100);
    tl = fresh();
    CHECK_EDIT(ad_timeline_place(&tl, -64, 100, 0), 0, 0, 100);
    CHECK_EDIT(ad_timeline_place(&tl, 36, 100, 0), 0, 0, 100);
}

TEST(jitter_is_ignored_and_not_accumulated) {
    struct ad_timeline tl = fresh();
    static const int64_t jitter[] = {0, 30, -30, 12, -29, 7, 30, -1};
    for (int i = 0; i < 800; i++)
        CHECK_EDIT(ad_timeline_place(&tl, i * 23 + (i ? jitter[i % 8] : 0), 23, 0), 0, 0, 23);
    CHECK_INT(tl.position, 800 * 23);
}

TEST(missing_timestamps_follow_on) {
    struct ad_timeline tl = fresh();
    CHECK_EDIT(ad_timeline_place(&tl, AD_NO_PTS, 100, 0), 0, 0, 100);
    CHECK_EDIT(ad_timeline_place(&tl, 100, 100, 0), 0, 0, 100);
    CHECK_EDIT(ad_timeline_place(&tl, AD_NO_PTS, 100, 0), 0, 0, 100);
    CHECK_EDIT(ad_timeline_place(&tl, 300, 100, 0), 0, 0, 100);
}

TEST(gap_is_filled_exactly) {
    struct ad_timeline tl = fresh();
    ad_timeline_place(&tl, 50, 100, 0);
    CHECK_EDIT(ad_timeline_place(&tl, 181, 100, 0), 31, 0, 100); /* one past the jitter limit */
    CHECK_EDIT(ad_timeline_place(&tl, 281 + 3599000, 100, 0), 3599000, 0, 100);
    CHECK_INT(tl.position, 100 + 31 + 100 + 3599000 + 100);
    CHECK_INT(tl.n_gaps, 2);
    CHECK_INT(tl.filled, 31 + 3599000);
    CHECK_INT(tl.first_edit_at, 100);
}

TEST(slow_clock_is_followed) { /* 1 % fewer samples than time: never more than the jitter limit off
                                */
    struct ad_timeline tl = fresh();
    for (int i = 0; i < 1000; i++) {
        ad_timeline_place(&tl, i * 100, 99, 0);
        CHECK(labs(tl.position - (i + 1) * 100) <= 31);
    }
    CHECK(tl.n_gaps >= 30);
}

TEST(lost_frame_makes_small_gaps_count) {
    struct ad_timeline tl = fresh();
    ad_timeline_place(&tl, 0, 20, 0);
    CHECK_EDIT(ad_timeline_place(&tl, 40, 20, 1), 20, 0, 20);
    CHECK_EDIT(ad_timeline_place(&tl, 62, 20, 1), 0, 0, 20); /* rounding is not a gap even then */
}

TEST(overlap_is_trimmed) {
    struct ad_timeline tl = fresh();
    ad_timeline_place(&tl, 0, 500, 0);
    CHECK_EDIT(ad_timeline_place(&tl, 460, 100, 0), 0, 40, 60);
    CHECK_INT(tl.position, 560);
    CHECK_EDIT(ad_timeline_place(&tl, 300, 100, 0), 0, 100, 0); /* all of it was there already */
    CHECK_EDIT(ad_timeline_place(&tl, 400, 200, 0), 0, 160, 40);
    CHECK_INT(tl.position, 600);
    CHECK_INT(tl.trimmed, 40 + 100 + 160);
    CHECK_INT(tl.n_overlaps, 3);
}

TEST(clock_set_back_joins) { /* a chained stream, a counter that wrapped */
    struct ad_timeline tl = fresh();
    for (int i = 0; i < 50; i++)
        ad_timeline_place(&tl, 7000 + i * 100, 100, 0);
    CHECK_EDIT(ad_timeline_place(&tl, 7000, 100, 0), 0, 0, 100);
    CHECK_EDIT(ad_timeline_place(&tl, 7100, 100, 0), 0, 0, 100);
    CHECK_INT(tl.n_resets, 1);
    CHECK_EDIT(ad_timeline_place(&tl, 7300, 100, 0), 100, 0, 100); /* the new clock counts */
}

TEST(short_link_set_back_to_the_start_joins) { /* 0.4 s back, but to the origin: not an overlap */
    struct ad_timeline tl = fresh();
    ad_timeline_place(&tl, 10, 400, 0);
    CHECK_EDIT(ad_timeline_place(&tl, 10, 400, 0), 0, 0, 400);
    CHECK_INT(tl.n_resets, 1);
}

TEST(absurd_step_joins) {
    struct ad_timeline tl = fresh();
    ad_timeline_place(&tl, 0, 100, 0);
    CHECK_EDIT(ad_timeline_place(&tl, 100 + 3601 * RATE, 100, 0), 0, 0, 100);
    CHECK_EDIT(ad_timeline_place(&tl, INT64_MAX - 5, 100, 0), 0, 0, 100);
    CHECK_EDIT(ad_timeline_place(&tl, INT64_MIN + 5, 100, 0), 0, 0, 100);
    CHECK_INT(tl.position, 400);
}

TEST(silence_is_bounded) {
    struct ad_timeline tl = fresh();
    int64_t at = 0;
    for (int i = 0; i < 100; i++, at += 3600 * RATE)
        ad_timeline_place(&tl, at, 1000, 0);
    CHECK(tl.filled <= 86400 * RATE);
    CHECK(tl.filled > 80000 * RATE);
}

TEST(start_pads_and_cuts) {
    struct ad_timeline tl = fresh();
    ad_timeline_start_at(&tl, 0);
    /* Audio begins after the picture. */
    CHECK_EDIT(ad_timeline_place(&tl, 250, 100, 0), 250, 0, 100);
    CHECK_INT(tl.n_gaps, 0);
    tl = fresh();
    ad_timeline_start_at(&tl, 0);
    CHECK_EDIT(ad_timeline_place(&tl, -69, 100, 0), 0, 69, 31); /* before the edit list's start */
    CHECK_EDIT(ad_timeline_place(&tl, 31, 100, 0), 0, 0, 100);
    CHECK_INT(tl.n_overlaps, 0);
    tl = fresh();
    ad_timeline_start_at(&tl, 0);
    /* Within jitter, still to the sample. */
    CHECK_EDIT(ad_timeline_place(&tl, -5, 100, 0), 0, 5, 95);
}

TEST(delay_is_cut_by_count) { /* 50 samples of delay, timestamps rounded down by a little */
    struct ad_timeline tl = fresh();
    ad_timeline_start_at(&tl, 50);
    CHECK_EDIT(ad_timeline_place(&tl, 0, 20, 0), 0, 20, 0);
    CHECK_EDIT(ad_timeline_place(&tl, 19, 20, 0), 0, 20, 0);
    CHECK_EDIT(ad_timeline_place(&tl, 38, 20, 0), 0, 10, 10);
    CHECK_EDIT(ad_timeline_place(&tl, 59, 20, 0), 0, 0, 20);
    CHECK_INT(tl.position, 30);
    tl = fresh(); /* a hole within the delay is not heard */
    ad_timeline_start_at(&tl, 100);
    CHECK_EDIT(ad_timeline_place(&tl, 0, 20, 0), 0, 20, 0);
    CHECK_EDIT(ad_timeline_place(&tl, 80, 60, 0), 0, 20, 40);
    CHECK_INT(tl.n_gaps, 0);
}

TEST(end_cuts) {
    struct ad_timeline tl = fresh();
    ad_timeline_start_at(&tl, 1000);
    ad_timeline_end_at(&tl, 1250);
    CHECK_EDIT(ad_timeline_place(&tl, 1000, 200, 0), 0, 0, 200);
    CHECK_EDIT(ad_timeline_place(&tl, 1200, 200, 0), 0, 0, 50);
    CHECK_EDIT(ad_timeline_place(&tl, 1400, 200, 0), 0, 0, 0);
    CHECK_EDIT(ad_timeline_place(&tl, 1700, 200, 0), 0, 0, 0); /* no silence past the end either */
    CHECK_INT(tl.position, 250);
    tl = fresh();
    ad_timeline_start_at(&tl, 0);
    ad_timeline_end_at(&tl, 150);
    ad_timeline_end_at(&tl, 180); /* the earlier one holds */
    CHECK_EDIT(ad_timeline_place(&tl, 0, 100, 0), 0, 0, 100);
    ad_timeline_end_at(&tl, 50); /* what is out stays */
    CHECK_EDIT(ad_timeline_place(&tl, 100, 100, 0), 0, 0, 0);
}

TEST(fill_to_the_end) {
    struct ad_timeline tl = fresh();
    ad_timeline_place(&tl, 100, 100, 0);
    CHECK_INT(ad_timeline_fill_to(&tl, 150), 0);
    CHECK_INT(ad_timeline_fill_to(&tl, 300), 100);
    CHECK_INT(ad_timeline_fill_to(&tl, 300), 0);
    CHECK_INT(ad_timeline_fill_to(&tl, INT64_MAX), 0);
}

TEST(rate_change_keeps_the_clock) {
    struct ad_timeline tl = fresh();
    ad_timeline_place(&tl, 500, 1000, 0);
    ad_timeline_set_rate(&tl, 4000);
    CHECK_INT(tl.position, 4000);
    CHECK_EDIT(ad_timeline_place(&tl, 6000, 400, 0), 0, 0, 400);
    CHECK_EDIT(ad_timeline_place(&tl, 6400 + 4000, 400, 0), 4000, 0, 400);
    ad_timeline_set_rate(&tl, 1000);
    CHECK_INT(tl.position, 2200);
    CHECK_INT(tl.filled, 1000);
}

TEST(itunsmpb_is_read) {
    int64_t priming = -1;
    CHECK_INT(ad_itunsmpb_parse(" 00000000 00000840 000001CA 00000000003F31F6 00000000 00000000",
                                &priming),
              0x3f31f6);
    CHECK_INT(priming, 0x840);
    priming = -1;
    CHECK_INT(ad_itunsmpb_parse(NULL, &priming), 0);
    CHECK_INT(ad_itunsmpb_parse("", &priming), 0);
    CHECK_INT(ad_itunsmpb_parse("00000000 00000840 000001CA", &priming), 0);
    CHECK_INT(ad_itunsmpb_parse("0 840 1CA 0", &priming), 0);
    CHECK_INT(ad_itunsmpb_parse("0 FFFFFFFF 1CA 100", &priming), 0);
    CHECK_INT(ad_itunsmpb_parse("0 840 1CA FFFFFFFFFFFFFFFF", &priming), 0);
    CHECK_INT(priming, -1);
}

TEST_MAIN()
