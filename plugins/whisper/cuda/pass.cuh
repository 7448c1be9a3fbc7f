/*
 * A pass of the decoder: some items, each a token at a position of a row, through all layers.
 *
 *     begin                          waits until the last pass's inputs may be written over
 *     push ..., group_items          which tokens; into pinned memory
 *     upload, run_layers, run_logits queue the work
 *
 * or, of a kind that comes again and again, launch_recorded() in place of the last line.
 */
#ifndef WH_CUDA_PASS_CUH
#define WH_CUDA_PASS_CUH

#include "whisper/cuda/decoder.h"

namespace wh {

/* Calls go on only while nothing has failed. */
struct pass {
    struct wh_cuda *m;
    struct wh_cuda_decoder *d;
    struct wh_cuda_shape shape;
    bool capture; /* of the alignment heads, into work.weights */
    struct num_err *err;
    int32_t status;
};

void check(struct pass *p, const char *what, cudaError_t error);

/* A new pass; the inputs are its own. */
void begin(struct pass *p, struct wh_cuda *m, struct num_err *err);

/* Another one of those that are on the device already. */
void resume(struct pass *p, struct wh_cuda *m, struct num_err *err);

/* What was uploaded may still have to be read when the call that did it returns: it says so, and
 * who comes next waits. */
void release_inputs(struct pass *p);
void claim_inputs(struct pass *p);

/* Empties the row for tokens that can be pushed to it, and lets the decoder wait for its window. */
int32_t start_row(struct wh_cuda *m, uint32_t row, uint32_t slot, const int32_t *tokens,
                  uint32_t n_tokens, struct num_err *err);
int32_t check_token(const struct wh_cuda *m, uint32_t row, uint32_t position, int32_t token,
                    struct num_err *err);

/* The next token of a row. */
void push(struct pass *p, uint32_t row, int32_t token);

/* Neighbours that read one window attend together. */
void group_items(struct pass *p);

/* Fills the items and groups up to rounded counts, so that few graphs serve all steps, with such as
 * do nothing. */
void round_shape(struct pass *p);

void upload(struct pass *p);

/* All layers: leaves the stream in work.x. */
void run_layers(struct pass *p);

/* work.chosen = the n rows of x that host.wanted names from now on. */
void choose_rows(struct pass *p, uint32_t n);

/* Logits of n rows of x, (n, D), on the device. */
void run_logits(struct pass *p, const float *x, uint32_t n);

/* Launches what `run` queues as one graph; it is recorded when its shape comes for the first time,
 * and must depend on the shape alone. */
void launch_recorded(struct pass *p, void (*run)(struct pass *p));

void wait_for_device(struct pass *p);

} // namespace wh

#endif
