/* Confines the plugin's process, see sandbox.h. All of it by raw system calls: libc has no names for them. */
#include "worker/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"

/* ---- Landlock -------------------------------------------------------------------------------- */

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
static const char *const common_write[] = {"/dev/null",    "/dev/zero",  "/dev/full", "/dev/random",
                                           "/dev/urandom", "/proc/self", NULL};
static const char *const network_read[] = {"/etc/hosts",
                                           "/etc/resolv.conf",
                                           "/etc/services",
                                           "/etc/host.conf",
                                           "/etc/gai.conf",
                                           "/run/systemd/resolve",
                                           NULL};
/* The driver opens these for reading and writing; libcuda also names its threads below /proc/self. */
static const char *const gpu_write[] = {"/dev/nvidia*", "/dev/nvidia-caps/*", "/dev/dri", NULL};
static const char *const gpu_folders[] = {"/dev/shm", NULL}; /* where it makes files */
static const char *const gpu_read[] = {"/etc/vulkan", "/etc/OpenCL",  "/etc/nvidia*",
                                       "/etc/glvnd",  "/run/nvidia*", NULL};

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

static void allow_field(struct rules *r, const struct sl_frame *frame, int field, uint64_t rights) {
    sl_autofree char *path = sl_xstrndup(frame->fields[field].data, frame->fields[field].len);
    allow(r, path, rights);
}

static void add_rules(struct rules *r, const struct sl_frame *frame) {
    unsigned flags = (unsigned)sl_frame_u64(frame, 0);
    int n_read = (int)sl_frame_u64(frame, 1), n_write = (int)sl_frame_u64(frame, 2);
    sl_autofree char *prefix = sl_install_prefix();
    allow_all(r, common_read, READ);
    allow_all(r, common_write, READ | LANDLOCK_ACCESS_FS_WRITE_FILE);
    allow_folders(r, "LD_LIBRARY_PATH");
    if (strcmp(prefix, "/") != 0)
        allow(r, prefix, READ);
    if (flags & SL_SANDBOX_NETWORK)
        allow_all(r, network_read, READ);
    if (flags & SL_SANDBOX_GPU) {
        allow_all(r, gpu_read, READ);
        allow_all(r, gpu_write, READ | LANDLOCK_ACCESS_FS_WRITE_FILE);
        allow_all(r, gpu_folders, r->handled);
        allow_compute_cache(r);
    }
    for (int i = 0; i < n_read; i++)
        allow_field(r, frame, 3 + i, READ);
    for (int i = 0; i < n_write; i++)
        allow_field(r, frame, 3 + n_read + i, r->handled);
}

static int enter_landlock(int version, const struct sl_frame *frame, struct sl_err *err) {
    struct ruleset_attr attr = {.handled_access_fs = ALL_OF_1};
    attr.handled_access_fs |= version >= 2 ? LANDLOCK_ACCESS_FS_REFER : 0;
    attr.handled_access_fs |= version >= 3 ? LANDLOCK_ACCESS_FS_TRUNCATE : 0;
    attr.scoped = version >= 6 ? SCOPE_SIGNAL | SCOPE_ABSTRACT_UNIX_SOCKET : 0;
    size_t size = version >= 6 ? sizeof attr : sizeof attr.handled_access_fs;
    sl_autoclose int fd = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    if (fd < 0)
        return sl_err_sys(err, SLUICE_INTERNAL, errno, "sandbox: Landlock gives no rules");
    struct rules rules = {.fd = fd, .handled = attr.handled_access_fs};
    add_rules(&rules, frame);
    if (rules.error)
        return sl_err_sys(err, SLUICE_INTERNAL, rules.error,
                          "sandbox: a rule of Landlock was refused");
    if (syscall(SYS_landlock_restrict_self, fd, 0) < 0)
        return sl_err_sys(err, SLUICE_INTERNAL, errno, "sandbox: Landlock cannot be entered");
    return 0;
}

/* ---- seccomp --------------------------------------------------------------------------------- */

#if defined(__x86_64__)
#define THIS_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define THIS_ARCH AUDIT_ARCH_AARCH64
#endif

#define X32_BIT 0x40000000u /* of system call numbers of another interface on x86 */
#define NEW_NAMESPACES                                                                             \
    (CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET |     \
     CLONE_NEWCGROUP)

/* Calls that a stage has no business with; most need rights that it lacks anyway. */
static const int refused[] = {
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_kcmp,
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_setns,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_keyctl,
    SYS_add_key,
    SYS_request_key,
    SYS_open_by_handle_at,
    SYS_acct,
    SYS_quotactl,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_open_tree,
    SYS_move_mount,
    SYS_fsopen,
    SYS_fsmount,
    SYS_pidfd_getfd,
    SYS_mount_setattr,
    SYS_io_uring_setup, /* it has sockets of its own, past this filter */
};
enum { N_REFUSED = sizeof refused / sizeof *refused };

struct program {
    struct sock_filter code[N_REFUSED * 2 + 40];
    unsigned short n;
};

static void emit(struct program *p, struct sock_filter instruction) {
    p->code[p->n++] = instruction;
}

static void load(struct program *p, size_t offset) {
    emit(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offset));
}

static void answer(struct program *p, unsigned action) {
    emit(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

/* Passes over the next `n` instructions unless the loaded number is `value`. */
static void unless_equal(struct program *p, unsigned value, unsigned char n) {
    emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, n));
}

/* Passes over the next `n` instructions unless the loaded number has one of these bits. */
static void unless_any(struct program *p, unsigned bits, unsigned char n) {
    emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 0, n));
}

#define LOW_HALF(arg)                                                                              \
    (offsetof(struct seccomp_data, args) + 8 * (arg)) /* of little-endian machines */

/* `call` fails where its argument has one of these bits. */
static void refuse_bits(struct program *p, int call, unsigned arg, unsigned bits) {
    unless_equal(p, (unsigned)call, 4);
    load(p, LOW_HALF(arg));
    unless_any(p, bits, 1);
    answer(p, SECCOMP_RET_ERRNO | EPERM);
    answer(p, SECCOMP_RET_ALLOW);
}

static void refuse_sockets(struct program *p, bool unix_allowed) {
    unless_equal(p, SYS_socket, unix_allowed ? 4 : 1);
    if (unix_allowed) {
        load(p, LOW_HALF(0));
        unless_equal(p, AF_UNIX, 1);
        answer(p, SECCOMP_RET_ALLOW);
    }
    answer(p, SECCOMP_RET_ERRNO | EACCES);
}

#ifdef THIS_ARCH
static void write_program(struct program *p, unsigned flags) {
    load(p, offsetof(struct seccomp_data, arch));
    unless_equal(p, THIS_ARCH, 1);
    emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0));
    answer(p, SECCOMP_RET_KILL_PROCESS);
    load(p, offsetof(struct seccomp_data, nr));
#ifdef __x86_64__
    emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1));
    answer(p, SECCOMP_RET_ERRNO | ENOSYS);
#endif
    for (int i = 0; i < N_REFUSED; i++) {
        unless_equal(p, (unsigned)refused[i], 1);
        answer(p, SECCOMP_RET_ERRNO | EPERM);
    }
    /* Its flags are behind a pointer; libc goes on with clone(). */
    unless_equal(p, SYS_clone3, 1);
    answer(p, SECCOMP_RET_ERRNO | ENOSYS);
    refuse_bits(p, SYS_clone, 0, NEW_NAMESPACES);
    refuse_bits(p, SYS_unshare, 0, NEW_NAMESPACES);
    if (!(flags & SL_SANDBOX_NETWORK))
        refuse_sockets(p, flags & SL_SANDBOX_GPU);
    answer(p, SECCOMP_RET_ALLOW);
}
#endif

static int enter_seccomp(unsigned flags, struct sl_err *err) {
#ifdef THIS_ARCH
    struct program p = {.n = 0};
    write_program(&p, flags);
    struct sock_fprog program = {p.n, p.code};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
        return sl_err_sys(err, SLUICE_INTERNAL, errno, "sandbox: seccomp refuses its filter");
#else
    (void)flags, (void)err;
    fprintf(stderr, "warning: sandbox: no filter of system calls for this processor\n");
#endif
    return 0;
}

/* ---- Rights ---------------------------------------------------------------------------------- */

#define BIT(cap) (1u << (cap))
#define KEPT_CAPABILITIES                                                                          \
    (BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_FOWNER) |         \
     BIT(CAP_FSETID) | BIT(CAP_IPC_LOCK) | BIT(CAP_SYS_NICE) | BIT(CAP_SYS_RESOURCE))

static int drop_rights(struct sl_err *err) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return sl_err_sys(err, SLUICE_INTERNAL, errno, "sandbox: no_new_privs cannot be set");
    if (syscall(SYS_capget, &header, data) < 0)
        return sl_err_sys(err, SLUICE_INTERNAL, errno, "sandbox: capabilities cannot be read");
    data[0].effective &= KEPT_CAPABILITIES;
    data[0].permitted &= KEPT_CAPABILITIES;
    data[0].inheritable = data[1].effective = data[1].permitted = data[1].inheritable = 0;
    if (syscall(SYS_capset, &header, data) < 0)
        return sl_err_sys(err, SLUICE_INTERNAL, errno, "sandbox: capabilities cannot be dropped");
    return 0;
}

/* exec() gives root all capabilities of the bounding set again: only a smaller set keeps them away. */
static void bound_rights(void) {
    for (int cap = 0; cap <= 63; cap++)
        if (cap >= 32 || !(KEPT_CAPABILITIES & BIT(cap)))
            if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
                return; /* past the last one, or not root: then exec() gives none */
}

int sl_sandbox_enter(const struct sl_frame *frame, struct sl_err *err) {
    unsigned flags = (unsigned)sl_frame_u64(frame, 0);
    struct sl_confinement c = sl_confinement_detect();
    bound_rights();
    int rc = drop_rights(err);
    if (rc == 0 && c.landlock)
        rc = enter_landlock(c.landlock, frame, err);
    if (rc == 0 && c.seccomp)
        rc = enter_seccomp(flags, err);
    return rc;
}

void sl_sandbox_explain(bool confined, char *message, size_t size) {
    static const char hint[] =
        "; the stage is confined: `sandbox: none`, or `network: true`, would let it";
    size_t len = strlen(message);
    bool refused = strstr(message, strerror(EACCES)) || strstr(message, strerror(EPERM)) ||
                   strstr(message, "no CUDA-capable device");
    if (confined && refused && len + sizeof hint <= size)
        memcpy(message + len, hint, sizeof hint);
}
