/* Fuzz target: sl_frame_decode. What is accepted can be read field by field to the last byte. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "ipc/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct sl_frame frame;
    struct sl_err err;
    char text[16];
    if (sl_frame_decode(data, size, &frame, &err) < 0)
        return 0;
    unsigned sum = 0;
    for (int i = -1; i <= frame.n_fields; i++) {
        sum += (unsigned)sl_frame_u64(&frame, i) +
               (unsigned char)*sl_frame_text(&frame, i, text, sizeof text);
        for (uint32_t k = 0; i >= 0 && i < frame.n_fields && k < frame.fields[i].len; k++)
            sum += (unsigned char)frame.fields[i].data[k];
    }
    if (frame.type == 0 || (sum == 1 && frame.n_fields > SL_FRAME_MAX_FIELDS))
        abort();
    return 0;
}
