/*
 * The tail of a stream. New bytes push the oldest out of a flat array: 2 KiB move at most a read,
 * which is nothing beside the read. Lines end at \n or \r, since progress bars write \r.
 */
#include "exec/tail.h"

#include <stdbool.h>
#include <string.h>

void cmd_tail_add(struct cmd_tail *tail, const char *data, size_t len) {
    if (len > CMD_TAIL_BYTES) {
        data += len - CMD_TAIL_BYTES;
        len = CMD_TAIL_BYTES;
    }
    size_t keep = tail->len < CMD_TAIL_BYTES - len ? tail->len : CMD_TAIL_BYTES - len;
    memmove(tail->data, tail->data + tail->len - keep, keep);
    memcpy(tail->data + keep, data, len);
    tail->len = keep + len;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_line_end(char c) {
    return c == '\n' || c == '\r';
}

/* Bytes of the UTF-8 character at `at`, with `left` bytes to go; 0: not one, or a control
 * character. */
static size_t char_len(const unsigned char *at, size_t left) {
    if (at[0] < 0x80)
        return at[0] >= 0x20 && at[0] != 0x7f;
    size_t len = at[0] >= 0xf0 && at[0] < 0xf5 ? 4 : at[0] >= 0xe0 ? 3 : at[0] >= 0xc2 ? 2 : 0;
    if (len == 0 || at[0] >= 0xf5 || len > left)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

void cmd_tail_last_line(const struct cmd_tail *tail, char *ret, size_t size) {
    size_t end = tail->len;
    while (end > 0 && is_blank(tail->data[end - 1]))
        end--;
    size_t at = end;
    while (at > 0 && !is_line_end(tail->data[at - 1]))
        at--;
    size_t n = 0;
    while (at < end) {
        size_t len = char_len((const unsigned char *)tail->data + at, end - at);
        if (n + (len ? len : 1) >= size)
            break;
        if (len)
            memcpy(ret + n, tail->data + at, len);
        else
            ret[n] = '?';
        n += len ? len : 1;
        at += len ? len : 1;
    }
    ret[n] = '\0';
}
