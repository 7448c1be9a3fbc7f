/*
 * Normal form C: see unicode.h. Unicode Standard Annex 15: characters are decomposed in full,
 * combining marks put into the order of their classes, and pairs composed again; Hangul syllables
 * by arithmetic (chapter 3.12 of the standard).
 */
#include <stdbool.h>
#include <string.h>

#include "num/unicode.h"
#include "num/utf8.h"

struct decomposition {
    uint32_t c, to[4]; /* zeros behind the last */
};
struct composition {
    uint32_t first, second, to;
};
#include "num/unicode_nfc.inc"

#define COUNT(table) (sizeof(table) / sizeof *(table))

enum {
    S_BASE = 0xac00,
    L_BASE = 0x1100,
    V_BASE = 0x1161,
    T_BASE = 0x11a7,
    L_COUNT = 19,
    V_COUNT = 21,
    T_COUNT = 28,
    N_COUNT = V_COUNT * T_COUNT,
    S_COUNT = L_COUNT * N_COUNT
};

static uint8_t class_of(uint32_t c) {
    return (uint8_t)num_char_look_up(combining, COUNT(combining), c, 0);
}

/* Appends the decomposition of c; returns how many characters it has. */
static size_t decompose(uint32_t c, uint32_t *to) {
    size_t low = 0, high = COUNT(decompositions), n = 0;
    if (c - S_BASE < S_COUNT) {
        uint32_t s = c - S_BASE;
        to[0] = L_BASE + s / N_COUNT;
        to[1] = V_BASE + s % N_COUNT / T_COUNT;
        to[2] = T_BASE + s % T_COUNT;
        return s % T_COUNT ? 3 : 2;
    }
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > decompositions[middle].c)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == COUNT(decompositions) || decompositions[low].c != c) {
        to[0] = c;
        return 1;
    }
    while (n < 4 && decompositions[low].to[n]) {
        to[n] = decompositions[low].to[n];
        n++;
    }
    return n;
}

/* What two characters compose to, or 0. */
static uint32_t compose(uint32_t a, uint32_t b) {
    size_t low = 0, high = COUNT(compositions);
    if (a - L_BASE < L_COUNT && b - V_BASE < V_COUNT)
        return S_BASE + (a - L_BASE) * N_COUNT + (b - V_BASE) * T_COUNT;
    if (a - S_BASE < S_COUNT && (a - S_BASE) % T_COUNT == 0 && b > T_BASE && b < T_BASE + T_COUNT)
        return a + (b - T_BASE);
    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct composition *p = &compositions[middle];
        if (a > p->first || (a == p->first && b > p->second))
            low = middle + 1;
        else
            high = middle;
    }
    const struct composition *p = &compositions[low];
    return low < COUNT(compositions) && p->first == a && p->second == b ? p->to : 0;
}

/* A run of n marks by class, equal ones in their order; a pass for each class that is there. */
static void order_run(uint32_t *c, uint8_t *classes, size_t n, uint32_t *c_work,
                      uint8_t *classes_work) {
    size_t at = 0;
    bool sorted = true;
    for (size_t i = 1; i < n; i++)
        sorted &= classes[i - 1] <= classes[i];
    for (int class = sorted ? 256 : 1; class < 256 && at < n; class ++)
        for (size_t i = 0; i < n; i++)
            if (classes[i] == class) {
                c_work[at] = c[i];
                classes_work[at++] = classes[i];
            }
    memcpy(c, c_work, at * sizeof *c);
    memcpy(classes, classes_work, at);
}

/* Puts marks into the order of their classes. */
static void order(uint32_t *c, uint8_t *classes, size_t n, uint32_t *c_work,
                  uint8_t *classes_work) {
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i; end < n && classes[end]; end++)
            ;
        if (end > i + 1)
            order_run(c + i, classes + i, end - i, c_work, classes_work);
        end += end == i;
    }
}

/* Composes in place; returns how many characters are left. */
static size_t compose_all(uint32_t *c, uint8_t *classes, size_t n) {
    size_t starter = n, kept = 0;
    uint8_t last = 0; /* class of the character before, of those that stayed */
    for (size_t i = 0; i < n; i++) {
        bool blocked = starter == n || (kept != starter + 1 && last >= classes[i]);
        uint32_t made = blocked ? 0 : compose(c[starter], c[i]);
        if (made) {
            c[starter] = made;
            continue;
        }
        if (classes[i] == 0)
            starter = kept;
        last = classes[i];
        c[kept] = c[i];
        classes[kept++] = classes[i];
    }
    return kept;
}

/* Two bytes of text become three characters at most; as much again for putting them in order. */
size_t num_nfc_work(size_t len) {
    return 4 * len * (sizeof(uint32_t) + 1) + 64;
}

static size_t ascii(const uint8_t *text, size_t len) {
    size_t n = 0;
    while (n < len && text[n] < 0x80)
        n++;
    return n;
}

size_t num_nfc(const uint8_t *text, size_t len, uint8_t *ret, void *work) {
    uint32_t *c = work;
    uint8_t *classes = (uint8_t *)(c + 4 * len);
    size_t n = 0, at = 0, plain = ascii(text, len);
    plain -= plain > 0 && plain < len; /* its last character may compose */
    memcpy(ret, text, plain);
    for (size_t i = plain, step; i < len; i += step) {
        uint32_t one;
        step = num_utf8_next(text + i, len - i, &one);
        step = step ? step : 1; /* the text is valid */
        n += decompose(one, c + n);
    }
    for (size_t i = 0; i < n; i++)
        classes[i] = class_of(c[i]);
    order(c, classes, n, c + 2 * len, classes + 2 * len);
    n = compose_all(c, classes, n);
    for (size_t i = 0; i < n; i++)
        at += num_utf8_put(c[i], ret + plain + at);
    return plain + at;
}
