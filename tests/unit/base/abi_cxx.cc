// The public headers compile as C++11, and an entry can be written there too.
#include <sluice/plugin.h>

#include <cstring>

static int32_t process(void *, struct sluice_job *) {
    return SLUICE_OK;
}
static const sluice_stage stage = {SLUICE_SIZED(sluice_stage), 0, "a/b", "1", "test", nullptr, nullptr, nullptr, 1, 0,
                                   nullptr, process, nullptr, nullptr};
static const sluice_stage *const stages[] = {&stage, nullptr};
SLUICE_EXPORT const struct sluice_plugin sluice_plugin_entry = {SLUICE_PLUGIN_HEADER, "a", "1", "MIT", stages};

int main() {
    bool good = sluice_plugin_entry.magic == SLUICE_PLUGIN_MAGIC && sluice_plugin_entry.stages[0]->process == process &&
                std::strcmp(sluice_plugin_entry.licence, "MIT") == 0;
    return good ? 0 : 1;
}
