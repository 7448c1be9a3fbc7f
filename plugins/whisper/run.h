/*
 * One transcription on its way, shared by longform.c (the seek loop), window.c (spectrogram,
 * prompt, fallback), segments.c (cutting, silence before doubtful segments) and words.c (word
 * times). Positions are counted in mel frames of 10 ms, times are seconds.
 */
#ifndef WH_RUN_H
#define WH_RUN_H

#include <time.h>

#include "num/mel.h"
#include "num/pool.h"
#include "whisper/longform.h"
#include "whisper/search.h"

#define WH_FRAME_S              ((double)NUM_MEL_HOP / NUM_MEL_RATE_HZ)
#define WH_FRAMES_PER_SECOND    100
#define WH_FRAMES_PER_TIMESTAMP 2
#define WH_MAX_PASS_FRAMES      6000 /* frames of one step of the first pass: a minute */

struct wh_longform {
    struct wh_model *model;
    struct wh_search *search;
    struct num_mel *mel;
    struct num_pool *pool; /* for the spectrogram */
    struct num_bpe_encoder *encoder;
    float *frames;           /* (max(2 T, WH_MAX_PASS_FRAMES), M) */
    int32_t *tokens;         /* (C + 1): of one window */
    int32_t *attempt;        /* (C + 1): of one temperature */
    int32_t *prompt;         /* (2 C + 8) */
    int32_t *previous;       /* (C): the end of the text so far */
    struct wh_draft *drafts; /* (C + 1): of one window */
};

/* A segment in the making: tokens [first, first + n_tokens) of the window. */
struct wh_draft {
    double start, end;
    uint32_t first, n_tokens;
    uint32_t first_word, n_words; /* of the window's words */
    uint32_t first_text, n_text;  /* of the window's text tokens, timestamps left out */
};

struct wh_run {
    struct wh_longform *lf;
    const struct wh_options *options;
    struct wh_setup setup;
    const float *pcm;
    size_t n_samples, n_frames;
    float max; /* of the whole spectrogram */
    const struct wh_listener *listener;
    struct wh_watch watch;
    const struct wh_language *language; /* NULL where the model has none */
    uint32_t n_previous;                /* tokens in lf->previous */
    double last_speech_s;               /* end of the last word */
    uint32_t n_segments;
    struct wh_report report;
    struct num_err *err;
};

/* One window and what was found in it. */
struct wh_window {
    size_t seek, n_frames; /* of audio; the rest of the window is filled up */
    size_t next_seek;
    struct wh_result result; /* of the temperature that was kept; tokens in lf->tokens */
    double temperature, compression_ratio;
    bool single_ending; /* ends with a timestamp that follows text: nothing is left open */
    uint32_t n_drafts;
    struct wh_words *words; /* NULL without word timestamps */
};

static inline double wh_now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Adds the seconds since `since` to *total, and returns now. */
static inline double wh_spend(double since, double *total) {
    double now = wh_now_s();
    *total += now - since;
    return now;
}

static inline double wh_window_start_s(const struct wh_window *w) {
    return (double)w->seek * WH_FRAME_S;
}

static inline int32_t wh_run_cancelled(const struct wh_run *r) {
    return wh_cancelled(&r->watch) ? num_fail(r->err, SLUICE_CANCELLED, "cancelled") : SLUICE_OK;
}

static inline bool wh_is_timestamp(const struct wh_run *r, int32_t token) {
    return token >= r->setup.rules.timestamp_begin;
}

/* ---- window.c ---- */

/* The spectrogram's maximum over the whole audio, which the normalisation needs. */
int32_t wh_run_find_max(struct wh_run *r);

/*
 * Encodes the window into slot 0. What lies behind n_frames is silence, or zeros of the normalised
 * spectrogram, as `silence` says.
 */
int32_t wh_window_encode(struct wh_run *r, size_t seek, size_t n_frames, bool silence);

/* The language of the window in slot 0, and its probability among the model's languages. */
int32_t wh_window_language(struct wh_run *r, const struct wh_language **ret, double *ret_prob);

/* Decodes the window in slot 0, at the temperatures of the options until one is good enough. */
int32_t wh_window_decode(struct wh_run *r, struct wh_window *w);

/* Whether nothing was said: the window is skipped. */
bool wh_window_is_silence(const struct wh_run *r, const struct wh_window *w);

/* ---- segments.c ---- */

/* Cuts the window's tokens into lf->drafts where two timestamps meet; sets next_seek. */
void wh_window_cut(struct wh_run *r, struct wh_window *w);

/* Moves next_seek behind silences around segments whose words are doubtful, and drops those; true
 * where the whole window is to be dropped and decoded anew from there. */
bool wh_window_skip_silence(struct wh_run *r, struct wh_window *w);

/* End of the window's last word, or of its last draft where none has words; -1 without drafts. */
double wh_last_end(const struct wh_run *r, const struct wh_window *w);

/* ---- words.c ---- */

/* Finds the words of all drafts and moves the drafts' times to them. */
int32_t wh_window_align(struct wh_run *r, struct wh_window *w);
void wh_words_destroy(struct wh_words *words);

/* Words of a draft, as handed out. Borrowed from `words`. */
const struct wh_word *wh_words_of(const struct wh_words *words, const struct wh_draft *draft);

/* The draft's attention; its weights are NULL where it was not asked for. Borrowed likewise. */
struct wh_attention wh_attention_of(const struct wh_words *words, const struct wh_draft *draft);

#endif
