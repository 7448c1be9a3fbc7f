/*
 * Text into tokens, against tiktoken's values with Whisper's vocabularies, where those are at hand.
 */
#include "unit/test.h"

#include <jansson.h>

#include "num/bpe_encode.h"

static int sextet(int c) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* Decodes base64 up to a blank; returns how many bytes. */
static uint32_t decode64(const char *text, uint8_t *to) {
    uint32_t n = 0, bits = 0, n_bits = 0;
    for (; sextet(*text) >= 0; text++) {
        bits = bits << 6 | (uint32_t)sextet(*text);
        n_bits += 6;
        if (n_bits >= 8)
            to[n++] = (uint8_t)(bits >> (n_bits -= 8));
    }
    return n;
}

/* A vocabulary in tiktoken's form: lines of base64 and rank. */
static bool read_tiktoken(const char *name, struct num_bpe *ret) {
    static struct num_bpe_token tokens[60000];
    static uint8_t bytes[1 << 20];
    char path[4096], line[2000];
    size_t n = 0, at = 0;
    snprintf(path, sizeof path, "%s/data/tokenizer/%s.tiktoken", SHARED_DIR, name);
    FILE *f = fopen(path, "r");
    if (!f)
        return false;
    while (fgets(line, sizeof line, f) && strchr(line, ' ')) {
        CHECK_INT(strtoul(strchr(line, ' '), NULL, 10), n);
        tokens[n] = (struct num_bpe_token){bytes + at, decode64(line, bytes + at), false};
        at += tokens[n++].len;
    }
    fclose(f);
    CHECK_INT(num_bpe_build(tokens, n, ret, NULL), 0);
    return true;
}

static void check_vocabulary(const char *name) {
    struct num_bpe bpe;
    struct num_bpe_encoder *encoder;
    const json_t *o;
    size_t i;
    if (!read_tiktoken(name, &bpe))
        SKIP("%s.tiktoken is not there", name);
    CHECK_INT(num_bpe_encoder_create(&bpe, &encoder, NULL), 0);
    json_t *all = json_load_file(TESTS_DIR "/data/expected/bpe.json", 0, NULL);
    json_array_foreach(all, i, o) {
        const json_t *text = json_object_get(o, "text"), *want = json_object_get(o, name);
        int32_t *ids;
        size_t n;
        CHECK_INT(num_bpe_encode(encoder, json_string_value(text), json_string_length(text), &ids,
                                 &n, NULL),
                  0);
        CHECK_INT(n, json_array_size(want));
        for (size_t k = 0; k < n; k++)
            CHECK_INT(ids[k], json_integer_value(json_array_get(want, k)));
        free(ids);
    }
    printf("  %zu texts\n", json_array_size(all));
    CHECK(json_array_size(all) >= 40);
    json_decref(all);
    num_bpe_encoder_destroy(encoder);
    num_bpe_finish(&bpe);
}

TEST(tokens_of_gpt2) {
    check_vocabulary("gpt2");
}

TEST(tokens_of_multilingual_models) {
    check_vocabulary("multilingual");
}

static void check_pieces(const char *text, const char *bars) {
    char got[200];
    size_t len = strlen(text), at = 0, to = 0;
    for (size_t n; at < len; at += n) {
        n = num_bpe_piece((const uint8_t *)text + at, len - at);
        CHECK(n > 0 && at + n <= len);
        to +=
            (size_t)snprintf(got + to, sizeof got - to, "%s%.*s", at ? "|" : "", (int)n, text + at);
    }
    CHECK_STR(got, bars);
}

TEST(pieces_of_a_text) {
    check_pieces("I'll go, 2 of  them", "I|'ll| go|,| 2| of| | them");
    check_pieces("don't'S", "don|'t|'|S");
    check_pieces("a\n\n b  ", "a|\n\n| b|  ");
    check_pieces(" \xc3\xa9t\xc3\xa9\xff!x", " \xc3\xa9t\xc3\xa9|\xff!|x");
    check_pieces(" ", " ");
    check_pieces("\xe3\x80\x80z", "\xe3\x80\x80|z");
}

/* Without all single bytes, those that are missing are left out. */
TEST(unknown_bytes_are_left_out) {
    const struct num_bpe_token tokens[] = {{(const uint8_t *)"a", 1, false},
                                           {(const uint8_t *)"aa", 2, false},
                                           {NULL, 0, false},
                                           {(const uint8_t *)"<|a|>", 5, true}};
    struct num_bpe bpe;
    struct num_bpe_encoder *encoder;
    int32_t *ids;
    size_t n;
    CHECK_INT(num_bpe_build(tokens, 4, &bpe, NULL), 0);
    CHECK_INT(num_bpe_encoder_create(&bpe, &encoder, NULL), 0);
    CHECK_INT(num_bpe_encode(encoder, "aaab<|a|>", 9, &ids, &n, NULL), 0);
    CHECK_INT(n, 3);
    CHECK(ids[0] == 1 && ids[1] == 0 && ids[2] == 0);
    CHECK_INT(num_bpe_token(encoder, "<|a|>", 5), -1);
    free(ids);
    num_bpe_encoder_destroy(encoder);
    num_bpe_finish(&bpe);
}

TEST_MAIN()
