/* Bookkeeping of pages: see pages.h. Searches are linear: pages are thousands at most, and looked
 * at once for every 32 tokens of a prompt. */
#include "llm/pages.h"

#include <stdlib.h>
#include <string.h>

struct page {
    uint64_t content;   /* number of what it holds; 0: nothing that others may use */
    uint64_t parent;    /* content of the page before it; 0: it begins a text */
    uint64_t last_used; /* when it was given back */
    uint32_t n_holders;
};

struct lm_pages {
    struct page *pages;
    int32_t *tokens; /* (n, n_positions) */
    uint32_t n, n_positions;
    uint64_t n_contents, clock;
};

int32_t lm_pages_create(uint32_t n, uint32_t n_positions, struct lm_pages **ret,
                        struct num_err *err) {
    struct lm_pages *p = calloc(1, sizeof *p);
    struct page *pages = calloc(n, sizeof *pages);
    int32_t *tokens = calloc((size_t)n * n_positions, sizeof *tokens);
    if (!p || !pages || !tokens) {
        free(p);
        free(pages);
        free(tokens);
        return num_fail_memory(err, "the list of pages", n * sizeof *pages);
    }
    *p = (struct lm_pages){.pages = pages, .tokens = tokens, .n = n, .n_positions = n_positions};
    *ret = p;
    return SLUICE_OK;
}

void lm_pages_destroy(struct lm_pages *p) {
    if (!p)
        return;
    free(p->pages);
    free(p->tokens);
    free(p);
}

uint32_t lm_pages_free(const struct lm_pages *p) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->n; i++)
        n += p->pages[i].n_holders == 0;
    return n;
}

/* The page that holds these tokens behind `parent`; p->n: none. */
static uint32_t find(const struct lm_pages *p, uint64_t parent, const int32_t *tokens) {
    size_t bytes = p->n_positions * sizeof *tokens;
    for (uint32_t i = 0; i < p->n; i++)
        if (p->pages[i].content && p->pages[i].parent == parent &&
            memcmp(p->tokens + (size_t)i * p->n_positions, tokens, bytes) == 0)
            return i;
    return p->n;
}

/* The page that is missed least: an empty one, or the least recently used. */
static uint32_t oldest(const struct lm_pages *p) {
    uint32_t best = p->n;
    for (uint32_t i = 0; i < p->n; i++) {
        const struct page *page = &p->pages[i];
        if (page->n_holders == 0 && page->content == 0)
            return i;
        if (page->n_holders == 0 && (best == p->n || page->last_used < p->pages[best].last_used))
            best = i;
    }
    return best;
}

bool lm_pages_take(struct lm_pages *p, const int32_t *prompt, size_t n_prompt, uint32_t n,
                   uint32_t *ret, uint32_t *ret_n_cached) {
    uint32_t n_taken = 0;
    uint64_t parent = 0;
    for (; n_taken < n && (n_taken + 1) * (size_t)p->n_positions < n_prompt; n_taken++) {
        uint32_t page = find(p, parent, prompt + (size_t)n_taken * p->n_positions);
        if (page == p->n)
            break;
        p->pages[page].n_holders++;
        parent = p->pages[page].content;
        ret[n_taken] = page;
    }
    if (lm_pages_free(p) < n - n_taken) {
        lm_pages_give(p, ret, n_taken);
        return false;
    }
    *ret_n_cached = n_taken;
    for (; n_taken < n; n_taken++) {
        ret[n_taken] = oldest(p);
        p->pages[ret[n_taken]] = (struct page){.n_holders = 1};
    }
    return true;
}

void lm_pages_fill(struct lm_pages *p, const uint32_t *held, uint32_t index,
                   const int32_t *tokens) {
    struct page *page = &p->pages[held[index]];
    uint64_t parent = index ? p->pages[held[index - 1]].content : 0;
    if (index && !parent)
        return; /* the page before it is no one else's either */
    if (find(p, parent, tokens) != p->n)
        return; /* another text of the same beginning was faster */
    page->content = ++p->n_contents;
    page->parent = parent;
    memcpy(p->tokens + (size_t)held[index] * p->n_positions, tokens,
           p->n_positions * sizeof *tokens);
}

/* The last page of a text goes before its first, which more texts share. */
void lm_pages_give(struct lm_pages *p, const uint32_t *held, uint32_t n) {
    for (uint32_t i = n; i-- > 0;) {
        struct page *page = &p->pages[held[i]];
        page->n_holders--;
        page->last_used = ++p->clock;
    }
}
