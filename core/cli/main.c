/* sluice: the table of commands. main() finds the command and hands over; each command has a file
 * of its own. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/surroundings.h"

static const struct sl_command commands[] = {
    {"run", "run PIPELINE.yaml [FILE...] [-o DIR] [options]", "run a pipeline over files",
     sl_cmd_run},
    {"check", "check PIPELINE.yaml [--plan] [--set NAME=VALUE]...",
     "check a pipeline; nothing is run", sl_cmd_check},
    {"graph", "graph PIPELINE.yaml [--format text|dot|svg]", "draw a pipeline", sl_cmd_graph},
    {"plugins", "plugins [NAME[/STAGE]] [--json]",
     "list plugins, or show a stage's ports and parameters", sl_cmd_plugins},
    {"plugin", "plugin new NAME [--cxx] [-o DIR] | plugin check FILE.so [options]",
     "begin a plugin, or test one", sl_cmd_plugin},
    {"stage", "stage USE [--in PORT=FILE]... [--with NAME=VALUE]... -o DIR",
     "run one stage by hand", sl_cmd_stage},
    {"runs", "runs [--json]", "list runs, newest first", sl_cmd_runs},
    {"show", "show RUN [--json]", "show what a run did", sl_cmd_show},
    {"resume", "resume RUN [--failed] [--json]", "finish a run that was cut off or cancelled",
     sl_cmd_resume},
    {"report", "report RUN [-o FILE] [--trace FILE]", "write a run as a page to look at",
     sl_cmd_report},
    {"logs", "logs RUN [STAGE]", "print what the stages of a run wrote", sl_cmd_logs},
    {"models", "models list | get NAME | path NAME | verify NAME [options]",
     "list and download models", sl_cmd_models},
    {"doctor", "doctor [--json]", "say what this machine offers and what is in the way",
     sl_cmd_doctor},
    {"cache", "cache ls [--json] | prune [--max-size SIZE] [--max-age AGE]",
     "list or remove results kept for later runs", sl_cmd_cache},
    {"completion", "completion bash|zsh", "print a completion script for a shell",
     sl_cmd_completion},
    {"version", "version", "print the version", sl_cmd_version},
    {"help", "help [COMMAND | --man]", "print this, the help of a command, or the manual page",
     sl_cmd_help},
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

const struct sl_command *sl_commands(int *ret_n) {
    *ret_n = N_COMMANDS;
    return commands;
}

static const struct sl_command *find(const char *name) {
    for (int i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int unknown_command(const char *name) {
    const char *names[N_COMMANDS];
    for (int i = 0; i < N_COMMANDS; i++)
        names[i] = commands[i].name;
    const char *near = sl_nearest(name, names, N_COMMANDS);
    fprintf(stderr, "sluice: unknown command \"%s\"", name);
    if (near)
        fprintf(stderr, " (did you mean \"%s\"?)", near);
    fprintf(stderr, "; `sluice help` lists them\n");
    return SL_EXIT_USAGE;
}

int sl_cmd_version(const struct sl_command *self, int argc, char **argv) {
    struct sl_words rest = {0};
    const struct sl_option none[] = {{0}};
    int status = sl_cli_parse(self, "Prints the version of Sluice and of its plugin ABI.", none,
                              argc, argv, &rest);
    if (status < 0)
        status = sl_cli_at_most(self, &rest, 0);
    if (status < 0) {
        printf("sluice %s (plugin ABI %u.%u)\n", SLUICE_VERSION, SLUICE_ABI_MAJOR,
               SLUICE_ABI_MINOR);
        status = SL_EXIT_OK;
    }
    free(rest.items);
    return status;
}

static int print_man(void) {
    char help[] = "--help=man", *words[] = {help};
    puts(".TH SLUICE 1 \"\" \"sluice " SLUICE_VERSION
         "\"\n.SH NAME\nsluice \\- run speech pipelines\n.SH SYNOPSIS\n"
         ".B sluice\n.I COMMAND\n.RI [ argument .\\|.\\|. ]\n.SH DESCRIPTION\n"
         "A YAML file names the stages of a pipeline; each stage is a plugin and runs in a process "
         "of its own.\n"
         ".SH COMMANDS");
    for (int i = 0; i < N_COMMANDS; i++)
        if (commands[i].run != sl_cmd_help)
            commands[i].run(&commands[i], 1, words);
    puts(".SH EXIT STATUS\n0 all items ok, 1 some item failed, 2 bad usage or pipeline, 130 "
         "cancelled.\n"
         ".SH ENVIRONMENT\n"
         ".B SLUICE_STATE\nfolder of runs;\n.B SLUICE_CACHE\nfolder of caches;\n.B "
         "SLUICE_CACHE_SIZE\nbytes of results kept for later runs;\n.B "
         "SLUICE_PLUGIN_PATH\n"
         "folders with plugins, separated by colons.");
    return SL_EXIT_OK;
}

static int print_help(FILE *to) {
    fprintf(to, "Sluice runs speech pipelines: a YAML file names stages, each runs in a process of "
                "its own.\n\n"
                "usage: sluice COMMAND ...\n\n");
    for (int i = 0; i < N_COMMANDS; i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fprintf(to,
            "\n`sluice help COMMAND` says more. Exit status: 0 all items ok, 1 some item failed, "
            "2 bad usage or pipeline, 130 cancelled.\n");
    return to == stdout ? SL_EXIT_OK : SL_EXIT_USAGE;
}

int sl_cmd_help(const struct sl_command *self, int argc, char **argv) {
    char help[] = "--help", *words[] = {help};
    (void)self;
    if (argc < 1 || strcmp(argv[0], "--help=words") == 0)
        return argc < 1 ? print_help(stdout) : SL_EXIT_OK;
    if (strcmp(argv[0], "--man") == 0)
        return print_man();
    if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0)
        return print_help(stdout);
    const struct sl_command *c = find(argv[0]);
    if (!c)
        return unknown_command(argv[0]);
    return c->run == sl_cmd_help ? print_help(stdout) : c->run(c, 1, words);
}

/* What was printed has to get there. */
static int finish_output(int status) {
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    fprintf(stderr, "sluice: standard output cannot be written: %s\n", strerror(errno));
    return status == SL_EXIT_OK ? SL_EXIT_FAILED : status;
}

static int dispatch(int argc, char **argv) {
    if (argc < 2)
        return print_help(stderr);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return print_help(stdout);
    const char *name = strcmp(argv[1], "--version") == 0 ? "version" : argv[1];
    const struct sl_command *c = find(name);
    return c ? c->run(c, argc - 2, argv + 2) : unknown_command(name);
}

int main(int argc, char **argv) {
    sl_surroundings_prepare();
    return finish_output(dispatch(argc, argv));
}
