/*
 * The automaton: see matcher.h. A way is an instruction and a stack of what waits behind it (places
 * to return to, counters); stacks share their tails and equal ones are one. A state is the sorted
 * set of ways that stand before an I_BYTES, and whether one of them has come to the end.
 */
#include "llm/matcher.h"

#include <stdlib.h>
#include <string.h>

#include "llm/grammar_program.h"

#define MAX_WAYS    2048      /* of one state, and of those passed on the way to it */
#define MAX_DEPTH   4096      /* of a stack */
#define MAX_STATES  (1 << 20) /* before the matcher gives up */
#define TIDY_STATES (1 << 15)
#define UNKNOWN     (-2)
#define EMPTY       0 /* the empty stack */

struct frame {
    uint32_t value; /* where to return to, or the count */
    uint32_t parent, depth;
    bool counts;
};

struct way {
    uint32_t at, stack;
};

struct state {
    size_t first; /* its ways, [first, first + n) of m->ways */
    uint32_t n;
    bool accepts;
    uint64_t hash;
};

/* A hash table of numbers that stand for what the owner compares. */
struct table {
    uint32_t *slots; /* number + 1; 0: free */
    size_t size, n;
};

struct lm_matcher {
    const struct lm_grammar *g;
    struct frame *frames;
    struct way *ways;
    struct state *states;
    int32_t *next; /* [n_states][n_classes] */
    size_t n_frames, frame_cap, n_ways, way_cap, n_states, state_cap;
    struct table frame_table, state_table;
    /* of one step */
    struct way open[MAX_WAYS], passed[MAX_WAYS], found[MAX_WAYS];
    size_t n_open, n_passed, n_found;
    uint32_t seen[4 * MAX_WAYS], stamp[4 * MAX_WAYS], now; /* which ways were passed */
    bool accepts, failed;
    uint32_t generation;
};

/* ---- Memory ---- */

static bool reserve(struct lm_matcher *m, void **items, size_t *cap, size_t n, size_t size) {
    if (n <= *cap)
        return true;
    size_t more = *cap ? *cap * 2 : 256;
    void *data = reallocarray(*items, more > n ? more : n, size);
    if (!data) {
        m->failed = true;
        return false;
    }
    *items = data;
    *cap = more > n ? more : n;
    return true;
}

static uint64_t mix(uint64_t h, uint64_t v) {
    h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ (h >> 29);
}

/* Makes room for one more; hash_of() tells where what is there belongs. */
static bool table_grow(struct lm_matcher *m, struct table *t,
                       uint64_t (*hash_of)(const struct lm_matcher *m, uint32_t number)) {
    if (t->n * 2 < t->size)
        return true;
    size_t size = t->size ? t->size * 2 : 1024;
    uint32_t *slots = calloc(size, sizeof *slots);
    if (!slots) {
        m->failed = true;
        return false;
    }
    for (size_t i = 0; i < t->size; i++) {
        if (!t->slots[i])
            continue;
        size_t at = hash_of(m, t->slots[i] - 1) & (size - 1);
        while (slots[at])
            at = (at + 1) & (size - 1);
        slots[at] = t->slots[i];
    }
    free(t->slots);
    t->slots = slots;
    t->size = size;
    return true;
}

/* ---- Stacks ---- */

static uint64_t frame_hash(const struct lm_matcher *m, uint32_t i) {
    const struct frame *f = &m->frames[i];
    return mix(mix(f->value, f->parent), f->counts);
}

static uint32_t push(struct lm_matcher *m, uint32_t parent, uint32_t value, bool counts) {
    struct frame f = {value, parent, m->frames[parent].depth + 1, counts};
    struct table *t = &m->frame_table;
    void *frames = m->frames;
    if (f.depth > MAX_DEPTH)
        m->failed = true;
    if (m->failed || !table_grow(m, t, frame_hash))
        return EMPTY;
    size_t at = mix(mix(value, parent), counts) & (t->size - 1);
    for (; t->slots[at]; at = (at + 1) & (t->size - 1)) {
        const struct frame *other = &m->frames[t->slots[at] - 1];
        if (other->value == value && other->parent == parent && other->counts == counts)
            return t->slots[at] - 1;
    }
    if (!reserve(m, &frames, &m->frame_cap, m->n_frames + 1, sizeof f))
        return EMPTY;
    m->frames = frames;
    m->frames[m->n_frames] = f;
    t->slots[at] = (uint32_t)++m->n_frames;
    t->n++;
    return (uint32_t)m->n_frames - 1;
}

/* ---- From instructions to the bytes behind them ---- */

/* Notes a way; false where it was passed already. */
static bool note(struct lm_matcher *m, struct way w) {
    const size_t size = sizeof m->seen / sizeof *m->seen;
    size_t at = mix(w.at, w.stack) & (size - 1);
    for (; m->stamp[at] == m->now; at = (at + 1) & (size - 1)) {
        const struct way *other = &m->passed[m->seen[at]];
        if (other->at == w.at && other->stack == w.stack)
            return false;
    }
    if (m->n_passed == MAX_WAYS) {
        m->failed = true;
        return false;
    }
    m->stamp[at] = m->now;
    m->seen[at] = (uint32_t)m->n_passed;
    m->passed[m->n_passed++] = w;
    return true;
}

static void open_way(struct lm_matcher *m, uint32_t at, uint32_t stack) {
    struct way w = {at, stack};
    if (!m->failed && note(m, w))
        m->open[m->n_open++] = w; /* every open way is a passed one: there is room */
}

static void loop(struct lm_matcher *m, const struct lm_instruction *i, struct way w) {
    uint32_t count = m->frames[w.stack].value;
    if (count < i->max)
        open_way(m, w.at + 1, w.stack);
    if (count >= i->min)
        open_way(m, i->a, m->frames[w.stack].parent);
}

/* Counts; without an upper bound no further than to the lower one, beyond which all is the same. */
static void next(struct lm_matcher *m, const struct lm_instruction *i, struct way w) {
    const struct lm_instruction *begin = &m->g->code[i->a];
    struct frame f = m->frames[w.stack];
    bool saturated = begin->max == LM_UNBOUNDED && f.value >= begin->min;
    open_way(m, i->a, saturated ? w.stack : push(m, f.parent, f.value + 1, true));
}

static void call(struct lm_matcher *m, const struct lm_instruction *i, struct way w) {
    bool tail = m->g->code[w.at + 1].code == I_RETURN; /* needs no place to return to */
    uint32_t stack = tail ? w.stack : push(m, w.stack, w.at + 1, false);
    open_way(m, m->g->rules[i->a].start, stack);
}

static void pass(struct lm_matcher *m, struct way w) {
    const struct lm_instruction *i = &m->g->code[w.at];
    switch (i->code) {
    case I_BYTES:
        m->found[m->n_found++] = w;
        break;
    case I_SPLIT:
        open_way(m, i->a, w.stack);
        open_way(m, i->b, w.stack);
        break;
    case I_JUMP:
        open_way(m, i->a, w.stack);
        break;
    case I_CALL:
        call(m, i, w);
        break;
    case I_RETURN:
        if (w.stack == EMPTY)
            m->accepts = true;
        else
            open_way(m, m->frames[w.stack].value, m->frames[w.stack].parent);
        break;
    case I_COUNT:
        open_way(m, w.at + 1, push(m, w.stack, 0, true));
        break;
    case I_LOOP:
        loop(m, i, w);
        break;
    case I_NEXT:
        next(m, i, w);
        break;
    }
}

static void begin_ways(struct lm_matcher *m) {
    m->n_open = m->n_passed = m->n_found = 0;
    m->accepts = false;
    if (++m->now == 0) {
        memset(m->stamp, 0, sizeof m->stamp);
        m->now = 1;
    }
}

static void pass_all(struct lm_matcher *m) {
    while (m->n_open > 0 && !m->failed)
        pass(m, m->open[--m->n_open]);
}

/* ---- States ---- */

static int by_way(const void *a, const void *b) {
    const struct way *x = a, *y = b;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return (x->stack > y->stack) - (x->stack < y->stack);
}

static uint64_t state_hash(const struct lm_matcher *m, uint32_t i) {
    return m->states[i].hash;
}

static bool same_state(const struct lm_matcher *m, const struct state *s, uint64_t hash) {
    return s->hash == hash && s->n == m->n_found && s->accepts == m->accepts &&
           (s->n == 0 || memcmp(m->ways + s->first, m->found, s->n * sizeof *m->found) == 0);
}

static int32_t add_state(struct lm_matcher *m, uint64_t hash) {
    size_t classes = m->g->n_classes, cap = m->state_cap, next_cap = m->state_cap;
    void *ways = m->ways, *states = m->states, *next_states = m->next;
    if (m->n_states == MAX_STATES ||
        !reserve(m, &ways, &m->way_cap, m->n_ways + m->n_found, sizeof *m->ways)) {
        m->failed = true;
        return LM_DEAD;
    }
    m->ways = ways;
    bool ok = reserve(m, &states, &cap, m->n_states + 1, sizeof *m->states);
    m->states = states;
    ok = ok && reserve(m, &next_states, &next_cap, m->n_states + 1, classes * sizeof *m->next);
    m->next = next_states;
    if (!ok)
        return LM_DEAD;
    m->state_cap = cap;
    if (m->n_found)
        memcpy(m->ways + m->n_ways, m->found, m->n_found * sizeof *m->found);
    m->states[m->n_states] = (struct state){m->n_ways, (uint32_t)m->n_found, m->accepts, hash};
    for (size_t i = 0; i < classes; i++)
        m->next[m->n_states * classes + i] = UNKNOWN;
    m->n_ways += m->n_found;
    return (int32_t)m->n_states++;
}

/* The state of the ways that were found. */
static int32_t find_state(struct lm_matcher *m) {
    struct table *t = &m->state_table;
    if (m->failed || (m->n_found == 0 && !m->accepts))
        return LM_DEAD;
    qsort(m->found, m->n_found, sizeof *m->found, by_way);
    uint64_t hash = mix(m->n_found, m->accepts);
    for (size_t i = 0; i < m->n_found; i++)
        hash = mix(mix(hash, m->found[i].at), m->found[i].stack);
    if (!table_grow(m, t, state_hash))
        return LM_DEAD;
    size_t at = hash & (t->size - 1);
    for (; t->slots[at]; at = (at + 1) & (t->size - 1))
        if (same_state(m, &m->states[t->slots[at] - 1], hash))
            return (int32_t)t->slots[at] - 1;
    int32_t state = add_state(m, hash);
    if (state != LM_DEAD) {
        t->slots[at] = (uint32_t)state + 1;
        t->n++;
    }
    return state;
}

static int32_t compute(struct lm_matcher *m, int32_t state, uint8_t byte) {
    struct state s = m->states[state];
    begin_ways(m);
    for (uint32_t i = 0; i < s.n; i++) {
        struct way w = m->ways[s.first + i];
        if (lm_set_has(&m->g->sets[m->g->code[w.at].a], byte))
            open_way(m, w.at + 1, w.stack);
    }
    pass_all(m);
    return find_state(m);
}

int32_t lm_matcher_step(struct lm_matcher *m, int32_t state, uint8_t byte) {
    if (state < 0)
        return LM_DEAD;
    size_t at = (size_t)state * m->g->n_classes + m->g->class_of[byte];
    int32_t known = m->next[at];
    if (known != UNKNOWN)
        return known;
    known = compute(m, state, byte);
    if (!m->failed)
        m->next[at] = known;
    return known;
}

bool lm_matcher_accepts(const struct lm_matcher *m, int32_t state) {
    return state >= 0 && m->states[state].accepts;
}

bool lm_matcher_is_final(struct lm_matcher *m, int32_t state) {
    return state >= 0 && m->states[state].accepts && m->states[state].n == 0;
}

bool lm_matcher_failed(const struct lm_matcher *m) {
    return m->failed;
}

uint32_t lm_matcher_generation(const struct lm_matcher *m) {
    return m->generation;
}

int32_t lm_matcher_start(const struct lm_matcher *m) {
    (void)m;
    return 0;
}

/* ---- Life ---- */

/* Empties all tables and makes state 0. */
static int32_t reset(struct lm_matcher *m) {
    void *frames = m->frames;
    m->n_frames = m->n_ways = m->n_states = 0;
    m->frame_table.n = m->state_table.n = 0;
    if (m->frame_table.slots)
        memset(m->frame_table.slots, 0, m->frame_table.size * sizeof *m->frame_table.slots);
    if (m->state_table.slots)
        memset(m->state_table.slots, 0, m->state_table.size * sizeof *m->state_table.slots);
    if (!reserve(m, &frames, &m->frame_cap, 1, sizeof *m->frames))
        return LM_DEAD;
    m->frames = frames;
    m->frames[m->n_frames++] = (struct frame){0}; /* EMPTY; in no table */
    m->generation++;
    begin_ways(m);
    open_way(m, m->g->rules[0].start, EMPTY);
    pass_all(m);
    return find_state(m);
}

/* Builds a stack of another time anew. */
static uint32_t restore(struct lm_matcher *m, const struct frame *old, uint32_t stack) {
    uint32_t order[MAX_DEPTH + 1], n = 0, now = EMPTY;
    for (; stack != EMPTY; stack = old[stack].parent)
        order[n++] = stack;
    while (n-- > 0)
        now = push(m, now, old[order[n]].value, old[order[n]].counts);
    return now;
}

int32_t lm_matcher_tidy(struct lm_matcher *m, int32_t state) {
    if (state < 0 || m->n_states < TIDY_STATES)
        return state;
    struct state s = m->states[state];
    struct way *ways = calloc(s.n + 1, sizeof *ways);
    struct frame *frames = calloc(m->n_frames, sizeof *frames);
    if (ways && frames) {
        memcpy(ways, m->ways + s.first, s.n * sizeof *ways);
        memcpy(frames, m->frames, m->n_frames * sizeof *frames);
        reset(m);
        for (uint32_t i = 0; i < s.n; i++)
            m->found[i] = (struct way){ways[i].at, restore(m, frames, ways[i].stack)};
        m->n_found = s.n;
        m->accepts = s.accepts;
        state = find_state(m);
    }
    free(ways);
    free(frames);
    return state;
}

static struct lm_matcher *matcher_new(const struct lm_grammar *g) {
    struct lm_matcher *m = calloc(1, sizeof *m);
    if (m)
        m->g = g;
    return m;
}

int32_t lm_matcher_create(const struct lm_grammar *g, struct lm_matcher **ret,
                          struct num_err *err) {
    struct lm_matcher *m = matcher_new(g);
    if (!m || reset(m) == LM_DEAD) {
        lm_matcher_destroy(m);
        return num_fail_memory(err, "the grammar's automaton", sizeof *m);
    }
    *ret = m;
    return SLUICE_OK;
}

void lm_matcher_destroy(struct lm_matcher *m) {
    if (!m)
        return;
    free(m->frames);
    free(m->ways);
    free(m->states);
    free(m->next);
    free(m->frame_table.slots);
    free(m->state_table.slots);
    free(m);
}

int32_t lm_matcher_check(const struct lm_grammar *g, struct num_err *err) {
    struct lm_matcher *m = matcher_new(g);
    int32_t status = SLUICE_OK;
    if (m)
        reset(m);
    for (size_t r = 0; m && r < g->n_rules && !m->failed; r++) {
        begin_ways(m);
        open_way(m, g->rules[r].start, EMPTY);
        pass_all(m);
        if (m->failed)
            status =
                num_fail(err, SLUICE_INPUT,
                         "the grammar's rule %.100s is left-recursive, or begins in too many ways",
                         g->rules[r].name);
    }
    if (!m)
        status = num_fail_memory(err, "the grammar's automaton", sizeof *m);
    else if (m->failed && status == SLUICE_OK)
        status = num_fail(err, SLUICE_INPUT,
                          "the grammar's rule %.100s is left-recursive, or begins in too many ways",
                          g->rules[0].name);
    lm_matcher_destroy(m);
    return status;
}
