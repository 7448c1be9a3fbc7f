/* How words become tokens: vocabularies of one language and of many, letters, and phonemes of a
 * dictionary. */
#include "unit/test.h"

#include "align/dictionary.h"
#include "align/vocab.h"

static const char letters[] = "{\"<pad>\": 0, \"<s>\": 1, \"|\": 2, \"a\": 3, \"b\": 4, \"c\": 5, "
                              "\"d\": 6, \"e\": 7, \"f\": 8, "
                              "\"'\": 9, \"\u00e9\": 10, \"o\": 11, \"r\": 12, \"s\": 13, \"t\": "
                              "14, \"u\": 15, \"[UNK]\": 16, "
                              "\"a\u026a\": 17, \"n\": 18, \"i\": 19}";

/* ---- Spelling -------------------------------------------------------------------------------- */

static void check_spelling(const struct al_vocab *v, const char *word, const char *want) {
    int32_t ids[40];
    char got[200] = "";
    size_t n = al_vocab_spell(v, word, ids, 40);
    for (size_t i = 0; i < n; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%d", i ? " " : "", ids[i]);
    CHECK_STR(got, want);
}

TEST(words_are_spelt_with_what_there_is) {
    struct al_vocab v;
    CHECK_INT(al_vocab_parse(letters, sizeof letters - 1, "", 20, -1, &v, NULL), 0);
    CHECK(v.blank == 0 && v.delimiter == 2);
    check_spelling(&v, " Bad,", "4 3 6");
    check_spelling(&v, "don\u2019t", "6 11 18 9 14");
    check_spelling(&v, "CAF\u00c9", "5 3 8 10");
    check_spelling(&v, "a\u026a", "17");
    check_spelling(&v, "$25", "-1");
    check_spelling(&v, "B2B", "4 -1 4");
    check_spelling(&v, "\u65e5\u672c", "-1");
    check_spelling(&v, "\u2014 ...", "");
    check_spelling(&v, "<pad>", "-1 3 6");
    al_vocab_finish(&v);
}

static void check_refused(const char *json, const char *language, const char *why) {
    struct al_vocab v;
    struct num_err err = {0};
    CHECK_INT(al_vocab_parse(json, strlen(json), language, 20, -1, &v, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, why);
}

TEST(what_is_no_vocabulary_is_refused) {
    check_refused("{", "", "vocab.json, line 1");
    check_refused("[]", "", "not a map");
    check_refused("{\"a\": 20}", "", "is not below vocab_size, 20");
    check_refused("{\"a\": 1}", "", "which token is the blank");
    check_refused("{\"<pad>\": 1}", "", "no pieces of text");
    check_refused("{\"eng\": {\"a\": {}, \"<pad>\": 0}}", "eng", "the number of \"a\"");
}

static const char many[] = "{\"abi\": {\"<pad>\": 0, \"a\": 1}, \"eng\": {\"<pad>\": 0, \"|\": 1, "
                           "\"e\": 2}, \"enx\": {\"<pad>\": 0, \"x\": 1}}";

TEST(a_vocabulary_of_many_languages_is_that_of_the_one_asked_for) {
    struct al_vocab v;
    CHECK_INT(al_vocab_parse(many, sizeof many - 1, "eng", 20, -1, &v, NULL), 0);
    CHECK(v.of_many && v.n_pieces == 1 && v.delimiter == 1);
    check_spelling(&v, "e", "2");
    al_vocab_finish(&v);
    check_refused(many, "",
                  "of 3 languages; say with `language` which is spoken, such as abi, eng");
    check_refused(many, "en",
                  "\"en\"; of the 3 that it has, these are nearest by name: eng, enx, abi");
}

/* ---- Phonemes -------------------------------------------------------------------------------- */

static void check_pronounced(const struct al_dictionary *d, const char *word, const char *want) {
    const char *got = al_dictionary_find(d, word);
    CHECK_STR(got ? got : "none", want);
}

TEST(words_are_found_in_a_dictionary) {
    static const char text[] = ";;; remark\n\nHELLO  HH AH0 L OW1 \r\nhello(2)\th e l o\n"
                               "don\u2019t\td o\u028a n t\n\u00c9t\u00e9 e t e\nA a";
    struct al_dictionary d;
    CHECK_INT(al_dictionary_parse(text, sizeof text - 1, "words.txt", &d, NULL), 0);
    check_pronounced(&d, " \u201cHello,\u201d", "HH AH0 L OW1");
    check_pronounced(&d, "Don't", "d o\u028a n t");
    check_pronounced(&d, "\u00e9t\u00c9!", "e t e");
    check_pronounced(&d, "a", "a");
    check_pronounced(&d, "hell", "none");
    check_pronounced(&d, "\u2014", "none");
    al_dictionary_finish(&d);
    CHECK(al_dictionary_find(&d, "a") == NULL);
}

TEST(what_is_no_dictionary_is_refused) {
    struct al_dictionary d;
    struct num_err err = {0};
    CHECK_INT(al_dictionary_parse("a a\nhello\n", 10, "words.txt", &d, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, "words.txt, line 2: a line is a word, a TAB and its phonemes");
    CHECK_INT(al_dictionary_parse(";;;\n", 4, "words.txt", &d, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, "words.txt has no words");
    CHECK_INT(al_dictionary_load("/nowhere", &d, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, "/nowhere");
}

TEST(phonemes_are_spelt_without_stress_where_there_is_none) {
    static const char phonemes[] =
        "{\"<pad>\": 0, \"HH\": 1, \"AH\": 2, \"AH1\": 3, \"o\u028a\": 4, "
        "\"t\u0283\": 5, \"L\": 6}";
    struct al_vocab v;
    int32_t ids[9];
    CHECK_INT(al_vocab_parse(phonemes, sizeof phonemes - 1, "", 7, -1, &v, NULL), 0);
    const int32_t want[] = {1, 2, 3, AL_STAR, 4, 5};
    CHECK_INT(al_dictionary_spell(&v, "HH AH0  AH1 ZZ \u02c8o\u028a t\u0283", ids, 9), 6);
    CHECK(memcmp(ids, want, sizeof want) == 0);
    al_vocab_finish(&v);
}

TEST_MAIN()
