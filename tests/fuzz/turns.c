/* Turns as JSON and as RTTM, and a transcript joined with turns. The first byte chooses. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "diarize/assign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_again(const struct dz_turns *turns) {
    char *text = NULL;
    if (dz_turns_write(turns, NULL, &text, NULL) == SLUICE_OK) {
        dz_autoturns again = {0};
        if (dz_turns_read(text, strlen(text), 0, NULL, &again, NULL) != SLUICE_OK ||
            again.n_turns != turns->n_turns)
            abort();
        free(text);
    }
    if (dz_rttm_write(turns, "x", &text, NULL) == SLUICE_OK)
        free(text);
}

static void join(const char *transcript, size_t len) {
    static const char turns_json[] = "{\"turns\": [{\"start\": 0, \"end\": 1, \"speaker\": \"A\"},"
                                     "{\"start\": 2, \"end\": 3, \"speaker\": \"B\"}]}";
    dz_autoturns turns = {0};
    struct dz_assign_options options = {.split = true, .snap = 2};
    struct dz_assign_report report;
    char *text = NULL;
    if (dz_turns_read(turns_json, sizeof turns_json - 1, 1, NULL, &turns, NULL) != SLUICE_OK)
        abort();
    if (dz_assign(transcript, len, &turns, &options, &text, &report, NULL) == SLUICE_OK)
        free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    const char *text = (const char *)data + 1;
    dz_autoturns turns = {0};
    if (data[0] == 't')
        join(text, size - 1);
    else if ((data[0] == 'r'
                  ? dz_rttm_read(text, size - 1, NULL, &turns, NULL)
                  : dz_turns_read(text, size - 1, data[0] & 1, NULL, &turns, NULL)) == SLUICE_OK)
        write_again(&turns);
    return 0;
}
