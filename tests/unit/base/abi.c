/* The public headers compile alone as C11, and an entry can be written as the documentation
 * says. */
#include <sluice/plugin.h>

#include "unit/test.h"

static int32_t process(void *self, struct sluice_job *job) {
    (void)self;
    (void)job;
    return SLUICE_OK;
}
static const struct sluice_stage stage = {
    .size = SLUICE_SIZED(struct sluice_stage), .id = "a/b", .process = process};
static const struct sluice_stage *const stages[] = {&stage, NULL};
SLUICE_EXPORT const struct sluice_plugin sluice_plugin_entry = {SLUICE_PLUGIN_HEADER, .name = "a",
                                                                .stages = stages};

TEST(header_opens_the_entry) {
    CHECK_INT(sluice_plugin_entry.magic, SLUICE_PLUGIN_MAGIC);
    CHECK(memcmp(&sluice_plugin_entry, "LUCE", 4) == 0);
    CHECK_INT(sluice_plugin_entry.size, sizeof(struct sluice_plugin));
    CHECK_INT(sluice_plugin_entry.abi_major, SLUICE_ABI_MAJOR);
    CHECK_INT(sluice_plugin_entry.abi_minor, SLUICE_ABI_MINOR);
    CHECK_STR(sluice_plugin_entry.name, "a");
}

TEST_MAIN()
