/* See language.h. The name becomes part of a path, so it is letters, digits, "-" and "_" alone. */
#include "align/language.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#define MOST_TOKENS 100000 /* as config.json may say */

static bool is_name(const char *text) {
    for (const char *c = text; *c; c++)
        if (!isalnum((unsigned char)*c) && *c != '-' && *c != '_')
            return false;
    return *text && strlen(text) <= AL_LONGEST_LANGUAGE;
}

/* target_lang of tokenizer_config.json; "" where there is none. */
static int32_t read_own(const char *folder, char ret[AL_LONGEST_LANGUAGE + 1],
                        struct num_err *err) {
    char *text = NULL;
    size_t len = 0;
    int32_t status =
        num_file_read(folder, "tokenizer_config.json", true, AL_MODEL_WANTED, &text, &len, err);
    if (status || !text)
        return status;
    json_t *root = json_loadb(text, len, 0, NULL);
    const char *name = json_string_value(json_object_get(root, "target_lang"));
    if (name && is_name(name))
        snprintf(ret, AL_LONGEST_LANGUAGE + 1, "%s", name);
    json_decref(root);
    free(text);
    return SLUICE_OK;
}

int32_t al_language_choose(const char *folder, const char *asked, struct al_language *ret,
                           struct num_err *err) {
    struct al_language language = {.asked = *asked};
    char own[AL_LONGEST_LANGUAGE + 1] = "";
    if (*asked && !is_name(asked))
        return num_fail(err, SLUICE_INPUT,
                        "`language` is \"%.40s\"; the languages of such models are called eng, "
                        "deu, cmn-script_simplified and the like",
                        asked);
    int32_t status = read_own(folder, own, err);
    if (status)
        return status;
    snprintf(language.name, sizeof language.name, "%s", *asked ? asked : own);
    language.own = *own && strcmp(language.name, own) == 0;
    *ret = language;
    return SLUICE_OK;
}

int32_t al_language_adapt(const struct al_language *language, const char *folder,
                          struct al_files *files, struct al_config *config, bool *ret_adapted,
                          struct num_err *err) {
    char file[AL_LONGEST_LANGUAGE + sizeof "adapter..safetensors"];
    snprintf(file, sizeof file, "adapter.%s.safetensors", language->name);
    *ret_adapted = *language->name && num_file_exists(folder, file);
    if (!*ret_adapted)
        return SLUICE_OK;
    int32_t status = al_files_add(files, folder, file, err);
    if (status)
        return status;
    const struct num_tensor *head = al_files_find(files, "lm_head.weight");
    if (head && head->n_dims == 2 && head->shape[0] >= 1 && head->shape[0] <= MOST_TOKENS)
        config->n_vocab = (uint32_t)head->shape[0];
    return SLUICE_OK;
}

int32_t al_language_check(const struct al_language *language, const struct al_vocab *vocab,
                          bool adapted, struct num_err *err) {
    if (!vocab->of_many && language->asked)
        return num_fail(err, SLUICE_INPUT,
                        "`language` is %s, but vocab.json is of one language alone; leave "
                        "`language` out",
                        language->name);
    if (vocab->of_many && !adapted && !language->own)
        return num_fail(err, SLUICE_INPUT,
                        "the folder has no adapter.%s.safetensors, which is the language's part of "
                        "the model; get it from where the model is published",
                        language->name);
    return SLUICE_OK;
}
