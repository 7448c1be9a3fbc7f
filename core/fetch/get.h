/*
 * Downloads a model:
 *
 *     DIR/.NAME.part/         while it is incomplete; kept after a failure, so that the next try
 * continues commit              of the repository, and "owner/repo": another one begins anew
 *         config.json ...     complete and checked
 *         model.safetensors.part
 *     DIR/.NAME.lock          locked while one works on it
 *     DIR/NAME/               everything, renamed into place at the end; with sluice-model.json
 */
#ifndef FETCH_GET_H
#define FETCH_GET_H

#include "fetch/http.h"

struct sl_get {
    const char *name;     /* of the installed model; may be "owner/repo" */
    const char *repo;     /* "owner/repo" */
    const char *file;     /* the .bin to take; NULL: what a Hugging Face folder needs */
    const char *revision; /* branch, tag or commit */
    const char *folder;   /* of models */
    struct sl_http_options http;
};

/* Prints progress on standard error and the model's path on standard output. */
int sl_get_model(const struct sl_get *get, struct sl_err *err);

/* Compares a downloaded model with its manifest, a line a file on standard output. SLUICE_INPUT:
 * something differs. */
int sl_verify_model(const char *folder, int signals, struct sl_err *err);

#endif
