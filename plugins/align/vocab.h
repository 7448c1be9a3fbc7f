/*
 * The vocabulary of a CTC model, vocab.json: pieces of text, of one character or more (phonemes),
 * and how words are spelt with them.
 */
#ifndef ALIGN_VOCAB_H
#define ALIGN_VOCAB_H

#include <locale.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "num/err.h"

#define AL_STAR -1 /* stands for what is said and cannot be spelt */

struct al_piece {
    char *text; /* UTF-8 */
    size_t len;
    int32_t id;
};

struct al_vocab {
    struct al_piece *pieces; /* sorted by text; owns the texts. Special tokens are not among them */
    size_t n_pieces, longest; /* bytes of the longest */
    int32_t blank;
    int32_t delimiter; /* between words, "|"; -1: there is none */
    bool of_many;      /* it is one of several in the file */
    locale_t locale;   /* of the other case of characters; (locale_t)0: ASCII alone */
};

/*
 * Parses vocab.json of a model with n_vocab outputs. Where it holds a vocabulary for each of many
 * languages, as that of MMS does, the one of `language` is meant; "" is an error there, and names
 * some. The blank is `pad` or, where that is negative, "<pad>" or "[PAD]". SLUICE_INPUT.
 */
int32_t al_vocab_parse(const char *json, size_t len, const char *language, uint32_t n_vocab,
                       int32_t pad, struct al_vocab *ret, struct num_err *err);
void al_vocab_finish(struct al_vocab *vocab); /* takes a zeroed one too */

/*
 * Spells a word: the longest piece first, a character as it is or in its other case. Letters,
 * digits and signs that are read aloud ($, %, &) for which there is no piece become AL_STAR,
 * several in a row one; other signs nothing. Writes at most max_tokens ids (bytes of the word are
 * enough) and returns how many.
 */
size_t al_vocab_spell(const struct al_vocab *vocab, const char *word, int32_t *ret_tokens,
                      size_t max_tokens);

#endif
