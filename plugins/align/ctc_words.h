/*
 * Word times from a CTC model: the words of a transcript are spelt with the model's vocabulary, and
 * the likeliest path of the letters through the model's output says when each is said.
 */
#ifndef ALIGN_CTC_WORDS_H
#define ALIGN_CTC_WORDS_H

#include "align/backend.h"
#include "align/script.h"

struct al_ctc_words;

struct al_ctc_options {
    enum num_compute compute; /* float, or bfloat16 */
    uint32_t n_threads;
    double window_s;                  /* most sound that the network sees at once */
    double context_s;                 /* of a window, at both ends, where others take over */
    double padding_s;                 /* sound around segments, whose times need not be exact */
    const struct al_backend *backend; /* NULL: the processor */
    int device;                       /* as in struct al_net_options */
    uint64_t device_memory;
    const char *language;   /* of a model of many; NULL or "": the folder's own */
    const char *dictionary; /* path of one (dictionary.h); NULL or "": words are spelt */
};

struct al_ctc_report {
    size_t n_words;  /* that got times */
    size_t n_others; /* without anything that can be spelt, or with too little sound */
    size_t n_stars;  /* of n_words: with a star */
};

/* Loads the Hugging Face folder of a model. The options' texts are needed for the call alone. */
int32_t al_ctc_words_create(const char *folder, const struct al_ctc_options *options,
                            struct al_ctc_words **ret, struct num_err *err);
void al_ctc_words_destroy(struct al_ctc_words *self); /* takes NULL */

/*
 * Sets the times of the script's words. Segments with little between them are aligned as one text,
 * up to a window; a longer segment goes through the network in windows whose joints are at the same
 * frames, and through one path. SLUICE_INPUT where the network's output is no number; CANCELLED.
 */
int32_t al_ctc_words_align(struct al_ctc_words *self, const float *pcm, size_t n_samples,
                           struct al_script *script, const struct num_watch *watch,
                           struct al_ctc_report *ret_report, struct num_err *err);

/* Where it runs; false: on the processor. */
bool al_ctc_words_device(const struct al_ctc_words *self, struct al_device_info *ret);

/*
 * The log probabilities of n_frames frames of the sound that `net` of `backend` listens to, handed
 * to `take` in order, (n, n_vocab) at a time: from one run where they fit into `window` frames,
 * else from windows that see `context` frames more on both sides, as far as there are. A failure of
 * `take` ends it.
 */
struct al_taker {
    void *ctx;
    int32_t (*take)(void *ctx, size_t first, size_t n, const float *logp);
};
int32_t al_net_windows(const struct al_backend *backend, void *net, size_t n_frames, size_t n_vocab,
                       size_t window, size_t context, const struct al_taker *taker,
                       const struct num_watch *watch, struct num_err *err);

#endif
