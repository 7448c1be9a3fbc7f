/*
 * Which language a model of many is to speak. A folder such as facebook/mms-1b-all has vocab.json
 * with a vocabulary for each language, adapter.LANGUAGE.safetensors with the adapters and the head
 * for it, and model.safetensors with those of the language that tokenizer_config.json calls
 * target_lang. Layout: github.com/huggingface/transformers, Wav2Vec2ForCTC.load_adapter().
 */
#ifndef ALIGN_LANGUAGE_H
#define ALIGN_LANGUAGE_H

#include "align/config.h"
#include "align/files.h"
#include "align/vocab.h"

#define AL_LONGEST_LANGUAGE 40

struct al_language {
    char name[AL_LONGEST_LANGUAGE + 1]; /* as the folder spells it; "": the model has one */
    bool asked;                         /* by the user */
    bool own;                           /* model.safetensors is for it */
};

/* `asked` or, where that is "", the folder's own. SLUICE_INPUT where `asked` is no name of a
 * language. */
int32_t al_language_choose(const char *folder, const char *asked, struct al_language *ret,
                           struct num_err *err);

/*
 * Puts the tensors of the language before those of the model and sets config->n_vocab to what its
 * head has. Does nothing where the folder has none for it.
 */
int32_t al_language_adapt(const struct al_language *language, const char *folder,
                          struct al_files *files, struct al_config *config, bool *ret_adapted,
                          struct num_err *err);

/* Whether the vocabulary and the weights are those of the language. SLUICE_INPUT says what is
 * missing. */
int32_t al_language_check(const struct al_language *language, const struct al_vocab *vocab,
                          bool adapted, struct num_err *err);

#endif
