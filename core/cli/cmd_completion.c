/*
 * sluice completion: scripts for bash and zsh. They hold the commands and their summaries; options
 * are asked of the program itself (`sluice COMMAND --help=words`), runs and plugins too, so that
 * they are always right.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static const char bash_head[] = "# bash completion for sluice; put it where bash-completion looks, "
                                "or: source <(sluice completion bash)\n"
                                "_sluice() {\n"
                                "    local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} "
                                "previous=${COMP_WORDS[COMP_CWORD-1]}\n"
                                "    COMPREPLY=()\n"
                                "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                                "        COMPREPLY=($(compgen -W '";

static const char bash_tail[] =
    "' -- \"$word\"))\n"
    "    elif [[ $word == -* ]]; then\n"
    "        COMPREPLY=($(compgen -W \"$(sluice \"$command\" --help=words 2>/dev/null | cut -f1)\" "
    "-- \"$word\"))\n"
    "    elif [[ $command == @(show|logs|resume|report) ]] && [ \"$COMP_CWORD\" -eq 2 ]; then\n"
    "        COMPREPLY=($(compgen -W \"last $(sluice runs 2>/dev/null | awk '{print $3}')\" -- "
    "\"$word\"))\n"
    "    elif [[ $command == stage || $command == plugins ]] && [ \"$COMP_CWORD\" -eq 2 ]; then\n"
    "        COMPREPLY=($(compgen -W \"$(sluice plugins 2>/dev/null | awk '/^  [a-z_]+\\//{print "
    "$1}')\" -- \"$word\"))\n"
    "    elif [[ $command == plugin ]] && [ \"$COMP_CWORD\" -eq 2 ]; then\n"
    "        COMPREPLY=($(compgen -W 'new check' -- \"$word\"))\n"
    "    elif [[ $command == graph && $previous == --format ]]; then\n"
    "        COMPREPLY=($(compgen -W 'text dot svg' -- \"$word\"))\n"
    "    fi\n"
    "}\n"
    "complete -o default -F _sluice sluice\n";

static const char zsh_head[] =
    "#compdef sluice\n"
    "# zsh completion for sluice; put it into a folder of $fpath as _sluice\n"
    "_sluice() {\n"
    "    local -a commands options words_\n"
    "    commands=(\n";

static const char zsh_tail[] =
    "    )\n"
    "    if (( CURRENT == 2 )); then\n"
    "        _describe command commands\n"
    "    elif [[ ${words[CURRENT]} == -* ]]; then\n"
    "        options=(${(f)\"$(sluice ${words[2]} --help=words 2>/dev/null | sed 's/:/\\\\:/g; "
    "s/\\t/:/')\"})\n"
    "        _describe option options\n"
    "    elif [[ ${words[2]} == (show|logs|resume|report) ]] && (( CURRENT == 3 )); then\n"
    "        words_=(last ${(f)\"$(sluice runs 2>/dev/null | awk '{print $3}')\"})\n"
    "        compadd -a words_\n"
    "    elif [[ ${words[2]} == (stage|plugins) ]] && (( CURRENT == 3 )); then\n"
    "        words_=(${(f)\"$(sluice plugins 2>/dev/null | awk '/^  [a-z_]+\\//{print $1}')\"})\n"
    "        compadd -a words_\n"
    "    elif [[ ${words[2]} == plugin ]] && (( CURRENT == 3 )); then\n"
    "        compadd new check\n"
    "    else\n"
    "        _files\n"
    "    fi\n"
    "}\n"
    "_sluice \"$@\"\n";

static int print_bash(void) {
    int n;
    const struct sl_command *commands = sl_commands(&n);
    fputs(bash_head, stdout);
    for (int i = 0; i < n; i++)
        printf("%s%s", i ? " " : "", commands[i].name);
    fputs(bash_tail, stdout);
    return SL_EXIT_OK;
}

/* Within double quotes, where an apostrophe means nothing; summaries have none of what does. */
static int print_zsh(void) {
    int n;
    const struct sl_command *commands = sl_commands(&n);
    fputs(zsh_head, stdout);
    for (int i = 0; i < n; i++)
        printf("        \"%s:%s\"\n", commands[i].name, commands[i].summary);
    fputs(zsh_tail, stdout);
    return SL_EXIT_OK;
}

int sl_cmd_completion(const struct sl_command *self, int argc, char **argv) {
    struct sl_words rest = {0};
    const struct sl_option none[] = {{0}};
    int status = sl_cli_parse(
        self, "Prints a completion script; an installation has both in their usual places.", none,
        argc, argv, &rest);
    if (status < 0) {
        const char *shell = rest.n == 1 ? rest.items[0] : "";
        status = strcmp(shell, "bash") == 0  ? print_bash()
                 : strcmp(shell, "zsh") == 0 ? print_zsh()
                                             : SL_EXIT_USAGE;
        if (status == SL_EXIT_USAGE)
            fprintf(stderr, "sluice: expected bash or zsh\nusage: sluice %s\n", self->usage);
    }
    free(rest.items);
    return status;
}
