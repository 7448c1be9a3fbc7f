/* Every writer against files written by hand. */
#include "unit/test.h"

#include <time.h>

#include "export/formats.h"

static struct num_err err;

/* The file that `write` makes of `json`; stays until the next call. */
static const char *written(ex_writer *write, const char *json, struct ex_layout layout) {
    static struct num_buf out;
    ex_autotranscript t = {0};
    CHECK_INT(ex_transcript_read(json, strlen(json), NULL, &t, &err), 0);
    out.len = 0;
    CHECK_INT(write(&t, &layout, &out, &err), 0);
    num_buf_addc(&out, '\0');
    CHECK_INT(strlen(out.data), out.len - 1);
    return out.data;
}

#define PLAIN                     ((struct ex_layout){0, 0})
#define SEGMENT(start, end, text) "{\"start\": " start ", \"end\": " end ", \"text\": \"" text "\"}"
#define SPOKEN(start, end, text, speaker)                                                          \
    "{\"start\": " start ", \"end\": " end ", \"text\": \"" text "\", \"speaker\": \"" speaker "\"}"
#define TRANSCRIPT(segments) "{\"segments\": [" segments "]}"

static const char two[] = TRANSCRIPT(
    SEGMENT("0.0", "2.48", " Hello, world.") "," SEGMENT("3661.5", "3663", " Good bye."));

TEST(srt) {
    CHECK_STR(written(ex_write_srt, two, PLAIN),
              "1\n00:00:00,000 --> 00:00:02,480\nHello, world.\n\n"
              "2\n01:01:01,500 --> 01:01:03,000\nGood bye.\n\n");
}

TEST(vtt) {
    CHECK_STR(written(ex_write_vtt, two, PLAIN),
              "WEBVTT\n\n00:00.000 --> 00:02.480\nHello, world.\n\n"
              "01:01:01.500 --> 01:01:03.000\nGood bye.\n\n");
}

TEST(txt) {
    CHECK_STR(written(ex_write_txt, two, PLAIN), "Hello, world.\nGood bye.\n");
}

TEST(tsv) {
    CHECK_STR(written(ex_write_tsv, two, PLAIN),
              "start\tend\ttext\n0\t2480\tHello, world.\n3661500\t3663000\tGood bye.\n");
}

TEST(lrc) {
    CHECK_STR(written(ex_write_lrc, two, PLAIN), "[00:00.00]Hello, world.\n[61:01.50]Good bye.\n");
}

TEST(empty_transcripts_give_valid_files) {
    CHECK_STR(written(ex_write_srt, TRANSCRIPT(""), PLAIN), "");
    CHECK_STR(written(ex_write_vtt, TRANSCRIPT(""), PLAIN), "WEBVTT\n");
    CHECK_STR(written(ex_write_txt, TRANSCRIPT(""), PLAIN), "");
    CHECK_STR(written(ex_write_tsv, TRANSCRIPT(""), PLAIN), "start\tend\ttext\n");
    CHECK_STR(written(ex_write_lrc, TRANSCRIPT(""), PLAIN), "");
}

TEST(times_round_with_carry) {
    const char *t = TRANSCRIPT(SEGMENT("59.9996", "3599.9999", "a"));
    CHECK_STR(written(ex_write_srt, t, PLAIN), "1\n00:01:00,000 --> 01:00:00,000\na\n\n");
    CHECK_STR(written(ex_write_vtt, t, PLAIN), "WEBVTT\n\n01:00.000 --> 01:00:00.000\na\n\n");
    CHECK_STR(written(ex_write_tsv, t, PLAIN), "start\tend\ttext\n60000\t3600000\ta\n");
    CHECK_STR(written(ex_write_lrc, t, PLAIN), "[01:00.00]a\n");
    CHECK_INT(ex_time_ms(0.0005), 0); /* halves to even, as the reference rounds */
    CHECK_INT(ex_time_ms(0.0015), 2);
    CHECK_INT(ex_time_ms(1.0004), 1000);
}

TEST(times_may_be_long) {
    const char *t = TRANSCRIPT(SEGMENT("360000", "3.6e7", "a"));
    CHECK_STR(written(ex_write_srt, t, PLAIN), "1\n100:00:00,000 --> 10000:00:00,000\na\n\n");
    CHECK_STR(written(ex_write_lrc, t, PLAIN), "[6000:00.00]a\n");
}

TEST(cues_start_in_order_and_never_end_before) {
    const char *t = TRANSCRIPT(
        SEGMENT("5", "4", "late") "," SEGMENT("-1", "2", "first") "," SEGMENT("5", "6", "later"));
    CHECK_STR(written(ex_write_srt, t, PLAIN), "1\n00:00:00,000 --> 00:00:02,000\nfirst\n\n"
                                               "2\n00:00:05,000 --> 00:00:05,000\nlate\n\n"
                                               "3\n00:00:05,000 --> 00:00:06,000\nlater\n\n");
    CHECK_STR(written(ex_write_txt, t, PLAIN), "late\nfirst\nlater\n");
}

TEST(text_cannot_break_a_file) {
    const char *t = TRANSCRIPT(SEGMENT("1", "2", "a --> b\\n\\n\\nc\\td"));
    CHECK_STR(written(ex_write_srt, t, PLAIN),
              "1\n00:00:01,000 --> 00:00:02,000\na -> b\nc\td\n\n");
    CHECK_STR(written(ex_write_vtt, t, PLAIN),
              "WEBVTT\n\n00:01.000 --> 00:02.000\na -> b\nc\td\n\n");
    CHECK_STR(written(ex_write_txt, t, PLAIN), "a --> b c\td\n");
    CHECK_STR(written(ex_write_tsv, t, PLAIN), "start\tend\ttext\n1000\t2000\ta --> b c d\n");
    CHECK_STR(written(ex_write_lrc, t, PLAIN), "[00:01.00]a --> b c d\n");
}

TEST(vtt_escapes) {
    const char *t = TRANSCRIPT(SPOKEN("1", "2", "x < y && <b>", "A>&"));
    CHECK_STR(written(ex_write_vtt, t, PLAIN),
              "WEBVTT\n\n00:01.000 --> 00:02.000\n<v A&gt;&amp;>x &lt; y &amp;&amp; &lt;b>\n\n");
    CHECK_STR(written(ex_write_srt, t, PLAIN),
              "1\n00:00:01,000 --> 00:00:02,000\n[A>&]: x < y && <b>\n\n");
}

TEST(speakers_are_shown) {
    const char *t = TRANSCRIPT(SPOKEN("0", "1", " Hi.", "SPEAKER_00") "," SEGMENT(
        "1", "2", " Yes.") "," SPOKEN("2", "3", " No.", ""));
    CHECK_STR(written(ex_write_srt, t, PLAIN),
              "1\n00:00:00,000 --> 00:00:01,000\n[SPEAKER_00]: Hi.\n\n"
              "2\n00:00:01,000 --> 00:00:02,000\nYes.\n\n"
              "3\n00:00:02,000 --> 00:00:03,000\nNo.\n\n");
    CHECK_STR(written(ex_write_vtt, t, PLAIN),
              "WEBVTT\n\n00:00.000 --> 00:01.000\n<v SPEAKER_00>Hi.\n\n"
              "00:01.000 --> 00:02.000\nYes.\n\n"
              "00:02.000 --> 00:03.000\nNo.\n\n");
    CHECK_STR(written(ex_write_txt, t, PLAIN), "[SPEAKER_00]: Hi.\nYes.\nNo.\n");
    CHECK_STR(written(ex_write_lrc, t, PLAIN), "[00:00.00]Hi.\n[00:01.00]Yes.\n[00:02.00]No.\n");
}

TEST(segments_without_text_make_no_cue_but_keep_their_line) {
    const char *t = TRANSCRIPT(SEGMENT("0", "1", " \\n ") "," SEGMENT("1", "2", "a"));
    CHECK_STR(written(ex_write_srt, t, PLAIN), "1\n00:00:01,000 --> 00:00:02,000\na\n\n");
    CHECK_STR(written(ex_write_vtt, t, PLAIN), "WEBVTT\n\n00:01.000 --> 00:02.000\na\n\n");
    CHECK_STR(written(ex_write_txt, t, PLAIN), "\na\n");
}

TEST(lines_are_broken_at_the_width) {
    const char *t = TRANSCRIPT(SEGMENT("0", "4", " one two three four"));
    CHECK_STR(written(ex_write_srt, t, ((struct ex_layout){9, 0})),
              "1\n00:00:00,000 --> 00:00:04,000\none two\nthree\nfour\n\n");
    CHECK_STR(written(ex_write_vtt, t, ((struct ex_layout){10, 2})),
              "WEBVTT\n\n00:00.000 --> 00:04.000\none two\nthree four\n\n");
}

TEST(cues_are_split_by_characters) {
    const char *t = TRANSCRIPT(SEGMENT("10", "25", " one two three four"));
    CHECK_STR(written(ex_write_srt, t, ((struct ex_layout){9, 1})),
              "1\n00:00:10,000 --> 00:00:16,000\none two\n\n"
              "2\n00:00:16,000 --> 00:00:21,000\nthree\n\n"
              "3\n00:00:21,000 --> 00:00:25,000\nfour\n\n");
    CHECK_STR(written(ex_write_srt, t, ((struct ex_layout){9, 2})),
              "1\n00:00:10,000 --> 00:00:21,000\none two\nthree\n\n"
              "2\n00:00:21,000 --> 00:00:25,000\nfour\n\n");
}

static const char with_words[] = "{\"segments\": [{\"start\": 10, \"end\": 25, \"text\": \" one "
                                 "two three\", \"speaker\": \"A\", "
                                 "\"words\": [{\"word\": \" one\", \"start\": 10.5, \"end\": 11}, "
                                 "{\"word\": \" two\", \"start\": 11.25, \"end\": 12}, "
                                 "{\"word\": \" three\", \"start\": 20, \"end\": 24}]}]}";

TEST(cues_are_split_by_the_times_of_words) {
    CHECK_STR(written(ex_write_vtt, with_words, ((struct ex_layout){7, 1})),
              "WEBVTT\n\n00:10.500 --> 00:12.000\n<v A>one two\n\n"
              "00:20.000 --> 00:24.000\n<v A>three\n\n");
    CHECK_STR(written(ex_write_srt, with_words, ((struct ex_layout){12, 1})),
              "1\n00:00:10,500 --> 00:00:12,000\n[A]: one two\n\n"
              "2\n00:00:20,000 --> 00:00:24,000\n[A]: three\n\n");
    CHECK_STR(written(ex_write_srt, with_words, PLAIN),
              "1\n00:00:10,000 --> 00:00:25,000\n[A]: one two three\n\n");
}

TEST(words_that_do_not_spell_the_text_are_not_used) {
    const char *t = "{\"segments\": [{\"start\": 0, \"end\": 2, \"text\": \"aa bb\", \"words\": ["
                    "{\"word\": \"aa\", \"start\": 0.5, \"end\": 0.6}]}]}";
    CHECK_STR(written(ex_write_srt, t, ((struct ex_layout){2, 1})),
              "1\n00:00:00,000 --> 00:00:01,000\naa\n\n2\n00:00:01,000 --> 00:00:02,000\nbb\n\n");
}

TEST(ideographs_are_split_too) {
    const char *t = TRANSCRIPT(SEGMENT("0", "9", "今日はいい天気です"));
    CHECK_STR(written(ex_write_srt, t, ((struct ex_layout){3, 2})),
              "1\n00:00:00,000 --> 00:00:06,000\n今日は\nいい天\n\n"
              "2\n00:00:06,000 --> 00:00:09,000\n気です\n\n");
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* `n` segments, out of order in places. */
static void long_transcript(struct num_buf *json, size_t n) {
    num_buf_adds(json, "{\"segments\": [");
    for (size_t i = 0; i < n; i++)
        num_buf_addf(json,
                     "%s{\"start\": %zu.25, \"end\": %zu.5, \"text\": \" Segment number %zu.\"}",
                     i ? "," : "", i ^ 1, i ^ 1, i);
    num_buf_adds(json, "]}");
}

/* Under a sanitizer, which looks at memory, a tenth of them. */
#ifdef __SANITIZE_ADDRESS__
#define MANY_SEGMENTS 100000
#else
#define MANY_SEGMENTS 1000000
#endif

TEST(a_million_segments_are_fast) {
    const size_t n = MANY_SEGMENTS;
    static ex_writer *const writers[] = {ex_write_srt, ex_write_vtt, ex_write_txt, ex_write_tsv,
                                         ex_write_lrc};
    num_autobuf json = {0};
    ex_autotranscript t = {0};
    long_transcript(&json, n);
    double began = seconds();
    CHECK_INT(ex_transcript_read(json.data, json.len, NULL, &t, &err), 0);
    printf("  read %zu segments, %zu MB: %.2f s\n", n, json.len >> 20, seconds() - began);
    CHECK_INT(t.n_segments, n);
    for (size_t i = 0; i < sizeof writers / sizeof writers[0]; i++) {
        num_autobuf out = {0};
        struct ex_layout layout = {12, 1};
        began = seconds();
        CHECK_INT(writers[i](&t, &layout, &out, &err), 0);
        printf("  writer %zu: %zu MB in %.2f s\n", i, out.len >> 20, seconds() - began);
        CHECK(out.len > n * 20);
    }
}

TEST(one_huge_segment_is_split_in_linear_time) {
    const size_t n = 300000;
    num_autobuf json = {0};
    num_buf_adds(&json, "{\"segments\": [{\"start\": 0, \"end\": 1000, \"text\": \"");
    for (size_t i = 0; i < n; i++)
        num_buf_adds(&json, "a ");
    num_buf_adds(&json, "\", \"words\": [");
    for (size_t i = 0; i < n; i++)
        num_buf_addf(&json, "%s{\"word\": \"a\", \"start\": %zu, \"end\": %zu}", i ? "," : "", i,
                     i + 1);
    num_buf_adds(&json, "]}]}");
    ex_autotranscript t = {0};
    num_autobuf out = {0};
    struct ex_layout layout = {1, 1};
    CHECK_INT(ex_transcript_read(json.data, json.len, NULL, &t, &err), 0);
    double began = seconds();
    CHECK_INT(ex_write_srt(&t, &layout, &out, &err), 0);
    CHECK(seconds() - began < 10);
    num_buf_addc(&out, '\0');
    CHECK_HAS(out.data, "300000\n83:19:59,000 --> 83:20:00,000\na\n\n");
}

TEST_MAIN()
