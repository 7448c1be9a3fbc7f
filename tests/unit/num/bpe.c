/*
 * Tokenizer and UTF-8.
 */
#include "unit/test.h"

#include "num/bpe.h"
#include "num/utf8.h"

/* Pieces in GPT-2's writing: "\u0120" is a blank, "\u010a" a line feed, "\u00c3" "\u00a9" the bytes
 * of e acute. */
static const char vocab[] =
    "{\"\\u0120Caf\": 0, \"\\u00c3\": 1, \"\\u00a9\": 2, \"\\u010a\": 3, \"!\": 4, \"\\u0100\": 6}";
static const char added[] = "{\"<|end|>\": 5, \"<|0.00|>\": 8}";

static int32_t parse(const char *v, const char *a, struct num_bpe *bpe, struct num_err *err) {
    return num_bpe_parse(v, strlen(v), a, a ? strlen(a) : 0, "model", bpe, err);
}

static char *decode(const struct num_bpe *bpe, const int32_t *tokens, size_t n) {
    char *text;
    CHECK_INT(num_bpe_decode(bpe, tokens, n, &text, NULL), 0);
    return text;
}

TEST(decodes_characters_split_over_tokens) {
    struct num_bpe bpe;
    struct num_err err;
    CHECK_INT(parse(vocab, added, &bpe, &err), 0);
    CHECK_INT(bpe.n_tokens, 9);
    char *text = decode(&bpe, (int32_t[]){5, 0, 1, 2, 4, 8, 3}, 7);
    CHECK_STR(text, " Caf\xc3\xa9!\n");
    free(text);
    text = decode(&bpe, (int32_t[]){0, 1, 4, 2}, 4);
    CHECK_STR(text, " Caf\xef\xbf\xbd!\xef\xbf\xbd");
    free(text);
    text = decode(&bpe, (int32_t[]){7, -1, 100, 6, 4},
                  5); /* unknown ids are left out; byte 0 is no text */
    CHECK_STR(text, "\xef\xbf\xbd!");
    free(text);
    text = decode(&bpe, NULL, 0);
    CHECK_STR(text, "");
    free(text);
    CHECK_INT(num_bpe_special(&bpe, "<|end|>"), 5);
    CHECK_INT(num_bpe_special(&bpe, "!"), -1);
    num_bpe_finish(&bpe);
}

TEST(refuses_broken_files) {
    struct num_bpe bpe;
    struct num_err err;
    CHECK_INT(parse("[]", NULL, &bpe, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, "model/vocab.json is not a JSON object");
    CHECK_INT(parse("{\"a\": 0", NULL, &bpe, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, "model/vocab.json, line 1");
    CHECK_INT(parse("{\"a\": 99999999999}", NULL, &bpe, &err), SLUICE_INPUT);
    CHECK_INT(parse("{\"a\": \"b\"}", NULL, &bpe, &err), SLUICE_INPUT);
    CHECK_INT(parse("{\"a b\": 1}", NULL, &bpe, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, "stands for no byte");
    CHECK_INT(parse("{}", "{\"<|x|>\": -2}", &bpe, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, "added_tokens.json");
}

TEST(utf8_both_ways) {
    const uint32_t points[] = {1, 0x7f, 0x80, 0x7ff, 0x800, 0xffff, 0x10000, 0x10ffff};
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        uint8_t bytes[4];
        uint32_t c;
        size_t n = num_utf8_put(points[i], bytes);
        CHECK_INT(num_utf8_next(bytes, n, &c), n);
        CHECK_INT(c, points[i]);
    }
}

static void check_clean(const char *bytes, const char *want) {
    char out[100];
    CHECK_INT(num_utf8_clean((const uint8_t *)bytes, strlen(bytes), out), strlen(want));
    CHECK_STR(out, want);
}

#define BAD "\xef\xbf\xbd"

TEST(invalid_utf8_is_replaced) {
    check_clean("ok", "ok");
    check_clean("\xc0\xaf", BAD BAD);         /* overlong */
    check_clean("\xed\xa0\x80", BAD BAD BAD); /* surrogate */
    check_clean("\xf0\x9f\x98", BAD);         /* cut: one piece */
    check_clean("\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80");
    check_clean("\xe2\x82"
                "a",
                BAD "a");
    check_clean("\xff\x80z", BAD BAD "z");
    check_clean("\xf4\x90\x80\x80", BAD BAD BAD BAD); /* above U+10FFFF */
}

TEST_MAIN()
