/*
 * Transcribes audio of any length, several files and several windows at once.
 *
 * Without regions of speech, a file is transcribed window by window, each starting where the last
 * complete segment of the one before ended, as transcribe.py of github.com/openai/whisper does.
 * Where it departs from that, docs/decisions/whisper-windows.md says why. With regions (regions.h
 * makes spans of them), each span is transcribed as if it were a file of its own, many of them side
 * by side; the results are put together in their order, and do not depend on how many there were.
 */
#ifndef WH_LONGFORM_H
#define WH_LONGFORM_H

#include "whisper/options.h"

/* Times are seconds from the start of the audio, to 1/100 s. */
struct wh_word {
    const char *text; /* UTF-8, with the blank before it */
    double start, end, probability;
    uint32_t n_tokens; /* text tokens that it is made of */
};

/*
 * Attention of the alignment heads while each text token of a segment was written: head h, token i,
 * position t at weights[h * head_stride + i * n_frames + t]; positions are 20 ms long and start
 * with the window. weights NULL: not asked for.
 */
struct wh_attention {
    const float *weights;
    uint32_t n_heads, n_tokens, n_frames;
    size_t head_stride;
};

/* A stretch of speech. Borrowed for the call that hands it out. */
struct wh_segment {
    uint32_t id;   /* counts from 0 */
    uint64_t seek; /* frame of 10 ms where its window starts */
    double start, end;
    const char *text;      /* UTF-8; begins with a blank where the tokens do */
    const int32_t *tokens; /* with the timestamps */
    uint32_t n_tokens;
    /* of the window that the segment is from */
    double temperature, avg_logprob, compression_ratio, no_speech_prob;
    const char *language;        /* its own, where every window's is detected; or NULL */
    const struct wh_word *words; /* NULL without word timestamps */
    uint32_t n_words;
    struct wh_attention attention;
};

/* Who is told. Each may be NULL; all are called on the caller's thread. */
struct wh_listener {
    void *ctx;
    /* a failure ends the transcription */
    int32_t (*segment)(void *ctx, const struct wh_segment *segment);
    /* after each window, and at the start */
    void (*progress)(void *ctx, double done_s, double total_s);
    bool (*cancelled)(void *ctx); /* asked before every token */
};

struct wh_report {
    char language[8];
    uint32_t n_windows;                        /* decoded */
    uint32_t n_fallbacks;                      /* attempts at a higher temperature */
    uint64_t n_tokens;                         /* kept */
    double mel_s, encode_s, decode_s, align_s; /* seconds spent */
};

/* Samples [first, first + n); first is a multiple of NUM_MEL_HOP. */
struct wh_span {
    size_t first, n;
};

/* What is to be transcribed. Borrowed until the file is taken back. */
struct wh_input {
    const float *pcm; /* mono, 16 kHz, in [-1, 1] */
    size_t n_samples;
    const struct wh_span *spans; /* to be transcribed one by one; NULL: the whole, in one go */
    size_t n_spans;
};

/* Buffers for one model; made once. As many windows are decoded together as it has slots. */
struct wh_longform;
struct wh_file; /* an input on its way */

int32_t wh_longform_create(struct wh_model *model, struct wh_longform **ret, struct num_err *err);
/* There are no files any more. */
void wh_longform_destroy(struct wh_longform *longform);

/*
 * Takes a file in; the following steps work on it, too. Input, options and listener are borrowed
 * until it is taken back. Failures of wh_options_check(). The model needs wh_options_rows(options)
 * rows for each slot.
 */
int32_t wh_longform_add(struct wh_longform *longform, const struct wh_input *input,
                        const struct wh_options *options, const struct wh_listener *listener,
                        struct wh_file **ret, struct num_err *err);

/* Whether another file would find work to do at once. */
bool wh_longform_has_room(const struct wh_longform *longform);

/* One token for every window that is being decoded; listeners are told on the way. */
void wh_longform_step(struct wh_longform *longform);

bool wh_file_is_finished(const struct wh_file *file);

/*
 * Takes the file back, finished or not, and frees it. *ret is written on success; SLUICE_CANCELLED
 * where the listener said so or the file is not finished. What fails with one file leaves the
 * others alone, but for the model itself.
 */
int32_t wh_longform_take(struct wh_longform *longform, struct wh_file *file, struct wh_report *ret,
                         struct num_err *err);

/* All of that for one file, from its beginning to its end. */
int32_t wh_longform_run(struct wh_longform *longform, const struct wh_input *input,
                        const struct wh_options *options, const struct wh_listener *listener,
                        struct wh_report *ret, struct num_err *err);

#endif
