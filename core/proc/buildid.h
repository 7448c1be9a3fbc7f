/* The GNU build id of a shared object, read from its bytes. */
#ifndef PROC_BUILDID_H
#define PROC_BUILDID_H

#include <stddef.h>

#define SL_BUILD_ID_SIZE   129   /* hex digits of up to 64 bytes, and NUL */
#define SL_BUILD_ID_PREFIX 65536 /* bytes that are enough: the note is near the start of a file */

/* Finds the note in the first `len` bytes of a 64-bit little-endian ELF file and writes it as hex
 * into buf; "" where there is none, or none within `len`. Pure; fuzzed. Returns buf. */
const char *sl_build_id(const void *data, size_t len, char buf[SL_BUILD_ID_SIZE]);

/* The same of a file; "" also where it cannot be read. */
const char *sl_build_id_of(const char *path, char buf[SL_BUILD_ID_SIZE]);

#endif
