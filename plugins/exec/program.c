/*
 * The environment is clean on purpose: a stage that works only because of a variable in somebody's
 * shell is a stage that fails in a batch. The search for the program is done here and not by
 * posix_spawnp(), which would use this process's PATH and cannot say what it looked at.
 */
#include "exec/program.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sluice/types.h>

#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"

/* Sets NAME=value in the vector, which has room; 0: out of memory. */
static int set(char **env, const char *name, const char *value) {
    char *entry = NULL;
    if (asprintf(&entry, "%s=%s", name, value) < 0)
        return 0;
    size_t len = strlen(name) + 1, i = 0;
    while (env[i] && strncmp(env[i], entry, len) != 0)
        i++;
    free(env[i]);
    env[i] = entry;
    return 1;
}

char **cmd_env_make(const char *tmpdir, const struct cmd_pair *pairs, size_t n) {
    static const struct {
        const char *name, *otherwise;
    } base[] = {{"PATH", DEFAULT_PATH}, {"HOME", "/"}, {"LANG", "C.UTF-8"}};
    const size_t n_base = sizeof base / sizeof base[0];
    char **env = calloc(n_base + n + 2, sizeof *env);
    int ok = env != NULL;
    for (size_t i = 0; ok && i < n_base; i++) {
        const char *value = getenv(base[i].name);
        ok = set(env, base[i].name, value ? value : base[i].otherwise);
    }
    if (ok && tmpdir)
        ok = set(env, "TMPDIR", tmpdir);
    for (size_t i = 0; ok && i < n; i++)
        ok = set(env, pairs[i].name, pairs[i].value);
    if (ok)
        return env;
    cmd_env_free(env);
    return NULL;
}

void cmd_env_free(char **env) {
    for (size_t i = 0; env && env[i]; i++)
        free(env[i]);
    free(env);
}

const char *cmd_env_get(char *const *env, const char *name) {
    size_t len = strlen(name);
    for (; *env; env++)
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
            return *env + len + 1;
    return NULL;
}

/* 0: an executable file; else errno's reason. */
static int check_file(const char *file) {
    struct stat st;
    if (stat(file, &st) < 0)
        return errno;
    if (S_ISDIR(st.st_mode))
        return EISDIR;
    return access(file, X_OK) < 0 ? errno : 0;
}

/* 0 and *ret = folder/name where that is an executable file; else the reason, and *ret = NULL. */
static int take(const char *folder, size_t folder_len, const char *name, char **ret) {
    int n = folder_len ? asprintf(ret, "%.*s/%s", (int)folder_len, folder, name)
                       : asprintf(ret, "%s", name);
    int reason = n < 0 ? ENOMEM : check_file(*ret);
    if (n >= 0 && reason)
        free(*ret);
    if (reason)
        *ret = NULL;
    return reason;
}

int cmd_program_find(const char *name, const char *path, char **ret, struct cmd_err *err) {
    char *file = NULL;
    int reason = ENOENT;
    if (strchr(name, '/')) {
        reason = take("", 0, name, &file);
    } else {
        path = path ? path : DEFAULT_PATH;
        for (const char *at = path; !file && at; at = *at ? at + 1 : NULL) {
            size_t len = strcspn(at, ":");
            int found = len ? take(at, len, name, &file) : ENOENT;
            if (found == 0 || found == EACCES || found == ENOMEM)
                reason = found;
            at += len;
        }
    }
    if (file) {
        *ret = file;
        return 0;
    }
    if (reason == ENOMEM)
        return cmd_fail(err, SLUICE_RESOURCE, "out of memory");
    if (reason == ENOENT && !strchr(name, '/'))
        return cmd_fail(err, SLUICE_UNSUPPORTED,
                        "%s: not found in PATH (%s); install it or give its full path", name, path);
    return cmd_fail(err, SLUICE_UNSUPPORTED, "%s: cannot be run: %s", name, strerror(reason));
}
