/*
 * Who holds which page of keys and values. A page that a prompt has filled keeps its content when
 * nobody holds it any more, until its room is wanted: the least recently used goes first. It is
 * found again by its tokens and by the page before it, whose content has a number of its own, so
 * that a match is exact: the same tokens from the beginning of a text on.
 *
 * Pure bookkeeping: the memory of pages is somebody else's.
 */
#ifndef LM_PAGES_H
#define LM_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "num/err.h"

struct lm_pages;

/* n pages of n_positions each. */
int32_t lm_pages_create(uint32_t n, uint32_t n_positions, struct lm_pages **ret,
                        struct num_err *err);
void lm_pages_destroy(struct lm_pages *p); /* takes NULL */

/*
 * Takes `n` pages into ret for a text that begins with `prompt`: first those that hold its
 * beginning already, at most so many that one token of the prompt is left, then empty ones.
 * *ret_n_cached: of the first kind. False, and nothing is taken, where there are not enough.
 */
bool lm_pages_take(struct lm_pages *p, const int32_t *prompt, size_t n_prompt, uint32_t n,
                   uint32_t *ret, uint32_t *ret_n_cached);

/* Page `index` of a text (its pages are `held`) now holds these tokens of its prompt: others may
 * take it over. */
void lm_pages_fill(struct lm_pages *p, const uint32_t *held, uint32_t index, const int32_t *tokens);

/* Gives n pages back. */
void lm_pages_give(struct lm_pages *p, const uint32_t *held, uint32_t n);

/* Pages that nobody holds. */
uint32_t lm_pages_free(const struct lm_pages *p);

#endif
