/* sluice plugin: finds out which half is meant. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/plugin.h"

static const char help[] = "plugin new    makes a folder with a stage that builds, is described, "
                           "runs and passes the check\n"
                           "plugin check  tests a plugin: file, loading, declarations, and every "
                           "stage in processes of its own\n\n"
                           "`sluice plugin new --help` and `sluice plugin check --help` say more.";

static const struct sl_command halves[] = {
    {"new", "plugin new NAME [--cxx] [-o DIR]", "begin a plugin", sl_plugin_new},
    {"check", "plugin check FILE.so [--only TEST]... [--with STAGE.NAME=VALUE]... [options]",
     "test a plugin", sl_plugin_check},
};

/* The manual page and completion want to know of both halves. */
static bool is_about_both(const char *word) {
    return strcmp(word, "--help=man") == 0 || strcmp(word, "--help=words") == 0;
}

int sl_cmd_plugin(const struct sl_command *self, int argc, char **argv) {
    const struct sl_option none[] = {{0}};
    struct sl_words rest = {0};
    bool both = argc > 0 && is_about_both(argv[0]);
    for (int i = 0; i < 2; i++) {
        if (argc > 0 && strcmp(argv[0], halves[i].name) == 0)
            return halves[i].run(&halves[i], argc - 1, argv + 1);
        if (both)
            halves[i].run(&halves[i], argc, argv);
    }
    if (both)
        return SL_EXIT_OK;
    int status = sl_cli_parse(self, help, none, argc, argv, &rest);
    if (status < 0) {
        fprintf(
            stderr,
            "sluice: expected `plugin new NAME` or `plugin check FILE.so`%s\nusage: sluice %s\n",
            rest.n ? ", not another word" : "", self->usage);
        status = SL_EXIT_USAGE;
    }
    free(rest.items);
    return status;
}
