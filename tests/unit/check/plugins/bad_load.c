/* Does at load what a plugin must not do: prints, leaves a file open, starts a thread, takes its
 * time, exports a second symbol. It is linked with an executable stack and a search path of the
 * build. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "fixtures/plugins/bad.h"

BAD_STAGE("bad_load/stage", .flags = 0)

SLUICE_EXPORT int bad_load_second_symbol(void);

int bad_load_second_symbol(void) {
    return 1;
}

static void *sleep_for_ever(void *arg) {
    for (;;)
        pause();
    return arg;
}

__attribute__((constructor)) static void at_load(void) {
    pthread_t thread;
    puts("hello from a constructor");
    (void)!open("/dev/null", O_RDONLY | O_CLOEXEC);
    pthread_create(&thread, NULL, sleep_for_ever, NULL);
    usleep(300000);
}

SLUICE_EXPORT const struct sluice_plugin sluice_plugin_entry = {
    SLUICE_PLUGIN_HEADER, .name = "bad_load", .version = "1", .licence = "MIT", .stages = stages};
