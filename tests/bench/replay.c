/* How long the journal of a large batch takes to be replayed, as `sluice resume` does it.
 *
 *     bench_replay [ITEMS [STAGES [FOLDER]]]      default: 100000 items of 1 and of 4 stages
 *
 * With FOLDER, which has to exist, the journal is left there: `sluice show` reads it where it is a
 * run folder.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"
#include "run/replay.h"
#include "unit/run/made_journal.h"

static void measure(const char *folder, bool keep, int n_items, int n_stages) {
    sl_autofree char *path = sl_path_join(folder, "journal");
    struct sl_journal j;
    struct sl_replay r;
    struct sl_err err = {0};
    if (sl_journal_create(path, &j, &err) < 0)
        exit(1);
    made_journal(&j, n_items, n_stages);
    double mbytes = (double)j.pending.len / 1e6;
    sl_journal_close(&j, &err);
    int64_t began = sl_now_ns();
    int rc = sl_replay_read(folder, &r, &err);
    double seconds = (double)(sl_now_ns() - began) * 1e-9;
    if (!keep)
        unlink(path);
    if (rc < 0) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    printf("%d items of %d stages, %.0f MB: replayed in %.2f s, %d items open\n", n_items, n_stages,
           mbytes, seconds, sl_replay_open_items(&r));
    sl_replay_finish(&r);
}

int main(int argc, char **argv) {
    char folder[] = P_tmpdir "/sluice-bench-XXXXXX";
    int n = argc > 1 ? atoi(argv[1]) : 100000;
    if (argc > 3) {
        measure(argv[3], true, n, atoi(argv[2]));
        return 0;
    }
    if (!mkdtemp(folder))
        return 1;
    if (argc > 2) {
        measure(folder, false, n, atoi(argv[2]));
    } else {
        measure(folder, false, n, 1);
        measure(folder, false, n, 4);
    }
    rmdir(folder);
    return 0;
}
