/*
 * tokenizer.json of Hugging Face tokenizers: the steps that the published tokenizers of our
 * families use. Any other step is refused by name, since leaving it out would yield other tokens.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "llm/tokenizer_files.h"
#include "llm/vocab.h"

#define BLANK_MARK "\xe2\x96\x81"

struct reader {
    const json_t *root;
    const char *folder;
    struct lm_tokenizer *t;
    struct num_err *err;
};

#define REFUSE(r, ...) num_fail((r)->err, SLUICE_INPUT, __VA_ARGS__)

static int32_t unsupported(const struct reader *r, const char *step, const char *what) {
    return num_fail(r->err, SLUICE_UNSUPPORTED,
                    "%s/tokenizer.json: the %s \"%.60s\" is not one that can be followed",
                    r->folder, step, what ? what : "(unnamed)");
}

/* ---- Values --------------------------------------------------------------------------------- */

static bool missing(const json_t *value) {
    return !value || json_is_null(value);
}

static const char *string_of(const json_t *object, const char *key) {
    return json_string_value(json_object_get(object, key));
}

static bool is(const json_t *object, const char *key, const char *value) {
    const char *text = string_of(object, key);
    return text && strcmp(text, value) == 0;
}

static bool bool_of(const json_t *object, const char *key, bool otherwise) {
    const json_t *value = json_object_get(object, key);
    return missing(value) ? otherwise : json_is_true(value);
}

/* Element i of a step that is a sequence (its list is `list`), or the step itself; NULL behind. */
static const json_t *step_at(const json_t *step, const char *list, size_t i) {
    if (missing(step))
        return NULL;
    if (is(step, "type", "Sequence"))
        return json_array_get(json_object_get(step, list), i);
    return i == 0 ? step : NULL;
}

/* ---- Normalizers ---------------------------------------------------------------------------- */

static int32_t read_normalizer(struct reader *r, const json_t *step) {
    const json_t *pattern = json_object_get(step, "pattern");
    if (is(step, "type", "NFC")) {
        r->t->nfc = true;
    } else if (is(step, "type", "Prepend") && is(step, "prepend", BLANK_MARK)) {
        r->t->prepend = LM_PREPEND_ALWAYS;
    } else if (is(step, "type", "Replace") && is(pattern, "String", " ") &&
               is(step, "content", BLANK_MARK)) {
        r->t->blanks = true;
    } else {
        return unsupported(r, "normalizer", string_of(step, "type"));
    }
    return SLUICE_OK;
}

/* ---- Pre-tokenizers -------------------------------------------------------------------------- */

#define ENDINGS "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define REST    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const struct {
    const char *regex;
    enum lm_split split;
} regexes[] = {
    {ENDINGS "\\p{N}{1,3}" REST, LM_SPLIT_LLAMA3},
    {ENDINGS "\\p{N}" REST, LM_SPLIT_QWEN2},
    {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
     LM_SPLIT_GPT2},
};

static int32_t add_split(struct reader *r, enum lm_split split) {
    if (r->t->n_splits == LM_MAX_SPLITS)
        return unsupported(r, "pre_tokenizer", "Sequence of many steps");
    r->t->splits[r->t->n_splits++] = split;
    return SLUICE_OK;
}

static int32_t read_regex(struct reader *r, const json_t *step) {
    const char *regex = string_of(json_object_get(step, "pattern"), "Regex");
    bool plain = is(step, "behavior", "Isolated") && !bool_of(step, "invert", false);
    for (size_t i = 0; plain && regex && i < sizeof regexes / sizeof *regexes; i++)
        if (strcmp(regex, regexes[i].regex) == 0)
            return add_split(r, regexes[i].split);
    return unsupported(r, "pre_tokenizer's pattern", regex ? regex : "Split");
}

static int32_t read_byte_level(struct reader *r, const json_t *step) {
    r->t->kind = LM_BYTE_BPE;
    if (bool_of(step, "add_prefix_space", true)) {
        if (r->t->n_splits || r->t->nfc)
            return unsupported(r, "pre_tokenizer", "ByteLevel with add_prefix_space behind others");
        r->t->prepend_space = true;
    }
    return bool_of(step, "use_regex", true) ? add_split(r, LM_SPLIT_GPT2) : SLUICE_OK;
}

static int32_t read_metaspace(struct reader *r, const json_t *step) {
    const char *scheme = string_of(step, "prepend_scheme");
    bool prefix = bool_of(step, "add_prefix_space", true);
    if (!is(step, "replacement", BLANK_MARK))
        return unsupported(r, "pre_tokenizer", "Metaspace with another mark");
    r->t->blanks = true;
    r->t->prepend_unless = true;
    r->t->prepend = scheme && strcmp(scheme, "never") == 0   ? LM_PREPEND_NEVER
                    : scheme && strcmp(scheme, "first") == 0 ? LM_PREPEND_FIRST
                    : scheme || prefix                       ? LM_PREPEND_ALWAYS
                                                             : LM_PREPEND_NEVER;
    return bool_of(step, "split", true) ? add_split(r, LM_SPLIT_BLANKS) : SLUICE_OK;
}

static int32_t read_pre_tokenizer(struct reader *r, const json_t *step) {
    if (is(step, "type", "Split"))
        return read_regex(r, step);
    if (is(step, "type", "ByteLevel"))
        return read_byte_level(r, step);
    if (is(step, "type", "Metaspace"))
        return read_metaspace(r, step);
    if (is(step, "type", "Digits") && bool_of(step, "individual_digits", false))
        return add_split(r, LM_SPLIT_DIGITS);
    return unsupported(r, "pre_tokenizer", string_of(step, "type"));
}

static int32_t read_steps(struct reader *r) {
    const json_t *normalizer = json_object_get(r->root, "normalizer"), *step;
    const json_t *pre = json_object_get(r->root, "pre_tokenizer");
    int32_t status = SLUICE_OK;
    for (size_t i = 0; !status && (step = step_at(normalizer, "normalizers", i)); i++)
        status = read_normalizer(r, step);
    for (size_t i = 0; !status && (step = step_at(pre, "pretokenizers", i)); i++)
        status = read_pre_tokenizer(r, step);
    return status;
}

/* ---- Models --------------------------------------------------------------------------------- */

static int32_t set_token(struct reader *r, const json_t *id, const char *name, size_t len,
                         double score) {
    json_int_t n = json_is_integer(id) ? json_integer_value(id) : -1;
    if (n < 0)
        return REFUSE(r, "%s/tokenizer.json: the token %.60s has no usable number", r->folder,
                      name);
    return lm_vocab_set(r->t, (uint64_t)n, name, len, (float)score, r->err);
}

/* One merge, "left right" or ["left", "right"], into `both`; false where it is neither. */
static bool merge_names(const json_t *merge, char *both, size_t size, size_t *ret_left,
                        size_t *ret_right) {
    const char *text = json_string_value(merge), *blank;
    const char *left = json_string_value(json_array_get(merge, 0));
    const char *right = json_string_value(json_array_get(merge, 1));
    if (text && (blank = strchr(text, ' '))) {
        left = text;
        *ret_left = (size_t)(blank - text);
        right = blank + 1;
    } else if (left && right) {
        *ret_left = strlen(left);
    } else {
        return false;
    }
    *ret_right = strlen(right);
    if (*ret_left + *ret_right >= size)
        return false;
    memcpy(both, left, *ret_left);
    memcpy(both + *ret_left, right, *ret_right);
    return true;
}

static int32_t read_merges(struct reader *r, const json_t *merges) {
    size_t i, n = json_array_size(merges);
    const json_t *merge;
    int32_t status = lm_vocab_index(r->t, n + 1, r->err);
    json_array_foreach(merges, i, merge) {
        char both[1024];
        size_t left, right;
        if (status)
            break;
        if (!merge_names(merge, both, sizeof both, &left, &right) ||
            !lm_vocab_merge(r->t, both, left, right, (int32_t)i))
            status =
                REFUSE(r, "%s/tokenizer.json: merge %zu is not of two tokens that make a third",
                       r->folder, i);
    }
    return status;
}

static int32_t read_bpe(struct reader *r, const json_t *model) {
    static const char *const others[] = {"continuing_subword_prefix", "end_of_word_suffix",
                                         "dropout"};
    const json_t *vocab = json_object_get(model, "vocab");
    const char *name, *unk = string_of(model, "unk_token");
    json_t *id;
    int32_t status = SLUICE_OK;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        const json_t *value = json_object_get(model, others[i]);
        if (!missing(value) && !(json_is_string(value) && json_string_length(value) == 0))
            return unsupported(r, "model's option", others[i]);
    }
    if (!json_is_object(vocab))
        return REFUSE(r, "%s/tokenizer.json has no vocabulary", r->folder);
    json_object_foreach((json_t *)vocab, name, id) {
        status = set_token(r, id, name, strlen(name), 0);
        if (status)
            return status;
    }
    r->t->byte_fallback = bool_of(model, "byte_fallback", false);
    r->t->fuse_unk = bool_of(model, "fuse_unk", false);
    r->t->ignore_merges = bool_of(model, "ignore_merges", false);
    status = read_merges(r, json_object_get(model, "merges"));
    if (!status && unk)
        r->t->unk = lm_vocab_find(r->t, unk, strlen(unk));
    return status;
}

static int32_t read_unigram(struct reader *r, const json_t *model) {
    const json_t *vocab = json_object_get(model, "vocab"), *unk = json_object_get(model, "unk_id");
    size_t i;
    json_t *entry;
    json_array_foreach(vocab, i, entry) {
        const json_t *name = json_array_get(entry, 0), *score = json_array_get(entry, 1);
        if (!json_is_string(name) || !json_is_number(score))
            return REFUSE(r, "%s/tokenizer.json: token %zu is no name and score", r->folder, i);
        int32_t status = lm_vocab_set(r->t, i, json_string_value(name), json_string_length(name),
                                      (float)json_number_value(score), r->err);
        if (status)
            return status;
    }
    if (r->t->n_tokens == 0)
        return REFUSE(r, "%s/tokenizer.json has no vocabulary", r->folder);
    r->t->kind = LM_UNIGRAM;
    r->t->wide_scores = r->t->fuse_unk = true;
    r->t->byte_fallback = bool_of(model, "byte_fallback", false);
    if (json_is_integer(unk) && json_integer_value(unk) >= 0 &&
        json_integer_value(unk) < (json_int_t)r->t->n_tokens)
        r->t->unk = (int32_t)json_integer_value(unk);
    return lm_vocab_index(r->t, 0, r->err);
}

static int32_t read_model(struct reader *r) {
    const json_t *model = json_object_get(r->root, "model");
    const char *type = string_of(model, "type");
    if (r->t->kind != LM_BYTE_BPE)
        r->t->kind = LM_SPM_BPE;
    if (type && strcmp(type, "Unigram") == 0)
        return read_unigram(r, model);
    if (!model || (type && strcmp(type, "BPE") != 0))
        return unsupported(r, "model", type);
    return read_bpe(r, model);
}

/* ---- Added tokens --------------------------------------------------------------------------- */

static int32_t read_added(struct reader *r) {
    const json_t *list = json_object_get(r->root, "added_tokens");
    json_t *entry;
    size_t i;
    json_array_foreach(list, i, entry) {
        const char *name = string_of(entry, "content");
        const json_t *id = json_object_get(entry, "id");
        if (!name)
            return REFUSE(r, "%s/tokenizer.json: added token %zu has no \"content\"", r->folder, i);
        if (bool_of(entry, "single_word", false))
            return unsupported(r, "added token of single words", name);
        int32_t status = set_token(r, id, name, strlen(name), 0);
        if (status)
            return status;
        struct lm_token *token = &r->t->tokens[json_integer_value(id)];
        token->added = true;
        token->special = bool_of(entry, "special", false);
        token->lstrip = bool_of(entry, "lstrip", false);
        token->rstrip = bool_of(entry, "rstrip", false);
    }
    return SLUICE_OK;
}

/* ---- What a text begins with ----------------------------------------------------------------- */

static int32_t find_added(const struct reader *r, const char *name) {
    return name ? lm_tokenizer_find(r->t, name) : -1;
}

/* "single" of a TemplateProcessing: special tokens up to the sequence. */
static void read_template(struct reader *r, const json_t *step) {
    const json_t *single = json_object_get(step, "single");
    json_t *entry;
    size_t i;
    if (!is(step, "type", "TemplateProcessing"))
        return;
    json_array_foreach(single, i, entry) {
        const char *name = string_of(json_object_get(entry, "SpecialToken"), "id");
        int32_t token = find_added(r, name);
        if (!name || r->t->n_prefix == sizeof r->t->prefix / sizeof *r->t->prefix)
            break;
        if (token >= 0)
            r->t->prefix[r->t->n_prefix++] = token;
    }
}

/* "bos_token" of tokenizer_config.json: a name, or an object that holds it. */
static int32_t named(const struct reader *r, const json_t *config, const char *key) {
    const json_t *value = json_object_get(config, key);
    return find_added(r, json_is_object(value) ? string_of(value, "content")
                                               : json_string_value(value));
}

static int32_t read_all(struct reader *r, const json_t *config) {
    const json_t *post = json_object_get(r->root, "post_processor"), *step;
    r->t->kind = LM_SPM_BPE;
    int32_t status = read_steps(r);
    if (!status)
        status = read_model(r);
    if (!status)
        status = read_added(r);
    if (!status)
        status = lm_vocab_finish(r->t, r->err);
    for (size_t i = 0; !status && (step = step_at(post, "processors", i)); i++)
        read_template(r, step);
    if (!status) {
        r->t->bos = named(r, config, "bos_token");
        r->t->eos = named(r, config, "eos_token");
    }
    return status;
}

int32_t lm_tokenizer_parse(const char *text, size_t len, const char *config, size_t config_len,
                           const char *folder, struct lm_tokenizer **ret, struct num_err *err) {
    json_error_t why;
    json_t *root = json_loadb(text, len, JSON_ALLOW_NUL, &why), *settings = NULL;
    struct reader r = {root, folder, NULL, err};
    if (!root)
        return num_fail(err, SLUICE_INPUT, "%s/tokenizer.json, line %d: %s", folder, why.line,
                        why.text);
    int32_t status = SLUICE_OK;
    if (config && !(settings = json_loadb(config, config_len, 0, &why)))
        status = num_fail(err, SLUICE_INPUT, "%s/tokenizer_config.json, line %d: %s", folder,
                          why.line, why.text);
    if (!status && !(r.t = lm_tokenizer_new()))
        status = num_fail_memory(err, "a tokenizer", sizeof *r.t);
    if (!status)
        status = read_all(&r, settings);
    json_decref(root);
    json_decref(settings);
    if (status)
        lm_tokenizer_destroy(r.t);
    else
        *ret = r.t;
    return status;
}
