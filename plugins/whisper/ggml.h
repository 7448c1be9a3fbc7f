/*
 * Model files of whisper.cpp: one .bin with sizes, mel filters, vocabulary and weights. All numbers
 * are little-endian, 32 bits where nothing else is said; nothing is aligned.
 *
 *     magic 0x67676d6c
 *     n_vocab, n_audio_ctx, n_audio_state, n_audio_head, n_audio_layer,
 *     n_text_ctx, n_text_state, n_text_head, n_text_layer, n_mels, ftype
 *     n_mels, n_bins, then n_mels * n_bins floats: the mel filterbank
 *     number of pieces, then for each its length and its bytes, ids from 0
 *     until the end, tensors: n_dims, length of the name, type;
 *         sizes, innermost first; the name; the data
 *
 * Types of tensors: 0 F32, 1 F16, 2 Q4_0, 3 Q4_1, 6 Q5_0, 7 Q5_1, 8 Q8_0, 12 Q4_K, 13 Q5_K,
 * 14 Q6_K, 30 BF16. Format: github.com/ggml-org/whisper.cpp, models/convert-pt-to-ggml.py.
 */
#ifndef WH_GGML_H
#define WH_GGML_H

#include "whisper/files.h"

#ifdef __cplusplus
extern "C" {
#endif

struct wh_ggml {
    struct wh_dims dims;          /* without alignment heads */
    struct num_bpe_token *pieces; /* bytes are borrowed from the span */
    size_t n_pieces;
    struct num_weights *tensors; /* under Hugging Face's names; data borrowed from the span */
    size_t n_tensors;
    char *names; /* owns the names */
};

/*
 * Parses the span; `file` names it in messages. SLUICE_INPUT where it is not a Whisper model, is
 * cut short, lies about a size, has a tensor that no Whisper model has, or other mel filters than
 * ours.
 */
int32_t wh_ggml_parse(const void *data, size_t len, const char *file, struct wh_ggml *ret,
                      struct num_err *err);
void wh_ggml_finish(struct wh_ggml *ggml); /* takes a zeroed struct too */

/*
 * The tokenizer of a parsed file. One of a published size (published.h) gets that model's special
 * tokens; another one must hold them all in its vocabulary, by name.
 */
int32_t wh_ggml_bpe(const struct wh_ggml *ggml, const char *file, struct num_bpe *ret,
                    struct num_err *err);

#ifdef __cplusplus
}
#endif

#endif
