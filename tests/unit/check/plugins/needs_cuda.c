/* Cannot be loaded where there is no libcuda.so.1, and looks for it relative to the working
 * directory too. */
#include "fixtures/plugins/bad.h"

int fake_cuda(void);

static int32_t create(const struct sluice_host *host, void **ret_self) {
    (void)host;
    *ret_self = NULL;
    return fake_cuda();
}

BAD_STAGE("needs_cuda/stage", .create = create)

SLUICE_EXPORT const struct sluice_plugin sluice_plugin_entry = {
    SLUICE_PLUGIN_HEADER, .name = "needs_cuda", .version = "1", .licence = "MIT", .stages = stages};
