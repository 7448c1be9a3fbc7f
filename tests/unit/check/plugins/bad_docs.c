/* Accepted, but hard to use: each test of the family `describe` finds something. Its file is named
 * after another plugin. */
#include "fixtures/plugins/bad.h"

static const char *const choices[] = {"a", "b", "a", NULL};
static const struct sluice_param choice = {.size = SLUICE_SIZED(struct sluice_param),
                                           .kind = SLUICE_PARAM_STRING,
                                           .name = "choice",
                                           .default_value = "a",
                                           .choices = choices,
                                           .doc = "Has a choice twice."};
static const struct sluice_param number = {.size = SLUICE_SIZED(struct sluice_param),
                                           .kind = SLUICE_PARAM_INT,
                                           .flags = SLUICE_PARAM_RANGED,
                                           .name = "number",
                                           .default_value = "-1",
                                           .min = 0,
                                           .max = 9,
                                           .doc = "Its default is out of range."};
static const struct sluice_param *const params[] = {&choice, &number, NULL};
static const struct sluice_port input = {
    .size = SLUICE_SIZED(struct sluice_port), .name = "text", .type = "text/1"};
static const struct sluice_port *const inputs[] = {&input, NULL};

BAD_STAGE("fine_docs/stage", .inputs = inputs, .params = params)

SLUICE_EXPORT const struct sluice_plugin sluice_plugin_entry = {
    SLUICE_PLUGIN_HEADER, .name = "fine_docs", .version = "1", .licence = "MIT", .stages = stages};
