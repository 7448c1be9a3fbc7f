/* Command-line options from a table: parsing, errors with suggestions, and the help text, all from
 * the same rows. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>

#include "base/err.h"

enum sl_option_kind {
    SL_OPT_FLAG, /* bool */
    SL_OPT_TEXT, /* const char * */
    SL_OPT_INT,  /* int, at least 1 */
    SL_OPT_LIST, /* struct sl_words: may be given several times */
};

/* Borrowed words from argv; `items` is owned: free(). */
struct sl_words {
    const char **items;
    int n, cap;
};

struct sl_option {
    const char *name; /* without the dashes */
    char letter;      /* 0: none */
    enum sl_option_kind kind;
    void *to;
    const char *value; /* what the value is called in the help */
    const char *help;
};

enum sl_help_format {
    SL_HELP_TEXT = 1, /* --help */
    SL_HELP_MAN,      /* --help=man: a section of the manual page, in roff */
    SL_HELP_WORDS,    /* --help=words: one "--option<TAB>what it does" a line, for completion */
};

/* Ends with {0}. Words that are no options go to `rest`. "--" ends the options. SL_USAGE: with a
 * message that names the option, and the nearest one where it is unknown. Returns an sl_help_format
 * where help was asked for. */
int sl_options_parse(const struct sl_option *table, int argc, char **argv, struct sl_words *rest,
                     struct sl_err *err);

/* Prints the help of a command to stdout. */
void sl_options_help(enum sl_help_format format, const char *usage, const char *text,
                     const struct sl_option *table);
/* Text with roff's special characters escaped, to stdout. */
void sl_print_roff(const char *text);

#endif
