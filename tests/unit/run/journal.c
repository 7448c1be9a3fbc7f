/* The journal survives cuts and damage, and a run's state comes out of it. */
#include <fcntl.h>

#include "base/io.h"
#include "base/mem.h"
#include "run/journal.h"
#include "run/replay.h"
#include "run/state.h"
#include "unit/test.h"

static char path[TEST_PATH];

static void add(struct sl_journal *j, const char *json) {
    json_t *record = NULL;
    struct sl_err err = {0};
    if (sl_json_parse(json, strlen(json), &record, &err) < 0)
        TEST_FAIL("%s: %s", json, err.msg);
    sl_journal_add(j, record);
}

/* Writes the records and returns the bytes of the journal. */
static char *write_journal(const char *const *records, size_t *ret_len) {
    struct sl_journal j;
    struct sl_err err = {0};
    char *text = NULL;
    close(make_test_file(path));
    CHECK_INT(sl_journal_create(path, &j, &err), 0);
    for (; *records; records++)
        add(&j, *records);
    CHECK_INT(sl_journal_close(&j, &err), 0);
    CHECK_INT(sl_read_file(path, 1 << 20, &text, ret_len, &err), 0);
    unlink(path);
    return text;
}

static void count(void *ctx, const json_t *record) {
    CHECK(json_object_get(record, "time") != NULL);
    ++*(int *)ctx;
}

static const char *const three[] = {"{\"type\":\"a\"}", "{\"type\":\"b\",\"text\":\"\xc3\xa9\\n\"}",
                                    "{\"type\":\"c\"}", NULL};

TEST(records_come_back) {
    size_t len, good;
    int n = 0;
    sl_autofree char *text = write_journal(three, &len);
    CHECK_INT(sl_journal_read(text, len, count, &n, &good), 3);
    CHECK_INT(n, 3);
    CHECK_INT(good, len);
}

TEST(every_cut_leaves_whole_records) {
    size_t len, good;
    sl_autofree char *text = write_journal(three, &len);
    for (size_t cut = 0; cut <= len; cut++) {
        int n = 0, lines = 0;
        for (size_t i = 0; i < cut; i++)
            lines += text[i] == '\n';
        CHECK_INT(sl_journal_read(text, cut, count, &n, &good), lines);
        CHECK(good <= cut);
    }
}

TEST(every_changed_byte_is_noticed) {
    size_t len, good;
    sl_autofree char *text = write_journal(three, &len);
    size_t second = (size_t)(strchr(text, '\n') - text) + 1;
    for (size_t i = second; i < len; i++) {
        int n = 0;
        text[i] ^= 1;
        CHECK(sl_journal_read(text, len, count, &n, &good) < 3);
        CHECK(n >= 1);
        text[i] ^= 1;
    }
}

static const char *const run[] = {
    "{\"type\":\"run\",\"id\":\"r\",\"pipeline\":\"p\",\"items\":[{\"name\":\"x\",\"file\":\"/"
    "x.wav\"}],"
    "\"stages\":[{\"name\":\"asr\",\"use\":\"whisper/transcribe\",\"output\":false}]}",
    "{\"type\":\"attempt\",\"item\":\"x\",\"stage\":\"asr\",\"attempt\":1,\"pid\":5,\"log\":\"l\"}",
    "{\"type\":\"attempt_end\",\"item\":\"x\",\"stage\":\"asr\",\"attempt\":1,\"class\":\"crash\","
    "\"wall_s\":1.5,"
    "\"message\":\"its process was killed by signal 9 (Killed)\"}",
    "{\"type\":\"retry\",\"item\":\"x\",\"stage\":\"asr\",\"after_attempt\":1,\"delay_s\":0.5}",
    "{\"type\":\"attempt\",\"item\":\"x\",\"stage\":\"asr\",\"attempt\":2,\"pid\":6,\"log\":"
    "\"l2\"}",
    "{\"type\":\"worker_end\",\"item\":\"x\",\"stage\":\"asr\",\"attempt\":2,\"cpu_s\":2.5,\"peak_"
    "bytes\":1000,\"exit\":0}",
    "{\"type\":\"attempt_end\",\"item\":\"x\",\"stage\":\"asr\",\"attempt\":2,\"class\":\"ok\","
    "\"wall_s\":2}",
    "{\"type\":\"task\",\"item\":\"x\",\"stage\":\"asr\",\"state\":\"done\",\"attempts\":2}",
    "{\"type\":\"output\",\"item\":\"x\",\"name\":\"x.srt\",\"path\":\"/out/x.srt\"}",
    "{\"type\":\"item\",\"item\":\"x\",\"state\":\"ok\"}",
    "{\"type\":\"end\",\"state\":\"ok\",\"ok\":1,\"failed\":0,\"cancelled\":0,\"seconds\":3.5}",
    NULL,
};

TEST(state_tells_the_run) {
    size_t len;
    struct sl_err err = {0};
    sl_autofree char *text = write_journal(run, &len);
    sl_autojson json_t *state = NULL;
    CHECK_INT(sl_state_build(text, len, false, &state, &err), 0);
    CHECK_STR(sl_json_str(state, "state", ""), "ok");
    CHECK_NEAR(sl_json_num(state, "seconds", 0), 3.5, 0);
    json_t *item = json_array_get(json_object_get(state, "items"), 0);
    CHECK_STR(sl_json_str(item, "state", ""), "ok");
    CHECK_STR(json_string_value(json_array_get(json_object_get(item, "outputs"), 0)), "/out/x.srt");
    json_t *stage = json_array_get(json_object_get(item, "stages"), 0);
    CHECK_STR(sl_json_str(stage, "state", ""), "done");
    json_t *attempts = json_object_get(stage, "attempts");
    CHECK_INT(json_array_size(attempts), 2);
    CHECK_STR(sl_json_str(json_array_get(attempts, 0), "class", ""), "crash");
    CHECK_NEAR(sl_json_num(json_array_get(attempts, 0), "retry_delay_s", 0), 0.5, 0);
    CHECK_NEAR(sl_json_num(json_array_get(attempts, 1), "peak_bytes", 0), 1000, 0);
}

TEST(a_cut_journal_means_the_core_died) {
    size_t len;
    struct sl_err err = {0};
    sl_autofree char *text = write_journal(run, &len);
    sl_autojson json_t *died = NULL, *live = NULL, *none = NULL;
    CHECK_INT(sl_state_build(text, len - 5, false, &died, &err), 0);
    CHECK_STR(sl_json_str(died, "state", ""), "died");
    CHECK_INT(sl_state_build(text, len - 5, true, &live, &err), 0);
    CHECK_STR(sl_json_str(live, "state", ""), "running");
    CHECK_INT(sl_state_build(text, 10, false, &none, &err), SLUICE_INPUT);
}

TEST(records_out_of_place_are_ignored) {
    static const char *const odd[] = {
        "{\"type\":\"run\",\"id\":\"r\",\"items\":[],\"stages\":[]}",
        "{\"type\":\"task\",\"item\":\"ghost\",\"stage\":\"asr\",\"state\":\"done\"}",
        "{\"type\":\"attempt_end\",\"item\":\"ghost\",\"stage\":1,\"attempt\":\"x\"}",
        "{\"type\":\"run\",\"id\":\"second\"}",
        "{\"type\":7}",
        NULL,
    };
    size_t len;
    struct sl_err err = {0};
    sl_autofree char *text = write_journal(odd, &len);
    sl_autojson json_t *state = NULL;
    CHECK_INT(sl_state_build(text, len, false, &state, &err), 0);
    CHECK_STR(sl_json_str(state, "id", ""), "r");
}

/* Records of every length, so that they meet the pieces of the file everywhere; and damage in the
 * middle. */
TEST(a_file_is_read_piece_by_piece) {
    struct sl_journal j;
    struct sl_err err = {0};
    int n = 0, fd = make_test_file(path);
    CHECK_INT(sl_journal_create(path, &j, &err), 0);
    for (int i = 0; i < 2000; i++) {
        sl_autofree char *filler = sl_xcalloc(1, (size_t)(i % 50 ? i % 777 : 70000) + 1);
        memset(filler, 'x', (size_t)(i % 50 ? i % 777 : 70000));
        sl_journal_add(&j, json_pack("{s:s,s:i}", "filler", filler, "i", i));
    }
    CHECK_INT(sl_journal_close(&j, &err), 0);
    CHECK_INT(sl_journal_read_file(path, count, &n, NULL, &err), 0);
    CHECK_INT(n, 2000);
    CHECK(pwrite(fd, "?", 1, lseek(fd, 0, SEEK_END) / 2) == 1);
    n = 0;
    CHECK_INT(sl_journal_read_file(path, count, &n, NULL, &err), 0);
    CHECK(n > 100 && n < 1990);
    close(fd);
    unlink(path);
    CHECK(sl_journal_read_file(path, count, &n, NULL, &err) < 0);
}

/* ---- replay ---------------------------------------------------------------------------------- */

static const char *const cut_run[] = {
    "{\"type\":\"run\",\"id\":\"r\",\"items\":[{\"name\":\"x\"},{\"name\":\"y\"},{\"name\":\"z\"}],"
    "\"stages\":[{\"name\":\"a\"},{\"name\":\"b\"}]}",
    "{\"type\":\"attempt\",\"item\":\"x\",\"stage\":\"a\",\"attempt\":1,\"worker\":3,"
    "\"sources\":{\"file\":\"1:2\"}}",
    "{\"type\":\"attempt_end\",\"item\":\"x\",\"stage\":\"a\",\"attempt\":1,\"class\":\"crash\"}",
    "{\"type\":\"attempt\",\"item\":\"x\",\"stage\":\"a\",\"attempt\":2,\"worker\":4}",
    "{\"type\":\"attempt_end\",\"item\":\"x\",\"stage\":\"a\",\"attempt\":2,\"class\":\"ok\"}",
    "{\"type\":\"artifact\",\"item\":\"x\",\"stage\":\"a\",\"port\":\"p\",\"size\":5,\"xxh3\":"
    "\"00ff\"}",
    "{\"type\":\"task\",\"item\":\"x\",\"stage\":\"a\",\"state\":\"done\"}",
    "{\"type\":\"attempt\",\"item\":\"x\",\"stage\":\"b\",\"attempt\":1}",
    "{\"type\":\"task\",\"item\":\"y\",\"stage\":\"a\",\"state\":\"failed\",\"class\":\"input\"}",
    "{\"type\":\"task\",\"item\":\"y\",\"stage\":\"b\",\"state\":\"skipped\"}",
    "{\"type\":\"item\",\"item\":\"y\",\"state\":\"failed\"}",
    "{\"type\":\"task\",\"item\":\"z\",\"stage\":\"a\",\"state\":\"cancelled\"}",
    "{\"type\":\"item\",\"item\":\"z\",\"state\":\"cancelled\"}",
    NULL,
};

TEST(replay_tells_what_is_settled) {
    size_t len;
    struct sl_err err = {0};
    struct sl_replay r;
    sl_autofree char *text = write_journal(cut_run, &len);
    CHECK_INT(sl_replay_build(text, len, &r, &err), 0);
    const struct sl_replay_task *a = sl_replay_task(&r, 0, 0), *b = sl_replay_task(&r, 0, 1);
    CHECK_INT(a->state, SL_REPLAY_DONE);
    CHECK_INT(a->attempts, 2);
    CHECK_INT(a->failed, 1);
    CHECK_INT((int)sl_json_num(json_object_get(a->artifacts, "p"), "size", 0), 5);
    CHECK(a->sources == NULL); /* of the second attempt, which had none */
    CHECK_INT(b->state, SL_REPLAY_OPEN);
    CHECK_INT(b->attempts, 1);
    CHECK_INT(b->failed, 0);
    CHECK_INT(r.items[1], SL_REPLAY_FAILED);
    CHECK_INT(r.items[2], SL_REPLAY_CANCELLED);
    CHECK_INT(r.last_worker, 4);
    CHECK_INT((int)r.good, (int)len);
    CHECK(!r.ended);
    CHECK_INT(sl_replay_open_items(&r), 1);
    sl_replay_reopen(&r, false);
    CHECK_INT(sl_replay_open_items(&r), 2);
    sl_replay_reopen(&r, true);
    CHECK_INT(sl_replay_open_items(&r), 3);
    CHECK_INT(sl_replay_task(&r, 1, 0)->state, SL_REPLAY_OPEN);
    sl_replay_finish(&r);
}

TEST(replay_stops_where_the_journal_is_torn) {
    size_t len;
    struct sl_err err = {0};
    struct sl_replay r;
    sl_autofree char *text = write_journal(cut_run, &len);
    CHECK_INT(sl_replay_build(text, 10, &r, &err), SLUICE_INPUT);
    CHECK_HAS(err.msg, "start it anew");
    for (size_t cut = (size_t)(strchr(text, '\n') - text) + 1; cut <= len; cut++) {
        CHECK_INT(sl_replay_build(text, cut, &r, &err), 0);
        CHECK(r.good <= cut && (r.good == cut) == (text[cut - 1] == '\n'));
        sl_replay_finish(&r);
    }
}

TEST(replay_of_a_resumed_run_goes_on) {
    static const char *more[20];
    int n = 0;
    for (; cut_run[n]; n++)
        more[n] = cut_run[n];
    more[n++] = "{\"type\":\"end\",\"state\":\"cancelled\"}";
    more[n++] = "{\"type\":\"resume\",\"pid\":9,\"failed\":true}";
    more[n++] = "{\"type\":\"reuse\",\"item\":\"z\",\"stage\":\"a\"}";
    more[n++] = "{\"type\":\"task\",\"item\":\"z\",\"stage\":\"a\",\"state\":\"done\"}";
    size_t len;
    struct sl_err err = {0};
    struct sl_replay r;
    sl_autofree char *text = write_journal(more, &len);
    sl_autojson json_t *state = NULL;
    CHECK_INT(sl_replay_build(text, len, &r, &err), 0);
    CHECK_INT(r.n_resumed, 1);
    CHECK(!r.ended);
    CHECK_INT(sl_replay_open_items(&r), 3);
    CHECK(sl_replay_task(&r, 2, 0)->cached);
    sl_replay_finish(&r);
    CHECK_INT(sl_state_build(text, len, false, &state, &err), 0);
    CHECK_STR(sl_json_str(state, "state", ""), "died");
    CHECK_INT((int)json_array_size(json_object_get(state, "resumed")), 1);
    json_t *item = json_array_get(json_object_get(state, "items"), 1);
    CHECK_STR(sl_json_str(item, "state", ""), "open");
}

TEST_MAIN()
