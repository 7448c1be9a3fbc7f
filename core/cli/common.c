/* What several commands share: errors, installation, loading plugins and pipelines. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "cli/cli.h"
#include "proc/registry.h"
#include "run/state.h"

void sl_cli_error(const struct sl_err *err) {
    fprintf(stderr, "sluice: %s\n", err->msg);
}

int sl_cli_parse(const struct sl_command *self, const char *help, const struct sl_option *table,
                 int argc, char **argv, struct sl_words *rest) {
    struct sl_err err = {0};
    int rc = sl_options_parse(table, argc, argv, rest, &err);
    if (rc > 0) {
        sl_options_help((enum sl_help_format)rc, self->usage, help, table);
        return SL_EXIT_OK;
    }
    if (rc == 0)
        return -1;
    sl_cli_error(&err);
    fprintf(stderr, "usage: sluice %s\n", self->usage);
    return SL_EXIT_USAGE;
}

int sl_cli_at_most(const struct sl_command *self, const struct sl_words *rest, int max_words) {
    if (rest->n <= max_words)
        return -1;
    fprintf(stderr, "sluice: \"%s\" is one word too many\nusage: sluice %s\n",
            rest->items[max_words], self->usage);
    return SL_EXIT_USAGE;
}

struct sl_install sl_install_find(void) {
    sl_autofree char *prefix = sl_install_prefix();
    return (struct sl_install){.worker = sl_path_join(prefix, "libexec/sluice/sluice-worker"),
                               .share = sl_path_join(prefix, "share/sluice")};
}

void sl_install_finish(struct sl_install *in) {
    free(in->worker);
    free(in->share);
}

int sl_cli_load_catalog(const struct sl_words *folders, bool refresh, struct sl_catalog *ret) {
    struct sl_err err = {0};
    struct sl_registry_options options = {
        .folders = folders->items, .n_folders = folders->n, .refresh = refresh};
    int rc = sl_registry_load(&options, ret, &err);
    if (rc == 0)
        return 0;
    sl_cli_error(&err);
    return rc == SL_USAGE ? SL_EXIT_USAGE : SL_EXIT_FAILED;
}

int sl_cli_split(const char *word, const char *option, char **ret_name, const char **ret_value,
                 struct sl_err *err) {
    const char *equals = strchr(word, '=');
    if (!equals || equals == word)
        return sl_err_set(err, SL_USAGE, "--%s %s: expected NAME=VALUE", option, word);
    *ret_name = sl_xstrndup(word, (size_t)(equals - word));
    *ret_value = equals + 1;
    return 0;
}

int sl_cli_settings(const struct sl_words *words, struct sl_setting **ret, struct sl_err *err) {
    struct sl_setting *settings = sl_xcalloc((size_t)words->n, sizeof *settings);
    for (int i = 0; i < words->n; i++) {
        char *name;
        int rc = sl_cli_split(words->items[i], "set", &name, &settings[i].value, err);
        settings[i].name = rc == 0 ? name : NULL;
        if (rc < 0) {
            sl_cli_settings_free(settings, i);
            return rc;
        }
    }
    *ret = settings;
    return 0;
}

void sl_cli_settings_free(struct sl_setting *settings, int n) {
    for (int i = 0; i < n; i++)
        free((char *)settings[i].name);
    free(settings);
}

struct sl_words sl_cli_words(const json_t *list) {
    struct sl_words words = {0};
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one) {
        SL_PUSH_ROOM(words.items, words.n, words.cap);
        words.items[words.n++] = json_is_string(one) ? json_string_value(one) : "";
    }
    return words;
}

static void forget_positions(struct sl_diags *diags) {
    for (int i = 0; i < diags->n; i++)
        diags->items[i].pos = (struct sl_pos){0};
}

static int make_plan(const char *name, const char *text, const struct sl_setting *settings,
                     int n_settings, struct sl_loaded *l) {
    struct sl_diags diags = {.file = name};
    sl_autostr struct sl_str out = {0};
    int rc = text ? sl_pipeline_parse(text, strlen(text), &diags, &l->pipeline)
                  : sl_pipeline_load(name, &diags, &l->pipeline);
    if (rc == 0)
        rc = sl_plan_make(l->pipeline, &l->catalog, settings, n_settings, &diags, &l->plan);
    if (text)
        forget_positions(&diags);
    sl_diags_print(&diags, &out);
    fputs(sl_str_text(&out), stderr);
    if (rc < 0 && diags.n_errors > 1)
        fprintf(stderr, "%d errors\n", diags.n_errors);
    sl_diags_finish(&diags);
    return rc < 0 ? SL_EXIT_USAGE : 0;
}

int sl_cli_load_plan(const char *name, const char *text, const struct sl_words *folders,
                     const struct sl_words *settings, struct sl_loaded *ret) {
    struct sl_setting *split = NULL;
    struct sl_err err = {0};
    if (sl_cli_settings(settings, &split, &err) < 0) {
        sl_cli_error(&err);
        return SL_EXIT_USAGE;
    }
    int status = sl_cli_load_catalog(folders, false, &ret->catalog);
    if (status == 0)
        status = make_plan(name, text, split, settings->n, ret);
    sl_cli_settings_free(split, settings->n);
    return status;
}

void sl_loaded_finish(struct sl_loaded *l) {
    if (l->plan)
        sl_plan_destroy(l->plan);
    if (l->pipeline)
        sl_pipeline_destroy(l->pipeline);
    sl_catalog_finish(&l->catalog);
}

void sl_str_add_column(struct sl_str *s, const char *text, int columns) {
    sl_str_add(s, text);
    sl_str_pad(s, ' ', columns - sl_utf8_columns(text));
}

/* ---- --wrap ---------------------------------------------------------------------------------- */

#define MAX_WRAP 64

/* The full path of a program that is named without a slash, as execvp would find it. */
static const char *find_program(const char *name, struct sl_arena *arena) {
    const char *path = getenv("PATH");
    if (strchr(name, '/') || !path)
        return name;
    char *copy = sl_arena_strdup(arena, path), *save = NULL;
    for (char *dir = strtok_r(copy, ":", &save); dir; dir = strtok_r(NULL, ":", &save)) {
        sl_autofree char *full = sl_path_join(dir, name);
        if (sl_path_exists(full))
            return sl_arena_strdup(arena, full);
    }
    return name;
}

const char **sl_cli_wrap(const char *text, struct sl_arena *arena) {
    const char **words = sl_arena_alloc(arena, (MAX_WRAP + 1) * sizeof *words);
    char *copy = sl_arena_strdup(arena, text), *save = NULL;
    int n = 0;
    for (char *w = strtok_r(copy, " ", &save); w && n < MAX_WRAP; w = strtok_r(NULL, " ", &save))
        words[n++] = w;
    if (n > 0)
        words[0] = find_program(words[0], arena);
    return words;
}

int sl_cli_find_run(const struct sl_command *self, const struct sl_words *rest, int max_words,
                    struct sl_rundir *dir) {
    struct sl_err err = {0};
    if (rest->n < 1 || rest->n > max_words) {
        fprintf(
            stderr,
            "sluice: expected a run: its id, the beginning of it, or \"last\"\nusage: sluice %s\n",
            self->usage);
        return SL_EXIT_USAGE;
    }
    int rc = sl_rundir_open(rest->items[0], dir, &err);
    if (rc == 0)
        return -1;
    sl_cli_error(&err);
    return rc == SLUICE_INPUT ? SL_EXIT_USAGE : SL_EXIT_FAILED;
}

int sl_cli_open_run(const struct sl_command *self, const struct sl_words *rest, int max_words,
                    struct sl_rundir *dir, json_t **state) {
    struct sl_err err = {0};
    int status = sl_cli_find_run(self, rest, max_words, dir);
    if (status >= 0)
        return status;
    int rc = sl_state_read(dir->path, state, &err);
    if (rc == 0)
        return -1;
    sl_cli_error(&err);
    return rc == SLUICE_INPUT ? SL_EXIT_USAGE : SL_EXIT_FAILED;
}
