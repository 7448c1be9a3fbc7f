/*
 * sluice models: which models there are, and where. Downloads and checks are the work of
 * libexec/sluice/sluice-fetch, which takes this process's place, so that this program links neither
 * libcurl nor libcrypto.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/units.h"
#include "cli/cli.h"
#include "fetch/models.h"

#define DEFAULT_TIMEOUT_S 60

static const char help[] = "models list         installed models, and those known by name\n"
                           "models get NAME     downloads a known model, or any OWNER/REPO of "
                           "Hugging Face, into the folder of models; an\n"
                           "                    interrupted download continues where it stopped\n"
                           "models path NAME    prints where a model is\n"
                           "models verify NAME  compares a downloaded model with its checksums\n\n"
                           "The folder is $SLUICE_MODELS, or $XDG_DATA_HOME/sluice/models, or "
                           "~/.local/share/sluice/models. HF_ENDPOINT names\n"
                           "another endpoint, HF_TOKEN a token for models that need one. A "
                           "pipeline never downloads anything.";

struct request {
    const char *revision, *endpoint, *name, *file;
    int timeout_s;
    bool json;
};

static int usage_error(const struct sl_command *self, const struct sl_err *err) {
    sl_cli_error(err);
    fprintf(stderr, "usage: sluice %s\n", self->usage);
    return SL_EXIT_USAGE;
}

/* ---- list ------------------------------------------------------------------------------------ */

static const struct sl_model_entry *installed(const struct sl_model_list *list, const char *name) {
    for (int i = 0; i < list->n; i++)
        if (strcmp(list->items[i].name, name) == 0)
            return &list->items[i];
    return NULL;
}

static void print_entry(const char *name, uint64_t bytes, const char *where) {
    sl_autostr struct sl_str line = {0};
    char size[32];
    sl_str_add(&line, "  ");
    sl_str_add_column(&line, name, 27);
    sl_format_size(bytes, size, sizeof size);
    sl_str_pad(&line, ' ', 10 - (int)strlen(size));
    sl_str_addf(&line, "%s  %s", size, where);
    puts(sl_str_text(&line));
}

/* An installed model, and its card below it. */
static void print_installed(const struct sl_model_entry *entry) {
    print_entry(entry->name, entry->bytes, entry->path);
    if (!entry->card)
        return;
    sl_autofree char *line = sl_model_card_line(entry->card);
    if (*line)
        printf("      %s\n", line);
}

static void print_list(const struct sl_model_list *list) {
    printf("installed\n");
    for (int i = 0; i < list->n; i++)
        print_installed(&list->items[i]);
    printf("\nknown, for `sluice models get NAME`\n");
    for (const struct sl_known_model *k = sl_known_models(); k->name; k++)
        if (!installed(list, k->name))
            print_entry(k->name, (uint64_t)k->mbytes * 1000000, k->repo);
}

static void print_json(json_t *entry) {
    sl_autofree char *line = sl_json_line(entry);
    puts(line);
    json_decref(entry);
}

/* One object a line: installed models with "path" and what their cards say, known ones with
 * "repo". */
static void print_json_list(const struct sl_model_list *list) {
    for (int i = 0; i < list->n; i++)
        print_json(json_pack("{s:s, s:b, s:o, s:I, s:O*}", "name", list->items[i].name, "installed",
                             1, "path", sl_json_text(list->items[i].path), "bytes",
                             (json_int_t)list->items[i].bytes, "card", list->items[i].card));
    for (const struct sl_known_model *k = sl_known_models(); k->name; k++)
        if (!installed(list, k->name))
            print_json(json_pack("{s:s, s:b, s:s, s:I}", "name", k->name, "installed", 0, "repo",
                                 k->repo, "bytes", (json_int_t)k->mbytes * 1000000));
}

static int list_models(const struct request *r) {
    struct sl_install in = sl_install_find();
    struct sl_model_list list = sl_models_list(in.share);
    r->json ? print_json_list(&list) : print_list(&list);
    sl_model_list_finish(&list);
    sl_install_finish(&in);
    return SL_EXIT_OK;
}

/* ---- path, verify, get ----------------------------------------------------------------------- */

static void no_such_model(const char *name) {
    const struct sl_known_model *k = sl_known_model_find(name);
    const char *names[64];
    size_t n = 0;
    for (const struct sl_known_model *m = sl_known_models(); m->name && n < 64; m++)
        names[n++] = m->name;
    const char *near = sl_nearest(name, names, n);
    fprintf(stderr, "sluice: model \"%s\" is not installed", name);
    if (k)
        fprintf(stderr, "; `sluice models get %s` downloads it\n", name);
    else if (near)
        fprintf(stderr, " and not known (did you mean \"%s\"?); `sluice models list` lists them\n",
                near);
    else
        fprintf(stderr, " and not known; `sluice models list` lists them, `sluice models get "
                        "OWNER/REPO` takes any\n");
}

/* Takes this process's place; returns only on failure. */
static int become_fetch(char *const *argv) {
    sl_autofree char *prefix = sl_install_prefix(),
                     *program = sl_path_join(prefix, "libexec/sluice/sluice-fetch");
    fflush(NULL);
    execv(program, argv);
    fprintf(stderr, "sluice: cannot run %s: %s\n", program, strerror(errno));
    return SL_EXIT_FAILED;
}

static int path_or_verify(const char *name, bool verify) {
    struct sl_install in = sl_install_find();
    sl_autofree char *path = sl_model_find(name, in.share);
    int status = SL_EXIT_OK;
    char program[] = "sluice-fetch", verb[] = "verify";
    char *words[] = {program, verb, path, NULL};
    if (!path) {
        no_such_model(name);
        status = SL_EXIT_FAILED;
    } else if (verify) {
        status = become_fetch(words);
    } else {
        puts(path);
    }
    sl_install_finish(&in);
    return status;
}

static bool revision_ok(const char *revision) {
    for (const char *c = revision; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./", *c))
            return false;
    return *revision && !strstr(revision, "..") && strlen(revision) < 200;
}

/* The endpoint without slashes at its end; owned. */
static char *endpoint_of(const struct request *r) {
    const char *set = getenv("HF_ENDPOINT");
    const char *endpoint = r->endpoint ? r->endpoint : set && *set ? set : SL_MODEL_ENDPOINT;
    size_t len = strlen(endpoint);
    while (len > 0 && endpoint[len - 1] == '/')
        len--;
    return sl_xstrndup(endpoint, len);
}

/* "base-q5_1" of "ggml-base-q5_1.bin"; owned. */
static char *stem_of(const char *file) {
    const char *begin = sl_starts_with(file, "ggml-") ? file + 5 : file;
    size_t len = strlen(begin);
    return sl_xstrndup(begin, sl_ends_with(begin, ".bin") ? len - 4 : len);
}

static int get(const struct sl_command *self, const char *model, const struct request *r) {
    const struct sl_known_model *known = sl_known_model_find(model);
    const char *repo = known ? known->repo : model, *file = known ? known->file : r->file;
    sl_autofree char *folder = sl_models_folder(), *endpoint = endpoint_of(r);
    sl_autofree char *stem = file ? stem_of(file) : NULL;
    const char *name = r->name ? r->name : known || !stem ? model : stem;
    struct sl_err err = {0};
    char timeout[16], program[] = "sluice-fetch", verb[] = "get";
    if (!strchr(repo, '/')) {
        no_such_model(model);
        return SL_EXIT_USAGE;
    }
    if (!sl_model_name_ok(repo) || !sl_model_name_ok(name))
        sl_err_set(&err, SL_USAGE,
                   "\"%s\" is not a name: letters, digits, \".\", \"_\", \"-\" and one slash",
                   sl_model_name_ok(repo) ? name : repo);
    else if (!revision_ok(r->revision))
        sl_err_set(&err, SL_USAGE, "--revision %s: expected a branch, a tag or a commit",
                   r->revision);
    else if (!folder)
        sl_err_set(&err, SL_USAGE, "there is no folder of models: set SLUICE_MODELS or HOME");
    if (err.cls)
        return usage_error(self, &err);
    snprintf(timeout, sizeof timeout, "%d", r->timeout_s);
    char *words[] = {
        program,  verb,    folder,       (char *)name, (char *)repo, (char *)r->revision,
        endpoint, timeout, (char *)file, NULL};
    return become_fetch(words);
}

static int dispatch(const struct sl_command *self, const struct sl_words *words,
                    const struct request *r) {
    static const char *const verbs[] = {"list", "get", "path", "verify"};
    struct sl_err err = {0};
    const char *verb = words->n ? words->items[0] : "";
    if (strcmp(verb, "list") == 0 && words->n == 1)
        return list_models(r);
    if (strcmp(verb, "get") == 0 && words->n == 2)
        return get(self, words->items[1], r);
    if ((strcmp(verb, "path") == 0 || strcmp(verb, "verify") == 0) && words->n == 2)
        return path_or_verify(words->items[1], *verb == 'v');
    const char *near = words->n ? sl_nearest(verb, verbs, 4) : NULL;
    if (near && strcmp(near, verb) != 0)
        sl_err_set(&err, SL_USAGE, "unknown word \"%s\" (did you mean \"%s\"?)", verb, near);
    else
        sl_err_set(&err, SL_USAGE, "expected list, get NAME, path NAME or verify NAME");
    return usage_error(self, &err);
}

int sl_cmd_models(const struct sl_command *self, int argc, char **argv) {
    struct request r = {.revision = "main", .timeout_s = DEFAULT_TIMEOUT_S};
    struct sl_words words = {0};
    const struct sl_option table[] = {
        {"revision", 0, SL_OPT_TEXT, &r.revision, "REV",
         "get: a branch, tag or commit; default: main"},
        {"name", 0, SL_OPT_TEXT, &r.name, "NAME",
         "get: what to call it here; default: as it was asked for"},
        {"file", 0, SL_OPT_TEXT, &r.file, "FILE",
         "get: of OWNER/REPO the one .bin file of whisper.cpp"},
        {"endpoint", 0, SL_OPT_TEXT, &r.endpoint, "URL",
         "get: where from; default: HF_ENDPOINT, else " SL_MODEL_ENDPOINT},
        {"timeout", 0, SL_OPT_INT, &r.timeout_s, "SECONDS",
         "get: how long nothing may arrive; default: 60"},
        {"json", 0, SL_OPT_FLAG, &r.json, NULL, "list: one JSON object a model and line"},
        {0},
    };
    int status = sl_cli_parse(self, help, table, argc, argv, &words);
    if (status < 0)
        status = dispatch(self, &words, &r);
    free(words.items);
    return status;
}
