/* The ELF reader: on plugins as they are built, on copies with one thing changed, and on every
 * prefix of one. */
#include "unit/test.h"

#include <elf.h>

#include "base/io.h"
#include "check/elf.h"

static struct sl_err err;

/* A file as bytes that may be changed. */
struct image {
    char *data;
    size_t len;
    struct sl_elf elf;
};

/* Files that were loaded; they stay until the case ends. */
static char *kept[8];
static int n_kept;

static struct image load(const char *path) {
    struct image im;
    if (sl_read_file(path, 64 << 20, &im.data, &im.len, &err) < 0)
        TEST_FAIL("%s", err.msg);
    if (sl_elf_read(im.data, im.len, &im.elf, &err) < 0)
        TEST_FAIL("%s: %s", path, err.msg);
    kept[n_kept++] = im.data;
    return im;
}

static Elf64_Phdr *segment(struct image *im, uint32_t type) {
    Elf64_Ehdr *h = (Elf64_Ehdr *)im->data;
    Elf64_Phdr *p = (Elf64_Phdr *)(im->data + h->e_phoff);
    for (int i = 0; i < h->e_phnum; i++)
        if (p[i].p_type == type)
            return &p[i];
    TEST_FAIL("no segment of type %u", type);
}

static Elf64_Dyn *dynamic(struct image *im, int64_t tag) {
    for (Elf64_Dyn *d = (Elf64_Dyn *)(im->data + segment(im, PT_DYNAMIC)->p_offset);
         d->d_tag != DT_NULL; d++)
        if (d->d_tag == tag)
            return d;
    TEST_FAIL("no dynamic entry %lld", (long long)tag);
}

static struct image minimal(void) {
    return load(BUILD_DIR "/tests/plugins/minimal.so");
}

static struct sl_elf again(const struct image *im) {
    struct sl_elf elf;
    if (sl_elf_read(im->data, im->len, &elf, &err) < 0)
        TEST_FAIL("%s", err.msg);
    return elf;
}

TEST(a_plugin_as_it_is_built) {
    struct image im = minimal();
    uint64_t cursor = 0;
    CHECK_INT(im.elf.type, ET_DYN);
    CHECK(!im.elf.is_program && !im.elf.executable_stack && !im.elf.writable_code &&
          !im.elf.text_relocations);
    CHECK(sl_elf_search_path(&im.elf, 0) == NULL);
    if (*SANITIZE)
        SKIP("sanitizers export symbols of their own");
    CHECK_STR(sl_elf_export(&im.elf, &cursor), "sluice_plugin_entry");
    CHECK(sl_elf_export(&im.elf, &cursor) == NULL);
}

TEST(what_a_plugin_needs) {
    struct image im = load(BUILD_DIR "/lib/sluice/plugins/audio.so");
    bool avformat = false;
    const char *name;
    for (int i = 0; (name = sl_elf_needed(&im.elf, i)); i++)
        avformat |= strncmp(name, "libavformat.so", 14) == 0;
    CHECK(avformat);
}

TEST(bad_habits_of_linking) {
    struct image im = load(BUILD_DIR "/tests/plugins-check/bad_load.so");
    uint64_t cursor = 0;
    bool second = false;
    CHECK(im.elf.executable_stack);
    CHECK_STR(sl_elf_search_path(&im.elf, 0), "/home/someone/build");
    for (const char *name; (name = sl_elf_export(&im.elf, &cursor));)
        second |= strcmp(name, "bad_load_second_symbol") == 0;
    CHECK(second);
}

TEST(flags_that_are_changed) {
    struct image im = minimal();
    segment(&im, PT_GNU_STACK)->p_flags |= PF_X;
    CHECK(again(&im).executable_stack);
    segment(&im, PT_GNU_STACK)->p_type = PT_NULL;
    CHECK(again(&im).executable_stack); /* silence means yes */
    segment(&im, PT_LOAD)->p_flags = PF_R | PF_W | PF_X;
    CHECK(again(&im).writable_code);
    dynamic(&im, DT_FINI)->d_tag = DT_TEXTREL;
    CHECK(again(&im).text_relocations);
}

TEST(a_program_is_told_apart) {
    struct image im = load(WORKER);
    CHECK(im.elf.is_program || im.elf.type == ET_EXEC);
}

TEST(other_files) {
    static const char text[] = "#!/bin/sh\nexit 0\n";
    struct image im = minimal();
    struct sl_elf elf;
    CHECK_INT(sl_elf_read(text, sizeof text, &elf, &err), SLUICE_INPUT);
    CHECK_HAS(err.msg, "not an ELF file");
    CHECK_INT(sl_elf_read("", 0, &elf, &err), SLUICE_INPUT);
    im.data[EI_CLASS] = ELFCLASS32;
    CHECK_INT(sl_elf_read(im.data, im.len, &elf, &err), SLUICE_INPUT);
    CHECK_HAS(err.msg, "64-bit");
}

TEST(tables_outside_the_file) {
    struct image im = minimal();
    struct sl_elf elf;
    dynamic(&im, DT_STRSZ)->d_un.d_val = 1u << 30;
    CHECK_INT(sl_elf_read(im.data, im.len, &elf, &err), SLUICE_INPUT);
    CHECK_HAS(err.msg, "strings");
    im = minimal();
    segment(&im, PT_DYNAMIC)->p_offset = im.len - 8;
    CHECK_INT(sl_elf_read(im.data, im.len, &elf, &err), SLUICE_INPUT);
    CHECK_HAS(err.msg, "dynamic segment");
    im = minimal();
    memset(im.data + im.elf.gnu_hash.at, 0xff, 16);
    CHECK_INT(sl_elf_read(im.data, im.len, &elf, &err), SLUICE_INPUT);
    im = minimal();
    ((Elf64_Ehdr *)im.data)->e_phoff = UINT64_MAX - 8;
    CHECK_INT(sl_elf_read(im.data, im.len, &elf, &err), SLUICE_INPUT);
    CHECK_HAS(err.msg, "program headers");
}

/* Each in a buffer of its own length, for a sanitizer. */
TEST(every_prefix) {
    struct image im = minimal();
    int read = 0;
    for (size_t len = 0; len < im.len; len += len < 8192 ? 1 : 97) {
        char *copy = malloc(len ? len : 1);
        struct sl_elf elf;
        uint64_t cursor = 0;
        memcpy(copy, im.data, len);
        if (sl_elf_read(copy, len, &elf, &err) == 0) {
            read++;
            while (sl_elf_export(&elf, &cursor))
                ;
        }
        free(copy);
    }
    CHECK(read > 0); /* without section headers, which lie at the end, it is still whole */
}

TEST_MAIN()
