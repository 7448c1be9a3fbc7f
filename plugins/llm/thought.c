/* Thoughts in front of an answer: see thought.h. What is held back is never longer than a mark. */
#include "llm/thought.h"

#include <string.h>

static const char opening[] = "<think>", closing[] = "</think>";

static bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* One more character; true: it belongs to the mark so far or completes it (n_held is its
 * length). */
static bool hold(struct lm_thought *t, const char *mark, char c) {
    if (mark[t->n_held] != c)
        return false;
    t->held[t->n_held++] = c;
    return true;
}

/* Whether c goes on with "</think>"; marks do not overlap with themselves but at "<". */
static void look_for_end(struct lm_thought *t, char c) {
    if (!hold(t, closing, c)) {
        t->n_held = 0;
        hold(t, closing, c);
    }
    if (t->n_held == sizeof closing - 1) {
        t->place = LM_THOUGHT_BEHIND;
        t->n_held = 0;
    }
}

/* False: c and what is held are the beginning of an answer without thoughts. */
static bool look_for_begin(struct lm_thought *t, char c) {
    if (t->n_held == 0 && is_space(c))
        return true;
    if (!hold(t, opening, c))
        return false;
    if (t->n_held == sizeof opening - 1) {
        t->place = LM_THOUGHT_INSIDE;
        t->n_held = 0;
    }
    return true;
}

void lm_thought_add(struct lm_thought *t, const char *text, size_t len,
                    void (*out)(void *ctx, const char *text, size_t len), void *ctx) {
    size_t i = 0;
    for (; i < len && t->place != LM_THOUGHT_BEHIND; i++) {
        if (t->place == LM_THOUGHT_INSIDE) {
            look_for_end(t, text[i]);
        } else if (!look_for_begin(t, text[i])) {
            lm_thought_end(t, out, ctx);
            break;
        }
    }
    if (i < len)
        out(ctx, text + i, len - i);
}

void lm_thought_end(struct lm_thought *t, void (*out)(void *ctx, const char *text, size_t len),
                    void *ctx) {
    if (t->place == LM_THOUGHT_BEFORE && t->n_held)
        out(ctx, t->held, t->n_held);
    if (t->place == LM_THOUGHT_BEFORE)
        t->place = LM_THOUGHT_BEHIND;
    t->n_held = 0;
}

size_t lm_thought_front(const char *text, size_t len) {
    const char *end = memmem(text, len, closing, sizeof closing - 1);
    if (!end || memmem(text, (size_t)(end - text), opening, sizeof opening - 1))
        return 0;
    return (size_t)(end - text) + sizeof closing - 1;
}
