/* What a shared object says about itself: reads the dynamic part of a 64-bit little-endian ELF file
 * out of its bytes. */
#ifndef CHECK_ELF_H
#define CHECK_ELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* A table inside the file; len 0: not there. */
struct sl_elf_span {
    uint64_t at, len;
};

struct sl_elf {
    const unsigned char *data; /* borrowed */
    size_t len;
    uint16_t type, machine; /* ET_*, EM_* */
    bool is_program;        /* an executable that is position independent (DF_1_PIE) */
    bool executable_stack;  /* or it does not say: then loaders assume one */
    bool writable_code;     /* a segment that is both written and run */
    bool text_relocations;
    struct sl_elf_span dynamic, strings, symbols, gnu_hash, sysv_hash;
};

/*
 * Reads headers and the dynamic segment; section headers are not used, so stripped files are fine.
 * Every offset is checked against the bytes. SLUICE_INPUT: not such a file, or it contradicts
 * itself; the message says where. Pure; fuzzed.
 */
int sl_elf_read(const void *data, size_t len, struct sl_elf *ret, struct sl_err *err);

/* The i-th library that must be there (DT_NEEDED), or NULL past the end. Borrowed from the file's
 * bytes. */
const char *sl_elf_needed(const struct sl_elf *elf, int i);
/* The i-th folder list where libraries are looked for (DT_RPATH, DT_RUNPATH: colon separated), or
 * NULL past the end. */
const char *sl_elf_search_path(const struct sl_elf *elf, int i);

/* The next symbol that others can link to, from *cursor (0 at first) on, or NULL at the end.
 * Borrowed. */
const char *sl_elf_export(const struct sl_elf *elf, uint64_t *cursor);

#endif
