/*
 * Finds the model that a pipeline names: see resolve.h. Reads two folders, opens nothing in them.
 */
#include "num/resolve.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EMBEDDED "embedded"
#define MAX_PATH 4096

static const char *const patterns[] = {"%s/%s", "%s/%s.bin", "%s/ggml-%s.bin"};

/* The folder of downloaded models into `folder`; false where the environment names none. */
static bool user_folder(char folder[MAX_PATH]) {
    const char *set = getenv("SLUICE_MODELS"), *data = getenv("XDG_DATA_HOME");
    const char *home = getenv("HOME");
    int n = -1;
    if (set && *set)
        n = snprintf(folder, MAX_PATH, "%s", set);
    else if (data && *data)
        n = snprintf(folder, MAX_PATH, "%s/sluice/models", data);
    else if (home && *home)
        n = snprintf(folder, MAX_PATH, "%s/.local/share/sluice/models", home);
    return n > 0 && n < MAX_PATH;
}

/* No part of a name is empty or begins with a dot. */
static bool is_name(const char *name) {
    if (*name == '\0' || *name == '.' || *name == '/')
        return false;
    for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/'))
        if (slash[1] == '.' || slash[1] == '/' || slash[1] == '\0')
            return false;
    return true;
}

static bool find_in(const char *folder, const char *name, char *path, size_t size) {
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        char found[2 * MAX_PATH];
        int n = snprintf(found, sizeof found, patterns[i], folder, name);
        if (n > 0 && (size_t)n < size && (size_t)n < sizeof found && access(found, F_OK) == 0) {
            memcpy(path, found, (size_t)n + 1);
            return true;
        }
    }
    return false;
}

/* Appends the names in `folder` to `text`, but for that of the embedded model. */
static void add_names(const char *folder, const char *embedded, char *text, size_t size) {
    DIR *dir = opendir(folder);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        size_t at = strlen(text), len = strlen(entry->d_name);
        if (entry->d_name[0] != '.' && (!embedded || strcmp(entry->d_name, embedded) != 0) &&
            at + len + 3 < size)
            snprintf(text + at, size - at, ", %.*s", (int)len, entry->d_name);
    }
    if (dir)
        closedir(dir);
}

int32_t num_model_resolve(const char *model, const char *embedded, const char *share_dir,
                          char *path, size_t size, struct num_err *err) {
    char folders[2][MAX_PATH], installed[300];
    int n = snprintf(folders[0], MAX_PATH, "%s/models", share_dir);
    bool usable[2] = {n > 0 && n < MAX_PATH, user_folder(folders[1])};
    bool exists = access(model, F_OK) == 0, is_path = exists && strchr(model, '/');
    if (is_path || !is_name(model)) {
        if (strlen(model) >= size)
            return num_fail(err, SLUICE_INPUT, "the path of the model is longer than %zu bytes",
                            size - 1);
        if (!is_path)
            return num_fail(err, SLUICE_INPUT, "there is no model at \"%.300s\": %s", model,
                            exists ? "a path has a slash" : strerror(errno));
        strcpy(path, model);
        return SLUICE_OK;
    }
    snprintf(installed, sizeof installed, "%s", embedded ? ", " EMBEDDED : "");
    const char *name = embedded && strcmp(model, EMBEDDED) == 0 ? embedded : model;
    for (int i = 0; i < 2; i++)
        if (usable[i] && find_in(folders[i], name, path, size))
            return SLUICE_OK;
    if (exists)
        return num_fail(
            err, SLUICE_INPUT,
            "there is no model of that name; for the one at that path write \"./%.200s\"", model);
    for (int i = 0; i < 2; i++)
        if (usable[i])
            add_names(folders[i], embedded, installed, sizeof installed);
    return num_fail(err, SLUICE_INPUT,
                    "there is no model of that name: installed are %s; \"sluice models get %.60s\" "
                    "downloads one that is known (\"sluice models list\"), and a path always works",
                    *installed ? installed + 2 : "none", model);
}

int32_t num_model_find(const char *value, const char *share_dir, char room[NUM_MODEL_PATH],
                       const char **ret, struct num_err *err) {
    *ret = value;
    if (*value == '/' || access(value, F_OK) == 0)
        return SLUICE_OK;
    *ret = room;
    return num_model_resolve(value, NULL, share_dir, room, NUM_MODEL_PATH, err);
}
