/* The file of measured needs, as a full disk or an editor may leave it; what was read is noted in
 * and written again. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "sched/peaks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sl_peaks peaks, again;
    sl_peaks_parse((const char *)data, size, &peaks);
    sl_peaks_note(&peaks, "p/s|0|cpu", (struct sl_peak){1000, 2000}, size % 2);
    sl_autofree char *text = sl_peaks_text(&peaks);
    sl_peaks_parse(text, strlen(text), &again);
    struct sl_peak peak = sl_peaks_get(&again, "p/s|0|cpu");
    if (peak.memory < 1000 || peak.gpu_memory < 2000)
        abort();
    sl_peaks_finish(&peaks);
    sl_peaks_finish(&again);
    return 0;
}
