/*
 * The model seam: what a Whisper model is, and the table that a backend fills. Search, rules and
 * long-form transcription are written once above this header; below it, a backend is free to fuse
 * and to batch.
 *
 * Sizes, as in the tensors below:
 *     M  n_mels       80 or 128 mel bands
 *     T  n_audio_ctx  encoder positions of a window (1500 for 30 s); a window has 2 T mel frames
 *     C  n_text_ctx   most tokens of one decoder row
 *     D  n_state      width of both towers; heads of D / n_heads
 *     F  n_audio_ffn, n_text_ffn
 *     V  n_vocab
 *
 * Tensors, under Hugging Face's names, whatever file they come from (in F32, F16, BF16 or a block
 * type of num/weights.h):
 *     model.encoder.conv1.{weight,bias}                         (D, M, 3) (D)
 *     model.encoder.conv2.{weight,bias}                         (D, D, 3) (D)  stride 2
 *     model.encoder.embed_positions.weight                      (T, D)
 *     model.encoder.layers.N.self_attn_layer_norm.{weight,bias} (D)
 *     model.encoder.layers.N.self_attn.q_proj.{weight,bias}     (D, D) (D)
 *     model.encoder.layers.N.self_attn.k_proj.weight            (D, D)         no bias
 *     model.encoder.layers.N.self_attn.v_proj.{weight,bias}     (D, D) (D)
 *     model.encoder.layers.N.self_attn.out_proj.{weight,bias}   (D, D) (D)
 *     model.encoder.layers.N.final_layer_norm.{weight,bias}     (D)
 *     model.encoder.layers.N.fc1.{weight,bias}                  (F, D) (F)     exact GELU follows
 *     model.encoder.layers.N.fc2.{weight,bias}                  (D, F) (D)
 *     model.encoder.layer_norm.{weight,bias}                    (D)
 *     model.decoder.embed_tokens.weight                         (V, D)         also makes logits
 *     model.decoder.embed_positions.weight                      (C, D)
 *     model.decoder.layers.N: as an encoder layer, and between its halves
 *         encoder_attn_layer_norm, encoder_attn.{q,k,v,out}_proj, shaped as self_attn
 *     model.decoder.layer_norm.{weight,bias}                    (D)
 */
#ifndef WH_MODEL_H
#define WH_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "num/bpe.h"
#include "num/watch.h"
#include "num/weights.h"
#include "whisper/rules.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WH_MAX_ALIGNMENT_HEADS 64
#define WH_MAX_LANGUAGES       128

struct wh_dims {
    uint32_t n_mels, n_audio_ctx, n_text_ctx, n_state, n_vocab;
    uint32_t n_audio_layers, n_audio_heads, n_audio_ffn;
    uint32_t n_text_layers, n_text_heads, n_text_ffn;
    bool english_only;     /* the prompt has neither language nor task */
    bool no_previous_text; /* trained without: the end of the text so far confuses it */
    uint32_t n_alignment_heads;
    struct {
        uint32_t layer, head;
    } alignment_heads[WH_MAX_ALIGNMENT_HEADS]; /* cross-attention heads that follow the words */
};

/* A language token: "en" and its id. */
struct wh_language {
    char code[8];
    int32_t token;
};

/* Special tokens; -1 where the model has none. */
struct wh_tokens {
    int32_t sot, transcribe, translate, no_speech;
    struct wh_language languages[WH_MAX_LANGUAGES];
    uint32_t n_languages; /* 0: English only, and the prompt is <|startoftranscript|> alone */
};

/* The weights as the backend sees them: views into mapped files, sorted by name. */
struct wh_weights {
    const struct num_weights *tensors;
    size_t n_tensors;
    const char *path;       /* for messages */
    bool mapped;            /* from files: pages may be dropped, and come back when they are read */
    const char *sizes_from; /* what states the sizes, for messages: "config.json" */
};

struct wh_files; /* owns the mappings: files.h */

/*
 * What a backend computes with. F32 is exact: the reference's results to rounding. BF16 and INT8
 * are faster and read fewer bytes: weights are rounded to bfloat16, or to bytes with a scale for
 * each output. AUTO is the fastest of F32 and BF16 that the processor multiplies natively. On CUDA
 * there are F16, which AUTO takes, and INT4, two weights to a byte; INT8 and INT4 hold for the
 * decoder's matrices, and the rest is F16.
 */
enum wh_compute {
    WH_COMPUTE_F32,
    WH_COMPUTE_BF16,
    WH_COMPUTE_INT8,
    WH_COMPUTE_AUTO,
    WH_COMPUTE_F16, /* CUDA only, as is what follows */
    WH_COMPUTE_INT4
};

/*
 * On CUDA, what the decoder's attention to a window reads: keys and values of every layer, made
 * once when the window is encoded (STORED), or the encoder's output, of which a layer makes its
 * keys and values as it goes (ABSORBED: half of what is read, a sixty-fourth of what is held of a
 * window of large-v3). BY_BATCH stores them, and steps of many windows do without. AUTO stores them
 * where the windows that are asked for have room so.
 */
enum wh_cross { WH_CROSS_AUTO, WH_CROSS_STORED, WH_CROSS_ABSORBED, WH_CROSS_BY_BATCH };

/* What stored keys and values are kept in: what is computed with, or bytes with scales. */
enum wh_kept { WH_KEPT_PLAIN, WH_KEPT_FP8, WH_KEPT_INT8 };

/* What a backend has to make room for. */
struct wh_limits {
    uint32_t n_threads;
    uint32_t n_slots; /* windows that are encoded at the same time */
    uint32_t n_rows;  /* sequences that are decoded at the same time */
    enum wh_compute compute;
    /* Of a backend on a device, which the processor's ignores: */
    uint32_t least_rows;    /* of a slot: where memory is short, slots may become fewer, each with
                               so many rows; 0: they may not */
    int32_t device;         /* its number */
    uint64_t device_memory; /* bytes that may be used there; 0: what is free */
    enum wh_cross cross;
    enum wh_kept kept;
};

/* What a backend on a device has come to. */
struct wh_device_info {
    char name[96];            /* of the card */
    uint32_t n_slots, n_rows; /* that there is room for: at most what was asked */
    uint64_t bytes;           /* held on the device, and the most that ever was */
    bool absorbed;            /* windows are held without keys and values */
    bool lost; /* the device has failed for this process: no call will succeed any more */
};

/* A window's place in its audio, for a backend that makes spectrograms itself. */
struct wh_excerpt {
    const float *pcm;          /* (n_samples), 16 kHz: the whole audio */
    uint64_t n_samples, first; /* frame of the audio's spectrogram */
    uint32_t n_frames;         /* at most 2 T; the window's rows behind them are zeros */
};

/*
 * A prompt for one row. Rows and slots are numbers below the limits: a row is a sequence with its
 * self-attention keys and values, a slot a window with its cross-attention keys and values. Several
 * rows may read one slot, and the rows of one call may belong to different windows and different
 * files.
 */
struct wh_prompt {
    uint32_t row, slot;
    const int32_t *tokens;
    uint32_t n_tokens;
    uint32_t first_logits; /* logits wanted for positions [first_logits, n_tokens) ... */
    float *ret_logits;     /* ... (n_tokens - first_logits, V), the caller's */
};

struct wh_step {
    uint32_t row;
    int32_t token;
};

/* A text to align with a window: where each of its tokens begins, and how likely it was. */
struct wh_alignment {
    uint32_t row, slot;
    const int32_t *tokens;
    uint32_t n_tokens;
    uint32_t n_frames;   /* positions of the window that hold audio, 1 ... T */
    uint32_t first, end; /* tokens that are aligned with them: by dynamic time warping, num/dtw.h */
    uint32_t *ret_starts; /* (end - first): the position where each of them begins; NULL: none */
    uint32_t first_prob, n_probs; /* of tokens [first_prob, first_prob + n_probs), first_prob > 0 */
    /* ... the probability behind those before it, among the ids below n_text ... */
    uint32_t n_text;
    float *ret_probs; /* ... (n_probs); may be NULL where n_probs is 0 */
    /* (n_alignment_heads, n_tokens, T): softmaxed cross-attention; NULL: none */
    float *ret_weights;
};

struct wh_backend_search;

/*
 * A backend. One thread calls it; functions fail with a class and a sentence. `self` is one loaded
 * model.
 */
struct wh_backend {
    const char *name; /* "cpu" */

    /* Checks and converts the weights, makes room for `limits`. Views (their `data`, not the
     * structs) stay valid until after free(): a backend may compute with the mapped bytes. */
    int32_t (*load)(const struct wh_weights *weights, const struct wh_dims *dims,
                    const struct wh_limits *limits, void **ret_self, struct num_err *err);
    void (*free)(void *self);

    /* Encodes n windows: mel[i] (2 T, M), normalised, time-major, into slot slots[i]. Asks `watch`
     * (NULL: nobody) now and then, and returns SLUICE_CANCELLED when told to. */
    int32_t (*encode)(void *self, const float *const *mel, const uint32_t *slots, uint32_t n,
                      const struct num_watch *watch, struct num_err *err);

    /*
     * For a backend that makes spectrograms itself, else NULL both: encode() is not called then.
     * listen(): windows of `slot` are excerpts of this audio from now on, whose spectrogram's first
     * n_frames frames tell how loud it is. encode_audio(): as encode(); windows[i] is an excerpt of
     * what slots[i] listens to. Samples are borrowed for the call.
     */
    int32_t (*listen)(void *self, uint32_t slot, const float *pcm, uint64_t n_samples,
                      uint64_t n_frames, struct num_err *err);
    int32_t (*encode_audio)(void *self, const struct wh_excerpt *windows, const uint32_t *slots,
                            uint32_t n, const struct num_watch *watch, struct num_err *err);

    /* Whether the window of `slot` is encoded, so that rows that start to read it keep no others
     * waiting. NULL: it always is, once encode() has returned. */
    bool (*is_encoded)(void *self, uint32_t slot);

    /* Starts n rows anew with their prompts. */
    int32_t (*prefill)(void *self, const struct wh_prompt *prompts, uint32_t n,
                       struct num_err *err);

    /* Appends one token to each of n different rows, at most C in all; ret_logits (n, V). */
    int32_t (*step)(void *self, const struct wh_step *steps, uint32_t n, float *ret_logits,
                    struct num_err *err);

    /* Row to[i] becomes a copy of what row from[i] was before the call, with its slot. */
    int32_t (*reorder)(void *self, const uint32_t *to, const uint32_t *from, uint32_t n,
                       struct num_err *err);

    /* Runs the tokens of n texts through their rows anew, each reading its slot, and stores what is
     * asked for. */
    int32_t (*attention)(void *self, const struct wh_alignment *alignments, uint32_t n,
                         struct num_err *err);

    /* The encoder's output of `slot`, (T, D). Borrowed until the slot is encoded again; NULL where
     * a backend keeps none. For tests and for stages that need the embedding. */
    const float *(*encoded)(void *self, uint32_t slot);

    /* NULL for a backend on the processor. wh_model_load() puts the slots and rows that there is
     * room for into the model's limits. */
    void (*info)(void *self, struct wh_device_info *ret);

    /* NULL for a backend that gives logits only: request.h. */
    const struct wh_backend_search *search;
};

extern const struct wh_backend wh_backend_cpu;
extern const struct wh_backend wh_backend_cuda; /* where it was built: cuda/backend.cu */

/* A loaded model: sizes, tokens and rules from its files, and the backend that runs it. */
struct wh_model {
    struct wh_dims dims;
    struct wh_tokens tokens;
    /* with the model's suppress lists (NULL: it names none), owned by `lists` */
    struct wh_rules rules;
    int32_t *lists;
    struct num_bpe bpe;
    const struct wh_backend *backend;
    void *self;
    struct wh_limits limits;
    struct wh_files *files;
};

/*
 * Loads the model at `path`: a Hugging Face folder (config.json, generation_config.json, vocab.json
 * and added_tokens.json or tokenizer.json alone, model.safetensors or its shards) or a .bin file of
 * whisper.cpp. Every failure of their content is SLUICE_INPUT with a sentence that names the file.
 */
int32_t wh_model_load(const char *path, const struct wh_backend *backend,
                      const struct wh_limits *limits, struct wh_model *ret, struct num_err *err);
/* Takes a zeroed struct too. */
void wh_model_finish(struct wh_model *model);

/*
 * Parses config.json and generation_config.json (NULL: none) into *ret_dims. `folder` names them in
 * messages. The suppress lists come back in *ret_lists, owned by the caller, pointed to by
 * *ret_rules.
 */
int32_t wh_config_parse(const char *config, size_t config_len, const char *generation,
                        size_t generation_len, const char *folder, struct wh_dims *ret_dims,
                        struct wh_rules *ret_rules, int32_t **ret_lists, struct num_err *err);

/* Fills the special tokens, and those of `rules`, from the tokenizer that was read from `path`. */
int32_t wh_tokens_find(const struct num_bpe *bpe, const struct wh_dims *dims, const char *path,
                       struct wh_tokens *ret, struct wh_rules *rules, struct num_err *err);

/* The language's entry, or NULL. */
const struct wh_language *wh_language_find(const struct wh_tokens *tokens, const char *code);

/*
 * The tensor `name` of the given shape (ending with a 0), or NULL with a sentence that tells the
 * expected shape from the found one.
 */
const struct num_weights *wh_weights_get(const struct wh_weights *w, struct num_err *err,
                                         const char *name, const uint64_t *shape);

#ifdef __cplusplus
}
#endif

#endif
