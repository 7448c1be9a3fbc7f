/*
 * Word times from attention/1: what a Whisper decoder looked at while it wrote each token of a
 * transcript (whisper/attention.h has the format).
 */
#ifndef ALIGN_ATTENTION_H
#define ALIGN_ATTENTION_H

#include "align/script.h"
#include "num/watch.h"

struct al_attention_report {
    size_t n_words;  /* that got times */
    size_t n_others; /* of segments without attention, or whose words are no longer those that the
                        attention is of: they keep the times that they have */
};

/*
 * Sets the times of the script's words. A word starts where its first token gets half of its
 * largest attention, on the path through the attention of its window that is likeliest in order,
 * each token taking at least one position of 20 ms. It ends where the next word starts.
 *
 * SLUICE_INPUT: the payload is no attention/1, or of another transcript. SLUICE_CANCELLED.
 */
int32_t al_attention_align(const void *data, size_t len, struct al_script *script,
                           const struct num_watch *watch, struct al_attention_report *ret_report,
                           struct num_err *err);

#endif
