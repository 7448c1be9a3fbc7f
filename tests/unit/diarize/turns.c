/* Speaker turns: turns/1 and RTTM in and out, and the track without overlap. */
#include "unit/test.h"

#include "diarize/turns.h"

static struct dz_turns read_json(const char *json, int exclusive) {
    struct dz_turns turns = {0};
    struct num_err err = {0};
    if (dz_turns_read(json, strlen(json), exclusive, NULL, &turns, &err) != SLUICE_OK)
        TEST_FAIL("%s", err.text);
    return turns;
}

static void check_turn(const struct dz_turns *t, size_t i, double start, double end,
                       const char *speaker) {
    CHECK(i < t->n_turns);
    CHECK_NEAR(t->turns[i].start, start, 1e-9);
    CHECK_NEAR(t->turns[i].end, end, 1e-9);
    CHECK_STR(t->speakers[t->turns[i].speaker], speaker);
}

#define TWO                                                                                        \
    "{\"turns\": [{\"start\": 2, \"end\": 5.5, \"speaker\": \"B\"},"                               \
    "{\"start\": 0, \"end\": 4, \"speaker\": \"A\"}], "                                            \
    "\"exclusive\": [{\"start\": 0, \"end\": 3, \"speaker\": \"A\"}]}"

TEST(turns_are_sorted_by_start) {
    dz_autoturns turns = read_json(TWO, 0);
    CHECK_INT(turns.n_turns, 2);
    check_turn(&turns, 0, 0, 4, "A");
    check_turn(&turns, 1, 2, 5.5, "B");
}

TEST(the_exclusive_track_is_taken_where_there_is_one) {
    dz_autoturns turns = read_json(TWO, 1);
    CHECK_INT(turns.n_turns, 1);
    check_turn(&turns, 0, 0, 3, "A");
    dz_autoturns other =
        read_json("{\"turns\": [{\"start\": 1, \"end\": 2, \"speaker\": \"x\"}]}", 1);
    CHECK_INT(other.n_turns, 1);
}

TEST(what_is_no_turns_is_refused_with_its_place) {
    static const struct {
        const char *json, *says;
    } table[] = {
        {"{", "not JSON"},
        {"[]", "turns: expected a list"},
        {"{\"turns\": [{}]}", "turns[0].start"},
        {"{\"turns\": [{\"start\": 2, \"end\": 1, \"speaker\": \"A\"}]}", "turns[0].end"},
        {"{\"turns\": [{\"start\": -1, \"end\": 1, \"speaker\": \"A\"}]}", "turns[0].start: -1"},
        {"{\"turns\": [{\"start\": 0, \"end\": 1e9, \"speaker\": \"A\"}]}", "turns[0].end"},
        {"{\"turns\": [{\"start\": 0, \"end\": 1, \"speaker\": \"\"}]}", "turns[0].speaker"},
        {"{\"turns\": [], \"exclusive\": 3}", "exclusive: expected a list"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct dz_turns turns = {0};
        struct num_err err = {0};
        CHECK_INT(dz_turns_read(table[i].json, strlen(table[i].json), 1, NULL, &turns, &err),
                  SLUICE_INPUT);
        CHECK_HAS(err.text, table[i].says);
        CHECK(turns.turns == NULL);
    }
}

TEST(without_overlap_the_first_one_goes_on) {
    dz_autoturns turns = read_json("{\"turns\": [{\"start\": 0, \"end\": 4, \"speaker\": \"A\"},"
                                   "{\"start\": 1, \"end\": 2, \"speaker\": \"B\"},"
                                   "{\"start\": 3, \"end\": 6, \"speaker\": \"B\"},"
                                   "{\"start\": 6, \"end\": 7, \"speaker\": \"B\"}]}",
                                   0);
    dz_autoturns exclusive = {0};
    CHECK_INT(dz_turns_exclusive(&turns, &exclusive, NULL), SLUICE_OK);
    CHECK_INT(exclusive.n_turns, 2);
    check_turn(&exclusive, 0, 0, 4, "A");
    check_turn(&exclusive, 1, 4, 7, "B");
}

TEST(rttm_there_and_back) {
    static const char rttm[] = "SPEAKER a_b 1 0.375 3.112 <NA> <NA> A <NA> <NA>\n"
                               "SPEAKER a_b 1 3.958 2.881 <NA> <NA> B <NA> <NA>\n";
    dz_autoturns turns = {0};
    struct num_err err = {0};
    char *text = NULL;
    CHECK_INT(dz_rttm_read(rttm, strlen(rttm), NULL, &turns, &err), SLUICE_OK);
    check_turn(&turns, 1, 3.958, 6.839, "B");
    CHECK_INT(dz_rttm_write(&turns, "a b", &text, &err), SLUICE_OK);
    CHECK_STR(text, rttm);
    free(text);
}

TEST(turns_there_and_back) {
    dz_autoturns turns = read_json(TWO, 0), exclusive = read_json(TWO, 1);
    struct num_err err = {0};
    char *text = NULL;
    CHECK_INT(dz_turns_write(&turns, &exclusive, &text, &err), SLUICE_OK);
    dz_autoturns again = read_json(text, 0), alone = read_json(text, 1);
    free(text);
    check_turn(&again, 1, 2, 5.5, "B");
    CHECK_INT(alone.n_turns, 1);
    check_turn(&alone, 0, 0, 3, "A");
}

TEST(rttm_of_several_recordings_needs_a_choice) {
    static const char rttm[] = ";; comment\r\nSPKR-INFO x 1 <NA>\r\n\r\n"
                               "SPEAKER x 1 0 1 <NA> <NA> A <NA> <NA>\r\n"
                               "SPEAKER y 1 5 1 <NA> <NA> B <NA> <NA>\r\n";
    struct dz_turns none = {0};
    dz_autoturns turns = {0};
    struct num_err err = {0};
    CHECK_INT(dz_rttm_read(rttm, strlen(rttm), NULL, &none, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, "line 5: the file holds the recordings x and y");
    CHECK_INT(dz_rttm_read(rttm, strlen(rttm), "y", &turns, &err), SLUICE_OK);
    CHECK_INT(turns.n_turns, 1);
    check_turn(&turns, 0, 5, 6, "B");
    CHECK_INT(dz_rttm_read(rttm, strlen(rttm), "z", &none, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, "z");
}

TEST(bad_rttm_is_refused_with_its_line) {
    static const struct {
        const char *text, *says;
    } table[] = {
        {"SPEAKER x 1 0 1\n", "line 1: a SPEAKER line has"},
        {"\nSPEAKER x 1 a 1 <NA> <NA> A\n", "line 2: the start a"},
        {"SPEAKER x 1 0 -1 <NA> <NA> A\n", "the duration -1"},
        {"SPEAKER x 1 0 nan <NA> <NA> A\n", "the duration nan"},
        {"SPEAKER\n", "line 1"},
        {"\xff\xfe", "not UTF-8"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct dz_turns turns = {0};
        struct num_err err = {0};
        CHECK_INT(dz_rttm_read(table[i].text, strlen(table[i].text), NULL, &turns, &err),
                  SLUICE_INPUT);
        CHECK_HAS(err.text, table[i].says);
    }
    dz_autoturns empty = {0};
    CHECK_INT(dz_rttm_read("", 0, NULL, &empty, NULL), SLUICE_OK);
    CHECK_INT(empty.n_turns, 0);
}

TEST_MAIN()
