/*
 * Inspecting, see inspect.h: looks at the own process through /proc before and after the plugin is
 * loaded, in the process where its constructors run. What they undo themselves (a file opened and
 * closed) is not seen.
 */
#include "worker/inspect.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/json.h"
#include "base/mem.h"
#include "worker/describe.h"
#include "worker/loader.h"

#define PRIVATE_FD_FROM 200
#define MAX_FDS         1024

struct state {
    long threads, data_kib;
    bool open[MAX_FDS];
};

/* A number of /proc/self/status, such as "Threads:"; 0 where it is not there. */
static long status_number(const char *key) {
    char line[256];
    long value = 0;
    FILE *f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0)
            value = strtol(line + strlen(key), NULL, 10);
    if (f)
        fclose(f);
    return value;
}

static void look(struct state *s) {
    *s = (struct state){.threads = status_number("Threads:"), .data_kib = status_number("VmData:")};
    for (int fd = 0; fd < MAX_FDS; fd++)
        s->open[fd] = fcntl(fd, F_GETFD) >= 0;
}

static json_t *opened_between(const struct state *before, const struct state *after) {
    json_t *list = json_array();
    char link[64], target[PATH_MAX];
    for (int fd = 0; fd < MAX_FDS; fd++) {
        if (before->open[fd] || !after->open[fd])
            continue;
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, target, sizeof target - 1);
        target[n > 0 ? n : 0] = 0;
        json_array_append_new(list, sl_json_text(target));
    }
    return list;
}

struct libraries {
    json_t *names;
    const char *plugin;
};

static int add_library(struct dl_phdr_info *info, size_t size, void *data) {
    const struct libraries *l = data;
    (void)size;
    if (info->dlpi_name && *info->dlpi_name && strcmp(info->dlpi_name, l->plugin) != 0)
        json_array_append_new(l->names, sl_json_text(info->dlpi_name));
    return 0;
}

static int write_facts(int fd, const json_t *facts) {
    sl_autofree char *line = sl_json_line(facts);
    return sl_write_all(fd, line, strlen(line), NULL) < 0 ? SL_DESCRIBE_EXIT_LOAD : 0;
}

static int load_and_report(const char *path, int fd, int printed_fd) {
    const struct sluice_plugin *plugin;
    struct state before, after;
    struct sl_err err;
    bool load_failed = false;
    look(&before);
    int64_t begin_ns = sl_now_ns();
    int rc = sl_loader_open(path, &plugin, &load_failed, &err);
    double load_ms = (double)(sl_now_ns() - begin_ns) * 1e-6;
    look(&after);
    if (rc < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return load_failed ? SL_DESCRIBE_EXIT_LOAD : SL_DESCRIBE_EXIT_WRONG;
    }
    fflush(stdout);
    struct libraries libraries = {json_array(), path};
    dl_iterate_phdr(add_library, &libraries);
    sl_autojson json_t *facts = json_object();
    sl_json_set(facts, "load_ms", json_real(load_ms));
    sl_json_set(facts, "threads", json_integer(after.threads - before.threads));
    sl_json_set(facts, "printed", json_integer(lseek(printed_fd, 0, SEEK_END)));
    sl_json_set(facts, "data_bytes",
                json_integer(1024 * (json_int_t)(after.data_kib - before.data_kib)));
    sl_json_set(facts, "opened", opened_between(&before, &after));
    sl_json_set(facts, "libraries", libraries.names);
    return write_facts(fd, facts);
}

int sl_inspect(const char *path, int fd) {
    int report = fcntl(fd, F_DUPFD_CLOEXEC, PRIVATE_FD_FROM);
    int printed = memfd_create("standard output", MFD_CLOEXEC);
    if (report < 0 || printed < 0 || dup2(printed, STDOUT_FILENO) < 0) {
        perror("no place for what is found");
        return SL_DESCRIBE_EXIT_LOAD;
    }
    sl_autofree char *full = sl_path_absolute(path);
    return load_and_report(full, report, printed);
}
