/* Any bytes as a shared object: read it, then everything that can be asked about it. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "check/elf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sl_elf elf;
    uint64_t cursor = 0;
    size_t text = 0;
    if (sl_elf_read(data, size, &elf, NULL) < 0)
        return 0;
    for (const char *name; (name = sl_elf_export(&elf, &cursor));)
        text += strlen(name);
    for (int i = 0; i < 16 && sl_elf_needed(&elf, i); i++)
        text += strlen(sl_elf_needed(&elf, i));
    for (int i = 0; i < 16 && sl_elf_search_path(&elf, i); i++)
        text += strlen(sl_elf_search_path(&elf, i));
    return text > size * 64 ? -1 : 0;
}
