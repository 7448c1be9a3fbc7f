/*
 * Makes models of random weights in every format that can be loaded: one set of tensors, written as
 * a Hugging Face folder or as a file of whisper.cpp. For tests and measurements.
 */
#ifndef TESTS_UNIT_WHISPER_MAKE_MODEL_H
#define TESTS_UNIT_WHISPER_MAKE_MODEL_H

#include "whisper/model.h"

struct made_tensor {
    char ours[96], theirs[96]; /* Hugging Face's and whisper.cpp's name */
    struct num_weights view;   /* with its data on the heap */
    uint64_t bytes;
};

struct made {
    struct wh_dims dims;
    struct made_tensor *tensors;
    size_t n_tensors;
};

/* Sizes of a small model: `layers` decoder layers, two in the encoder, both feed-forward 4 D. */
struct wh_dims made_dims(uint32_t n_mels, uint32_t D, uint32_t n_vocab, uint32_t layers);

/*
 * Random tensors: matrices of `type`, convolutions of it where it is no block type (else F16),
 * vectors and positions F32. Dies without memory.
 */
struct made *made_create(const struct wh_dims *dims, enum num_weight_type type, uint32_t seed);
/* The same values in F32. */
struct made *made_dequantised(const struct made *m);
void made_free(struct made *m);

#define MADE_ONE_TOKENIZER 1u /* tokenizer.json alone */
#define MADE_BARE_NAMES    2u /* tensors without "model." in front */
#define MADE_MULTI_SHARD   4u /* three files and an index */

/* Writes a folder, which must be there; only F32, F16 and BF16 fit. */
void made_write_folder(const struct made *m, const char *folder, unsigned flags);
void made_write_ggml(const struct made *m, const char *path);
/* The tensors alone, behind a header and a vocabulary of `head` bytes. */
void made_write_ggml_tensors(const struct made *m, const char *path, const void *head, size_t len);

#endif
