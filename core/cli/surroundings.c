/* Descriptors, signals and the environment, see surroundings.h. */
#include "cli/surroundings.h"

#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/units.h"

static void fill_standard_descriptors(void) {
    int fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO)
        fd = open("/dev/null", O_RDWR);
    sl_close(&fd);
}

static void fill_home(void) {
    const char *home = getenv("HOME");
    struct passwd *user = home && *home ? NULL : getpwuid(getuid());
    if (user && user->pw_dir && *user->pw_dir == '/')
        setenv("HOME", user->pw_dir, 1);
}

static bool is_duration(const char *text) {
    double seconds;
    return sl_parse_duration(text, &seconds);
}

static bool is_size(const char *text) {
    uint64_t bytes;
    return sl_parse_size(text, &bytes);
}

static bool is_containment(const char *text) {
    return strcmp(text, "pidns") == 0 || strcmp(text, "keeper") == 0;
}

static bool is_sandbox(const char *text) {
    return strcmp(text, "none") == 0 || strcmp(text, "seccomp") == 0;
}

static void check_environment(void) {
    static const struct {
        const char *name;
        bool (*fits)(const char *text);
        const char *expected;
    } variables[] = {
        {"SLUICE_CACHE_SIZE", is_size, "a size, such as 20GiB"},
        {"SLUICE_CACHE_AGE", is_duration, "a duration, such as 7d"},
        {"SLUICE_OUTPUT_WAIT", is_duration, "a duration, such as 30s"},
        {"SLUICE_NOTIFY_WAIT", is_duration, "a duration, such as 2m"},
        {"SLUICE_GPU_WAIT", is_duration, "a duration, such as 10m"},
        {"SLUICE_CONTAINMENT", is_containment, "pidns or keeper"},
        {"SLUICE_SANDBOX", is_sandbox, "none or seccomp"},
    };
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        const char *text = getenv(variables[i].name);
        if (text && *text && !variables[i].fits(text))
            fprintf(stderr,
                    "sluice: warning: %s=%.100s: expected %s; it counts as if it were not set\n",
                    variables[i].name, text, variables[i].expected);
    }
}

void sl_surroundings_prepare(void) {
    signal(SIGXFSZ, SIG_IGN);
    fill_standard_descriptors();
    fill_home();
    check_environment();
}
