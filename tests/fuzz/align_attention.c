/* A transcript, then, behind the first NUL, its attention: words come out with times in order. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "align/attention.h"
#include "align/energy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct al_script *s) {
    for (size_t i = 0; i < s->n_segments; i++)
        for (size_t k = 0; k < s->segments[i].n; k++) {
            const struct al_word *w = &s->words[s->segments[i].first + k];
            if (!(w->start >= 0 && w->end >= w->start) || (k && w->start < w[-1].start))
                abort();
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static float pcm[16000];
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    size_t len = end ? (size_t)(end - data) : size;
    struct al_script s;
    struct al_attention_report report;
    struct al_energy energy;
    char *text = NULL;
    if (al_script_read(data, len, NULL, &s, NULL))
        return 0;
    if (end && al_attention_align(end + 1, size - len - 1, &s, NULL, &report, NULL) == 0 &&
        report.n_words + report.n_others != s.n_words)
        abort();
    pcm[8000] = 1;
    if (al_energy_init(&energy, pcm, 16000, NULL) == 0) {
        for (size_t i = 0; i < s.n_words; i++)
            if (s.words[i].timed)
                al_energy_trim(&energy, 30, &s.words[i].start, &s.words[i].end);
        al_energy_finish(&energy);
    }
    al_script_settle(&s);
    check(&s);
    if (al_script_write(&s, &text, NULL) == 0)
        free(text);
    al_script_finish(&s);
    return 0;
}
