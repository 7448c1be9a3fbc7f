/*
 * Picks a model's files from a repository's listing: see repo.h.
 *
 * Small files first, weights last. Names come from elsewhere: only the few that are asked for by
 * name, and shards of exactly the usual pattern, ever become a path.
 */
#include "fetch/repo.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

#define WEIGHTS "model.safetensors"
#define INDEX   "model.safetensors.index.json"

/* The commit of a revision, or a digest: hexadecimal digits, exactly so many. */
static bool is_hex(const char *text, size_t len) {
    if (!text || strlen(text) != len)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isxdigit((unsigned char)text[i]))
            return false;
    return true;
}

static const json_t *find(const json_t *siblings, const char *name) {
    size_t i;
    json_t *file;
    json_array_foreach((json_t *)siblings, i,
                       file) if (strcmp(sl_json_str(file, "rfilename", ""), name) == 0) return file;
    return NULL;
}

static uint64_t size_of(const json_t *object) {
    const json_t *size = json_object_get(object, "size");
    return json_is_integer(size) && json_integer_value(size) >= 0
               ? (uint64_t)json_integer_value(size)
               : UINT64_MAX;
}

static void add(struct sl_repo *repo, const json_t *entry) {
    const json_t *lfs = json_object_get(entry, "lfs");
    const char *sha256 = sl_json_str(lfs, "sha256", NULL),
               *blob = sl_json_str(entry, "blobId", NULL);
    if (!sha256)
        sha256 = sl_json_str(lfs, "oid", NULL);
    struct sl_repo_file *f = &repo->files[repo->n_files++];
    f->name = sl_xstrdup(sl_json_str(entry, "rfilename", ""));
    f->size = size_of(entry);
    if (f->size == UINT64_MAX)
        f->size = size_of(lfs);
    if (is_hex(sha256, 64))
        memcpy(f->sha256, sha256, 65);
    else if (!lfs && is_hex(blob, 40))
        memcpy(f->git_sha1, blob, 41);
}

static bool add_named(struct sl_repo *repo, const json_t *siblings, const char *name) {
    const json_t *entry = find(siblings, name);
    if (entry)
        add(repo, entry);
    return entry != NULL;
}

/* "model-00001-of-00002.safetensors" */
static bool is_shard(const char *name) {
    unsigned i, n;
    char rest[16] = "";
    return strlen(name) == 32 && sscanf(name, "model-%5u-of-%5u.%15s", &i, &n, rest) == 3 &&
           strcmp(rest, "safetensors") == 0 && i >= 1 && i <= n;
}

static void add_shards(struct sl_repo *repo, const json_t *siblings) {
    size_t i;
    json_t *entry;
    json_array_foreach((json_t *)siblings, i, entry) {
        if (is_shard(sl_json_str(entry, "rfilename", "")))
            add(repo, entry);
    }
}

static int pick(struct sl_repo *repo, const json_t *siblings, const char *name,
                struct sl_err *err) {
    if (!add_named(repo, siblings, "config.json"))
        return sl_err_set(err, SLUICE_INPUT, "%s has no config.json: it is not a model", name);
    add_named(repo, siblings, "generation_config.json");
    add_named(repo, siblings, "preprocessor_config.json");
    bool vocab = add_named(repo, siblings, "vocab.json");
    add_named(repo, siblings, "merges.txt");
    bool added = add_named(repo, siblings, "added_tokens.json");
    if (!(vocab && added) && !add_named(repo, siblings, "tokenizer.json"))
        return sl_err_set(err, SLUICE_INPUT,
                          "%s has neither vocab.json and added_tokens.json nor tokenizer.json: "
                          "it has no tokenizer of Whisper",
                          name);
    if (add_named(repo, siblings, WEIGHTS))
        return 0;
    if (!add_named(repo, siblings, INDEX))
        return sl_err_set(err, SLUICE_INPUT,
                          "%s has no " WEIGHTS ": its weights are in a format that Sluice does not "
                          "read",
                          name);
    add_shards(repo, siblings);
    return 0;
}

static int pick_one(struct sl_repo *repo, const json_t *siblings, const char *name,
                    const char *file, struct sl_err *err) {
    if (!sl_ends_with(file, ".bin") || strchr(file, '/') || *file == '.')
        return sl_err_set(err, SL_USAGE, "\"%s\" is not the name of a .bin file", file);
    if (!add_named(repo, siblings, file))
        return sl_err_set(err, SLUICE_INPUT, "%s has no file %s", name, file);
    return 0;
}

int sl_repo_parse(const char *text, size_t len, const char *name, const char *file,
                  struct sl_repo *ret, struct sl_err *err) {
    sl_autojson json_t *answer = NULL;
    struct sl_repo repo = {0};
    if (sl_json_parse(text, len, &answer, err) < 0)
        return sl_err_wrap(err, "the listing of %s", name);
    const char *commit = sl_json_str(answer, "sha", NULL);
    const json_t *siblings = json_object_get(answer, "siblings");
    if (!is_hex(commit, 40) || !json_is_array(siblings) || json_array_size(siblings) > 100000)
        return sl_err_set(
            err, SLUICE_INPUT,
            "the listing of %s names no commit and files: the endpoint does not answer "
            "as Hugging Face does",
            name);
    memcpy(repo.commit, commit, 41);
    repo.files = sl_xcalloc(json_array_size(siblings) + 16, sizeof *repo.files);
    int rc = file ? pick_one(&repo, siblings, name, file, err) : pick(&repo, siblings, name, err);
    if (rc == 0 && repo.n_files > SL_REPO_MAX_FILES)
        rc = sl_err_set(err, SLUICE_INPUT, "%s has more than %d files of weights", name,
                        SL_REPO_MAX_FILES);
    if (rc < 0)
        sl_repo_finish(&repo);
    else
        *ret = repo;
    return rc;
}

void sl_repo_finish(struct sl_repo *repo) {
    for (int i = 0; i < repo->n_files; i++)
        free(repo->files[i].name);
    free(repo->files);
    *repo = (struct sl_repo){0};
}
