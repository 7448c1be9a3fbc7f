/* Grammars in GBNF: what they allow, and what is said of those that are none. */
#include "unit/test.h"

#include "llm/gbnf.h"
#include "llm/matcher.h"
#include "num/buf.h"

/* 1: the grammar allows the text; 0: it does not, or not yet. */
static int match(const char *grammar, const char *text) {
    struct lm_grammar *g = NULL;
    struct lm_matcher *m = NULL;
    struct num_err err = {0};
    if (lm_gbnf_compile(grammar, strlen(grammar), &g, &err) || lm_matcher_create(g, &m, &err))
        TEST_FAIL("%s: %s", grammar, err.text);
    int32_t state = lm_matcher_start(m);
    for (; *text; text++)
        state = lm_matcher_step(m, state, (uint8_t)*text);
    int found = lm_matcher_accepts(m, state);
    lm_matcher_destroy(m);
    lm_grammar_destroy(g);
    return found;
}

/* `good` and `bad`: texts that are allowed and that are not, each NULL-terminated. */
static void check(const char *grammar, const char *const *good, const char *const *bad) {
    for (; *good; good++)
        if (!match(grammar, *good))
            TEST_FAIL("%s\n  refuses %s", grammar, *good);
    for (; *bad; bad++)
        if (match(grammar, *bad))
            TEST_FAIL("%s\n  allows %s", grammar, *bad);
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

TEST(items) {
    check("root ::= \"a\\n\\x42\\u00e4\\U0001F600\\\"\"", LIST("a\nB\u00e4\U0001F600\""),
          LIST("a", ""));
    check("root ::= [a-c\\-\\]x]", LIST("a", "b", "c", "-", "]", "x"), LIST("d", "ab", ""));
    check("root ::= [^\\n\u00e4-\u00f6]+", LIST("ab", "\u00e3", "\u00f7", "\U0001F600"),
          LIST("\n", "\u00e5", "a\u00f6", "\xff"));
    check("root ::= .", LIST("a", "\n", "\u20ac"), LIST("", "ab", "\xe2"));
    check("root ::= [a-]", LIST("a", "-"), LIST("b"));
}

TEST(repetitions) {
    check("root ::= \"a\"* \"b\"+ \"c\"?", LIST("b", "aabbc"), LIST("a", "ac", "bcc"));
    check("root ::= [ab]{2} (\"x\" | \"yz\"){1,2} \"q\"{2,}", LIST("abxqq", "bbyzxqqqq"),
          LIST("axqq", "abqq", "abxq", "abxxxqq"));
    check("root ::= \"a\"{0} \"b\"{1} (\"c\")*", LIST("b", "bcc"), LIST("ab", ""));
    check("root ::= ((\"a\")+ \",\")*", LIST("", "a,", "aa,a,"), LIST(",", "a"));
}

TEST(rules_and_lines) {
    check(
        "# a list\nroot ::= item (\", \"  # then\n   item)*\nitem ::= word |\n  \"-\" word | \"\"\n"
        "word ::=\n  [a-z]+ # letters\n",
        LIST("a", "a, -b", ", "), LIST("-", "a,b"));
    check("a-1 ::= \"x\"\r\nroot ::= a-1 a-1", LIST("xx"), LIST("x"));
    check("root ::= \"(\" root \")\" | \"\"", LIST("", "(())"), LIST("(", ")("));
    check("root ::= x | \"y\"\nx ::= \"x\"", LIST("x", "y"), LIST("xy"));
}

TEST(what_is_no_grammar) {
    static const struct {
        const char *grammar, *says;
    } cases[] = {
        {"", "no rule root"},
        {"a ::= \"x\"", "no rule root"},
        {"root ::= b", "no rule b"},
        {"root ::= \"x", "1:12: expected the end of the text"},
        {"root ::= \"x\ny\"", "1:12: expected the end of the text"},
        {"root ::= [a", "1:12: expected the end of the class"},
        {"root ::= []", "the class has no characters"},
        {"root ::= [z-a]", "the first character is behind"},
        {"root ::= \"\\q\"", "expected an escape"},
        {"root ::= \"\\xg1\"", "expected a hexadecimal digit"},
        {"root ::= \"\\ud800\"", "no such character"},
        {"root ::= (\"a\"", "expected )"},
        {"root ::= \"a\")", "1:13: expected an item"},
        {"root ::= \"a\"{2", "expected }"},
        {"root ::= \"a\"{3,2}", "least number of times is above"},
        {"root ::= \"a\"{1000001}", "more than 1000000"},
        {"root = \"a\"", "1:6: expected ::="},
        {"root ::= \"a\"\n\n  *", "3:3: expected the name of a rule"},
        {"root ::= \"a\"\nroot ::= \"b\"", "2:1: there is a rule of that name"},
        {"root ::= root \"a\" | \"b\"", "left-recursive"},
        {"root ::= \"a\" root", "never ends"},
        {"root ::= \"\xff\"", "no UTF-8"},
        {"root ::= <[1]>", "1:10: expected an item"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct lm_grammar *g = NULL;
        struct num_err err = {0};
        if (lm_gbnf_compile(cases[i].grammar, strlen(cases[i].grammar), &g, &err) != SLUICE_INPUT)
            TEST_FAIL("%s is taken for a grammar", cases[i].grammar);
        if (!strstr(err.text, cases[i].says))
            TEST_FAIL("%s: %s", cases[i].grammar, err.text);
    }
    struct lm_grammar *g = NULL;
    struct num_err err = {0};
    char deep[400] = "root ::= ";
    memset(deep + 9, '(', 100);
    CHECK_INT(lm_gbnf_compile(deep, strlen(deep), &g, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, "more than 60 parentheses");
}

/* Each rule is known to end only once the one behind it is. */
TEST(a_long_chain_of_rules_is_told_soon) {
    num_autobuf text = {0};
    struct lm_grammar *g = NULL;
    struct num_err err = {0};
    num_buf_adds(&text, "root ::= r0\n");
    for (int i = 0; i < 3000; i++)
        num_buf_addf(&text, "r%d ::= \"a\" r%d\n", i, i + 1);
    num_buf_adds(&text, "r3000 ::= \"b\"");
    if (lm_gbnf_compile(text.data, text.len, &g, &err))
        TEST_FAIL("%s", err.text);
    lm_grammar_destroy(g);
}

TEST_MAIN()
