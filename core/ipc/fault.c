/* Names of faults, see fault.h. */
#include "ipc/fault.h"

#include <string.h>

const char *const sl_fault_names[] = {"crash", "hang", "oom", "transient", "garbage", "slow", 0};

const char *sl_fault_name(int fault) {
    return fault > SL_FAULT_NONE && fault < SL_FAULT_N ? sl_fault_names[fault - 1] : "none";
}

enum sl_fault sl_fault_from_name(const char *name) {
    for (int i = 0; sl_fault_names[i]; i++)
        if (strcmp(sl_fault_names[i], name) == 0)
            return (enum sl_fault)(i + 1);
    return SL_FAULT_NONE;
}
