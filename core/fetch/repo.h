/*
 * What a Hugging Face repository holds, from the answer of its API to
 *     GET ENDPOINT/api/models/OWNER/REPO/revision/REVISION?blobs=true
 *     {"sha": commit, "siblings": [{"rfilename", "size", "blobId", "lfs": {"sha256", "size"}},
 * ...]} and which of these files make a Whisper model. Pure functions.
 */
#ifndef FETCH_REPO_H
#define FETCH_REPO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define SL_REPO_MAX_FILES 1024

struct sl_repo_file {
    char *name;
    uint64_t size;     /* UINT64_MAX: not said */
    char sha256[65];   /* of large files; "" where not known */
    char git_sha1[41]; /* of small files, as git names a blob; "" where not known */
};

struct sl_repo {
    char commit[65];
    struct sl_repo_file *files; /* those needed, in the order in which they are to be downloaded */
    int n_files;
};

/* Parses the answer and picks the files; with `file` that one alone, a .bin of whisper.cpp. `repo`
 * is for messages. Freed with sl_repo_finish(). SLUICE_INPUT: the answer is not one, or the
 * repository has no Whisper model in safetensors. */
int sl_repo_parse(const char *text, size_t len, const char *repo, const char *file,
                  struct sl_repo *ret, struct sl_err *err);
void sl_repo_finish(struct sl_repo *repo);

#endif
