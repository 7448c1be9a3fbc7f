/* Payloads for tests of plugins: small valid ones, large valid ones and hostile bytes of every
 * type. */
#ifndef CHECK_PAYLOAD_H
#define CHECK_PAYLOAD_H

#include "base/str.h"

/*
 * Each function fills `ret` (empty before, owned by the caller) and returns what the payload is ("1
 * s of a tone", borrowed for good), or NULL past the end. A type that is not known here has no
 * valid payload, and only raw bytes as hostile ones. The same call always gives the same bytes.
 */

/* Valid ones: the least first, a typical one last. For file/1 the last is a WAV file. */
const char *sl_payload_valid(const char *type, int i, struct sl_str *ret);
/* The last valid one. */
const char *sl_payload_typical(const char *type, struct sl_str *ret);
/* A valid one that takes long: minutes of audio, tens of thousands of elements. */
const char *sl_payload_large(const char *type, struct sl_str *ret);
/* Bytes that are not of the type, or only look so. None is empty. */
const char *sl_payload_hostile(const char *type, int i, struct sl_str *ret);

#endif
