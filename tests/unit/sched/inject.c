/* What --inject accepts, and which attempts it strikes. */
#include "sched/inject.h"

#include "unit/test.h"

static struct sl_plan_stage stages[] = {
    {.name = "decode"}, {.name = "asr"}, {.name = "words.json"}};
static const struct sl_plan plan = {.stages = stages, .n_stages = 3};

static struct sl_injection *list;
static int n;

static const char *mistake(const char *text) {
    static struct sl_err err;
    err = (struct sl_err){0};
    int rc = sl_inject_parse(&plan, text, &list, &n, &err);
    CHECK_INT(rc, rc < 0 ? SL_USAGE : 0);
    return rc < 0 ? err.msg : "";
}

TEST(faults_strike_one_attempt_or_all) {
    CHECK_STR(mistake("asr:crash@2,decode:oom"), "");
    CHECK_STR(mistake("words.json:slow"), "");
    CHECK_INT(n, 3);
    CHECK_INT(sl_inject_find(list, n, 1, 2), SL_FAULT_CRASH);
    CHECK_INT(sl_inject_find(list, n, 1, 1), SL_FAULT_NONE);
    CHECK_INT(sl_inject_find(list, n, 1, 3), SL_FAULT_NONE);
    CHECK_INT(sl_inject_find(list, n, 0, 1), SL_FAULT_OOM);
    CHECK_INT(sl_inject_find(list, n, 0, 9), SL_FAULT_OOM);
    CHECK_INT(sl_inject_find(list, n, 2, 1), SL_FAULT_SLOW);
    CHECK_STR(mistake("decode:hang@1"), ""); /* the last one counts */
    CHECK_INT(sl_inject_find(list, n, 0, 1), SL_FAULT_HANG);
    CHECK_INT(sl_inject_find(list, n, 0, 2), SL_FAULT_OOM);
    free(list);
}

TEST(every_fault_has_its_name) {
    for (int f = SL_FAULT_NONE + 1; f < SL_FAULT_N; f++)
        CHECK_INT(sl_fault_from_name(sl_fault_name(f)), f);
    CHECK_INT(sl_fault_from_name("none"), SL_FAULT_NONE);
    CHECK_STR(sl_fault_name(SL_FAULT_N), "none");
    CHECK_STR(sl_fault_name(-1), "none");
}

TEST(what_is_not_known_is_told) {
    CHECK_STR(mistake("asr"),
              "--inject asr: expected STAGE:FAULT or STAGE:FAULT@ATTEMPT, such as asr:crash@2");
    CHECK_STR(mistake(":crash"),
              "--inject :crash: expected STAGE:FAULT or STAGE:FAULT@ATTEMPT, such as asr:crash@2");
    CHECK_STR(
        mistake("asr:crash,"),
        "--inject asr:crash,: expected STAGE:FAULT or STAGE:FAULT@ATTEMPT, such as asr:crash@2");
    CHECK_STR(mistake("asr:chrash"),
              "--inject asr:chrash: there is no fault \"chrash\" (did you mean \"crash\"?)");
    CHECK_STR(mistake("asr:fire"), "--inject asr:fire: there is no fault \"fire\"; accepted: "
                                   "crash, hang, oom, transient, garbage and slow");
    CHECK_STR(mistake("azr:oom"),
              "--inject azr:oom: there is no stage \"azr\" (did you mean \"asr\"?)");
    CHECK_STR(mistake("xxx:oom"),
              "--inject xxx:oom: there is no stage \"xxx\"; accepted: decode, asr and words.json");
    for (int i = 0; i < 4; i++) {
        static const char *const bad[] = {"asr:crash@0", "asr:crash@x", "asr:crash@",
                                          "asr:crash@101"};
        CHECK(strstr(mistake(bad[i]),
                     "expected the number of an attempt, from 1 to 100, after the @"));
    }
    free(list);
}

TEST_MAIN()
