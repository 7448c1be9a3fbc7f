/*
 * The tensors of a model folder as Hugging Face publishes it: those of model.safetensors, or of the
 * shards that model.safetensors.index.json names, and of files that replace some of them.
 */
#ifndef ALIGN_FILES_H
#define ALIGN_FILES_H

#include "num/files.h"
#include "num/weights.h"

/* What a message says would be right. */
#define AL_MODEL_WANTED                                                                            \
    "a model for alignment is a Hugging Face folder of a wav2vec2 or HuBERT model with a CTC head"

struct al_files {
    struct num_safetensors *files; /* mapped */
    size_t n_files;
};

int32_t al_files_open(const char *folder, struct al_files *ret, struct num_err *err);
void al_files_close(struct al_files *files); /* takes a zeroed one too */

/* One more file of the folder, whose tensors are found before others of their names. */
int32_t al_files_add(struct al_files *files, const char *folder, const char *name,
                     struct num_err *err);

/* The tensor of that name, or NULL. */
const struct num_tensor *al_files_find(const struct al_files *files, const char *name);

/* Of what is mapped, gives the memory back that a tensor takes which will not be read again. */
void al_files_forget(const struct al_files *files, const struct num_weights *w);

#endif
