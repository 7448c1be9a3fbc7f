/*
 * Transcriptions on their way:
 *
 *     file   an audio file; its clips are transcribed independently of each other, and handed out
 *            in their order. Without regions of speech it is one clip. longform.c
 *     clip   a stretch of audio that is transcribed as if it were a file of its own: window by
 *            window, each starting where the last complete segment ended. clip.c
 *     seat   room for one clip at a time: a slot of the model, and buffers. As many clips as there
 *            are seats are under way, and their windows are decoded together.
 *
 * What happens in a window is in spectrum.c, window.c (language, prompt, fallback), segments.c
 * (cutting, silence before doubtful segments) and words.c (word times). Positions are counted in
 * mel frames of 10 ms, times are seconds; both start with the clip.
 */
#ifndef WH_RUN_H
#define WH_RUN_H

#include <time.h>

#include "num/mel.h"
#include "num/pool.h"
#include "whisper/ahead.h"
#include "whisper/held.h"
#include "whisper/longform.h"
#include "whisper/search.h"

#define WH_FRAME_S              ((double)NUM_MEL_HOP / NUM_MEL_RATE_HZ)
#define WH_FRAMES_PER_SECOND    100
#define WH_FRAMES_PER_TIMESTAMP 2
#define WH_MAX_PASS_FRAMES      6000 /* frames of one step of the first pass: a minute */

struct wh_seat;

struct wh_longform {
    struct wh_model *model;
    struct wh_search *search;
    struct num_mel *mel;
    struct num_pool *pool;  /* for the spectrogram */
    struct wh_ahead *ahead; /* NULL where there is one thread */
    struct num_bpe_encoder *encoder;
    float *pass_frames;    /* (WH_MAX_PASS_FRAMES, M); NULL where the backend listens */
    struct wh_seat *seats; /* (n_seats), one for each slot of the model */
    uint32_t n_seats;
    const float **mels;              /* (n_seats): of windows that are encoded together, or ... */
    struct wh_excerpt *excerpts;     /* ... where they lie, for a backend that listens */
    struct wh_alignment *alignments; /* (n_seats): of windows that are aligned together, ... */
    struct wh_seat **aligned;        /* ... their seats ... */
    uint32_t *spare_rows;            /* ... and rows */
    uint32_t *slots;                 /* their slots */
    struct wh_file *files;           /* in the order in which they came */
};

/* A segment in the making: tokens [first, first + n_tokens) of the window. */
struct wh_draft {
    double start, end;
    uint32_t first, n_tokens;
    uint32_t first_word, n_words; /* of the window's words */
    uint32_t first_text, n_text;  /* of the window's text tokens, timestamps left out */
};

/* One window and what was found in it. */
struct wh_window {
    size_t seek, n_frames; /* of audio; the rest of the window is filled up */
    size_t next_seek;
    struct wh_result result; /* of the latest temperature; tokens are the seat's */
    uint32_t attempt;        /* index of that temperature */
    double temperature, compression_ratio;
    bool single_ending; /* ends with a timestamp that follows text: nothing is left open */
    bool open_text;     /* there is text behind the last segment: next_seek is before it */
    uint32_t n_drafts;
    bool silence;           /* nothing was said, and nothing is kept */
    struct wh_words *words; /* NULL without word timestamps */
};

struct wh_file {
    struct wh_longform *lf;
    struct wh_file *next;
    const struct wh_options *options;
    struct wh_setup setup;
    const float *pcm;
    size_t n_samples;
    struct wh_span whole;
    const struct wh_span *spans; /* its clips: the caller's, or `whole` alone */
    bool in_spans;               /* they are the caller's */
    uint32_t n_clips;
    uint32_t n_begun; /* clips that took a seat */
    uint32_t n_done;  /* clips whose segments are handed out, all of them */
    const struct wh_listener *listener;
    bool prepared;                      /* language and setup are known */
    const struct wh_language *language; /* NULL where the model has none */
    uint32_t n_segments;                /* handed out */
    double done_s;                      /* of the audio, as the listener knows */
    struct wh_report report;
    bool finished;
    int32_t status; /* once it is finished */
    bool cancelled; /* the listener said so */
    struct num_err err;
    uint32_t n_held;
    struct wh_held held[]; /* (n_held): of clip i at i % n_held; they wait for an earlier one */
};

/* A clip on its way. */
struct wh_run {
    struct wh_longform *lf;
    struct wh_seat *seat;
    struct wh_file *file;
    const struct wh_options *options; /* the file's, as `setup` */
    const struct wh_setup *setup;
    uint32_t index; /* of the clip */
    const float *pcm;
    size_t n_samples, n_frames;
    size_t first_frame;                 /* of the clip in its file */
    float max;                          /* of its whole spectrogram */
    size_t n_kept;                      /* frames from its first on in seat->frames, as they are */
    const struct wh_language *language; /* NULL where the model has none */
    uint32_t n_previous;                /* tokens in seat->previous */
    double last_speech_s;               /* end of the last word */
    uint32_t range;                     /* of clip_timestamps: borders 2 range and 2 range + 1 */
    size_t range_end;
    struct wh_window window;
    struct wh_request request;
    struct num_err *err;
};

enum wh_seat_state {
    WH_SEAT_FREE,
    WH_SEAT_TO_ENCODE, /* run.window is the next one */
    WH_SEAT_TO_DECODE, /* it is encoded, and waits for rows at its temperature */
    WH_SEAT_DECODING,
    WH_SEAT_SETTLED, /* its text will not change: words, segments, and the next window come next */
};

struct wh_seat {
    enum wh_seat_state state;
    uint32_t slot;
    struct wh_run run;
    float *frames;           /* (2 T + 2, M): the window; NULL where the backend listens */
    int32_t *tokens;         /* (C + 1): of the window */
    int32_t *prompt;         /* (2 C + 8) */
    int32_t *previous;       /* (C + 1): the end of the text so far */
    struct wh_draft *drafts; /* (C + 1): of the window */
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

/* Asks the file's listener, never again after a yes. */
static inline bool wh_file_cancelled(struct wh_file *f) {
    if (!f->cancelled && f->listener->cancelled && f->listener->cancelled(f->listener->ctx)) {
        f->cancelled = true;
        num_fail(&f->err, SLUICE_CANCELLED, "cancelled");
    }
    return f->cancelled;
}

static inline bool wh_is_timestamp(const struct wh_run *r, int32_t token) {
    return token >= r->setup->rules.timestamp_begin;
}

/* ---- clip.c ---- */

/* Finds the file's language and what its options come to, using a free seat. */
int32_t wh_file_prepare(struct wh_seat *seat, struct wh_file *file);

/* Takes the file's next clip into a free seat; its first window is to be encoded next, or it has
 * none and is over: *ret_over. */
int32_t wh_clip_begin(struct wh_seat *seat, struct wh_file *file, bool *ret_over);

/* Judges a decoded window: it is to be decoded at the next temperature, or settled and cut into
 * drafts, as the seat's state says. *ret_words: its words are wanted. */
int32_t wh_clip_settle(struct wh_seat *seat, bool *ret_words);

/* Behind that, and its words where wh_words_begin() was called: hands out the segments of a settled
 * window, and takes the next one. *ret_over: it was the clip's last. */
int32_t wh_clip_go_on(struct wh_seat *seat, bool *ret_over);

/* No more segments come from the file's clip; those that waited for it are handed out. */
int32_t wh_clip_over(struct wh_file *file, uint32_t index);

/* Tells the listener how far the file is; never less than before. */
void wh_file_progress(struct wh_file *file, double done_s);

/* ---- spectrum.c ---- */

/* The maximum of the clip's whole spectrogram, which the normalisation needs: found here, or by a
 * backend that listens. */
int32_t wh_run_find_max(struct wh_run *r);

/*
 * Makes n_frames of the clip from `seek` on the index-th window to encode. What lies behind them is
 * silence, or zeros of the normalised spectrogram, as `silence` says. The spectrogram is computed
 * into seat->frames, unless the backend listens.
 */
int32_t wh_window_prepare(struct wh_run *r, uint32_t index, size_t seek, size_t n_frames,
                          bool silence);

/* Encodes the first n windows that were prepared. */
int32_t wh_windows_encode(struct wh_longform *lf, uint32_t n, const struct num_watch *watch,
                          struct num_err *err);

/* Starts on frames that will be needed next, while others are decoded. */
void wh_look_ahead(struct wh_longform *lf);

/* ---- window.c ---- */

/* The language of the window in the seat's slot, and its probability among the model's languages.
 * Needs a free row. */
int32_t wh_window_language(struct wh_run *r, const struct wh_language **ret, double *ret_prob);

/* Makes the request for the window at its temperature. */
void wh_window_request(struct wh_run *r);

/* Judges the result of an attempt: whether the next temperature is to be tried. */
int32_t wh_window_judge(struct wh_run *r, bool *ret_again);

/* Whether nothing was said: the window is skipped. */
bool wh_window_is_silence(const struct wh_run *r, const struct wh_window *w);

/* ---- segments.c ---- */

/* Cuts the window's tokens into seat->drafts where two timestamps meet; sets next_seek. */
void wh_window_cut(struct wh_run *r, struct wh_window *w);

/* Moves next_seek behind silences around segments whose words are doubtful, and drops those; true
 * where the whole window is to be dropped and decoded anew from there. */
bool wh_window_skip_silence(struct wh_run *r, struct wh_window *w);

/* End of the window's last word, or of its last draft where none has words; -1 without drafts. */
double wh_last_end(const struct wh_run *r, const struct wh_window *w);

/* ---- words.c ---- */

/* Begins the words of a window whose drafts are cut: *ret is what the backend is to do for it (its
 * row is the caller's to say), NULL: nothing. Borrowed from w->words. */
int32_t wh_words_begin(struct wh_run *r, struct wh_window *w, const struct wh_alignment **ret);

/* Behind that: finds the words of all drafts and moves the drafts' times to them. */
int32_t wh_words_end(struct wh_run *r, struct wh_window *w);
void wh_words_destroy(struct wh_words *words);

/* Words of a draft. Borrowed from `words`. */
struct wh_word *wh_words_of(const struct wh_words *words, const struct wh_draft *draft);

/* The draft's attention; its weights are NULL where it was not asked for. Borrowed likewise. */
struct wh_attention wh_attention_of(const struct wh_words *words, const struct wh_draft *draft);

#endif
