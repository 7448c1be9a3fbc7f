/*
 * A wav2vec 2.0 or HuBERT network on the CPU: from samples to the log probabilities of the
 * vocabulary, for any stretch of frames.
 */
#ifndef ALIGN_NET_H
#define ALIGN_NET_H

#include "align/backend.h"

struct al_net;

/* What the network holds in between, for tests: rows (n, width), ld values apart. */
typedef void al_tap(void *ctx, const char *what, const float *rows, size_t ld, size_t n,
                    size_t width);

/* Loads the weights and takes all memory that runs need. The files can be closed after. */
int32_t al_net_create(const struct al_files *files, const struct al_config *config,
                      const struct al_net_options *options, struct al_net **ret,
                      struct num_err *err);
void al_net_destroy(struct al_net *net); /* takes NULL */

/*
 * Sets the sound that runs are of: `pcm` stays borrowed. Its mean and variance, and those of the
 * first convolution where the network normalises over time, are those of all n samples, whatever
 * stretch a run is of.
 */
void al_net_listen(struct al_net *net, const float *pcm, size_t n_samples);

/*
 * Log probabilities of frames [first, first + n), ret (n, n_vocab). Attention and positional
 * convolution see these frames and no others; the convolutions before them see all sound that they
 * reach to. At most max_frames, all within al_config_frames(). SLUICE_CANCELLED.
 */
int32_t al_net_run(struct al_net *net, size_t first, size_t n, const struct num_watch *watch,
                   float *ret, struct num_err *err);

/* `tap` is called during runs with "features", "projected", "positions" and after each layer
 * "layer". */
void al_net_set_tap(struct al_net *net, al_tap *tap, void *ctx);

#endif
