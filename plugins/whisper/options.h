/*
 * What a user can ask of a transcription, with the reference's defaults (transcribe() and the
 * command line of github.com/openai/whisper), and what that comes to for one model: rules, token
 * lists and texts as tokens.
 */
#ifndef WH_OPTIONS_H
#define WH_OPTIONS_H

#include "num/bpe_encode.h"
#include "whisper/model.h"

#define WH_MAX_TEMPERATURES 16

/* Strings and lists are borrowed. A threshold that is NAN is off. */
struct wh_options {
    const char *language; /* a code that the model knows, or NULL: detected */
    bool translate;       /* to English; only where the model has <|translate|> */
    bool multilingual;    /* detect the language of every window */
    uint32_t language_detection_segments;
    double language_detection_threshold; /* a window's language at least this likely is taken */

    float temperatures[WH_MAX_TEMPERATURES]; /* tried in turn */
    uint32_t n_temperatures;
    uint32_t beam_size, best_of; /* at temperature 0, above; 1: greedy, one sample */
    float patience;
    float length_penalty; /* below 0: by plain length */
    uint64_t seed;
    double compression_ratio_threshold, logprob_threshold, no_speech_threshold;

    bool condition_on_previous_text;
    double prompt_reset_on_temperature;
    const char *initial_prompt, *prefix, *hotwords; /* NULL: none */
    bool carry_initial_prompt;

    const int32_t *suppress_tokens; /* NULL: the model's; -1 stands for non-speech symbols */
    uint32_t n_suppress_tokens;
    bool suppress_blank, without_timestamps;
    double max_initial_timestamp; /* s; NAN: the model's */
    uint32_t max_new_tokens;      /* of a window; 0: the default */
    float repetition_penalty;
    uint32_t no_repeat_ngram_size;

    bool word_timestamps;
    bool attention; /* hand out what the decoder looked at; needs word_timestamps */
    const char *prepend_punctuations, *append_punctuations;
    double hallucination_silence_threshold; /* s; needs word_timestamps */

    const double *clip_timestamps; /* s: start, end, start, ...; the last end may be missing */
    uint32_t n_clip_timestamps;
    bool silence_behind_end; /* a last window is filled up with silence, not with zeros */

    uint32_t batch_size; /* windows decoded together */
    double chunk_length; /* s: longest window made of regions of speech; NAN: the model's */
};

void wh_options_default(struct wh_options *ret);

/* Rows that a window needs. */
uint32_t wh_options_rows(const struct wh_options *options);

/* Whether the options make sense, and the model can do what they ask: SLUICE_INPUT or
 * SLUICE_UNSUPPORTED with a sentence. */
int32_t wh_options_check(const struct wh_model *model, const struct wh_options *options,
                         struct num_err *err);

/* Longest window made of regions of speech, in samples. */
size_t wh_options_longest(const struct wh_model *model, const struct wh_options *options);

/* Tokens, owned by the struct that holds them. */
struct wh_ids {
    int32_t *ids;
    size_t n;
};

/* The options for one model. */
struct wh_setup {
    struct wh_rules rules; /* its lists are `suppress` and `begin_suppress` */
    struct wh_ids suppress, begin_suppress;
    struct wh_ids initial_prompt, prefix, hotwords;
    int32_t sot_prev;    /* -1: the model has none, and takes no prompts */
    uint32_t max_prompt; /* tokens between it and <|startoftranscript|>: C / 2 - 1 */
    uint32_t max_tokens; /* that a window may produce */
};

int32_t wh_setup_init(const struct wh_model *model, const struct num_bpe_encoder *encoder,
                      const struct wh_options *options, struct wh_setup *ret, struct num_err *err);
/* Takes a zeroed struct too. */
void wh_setup_finish(struct wh_setup *setup);

/* Tokens of a prompt up to the first that is produced, without the previous text: start, language
 * (NULL where the model has none), task, <|notimestamps|> where asked for. Returns how many (at
 * most 4). */
uint32_t wh_start_tokens(const struct wh_model *model, const struct wh_language *language,
                         const struct wh_options *options, int32_t ret[4]);

#endif
