/* Memory of the machine or its container, see machine.h. */
#include "proc/machine.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/units.h"
#include "proc/proctext.h"
#include "proc/watch.h"

#define TEXT_SIZE  16384
#define PATH_SIZE  4096
#define MAX_LEVELS 32
#define V1_MOUNT   "/sys/fs/cgroup/memory"
#define V1_LINE    ":memory:"

/* Reads a small file whole, "" where it cannot be read. */
static void read_file(const char *folder, const char *name, char ret[TEXT_SIZE]) {
    char path[PATH_SIZE + 64];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    sl_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    for (ssize_t n = 1; fd >= 0 && n > 0 && len<TEXT_SIZE - 1; len += n> 0 ? (size_t)n : 0)
        n = read(fd, ret + len, TEXT_SIZE - 1 - len);
    ret[len] = 0;
}

static bool number(const char *text, uint64_t *ret) {
    char *end;
    *ret = strtoull(text, &end, 10);
    return end != text;
}

void sl_machine_room_bound(struct sl_machine_room *room, const char *limit, const char *usage,
                           const char *stat) {
    uint64_t most, used, file = 0;
    if (!number(limit, &most) || most >= room->capacity)
        return;
    room->capacity = most;
    room->in_group = true;
    if (!number(usage, &used))
        return;
    if (!sl_proc_key(stat, strlen(stat), "total_inactive_file", &file))
        sl_proc_key(stat, strlen(stat), "inactive_file", &file);
    used -= file < used ? file : used;
    uint64_t left = most > used ? most - used : 0;
    if (left < room->available)
        room->available = left;
}

struct names {
    const char *limit, *usage;
};

/* The group at `folder` and those above it, up to the mount point. */
static void bound_by(struct sl_machine_room *room, char *folder, size_t mount_len,
                     const struct names *names) {
    sl_autofree char *limit = sl_xmalloc(TEXT_SIZE), *usage = sl_xmalloc(TEXT_SIZE),
                     *stat = sl_xmalloc(TEXT_SIZE);
    for (int level = 0; level < MAX_LEVELS; level++) {
        read_file(folder, names->limit, limit);
        read_file(folder, names->usage, usage);
        read_file(folder, "memory.stat", stat);
        sl_machine_room_bound(room, limit, usage, stat);
        char *slash = strrchr(folder, '/');
        if (strlen(folder) <= mount_len || !slash)
            return;
        *slash = 0;
    }
}

static void bound_by_v2(struct sl_machine_room *room, const char *groups) {
    static const struct names names = {"memory.max", "memory.current"};
    char mounts[TEXT_SIZE], root[PATH_SIZE], point[PATH_SIZE], path[PATH_SIZE],
        folder[2 * PATH_SIZE];
    read_file("/proc/self", "mountinfo", mounts);
    if (!sl_proc_cgroup_path(groups, strlen(groups), path, sizeof path) ||
        !sl_proc_cgroup_mount(mounts, strlen(mounts), root, point, sizeof root))
        return;
    size_t shared = strcmp(root, "/") == 0 ? 0 : strlen(root);
    const char *below = strncmp(path, root, shared) == 0 ? path + shared : "";
    snprintf(folder, sizeof folder, "%s%s", point, strcmp(below, "/") == 0 ? "" : below);
    bound_by(room, folder, strlen(point), &names);
}

static void bound_by_v1(struct sl_machine_room *room, const char *groups) {
    static const struct names names = {"memory.limit_in_bytes", "memory.usage_in_bytes"};
    const char *line = strstr(groups, V1_LINE), *path = line ? line + strlen(V1_LINE) : "";
    char folder[PATH_SIZE];
    size_t len = strcspn(path, "\n");
    if (!line)
        return;
    snprintf(folder, sizeof folder, "%s%.*s", V1_MOUNT, len > 1 ? (int)len : 0, path);
    bound_by(room, access(folder, F_OK) == 0 ? folder : strcpy(folder, V1_MOUNT), strlen(V1_MOUNT),
             &names);
}

void sl_machine_room(struct sl_machine_room *ret) {
    char text[TEXT_SIZE];
    uint64_t available;
    *ret = (struct sl_machine_room){.capacity = sl_machine_memory()};
    read_file("/proc", "meminfo", text);
    ret->available =
        sl_proc_key(text, strlen(text), "MemAvailable:", &available) ? available : ret->capacity;
    read_file("/proc/self", "cgroup", text);
    bound_by_v2(ret, text);
    bound_by_v1(ret, text);
}
