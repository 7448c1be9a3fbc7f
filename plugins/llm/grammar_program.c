/*
 * The assembler of grammars: see grammar_program.h. Forward targets are chained through the field
 * that waits for them and filled in when they are known.
 */
#include "llm/grammar_program.h"

#include <stdlib.h>
#include <string.h>

#include "llm/matcher.h"

#define MAX_CODE (1u << 20)

struct lm_grammar *lm_grammar_new(void) {
    return calloc(1, sizeof(struct lm_grammar));
}

void lm_grammar_destroy(struct lm_grammar *g) {
    if (!g)
        return;
    for (size_t i = 0; i < g->n_rules; i++)
        free(g->rules[i].name);
    free(g->rules);
    free(g->code);
    free(g->sets);
    free(g);
}

/* Room for one more item; false, and the grammar has failed, without memory or beyond MAX_CODE. */
static bool grow(struct lm_grammar *g, void **items, size_t n, size_t *cap, size_t size) {
    if (g->failed || n < *cap)
        return !g->failed;
    size_t more = *cap ? *cap * 2 : 64;
    void *data = n >= MAX_CODE ? NULL : reallocarray(*items, more, size);
    g->failed = !data;
    if (!data)
        return false;
    *items = data;
    *cap = more;
    return true;
}

uint32_t lm_grammar_rule(struct lm_grammar *g, const char *name, size_t len) {
    for (size_t i = 0; i < g->n_rules; i++)
        if (strlen(g->rules[i].name) == len && memcmp(g->rules[i].name, name, len) == 0)
            return (uint32_t)i;
    char *copy = strndup(name, len);
    void *rules = g->rules;
    if (!copy || !grow(g, &rules, g->n_rules, &g->rule_cap, sizeof *g->rules)) {
        g->failed = true;
        free(copy);
        return 0;
    }
    g->rules = rules;
    g->rules[g->n_rules] = (struct lm_rule){.name = copy};
    return (uint32_t)g->n_rules++;
}

void lm_grammar_begin(struct lm_grammar *g, uint32_t rule) {
    if (g->failed)
        return;
    g->rules[rule].start = (uint32_t)g->n_code;
    g->rules[rule].defined = true;
}

uint32_t lm_emit(struct lm_grammar *g, enum lm_op_code code, uint32_t a, uint32_t b) {
    void *items = g->code;
    if (!grow(g, &items, g->n_code, &g->code_cap, sizeof *g->code))
        return 0;
    g->code = items;
    g->code[g->n_code] = (struct lm_instruction){.code = code, .a = a, .b = b};
    return (uint32_t)g->n_code++;
}

void lm_emit_set(struct lm_grammar *g, const struct lm_byte_set *set) {
    size_t i = 0;
    void *sets = g->sets;
    while (i < g->n_sets && memcmp(&g->sets[i], set, sizeof *set) != 0)
        i++;
    if (i == g->n_sets) {
        if (!grow(g, &sets, g->n_sets, &g->set_cap, sizeof *g->sets))
            return;
        g->sets = sets;
        g->sets[g->n_sets++] = *set;
    }
    lm_emit(g, I_BYTES, (uint32_t)i, 0);
}

void lm_emit_literal(struct lm_grammar *g, const char *bytes, size_t len) {
    for (size_t i = 0; i < len; i++) {
        struct lm_byte_set set = {{0}};
        lm_set_add(&set, (uint8_t)bytes[i], (uint8_t)bytes[i]);
        lm_emit_set(g, &set);
    }
}

/* ---- Alternatives and repetitions ---- */

size_t lm_emit_or(struct lm_grammar *g) {
    uint32_t at = lm_emit(g, I_SPLIT, (uint32_t)g->n_code + 1, 0);
    return at;
}

void lm_emit_else(struct lm_grammar *g, size_t split, size_t *end) {
    uint32_t jump = lm_emit(g, I_JUMP, *end == LM_NO_END ? UINT32_MAX : (uint32_t)*end, 0);
    if (g->failed)
        return;
    *end = jump;
    g->code[split].b = (uint32_t)g->n_code;
}

void lm_emit_end(struct lm_grammar *g, size_t end) {
    while (end != LM_NO_END && !g->failed) {
        uint32_t next = g->code[end].a;
        g->code[end].a = (uint32_t)g->n_code;
        end = next == UINT32_MAX ? LM_NO_END : next;
    }
}

size_t lm_emit_repeat(struct lm_grammar *g, uint32_t min, uint32_t max) {
    bool counts = min > 1 || (max != LM_UNBOUNDED && max > 1);
    if (counts)
        lm_emit(g, I_COUNT, 0, 0);
    /* without a counter: x? and x* ask first, x+ asks behind, x{0} is jumped over */
    bool asks = min == 0 && max > 0;
    uint32_t at = lm_emit(g, counts ? I_LOOP : asks ? I_SPLIT : I_JUMP, (uint32_t)g->n_code + 1, 0);
    if (!g->failed) {
        g->code[at].min = min;
        g->code[at].max = max;
    }
    return at;
}

void lm_emit_repeated(struct lm_grammar *g, size_t repeat) {
    if (g->failed)
        return;
    struct lm_instruction begin = g->code[repeat];
    if (begin.code == I_LOOP) {
        lm_emit(g, I_NEXT, (uint32_t)repeat, 0);
        if (!g->failed)
            g->code[repeat].a = (uint32_t)g->n_code;
    } else if (begin.code == I_SPLIT) {
        if (begin.max == LM_UNBOUNDED)
            lm_emit(g, I_JUMP, (uint32_t)repeat, 0);
        if (!g->failed)
            g->code[repeat].b = (uint32_t)g->n_code;
    } else if (begin.max == 0) {
        g->code[repeat].a = (uint32_t)g->n_code;
    } else if (begin.max == LM_UNBOUNDED) {
        lm_emit(g, I_SPLIT, (uint32_t)repeat + 1, (uint32_t)g->n_code + 1);
    }
}

/* ---- Characters ---- */

static unsigned put_utf8(uint32_t c, uint8_t ret[4]) {
    if (c < 0x80) {
        ret[0] = (uint8_t)c;
        return 1;
    }
    unsigned n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (unsigned i = n - 1; i > 0; i--, c >>= 6)
        ret[i] = (uint8_t)(0x80 | (c & 0x3f));
    ret[0] = (uint8_t)(c | (0xf00u >> n & 0xf0u));
    return n;
}

/* A list of ranges of byte sequences of equal length, each one alternative. */
struct spans {
    struct {
        uint8_t first[4], last[4];
        unsigned n;
    } items[128];
    size_t n;
};

/* Adds [first, last], all of one length in UTF-8, cut where their last bytes are not all there. */
static void add_span(struct spans *s, uint32_t first, uint32_t last, unsigned n) {
    for (unsigned i = 1; i < n; i++) {
        uint32_t m = (UINT32_C(1) << (6 * i)) - 1;
        if ((first & ~m) == (last & ~m))
            continue;
        if (first & m) {
            add_span(s, first, first | m, n);
            add_span(s, (first | m) + 1, last, n);
            return;
        }
        if ((last & m) != m) {
            add_span(s, first, (last & ~m) - 1, n);
            add_span(s, last & ~m, last, n);
            return;
        }
    }
    if (s->n == sizeof s->items / sizeof *s->items)
        return;
    put_utf8(first, s->items[s->n].first);
    put_utf8(last, s->items[s->n].last);
    s->items[s->n++].n = n;
}

static void add_range(struct spans *s, uint32_t first, uint32_t last) {
    static const uint32_t limits[][2] = {
        {0, 0x7f}, {0x80, 0x7ff}, {0x800, 0xd7ff}, {0xe000, 0xffff}, {0x10000, 0x10ffff}};
    static const unsigned lengths[] = {1, 2, 3, 3, 4};
    for (size_t i = 0; i < 5; i++) {
        uint32_t a = first > limits[i][0] ? first : limits[i][0];
        uint32_t b = last < limits[i][1] ? last : limits[i][1];
        if (a <= b)
            add_span(s, a, b, lengths[i]);
    }
}

static void emit_span(struct lm_grammar *g, const struct spans *s, size_t i) {
    for (unsigned k = 0; k < s->items[i].n; k++) {
        struct lm_byte_set set = {{0}};
        lm_set_add(&set, s->items[i].first[k], s->items[i].last[k]);
        lm_emit_set(g, &set);
    }
}

void lm_emit_chars(struct lm_grammar *g, const uint32_t (*ranges)[2], size_t n) {
    struct spans s = {.n = 0};
    struct lm_byte_set ascii = {{0}};
    bool has_ascii = false;
    size_t end = LM_NO_END, others = 0;
    for (size_t i = 0; i < n; i++)
        add_range(&s, ranges[i][0], ranges[i][1]);
    if (s.n == sizeof s.items / sizeof *s.items)
        g->failed = true;
    for (size_t i = 0; i < s.n; i++) { /* single bytes are one set */
        if (s.items[i].n == 1) {
            lm_set_add(&ascii, s.items[i].first[0], s.items[i].last[0]);
            has_ascii = true;
        } else {
            s.items[others++] = s.items[i];
        }
    }
    s.n = others;
    for (size_t i = 0; i + (has_ascii ? 0 : 1) < s.n; i++) {
        size_t split = lm_emit_or(g);
        emit_span(g, &s, i);
        lm_emit_else(g, split, &end);
    }
    if (has_ascii)
        lm_emit_set(g, &ascii);
    else if (s.n)
        emit_span(g, &s, s.n - 1);
    lm_emit_end(g, end);
}

/* ---- Checks ---- */

/* Whether the end of the rule can be reached from its begin, calls being passed where they can be.
 * seen[i]: the last call, by its number, that looked at instruction i. */
static bool ends(const struct lm_grammar *g, size_t rule, const bool *productive, uint32_t *list,
                 size_t *seen, size_t now) {
    size_t n = 0;
    list[n++] = g->rules[rule].start;
    while (n > 0) {
        uint32_t at = list[--n];
        const struct lm_instruction *i = &g->code[at];
        if (seen[at] == now)
            continue;
        seen[at] = now;
        if (i->code == I_RETURN)
            return true;
        if (i->code == I_SPLIT || i->code == I_LOOP || i->code == I_JUMP || i->code == I_NEXT)
            list[n++] = i->a;
        if (i->code == I_SPLIT)
            list[n++] = i->b;
        if (i->code == I_BYTES || i->code == I_COUNT || i->code == I_LOOP ||
            (i->code == I_CALL && productive[i->a]))
            list[n++] = at + 1;
    }
    return false;
}

static int32_t check_ends(const struct lm_grammar *g, struct num_err *err) {
    bool *productive = calloc(g->n_rules, sizeof *productive);
    size_t *seen = calloc(g->n_code + 1, sizeof *seen), n_calls = 0;
    uint32_t *list = calloc(g->n_code * 2 + 4, sizeof *list);
    int32_t status = productive && seen && list ? SLUICE_OK : SLUICE_RESOURCE;
    for (bool changed = true; changed && !status;) {
        changed = false;
        for (size_t r = 0; r < g->n_rules; r++) {
            if (productive[r] || !ends(g, r, productive, list, seen, ++n_calls))
                continue;
            productive[r] = changed = true;
        }
    }
    for (size_t r = 0; r < g->n_rules && !status; r++)
        if (!productive[r])
            status = num_fail(err, SLUICE_INPUT, "the grammar's rule %.100s never ends",
                              g->rules[r].name);
    if (status == SLUICE_RESOURCE)
        num_fail_memory(err, "the grammar", g->n_code);
    free(productive);
    free(seen);
    free(list);
    return status;
}

/* Cuts the classes by one set after the other: bytes of a class that the set has become another.
 * Classes are numbered by their first bytes. */
static void find_classes(struct lm_grammar *g) {
    memset(g->class_of, 0, sizeof g->class_of);
    g->n_classes = 1;
    for (size_t s = 0; s < g->n_sets; s++) {
        int16_t cut[256][2]; /* by class and whether the set has the byte: the new class */
        memset(cut, -1, sizeof cut);
        g->n_classes = 0;
        for (unsigned b = 0; b < 256; b++) {
            int16_t *class = &cut[g->class_of[b]][lm_set_has(&g->sets[s], b)];
            if (*class < 0)
                *class = (int16_t)g->n_classes++;
            g->class_of[b] = (uint8_t) * class;
        }
    }
}

static int32_t check(struct lm_grammar *g, struct num_err *err) {
    for (size_t r = 0; r < g->n_rules; r++)
        if (!g->rules[r].defined)
            return num_fail(err, SLUICE_INPUT, "the grammar has no rule %.100s", g->rules[r].name);
    if (g->n_rules == 0)
        return num_fail(err, SLUICE_INPUT, "the grammar has no rules");
    int32_t status = check_ends(g, err);
    if (status == SLUICE_OK) {
        find_classes(g);
        status = lm_matcher_check(g, err);
    }
    return status;
}

int32_t lm_grammar_finish(struct lm_grammar *g, struct lm_grammar **ret, struct num_err *err) {
    int32_t status = g->failed ? num_fail(err, SLUICE_RESOURCE,
                                          "the grammar is too large (more than %u steps)", MAX_CODE)
                               : check(g, err);
    if (status == SLUICE_OK)
        *ret = g;
    else
        lm_grammar_destroy(g);
    return status;
}
