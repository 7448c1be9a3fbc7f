/* Asks the kernel what it has, see confine.h. */
#include "base/confine.h"

#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct sl_confinement sl_confinement_detect(void) {
    const char *set = getenv("SLUICE_SANDBOX");
    uint32_t action = SECCOMP_RET_ERRNO;
    struct sl_confinement c = {0};
    if (set && strcmp(set, "none") == 0)
        return c;
    c.seccomp = syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
    if (set && strcmp(set, "seccomp") == 0)
        return c;
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    c.landlock = version > 0 ? (int)version : 0;
    return c;
}

const char *sl_confinement_text(const struct sl_confinement *c) {
    if (c->landlock && c->seccomp)
        return "Landlock and seccomp";
    if (c->landlock)
        return "Landlock; this kernel has no seccomp, so the network is open to stages";
    if (c->seccomp)
        return "seccomp; there is no Landlock, so files are open to stages";
    return "none: there is neither Landlock nor seccomp, so stages may do what you may";
}
