/*
 * Parameters of whisper/transcribe: see params.h. One table holds a line for each: how it is
 * declared, and the member of the options that it fills.
 */
#include "whisper/params.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

static const char *const tasks[] = {"transcribe", "translate", NULL};
static const char *const computes[] = {"f32", "bf16", "int8", "auto",
                                       "f16", "int4", NULL}; /* as enum wh_compute */
static const char *const crosses[] = {"auto", "stored", "absorbed", "by_batch",
                                      NULL};                       /* as enum wh_cross */
static const char *const kepts[] = {"plain", "fp8", "int8", NULL}; /* as enum wh_kept */
static const char *const paddings[] = {"zeros", "silence", NULL};

#define DECLARE(id, ...)                                                                           \
    static const struct sluice_param param_##id = {                                                \
        .size = SLUICE_SIZED(struct sluice_param), .name = #id, __VA_ARGS__}
#define RANGE(low, high) .flags = SLUICE_PARAM_RANGED, .min = low, .max = high

DECLARE(model, .kind = SLUICE_PARAM_STRING, .default_value = "embedded",
        .doc = "The name of an installed model, a Hugging Face Whisper folder, a .bin file of "
               "whisper.cpp, or \"embedded\".");
DECLARE(language, .kind = SLUICE_PARAM_STRING, .default_value = "auto",
        .doc = "Language spoken, as a code like \"en\", or \"auto\" to detect it in the first "
               "window.");
DECLARE(task, .kind = SLUICE_PARAM_STRING, .default_value = "transcribe", .choices = tasks,
        .doc = "Write down what is said, or translate it to English where the model can.");
DECLARE(multilingual, .kind = SLUICE_PARAM_BOOL, .default_value = "false",
        .doc = "Detect the language of every window anew; with language: auto.");
DECLARE(language_detection_segments, .kind = SLUICE_PARAM_INT, .default_value = "1", RANGE(1, 100),
        .doc = "Windows looked at for the language until one is likely enough.");
DECLARE(language_detection_threshold, .kind = SLUICE_PARAM_FLOAT, .default_value = "0.5",
        RANGE(0, 1), .doc = "Probability from which a window's language is taken at once.");
DECLARE(temperature, .kind = SLUICE_PARAM_JSON, .default_value = "[0, 0.2, 0.4, 0.6, 0.8, 1.0]",
        .doc = "Temperatures, tried in turn until a text is neither repetitive nor unlikely.");
DECLARE(beam_size, .kind = SLUICE_PARAM_INT, .default_value = "5", RANGE(1, 32),
        .doc = "Beams at temperature 0; 1 takes the likeliest token each time.");
DECLARE(best_of, .kind = SLUICE_PARAM_INT, .default_value = "5", RANGE(1, 32),
        .doc = "Samples above temperature 0, of which the likeliest is kept.");
DECLARE(patience, .kind = SLUICE_PARAM_FLOAT, .default_value = "1.0", RANGE(0.01, 100),
        .doc = "Beam search ends once beam_size times this many texts are finished.");
DECLARE(length_penalty, .kind = SLUICE_PARAM_FLOAT, RANGE(0, 1),
        .doc = "Exponent of the length that texts are ranked by; without it, by the mean of their "
               "tokens.");
DECLARE(seed, .kind = SLUICE_PARAM_INT, .default_value = "0",
        .doc = "Of the random numbers above temperature 0: the same seed gives the same text.");
DECLARE(compression_ratio_threshold, .kind = SLUICE_PARAM_FLOAT, .default_value = "2.4",
        .doc = "A text that zlib shrinks by more than this is repetitive: the next temperature is "
               "tried.");
DECLARE(logprob_threshold, .kind = SLUICE_PARAM_FLOAT, .default_value = "-1.0",
        .doc = "A text with a lower mean log-probability is unlikely: the next temperature is "
               "tried.");
DECLARE(no_speech_threshold, .kind = SLUICE_PARAM_FLOAT, .default_value = "0.6",
        .doc = "A window is skipped as silence where <|nospeech|> is likelier than this and the "
               "text is unlikely.");
DECLARE(condition_on_previous_text, .kind = SLUICE_PARAM_BOOL,
        .doc = "Give the model the text so far as context; true unless the model says that it "
               "was trained without.");
DECLARE(prompt_reset_on_temperature, .kind = SLUICE_PARAM_FLOAT, .default_value = "0.5",
        .doc = "A text found above this temperature is no context for the next window.");
DECLARE(initial_prompt, .kind = SLUICE_PARAM_STRING,
        .doc = "Text to give the first window as context: names, spelling, style.");
DECLARE(carry_initial_prompt, .kind = SLUICE_PARAM_BOOL, .default_value = "false",
        .doc = "Give initial_prompt to every window, before the text so far.");
DECLARE(prefix, .kind = SLUICE_PARAM_STRING,
        .doc = "Text that each window is taken to begin with; it is not in the transcript.");
DECLARE(hotwords, .kind = SLUICE_PARAM_STRING,
        .doc = "Words to expect, given to every window as context.");
DECLARE(suppress_tokens, .kind = SLUICE_PARAM_JSON,
        .doc = "Numbers of tokens never to produce, -1 for all signs that are not said; by "
               "default the model's list, or [-1].");
DECLARE(suppress_blank, .kind = SLUICE_PARAM_BOOL, .default_value = "true",
        .doc = "Let no window begin with a blank or be empty.");
DECLARE(without_timestamps, .kind = SLUICE_PARAM_BOOL, .default_value = "false",
        .doc = "Let the model write text alone: each window becomes one segment.");
DECLARE(max_initial_timestamp, .kind = SLUICE_PARAM_FLOAT, RANGE(0, 30), .unit = "s",
        .doc = "Latest time at which a window's first segment may start, 0 for any; by default "
               "the model's, or 1.0.");
DECLARE(max_new_tokens, .kind = SLUICE_PARAM_INT, RANGE(1, 65536), .unit = "tokens",
        .doc = "Most tokens of a window; by default 224, half of a published model's context.");
DECLARE(repetition_penalty, .kind = SLUICE_PARAM_FLOAT, .default_value = "1.0", RANGE(0.01, 100),
        .doc = "Above 1, texts that a window has produced become less likely in it.");
DECLARE(no_repeat_ngram_size, .kind = SLUICE_PARAM_INT, .default_value = "0", RANGE(0, 448),
        .unit = "tokens", .doc = "No sequence of this many tokens twice in a window; 0: any.");
DECLARE(word_timestamps, .kind = SLUICE_PARAM_BOOL, .default_value = "false",
        .doc = "Find the times of every word too; segments then start and end with words.");
DECLARE(attention, .kind = SLUICE_PARAM_BOOL, .default_value = "false",
        .doc =
            "Commit the output attention, for stages that align, and find words; true where the "
            "output is taken. In memory: heads times text tokens times positions, 2 bytes each.");
DECLARE(prepend_punctuations, .kind = SLUICE_PARAM_STRING,
        .doc = "Signs that belong to the word behind them; by default quotes and opening "
               "brackets.");
DECLARE(append_punctuations, .kind = SLUICE_PARAM_STRING,
        .doc = "Signs that belong to the word before them; by default quotes, stops and closing "
               "brackets.");
DECLARE(hallucination_silence_threshold, .kind = SLUICE_PARAM_FLOAT, RANGE(0, 3600), .unit = "s",
        .doc = "Skip silence longer than this around text that looks made up; needs "
               "word_timestamps.");
DECLARE(clip_timestamps, .kind = SLUICE_PARAM_JSON,
        .doc = "Seconds where clips start and end, in turn; the rest is left out.");
DECLARE(batch_size, .kind = SLUICE_PARAM_INT, .default_value = "1", RANGE(1, 1024),
        .doc = "Windows decoded together, where regions are connected; the text does not depend on "
               "it, but each takes memory.");
DECLARE(chunk_length, .kind = SLUICE_PARAM_FLOAT, RANGE(1, 30), .unit = "s",
        .doc = "Longest window made of regions; by default, and at most, the model's.");
DECLARE(end_padding, .kind = SLUICE_PARAM_STRING, .default_value = "zeros", .choices = paddings,
        .doc = "What a last, short window is filled up with: zeros, as OpenAI, or silence, as "
               "Hugging Face.");

DECLARE(compute, .kind = SLUICE_PARAM_STRING, .default_value = "auto", .choices = computes,
        .doc =
            "What to calculate with: f32 is exact, bf16 faster where the processor multiplies it, "
            "int8 smaller and faster still; auto is the faster of f32 and bf16. On CUDA also f16, "
            "which auto takes there, and int4.");

DECLARE(cross_attention, .kind = SLUICE_PARAM_STRING, .default_value = "auto", .choices = crosses,
        .doc = "On CUDA, what attention to a window reads: keys and values stored when it is "
               "encoded, the encoder's output alone (absorbed: less memory), or by the number of "
               "windows; auto stores them where batch_size windows have room so.");
DECLARE(cross_kv, .kind = SLUICE_PARAM_STRING, .default_value = "plain", .choices = kepts,
        .doc =
            "On CUDA, what stored keys and values of windows are kept in: what is computed with, "
            "or bytes, fp8 (e4m3) or int8, which halve what a token reads of a window.");

/* ---- Table ------------------------------------------------------------------------------------
 */

enum member { BOOL, UINT, SEED, FLOAT, DOUBLE, TEXT };

#define AT(member) offsetof(struct wh_options, member)

/* Parameters that fill one member of the same name. Absent ones leave it as it is. */
static const struct {
    const struct sluice_param *param;
    enum member kind;
    size_t offset;
} members[] = {
    {&param_multilingual, BOOL, AT(multilingual)},
    {&param_language_detection_segments, UINT, AT(language_detection_segments)},
    {&param_language_detection_threshold, DOUBLE, AT(language_detection_threshold)},
    {&param_beam_size, UINT, AT(beam_size)},
    {&param_best_of, UINT, AT(best_of)},
    {&param_patience, FLOAT, AT(patience)},
    {&param_length_penalty, FLOAT, AT(length_penalty)},
    {&param_seed, SEED, AT(seed)},
    {&param_compression_ratio_threshold, DOUBLE, AT(compression_ratio_threshold)},
    {&param_logprob_threshold, DOUBLE, AT(logprob_threshold)},
    {&param_no_speech_threshold, DOUBLE, AT(no_speech_threshold)},
    {&param_prompt_reset_on_temperature, DOUBLE, AT(prompt_reset_on_temperature)},
    {&param_initial_prompt, TEXT, AT(initial_prompt)},
    {&param_carry_initial_prompt, BOOL, AT(carry_initial_prompt)},
    {&param_prefix, TEXT, AT(prefix)},
    {&param_hotwords, TEXT, AT(hotwords)},
    {&param_suppress_blank, BOOL, AT(suppress_blank)},
    {&param_without_timestamps, BOOL, AT(without_timestamps)},
    {&param_max_initial_timestamp, DOUBLE, AT(max_initial_timestamp)},
    {&param_max_new_tokens, UINT, AT(max_new_tokens)},
    {&param_repetition_penalty, FLOAT, AT(repetition_penalty)},
    {&param_no_repeat_ngram_size, UINT, AT(no_repeat_ngram_size)},
    {&param_word_timestamps, BOOL, AT(word_timestamps)},
    {&param_attention, BOOL, AT(attention)},
    {&param_prepend_punctuations, TEXT, AT(prepend_punctuations)},
    {&param_append_punctuations, TEXT, AT(append_punctuations)},
    {&param_hallucination_silence_threshold, DOUBLE, AT(hallucination_silence_threshold)},
    {&param_batch_size, UINT, AT(batch_size)},
    {&param_chunk_length, DOUBLE, AT(chunk_length)},
};

const struct sluice_param *const wh_param_list[] = {&param_model,
                                                    &param_language,
                                                    &param_task,
                                                    &param_temperature,
                                                    &param_beam_size,
                                                    &param_best_of,
                                                    &param_patience,
                                                    &param_length_penalty,
                                                    &param_compression_ratio_threshold,
                                                    &param_logprob_threshold,
                                                    &param_no_speech_threshold,
                                                    &param_condition_on_previous_text,
                                                    &param_prompt_reset_on_temperature,
                                                    &param_initial_prompt,
                                                    &param_carry_initial_prompt,
                                                    &param_prefix,
                                                    &param_hotwords,
                                                    &param_word_timestamps,
                                                    &param_attention,
                                                    &param_prepend_punctuations,
                                                    &param_append_punctuations,
                                                    &param_hallucination_silence_threshold,
                                                    &param_clip_timestamps,
                                                    &param_without_timestamps,
                                                    &param_max_initial_timestamp,
                                                    &param_max_new_tokens,
                                                    &param_suppress_tokens,
                                                    &param_suppress_blank,
                                                    &param_repetition_penalty,
                                                    &param_no_repeat_ngram_size,
                                                    &param_multilingual,
                                                    &param_language_detection_segments,
                                                    &param_language_detection_threshold,
                                                    &param_seed,
                                                    &param_batch_size,
                                                    &param_chunk_length,
                                                    &param_end_padding,
                                                    &param_compute,
                                                    &param_cross_attention,
                                                    &param_cross_kv,
                                                    NULL};

/* ---- Reading ----------------------------------------------------------------------------------
 */

/* The value of one parameter into its member at `to`; SLUICE_UNSUPPORTED: absent. */
static int32_t read_member(const struct sluice_host *host, const char *name, enum member kind,
                           void *to) {
    int32_t truth = 0, status;
    int64_t whole = 0;
    double number = 0;
    const char *text = NULL;
    switch (kind) {
    case BOOL:
        if ((status = host->param_bool(host, name, &truth)) == SLUICE_OK)
            *(bool *)to = truth != 0;
        return status;
    case UINT:
    case SEED:
        if ((status = host->param_int(host, name, &whole)) != SLUICE_OK)
            return status;
        if (kind == SEED)
            *(uint64_t *)to = (uint64_t)whole;
        else
            *(uint32_t *)to = (uint32_t)whole;
        return SLUICE_OK;
    case FLOAT:
    case DOUBLE:
        if ((status = host->param_float(host, name, &number)) != SLUICE_OK)
            return status;
        if (kind == FLOAT)
            *(float *)to = (float)number;
        else
            *(double *)to = number;
        return SLUICE_OK;
    default:
        if ((status = host->param_string(host, name, &text)) == SLUICE_OK)
            *(const char **)to = text;
        return status;
    }
}

static int32_t read_members(const struct sluice_host *host, struct wh_options *o,
                            struct num_err *err) {
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        const char *name = members[i].param->name;
        int32_t status = read_member(host, name, members[i].kind, (char *)o + members[i].offset);
        if (status && status != SLUICE_UNSUPPORTED)
            return num_fail(err, status, "the parameter %s could not be read", name);
    }
    return SLUICE_OK;
}

/* A list of numbers, or a single one, malloc'ed; NULL where it is absent. */
static int32_t read_numbers(const struct sluice_host *host, const char *name, double **ret,
                            uint32_t *ret_n, struct num_err *err) {
    const char *text;
    const json_t *value;
    size_t i;
    int32_t status = host->param_json(host, name, &text);
    if (status)
        return status == SLUICE_UNSUPPORTED
                   ? SLUICE_OK
                   : num_fail(err, status, "the parameter %s could not be read", name);
    json_t *list = json_loads(text, JSON_DECODE_ANY, NULL);
    if (json_is_number(list)) {
        json_t *single = list;
        list = json_pack("[o]", single);
    }
    bool ok = json_is_array(list) && json_array_size(list) <= 100000;
    double *numbers = malloc((json_array_size(list) + 1) * sizeof *numbers);
    json_array_foreach(list, i, value) {
        ok &= json_is_number(value);
        if (ok && numbers)
            numbers[i] = json_number_value(value);
    }
    uint32_t n = (uint32_t)json_array_size(list);
    json_decref(list);
    if (!ok || !numbers) {
        free(numbers);
        return ok ? num_fail_memory(err, "a parameter", n * sizeof *numbers)
                  : num_fail(err, SLUICE_INPUT,
                             "%s must be a number or a list of numbers, as [0, 0.2]", name);
    }
    *ret = numbers;
    *ret_n = n;
    return SLUICE_OK;
}

static int32_t read_temperatures(const struct sluice_host *host, struct wh_options *o,
                                 struct num_err *err) {
    double *numbers = NULL;
    uint32_t n = 0;
    int32_t status = read_numbers(host, "temperature", &numbers, &n, err);
    if (!status && n > WH_MAX_TEMPERATURES)
        status = num_fail(err, SLUICE_INPUT, "temperature lists %u numbers; at most %d are tried",
                          n, WH_MAX_TEMPERATURES);
    for (uint32_t i = 0; !status && i < n; i++)
        o->temperatures[i] = (float)numbers[i];
    o->n_temperatures = n;
    free(numbers);
    return status;
}

static int32_t read_lists(const struct sluice_host *host, struct wh_params *p,
                          struct num_err *err) {
    double *tokens = NULL;
    uint32_t n = 0;
    int32_t status = read_temperatures(host, &p->options, err);
    if (!status)
        status = read_numbers(host, "clip_timestamps", &p->clip_timestamps,
                              &p->options.n_clip_timestamps, err);
    if (!status)
        status = read_numbers(host, "suppress_tokens", &tokens, &n, err);
    p->options.clip_timestamps = p->clip_timestamps;
    if (status || !tokens)
        return status;
    p->suppress_tokens = malloc((n + 1) * sizeof *p->suppress_tokens);
    for (uint32_t i = 0; p->suppress_tokens && i < n; i++)
        p->suppress_tokens[i] = fabs(tokens[i]) < 1e9 ? (int32_t)tokens[i] : -2;
    free(tokens);
    p->options.suppress_tokens = p->suppress_tokens;
    p->options.n_suppress_tokens = n;
    return p->suppress_tokens ? SLUICE_OK : num_fail_memory(err, "a parameter", n * sizeof(int));
}

/* The index of `text` among the choices. */
static int index_of(const char *const *choices, const char *text) {
    int i = 0;
    while (choices[i] && strcmp(choices[i], text) != 0)
        i++;
    return choices[i] ? i : 0;
}

int32_t wh_params_read(const struct sluice_host *host, struct wh_params *ret, struct num_err *err) {
    struct wh_params p = {0};
    const char *language = NULL, *task = NULL, *padding = NULL, *compute = NULL;
    const char *cross = NULL, *kept = NULL;
    int32_t condition = 0, given;
    wh_options_default(&p.options);
    int32_t status = host->param_string(host, "model", &p.model);
    if (!status)
        status = host->param_string(host, "language", &language);
    if (!status)
        status = host->param_string(host, "task", &task);
    if (!status)
        status = host->param_string(host, "end_padding", &padding);
    if (!status)
        status = host->param_string(host, "compute", &compute);
    if (!status)
        status = host->param_string(host, "cross_attention", &cross);
    if (!status)
        status = host->param_string(host, "cross_kv", &kept);
    if (status)
        return num_fail(err, status, "the stage's parameters could not be read");
    p.options.language = strcmp(language, "auto") == 0 ? NULL : language;
    p.options.translate = strcmp(task, "translate") == 0;
    p.options.silence_behind_end = strcmp(padding, "silence") == 0;
    p.compute = (enum wh_compute)index_of(computes, compute);
    p.cross = (enum wh_cross)index_of(crosses, cross);
    p.kept = (enum wh_kept)index_of(kepts, kept);
    given = host->param_bool(host, "condition_on_previous_text", &condition);
    p.condition_given = given == SLUICE_OK;
    if (p.condition_given)
        p.options.condition_on_previous_text = condition != 0;
    status = read_members(host, &p.options, err);
    p.options.word_timestamps |= p.options.attention;
    if (!status)
        status = read_lists(host, &p, err);
    if (status)
        wh_params_finish(&p);
    else
        *ret = p;
    return status;
}

void wh_params_finish(struct wh_params *params) {
    free(params->suppress_tokens);
    free(params->clip_timestamps);
    *params = (struct wh_params){0};
}
