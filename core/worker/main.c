/*
 * sluice-worker: the program that loads plugins. Not for use by hand but for --describe.
 *
 *     sluice-worker --socket 3                     serve the core on descriptor 3 (init.h, host.h)
 *     sluice-worker --socket 3 --no-init           the same without an init of its own: under a
 *                                                  debugger
 *     sluice-worker --fork-server 3                fork workers at the core's request on descriptor
 *                                                  3 (forkserver.h)
 *     sluice-worker --gpu 3                        tell the core on descriptor 3 of the cards
 *                                                  (nvml.h)
 *     sluice-worker --sync 3                       bring files of a run to the disk for the core on
 *                                                  descriptor 3 (sync.h)
 *     sluice-worker --describe FILE.so [--fd N]    print what the plugin declares as JSON
 *     sluice-worker --inspect FILE.so --fd N       write what loading it does to a process as JSON
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/exit.h"
#include "base/units.h"
#include "worker/describe.h"
#include "worker/forkserver.h"
#include "worker/host.h"
#include "worker/init.h"
#include "worker/inspect.h"
#include "worker/nvml.h"
#include "worker/sandbox.h"
#include "worker/sync.h"

#define EXIT_USAGE 64

static int usage(void) {
    fprintf(stderr, "usage: sluice-worker --describe FILE.so [--fd N]\n"
                    "       sluice-worker --socket N   (as sluice starts it)\n");
    return EXIT_USAGE;
}

static int parse_fd(const char *text) {
    int64_t fd;
    return sl_parse_int(text, &fd) && fd >= 0 && fd < 1 << 20 ? (int)fd : -1;
}

/* A worker; a fork server has found `base` for all of its. */
static int serve(int socket, const struct sl_sandbox_base *base, bool with_init) {
    if (with_init && sl_init_fork(socket) < 0) {
        perror("sluice-worker: cannot start the plugin's process");
        return 1;
    }
    sl_host_run(socket, base);
}

/* The end skips destructors of libraries that plugins brought along; the description is written by
 * then. */
static _Noreturn void describe(const char *path, int fd) {
    int code = sl_describe(path, fd);
    fflush(NULL);
    sl_exit(code);
}

static _Noreturn void inspect(const char *path, int fd) {
    int code = sl_inspect(path, fd);
    fflush(NULL);
    sl_exit(code);
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "--socket") == 0 && parse_fd(argv[2]) >= 0)
        return serve(parse_fd(argv[2]), NULL, true);
    if (argc == 4 && strcmp(argv[1], "--socket") == 0 && parse_fd(argv[2]) >= 0 &&
        strcmp(argv[3], "--no-init") == 0)
        return serve(parse_fd(argv[2]), NULL, false);
    if (argc == 3 && strcmp(argv[1], "--fork-server") == 0 && parse_fd(argv[2]) >= 0) {
        const struct sl_sandbox_base *base = sl_sandbox_base_find();
        return serve(sl_forkserver_serve(parse_fd(argv[2])), base, true);
    }
    if (argc == 3 && strcmp(argv[1], "--gpu") == 0 && parse_fd(argv[2]) >= 0)
        return sl_nvml_serve(parse_fd(argv[2]));
    if (argc == 3 && strcmp(argv[1], "--sync") == 0 && parse_fd(argv[2]) >= 0)
        return sl_sync_serve(parse_fd(argv[2]));
    if (argc == 3 && strcmp(argv[1], "--describe") == 0)
        describe(argv[2], -1);
    if (argc == 5 && strcmp(argv[1], "--describe") == 0 && strcmp(argv[3], "--fd") == 0 &&
        parse_fd(argv[4]) >= 0)
        describe(argv[2], parse_fd(argv[4]));
    if (argc == 5 && strcmp(argv[1], "--inspect") == 0 && strcmp(argv[3], "--fd") == 0 &&
        parse_fd(argv[4]) >= 0)
        inspect(argv[2], parse_fd(argv[4]));
    return usage();
}
