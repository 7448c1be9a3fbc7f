/* Tests of the file itself: what a loader and a linker see of it. Nothing is loaded. */
#include <elf.h>
#include <stdio.h>
#include <string.h>

#include <sluice/plugin.h>

#include "check/case.h"

#define LISTED 8 /* names in a message */

#if defined __x86_64__
#define MACHINE EM_X86_64
#elif defined __aarch64__
#define MACHINE EM_AARCH64
#else
#define MACHINE EM_NONE
#endif

static bool has_elf(struct sl_case *c) {
    if (c->elf_failure[0])
        sl_case_skip(c, "the file cannot be read, see elf.format");
    return !c->elf_failure[0];
}

static void test_format(struct sl_case *c) {
    if (c->elf_failure[0])
        sl_case_fail(c, "%s", c->elf_failure);
    else if (c->elf.type != ET_DYN || c->elf.is_program)
        sl_case_fail(c, "it is a program, not a shared object: build it with -shared");
    else if (c->elf.machine != MACHINE)
        sl_case_fail(c, "it is for another machine (ELF machine %u, here %u)", c->elf.machine,
                     MACHINE);
    else if (!sl_ends_with(c->path, ".so"))
        sl_case_fail(c, "its name does not end in .so, so it is never found");
}

/* Old linkers export these by themselves. */
static bool is_of_the_linker(const char *name) {
    static const char *const names[] = {"_init", "_fini", "__bss_start", "_edata", "_end"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static void test_exports(struct sl_case *c) {
    sl_autostr struct sl_str list = {0};
    uint64_t cursor = 0;
    int others = 0;
    bool entry = false;
    if (!has_elf(c))
        return;
    for (const char *name; (name = sl_elf_export(&c->elf, &cursor));) {
        bool is_entry = strcmp(name, SLUICE_PLUGIN_ENTRY_NAME) == 0;
        entry |= is_entry;
        if (is_entry || is_of_the_linker(name))
            continue;
        if (others++ < LISTED)
            sl_str_addf(&list, "%s%s", others > 1 ? ", " : "", name);
    }
    if (!entry)
        sl_case_fail(c, "it does not export %s: declare it with SLUICE_EXPORT",
                     SLUICE_PLUGIN_ENTRY_NAME);
    else if (others)
        sl_case_fail(c,
                     "it exports %d symbols beside its entry (%s%s): build with "
                     "-fvisibility=hidden, or link with a "
                     "version script",
                     others, sl_str_text(&list), others > LISTED ? ", ..." : "");
}

static void test_relocations(struct sl_case *c) {
    if (has_elf(c) && c->elf.text_relocations)
        sl_case_fail(
            c,
            "its code is changed when it is loaded (text relocations): build all of it with -fPIC");
}

static void test_segments(struct sl_case *c) {
    if (!has_elf(c))
        return;
    if (c->elf.executable_stack)
        sl_case_fail(
            c, "it asks for an executable stack: link with -z noexecstack (assembler files need a "
               ".note.GNU-stack section)");
    else if (c->elf.writable_code)
        sl_case_fail(c, "a segment of it is both writable and executable");
}

/* Folders that exist only where it was built. */
static bool is_build_path(const char *folder) {
    return *folder == '/' && !sl_starts_with(folder, "/usr/") && !sl_starts_with(folder, "/opt/") &&
           !sl_starts_with(folder, "/lib");
}

static void test_search_path(struct sl_case *c) {
    const char *list;
    if (!has_elf(c))
        return;
    for (int i = 0; (list = sl_elf_search_path(&c->elf, i)); i++) {
        sl_autofree char *copy = sl_xstrdup(list);
        char *rest = copy;
        for (char *folder; (folder = strsep(&rest, ":"));) {
            if (is_build_path(folder))
                sl_case_warn(
                    c,
                    "it looks for libraries in %s, which other machines do not have: use $ORIGIN",
                    folder);
            if (*folder && *folder != '/' && *folder != '$')
                sl_case_fail(c,
                             "it looks for libraries in \"%s\", relative to the working directory",
                             folder);
        }
    }
}

static void test_needed(struct sl_case *c) {
    static const char *const heavy[] = {"libcuda.so",  "libcudart.so", "libcublas",  "libcudnn",
                                        "libcufft.so", "libnvrtc.so",  "libnvidia-", "libnccl.so"};
    const char *name;
    if (!has_elf(c))
        return;
    for (int i = 0; (name = sl_elf_needed(&c->elf, i)); i++)
        for (size_t h = 0; h < sizeof heavy / sizeof *heavy; h++)
            if (sl_starts_with(name, heavy[h]))
                sl_case_fail(c,
                             "it needs %s to be loaded at all: open it in create() with dlopen, "
                             "where a GPU is used",
                             name);
}

const struct sl_test sl_elf_tests[] = {
    {"elf.format", "a shared object for this machine", .run = test_format},
    {"elf.exports", "exports its entry and nothing else", .run = test_exports},
    {"elf.relocations", "code is not changed when it is loaded", .run = test_relocations},
    {"elf.segments", "no executable stack, no writable code", .run = test_segments},
    {"elf.search_path", "libraries are not looked for in folders of the build",
     .run = test_search_path},
    {"elf.needed", "no CUDA library is needed to load it", .run = test_needed},
    {0},
};
