/*
 * Regions of speech, as regions/1 holds them, and the spans of audio that they are transcribed in:
 * neighbours are merged as long as they fit a window, and what is longer than one is cut where it
 * is quietest (cut and merge: Bain et al. 2023, WhisperX). Pure functions.
 */
#ifndef WH_REGIONS_H
#define WH_REGIONS_H

#include "whisper/longform.h"

#define WH_MIN_SPAN_S 1.0 /* wh_regions_merge() takes no less as the longest span */

/* Samples [first, end). */
struct wh_region {
    size_t first, end;
};

/*
 * Reads regions/1 (a JSON object {"regions": [{"start": s, "end": s}]}, in any order) and cuts them
 * to n_samples of audio. *ret, freed by the caller, is in order, without overlaps and empty
 * regions; never NULL. SLUICE_INPUT with a sentence for anything else.
 */
int32_t wh_regions_parse(const char *json, size_t len, size_t n_samples, struct wh_region **ret,
                         size_t *ret_n, struct num_err *err);

/*
 * Spans of at most `longest` samples (WH_MIN_SPAN_S or more) that cover the regions, which are as
 * wh_regions_parse() gives them and within `pcm`. Spans begin at frames of the spectrogram and do
 * not overlap by more than one. *ret is freed by the caller; never NULL.
 */
int32_t wh_regions_merge(const float *pcm, const struct wh_region *regions, size_t n,
                         size_t longest, struct wh_span **ret, size_t *ret_n, struct num_err *err);

#endif
