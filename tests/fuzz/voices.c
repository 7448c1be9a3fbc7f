/* A file of voices; what is read can be written and compared with itself. */
#include <stdint.h>
#include <stdlib.h>

#include "diarize/voices.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dz_autovoices voices = {0}, again = {0};
    void *file = NULL;
    size_t len = 0;
    if (dz_voices_read(data, size, "fuzz", &voices, NULL) != SLUICE_OK || voices.n == 0)
        return 0;
    struct dz_likeness like = dz_voices_compare(&voices, 0, &voices);
    if (like.best >= voices.n)
        abort();
    if (dz_voices_write(&voices, 0, voices.names[0], &file, &len, NULL) == SLUICE_OK) {
        if (dz_voices_read(file, len, "fuzz", &again, NULL) != SLUICE_OK || again.n != 1)
            abort();
        free(file);
    }
    return 0;
}
