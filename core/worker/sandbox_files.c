/*
 * The files of a sandbox, see sandbox_files.h. Rules of the base are real paths, none of them below
 * another one that lets as much: each rule costs its process an open file and the kernel a node, at
 * every start.
 */
#include "worker/sandbox_files.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/confine.h"
#include "base/io.h"
#include "base/mem.h"

/* Newer than the headers of some systems. */
#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ull << 13)
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ull << 14)
#endif
#define SCOPE_ABSTRACT_UNIX_SOCKET (1ull << 0)
#define SCOPE_SIGNAL               (1ull << 1)

struct ruleset_attr {
    uint64_t handled_access_fs, handled_access_net, scoped;
};

#define READ                                                                                       \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define OF_FILES                                                                                   \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |   \
     LANDLOCK_ACCESS_FS_TRUNCATE)
#define ALL_OF_1 ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)

/* What every program needs: itself, its libraries, and a few facts. */
static const char *const common_read[] = {"/usr",
                                          "/lib",
                                          "/lib64",
                                          "/bin",
                                          "/sbin",
                                          "/opt",
                                          "/nix/store",
                                          "/gnu/store",
                                          "/proc",
                                          "/sys",
                                          "/etc/ld.so.cache",
                                          "/etc/ld.so.conf",
                                          "/etc/ld.so.conf.d",
                                          "/etc/ld.so.preload",
                                          "/etc/localtime",
                                          "/etc/timezone",
                                          "/etc/alternatives",
                                          "/etc/nsswitch.conf",
                                          "/etc/passwd",
                                          "/etc/group",
                                          "/etc/locale.alias",
                                          "/etc/mime.types",
                                          "/etc/fonts",
                                          "/etc/ssl",
                                          "/etc/pki",
                                          "/etc/ca-certificates",
                                          "/etc/magic",
                                          "/etc/inputrc",
                                          "/etc/python*",
                                          "/etc/perl",
                                          NULL};
static const char *const common_write[] = {"/dev/null",   "/dev/zero",    "/dev/full",
                                           "/dev/random", "/dev/urandom", NULL};
static const char *const network_read[] = {"/etc/hosts",
                                           "/etc/resolv.conf",
                                           "/etc/services",
                                           "/etc/host.conf",
                                           "/etc/gai.conf",
                                           "/run/systemd/resolve",
                                           NULL};
/* The driver opens these for reading and writing; libcuda also names its threads below
 * /proc/self. */
static const char *const gpu_write[] = {"/dev/nvidia*", "/dev/nvidia-caps/*", "/dev/dri", NULL};
static const char *const gpu_folders[] = {"/dev/shm", NULL}; /* where it makes files */
static const char *const gpu_read[] = {"/etc/vulkan", "/etc/OpenCL",  "/etc/nvidia*",
                                       "/etc/glvnd",  "/run/nvidia*", NULL};

/* ---- The base -------------------------------------------------------------------------------- */

enum { MAX_BASE = 64 };

struct sl_sandbox_base {
    int n;
    struct {
        char *path;
        uint64_t rights;
    } rules[MAX_BASE];
};

static bool is_below(const char *path, const char *folder) {
    size_t len = strlen(folder);
    return strncmp(path, folder, len) == 0 && (path[len] == '/' || !path[len]);
}

static bool has(const struct sl_sandbox_base *b, const char *real, uint64_t rights) {
    for (int i = 0; i < b->n; i++)
        if (is_below(real, b->rules[i].path) && (b->rules[i].rights & rights) == rights)
            return true;
    return false;
}

/* Nothing where there is nothing, or a rule has it already. */
static void base_add(struct sl_sandbox_base *b, const char *path, uint64_t rights) {
    char real[PATH_MAX];
    if (b->n == MAX_BASE || !realpath(path, real) || strcmp(real, "/") == 0 || has(b, real, rights))
        return;
    b->rules[b->n].path = sl_xstrdup(real);
    b->rules[b->n++].rights = rights;
}

static void base_add_matches(struct sl_sandbox_base *b, const char *pattern, uint64_t rights) {
    glob_t found = {0};
    if (glob(pattern, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++)
            base_add(b, found.gl_pathv[i], rights);
    globfree(&found);
}

struct sl_sandbox_base *sl_sandbox_base_find(void) {
    struct sl_sandbox_base *b = sl_xcalloc(1, sizeof *b);
    sl_autofree char *prefix = sl_install_prefix();
    for (const char *const *path = common_read; *path; path++)
        base_add_matches(b, *path, READ);
    for (const char *const *path = common_write; *path; path++)
        base_add(b, *path, READ | LANDLOCK_ACCESS_FS_WRITE_FILE);
    base_add(b, prefix, READ);
    return b;
}

/* ---- Rules ----------------------------------------------------------------------------------- */

struct rules {
    int fd;
    uint64_t handled;
    int error; /* errno of the first rule that was refused */
};

static void allow(struct rules *r, const char *path, uint64_t rights) {
    sl_autoclose int fd = open(path, O_PATH | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return; /* what is not there needs no right */
    struct landlock_path_beneath_attr rule = {
        .allowed_access = rights & r->handled & (S_ISDIR(st.st_mode) ? ~0ull : OF_FILES),
        .parent_fd = fd};
    if (syscall(SYS_landlock_add_rule, r->fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0 &&
        !r->error)
        r->error = errno;
}

static void allow_matches(struct rules *r, const char *pattern, uint64_t rights) {
    glob_t found = {0};
    if (glob(pattern, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++)
            allow(r, found.gl_pathv[i], rights);
    globfree(&found);
}

static void allow_all(struct rules *r, const char *const *paths, uint64_t rights) {
    for (; *paths; paths++)
        if (strchr(*paths, '*'))
            allow_matches(r, *paths, rights);
        else
            allow(r, *paths, rights);
}

/* The folders of a variable such as LD_LIBRARY_PATH. */
static void allow_folders(struct rules *r, const char *variable) {
    const char *value = getenv(variable);
    sl_autofree char *copy = value ? sl_xstrdup(value) : NULL;
    char *save = NULL;
    for (char *word = copy ? strtok_r(copy, ":", &save) : NULL; word;
         word = strtok_r(NULL, ":", &save))
        if (*word == '/' && word[1])
            allow(r, word, READ);
}

/* Where the driver keeps the kernels that it compiled. */
static void allow_compute_cache(struct rules *r) {
    const char *set = getenv("CUDA_CACHE_PATH"), *home = getenv("HOME");
    sl_autofree char *path =
        set && *set ? sl_xstrdup(set) : sl_path_join(home ? home : "/root", ".nv");
    allow(r, path, r->handled);
}

static void allow_field(struct rules *r, const struct sl_sandbox_base *base,
                        const struct sl_frame *frame, int field, uint64_t rights) {
    sl_autofree char *path = sl_xstrndup(frame->fields[field].data, frame->fields[field].len);
    if (!has(base, path, rights))
        allow(r, path, rights);
}

static void add_rules(struct rules *r, const struct sl_sandbox_base *base,
                      const struct sl_frame *frame) {
    unsigned flags = (unsigned)sl_frame_u64(frame, 0);
    int n_read = (int)sl_frame_u64(frame, 1), n_write = (int)sl_frame_u64(frame, 2);
    for (int i = 0; i < base->n; i++)
        allow(r, base->rules[i].path, base->rules[i].rights);
    allow(r, "/proc/self", READ | LANDLOCK_ACCESS_FS_WRITE_FILE); /* another one in each process */
    allow_folders(r, "LD_LIBRARY_PATH");
    if (flags & SL_SANDBOX_NETWORK)
        allow_all(r, network_read, READ);
    if (flags & SL_SANDBOX_GPU) {
        allow_all(r, gpu_read, READ);
        allow_all(r, gpu_write, READ | LANDLOCK_ACCESS_FS_WRITE_FILE);
        allow_all(r, gpu_folders, r->handled);
        allow_compute_cache(r);
    }
    for (int i = 0; i < n_read; i++)
        allow_field(r, base, frame, 3 + i, READ);
    for (int i = 0; i < n_write; i++)
        allow_field(r, base, frame, 3 + n_read + i, r->handled);
}

int sl_sandbox_enter_files(int version, const struct sl_sandbox_base *base,
                           const struct sl_frame *frame, struct sl_err *err) {
    struct ruleset_attr attr = {.handled_access_fs = ALL_OF_1};
    attr.handled_access_fs |= version >= 2 ? LANDLOCK_ACCESS_FS_REFER : 0;
    attr.handled_access_fs |= version >= 3 ? LANDLOCK_ACCESS_FS_TRUNCATE : 0;
    attr.scoped = version >= 6 ? SCOPE_SIGNAL | SCOPE_ABSTRACT_UNIX_SOCKET : 0;
    size_t size = version >= 6 ? sizeof attr : sizeof attr.handled_access_fs;
    sl_autoclose int fd = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    if (fd < 0)
        return sl_err_sys(err, SLUICE_INTERNAL, errno, "sandbox: Landlock gives no rules");
    struct rules rules = {.fd = fd, .handled = attr.handled_access_fs};
    add_rules(&rules, base, frame);
    if (rules.error)
        return sl_err_sys(err, SLUICE_INTERNAL, rules.error,
                          "sandbox: a rule of Landlock was refused");
    if (syscall(SYS_landlock_restrict_self, fd, 0) < 0)
        return sl_err_sys(err, SLUICE_INTERNAL, errno, "sandbox: Landlock cannot be entered");
    return 0;
}
