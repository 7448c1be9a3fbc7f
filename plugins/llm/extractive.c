/*
 * The extractive summary: see extractive.h.
 *
 * The graph is never stored. With V the sentences' unit vectors, one row each, the similarities are
 * V V^T without its diagonal, so one step of PageRank is two passes over V's entries: memory and
 * time grow with the words of the transcript, not with the square of its sentences.
 *
 *     words -> ids (hash table) -> V in rows [entry_of[s], entry_of[s + 1]) -> scores -> choice
 */
#include "llm/extractive.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "llm/sentences.h"
#include "llm/unicode.h"

#define DAMPING   0.85
#define MAX_STEPS 100
#define TOLERANCE 1e-9 /* of the sum of changes, where all scores sum to 1 */

struct entry {
    uint32_t word;
    float weight;
};

struct ranker {
    struct lm_sentences sentences;
    const struct lm_extractive_options *o;
    struct entry *entries; /* of all sentences, sorted by word within one */
    size_t *entry_of;      /* [n + 1] */
    size_t n_entries, n_words;
    uint32_t *word_sentences;      /* [n_words] in how many sentences it is */
    double *sums;                  /* [n_words] V^T x */
    double *score, *next, *degree; /* [n] */
    double *prior;                 /* [n] share of the words: where the random surfer lands */
    bool *taken;                   /* [n] */
};

/* ---- Words become numbers -------------------------------------------------------------------- */

struct vocabulary {
    struct num_buf bytes; /* all words, lower case, NUL behind each */
    uint32_t *table;      /* [size] id + 1; 0: free */
    size_t *offset;       /* [n] of each word in `bytes` */
    size_t size, n, cap;
};

static uint64_t hash_of(const char *word, size_t len) {
    uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (size_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)word[i]) * UINT64_C(0x100000001b3);
    return h;
}

/* Doubles the table; words keep their ids. */
static bool grow_table(struct vocabulary *v) {
    size_t size = v->size ? v->size * 2 : 1024;
    uint32_t *table = calloc(size, sizeof *table);
    size_t *offset = table ? reallocarray(v->offset, size, sizeof *offset) : NULL;
    if (!offset) {
        free(table);
        return false;
    }
    v->offset = offset;
    for (size_t id = 0; id < v->n; id++) {
        const char *word = v->bytes.data + v->offset[id];
        size_t at = hash_of(word, strlen(word)) & (size - 1);
        while (table[at])
            at = (at + 1) & (size - 1);
        table[at] = (uint32_t)id + 1;
    }
    free(v->table);
    v->table = table;
    v->size = size;
    return true;
}

/* The id of a word, which is added where it is new; false without memory. */
static bool word_id(struct vocabulary *v, const char *word, size_t len, uint32_t *ret) {
    if (v->n * 2 >= v->size && !grow_table(v))
        return false;
    size_t at = hash_of(word, len) & (v->size - 1);
    for (; v->table[at]; at = (at + 1) & (v->size - 1)) {
        const char *known = v->bytes.data + v->offset[v->table[at] - 1];
        if (strlen(known) == len && memcmp(known, word, len) == 0) {
            *ret = v->table[at] - 1;
            return true;
        }
    }
    v->offset[v->n] = v->bytes.len;
    num_buf_add(&v->bytes, word, len);
    num_buf_addc(&v->bytes, '\0');
    v->table[at] = (uint32_t)++v->n;
    *ret = (uint32_t)v->n - 1;
    return !v->bytes.failed;
}

static int by_word(const void *a, const void *b) {
    uint32_t x = ((const struct entry *)a)->word, y = ((const struct entry *)b)->word;
    return (x > y) - (x < y);
}

/* Sorts the entries from `begin` and joins equal words, whose weights count them. */
static void join_entries(struct ranker *r, size_t begin) {
    size_t kept = begin;
    qsort(r->entries + begin, r->n_entries - begin, sizeof *r->entries, by_word);
    for (size_t i = begin; i < r->n_entries; i++) {
        if (kept > begin && r->entries[kept - 1].word == r->entries[i].word)
            r->entries[kept - 1].weight += 1;
        else
            r->entries[kept++] = r->entries[i];
    }
    r->n_entries = kept;
}

static bool add_sentence(struct ranker *r, struct vocabulary *v, size_t index) {
    const struct lm_sentence *s = &r->sentences.items[index];
    num_autobuf lower = {0};
    size_t begin, step, first = r->n_entries;
    r->entry_of[index] = first;
    for (size_t at = 0; lm_word_next(s->text, s->len, &at, &begin);) {
        lower.len = 0;
        for (size_t i = begin; i < at; i += step)
            num_buf_add_char(&lower, lm_char_lower(num_char_next(s->text + i, at - i, &step)));
        struct entry *e = &r->entries[r->n_entries++];
        e->weight = 1;
        if (lower.failed || !word_id(v, lower.data, lower.len, &e->word))
            return false;
    }
    join_entries(r, first);
    r->entry_of[index + 1] = r->n_entries;
    return true;
}

static bool read_words(struct ranker *r, struct vocabulary *v) {
    size_t total = 0;
    for (size_t i = 0; i < r->sentences.n; i++)
        total += r->sentences.items[i].n_words;
    r->entries = calloc(total + 1, sizeof *r->entries);
    r->entry_of = calloc(r->sentences.n + 1, sizeof *r->entry_of);
    bool ok = r->entries && r->entry_of;
    for (size_t i = 0; i < r->sentences.n && ok; i++)
        ok = add_sentence(r, v, i);
    r->n_words = v->n;
    r->word_sentences = ok ? calloc(v->n + 1, sizeof *r->word_sentences) : NULL;
    return r->word_sentences != NULL;
}

/* ---- Weights and scores ---------------------------------------------------------------------- */

/* Counts become unit vectors of tf-idf. A word in every sentence weighs nothing. */
static void weigh(struct ranker *r) {
    size_t n = r->sentences.n;
    for (size_t e = 0; e < r->n_entries; e++)
        r->word_sentences[r->entries[e].word]++;
    for (size_t s = 0; s < n; s++) {
        double square = 0;
        for (size_t e = r->entry_of[s]; e < r->entry_of[s + 1]; e++) {
            struct entry *entry = &r->entries[e];
            entry->weight *= (float)log((double)n / r->word_sentences[entry->word]);
            square += (double)entry->weight * entry->weight;
        }
        for (size_t e = r->entry_of[s]; e < r->entry_of[s + 1] && square > 0; e++)
            r->entries[e].weight /= (float)sqrt(square);
    }
}

/* ret = (V V^T - diagonal) x */
static void multiply(struct ranker *r, const double *x, double *ret) {
    memset(r->sums, 0, r->n_words * sizeof *r->sums);
    for (size_t s = 0; s < r->sentences.n; s++)
        for (size_t e = r->entry_of[s]; e < r->entry_of[s + 1]; e++)
            r->sums[r->entries[e].word] += x[s] * r->entries[e].weight;
    for (size_t s = 0; s < r->sentences.n; s++) {
        double sum = 0, square = 0;
        for (size_t e = r->entry_of[s]; e < r->entry_of[s + 1]; e++) {
            sum += r->sums[r->entries[e].word] * r->entries[e].weight;
            square += (double)r->entries[e].weight * r->entries[e].weight;
        }
        ret[s] = sum - square * x[s];
    }
}

/* One step of PageRank; a sentence without edges gives its score to all, by their prior. */
static double step_rank(struct ranker *r, double *share) {
    size_t n = r->sentences.n;
    double lost = 0, change = 0;
    for (size_t s = 0; s < n; s++) {
        bool connected = r->degree[s] > 1e-6;
        share[s] = connected ? r->score[s] / r->degree[s] : 0;
        lost += connected ? 0 : r->score[s];
    }
    multiply(r, share, r->next);
    for (size_t s = 0; s < n; s++) {
        double score = (1 - DAMPING + DAMPING * lost) * r->prior[s] + DAMPING * r->next[s];
        change += fabs(score - r->score[s]);
        r->score[s] = score;
    }
    return change;
}

static int32_t rank(struct ranker *r, struct num_err *err) {
    size_t n = r->sentences.n;
    double *share = calloc(n, sizeof *share);
    if (!share)
        return num_fail_memory(err, "the scores", n * sizeof *share);
    int32_t status = SLUICE_OK;
    double change = 1, words = 0;
    for (size_t s = 0; s < n; s++) {
        share[s] = 1;
        words += r->sentences.items[s].n_words;
    }
    multiply(r, share, r->degree);
    for (size_t s = 0; s < n; s++)
        r->score[s] = r->prior[s] = r->sentences.items[s].n_words / words;
    for (int i = 0; i < MAX_STEPS && change > TOLERANCE && status == SLUICE_OK; i++) {
        change = step_rank(r, share);
        status = num_go_on(r->o->watch, err);
    }
    free(share);
    return status;
}

/* ---- Choice ---------------------------------------------------------------------------------- */

static double cosine(const struct ranker *r, size_t a, size_t b) {
    double sum = 0;
    size_t i = r->entry_of[a], j = r->entry_of[b];
    while (i < r->entry_of[a + 1] && j < r->entry_of[b + 1]) {
        uint32_t x = r->entries[i].word, y = r->entries[j].word;
        if (x == y)
            sum += (double)r->entries[i].weight * r->entries[j].weight;
        i += x <= y;
        j += y <= x;
    }
    return sum;
}

/* Sentences by score, best first; of equal ones the earlier. */
static int by_score(const void *a, const void *b, void *ctx) {
    const double *score = ctx;
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    if (score[x] != score[y])
        return score[x] > score[y] ? -1 : 1;
    return (x > y) - (x < y);
}

static size_t *sorted(struct ranker *r) {
    size_t *order = calloc(r->sentences.n, sizeof *order);
    for (size_t s = 0; order && s < r->sentences.n; s++)
        order[s] = s;
    if (order)
        qsort_r(order, r->sentences.n, sizeof *order, by_score, r->score);
    return order;
}

static bool repeats(const struct ranker *r, const size_t *chosen, size_t n, size_t s) {
    for (size_t i = 0; i < n; i++)
        if (cosine(r, s, chosen[i]) >= r->o->max_similarity)
            return true;
    return false;
}

static uint32_t shortest_allowed(const struct ranker *r) {
    for (size_t s = 0; s < r->sentences.n; s++)
        if (r->sentences.items[s].n_words >= r->o->min_words)
            return r->o->min_words;
    return 0;
}

static bool choose(struct ranker *r, struct lm_extractive_report *report) {
    uint32_t least = shortest_allowed(r), limit = r->o->max_words ? r->o->max_words : UINT32_MAX;
    size_t *order = sorted(r), n = 0;
    if (!order)
        return false;
    for (size_t i = 0; i < r->sentences.n && n < r->o->max_sentences; i++) {
        size_t s = order[i];
        uint32_t words = r->sentences.items[s].n_words;
        bool fits = n == 0 || words <= limit - report->n_words;
        if (words < least || !fits || repeats(r, order, n, s))
            continue;
        r->taken[s] = true;
        order[n++] = s; /* those taken come first: n is never beyond i */
        report->n_words += words;
        if (report->n_words >= limit)
            break;
    }
    report->n_taken = n;
    free(order);
    return true;
}

static void print(const struct ranker *r, const struct lm_transcript *t, struct num_buf *out) {
    for (size_t s = 0; s < r->sentences.n; s++) {
        const struct lm_sentence *sentence = &r->sentences.items[s];
        const char *speaker = t->segments[sentence->segment].speaker;
        if (!r->taken[s])
            continue;
        if (r->o->speakers && speaker)
            num_buf_addf(out, "%.200s: ", speaker);
        num_buf_add(out, sentence->text, sentence->len);
        num_buf_addc(out, '\n');
    }
}

static void finish(struct ranker *r, struct vocabulary *v) {
    lm_sentences_finish(&r->sentences);
    free(r->entries);
    free(r->entry_of);
    free(r->word_sentences);
    free(r->sums);
    free(r->score);
    free(r->next);
    free(r->degree);
    free(r->prior);
    free(r->taken);
    num_buf_finish(&v->bytes);
    free(v->table);
    free(v->offset);
}

static bool allocate(struct ranker *r) {
    size_t n = r->sentences.n;
    r->sums = calloc(r->n_words + 1, sizeof *r->sums);
    r->score = calloc(n + 1, sizeof *r->score);
    r->next = calloc(n + 1, sizeof *r->next);
    r->degree = calloc(n + 1, sizeof *r->degree);
    r->prior = calloc(n + 1, sizeof *r->prior);
    r->taken = calloc(n + 1, sizeof *r->taken);
    return r->sums && r->score && r->next && r->degree && r->prior && r->taken;
}

int32_t lm_extract_summary(const struct lm_transcript *t, const struct lm_extractive_options *o,
                           struct num_buf *out, struct lm_extractive_report *ret,
                           struct num_err *err) {
    struct ranker r = {.o = o};
    struct vocabulary v = {0};
    struct lm_extractive_report report = {0};
    int32_t status = lm_sentences_cut(t, &r.sentences, err);
    if (status == SLUICE_OK && (!read_words(&r, &v) || !allocate(&r)))
        status = num_fail_memory(err, "the words", r.sentences.text.len);
    report.n_sentences = r.sentences.n;
    if (status == SLUICE_OK && r.sentences.n > 0) {
        weigh(&r);
        status = rank(&r, err);
        if (status == SLUICE_OK && !choose(&r, &report))
            status = num_fail_memory(err, "the choice", r.sentences.n);
    }
    if (status == SLUICE_OK)
        print(&r, t, out);
    finish(&r, &v);
    if (status == SLUICE_OK && out->failed)
        status = num_fail_memory(err, "the summary", out->len);
    if (status == SLUICE_OK)
        *ret = report;
    return status;
}
