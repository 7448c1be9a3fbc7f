/*
 * Kinds of characters, and Unicode's canonical composition (NFC). Tables are made by
 * tools/unicode_classes.py and tools/unicode_nfc.py.
 */
#ifndef NUM_UNICODE_H
#define NUM_UNICODE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum num_char_kind {
    NUM_OTHER,
    NUM_LETTER, /* general category L */
    NUM_NUMBER, /* N */
    NUM_SPACE,  /* property White_Space */
};

enum num_char_kind num_char_kind(uint32_t c);

/*
 * The normal form C of `len` bytes of valid UTF-8 into `ret`, which has room for 3 * len bytes;
 * returns its length. `work` has room for num_nfc_work(len) bytes, aligned for uint32_t.
 */
size_t num_nfc(const uint8_t *text, size_t len, uint8_t *ret, void *work);
size_t num_nfc_work(size_t len);

#ifdef __cplusplus
}
#endif

#endif
