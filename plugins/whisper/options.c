/*
 * Options and what they come to for a model: see options.h. Rules follow DecodingTask in
 * decoding.py of github.com/openai/whisper, and non_speech_tokens in its tokenizer.py.
 */
#include "whisper/options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "num/mel.h"
#include "whisper/search.h"

#define DEFAULT_MAX_TOKENS 224 /* half of 448, the published models' context */

void wh_options_default(struct wh_options *ret) {
    *ret = (struct wh_options){
        .temperatures = {0, 0.2f, 0.4f, 0.6f, 0.8f, 1},
        .n_temperatures = 6,
        .beam_size = 5,
        .best_of = 5,
        .patience = 1,
        .length_penalty = -1,
        .compression_ratio_threshold = 2.4,
        .logprob_threshold = -1,
        .no_speech_threshold = 0.6,
        .language_detection_segments = 1,
        .language_detection_threshold = 0.5,
        .condition_on_previous_text = true,
        .prompt_reset_on_temperature = 0.5,
        .suppress_blank = true,
        .max_initial_timestamp = NAN,
        .repetition_penalty = 1,
        .prepend_punctuations = "\"'\u201c\u00bf([{-",
        .append_punctuations = "\"'.\u3002,\uff0c!\uff01?\uff1f:\uff1a\u201d)]}\u3001",
        .hallucination_silence_threshold = NAN,
        .batch_size = 1,
        .chunk_length = NAN,
    };
}

uint32_t wh_options_rows(const struct wh_options *options) {
    uint32_t rows = 1;
    for (uint32_t i = 0; i < options->n_temperatures; i++) {
        uint32_t n = options->temperatures[i] > 0 ? options->best_of : options->beam_size;
        rows = n > rows ? n : rows;
    }
    return rows;
}

size_t wh_options_longest(const struct wh_model *model, const struct wh_options *options) {
    size_t window = 2 * (size_t)model->dims.n_audio_ctx * NUM_MEL_HOP;
    double wanted = options->chunk_length * NUM_MEL_RATE_HZ;
    return wanted < (double)window ? (size_t)wanted : window; /* NAN: the window */
}

/* ---- Checks --------------------------------------------------------------------------------- */

/* "en, de, fr" into `text`, as many as fit. */
static void list_languages(const struct wh_tokens *tokens, char *text, size_t size) {
    size_t at = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < tokens->n_languages && at + 16 < size; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%s", i ? ", " : "",
                               tokens->languages[i].code);
}

static int32_t check_language(const struct wh_model *model, const struct wh_options *options,
                              struct num_err *err) {
    const struct wh_tokens *t = &model->tokens;
    char known[400] = "en";
    bool ok = !options->language || wh_language_find(t, options->language);
    if (t->n_languages)
        list_languages(t, known, sizeof known);
    else
        ok = !options->language || strcmp(options->language, "en") == 0;
    if (!ok)
        return num_fail(err, SLUICE_UNSUPPORTED,
                        "the model does not know the language \"%.16s\"; it knows: %s",
                        options->language, known);
    if (options->translate && (t->translate < 0 || !t->n_languages))
        return num_fail(err, SLUICE_UNSUPPORTED,
                        "the model cannot translate: it has no token <|translate|>");
    return SLUICE_OK;
}

static int32_t check_numbers(const struct wh_options *o, struct num_err *err) {
    if (o->n_temperatures == 0 || o->n_temperatures > WH_MAX_TEMPERATURES)
        return num_fail(err, SLUICE_INPUT, "temperature must list 1 to %d numbers",
                        WH_MAX_TEMPERATURES);
    for (uint32_t i = 0; i < o->n_temperatures; i++)
        if (!(o->temperatures[i] >= 0) || !isfinite(o->temperatures[i]))
            return num_fail(err, SLUICE_INPUT, "temperature must list numbers from 0 up");
    if (o->beam_size < 1 || o->beam_size > WH_MAX_CANDIDATES || o->best_of < 1 ||
        o->best_of > WH_MAX_CANDIDATES)
        return num_fail(err, SLUICE_INPUT, "beam_size and best_of must be from 1 to %d",
                        WH_MAX_CANDIDATES);
    if (!isnan(o->hallucination_silence_threshold) && !o->word_timestamps)
        return num_fail(err, SLUICE_INPUT,
                        "hallucination_silence_threshold needs word_timestamps: true");
    if (o->attention && !o->word_timestamps)
        return num_fail(err, SLUICE_INPUT, "attention needs word_timestamps: true");
    for (uint32_t i = 0; i < o->n_clip_timestamps; i++)
        if (!(o->clip_timestamps[i] >= (i ? o->clip_timestamps[i - 1] : 0)) ||
            o->clip_timestamps[i] > 1e7)
            return num_fail(err, SLUICE_INPUT,
                            "clip_timestamps must list seconds from 0 up, none before the last");
    return SLUICE_OK;
}

int32_t wh_options_check(const struct wh_model *model, const struct wh_options *options,
                         struct num_err *err) {
    int32_t status = check_numbers(options, err);
    for (uint32_t i = 0; !status && i < options->n_suppress_tokens; i++)
        if (options->suppress_tokens[i] < -1 ||
            options->suppress_tokens[i] >= (int32_t)model->dims.n_vocab)
            status = num_fail(err, SLUICE_INPUT,
                              "suppress_tokens names the token %d; the model has 0 to %u",
                              options->suppress_tokens[i], model->dims.n_vocab - 1);
    return status ? status : check_language(model, options, err);
}

/* ---- Token lists ---------------------------------------------------------------------------- */

static int32_t ids_add(struct wh_ids *list, int32_t id, struct num_err *err) {
    if (id < 0)
        return SLUICE_OK;
    int32_t *ids = realloc(list->ids, (list->n + 1) * sizeof *ids);
    if (!ids)
        return num_fail_memory(err, "a list of tokens", (list->n + 1) * sizeof *ids);
    ids[list->n++] = id;
    list->ids = ids;
    return SLUICE_OK;
}

/* Adds the first token of `text`, where it has no other or `always`. */
static int32_t add_first(const struct num_bpe_encoder *encoder, const char *text, bool always,
                         struct wh_ids *list, struct num_err *err) {
    int32_t *ids;
    size_t n;
    int32_t status = num_bpe_encode(encoder, text, strlen(text), &ids, &n, err);
    if (status)
        return status;
    if (n == 1 || (n > 1 && always))
        status = ids_add(list, ids[0], err);
    free(ids);
    return status;
}

/* Signs that stand for music, asides and speakers, and are not said. */
/* clang-format off */
static const char *const signs[] = {
    "\"", "#", "(", ")", "*", "+", "/", ":", ";", "<",
    "=", ">", "@", "[", "\\", "]", "^", "_", "`", "{",
    "|", "}", "~", "\u300c", "\u300d", "\u300e", "\u300f", "<<", ">>", "<<<",
    ">>>", "--", "---", "-(", "-[", "('", "(\"", "((", "))", "(((",
    ")))", "[[", "]]", "{{", "}}", "\u266a\u266a", "\u266a\u266a\u266a",
};
/* clang-format on */

/* They may be several tokens: their first one is of such signs only. */
static const char *const notes[] = {"\u2669", "\u266a", "\u266b", "\u266c",
                                    "\u266d", "\u266e", "\u266f"};

static int32_t add_non_speech(const struct num_bpe_encoder *encoder, struct wh_ids *list,
                              struct num_err *err) {
    int32_t status = add_first(encoder, " -", true, list, err);
    if (!status)
        status = add_first(encoder, " '", true, list, err);
    size_t n_signs = sizeof signs / sizeof *signs, n_notes = sizeof notes / sizeof *notes;
    for (size_t i = 0; !status && i < n_signs + n_notes; i++) {
        const char *sign = i < n_signs ? signs[i] : notes[i - n_signs];
        char spaced[16];
        snprintf(spaced, sizeof spaced, " %s", sign);
        status = add_first(encoder, sign, i >= n_signs, list, err);
        if (!status)
            status = add_first(encoder, spaced, i >= n_signs, list, err);
    }
    return status;
}

/* The listed tokens, what -1 stands for, and the markers that no transcript holds. */
static int32_t make_suppress(const struct wh_model *m, const struct num_bpe_encoder *encoder,
                             const struct wh_options *o, struct wh_ids *list, struct num_err *err) {
    static const int32_t non_speech[] = {-1};
    const int32_t *given = o->suppress_tokens;
    uint32_t n = o->n_suppress_tokens;
    int32_t status = SLUICE_OK;
    if (!given && m->rules.suppress) {
        given = m->rules.suppress;
        n = (uint32_t)m->rules.n_suppress;
    } else if (!given) {
        given = non_speech;
        n = 1;
    }
    for (uint32_t i = 0; !status && i < n; i++)
        status = given[i] < 0 ? add_non_speech(encoder, list, err) : ids_add(list, given[i], err);
    const int32_t markers[] = {m->tokens.transcribe,
                               m->tokens.translate,
                               m->tokens.sot,
                               num_bpe_special(&m->bpe, "<|startofprev|>"),
                               num_bpe_special(&m->bpe, "<|startoflm|>"),
                               m->tokens.no_speech};
    for (size_t i = 0; !status && i < sizeof markers / sizeof *markers; i++)
        status = ids_add(list, markers[i], err);
    return status;
}

/* " text" without blanks around it as tokens; none for NULL. */
static int32_t encode_text(const struct num_bpe_encoder *encoder, const char *text,
                           struct wh_ids *ret, struct num_err *err) {
    static const char blanks[] = " \t\r\n\v\f";
    size_t len = text ? strlen(text) : 0, skip = len ? strspn(text, blanks) : 0;
    while (len > skip && strchr(blanks, text[len - 1]))
        len--;
    if (len == skip)
        return SLUICE_OK;
    char *spaced = malloc(len - skip + 1);
    if (!spaced)
        return num_fail_memory(err, "a prompt", len);
    spaced[0] = ' ';
    memcpy(spaced + 1, text + skip, len - skip);
    int32_t status = num_bpe_encode(encoder, spaced, len - skip + 1, &ret->ids, &ret->n, err);
    free(spaced);
    return status;
}

/* ---- The setup ------------------------------------------------------------------------------ */

static void make_rules(const struct wh_model *m, const struct wh_options *o, struct wh_setup *s) {
    s->rules = m->rules;
    s->rules.timestamps = !o->without_timestamps;
    s->rules.suppress_blank = o->suppress_blank;
    s->rules.suppress = s->suppress.ids;
    s->rules.n_suppress = (int32_t)s->suppress.n;
    s->rules.begin_suppress = s->begin_suppress.ids;
    s->rules.n_begin_suppress = (int32_t)s->begin_suppress.n;
    s->rules.repetition_penalty = o->repetition_penalty;
    s->rules.no_repeat_ngram = (int32_t)o->no_repeat_ngram_size;
    if (o->max_initial_timestamp <= 0)
        s->rules.max_initial = -1;
    else if (o->max_initial_timestamp < 1e4)
        s->rules.max_initial = (int32_t)rint(o->max_initial_timestamp / WH_TIMESTAMP_S);
}

static int32_t make_texts(const struct num_bpe_encoder *encoder, const struct wh_options *o,
                          struct wh_setup *s, struct num_err *err) {
    int32_t status = encode_text(encoder, o->initial_prompt, &s->initial_prompt, err);
    if (!status)
        status = encode_text(encoder, o->prefix, &s->prefix, err);
    if (!status)
        status = encode_text(encoder, o->hotwords, &s->hotwords, err);
    if (!status && s->sot_prev < 0 && (s->initial_prompt.n || s->hotwords.n))
        status = num_fail(err, SLUICE_UNSUPPORTED,
                          "the model takes no prompts: it has no token <|startofprev|>");
    if (!status && s->prefix.n > s->max_prompt / 2)
        status =
            num_fail(err, SLUICE_INPUT, "the prefix has %zu tokens; at most %u fit the decoder",
                     s->prefix.n, s->max_prompt / 2);
    return status;
}

int32_t wh_setup_init(const struct wh_model *model, const struct num_bpe_encoder *encoder,
                      const struct wh_options *options, struct wh_setup *ret, struct num_err *err) {
    struct wh_setup s = {.sot_prev = num_bpe_special(&model->bpe, "<|startofprev|>")};
    s.max_prompt = model->dims.n_text_ctx / 2 > 1 ? model->dims.n_text_ctx / 2 - 1 : 0;
    s.max_tokens = options->max_new_tokens ? options->max_new_tokens : DEFAULT_MAX_TOKENS;
    if (s.sot_prev >= (int32_t)model->dims.n_vocab)
        s.sot_prev = -1;
    int32_t status = make_suppress(model, encoder, options, &s.suppress, err);
    if (!status)
        status = add_first(encoder, " ", true, &s.begin_suppress, err);
    if (!status)
        status = ids_add(&s.begin_suppress, model->rules.eot, err);
    if (!status)
        status = make_texts(encoder, options, &s, err);
    if (status) {
        wh_setup_finish(&s);
        return status;
    }
    make_rules(model, options, &s);
    *ret = s;
    return SLUICE_OK;
}

void wh_setup_finish(struct wh_setup *setup) {
    free(setup->suppress.ids);
    free(setup->begin_suppress.ids);
    free(setup->initial_prompt.ids);
    free(setup->prefix.ids);
    free(setup->hotwords.ids);
    *setup = (struct wh_setup){0};
}

uint32_t wh_start_tokens(const struct wh_model *model, const struct wh_language *language,
                         const struct wh_options *options, int32_t ret[4]) {
    const struct wh_tokens *t = &model->tokens;
    uint32_t n = 0;
    ret[n++] = t->sot;
    if (language) {
        ret[n++] = language->token;
        ret[n++] = options->translate ? t->translate : t->transcribe;
    }
    if (options->without_timestamps)
        ret[n++] = model->rules.no_timestamps;
    return n;
}
