/*
 * Loader, see loader.h: libltdl with a loader of ours in front.
 *
 * libltdl's own loader binds lazily and answers "file not found" to every failure. Ours is
 * registered with lt_dlloader_add, calls dlopen(RTLD_NOW | RTLD_LOCAL) and keeps dlerror's words;
 * the built-in ones are removed, or a plugin with an undefined symbol that ours refused would be
 * opened by them. Plugins are never unloaded: libraries below them (CUDA, OpenMP) do not survive
 * that.
 */
#include "worker/loader.h"

#include <dlfcn.h>
#include <ltdl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "worker/check.h"

/* Our loader. libltdl keeps the pointer to its table, so it lives as long as the process. */
struct now_loader {
    lt_dlvtable table;
    char words[SL_ERR_SIZE]; /* what dlopen said */
};

static lt_module open_now(lt_user_data data, const char *path, lt_dladvise advise) {
    (void)advise;
    struct now_loader *loader = data;
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!module) {
        const char *why = dlerror();
        snprintf(loader->words, sizeof loader->words, "%s",
                 why ? why : "dlopen failed without a reason");
    }
    return module;
}

static int close_module(lt_user_data data, lt_module module) {
    (void)data;
    return dlclose(module);
}

static void *find_symbol(lt_user_data data, lt_module module, const char *name) {
    (void)data;
    return dlsym(module, name);
}

/* NULL where libltdl cannot be set up. */
static struct now_loader *add_loader(void) {
    struct now_loader *loader = sl_xcalloc(1, sizeof *loader);
    loader->table = (lt_dlvtable){.name = "sluice_now",
                                  .module_open = open_now,
                                  .module_close = close_module,
                                  .find_sym = find_symbol,
                                  .dlloader_data = loader};
    if (lt_dlinit() != 0 || lt_dlloader_add(&loader->table) != 0) {
        free(loader);
        return NULL;
    }
    lt_dlloader_remove("lt_dlopen");
    lt_dlloader_remove("lt_preopen");
    return loader;
}

/* dlopen names the file in its words, but not always first. */
static int load_error(const char *path, const char *why, struct sl_err *err) {
    if (sl_starts_with(why, path))
        return sl_err_set(err, SLUICE_INTERNAL, "%s", why);
    return sl_err_set(err, SLUICE_INTERNAL, "%s: %s", path, why);
}

static int open_entry(const char *path, const void **ret_entry, bool *ret_load_failed,
                      struct sl_err *err) {
    *ret_load_failed = true;
    if (!sl_ends_with(path, ".so") || *path != '/')
        return sl_err_set(err, SLUICE_INTERNAL, "%s: a plugin is an absolute path that ends in .so",
                          path);
    struct now_loader *loader = add_loader();
    if (!loader)
        return sl_err_set(err, SLUICE_INTERNAL, "libltdl cannot be used: %s", lt_dlerror());
    lt_dlhandle handle = lt_dlopen(path);
    if (!handle)
        return load_error(path, loader->words[0] ? loader->words : lt_dlerror(), err);
    *ret_load_failed = false;
    *ret_entry = lt_dlsym(handle, SLUICE_PLUGIN_ENTRY_NAME);
    if (!*ret_entry)
        return sl_err_set(err, SLUICE_INTERNAL, "%s: not a plugin: it does not export %s", path,
                          SLUICE_PLUGIN_ENTRY_NAME);
    return 0;
}

int sl_loader_open(const char *path, const struct sluice_plugin **ret_plugin, bool *ret_load_failed,
                   struct sl_err *err) {
    const void *entry = NULL;
    bool load_failed = false;
    int rc = open_entry(path, &entry, &load_failed, err);
    if (rc == 0) {
        rc = sl_check_plugin(entry, err);
        if (rc < 0)
            sl_err_wrap(err, "%s", path);
    }
    if (ret_load_failed)
        *ret_load_failed = load_failed;
    if (rc == 0)
        *ret_plugin = entry;
    return rc;
}

void sl_loader_init(void) {
    lt_dlinit(); /* counts; a failure is met again in add_loader() */
}

const struct sluice_stage *sl_loader_stage(const struct sluice_plugin *plugin, const char *id) {
    for (int i = 0; plugin->stages[i]; i++)
        if (strcmp(plugin->stages[i]->id, id) == 0)
            return plugin->stages[i];
    return NULL;
}
