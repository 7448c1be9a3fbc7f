/*
 * Files of models: see files.h. Not done: a file that another program cuts while it is mapped ends
 * the process with SIGBUS.
 */
#include "num/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#define MAX_FILE_BYTES (64u << 20)
#define MAX_SHARDS     1000
#define MAX_ENTRIES    (1u << 16) /* a language model of 70 billion weights has 723 */
#define SUFFIX         ".safetensors"

/* ---- Files ---------------------------------------------------------------------------------- */

int32_t num_file_join(const char *folder, const char *file, char path[NUM_MAX_PATH],
                      struct num_err *err) {
    int n = snprintf(path, NUM_MAX_PATH, "%s/%s", folder, file);
    if (n < 0 || n >= NUM_MAX_PATH)
        return num_fail(err, SLUICE_INPUT, "the path of the model is longer than %d bytes",
                        NUM_MAX_PATH);
    return SLUICE_OK;
}

bool num_file_exists(const char *folder, const char *file) {
    char path[NUM_MAX_PATH];
    return num_file_join(folder, file, path, NULL) == SLUICE_OK && access(path, F_OK) == 0;
}

/* What is left of an open file, malloc'ed; NULL with errno, EFBIG where it is too large. */
static char *read_all(FILE *f, size_t *ret_len) {
    size_t size = 1 << 16, len = 0, got;
    char *text = malloc(size);
    while (text && (got = fread(text + len, 1, size - len, f)) > 0) {
        len += got;
        if (len < size)
            continue;
        char *bigger = size < MAX_FILE_BYTES ? realloc(text, size *= 2) : NULL;
        if (!bigger) {
            free(text);
            errno = EFBIG;
        }
        text = bigger;
    }
    if (text && ferror(f)) {
        free(text);
        return NULL;
    }
    *ret_len = len;
    return text;
}

/* Opens a file for reading, -1 with errno; a pipe or a device is not waited for but refused. */
static int open_regular(const char *path, uint64_t *ret_len) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat info;
    if (fd < 0)
        return -1;
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) {
        *ret_len = (uint64_t)info.st_size;
        return fd;
    }
    close(fd);
    errno = EINVAL;
    return -1;
}

int32_t num_file_read(const char *folder, const char *file, bool optional, const char *wanted,
                      char **ret, size_t *ret_len, struct num_err *err) {
    char path[NUM_MAX_PATH];
    uint64_t size;
    int32_t status = num_file_join(folder, file, path, err);
    if (status)
        return status;
    int fd = open_regular(path, &size);
    if (fd < 0 && optional && errno == ENOENT) {
        *ret = NULL;
        *ret_len = 0;
        return SLUICE_OK;
    }
    FILE *f = fd < 0 ? NULL : fdopen(fd, "rb");
    if (!f)
        return num_fail(err, SLUICE_INPUT, "cannot open %s: %s; %s", path, strerror(errno), wanted);
    char *text = read_all(f, ret_len);
    if (!text)
        num_fail(err, SLUICE_INPUT, "cannot read %s: %s", path, strerror(errno));
    fclose(f);
    if (!text)
        return SLUICE_INPUT;
    *ret = text;
    return SLUICE_OK;
}

int32_t num_file_map(const char *path, void **ret_map, size_t *ret_len, struct num_err *err) {
    uint64_t len = 0;
    int fd = open_regular(path, &len);
    if (fd < 0 && errno != EINVAL)
        return num_fail(err, SLUICE_INPUT, "cannot open %s: %s", path, strerror(errno));
    if (fd < 0 || len == 0) {
        if (fd >= 0)
            close(fd);
        return num_fail(err, SLUICE_INPUT, "%s is not a model: it is empty or no file", path);
    }
    void *map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
    int32_t status = SLUICE_OK;
    if (map == MAP_FAILED)
        status = num_fail(err, SLUICE_RESOURCE, "cannot map %s: %s", path, strerror(errno));
    close(fd);
    if (status)
        return status;
    madvise(map, len, MADV_WILLNEED);
    *ret_map = map;
    *ret_len = len;
    return SLUICE_OK;
}

void num_file_unmap(void *map, size_t len) {
    munmap(map, len);
}

void num_file_forget(const void *from, size_t len) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = (uintptr_t)from;
    uintptr_t end = (first + len) / page * page;
    first = (first + page - 1) / page * page;
    if (end > first)
        madvise((void *)first, end - first, MADV_DONTNEED);
}

/* ---- The index of shards -------------------------------------------------------------------- */

static bool is_file_name(const char *name) {
    size_t len = name ? strlen(name) : 0, suffix = strlen(SUFFIX);
    return len > suffix && len < 256 && name[0] != '.' && !strchr(name, '/') &&
           strcmp(name + len - suffix, SUFFIX) == 0;
}

/* The number of file `name`, added where it is new; MAX_SHARDS where there are too many. */
static size_t file_number(struct num_shards *s, const char *name) {
    for (size_t i = s->n_files; i-- > 0;)
        if (strcmp(s->files[i], name) == 0)
            return i;
    if (s->n_files < MAX_SHARDS)
        s->files[s->n_files++] = name;
    else
        return MAX_SHARDS;
    return s->n_files - 1;
}

static int32_t read_map(const json_t *map, const char *file, struct num_shards *s,
                        struct num_err *err) {
    const char *tensor;
    json_t *value;
    if (!json_is_object(map) || json_object_size(map) == 0)
        return num_fail(err, SLUICE_INPUT,
                        "%s has no weight_map that names the file of each tensor", file);
    if (json_object_size(map) > MAX_ENTRIES)
        return num_fail(err, SLUICE_INPUT, "%s names %zu tensors, more than %u", file,
                        json_object_size(map), MAX_ENTRIES);
    s->entries = calloc(json_object_size(map), sizeof *s->entries);
    s->files = calloc(MAX_SHARDS, sizeof *s->files);
    if (!s->entries || !s->files)
        return num_fail_memory(err, "the list of tensors", json_object_size(map));
    json_object_foreach((json_t *)map, tensor, value) {
        const char *name = json_string_value(value);
        if (!is_file_name(name))
            return num_fail(err, SLUICE_INPUT,
                            "%s: tensor %.100s is to be in %.100s, which is not the name of a "
                            "safetensors file beside it",
                            file, tensor, name ? name : "(no string)");
        size_t number = file_number(s, name);
        if (number == MAX_SHARDS)
            return num_fail(err, SLUICE_INPUT, "%s names more than %d files", file, MAX_SHARDS);
        s->entries[s->n_entries++] = (struct num_shard_entry){tensor, number};
    }
    return SLUICE_OK;
}

int32_t num_shards_parse(const char *text, size_t len, const char *file, struct num_shards *ret,
                         struct num_err *err) {
    json_error_t why;
    struct num_shards s = {.json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why)};
    if (!s.json)
        return num_fail(err, SLUICE_INPUT, "%s, line %d: %s", file, why.line, why.text);
    int32_t status = read_map(json_object_get(s.json, "weight_map"), file, &s, err);
    if (status)
        num_shards_finish(&s);
    else
        *ret = s;
    return status;
}

void num_shards_finish(struct num_shards *shards) {
    free(shards->files);
    free(shards->entries);
    json_decref(shards->json);
    *shards = (struct num_shards){0};
}
