/*
 * The GNU build id, see buildid.h: program headers of type PT_NOTE, in them a note "GNU" of type
 * NT_GNU_BUILD_ID. Every offset is checked against the bytes at hand; structures are copied out, so
 * alignment does not matter. Layout: elf.h of libc, and the ELF specification
 * (refspecs.linuxfoundation.org).
 */
#include "proc/buildid.h"

#include <elf.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

#define MAX_PROGRAM_HEADERS 128
#define MAX_ID              64

struct span {
    const unsigned char *data;
    size_t len;
};

static bool copy_out(struct span s, uint64_t at, void *ret, size_t size) {
    if (at > s.len || s.len - at < size)
        return false;
    memcpy(ret, s.data + at, size);
    return true;
}

static uint64_t padded(uint64_t n) {
    return (n + 3) & ~(uint64_t)3;
}

static void write_hex(const unsigned char *id, size_t len, char *buf) {
    for (size_t i = 0; i < len; i++)
        snprintf(buf + 2 * i, 3, "%02x", id[i]);
}

/* Goes through the notes of one segment; true where the id was found. */
static bool find_in_notes(struct span notes, char *buf) {
    Elf64_Nhdr note;
    for (uint64_t at = 0; copy_out(notes, at, &note, sizeof note);) {
        uint64_t name = at + sizeof note, id = name + padded(note.n_namesz),
                 end = id + padded(note.n_descsz);
        char owner[4] = "";
        bool named =
            note.n_namesz == 4 && copy_out(notes, name, owner, 4) && memcmp(owner, "GNU", 4) == 0;
        unsigned char bytes[MAX_ID];
        if (named && note.n_type == NT_GNU_BUILD_ID && note.n_descsz <= MAX_ID &&
            copy_out(notes, id, bytes, note.n_descsz)) {
            write_hex(bytes, note.n_descsz, buf);
            return true;
        }
        at = end;
    }
    return false;
}

static bool is_elf64(const Elf64_Ehdr *h) {
    return memcmp(h->e_ident, ELFMAG, SELFMAG) == 0 && h->e_ident[EI_CLASS] == ELFCLASS64 &&
           h->e_ident[EI_DATA] == ELFDATA2LSB && h->e_phentsize == sizeof(Elf64_Phdr);
}

const char *sl_build_id(const void *data, size_t len, char buf[SL_BUILD_ID_SIZE]) {
    struct span file = {data, len};
    Elf64_Ehdr header;
    Elf64_Phdr segment;
    buf[0] = 0;
    if (!copy_out(file, 0, &header, sizeof header) || !is_elf64(&header))
        return buf;
    for (uint64_t i = 0; i < header.e_phnum && i < MAX_PROGRAM_HEADERS; i++) {
        if (header.e_phoff > len ||
            !copy_out(file, header.e_phoff + i * sizeof segment, &segment, sizeof segment))
            return buf;
        if (segment.p_type != PT_NOTE || segment.p_offset > len)
            continue;
        size_t rest = len - segment.p_offset;
        struct span notes = {file.data + segment.p_offset,
                             segment.p_filesz < rest ? segment.p_filesz : rest};
        if (find_in_notes(notes, buf))
            return buf;
    }
    return buf;
}

const char *sl_build_id_of(const char *path, char buf[SL_BUILD_ID_SIZE]) {
    buf[0] = 0;
    sl_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return buf;
    sl_autofree unsigned char *data = sl_xmalloc(SL_BUILD_ID_PREFIX);
    ssize_t n = pread(fd, data, SL_BUILD_ID_PREFIX, 0);
    return n > 0 ? sl_build_id(data, (size_t)n, buf) : buf;
}
