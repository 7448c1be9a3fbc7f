/* Confines the plugin's process, see sandbox.h. All of it by raw system calls: libc has no names
 * for them. */
#include "worker/sandbox.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "worker/sandbox_files.h"

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
    struct sock_filter code[N_REFUSED * 4 + 60];
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

/* A call fails where its argument has one of these bits. */
static void refuse_bits(struct program *p, unsigned arg, unsigned bits) {
    load(p, LOW_HALF(arg));
    unless_any(p, bits, 1);
    answer(p, SECCOMP_RET_ERRNO | EPERM);
    answer(p, SECCOMP_RET_ALLOW);
}

static void refuse_sockets(struct program *p, bool unix_allowed) {
    if (unix_allowed) {
        load(p, LOW_HALF(0));
        unless_equal(p, AF_UNIX, 1);
        answer(p, SECCOMP_RET_ALLOW);
    }
    answer(p, SECCOMP_RET_ERRNO | EACCES);
}

#ifdef THIS_ARCH
static void decide(struct program *p, int call, unsigned flags) {
    if (call == SYS_clone || call == SYS_unshare)
        refuse_bits(p, 0, NEW_NAMESPACES);
    else if (call == SYS_socket)
        refuse_sockets(p, flags & SL_SANDBOX_GPU);
    else /* the flags of clone3 are behind a pointer; libc goes on with clone() */
        answer(p, SECCOMP_RET_ERRNO | (call == SYS_clone3 ? ENOSYS : EPERM));
}

/* Decides about the calls, which ascend; all others are allowed. A tree: the kernel runs the filter
 * once for each of its calls when it takes it, and past a chain of comparisons that takes longer
 * than all else here. */
static void search(struct program *p, const int *calls, int n, unsigned flags) {
    unsigned short at = p->n;
    if (n == 1) {
        unless_equal(p, (unsigned)calls[0], 0);
        decide(p, calls[0], flags);
        p->code[at].jf = (unsigned char)(p->n - at - 1);
        answer(p, SECCOMP_RET_ALLOW);
        return;
    }
    emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (unsigned)calls[n / 2], 0, 0));
    search(p, calls, n / 2, flags);
    p->code[at].jt = (unsigned char)(p->n - at - 1);
    search(p, calls + n / 2, n - n / 2, flags);
}

static int ascending(const void *a, const void *b) {
    return *(const int *)a - *(const int *)b;
}

static void write_program(struct program *p, unsigned flags) {
    int calls[N_REFUSED + 4] = {SYS_clone3, SYS_clone, SYS_unshare, SYS_socket}, n = 4;
    if (flags & SL_SANDBOX_NETWORK)
        n--;
    memcpy(calls + n, refused, sizeof refused);
    n += N_REFUSED;
    qsort(calls, (size_t)n, sizeof *calls, ascending);
    load(p, offsetof(struct seccomp_data, arch));
    unless_equal(p, THIS_ARCH, 1);
    emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0));
    answer(p, SECCOMP_RET_KILL_PROCESS);
    load(p, offsetof(struct seccomp_data, nr));
#ifdef __x86_64__
    emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1));
    answer(p, SECCOMP_RET_ERRNO | ENOSYS);
#endif
    search(p, calls, n, flags);
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

/* With no_new_privs a program that is exec'd, root's too, gains none of them again. */
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

int sl_sandbox_enter(const struct sl_sandbox_base *base, const struct sl_frame *frame,
                     struct sl_err *err) {
    unsigned flags = (unsigned)sl_frame_u64(frame, 0);
    struct sl_confinement c = sl_confinement_detect();
    int rc = drop_rights(err);
    if (rc == 0 && c.landlock)
        rc = sl_sandbox_enter_files(c.landlock, base ? base : sl_sandbox_base_find(), frame, err);
    if (rc == 0 && c.seccomp)
        rc = enter_seccomp(flags, err);
    return rc;
}

void sl_sandbox_explain(bool confined, char *message, size_t size) {
    static const char hint[] =
        "; the stage is confined: if that is why, `sandbox: none` or `network: true` lifts it";
    size_t len = strlen(message);
    bool refused = strstr(message, strerror(EACCES)) || strstr(message, strerror(EPERM)) ||
                   strstr(message, "no CUDA-capable device");
    if (confined && refused && len + sizeof hint <= size)
        memcpy(message + len, hint, sizeof hint);
}
