/* Reads `retry:`, `timeout:`, `resources:`, `device:`, `keep:` and `on_oom:` over what was set
 * before (the defaults). */
#ifndef CONFIG_POLICY_READ_H
#define CONFIG_POLICY_READ_H

#include "config/policy.h"
#include "config/yaml.h"

/* `what` opens messages: `stage "asr"`. A NULL node changes nothing; mistakes leave their member as
 * it was. */
void sl_retry_read(const char *what, const struct sl_yaml *node, struct sl_retry_policy *policy,
                   struct sl_diags *diags);
void sl_timeouts_read(const char *what, const struct sl_yaml *node, struct sl_timeouts *timeouts,
                      struct sl_diags *diags);
void sl_resources_read(const char *what, const struct sl_yaml *node, struct sl_resources *resources,
                       struct sl_diags *diags);
void sl_device_read(const char *what, const struct sl_yaml *node, struct sl_device *device,
                    struct sl_diags *diags);
/* `keep: none | batch | 5m`, or a map with `for` in its place. */
void sl_cache_read(const char *what, const struct sl_yaml *node, enum sl_cache_use_kind *ret,
                   struct sl_diags *diags);
void sl_keep_read(const char *what, const struct sl_yaml *node, struct sl_keep *keep,
                  struct sl_diags *diags);
void sl_on_oom_read(const char *what, const struct sl_yaml *node, struct sl_oom_policy *policy,
                    struct sl_diags *diags);
/* `sandbox: default | none` and `network: true | false`. */
void sl_sandbox_read(const char *what, const struct sl_yaml *node, bool *sandbox,
                     struct sl_diags *diags);
void sl_network_read(const char *what, const struct sl_yaml *node, bool *network,
                     struct sl_diags *diags);
/* `optional: true`, short for `retry: { then: ignore }`. */
void sl_optional_read(const char *what, const struct sl_yaml *node, struct sl_retry_policy *policy,
                      struct sl_diags *diags);

#endif
