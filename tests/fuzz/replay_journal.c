/* The journal of a run as a file, which is replayed in two looks: any lines, each with a right
 * checksum before it. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "run/replay.h"

#include "journal_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char folder[64], path[96];
    struct sl_str journal = {0};
    struct sl_replay replay;
    const char *text = (const char *)data;
    journal_of_lines(text, size, &journal);
    snprintf(folder, sizeof folder, "/dev/shm/sluice-fuzz-replay-%d", (int)getpid());
    snprintf(path, sizeof path, "%s/journal", folder);
    mkdir(folder, 0700);
    sl_write_file(path, sl_str_text(&journal), journal.len, NULL);
    if (sl_replay_read(folder, &replay, NULL) == 0) {
        if (sl_replay_open_items(&replay) > replay.n_items || replay.last_worker < 0)
            abort();
        sl_replay_finish(&replay);
    }
    unlink(path);
    rmdir(folder);
    sl_str_finish(&journal);
    return 0;
}
