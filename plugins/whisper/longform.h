/*
 * Transcribes audio of any length window by window, each starting where the last complete segment
 * of the one before ended, as transcribe.py of github.com/openai/whisper does at temperature 0 and
 * without conditioning on previous text. Where it departs from that,
 * docs/decisions/whisper-windows.md says why.
 */
#ifndef WH_LONGFORM_H
#define WH_LONGFORM_H

#include "whisper/model.h"

/* A stretch of speech. Borrowed for the call that hands it out. Times are seconds from the start of
 * the audio. */
struct wh_segment {
    uint32_t id; /* counts from 0 */
    double start, end;
    const char *text;      /* UTF-8; begins with a blank where the tokens do */
    const int32_t *tokens; /* with the timestamps */
    uint32_t n_tokens;
    /* of the window that the segment is from */
    double temperature, avg_logprob, compression_ratio, no_speech_prob;
};

/* Who is told. Each may be NULL; all are called on the caller's thread. */
struct wh_listener {
    void *ctx;
    int32_t (*segment)(void *ctx,
                       const struct wh_segment *segment); /* a failure ends the transcription */
    void (*progress)(void *ctx, double done_s,
                     double total_s); /* after each window, and at the start */
    bool (*cancelled)(void *ctx);     /* asked before every token */
};

struct wh_options {
    const char *language; /* a code that the model knows, or NULL: detected */
    bool translate;       /* to English; only where the model has <|translate|> */
};

struct wh_report {
    char language[8];
    uint32_t n_windows;
    uint64_t n_tokens;
    double mel_s, encode_s, decode_s; /* seconds spent */
};

/* Buffers for one model; made once. */
struct wh_longform;

int32_t wh_longform_create(struct wh_model *model, struct wh_longform **ret, struct num_err *err);
void wh_longform_destroy(struct wh_longform *longform);

/*
 * Transcribes n_samples of mono 16 kHz audio in [-1, 1], borrowed for the call. SLUICE_CANCELLED
 * where the listener said so; SLUICE_UNSUPPORTED for a language or task that the model does not
 * have.
 */
int32_t wh_longform_run(struct wh_longform *longform, const float *pcm, size_t n_samples,
                        const struct wh_options *options, const struct wh_listener *listener,
                        struct wh_report *ret, struct num_err *err);

/* Whether the model can do what `options` ask; SLUICE_UNSUPPORTED with a sentence that lists what
 * it knows. */
int32_t wh_options_check(const struct wh_model *model, const struct wh_options *options,
                         struct num_err *err);

/* Bytes of text / bytes of the text compressed with zlib: high where a text repeats itself. */
double wh_compression_ratio(const char *text);

#endif
