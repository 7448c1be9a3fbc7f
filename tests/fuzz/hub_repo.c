/* Any bytes as a hub's listing of a repository: a name that is picked never leaves its folder. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fetch/repo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sl_repo repo;
    struct sl_err err;
    if (sl_repo_parse((const char *)data, size, "fuzz", size % 2 ? "ggml-x.bin" : NULL, &repo,
                      &err) < 0)
        return 0;
    for (int i = 0; i < repo.n_files; i++)
        if (strchr(repo.files[i].name, '/') || repo.files[i].name[0] == '.')
            abort();
    sl_repo_finish(&repo);
    return 0;
}
