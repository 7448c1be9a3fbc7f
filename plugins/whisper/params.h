/*
 * The parameters of whisper/transcribe: their declarations, and reading them into options. Names
 * and defaults are those of github.com/openai/whisper; those that it lacks are github.com/SYSTRAN/
 * faster-whisper's.
 */
#ifndef WH_PARAMS_H
#define WH_PARAMS_H

#include <sluice/plugin.h>

#include "whisper/options.h"

/* NULL-terminated. */
extern const struct sluice_param *const wh_param_list[];

struct wh_params {
    const char *model; /* borrowed from the host, as are the options' strings */
    struct wh_options options;
    enum wh_compute compute;
    enum wh_cross cross;
    enum wh_kept kept;
    bool condition_given; /* condition_on_previous_text was: the model's own wish does not count */
    int32_t *suppress_tokens;
    double *clip_timestamps;
};

/* Reads all parameters of the host. SLUICE_INPUT with a sentence for a list of the wrong content.
 */
int32_t wh_params_read(const struct sluice_host *host, struct wh_params *ret, struct num_err *err);
/* Takes a zeroed struct too. */
void wh_params_finish(struct wh_params *params);

#endif
