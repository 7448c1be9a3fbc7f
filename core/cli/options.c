/* Options from a table, see options.h. `--name value`, `--name=value`, `-n value`, `-nvalue`;
 * options and other words may be mixed. */
#include "cli/options.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/units.h"

#define MAX_OPTIONS    32
#define INT_OPTION_MAX 100000

static const struct sl_option *find_long(const struct sl_option *table, const char *name,
                                         size_t len) {
    for (; table->name; table++)
        if (strlen(table->name) == len && memcmp(table->name, name, len) == 0)
            return table;
    return NULL;
}

static const struct sl_option *find_letter(const struct sl_option *table, char letter) {
    for (; table->name; table++)
        if (table->letter == letter)
            return table;
    return NULL;
}

static int unknown(const struct sl_option *table, const char *word, size_t len,
                   struct sl_err *err) {
    const char *names[MAX_OPTIONS];
    size_t n = 0;
    for (; table[n].name && n < MAX_OPTIONS; n++)
        names[n] = table[n].name;
    sl_autofree char *bare = sl_xstrndup(word, len);
    const char *dash = bare + strspn(bare, "-"), *near = sl_nearest(dash, names, n);
    if (near)
        return sl_err_set(err, SL_USAGE, "unknown option \"%s\" (did you mean \"--%s\"?)", bare,
                          near);
    return sl_err_set(err, SL_USAGE, "unknown option \"%s\"; --help lists them", bare);
}

static void push(struct sl_words *words, const char *word) {
    SL_PUSH_ROOM(words->items, words->n, words->cap);
    words->items[words->n++] = word;
}

static int store(const struct sl_option *o, const char *value, struct sl_err *err) {
    int64_t number;
    switch (o->kind) {
    case SL_OPT_FLAG:
        *(bool *)o->to = true;
        return 0;
    case SL_OPT_TEXT:
        *(const char **)o->to = value;
        return 0;
    case SL_OPT_LIST:
        push(o->to, value);
        return 0;
    case SL_OPT_INT:
        if (!sl_parse_int(value, &number) || number < 1 || number > INT_OPTION_MAX)
            return sl_err_set(err, SL_USAGE, "--%s %s: expected a whole number from 1 to %d",
                              o->name, value, INT_OPTION_MAX);
        *(int *)o->to = (int)number;
        return 0;
    }
    return 0;
}

/* Takes the option at argv[*i]; moves *i on when its value is the next word. */
static int take(const struct sl_option *table, int argc, char **argv, int *i, struct sl_err *err) {
    const char *word = argv[*i], *value = NULL;
    const struct sl_option *o;
    if (word[1] == '-') {
        const char *equals = strchr(word, '=');
        size_t len = equals ? (size_t)(equals - word) : strlen(word);
        o = find_long(table, word + 2, len - 2);
        if (!o)
            return unknown(table, word, len, err);
        value = equals ? equals + 1 : NULL;
    } else {
        o = find_letter(table, word[1]);
        if (!o)
            return unknown(table, word, strlen(word), err);
        value = word[2] ? word + 2 : NULL;
    }
    if (o->kind == SL_OPT_FLAG && value)
        return sl_err_set(err, SL_USAGE, "--%s takes no value", o->name);
    if (o->kind != SL_OPT_FLAG && !value) {
        if (*i + 1 >= argc)
            return sl_err_set(err, SL_USAGE, "--%s needs a value: --%s %s", o->name, o->name,
                              o->value);
        value = argv[++*i];
    }
    return store(o, value, err);
}

/* The kind of help that a word asks for, or 0. */
static int help_wanted(const char *word) {
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return SL_HELP_TEXT;
    if (strcmp(word, "--help=man") == 0)
        return SL_HELP_MAN;
    return strcmp(word, "--help=words") == 0 ? SL_HELP_WORDS : 0;
}

int sl_options_parse(const struct sl_option *table, int argc, char **argv, struct sl_words *rest,
                     struct sl_err *err) {
    bool options = true;
    for (int i = 0; i < argc; i++) {
        if (options && help_wanted(argv[i]))
            return help_wanted(argv[i]);
        if (options && strcmp(argv[i], "--") == 0) {
            options = false;
        } else if (options && argv[i][0] == '-' && argv[i][1]) {
            int rc = take(table, argc, argv, &i, err);
            if (rc < 0)
                return rc;
        } else {
            push(rest, argv[i]);
        }
    }
    return 0;
}

static void help_text(const char *usage, const char *text, const struct sl_option *table) {
    printf("usage: sluice %s\n\n%s\n", usage, text);
    if (table->name)
        printf("\noptions:\n");
    for (; table->name; table++) {
        char left[64], letter[8] = "    ";
        if (table->letter)
            snprintf(letter, sizeof letter, "-%c, ", table->letter);
        snprintf(left, sizeof left, "%s--%s%s%s", letter, table->name, table->value ? " " : "",
                 table->value ? table->value : "");
        printf("  %-26s %s\n", left, table->help);
    }
}

void sl_print_roff(const char *text) {
    bool line_start = true;
    for (; *text; text++) {
        if (line_start && (*text == '.' || *text == '\''))
            fputs("\\&", stdout);
        if (*text == '-')
            fputs("\\-", stdout);
        else if (*text == '\\')
            fputs("\\e", stdout);
        else
            putchar(*text);
        line_start = *text == '\n';
    }
}

static void help_man(const char *usage, const char *text, const struct sl_option *table) {
    fputs(".SS \"", stdout);
    sl_print_roff(usage);
    fputs("\"\n", stdout);
    sl_print_roff(text);
    putchar('\n');
    for (; table->name; table++) {
        fputs(".TP\n\\fB", stdout);
        if (table->letter)
            printf("\\-%c\\fR, \\fB", table->letter);
        fputs("\\-\\-", stdout);
        sl_print_roff(table->name);
        printf("\\fR \\fI%s\\fR\n", table->value ? table->value : "");
        sl_print_roff(table->help);
        putchar('\n');
    }
}

void sl_options_help(enum sl_help_format format, const char *usage, const char *text,
                     const struct sl_option *table) {
    if (format == SL_HELP_TEXT)
        help_text(usage, text, table);
    else if (format == SL_HELP_MAN)
        help_man(usage, text, table);
    else
        for (; table->name; table++)
            printf("--%s\t%s\n", table->name, table->help);
}
