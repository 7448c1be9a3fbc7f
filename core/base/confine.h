/* What this kernel offers to confine a process without rights of its own: Landlock for files,
 * seccomp for system calls. */
#ifndef BASE_CONFINE_H
#define BASE_CONFINE_H

#include <stdbool.h>

/* Flags of a sandbox. */
#define SL_SANDBOX_NETWORK 1u
#define SL_SANDBOX_GPU     2u /* also the devices and files that the driver of a card needs */

/* What stages are confined by. SLUICE_SANDBOX in the environment leaves parts of it away: "none",
 * or "seccomp" for seccomp alone. */
struct sl_confinement {
    int landlock; /* version of its interface; 0: there is none, files are not confined */
    bool seccomp;
};
struct sl_confinement sl_confinement_detect(void);

/* One line: "Landlock (7) and seccomp", or what is missing. Static. */
const char *sl_confinement_text(const struct sl_confinement *c);

#endif
