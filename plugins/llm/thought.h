/*
 * What a model thinks aloud before its answer, "<think>...</think>", taken out of a text as it
 * comes. Only a block that the text begins with counts. Pure.
 */
#ifndef LM_THOUGHT_H
#define LM_THOUGHT_H

#include <stdbool.h>
#include <stddef.h>

enum lm_thought_place {
    LM_THOUGHT_BEFORE, /* nothing but white space and a part of "<think>" was there */
    LM_THOUGHT_INSIDE, /* where a prompt ends with "<think>", the answer begins here */
    LM_THOUGHT_BEHIND, /* all that follows is answer; also where thoughts are kept */
};

/* Zeroed: at the beginning. */
struct lm_thought {
    enum lm_thought_place place;
    char held[16]; /* what may yet become a mark */
    size_t n_held;
};

/* Gives what of `text` is answer to `out`, in order; `out` may be called any number of times. */
void lm_thought_add(struct lm_thought *t, const char *text, size_t len,
                    void (*out)(void *ctx, const char *text, size_t len), void *ctx);
/* What was held back at the end of the text. */
void lm_thought_end(struct lm_thought *t, void (*out)(void *ctx, const char *text, size_t len),
                    void *ctx);

/* Bytes to take off the front of a whole answer whose block was begun by the prompt: up to and with
 * "</think>" where there is one and no "<think>" before it; else 0. */
size_t lm_thought_front(const char *text, size_t len);

#endif
