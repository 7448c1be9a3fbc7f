/* Text of /proc and of control groups, as a kernel of tomorrow or a folder that only looks like one
 * may hold it. */
#include <stddef.h>
#include <stdint.h>

#include "proc/proctext.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data;
    struct sl_proc_stat stat;
    char root[64], point[64];
    uint64_t value;
    pid_t pids[8];
    sl_proc_stat_parse(text, size, &stat);
    sl_proc_key(text, size, "oom_kill", &value);
    sl_proc_key(text, size, "RssAnon:", &value);
    sl_proc_pids(text, size, pids, 8);
    sl_proc_has_word(text, size, "memory");
    sl_proc_cgroup_path(text, size, root, sizeof root);
    sl_proc_cgroup_mount(text, size, root, point, sizeof root);
    return 0;
}
