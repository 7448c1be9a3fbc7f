/* Text as it comes: see text.h. */
#include "llm/text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "num/utf8.h"

int32_t lm_text_init(struct lm_text *t, size_t room, const struct lm_stop_string *stops,
                     size_t n_stops, struct num_err *err) {
    *t = (struct lm_text){.room = room, .stops = stops, .n_stops = n_stops};
    if (room > SIZE_MAX / 8)
        return num_fail_memory(err, "the text of an answer", room);
    t->raw = malloc(room + 1);
    t->clean = malloc(3 * room + 1);
    if (!t->raw || !t->clean) {
        lm_text_finish(t);
        return num_fail_memory(err, "the text of an answer", 4 * room);
    }
    t->clean[0] = '\0';
    return SLUICE_OK;
}

void lm_text_finish(struct lm_text *t) {
    free(t->raw);
    free(t->clean);
    *t = (struct lm_text){0};
}

static void send(struct lm_text *t, size_t end) {
    if (end <= t->sent)
        return;
    t->clean_len +=
        num_utf8_clean((const uint8_t *)t->raw + t->sent, end - t->sent, t->clean + t->clean_len);
    t->sent = end;
}

/* Where the first complete stop string begins that ends behind `from`; t->len: none. */
static size_t find_stop(const struct lm_text *t, size_t from) {
    size_t best = t->len;
    for (size_t i = 0; i < t->n_stops; i++) {
        const struct lm_stop_string *s = &t->stops[i];
        size_t at = from >= s->len ? from - s->len + 1 : 0;
        for (; at + s->len <= t->len && at < best; at++)
            if (memcmp(t->raw + at, s->bytes, s->len) == 0)
                best = at;
    }
    return best;
}

/* Whether the text from `at` on is the beginning of a stop string. */
static bool may_become_stop(const struct lm_text *t, size_t at) {
    for (size_t i = 0; i < t->n_stops; i++)
        if (t->len - at < t->stops[i].len &&
            memcmp(t->raw + at, t->stops[i].bytes, t->len - at) == 0)
            return true;
    return false;
}

/* Where the bytes begin that may become a character: up to three at the end. */
static size_t whole_characters(const struct lm_text *t, size_t from, size_t end) {
    for (size_t at = end > from + 3 ? end - 3 : from; at < end; at++) {
        uint32_t c;
        uint8_t first = (uint8_t)t->raw[at];
        size_t wants = first < 0xc2   ? 1
                       : first < 0xe0 ? 2
                       : first < 0xf0 ? 3
                       : first < 0xf5 ? 4
                                      : 1;
        if (wants > end - at && num_utf8_next((const uint8_t *)t->raw + at, end - at, &c) == 0 &&
            c == end - at)
            return at;
    }
    return end;
}

bool lm_text_add(struct lm_text *t, const void *bytes, size_t len) {
    size_t before = t->len, end;
    len = len < t->room - t->len ? len : t->room - t->len;
    if (len)
        memcpy(t->raw + t->len, bytes, len);
    t->len += len;
    size_t stop = find_stop(t, before);
    if (stop < t->len) {
        t->len = stop;
        return true;
    }
    for (end = t->sent; end < t->len && !may_become_stop(t, end);)
        end++;
    send(t, whole_characters(t, t->sent, end));
    return false;
}

void lm_text_end(struct lm_text *t) {
    send(t, t->len);
}
