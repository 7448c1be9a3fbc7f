/*
 * NVIDIA's libraries by the versioned names that plugins open (docs/cuda.md), see libraries.h. Each
 * has a function that returns its version as one number.
 */
#include "worker/libraries.h"

#include <dlfcn.h>
#include <stdio.h>

#include "base/json.h"

enum version_kind {
    VERSION_DRIVER, /* int f(int *): 1000 x major + 10 x minor */
    VERSION_NUMBER, /* size_t f(void): 10000 x major + 100 x minor + patch */
};

static const struct library {
    const char *name, *function;
    enum version_kind kind;
} LIBRARIES[] = {
    {"libcuda.so.1", "cuDriverGetVersion", VERSION_DRIVER},
    {"libcublasLt.so.13", "cublasLtGetVersion", VERSION_NUMBER},
    {"libcublasLt.so.12", "cublasLtGetVersion", VERSION_NUMBER},
    {"libcudnn.so.9", "cudnnGetVersion", VERSION_NUMBER},
};

static json_t *version_json(void *handle, const struct library *l) {
    char text[32];
    void *symbol = dlsym(handle, l->function);
    int number = 0;
    if (!symbol)
        return NULL;
    if (l->kind == VERSION_DRIVER) {
        int (*get)(int *);
        *(void **)&get = symbol;
        if (get(&number) != 0)
            return NULL;
        snprintf(text, sizeof text, "%d.%d", number / 1000, number % 1000 / 10);
    } else {
        size_t (*get)(void);
        *(void **)&get = symbol;
        number = (int)get();
        snprintf(text, sizeof text, "%d.%d.%d", number / 10000, number % 10000 / 100, number % 100);
    }
    return json_string(text);
}

static json_t *library_json(const struct library *l) {
    json_t *one = json_object();
    Dl_info info;
    sl_json_set(one, "name", json_string(l->name));
    void *handle = dlopen(l->name, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        sl_json_set(one, "error", sl_json_text(dlerror()));
        return one;
    }
    void *symbol = dlsym(handle, l->function);
    if (symbol && dladdr(symbol, &info) && info.dli_fname)
        sl_json_set(one, "path", sl_json_text(info.dli_fname));
    sl_json_set(one, "version", version_json(handle, l));
    return one;
}

char *sl_libraries_text(void) {
    sl_autojson json_t *all = json_array();
    for (size_t i = 0; i < sizeof LIBRARIES / sizeof *LIBRARIES; i++)
        json_array_append_new(all, library_json(&LIBRARIES[i]));
    return sl_json_line(all);
}
