/* Thoughts in front of answers, cut at every place: what is left of them is the answer. */
#include "unit/test.h"

#include "num/buf.h"
#include "llm/thought.h"

static void add(void *ctx, const char *text, size_t len) {
    num_buf_add(ctx, text, len);
}

/* The answer of `text`, given in two pieces, the second of them byte by byte. */
static void check(const char *text, const char *want, enum lm_thought_place place) {
    size_t len = strlen(text);
    for (size_t cut = 0; cut <= len; cut++) {
        struct lm_thought t = {.place = place};
        num_autobuf out = {0};
        lm_thought_add(&t, text, cut, add, &out);
        for (size_t i = cut; i < len; i++)
            lm_thought_add(&t, text + i, 1, add, &out);
        lm_thought_end(&t, add, &out);
        CHECK_STR(num_buf_text(&out), want);
    }
}

TEST(a_block_in_front_is_taken_out) {
    check("<think>a</think>b", "b", LM_THOUGHT_BEFORE);
    check(" \n<think>\na < b</thi</think>\n\nb<think>c</think>", "\n\nb<think>c</think>",
          LM_THOUGHT_BEFORE);
    check("<think></think>", "", LM_THOUGHT_BEFORE);
    check("<think><</</think>x", "x", LM_THOUGHT_BEFORE);
    check("a</think>b", "b", LM_THOUGHT_INSIDE);
}

TEST(all_else_stays) {
    check("", "", LM_THOUGHT_BEFORE);
    check("<thin", "<thin", LM_THOUGHT_BEFORE);
    check("<thinking>", "<thinking>", LM_THOUGHT_BEFORE);
    check("a<think>b</think>", "a<think>b</think>", LM_THOUGHT_BEFORE);
    check("<think>b</think>", "<think>b</think>", LM_THOUGHT_BEHIND);
}

TEST(thoughts_without_an_end_are_no_answer) {
    check("<think>and so on", "", LM_THOUGHT_BEFORE);
}

TEST(a_block_that_the_prompt_began) {
    CHECK_INT(lm_thought_front("so</think>b", 11), 10);
    CHECK_INT(lm_thought_front("a<think>so</think>b", 19), 0);
    CHECK_INT(lm_thought_front("b", 1), 0);
    CHECK_INT(lm_thought_front("", 0), 0);
}

TEST_MAIN()
