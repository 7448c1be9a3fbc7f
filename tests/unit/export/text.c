/* Cleaning of text, and breaking of lines. */
#include "unit/test.h"

#include "export/text.h"
#include "export/wrap.h"

static const char *clean(const char *text, unsigned flags) {
    static struct num_buf out;
    out.len = 0;
    ex_text_clean(&out, text, flags);
    num_buf_addc(&out, '\0');
    return out.data;
}

TEST(clean_strips_and_joins) {
    CHECK_STR(clean("  Hello there. \n", 0), "Hello there.");
    CHECK_STR(clean("a\nb\r\n\r\nc", 0), "a b c");
    CHECK_STR(clean("\ta\tb\t", 0), "a\tb");
    CHECK_STR(clean("a\tb", EX_TEXT_NO_TABS), "a b");
    CHECK_STR(clean("a  b", 0), "a  b");
    CHECK_STR(clean("", 0), "");
    CHECK_STR(clean(" \n\t ", 0), "");
    CHECK_STR(clean("a\x01z", 0), "a z");
    CHECK_STR(clean("\u3000\u00a0日本\u3000", 0), "日本");
}

TEST(clean_keeps_lines_but_no_empty_ones) {
    CHECK_STR(clean("\n a \n\n \r\n b\n", EX_TEXT_LINES), "a\nb");
    CHECK_STR(clean("a\u2028b", EX_TEXT_LINES), "a\nb");
}

TEST(clean_shortens_arrows) {
    CHECK_STR(clean("a --> b", EX_TEXT_ARROW), "a -> b");
    CHECK_STR(clean("a ----> b", EX_TEXT_ARROW), "a -> b");
    CHECK_STR(clean("-->", EX_TEXT_ARROW), "->");
    CHECK_STR(clean("a -> b -- c >", EX_TEXT_ARROW), "a -> b -- c >");
    CHECK_STR(clean("a --> b", 0), "a --> b");
}

TEST(count_knows_spaces_and_marks) {
    CHECK_INT(ex_text_count(" a bé\n日 "), 4);
    CHECK_INT(ex_text_columns("e\u0301a"), 2);
    CHECK_INT(ex_text_columns("a b"), 3);
    CHECK(ex_text_is_mark(0xfe0f));
    CHECK(ex_text_is_mark(0x1f3fd));
    CHECK(!ex_text_is_mark('a'));
    CHECK(!ex_text_is_mark(0x10ffff));
}

TEST(decoding_survives_what_is_not_utf8) {
    const char *text = "\xff\xc3(\xe2\x82";
    size_t n = 0;
    while (*text && n < 20) {
        ex_text_next(&text);
        n++;
    }
    CHECK_INT(n, 5);
}

/* The lines, joined by '|'. */
static const char *wrapped(const char *text, struct ex_wrap wrap) {
    static struct num_buf out;
    struct ex_lines lines = {0};
    struct num_err err;
    out.len = 0;
    CHECK_INT(ex_wrap_lines(text, &wrap, &lines, &err), 0);
    for (size_t i = 0; i < lines.n; i++) {
        if (i)
            num_buf_addc(&out, '|');
        num_buf_add(&out, text + lines.lines[i].at, lines.lines[i].len);
    }
    num_buf_addc(&out, '\0');
    ex_lines_finish(&lines);
    return out.data;
}

TEST(wrap_breaks_at_spaces) {
    CHECK_STR(wrapped("one two three four", (struct ex_wrap){9, 0, 0}), "one two|three|four");
    CHECK_STR(wrapped("one two three four", (struct ex_wrap){10, 0, 0}), "one two|three four");
    CHECK_STR(wrapped("one two", (struct ex_wrap){7, 0, 0}), "one two");
    CHECK_STR(wrapped("one two", (struct ex_wrap){6, 0, 0}), "one|two");
    CHECK_STR(wrapped("one   two", (struct ex_wrap){4, 0, 0}), "one|two");
    CHECK_STR(wrapped("one two", (struct ex_wrap){0, 0, 0}), "one two");
}

TEST(wrap_leaves_long_words_whole) {
    CHECK_STR(wrapped("a extraordinary b c", (struct ex_wrap){4, 0, 0}), "a|extraordinary|b c");
    CHECK_STR(wrapped("extraordinary", (struct ex_wrap){4, 0, 0}), "extraordinary");
    CHECK_STR(wrapped("a b", (struct ex_wrap){1, 0, 0}), "a|b");
}

TEST(wrap_keeps_line_breaks) {
    CHECK_STR(wrapped("one\ntwo three", (struct ex_wrap){5, 0, 0}), "one|two|three");
    CHECK_STR(wrapped("one\ntwo", (struct ex_wrap){0, 0, 0}), "one|two");
}

TEST(wrap_breaks_between_ideographs) {
    CHECK_STR(wrapped("今日はいい天気です", (struct ex_wrap){4, 0, 0}), "今日はい|い天気で|す");
    CHECK_STR(wrapped("今日は、いい", (struct ex_wrap){3, 0, 0}), "今日|は、い|い");
    CHECK_STR(wrapped("彼は「はい」と", (struct ex_wrap){3, 0, 0}), "彼は|「は|い」と");
    CHECK_STR(wrapped("使うCUDAで", (struct ex_wrap){4, 0, 0}), "使う|CUDA|で");
}

TEST(wrap_keeps_marks_with_their_letter) {
    CHECK_STR(wrapped("か\u3099か\u3099か\u3099", (struct ex_wrap){2, 0, 0}),
              "か\u3099か\u3099|か\u3099");
    CHECK_STR(wrapped("e\u0301e\u0301 e\u0301", (struct ex_wrap){2, 0, 0}),
              "e\u0301e\u0301|e\u0301");
}

TEST(wrap_counts_the_indent_of_first_lines) {
    CHECK_STR(wrapped("aa bb cc dd ee", (struct ex_wrap){8, 0, 3}), "aa bb|cc dd ee");
    CHECK_STR(wrapped("aa bb cc dd ee", (struct ex_wrap){8, 1, 3}), "aa bb|cc dd|ee");
}

TEST_MAIN()
