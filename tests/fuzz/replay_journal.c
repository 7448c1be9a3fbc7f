/* The journal of a run as a file, which is replayed in two looks: any lines, each with a right checksum before it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/io.h"
#include "base/str.h"
#include "run/replay.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char folder[64], path[96];
    struct sl_str journal = {0};
    struct sl_replay replay;
    const char *text = (const char *)data;
    for (size_t at = 0, len; at < size; at += len + 1) {
        const char *newline = memchr(text + at, '\n', size - at);
        len = newline ? (size_t)(newline - text) - at : size - at;
        sl_str_addf(&journal, "%016" PRIx64 " ", (uint64_t)XXH3_64bits(text + at, len));
        sl_str_addn(&journal, text + at, len);
        sl_str_add(&journal, "\n");
    }
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
