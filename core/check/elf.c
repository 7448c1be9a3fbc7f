/*
 * The ELF reader, see elf.h. What a loader would see, in its own order: file header, program
 * headers, the dynamic segment, and through it strings, symbols and hash tables, whose addresses
 * are turned into file offsets by the loaded segments.
 *
 * The number of dynamic symbols is written nowhere: it is the chain count of the old hash table, or
 * follows from the last chain of the GNU one. Nothing is copied; each access goes through at(),
 * which knows the file's end.
 */
#include "check/elf.h"

#include <elf.h>
#include <string.h>

#define MAX_PROGRAM_HEADERS 1024

#define wrong(err, ...) sl_err_set((err), SLUICE_INPUT, __VA_ARGS__)

/* Copies `size` bytes at `offset`; false where the file ends before. Copying spares questions of
 * alignment. */
static bool at(const struct sl_elf *e, uint64_t offset, void *ret, size_t size) {
    if (offset > e->len || size > e->len - offset)
        return false;
    memcpy(ret, e->data + offset, size);
    return true;
}

static bool program_header(const struct sl_elf *e, const Elf64_Ehdr *h, int i, Elf64_Phdr *ret) {
    return at(e, h->e_phoff + (uint64_t)i * sizeof *ret, ret, sizeof *ret);
}

/* ---- Headers --------------------------------------------------------------------------------- */

static int read_file_header(struct sl_elf *e, Elf64_Ehdr *ret, struct sl_err *err) {
    if (!at(e, 0, ret, sizeof *ret) || memcmp(ret->e_ident, ELFMAG, SELFMAG) != 0)
        return wrong(err, "it is not an ELF file");
    if (ret->e_ident[EI_CLASS] != ELFCLASS64 || ret->e_ident[EI_DATA] != ELFDATA2LSB)
        return wrong(err, "it is not a 64-bit little-endian ELF file");
    if (ret->e_phentsize != sizeof(Elf64_Phdr) || ret->e_phnum > MAX_PROGRAM_HEADERS)
        return wrong(err, "its program headers are not of this kind of file");
    if (ret->e_phoff > e->len ||
        (uint64_t)ret->e_phnum * sizeof(Elf64_Phdr) > e->len - ret->e_phoff)
        return wrong(err, "its program headers lie outside the file");
    e->type = ret->e_type;
    e->machine = ret->e_machine;
    return 0;
}

/* Notes what the segments permit, and finds the dynamic one. */
static int read_segments(struct sl_elf *e, const Elf64_Ehdr *h, struct sl_err *err) {
    Elf64_Phdr p;
    e->executable_stack = true;
    for (int i = 0; i < h->e_phnum && program_header(e, h, i, &p); i++) {
        if (p.p_type == PT_GNU_STACK)
            e->executable_stack = p.p_flags & PF_X;
        if (p.p_type == PT_LOAD && (p.p_flags & PF_X) && (p.p_flags & PF_W))
            e->writable_code = true;
        if (p.p_type == PT_DYNAMIC)
            e->dynamic = (struct sl_elf_span){p.p_offset, p.p_filesz};
    }
    if (e->dynamic.len == 0)
        return wrong(err, "it has no dynamic segment: it is not a shared object");
    if (e->dynamic.at > e->len || e->dynamic.len > e->len - e->dynamic.at)
        return wrong(err, "its dynamic segment lies outside the file");
    return 0;
}

/* ---- The dynamic segment --------------------------------------------------------------------- */

static bool dynamic_entry(const struct sl_elf *e, uint64_t i, Elf64_Dyn *ret) {
    return i < e->dynamic.len / sizeof *ret &&
           at(e, e->dynamic.at + i * sizeof *ret, ret, sizeof *ret) && ret->d_tag != DT_NULL;
}

/* The place in the file of a loaded address, and how much of the file follows it in its segment;
 * len 0: nowhere. */
static struct sl_elf_span locate(const struct sl_elf *e, const Elf64_Ehdr *h, uint64_t address) {
    Elf64_Phdr p;
    for (int i = 0; i < h->e_phnum && program_header(e, h, i, &p); i++) {
        if (p.p_type != PT_LOAD || address < p.p_vaddr || address - p.p_vaddr >= p.p_filesz)
            continue;
        uint64_t into = address - p.p_vaddr;
        if (p.p_offset > e->len || p.p_filesz > e->len - p.p_offset)
            break;
        return (struct sl_elf_span){p.p_offset + into, p.p_filesz - into};
    }
    return (struct sl_elf_span){0, 0};
}

static void read_flags(struct sl_elf *e, const Elf64_Dyn *d) {
    if (d->d_tag == DT_TEXTREL || (d->d_tag == DT_FLAGS && (d->d_un.d_val & DF_TEXTREL)))
        e->text_relocations = true;
    if (d->d_tag == DT_FLAGS_1 && (d->d_un.d_val & DF_1_PIE))
        e->is_program = true;
}

static int read_dynamic(struct sl_elf *e, const Elf64_Ehdr *h, struct sl_err *err) {
    uint64_t strings_len = 0;
    Elf64_Dyn d;
    for (uint64_t i = 0; dynamic_entry(e, i, &d); i++) {
        read_flags(e, &d);
        if (d.d_tag == DT_STRTAB)
            e->strings = locate(e, h, d.d_un.d_ptr);
        else if (d.d_tag == DT_STRSZ)
            strings_len = d.d_un.d_val;
        else if (d.d_tag == DT_SYMTAB)
            e->symbols = locate(e, h, d.d_un.d_ptr);
        else if (d.d_tag == DT_GNU_HASH)
            e->gnu_hash = locate(e, h, d.d_un.d_ptr);
        else if (d.d_tag == DT_HASH)
            e->sysv_hash = locate(e, h, d.d_un.d_ptr);
    }
    if (e->strings.len == 0 || strings_len > e->strings.len)
        return wrong(err, "its strings lie outside the file");
    e->strings.len = strings_len;
    return 0;
}

/* Text at `offset` of the strings, or NULL where it does not end inside them. */
static const char *string_at(const struct sl_elf *e, uint64_t offset) {
    if (offset >= e->strings.len)
        return NULL;
    const char *text = (const char *)e->data + e->strings.at + offset;
    return memchr(text, 0, e->strings.len - offset) ? text : NULL;
}

static const char *nth_string(const struct sl_elf *e, int64_t tag, int64_t other_tag, int n) {
    Elf64_Dyn d;
    for (uint64_t i = 0; dynamic_entry(e, i, &d); i++) {
        const char *text =
            d.d_tag == tag || d.d_tag == other_tag ? string_at(e, d.d_un.d_val) : NULL;
        if (text && n-- == 0)
            return text;
    }
    return NULL;
}

const char *sl_elf_needed(const struct sl_elf *e, int i) {
    return nth_string(e, DT_NEEDED, DT_NEEDED, i);
}

const char *sl_elf_search_path(const struct sl_elf *e, int i) {
    return nth_string(e, DT_RPATH, DT_RUNPATH, i);
}

/* ---- Symbols --------------------------------------------------------------------------------- */

/* One past the last symbol of the chain that begins with symbol `i`; 0 where it does not end. */
static uint64_t chain_end(const struct sl_elf *e, uint64_t chains, uint32_t first, uint64_t i) {
    uint32_t hash;
    if (i < first)
        return 0;
    while (at(e, chains + 4 * (i - first), &hash, sizeof hash)) {
        i++;
        if (hash & 1)
            return i;
    }
    return 0;
}

/* Symbols before `first` are not hashed, the others lie in the order of their buckets. */
static uint64_t count_by_gnu_hash(const struct sl_elf *e) {
    uint32_t head[4]; /* buckets, first hashed symbol, words of the filter, shift */
    if (e->gnu_hash.len < sizeof head || !at(e, e->gnu_hash.at, head, sizeof head))
        return 0;
    uint64_t buckets = e->gnu_hash.at + sizeof head + 8 * (uint64_t)head[2], last = 0;
    uint32_t first_of;
    for (uint32_t i = 0;
         i < head[0] && at(e, buckets + 4 * (uint64_t)i, &first_of, sizeof first_of); i++)
        last = first_of > last ? first_of : last;
    return last == 0 ? head[1] : chain_end(e, buckets + 4 * (uint64_t)head[0], head[1], last);
}

static uint64_t count_by_sysv_hash(const struct sl_elf *e) {
    uint32_t head[2]; /* buckets, symbols */
    return e->sysv_hash.len >= sizeof head && at(e, e->sysv_hash.at, head, sizeof head) ? head[1]
                                                                                        : 0;
}

static int read_symbols(struct sl_elf *e, struct sl_err *err) {
    uint64_t n = e->gnu_hash.len ? count_by_gnu_hash(e) : count_by_sysv_hash(e);
    if (n == 0 && (e->gnu_hash.len || e->sysv_hash.len))
        return wrong(err, "its hash table of symbols is damaged");
    if (n > e->symbols.len / sizeof(Elf64_Sym))
        return wrong(err, "its symbols lie outside the file");
    e->symbols.len = n * sizeof(Elf64_Sym);
    return 0;
}

static bool is_exported(const Elf64_Sym *s) {
    unsigned bind = ELF64_ST_BIND(s->st_info), seen = ELF64_ST_VISIBILITY(s->st_other);
    return s->st_shndx != SHN_UNDEF &&
           (bind == STB_GLOBAL || bind == STB_WEAK || bind == STB_GNU_UNIQUE) &&
           (seen == STV_DEFAULT || seen == STV_PROTECTED);
}

const char *sl_elf_export(const struct sl_elf *e, uint64_t *cursor) {
    Elf64_Sym s;
    while (*cursor < e->symbols.len / sizeof s &&
           at(e, e->symbols.at + *cursor * sizeof s, &s, sizeof s)) {
        ++*cursor;
        const char *name = is_exported(&s) ? string_at(e, s.st_name) : NULL;
        if (name && *name)
            return name;
    }
    return NULL;
}

int sl_elf_read(const void *data, size_t len, struct sl_elf *ret, struct sl_err *err) {
    struct sl_elf e = {.data = data, .len = len};
    Elf64_Ehdr header;
    int rc = read_file_header(&e, &header, err);
    if (rc == 0)
        rc = read_segments(&e, &header, err);
    if (rc == 0)
        rc = read_dynamic(&e, &header, err);
    if (rc == 0)
        rc = read_symbols(&e, err);
    if (rc == 0)
        *ret = e;
    return rc;
}
