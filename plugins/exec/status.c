/*
 * Exit statuses to classes: a table of 256, filled with the defaults and then overwritten by the
 * pipeline's own. `cancelled` is no class a program can ask for: it means that the host wanted the
 * stop.
 */
#include "exec/status.h"

#include <string.h>

#include <sluice/types.h>

void cmd_exit_codes_init(struct cmd_exit_codes *codes) {
    memset(codes->classes, SLUICE_INTERNAL, sizeof codes->classes);
    codes->classes[0] = SLUICE_OK;
    codes->classes[75] = SLUICE_TRANSIENT;
    codes->classes[137] = SLUICE_RESOURCE;
}

bool cmd_class_by_name(const char *name, int32_t *ret) {
    static const struct {
        const char *name;
        int32_t class;
    } table[] = {
        {"ok", SLUICE_OK},
        {"input", SLUICE_INPUT},
        {"unsupported", SLUICE_UNSUPPORTED},
        {"resource", SLUICE_RESOURCE},
        {"transient", SLUICE_TRANSIENT},
        {"internal", SLUICE_INTERNAL},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (strcmp(table[i].name, name) == 0) {
            *ret = table[i].class;
            return true;
        }
    }
    return false;
}

int32_t cmd_exit_codes_class(const struct cmd_exit_codes *codes, int status) {
    return status >= 0 && status < 256 ? codes->classes[status] : SLUICE_INTERNAL;
}
