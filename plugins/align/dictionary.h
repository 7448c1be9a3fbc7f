/*
 * A pronunciation dictionary, for models whose vocabulary is phonemes: a line a word, then a TAB or
 * blanks, then its phonemes as the vocabulary writes them, with blanks between. That of the CMU
 * (www.speech.cs.cmu.edu/cgi-bin/cmudict) is such a file: lines that begin with ";;;" are remarks,
 * and of several pronunciations, WORD and WORD(2), the first counts.
 */
#ifndef ALIGN_DICTIONARY_H
#define ALIGN_DICTIONARY_H

#include "align/vocab.h"

struct al_dictionary {
    char *text; /* words and phonemes, each ends with NUL */
    struct al_entry {
        const char *word, *phonemes;
    } * entries;      /* by word */
    size_t n_entries; /* 0: there is no dictionary */
    locale_t locale;  /* of lower case; (locale_t)0: as in the file */
};

/* Reads the file at `path`. SLUICE_INPUT names file and line. */
int32_t al_dictionary_load(const char *path, struct al_dictionary *ret, struct num_err *err);
/* The same of `len` bytes; `file` names them in messages. */
int32_t al_dictionary_parse(const char *text, size_t len, const char *file,
                            struct al_dictionary *ret, struct num_err *err);
void al_dictionary_finish(struct al_dictionary *dictionary); /* takes a zeroed one too */

/*
 * The phonemes of a word, or NULL. Case does not count, nor do signs around the word, nor which
 * apostrophe it has.
 */
const char *al_dictionary_find(const struct al_dictionary *dictionary, const char *word);

/*
 * Phonemes to ids of the vocabulary, as al_vocab_spell() does: at most as many as there are bytes.
 * Stress (a digit behind, a mark within) is passed over where the vocabulary has none; a phoneme
 * that it does not have is AL_STAR.
 */
size_t al_dictionary_spell(const struct al_vocab *vocab, const char *phonemes, int32_t *ret_tokens,
                           size_t max_tokens);

#endif
