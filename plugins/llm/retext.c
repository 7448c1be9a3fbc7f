/* A segment's new text: see retext.h. */
#include "llm/retext.h"

#include "num/buf.h"
#include "num/unicode.h"

/* The text with each run of white space as one blank. */
static void add_line(struct num_buf *out, const char *text, size_t len) {
    bool space = false;
    for (size_t i = 0, n; i < len; i += n) {
        uint32_t c = num_char_next(text + i, len - i, &n);
        if (!num_char_is_white(c))
            num_buf_add(out, text + i, n);
        else if (!space)
            num_buf_addc(out, ' ');
        space = num_char_is_white(c);
    }
}

json_t *lm_retext(const char *old, size_t old_len, const char *text, size_t len) {
    num_autobuf out = {0};
    size_t begin, n = num_text_trim(old, old_len, &begin);
    num_buf_add(&out, old, begin);
    add_line(&out, text, len);
    num_buf_add(&out, old + begin + n, old_len - begin - n);
    return out.failed ? NULL : json_stringn(num_buf_text(&out), out.len);
}
