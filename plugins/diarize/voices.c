/* See voices.h: safetensors by num, names by jansson, folders in the order of names so that results
 * do not depend on the file system. */
#include "diarize/voices.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "num/safetensors.h"

#define MAX_VOICES 10000
#define MAX_SIZE   65536
#define EXTENSION  ".safetensors"

void dz_voices_finish(struct dz_voices *voices) {
    for (size_t i = 0; voices->names && i < voices->n; i++)
        free(voices->names[i]);
    free(voices->names);
    free(voices->rows);
    free(voices->kind);
    *voices = (struct dz_voices){0};
}

static void make_unit(float *x, size_t n) {
    double square = 0;
    for (size_t i = 0; i < n; i++)
        square += (double)x[i] * x[i];
    double scale = square > 0 && isfinite(square) ? 1 / sqrt(square) : 0;
    for (size_t i = 0; i < n; i++)
        x[i] = scale > 0 ? (float)(x[i] * scale) : 0;
}

/* ---- one file ---- */

static int32_t take_names(const char *text, size_t n, const char *file, char ***ret,
                          struct num_err *err) {
    json_t *list = text ? json_loads(text, 0, NULL) : NULL;
    int32_t status = SLUICE_OK;
    if (!json_is_array(list) || json_array_size(list) != n)
        status = num_fail(err, SLUICE_INPUT,
                          "%.200s: the metadata `speakers` has to be a list of %zu names", file, n);
    char **names = status == SLUICE_OK ? calloc(n + 1, sizeof *names) : NULL;
    if (status == SLUICE_OK && !names)
        status = num_fail_memory(err, "names", n * sizeof *names);
    for (size_t i = 0; status == SLUICE_OK && i < n; i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (!name || !*name)
            status = num_fail(err, SLUICE_INPUT, "%.200s: speakers[%zu] is no name", file, i);
        else if (!(names[i] = strdup(name)))
            status = num_fail_memory(err, "names", strlen(name));
    }
    json_decref(list);
    for (size_t i = 0; status != SLUICE_OK && names && i < n; i++)
        free(names[i]);
    if (status == SLUICE_OK)
        *ret = names;
    else
        free(names);
    return status;
}

static int32_t take_rows(const struct num_safetensors *st, const char *file, struct dz_voices *v,
                         struct num_err *err) {
    const struct num_tensor *t = num_safetensors_find(st, "embeddings");
    const char *kind = num_safetensors_meta(st, "kind");
    if (!t || t->n_dims != 2 || !num_tensor_is_float(t) || t->shape[0] > MAX_VOICES ||
        t->shape[1] < 1 || t->shape[1] > MAX_SIZE)
        return num_fail(err, SLUICE_INPUT,
                        "%.200s: a tensor `embeddings` is expected, a row for each speaker", file);
    v->size = t->shape[1];
    v->kind = strdup(kind ? kind : "");
    v->rows = malloc(t->n_elements * sizeof *v->rows + 1);
    if (!v->kind || !v->rows)
        return num_fail_memory(err, "embeddings", t->n_elements * sizeof *v->rows);
    num_tensor_to_f32(t, v->rows);
    int32_t status =
        take_names(num_safetensors_meta(st, "speakers"), t->shape[0], file, &v->names, err);
    v->n = status == SLUICE_OK ? t->shape[0] : 0;
    for (size_t i = 0; i < v->n; i++)
        make_unit(v->rows + i * v->size, v->size);
    return status;
}

static int32_t take(struct num_safetensors *st, const char *file, struct dz_voices *ret,
                    struct num_err *err) {
    struct dz_voices v = {0};
    int32_t status = take_rows(st, file, &v, err);
    num_safetensors_close(st);
    if (status == SLUICE_OK)
        *ret = v;
    else
        dz_voices_finish(&v);
    return status;
}

int32_t dz_voices_read(const void *data, size_t len, const char *file, struct dz_voices *ret,
                       struct num_err *err) {
    struct num_safetensors st = {0};
    int32_t status = num_safetensors_parse(data, len, file, &st, err);
    return status == SLUICE_OK ? take(&st, file, ret, err) : status;
}

/* ---- folders ---- */

/* A known speaker: his rows' sum, which becomes their mean's direction. */
static int32_t add_known(struct dz_voices *known, const char *name, size_t name_len,
                         const struct dz_voices *file, const char *path, struct num_err *err) {
    if (known->n > 0 && (known->size != file->size || strcmp(known->kind, file->kind) != 0))
        return num_fail(
            err, SLUICE_INPUT,
            "%.200s: its embeddings are of the kind %.40s, those before of %.40s; enrol "
            "all speakers with one model",
            path, file->kind, known->kind);
    bool is_new = known->n == 0 || strncmp(known->names[known->n - 1], name, name_len) != 0 ||
                  known->names[known->n - 1][name_len];
    if (is_new) {
        size_t n = known->n + 1;
        char **names = reallocarray(known->names, n, sizeof *names);
        known->names = names ? names : known->names;
        float *rows = reallocarray(known->rows, n * file->size, sizeof *rows);
        known->rows = rows ? rows : known->rows;
        char *kind = known->kind ? known->kind : strdup(file->kind);
        known->kind = kind;
        char *copy = names && rows && kind ? strndup(name, name_len) : NULL;
        if (!copy)
            return num_fail_memory(err, "known speakers", n * file->size * sizeof *rows);
        names[known->n++] = copy;
        known->size = file->size;
        memset(rows + (n - 1) * file->size, 0, file->size * sizeof *rows);
    }
    float *row = known->rows + (known->n - 1) * known->size;
    for (size_t i = 0; i < file->n * file->size; i++)
        row[i % file->size] += file->rows[i];
    return SLUICE_OK;
}

static bool ends_with(const char *name, const char *end) {
    size_t n = strlen(name), m = strlen(end);
    return n > m && strcmp(name + n - m, end) == 0;
}

static int32_t read_known(struct dz_voices *known, const char *folder, const char *file,
                          const char *name, size_t name_len, struct num_err *err) {
    struct num_safetensors st = {0};
    dz_autovoices voices = {0};
    char *path = NULL;
    if (asprintf(&path, "%s/%s", folder, file) < 0)
        return num_fail_memory(err, "known speakers", strlen(folder));
    int32_t status = num_safetensors_open(path, &st, err);
    if (status == SLUICE_OK)
        status = take(&st, path, &voices, err);
    if (status == SLUICE_OK && voices.n != 1)
        status =
            num_fail(err, SLUICE_INPUT,
                     "%.200s holds %zu voices; one is expected of a known speaker", path, voices.n);
    if (status == SLUICE_OK)
        status = add_known(known, name, name_len, &voices, path, err);
    free(path);
    return status;
}

static int visible(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

static int32_t scan(const char *path, struct dirent ***ret, int *ret_n, struct num_err *err) {
    *ret_n = scandir(path, ret, visible, alphasort);
    return *ret_n >= 0 ? SLUICE_OK
                       : num_fail(err, SLUICE_INPUT, "%.300s: %s", path, strerror(errno));
}

static void drop_entries(struct dirent **entries, int n) {
    for (int i = 0; i < n; i++)
        free(entries[i]);
    if (n >= 0)
        free(entries);
}

/* The files of one speaker's folder; one without any knows nobody. */
static int32_t read_subfolder(struct dz_voices *known, const char *path, const char *name,
                              struct num_err *err) {
    struct dirent **entries = NULL;
    int n = 0;
    int32_t status = scan(path, &entries, &n, err);
    for (int i = 0; status == SLUICE_OK && i < n; i++)
        if (ends_with(entries[i]->d_name, EXTENSION))
            status = read_known(known, path, entries[i]->d_name, name, strlen(name), err);
    drop_entries(entries, n);
    return status;
}

static int32_t read_entry(struct dz_voices *known, const char *folder, const char *name,
                          struct num_err *err) {
    struct stat at;
    char *path = NULL;
    if (asprintf(&path, "%s/%s", folder, name) < 0)
        return num_fail_memory(err, "known speakers", strlen(folder));
    int32_t status = SLUICE_OK;
    if (stat(path, &at) == 0 && S_ISDIR(at.st_mode))
        status = read_subfolder(known, path, name, err);
    else if (ends_with(name, EXTENSION))
        status = read_known(known, folder, name, name, strlen(name) - strlen(EXTENSION), err);
    free(path);
    return status;
}

int32_t dz_voices_read_folder(const char *path, struct dz_voices *ret, struct num_err *err) {
    struct dz_voices known = {0};
    struct dirent **entries = NULL;
    int n = 0;
    int32_t status = scan(path, &entries, &n, err);
    for (int i = 0; status == SLUICE_OK && i < n; i++)
        status = read_entry(&known, path, entries[i]->d_name, err);
    drop_entries(entries, n);
    for (size_t i = 0; i < known.n; i++)
        make_unit(known.rows + i * known.size, known.size);
    if (status == SLUICE_OK)
        *ret = known;
    else
        dz_voices_finish(&known);
    return status;
}

/* ---- output, comparison ---- */

int32_t dz_voices_write(const struct dz_voices *voices, size_t row, const char *name, void **ret,
                        size_t *ret_len, struct num_err *err) {
    struct num_tensor tensor = {
        .name = "embeddings", .dtype = NUM_F32, .n_dims = 2, .shape = {1, voices->size}};
    json_t *list = json_pack("[s]", name);
    char *names = list ? json_dumps(list, JSON_COMPACT) : NULL;
    json_decref(list);
    if (!names)
        return num_fail_memory(err, "the name", strlen(name));
    struct num_meta meta[] = {{"speakers", names}, {"kind", voices->kind}};
    void *header = NULL;
    size_t len = 0, row_bytes = voices->size * sizeof *voices->rows;
    int32_t status = num_safetensors_header(&tensor, 1, meta, 2, 0, &header, &len, err);
    free(names);
    char *all = status == SLUICE_OK ? realloc(header, len + row_bytes) : NULL;
    if (!all) {
        free(header);
        return status == SLUICE_OK ? num_fail_memory(err, "the voice", len + row_bytes) : status;
    }
    memcpy(all + len, voices->rows + row * voices->size, row_bytes);
    *ret = all;
    *ret_len = len + row_bytes;
    return SLUICE_OK;
}

struct dz_likeness dz_voices_compare(const struct dz_voices *voices, size_t row,
                                     const struct dz_voices *known) {
    struct dz_likeness like = {0, -2, -2};
    const float *x = voices->rows + row * voices->size;
    for (size_t k = 0; k < known->n; k++) {
        double score = 0;
        for (size_t i = 0; i < known->size; i++)
            score += (double)x[i] * known->rows[k * known->size + i];
        if (score > like.score) {
            like.next = like.score;
            like.score = score;
            like.best = k;
        } else if (score > like.next) {
            like.next = score;
        }
    }
    return like;
}
