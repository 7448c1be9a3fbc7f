/*
 * Word splitting on small cases whose results are known.
 */
#include "unit/whisper/clips.h"

#include "whisper/split.h"

static void check_split(const struct wh_model *m, const int32_t *tokens, uint32_t n,
                        const char *language, const char *bars) {
    struct wh_split split;
    char got[200] = "";
    uint32_t n_tokens = 0;
    CHECK_INT(wh_split(m, tokens, n, language, &split, NULL), 0);
    for (uint32_t i = 0; i < split.n; i++) {
        size_t at = strlen(got);
        snprintf(got + at, sizeof got - at, "%s%.*s", i ? "|" : "", (int)split.pieces[i].len,
                 split.text + split.pieces[i].text);
        n_tokens += split.pieces[i].n_tokens;
    }
    CHECK_STR(got, bars);
    CHECK_INT(n_tokens, n);
    wh_split_finish(&split);
}

TEST(words_end_at_blanks_and_punctuation) {
    struct wh_model m = {.rules = {.eot = 100, .timestamp_begin = 101}};
    const struct num_bpe_token tokens[] = {
        {(const uint8_t *)" Wh", 3, false},      {(const uint8_t *)"at", 2, false},
        {(const uint8_t *)"?", 1, false},        {(const uint8_t *)" ", 1, false},
        {(const uint8_t *)"\xe6\x97", 2, false}, {(const uint8_t *)"\xa5", 1, false},
        {(const uint8_t *)"\xff", 1, false}};
    CHECK_INT(num_bpe_build(tokens, 7, &m.bpe, NULL), 0);
    check_split(&m, (int32_t[]){0, 1, 2, 0}, 4, "en", " What|?| Wh");
    check_split(&m, (int32_t[]){1, 1, 3, 1}, 4, NULL, "atat| at");
    check_split(&m, (int32_t[]){0, 4, 5, 4, 5}, 5, "en", " Wh\xe6\x97\xa5\xe6\x97\xa5");
    check_split(&m, (int32_t[]){0, 4, 5, 4, 5}, 5, "ja", " Wh|\xe6\x97\xa5|\xe6\x97\xa5");
    check_split(&m, (int32_t[]){6, 0, 4}, 3, "ja", "\xef\xbf\xbd| Wh|\xef\xbf\xbd");
    check_split(&m, NULL, 0, "en", "");
    num_bpe_finish(&m.bpe);
}

TEST_MAIN()
