/* A transcript, read and summarised. */
#include <stdint.h>
#include <stdlib.h>

#include "llm/extractive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct lm_extractive_options options = {.max_sentences = 3,
                                                         .max_words = 40,
                                                         .min_words = 3,
                                                         .max_similarity = 0.6,
                                                         .speakers = true};
    lm_autotranscript t = {0};
    num_autobuf out = {0};
    struct lm_extractive_report report;
    struct num_err err;
    if (lm_transcript_read(data, size, NULL, &t, &err) != SLUICE_OK)
        return 0;
    if (lm_extract_summary(&t, &options, &out, &report, &err) != SLUICE_OK)
        abort();
    if (report.n_taken > 3 || (report.n_sentences > 0) != (report.n_taken > 0))
        abort();
    lm_transcript_print(&t, 0, t.n_segments, &out);
    return 0;
}
