/* Any bytes as a manifest, of both kinds: every row has a file, and positions that lie in the
 * text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    for (int csv = 0; csv < 2; csv++) {
        struct sl_arena arena = {0};
        struct sl_diags diags = {.file = "fuzz"};
        struct sl_manifest m;
        sl_autostr struct sl_str out = {0};
        if (sl_manifest_parse((const char *)data, size, csv, &arena, &diags, &m) !=
            (diags.n_errors == 0))
            abort();
        for (int i = 0; i < m.n_rows; i++)
            if (!*m.rows[i].file || m.rows[i].pos.line < 1 || (size_t)m.rows[i].pos.line > size + 1)
                abort();
        sl_diags_print(&diags, &out);
        sl_diags_finish(&diags);
        sl_arena_finish(&arena);
    }
    return 0;
}
