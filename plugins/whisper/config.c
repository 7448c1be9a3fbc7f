/*
 * What a model says of itself: config.json and generation_config.json of a Hugging Face folder, and
 * the special tokens of a tokenizer. Names, sizes and rules; no weights.
 *
 * Special tokens are found by their names, so multilingual, English-only and own models need no
 * table. Where generation_config.json names no alignment heads, those published for the shape are
 * taken (published.h).
 */
#include "whisper/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "whisper/published.h"

/* ---- Configuration -------------------------------------------------------------------------- */

struct size_key {
    const char *key;
    size_t offset;
    uint32_t max;
};

#define SIZE_KEY(key, member, max)                                                                 \
    { key, offsetof(struct wh_dims, member), max }

static const struct size_key size_keys[] = {
    SIZE_KEY("num_mel_bins", n_mels, 1024),
    SIZE_KEY("max_source_positions", n_audio_ctx, 1 << 16),
    SIZE_KEY("max_target_positions", n_text_ctx, 1 << 16),
    SIZE_KEY("d_model", n_state, 1 << 16),
    SIZE_KEY("vocab_size", n_vocab, NUM_BPE_MAX_TOKENS),
    SIZE_KEY("encoder_layers", n_audio_layers, 1024),
    SIZE_KEY("encoder_attention_heads", n_audio_heads, 1024),
    SIZE_KEY("encoder_ffn_dim", n_audio_ffn, 1 << 18),
    SIZE_KEY("decoder_layers", n_text_layers, 1024),
    SIZE_KEY("decoder_attention_heads", n_text_heads, 1024),
    SIZE_KEY("decoder_ffn_dim", n_text_ffn, 1 << 18),
};

static int32_t read_sizes(const json_t *config, const char *folder, struct wh_dims *ret,
                          struct num_err *err) {
    for (size_t i = 0; i < sizeof size_keys / sizeof *size_keys; i++) {
        const struct size_key *k = &size_keys[i];
        const json_t *value = json_object_get(config, k->key);
        json_int_t n = json_is_integer(value) ? json_integer_value(value) : 0;
        if (n < 1 || n > k->max)
            return num_fail(err, SLUICE_INPUT,
                            "%s/config.json: %s must be a whole number from 1 to %u", folder,
                            k->key, k->max);
        uint32_t size = (uint32_t)n;
        memcpy((char *)ret + k->offset, &size, sizeof size);
    }
    if (ret->n_state % ret->n_audio_heads || ret->n_state % ret->n_text_heads || ret->n_state % 2)
        return num_fail(err, SLUICE_INPUT,
                        "%s/config.json: d_model %u cannot be split into %u and %u heads", folder,
                        ret->n_state, ret->n_audio_heads, ret->n_text_heads);
    return SLUICE_OK;
}

/* Distilled and fine-tuned models often keep the list of the model they come from; one that names a
 * layer or head which is not there says nothing, and is left out as a whole. */
static int32_t read_alignment(const json_t *generation, const char *folder, struct wh_dims *dims,
                              struct num_err *err) {
    const json_t *heads = json_object_get(generation, "alignment_heads"), *pair;
    bool fits = true;
    size_t i;
    json_array_foreach(heads, i, pair) {
        const json_t *layer = json_array_get(pair, 0), *head = json_array_get(pair, 1);
        json_int_t l = json_integer_value(layer), h = json_integer_value(head);
        if (json_array_size(pair) != 2 || !json_is_integer(layer) || !json_is_integer(head) ||
            l < 0 || h < 0)
            return num_fail(err, SLUICE_INPUT,
                            "%s/generation_config.json: entry %zu of alignment_heads is not a "
                            "layer and a head",
                            folder, i);
        fits =
            fits && l < dims->n_text_layers && h < dims->n_text_heads && i < WH_MAX_ALIGNMENT_HEADS;
        if (!fits)
            continue;
        dims->alignment_heads[i].layer = (uint32_t)l;
        dims->alignment_heads[i].head = (uint32_t)h;
        dims->n_alignment_heads = (uint32_t)i + 1;
    }
    if (!fits)
        dims->n_alignment_heads = 0;
    return SLUICE_OK;
}

/* English-only models list language tokens too, so the tokenizer cannot tell. */
static bool is_english_only(const json_t *generation, const struct wh_dims *dims) {
    const json_t *multilingual = json_object_get(generation, "is_multilingual");
    if (json_is_boolean(multilingual))
        return json_is_false(multilingual);
    return dims->n_vocab == WH_VOCAB_ENGLISH;
}

/* Appends the token list `key` to `lists`; returns how many. Other entries than tokens are left
 * out. */
static int32_t read_list(const json_t *generation, const char *key, int32_t *lists,
                         uint32_t n_vocab) {
    const json_t *list = json_object_get(generation, key), *value;
    size_t i;
    int32_t n = 0;
    json_array_foreach(list, i, value) {
        json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
        if (id >= 0 && id < n_vocab)
            lists[n++] = (int32_t)id;
    }
    return n;
}

static int32_t read_rules(const json_t *generation, const struct wh_dims *dims,
                          struct wh_rules *ret, int32_t **ret_lists, struct num_err *err) {
    size_t n = json_array_size(json_object_get(generation, "suppress_tokens")) +
               json_array_size(json_object_get(generation, "begin_suppress_tokens"));
    int32_t *lists = malloc((n + 1) * sizeof *lists);
    if (!lists)
        return num_fail_memory(err, "the suppressed tokens", n * sizeof *lists);
    const json_t *initial = json_object_get(generation, "max_initial_timestamp_index");
    json_int_t steps =
        json_is_integer(initial) ? json_integer_value(initial) : WH_DEFAULT_MAX_INITIAL;
    struct wh_rules rules = {
        .n_vocab = (int32_t)dims->n_vocab, .timestamps = true, .suppress_blank = true};
    rules.max_initial = steps < 0 ? 0 : steps > rules.n_vocab ? rules.n_vocab : (int32_t)steps;
    rules.suppress = json_is_array(json_object_get(generation, "suppress_tokens")) ? lists : NULL;
    rules.n_suppress = read_list(generation, "suppress_tokens", lists, dims->n_vocab);
    rules.begin_suppress = lists + rules.n_suppress;
    rules.n_begin_suppress =
        read_list(generation, "begin_suppress_tokens", lists + rules.n_suppress, dims->n_vocab);
    *ret = rules;
    *ret_lists = lists;
    return SLUICE_OK;
}

static int32_t parse_object(const char *text, size_t len, const char *folder, const char *file,
                            json_t **ret, struct num_err *err) {
    json_error_t why;
    json_t *json = json_loadb(text, len, 0, &why);
    if (json_is_object(json)) {
        *ret = json;
        return SLUICE_OK;
    }
    bool parsed = json != NULL;
    json_decref(json);
    return num_fail(err, SLUICE_INPUT, "%s/%s, line %d: %s", folder, file, parsed ? 1 : why.line,
                    parsed ? "not a JSON object" : why.text);
}

int32_t wh_config_parse(const char *config, size_t config_len, const char *generation,
                        size_t generation_len, const char *folder, struct wh_dims *ret_dims,
                        struct wh_rules *ret_rules, int32_t **ret_lists, struct num_err *err) {
    json_t *c = NULL, *g = NULL;
    struct wh_dims dims = {0};
    int32_t status = parse_object(config, config_len, folder, "config.json", &c, err);
    if (!status && generation)
        status =
            parse_object(generation, generation_len, folder, "generation_config.json", &g, err);
    if (!status)
        status = read_sizes(c, folder, &dims, err);
    if (!status)
        status = read_alignment(g, folder, &dims, err);
    if (!status)
        status = read_rules(g, &dims, ret_rules, ret_lists, err);
    dims.english_only = is_english_only(g, &dims);
    dims.no_previous_text = json_is_false(json_object_get(g, "condition_on_prev_tokens"));
    if (!status && dims.n_alignment_heads == 0)
        wh_published_alignment(&dims, folder);
    if (!status)
        *ret_dims = dims;
    json_decref(c);
    json_decref(g);
    return status;
}

/* ---- Special tokens ------------------------------------------------------------------------- */

/* "<|en|>": two or three small letters. */
static bool is_language(const struct num_bpe_token *t, char code[8]) {
    if (!t->special || t->len < 6 || t->len > 7 || memcmp(t->bytes, "<|", 2) != 0 ||
        memcmp(t->bytes + t->len - 2, "|>", 2) != 0)
        return false;
    memset(code, 0, 8);
    for (uint32_t i = 2; i < t->len - 2; i++) {
        if (t->bytes[i] < 'a' || t->bytes[i] > 'z')
            return false;
        code[i - 2] = (char)t->bytes[i];
    }
    return true;
}

static void find_languages(const struct num_bpe *bpe, uint32_t n_vocab, struct wh_tokens *tokens) {
    for (size_t i = 0; i < bpe->n_tokens && i < n_vocab && tokens->n_languages < WH_MAX_LANGUAGES;
         i++) {
        struct wh_language *l = &tokens->languages[tokens->n_languages];
        if (is_language(&bpe->tokens[i], l->code)) {
            l->token = (int32_t)i;
            tokens->n_languages++;
        }
    }
}

int32_t wh_tokens_find(const struct num_bpe *bpe, const struct wh_dims *dims, const char *path,
                       struct wh_tokens *ret, struct wh_rules *rules, struct num_err *err) {
    struct wh_tokens t = {0};
    int32_t eot, no_timestamps;
    const struct {
        const char *name, *other;
        int32_t *id;
        bool needed;
    } wanted[] = {
        {"<|endoftext|>", NULL, &eot, true},
        {"<|startoftranscript|>", NULL, &t.sot, true},
        {"<|notimestamps|>", NULL, &no_timestamps, true},
        {"<|nospeech|>", "<|nocaptions|>", &t.no_speech, false},
        {"<|transcribe|>", NULL, &t.transcribe, false},
        {"<|translate|>", NULL, &t.translate, false},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        int32_t id = num_bpe_special(bpe, wanted[i].name);
        if (id < 0 && wanted[i].other)
            id = num_bpe_special(bpe, wanted[i].other);
        if (wanted[i].needed && (id < 0 || id >= (int32_t)dims->n_vocab))
            return num_fail(err, SLUICE_INPUT,
                            "%s: the tokenizer has no token %s below the vocabulary's size %u: it "
                            "is not a Whisper model's",
                            path, wanted[i].name, dims->n_vocab);
        *wanted[i].id = id < (int32_t)dims->n_vocab ? id : -1;
    }
    if (eot >= no_timestamps)
        return num_fail(err, SLUICE_INPUT,
                        "%s: <|endoftext|> must come before <|notimestamps|> in the tokenizer",
                        path);
    if (!dims->english_only && t.transcribe >= 0)
        find_languages(bpe, dims->n_vocab, &t);
    *ret = t;
    rules->eot = eot;
    rules->no_timestamps = no_timestamps;
    rules->timestamp_begin = no_timestamps + 1;
    return SLUICE_OK;
}

const struct wh_language *wh_language_find(const struct wh_tokens *tokens, const char *code) {
    for (uint32_t i = 0; i < tokens->n_languages; i++)
        if (strcmp(tokens->languages[i].code, code) == 0)
            return &tokens->languages[i];
    return NULL;
}
