/*
 * sluice plugin new: a folder with a plugin that builds, is described, runs and passes the check.
 *
 * The files come from templates/, in which @WORDS@ are replaced. The folder is made under a
 * temporary name and renamed when it is complete, so there is a whole one or none.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "cli/plugin.h"
#include "cli/templates.h"

static const char help[] = "Makes the folder NAME with a plugin of one stage: its source, "
                           "CMakeLists.txt, a pipeline that uses it, a test\n"
                           "and a README. It builds against the Sluice that made it.";

#define NAME_MAX_BYTES 48

/* A @WORD@ and what stands for it. */
struct word {
    const char *word, *value;
};

struct project {
    const char *name, *source;
    bool cxx;
    struct word words[8];
};

/* ---- Text ------------------------------------------------------------------------------------ */

static const struct word *find_word(const struct project *p, const char *at) {
    for (const struct word *w = p->words; w->word; w++)
        if (strncmp(at, w->word, strlen(w->word)) == 0)
            return w;
    return NULL;
}

static void fill_in(const struct project *p, const char *text, struct sl_str *out) {
    while (*text) {
        const char *at = strchr(text, '@');
        const struct word *w = at ? find_word(p, at) : NULL;
        if (!at)
            at = text + strlen(text);
        sl_str_addn(out, text, (size_t)(at - text));
        if (w)
            sl_str_add(out, w->value);
        else if (*at)
            sl_str_addn(out, at, 1);
        text = at + (w ? strlen(w->word) : *at ? 1 : 0);
    }
}

/* The name of the file that a template becomes; NULL: not part of this project. */
static const char *file_name(const struct project *p, const char *template) {
    if (strcmp(template, "plugin.c") == 0)
        return p->cxx ? NULL : p->source;
    if (strcmp(template, "plugin.cc") == 0)
        return p->cxx ? p->source : NULL;
    return template;
}

/* ---- Files ----------------------------------------------------------------------------------- */

static int write_files(const struct project *p, const char *folder, struct sl_err *err) {
    int rc = 0;
    for (const struct sl_template *t = sl_templates; rc == 0 && t->name; t++) {
        const char *name = file_name(p, t->name);
        if (!name)
            continue;
        sl_autostr struct sl_str text = {0};
        sl_autofree char *path = sl_path_join(folder, name);
        fill_in(p, t->text, &text);
        rc = sl_write_file(path, sl_str_text(&text), text.len, err);
        if (rc == 0 && sl_ends_with(name, ".sh"))
            chmod(path, 0755);
    }
    return rc;
}

static int exists_already(const char *folder, struct sl_err *err) {
    return sl_err_set(err, SL_USAGE,
                      "%s: exists already; choose another name, or another place with -o DIR",
                      folder);
}

/* The complete folder gets its name; one that has appeared meanwhile is left alone. */
static int name_folder(const char *from, const char *to, struct sl_err *err) {
    mode_t mask = umask(0);
    umask(mask);
    chmod(from, 0777 & ~mask); /* mkdtemp makes it private */
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno == EEXIST)
        return exists_already(to, err);
    if (errno == EINVAL && !sl_path_exists(to) &&
        rename(from, to) == 0) /* a file system that cannot promise it */
        return 0;
    return sl_err_sys(err, SL_USAGE, errno, "%s: cannot be made", to);
}

static int make_folder(const struct project *p, const char *parent, const char *folder,
                       struct sl_err *err) {
    if (sl_path_exists(folder))
        return exists_already(folder, err);
    int rc = sl_make_dirs(parent, err);
    if (rc < 0)
        return rc;
    sl_autofree char *temporary = sl_xasprintf("%s/.%s.XXXXXX", parent, p->name);
    if (!mkdtemp(temporary))
        return sl_err_sys(err, SL_USAGE, errno, "%s: no folder can be made there", parent);
    rc = write_files(p, temporary, err);
    if (rc == 0)
        rc = name_folder(temporary, folder, err);
    if (rc < 0)
        sl_remove_tree(temporary, NULL);
    return rc;
}

/* ---- The command ----------------------------------------------------------------------------- */

static int check_name(const char *name, struct sl_err *err) {
    if (!sl_is_identifier(name))
        return sl_err_set(err, SL_USAGE,
                          "\"%s\" cannot be the name of a plugin: expected lower-case letters, "
                          "digits and _, a letter first",
                          name);
    if (strlen(name) > NAME_MAX_BYTES)
        return sl_err_set(err, SL_USAGE, "the name of a plugin has at most %d letters",
                          NAME_MAX_BYTES);
    return 0;
}

static int make(const char *name, bool cxx, const char *parent, struct sl_err *err) {
    sl_autofree char *prefix = sl_install_prefix();
    sl_autofree char *source = sl_xasprintf("%s.%s", name, cxx ? "cc" : "c");
    sl_autofree char *folder = sl_path_join(parent, name);
    struct project p = {.name = name,
                        .source = source,
                        .cxx = cxx,
                        .words = {{"@NAME@", name},
                                  {"@SOURCE@", source},
                                  {"@PREFIX@", prefix},
                                  {"@LANGUAGE@", cxx ? "CXX" : "C"},
                                  {"@STANDARD@", cxx ? "CXX_STANDARD 11 CXX_STANDARD_REQUIRED ON"
                                                     : "C_STANDARD 11"},
                                  {"@COMPILE@", cxx ? "c++ -std=c++11" : "cc -std=c11"}}};
    int rc = check_name(name, err);
    return rc < 0 ? rc : make_folder(&p, parent, folder, err);
}

static void print_next(const char *parent, const char *name) {
    sl_autofree char *folder =
        strcmp(parent, ".") == 0 ? sl_xstrdup(name) : sl_path_join(parent, name);
    printf("made %s; next:\n"
           "  cd %s\n"
           "  cmake -B build && cmake --build build\n"
           "  sluice plugin check build/%s.so\n"
           "  sluice stage %s/hello --plugins build -o out\n",
           folder, folder, name, name);
}

int sl_plugin_new(const struct sl_command *self, int argc, char **argv) {
    struct sl_words rest = {0};
    struct sl_err err = {0};
    bool cxx = false;
    const char *parent = ".";
    const struct sl_option table[] = {
        {"cxx", 0, SL_OPT_FLAG, &cxx, NULL, "in C++11 instead of C11"},
        {"out", 'o', SL_OPT_TEXT, &parent, "DIR", "where the folder is made (default: here)"},
        {0},
    };
    int status = sl_cli_parse(self, help, table, argc, argv, &rest);
    if (status < 0 && rest.n != 1) {
        fprintf(stderr, "sluice: expected one name, such as my_plugin\nusage: sluice %s\n",
                self->usage);
        status = SL_EXIT_USAGE;
    }
    if (status < 0) {
        status = make(rest.items[0], cxx, parent, &err) < 0 ? SL_EXIT_USAGE : SL_EXIT_OK;
        if (status == SL_EXIT_OK)
            print_next(parent, rest.items[0]);
        else
            sl_cli_error(&err);
    }
    free(rest.items);
    return status;
}
