/*
 * sluice-fetch: downloads models for `sluice models get`, and checks them for `sluice models
 * verify`. A program of its own, with libcurl and libcrypto, so that the core starts light; never
 * run by a pipeline.
 *
 *     sluice-fetch get FOLDER NAME OWNER/REPO REVISION ENDPOINT TIMEOUT_S [FILE.bin]
 *     sluice-fetch verify PATH
 *
 * `sluice` checks the words and fills in the defaults. Exit: 0, 1 failed, 2 bad usage, 130
 * interrupted.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/stop.h"
#include "base/str.h"
#include "base/units.h"
#include "fetch/get.h"

static int get(char **words, int signals, struct sl_err *err) {
    const char *token = getenv("HF_TOKEN");
    int64_t timeout_s;
    if (!sl_parse_int(words[5], &timeout_s) || timeout_s < 1 || timeout_s > 86400)
        return sl_err_set(err, SL_USAGE, "the time-out \"%s\" is not a number of seconds",
                          words[5]);
    const struct sl_get get = {
        .folder = words[0],
        .name = words[1],
        .repo = words[2],
        .file = words[6],
        .revision = words[3],
        .http = {.endpoint = words[4],
                 .token = token && *token ? token : NULL,
                 .timeout_s = (int)timeout_s,
                 .signals = signals},
    };
    return sl_get_model(&get, err);
}

int main(int argc, char **argv) {
    struct sl_err err = {0};
    int rc, signals = sl_stop_open();
    setvbuf(stdout, NULL, _IOLBF, 0);
    if ((argc == 8 || argc == 9) && strcmp(argv[1], "get") == 0)
        rc = get(argv + 2, signals, &err);
    else if (argc == 3 && strcmp(argv[1], "verify") == 0)
        rc = sl_verify_model(argv[2], signals, &err);
    else
        rc = sl_err_set(&err, SL_USAGE, "sluice-fetch is run by `sluice models`");
    if (rc < 0)
        fprintf(stderr, "sluice: %s\n", err.msg);
    if (argc >= 8 && (rc == SLUICE_CANCELLED || rc == SLUICE_TRANSIENT))
        fprintf(stderr, "what was downloaded is kept: the same command continues there\n");
    return rc == 0 ? 0 : rc == SLUICE_CANCELLED ? 130 : rc == SL_USAGE ? 2 : 1;
}
