/* Any bytes as the parameters of exec/command, one a line: taken or refused, and what is taken can
 * be expanded. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "exec/config.h"
#include "exec/refs.h"
#include "exec/tail.h"

static const char *any_path(void *context, bool is_output, const char *port, struct cmd_err *err) {
    (void)context;
    (void)port;
    (void)err;
    return is_output ? "/out" : "/in";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct cmd_tail tail;
    char last[40], *expanded = NULL, *texts[4] = {NULL}, *rest = strndup((const char *)data, size);
    struct cmd_err err;
    struct cmd_config config = {0};
    tail.len = 0;
    cmd_tail_add(&tail, (const char *)data, size);
    cmd_tail_last_line(&tail, last, sizeof last);
    char *all = rest;
    for (int i = 0; i < 4 && rest; i++)
        texts[i] = strsep(&rest, "\n");
    if (cmd_config_read(texts[0], texts[1], texts[2], texts[3], &config, &err) == 0)
        for (size_t i = 0; i < config.n_argv; i++) {
            if (cmd_refs_expand(config.argv[i], any_path, NULL, &expanded, &err) < 0)
                abort(); /* reading checked the references */
            free(expanded);
        }
    cmd_config_finish(&config);
    free(all);
    return 0;
}
