/*
 * What known speakers sound like: embeddings/1, a row for each voice, as diarize/speakers writes
 * it, and folders of such files; and which of them a voice is.
 */
#ifndef DIARIZE_VOICES_H
#define DIARIZE_VOICES_H

#include <stddef.h>
#include <stdint.h>

#include "num/err.h"

struct dz_voices {
    size_t n, size; /* rows, and values of each */
    float *rows;    /* (n, size), each of length 1 */
    char **names;   /* [n] */
    char *kind;     /* of the embeddings; NULL without rows in a folder */
};

/* Takes a zeroed one too. */
void dz_voices_finish(struct dz_voices *voices);

#define dz_autovoices __attribute__((cleanup(dz_voices_finish))) struct dz_voices

/* Parses an embeddings/1: a tensor `embeddings` (n, size) and the metadata `speakers`, a JSON list
 * of n names, and `kind`. SLUICE_INPUT says what is wrong; `file` names it. */
int32_t dz_voices_read(const void *data, size_t len, const char *file, struct dz_voices *ret,
                       struct num_err *err);

/*
 * The known speakers of a folder: NAME.safetensors, or NAME/ with such files, whose rows' mean is
 * then his. Other files are passed over. All have to be of one kind and size. In the order of
 * names.
 */
int32_t dz_voices_read_folder(const char *path, struct dz_voices *ret, struct num_err *err);

/* A row (1 or more of `voices`) as embeddings/1, whose only speaker is `name`; *ret is the caller's
 * to free. */
int32_t dz_voices_write(const struct dz_voices *voices, size_t row, const char *name, void **ret,
                        size_t *ret_len, struct num_err *err);

struct dz_likeness {
    size_t best;  /* of the known; meaningful where there are any */
    double score; /* cosine, -1 to 1; -2 where nobody is known */
    double next;  /* of the second best; -2 where there is none */
};

/* Row `row` of `voices` against all that are known. The two are of the same size. */
struct dz_likeness dz_voices_compare(const struct dz_voices *voices, size_t row,
                                     const struct dz_voices *known);

#endif
