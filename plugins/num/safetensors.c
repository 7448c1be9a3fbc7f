/*
 * Reader and writer of safetensors; the format is drawn in safetensors.h.
 *
 * The reader takes nothing on trust: header length, JSON types, products of shapes and offsets are
 * checked with overflow-safe arithmetic before a pointer is made. Tensors are sorted by offset and
 * must follow each other without gap or overlap up to the end of the file, as the format demands;
 * so a cut file is found at once. It does not read files in several shards, and it converts only
 * F32, F16 and BF16.
 */
#include "num/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "num/half.h"

#define PREFIX_BYTES     8
#define MAX_HEADER_BYTES (100u << 20) /* the limit of the reference reader */
#define METADATA_KEY     "__metadata__"

static const struct {
    const char *name;
    size_t size;
} dtypes[NUM_N_DTYPES] = {
    [NUM_BOOL] = {"BOOL", 1},       [NUM_U8] = {"U8", 1},           [NUM_I8] = {"I8", 1},
    [NUM_F8_E4M3] = {"F8_E4M3", 1}, [NUM_F8_E5M2] = {"F8_E5M2", 1}, [NUM_I16] = {"I16", 2},
    [NUM_U16] = {"U16", 2},         [NUM_F16] = {"F16", 2},         [NUM_BF16] = {"BF16", 2},
    [NUM_I32] = {"I32", 4},         [NUM_U32] = {"U32", 4},         [NUM_F32] = {"F32", 4},
    [NUM_I64] = {"I64", 8},         [NUM_U64] = {"U64", 8},         [NUM_F64] = {"F64", 8},
};

const char *num_dtype_name(enum num_dtype dtype) {
    return dtypes[dtype].name;
}

size_t num_dtype_size(enum num_dtype dtype) {
    return dtypes[dtype].size;
}

static bool dtype_parse(const char *name, enum num_dtype *ret) {
    for (int i = 0; name && i < NUM_N_DTYPES; i++)
        if (strcmp(dtypes[i].name, name) == 0) {
            *ret = (enum num_dtype)i;
            return true;
        }
    return false;
}

void num_shape_text(const uint64_t *shape, uint32_t n_dims, char *text, size_t size) {
    size_t at = (size_t)snprintf(text, size, "[");
    for (uint32_t i = 0; i < n_dims && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%" PRIu64, i ? ", " : "", shape[i]);
    if (at < size)
        snprintf(text + at, size - at, "]");
}

/* Elements of a shape, and their bytes; false on overflow. */
static bool shape_size(const uint64_t *shape, uint32_t n_dims, enum num_dtype dtype,
                       uint64_t *ret_elements, uint64_t *ret_bytes) {
    uint64_t n = 1;
    for (uint32_t i = 0; i < n_dims; i++)
        if (__builtin_mul_overflow(n, shape[i], &n))
            return false;
    *ret_elements = n;
    return !__builtin_mul_overflow(n, (uint64_t)dtypes[dtype].size, ret_bytes);
}

/* ---- Reading -------------------------------------------------------------------------------- */

struct reader {
    const uint8_t *data; /* behind the header */
    uint64_t data_len;
    const char *file;
    struct num_err *err;
};

#define REFUSE(r, ...) num_fail((r)->err, SLUICE_INPUT, __VA_ARGS__)

static bool read_u64(const json_t *value, uint64_t *ret) {
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *ret = (uint64_t)json_integer_value(value);
    return true;
}

static int32_t read_shape(const struct reader *r, const json_t *shape, struct num_tensor *t) {
    size_t n = json_array_size(shape);
    if (!json_is_array(shape) || n > NUM_MAX_DIMS)
        return REFUSE(r, "%s: tensor %s has no usable shape (a list of at most %d numbers)",
                      r->file, t->name, NUM_MAX_DIMS);
    t->n_dims = (uint32_t)n;
    for (size_t i = 0; i < n; i++)
        if (!read_u64(json_array_get(shape, i), &t->shape[i]))
            return REFUSE(r, "%s: the shape of tensor %s holds something that is not a size",
                          r->file, t->name);
    return SLUICE_OK;
}

static int32_t read_tensor(const struct reader *r, const char *name, const json_t *entry,
                           struct num_tensor *t) {
    *t = (struct num_tensor){.name = name};
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    if (!dtype_parse(dtype, &t->dtype))
        return REFUSE(r, "%s: tensor %s has the unknown dtype %s", r->file, name,
                      dtype ? dtype : "(none)");
    int32_t status = read_shape(r, json_object_get(entry, "shape"), t);
    if (status)
        return status;
    const json_t *offsets = json_object_get(entry, "data_offsets");
    uint64_t begin, end, bytes;
    if (json_array_size(offsets) != 2 || !read_u64(json_array_get(offsets, 0), &begin) ||
        !read_u64(json_array_get(offsets, 1), &end))
        return REFUSE(r, "%s: tensor %s has no usable data_offsets", r->file, name);
    if (begin > end || end > r->data_len)
        return REFUSE(r,
                      "%s: tensor %s lies at bytes %" PRIu64 " to %" PRIu64 " of %" PRIu64
                      ": the file is cut short or damaged",
                      r->file, name, begin, end, r->data_len);
    if (!shape_size(t->shape, t->n_dims, t->dtype, &t->n_elements, &bytes) || bytes != end - begin)
        return REFUSE(r, "%s: tensor %s takes %" PRIu64 " bytes, which does not fit its shape",
                      r->file, name, end - begin);
    t->data = r->data + begin;
    return SLUICE_OK;
}

static int by_data(const void *a, const void *b) {
    const struct num_tensor *x = a, *y = b;
    if (x->data != y->data)
        return (const char *)x->data < (const char *)y->data ? -1 : 1;
    return x->n_elements < y->n_elements ? -1
                                         : x->n_elements > y->n_elements; /* empty ones first */
}

static int32_t check_back_to_back(const struct reader *r, const struct num_safetensors *st) {
    const uint8_t *expected = r->data;
    for (size_t i = 0; i < st->n_tensors; i++) {
        const struct num_tensor *t = &st->tensors[i];
        if (t->data != expected)
            return REFUSE(r, "%s: tensor %s %s", r->file, t->name,
                          (const uint8_t *)t->data < expected ? "overlaps the one before it"
                                                              : "leaves a gap before it");
        expected += t->n_elements * dtypes[t->dtype].size;
    }
    if (expected != r->data + r->data_len)
        return REFUSE(r, "%s: %zu bytes at the end belong to no tensor", r->file,
                      (size_t)(r->data + r->data_len - expected));
    return SLUICE_OK;
}

static int32_t read_meta(const struct reader *r, json_t *object, struct num_safetensors *st) {
    const char *key;
    json_t *value;
    st->meta = calloc(json_object_size(object) + 1, sizeof *st->meta);
    if (!st->meta)
        return num_fail_memory(r->err, "metadata", json_object_size(object));
    json_object_foreach(object, key, value) {
        if (!json_is_string(value))
            return REFUSE(r, "%s: metadata %s is not a string", r->file, key);
        st->meta[st->n_meta++] = (struct num_meta){key, json_string_value(value)};
    }
    return SLUICE_OK;
}

static int32_t read_entries(const struct reader *r, json_t *header, struct num_safetensors *st) {
    const char *name;
    json_t *entry;
    st->tensors = calloc(json_object_size(header) + 1, sizeof *st->tensors);
    if (!st->tensors)
        return num_fail_memory(r->err, "the list of tensors", json_object_size(header));
    json_object_foreach(header, name, entry) {
        int32_t status;
        if (!json_is_object(entry))
            return REFUSE(r, "%s: the entry %s is not an object", r->file, name);
        if (strcmp(name, METADATA_KEY) == 0)
            status = read_meta(r, entry, st);
        else
            status = read_tensor(r, name, entry, &st->tensors[st->n_tensors++]);
        if (status)
            return status;
    }
    qsort(st->tensors, st->n_tensors, sizeof *st->tensors, by_data);
    return check_back_to_back(r, st);
}

static uint64_t load_le64(const uint8_t *p) {
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

int32_t num_safetensors_parse(const void *data, size_t len, const char *file,
                              struct num_safetensors *ret, struct num_err *err) {
    const uint8_t *bytes = data;
    struct reader r = {.file = file, .err = err};
    if (len < PREFIX_BYTES)
        return REFUSE(&r, "%s: %zu bytes are too few for a safetensors file", file, len);
    uint64_t header_len = load_le64(bytes);
    if (header_len > len - PREFIX_BYTES || header_len > MAX_HEADER_BYTES)
        return REFUSE(&r,
                      "%s: not a safetensors file, or cut short (it announces a header of %" PRIu64
                      " bytes and has %zu)",
                      file, header_len, len - PREFIX_BYTES);
    r.data = bytes + PREFIX_BYTES + header_len;
    r.data_len = len - PREFIX_BYTES - header_len;

    json_error_t json_err;
    json_t *header = json_loadb((const char *)bytes + PREFIX_BYTES, header_len,
                                JSON_REJECT_DUPLICATES, &json_err);
    if (!json_is_object(header)) {
        json_decref(header);
        return REFUSE(&r, "%s: the header is not a JSON object (%s)", file, json_err.text);
    }
    struct num_safetensors st = {.json = header};
    int32_t status = read_entries(&r, header, &st);
    if (status)
        num_safetensors_close(&st);
    else
        *ret = st;
    return status;
}

static int32_t map_file(const char *path, void **ret_map, size_t *ret_len, struct num_err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) < 0) {
        int32_t status = num_fail(err, SLUICE_INPUT, "cannot open %s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return status;
    }
    int32_t status = SLUICE_OK;
    void *map = MAP_FAILED;
    if (!S_ISREG(info.st_mode) || info.st_size < PREFIX_BYTES)
        status = num_fail(err, SLUICE_INPUT, "%s is not a safetensors file", path);
    else if ((map = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0)) == MAP_FAILED)
        status = num_fail(err, SLUICE_RESOURCE, "cannot map %s: %s", path, strerror(errno));
    close(fd);
    if (!status) {
        *ret_map = map;
        *ret_len = (size_t)info.st_size;
    }
    return status;
}

int32_t num_safetensors_open(const char *path, struct num_safetensors *ret, struct num_err *err) {
    void *map = NULL;
    size_t len = 0;
    int32_t status = map_file(path, &map, &len, err);
    if (status)
        return status;
    status = num_safetensors_parse(map, len, path, ret, err);
    if (status) {
        munmap(map, len);
        return status;
    }
    ret->map = map;
    ret->map_len = len;
    return SLUICE_OK;
}

void num_safetensors_close(struct num_safetensors *st) {
    free(st->tensors);
    free(st->meta);
    json_decref(st->json);
    if (st->map)
        munmap(st->map, st->map_len);
    *st = (struct num_safetensors){0};
}

const struct num_tensor *num_safetensors_find(const struct num_safetensors *st, const char *name) {
    for (size_t i = 0; i < st->n_tensors; i++)
        if (strcmp(st->tensors[i].name, name) == 0)
            return &st->tensors[i];
    return NULL;
}

const char *num_safetensors_meta(const struct num_safetensors *st, const char *key) {
    for (size_t i = 0; i < st->n_meta; i++)
        if (strcmp(st->meta[i].key, key) == 0)
            return st->meta[i].value;
    return NULL;
}

bool num_tensor_is_float(const struct num_tensor *t) {
    return t->dtype == NUM_F32 || t->dtype == NUM_F16 || t->dtype == NUM_BF16;
}

void num_tensor_to_f32(const struct num_tensor *t, float *ret) {
    const uint8_t *src = t->data;
    if (t->dtype == NUM_F32) {
        if (t->n_elements)
            memcpy(ret, src, t->n_elements * sizeof(float));
        return;
    }
    for (uint64_t i = 0; i < t->n_elements; i++) {
        uint16_t bits;
        memcpy(&bits, src + 2 * i, sizeof bits);
        ret[i] = t->dtype == NUM_F16 ? num_f16_to_f32(bits) : num_bf16_to_f32(bits);
    }
}

/* ---- Writing -------------------------------------------------------------------------------- */

static bool add_new(json_t *object, const char *key, json_t *value) {
    if (!key || json_object_get(object, key)) {
        json_decref(value);
        return false;
    }
    return json_object_set_new(object, key, value) == 0;
}

static json_t *tensor_entry(const struct num_tensor *t, uint64_t *offset) {
    uint64_t n, bytes, end;
    if (t->n_dims > NUM_MAX_DIMS || !shape_size(t->shape, t->n_dims, t->dtype, &n, &bytes) ||
        __builtin_add_overflow(*offset, bytes, &end) || end > INT64_MAX)
        return NULL;
    json_t *shape = json_array();
    for (uint32_t i = 0; i < t->n_dims; i++)
        json_array_append_new(shape, json_integer((json_int_t)t->shape[i]));
    json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtypes[t->dtype].name, "shape",
                              shape, "data_offsets", (json_int_t)*offset, (json_int_t)end);
    *offset = end;
    return entry;
}

static bool add_meta(json_t *header, const struct num_meta *meta, size_t n) {
    json_t *object = json_object();
    for (size_t i = 0; i < n; i++)
        if (!add_new(object, meta[i].key, json_string(meta[i].value))) {
            json_decref(object);
            return false;
        }
    return add_new(header, METADATA_KEY, object);
}

/* The JSON, padded with blanks behind its length prefix; malloc'ed, NULL without memory. */
static void *frame_header(const char *json, size_t min_bytes, size_t *ret_len) {
    size_t n = strlen(json), total = PREFIX_BYTES + n;
    if (total < min_bytes)
        total = min_bytes;
    total = (total + 7) / 8 * 8;
    uint8_t *header = malloc(total);
    if (!header)
        return NULL;
    for (int i = 0; i < PREFIX_BYTES; i++)
        header[i] = (uint8_t)((uint64_t)(total - PREFIX_BYTES) >> (8 * i));
    memcpy(header + PREFIX_BYTES, json, n);
    memset(header + PREFIX_BYTES + n, ' ', total - PREFIX_BYTES - n);
    *ret_len = total;
    return header;
}

int32_t num_safetensors_header(const struct num_tensor *tensors, size_t n_tensors,
                               const struct num_meta *meta, size_t n_meta, size_t min_bytes,
                               void **ret_header, size_t *ret_len, struct num_err *err) {
    json_t *header = json_object();
    uint64_t offset = 0;
    bool ok = header && (n_meta == 0 || add_meta(header, meta, n_meta));
    if (!ok)
        num_fail(err, SLUICE_INTERNAL, "the metadata are not distinct keys with UTF-8 values");
    for (size_t i = 0; ok && i < n_tensors; i++) {
        json_t *entry = tensor_entry(&tensors[i], &offset);
        ok = entry && add_new(header, tensors[i].name, entry);
        if (!ok)
            num_fail(err, SLUICE_INTERNAL,
                     "tensor %s cannot be written: its name or its size is not usable",
                     tensors[i].name ? tensors[i].name : "(no name)");
    }
    char *json = ok ? json_dumps(header, JSON_COMPACT) : NULL;
    json_decref(header);
    if (!ok)
        return SLUICE_INTERNAL;
    size_t len;
    void *framed = json ? frame_header(json, min_bytes, &len) : NULL;
    free(json);
    if (!framed)
        return num_fail_memory(err, "a safetensors header", min_bytes);
    *ret_header = framed;
    *ret_len = len;
    return SLUICE_OK;
}
