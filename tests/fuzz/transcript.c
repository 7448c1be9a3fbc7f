/* Any bytes as a transcript: the reader takes or refuses them, and what it takes, every writer can
 * write. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "export/formats.h"
#include "export/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static ex_writer *const writers[] = {ex_write_srt, ex_write_vtt, ex_write_txt, ex_write_tsv,
                                         ex_write_lrc};
    static const struct ex_layout layouts[] = {{0, 0}, {1, 1}, {20, 2}};
    struct num_err err;
    num_autobuf json = {0};
    ex_json_write(data, size, NULL, 0, NULL, NULL, &json, &err);
    ex_autotranscript transcript = {0};
    if (ex_transcript_read(data, size, NULL, &transcript, &err) < 0)
        return 0;
    for (size_t w = 0; w < sizeof writers / sizeof writers[0]; w++) {
        for (size_t l = 0; l < sizeof layouts / sizeof layouts[0]; l++) {
            num_autobuf out = {0};
            if (writers[w](&transcript, &layouts[l], &out, &err) < 0)
                abort();
            if (w == 0 && out.len && memmem(out.data, out.len, "\n\n\n", 3))
                abort(); /* an empty line inside a cue */
        }
    }
    return 0;
}
