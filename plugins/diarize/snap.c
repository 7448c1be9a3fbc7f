/* Sentences end where a word ends with a mark; a segment starts a sentence. */
#include "diarize/snap.h"

#include <stdbool.h>
#include <string.h>

/* Whether the word ends with a full stop, a question or an exclamation mark, also in other scripts,
 * behind which quotes and brackets may close. */
static bool ends_sentence(const json_t *words, size_t i) {
    static const char *const marks[] = {".", "?", "!", "…", "。", "？", "！", "؟", "।", "．"};
    static const char *const closing[] = {"\"", "'", ")", "]", "”", "’", "»", "」"};
    const json_t *word = json_object_get(json_array_get(words, i), "word");
    const char *text = json_string_value(word);
    size_t len = json_string_length(word);
    for (size_t k = 0; k < sizeof closing / sizeof *closing; k++) {
        size_t n = strlen(closing[k]);
        if (len > n && memcmp(text + len - n, closing[k], n) == 0)
            len -= n;
    }
    for (size_t k = 0; k < sizeof marks / sizeof *marks; k++) {
        size_t n = strlen(marks[k]);
        if (len >= n && memcmp(text + len - n, marks[k], n) == 0)
            return true;
    }
    return false;
}

/* Words of one speaker from `i` on, up to `most`; backwards with step -1. */
static size_t run_length(const uint32_t *chosen, size_t n, size_t i, int step, size_t most) {
    size_t length = 1;
    while (length < most) {
        size_t next = step > 0 ? i + length : i - length;
        if (next >= n || chosen[next] != chosen[i])
            break;
        length++;
    }
    return length;
}

/* Moves the change before word i to an end of a sentence nearby, if there is one; returns how many
 * words change hands. */
static size_t snap_change(const json_t *words, uint32_t *chosen, size_t n, size_t i, size_t most) {
    size_t back = run_length(chosen, n, i - 1, -1, most);
    size_t forth = run_length(chosen, n, i, 1, most);
    for (size_t k = 1; k <= most; k++) {
        if (k <= back && (i == k || ends_sentence(words, i - k - 1))) {
            for (size_t m = i - k; m < i; m++)
                chosen[m] = chosen[i];
            return k;
        }
        if (k <= forth && ends_sentence(words, i + k - 1)) {
            for (size_t m = i; m < i + k; m++)
                chosen[m] = chosen[i - 1];
            return k;
        }
    }
    return 0;
}

size_t dz_snap(const json_t *words, uint32_t *chosen, size_t most) {
    size_t n = json_array_size(words), n_snapped = 0;
    for (size_t i = 1; i < n; i++)
        if (chosen[i] != chosen[i - 1] && !ends_sentence(words, i - 1))
            n_snapped += snap_change(words, chosen, n, i, most);
    return n_snapped;
}
