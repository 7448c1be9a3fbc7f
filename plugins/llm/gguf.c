/*
 * Reader of GGUF files: the layout is in gguf.h.
 *
 * One pass with a cursor that never runs past the end; every count is checked against the bytes
 * that are left before memory is taken for it. Keys and tensors are checked for names that come
 * twice and tensors for data that overlap by sorting, so a hostile file costs n log n.
 */
#include "llm/gguf.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "num/cursor.h"

#define MAX_KEYS      (1u << 16)
#define MAX_TENSORS   (1u << 16) /* a model of 70 billion weights has 723 */
#define MAX_NAME      255
#define MAX_ALIGNMENT (1u << 20)
#define MIN_KEY       (8 + 4 + 1)         /* bytes of the shortest key, */
#define MIN_TENSOR    (8 + 4 + 8 + 4 + 8) /* ... and of the shortest tensor */

static bool take_string(struct num_cursor *r, struct lm_span *ret) {
    uint64_t len;
    const uint8_t *p = num_take_u64(r, &len) ? num_take(r, len) : NULL;
    if (p)
        *ret = (struct lm_span){(const char *)p, len};
    return p != NULL;
}

/* ---- Metadata ------------------------------------------------------------------------------- */

/* Bytes of a value; 0: not of one size. */
static const uint8_t sizes[LM_GGUF_N_TYPES] = {
    [LM_GGUF_U8] = 1,  [LM_GGUF_I8] = 1,  [LM_GGUF_U16] = 2, [LM_GGUF_I16] = 2,
    [LM_GGUF_U32] = 4, [LM_GGUF_I32] = 4, [LM_GGUF_F32] = 4, [LM_GGUF_BOOL] = 1,
    [LM_GGUF_U64] = 8, [LM_GGUF_I64] = 8, [LM_GGUF_F64] = 8,
};

/* Passes over n values of `type`. */
static bool skip_values(struct num_cursor *r, enum lm_gguf_type type, uint64_t n) {
    struct lm_span ignored;
    if (sizes[type])
        return n <= num_left(r) / sizes[type] && num_take(r, n * sizes[type]);
    if (type != LM_GGUF_STRING || n > num_left(r) / 8)
        return false;
    for (uint64_t i = 0; i < n; i++)
        if (!take_string(r, &ignored))
            return false;
    return true;
}

static int32_t read_key(struct num_cursor *r, struct lm_gguf_key *ret) {
    struct lm_gguf_key key = {.n = 1};
    uint32_t type;
    if (!take_string(r, &key.name) || !num_take_u32(r, &type))
        return NUM_REFUSE(r, "%s is cut short: it ends within its metadata", r->file);
    if (key.name.len > UINT16_MAX)
        return NUM_REFUSE(r, "%s: a key of its metadata is %zu bytes long", r->file, key.name.len);
    key.array = type == LM_GGUF_ARRAY;
    if (key.array && (!num_take_u32(r, &type) || !num_take_u64(r, &key.n)))
        return NUM_REFUSE(r, "%s is cut short: it ends within its metadata", r->file);
    if (type >= LM_GGUF_N_TYPES || type == LM_GGUF_ARRAY)
        return NUM_REFUSE(r, "%s: the value of %.*s is of type %" PRIu32 ", which GGUF has not",
                          r->file, (int)key.name.len, key.name.at, type);
    key.type = (enum lm_gguf_type)type;
    key.data = r->data + r->at;
    if (!skip_values(r, key.type, key.n))
        return NUM_REFUSE(r, "%s is cut short: the value of %.*s runs past its end", r->file,
                          (int)(key.name.len < 100 ? key.name.len : 100), key.name.at);
    *ret = key;
    return SLUICE_OK;
}

static int compare_spans(struct lm_span a, struct lm_span b) {
    int order = memcmp(a.at, b.at, a.len < b.len ? a.len : b.len);
    return order ? order : a.len < b.len ? -1 : a.len > b.len;
}

static int by_key(const void *a, const void *b) {
    return compare_spans(((const struct lm_gguf_key *)a)->name,
                         ((const struct lm_gguf_key *)b)->name);
}

static int32_t read_keys(struct num_cursor *r, struct lm_gguf *g, uint64_t n) {
    if (n > MAX_KEYS || n > num_left(r) / MIN_KEY)
        return NUM_REFUSE(r, "%s announces %" PRIu64 " keys, more than can follow", r->file, n);
    g->keys = calloc(n + 1, sizeof *g->keys);
    if (!g->keys)
        return num_fail_memory(r->err, "the metadata of a model", n * sizeof *g->keys);
    for (; g->n_keys < n; g->n_keys++) {
        int32_t status = read_key(r, &g->keys[g->n_keys]);
        if (status)
            return status;
    }
    if (n)
        qsort(g->keys, n, sizeof *g->keys, by_key);
    for (size_t i = 1; i < n; i++)
        if (compare_spans(g->keys[i - 1].name, g->keys[i].name) == 0)
            return NUM_REFUSE(r, "%s has the key %.*s twice", r->file, (int)g->keys[i].name.len,
                              g->keys[i].name.at);
    return SLUICE_OK;
}

const struct lm_gguf_key *lm_gguf_find(const struct lm_gguf *g, const char *prefix,
                                       const char *name) {
    size_t len = strlen(prefix), low = 0, high = g->n_keys;
    char full[160];
    if (len + strlen(name) >= sizeof full)
        return NULL;
    memcpy(full, prefix, len);
    strcpy(full + len, name);
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = compare_spans((struct lm_span){full, strlen(full)}, g->keys[middle].name);
        if (order == 0)
            return &g->keys[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

double lm_gguf_element(const struct lm_gguf_key *key, uint64_t i) {
    const uint8_t *p = key->data + i * sizes[key->type];
    uint64_t n = num_number(p, sizes[key->type]);
    uint32_t low = (uint32_t)n;
    float single;
    double wide;
    memcpy(&single, &low, sizeof single);
    memcpy(&wide, &n, sizeof wide);
    switch (key->type) {
    case LM_GGUF_I8:
        return (int8_t)n;
    case LM_GGUF_I16:
        return (int16_t)n;
    case LM_GGUF_I32:
        return (int32_t)n;
    case LM_GGUF_I64:
        return (double)(int64_t)n;
    case LM_GGUF_F32:
        return single;
    case LM_GGUF_F64:
        return wide;
    default:
        return (double)n;
    }
}

static bool is_number(const struct lm_gguf_key *key) {
    return !key->array && sizes[key->type] && key->type != LM_GGUF_BOOL;
}

int32_t lm_gguf_u32(const struct lm_gguf *g, const char *prefix, const char *name, uint32_t max,
                    uint32_t *ret, struct num_err *err) {
    const struct lm_gguf_key *key = lm_gguf_find(g, prefix, name);
    if (!key)
        return SLUICE_OK;
    double value = is_number(key) ? lm_gguf_element(key, 0) : -1;
    if (!(value >= 0 && value <= max) || value != floor(value))
        return num_fail(err, SLUICE_INPUT,
                        "%s: %s%s is not a whole number from 0 to %" PRIu32
                        " that a model of this kind has",
                        g->file, prefix, name, max);
    *ret = (uint32_t)value;
    return SLUICE_OK;
}

int32_t lm_gguf_f64(const struct lm_gguf *g, const char *prefix, const char *name, double *ret,
                    struct num_err *err) {
    const struct lm_gguf_key *key = lm_gguf_find(g, prefix, name);
    if (!key)
        return SLUICE_OK;
    double value = is_number(key) ? lm_gguf_element(key, 0) : (double)NAN;
    if (!isfinite(value))
        return num_fail(err, SLUICE_INPUT, "%s: %s%s is not a number", g->file, prefix, name);
    *ret = value;
    return SLUICE_OK;
}

bool lm_gguf_bool(const struct lm_gguf *g, const char *name, bool missing) {
    const struct lm_gguf_key *key = lm_gguf_find(g, "", name);
    return key && !key->array && key->type == LM_GGUF_BOOL ? key->data[0] != 0 : missing;
}

struct lm_span lm_gguf_string(const struct lm_gguf *g, const char *prefix, const char *name) {
    const struct lm_gguf_key *key = lm_gguf_find(g, prefix, name);
    struct lm_span span = {NULL, 0};
    if (key && !key->array && key->type == LM_GGUF_STRING)
        lm_gguf_strings(key, &span);
    return span;
}

void lm_gguf_strings(const struct lm_gguf_key *key, struct lm_span *ret) {
    const uint8_t *p = key->data;
    for (uint64_t i = 0; i < key->n; i++) {
        ret[i] = (struct lm_span){(const char *)p + 8, num_number(p, 8)};
        p += 8 + ret[i].len;
    }
}

/* ---- Tensors -------------------------------------------------------------------------------- */

struct place {
    uint64_t begin, end; /* of the data, in bytes behind the first tensor's */
    struct num_weights view;
};

static int32_t read_name(struct num_cursor *r, char *name) {
    struct lm_span span;
    if (!take_string(r, &span))
        return NUM_REFUSE(r, "%s is cut short: it ends within its list of tensors", r->file);
    if (span.len == 0 || span.len > MAX_NAME || memchr(span.at, 0, span.len))
        return NUM_REFUSE(r, "%s: a tensor's name is %zu bytes long, or has a zero in it", r->file,
                          span.len);
    memcpy(name, span.at, span.len);
    name[span.len] = '\0';
    return SLUICE_OK;
}

/* The sizes, outermost first. */
static int32_t read_shape(struct num_cursor *r, struct num_weights *w) {
    if (!num_take_u32(r, &w->n_dims))
        return NUM_REFUSE(r, "%s is cut short: it ends within its list of tensors", r->file);
    if (w->n_dims < 1 || w->n_dims > 4)
        return NUM_REFUSE(r, "%s: tensor %s has %" PRIu32 " sizes where 1 to 4 are possible",
                          r->file, w->name, w->n_dims);
    for (uint32_t i = w->n_dims; i-- > 0;)
        if (!num_take_u64(r, &w->shape[i]))
            return NUM_REFUSE(r, "%s is cut short: it ends within its list of tensors", r->file);
    return SLUICE_OK;
}

static int32_t read_tensor(struct num_cursor *r, char *name, uint32_t alignment,
                           struct place *ret) {
    struct place p = {.view = {.name = name}};
    uint32_t number;
    uint64_t bytes;
    int32_t status = read_name(r, name);
    if (!status)
        status = read_shape(r, &p.view);
    if (status)
        return status;
    if (!num_take_u32(r, &number) || !num_take_u64(r, &p.begin))
        return NUM_REFUSE(r, "%s is cut short: it ends within its list of tensors", r->file);
    if (!num_weight_of_ggml(number, &p.view.type))
        return num_fail(r->err, SLUICE_UNSUPPORTED,
                        "%s: tensor %s is of ggml's type %" PRIu32
                        "; F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K and Q6_K can "
                        "be read",
                        r->file, name, number);
    if (!num_weights_measure(&p.view, &bytes) || __builtin_add_overflow(p.begin, bytes, &p.end) ||
        p.begin % alignment)
        return NUM_REFUSE(r, "%s: size or place of tensor %s make no sense for type %s", r->file,
                          name, num_weight_name(p.view.type));
    *ret = p;
    return SLUICE_OK;
}

static int by_place(const void *a, const void *b) {
    uint64_t x = ((const struct place *)a)->begin, y = ((const struct place *)b)->begin;
    return x < y ? -1 : x > y;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct num_weights *)a)->name, ((const struct num_weights *)b)->name);
}

/* Puts the views where their data are, which begin at `base`. */
static int32_t place_tensors(struct num_cursor *r, struct lm_gguf *g, struct place *places,
                             size_t base) {
    size_t n = g->n_tensors;
    if (n)
        qsort(places, n, sizeof *places, by_place);
    for (size_t i = 0; i < n; i++) {
        if (base > r->len || places[i].end > r->len - base)
            return NUM_REFUSE(r, "%s is cut short: the data of tensor %s run past its end", r->file,
                              places[i].view.name);
        if (i && places[i].begin < places[i - 1].end)
            return NUM_REFUSE(r, "%s: the data of tensors %s and %s overlap", r->file,
                              places[i - 1].view.name, places[i].view.name);
        g->tensors[i] = places[i].view;
        g->tensors[i].data = r->data + base + places[i].begin;
    }
    if (n)
        qsort(g->tensors, n, sizeof *g->tensors, by_name);
    for (size_t i = 1; i < n; i++)
        if (strcmp(g->tensors[i - 1].name, g->tensors[i].name) == 0)
            return NUM_REFUSE(r, "%s has the tensor %s twice", r->file, g->tensors[i].name);
    return SLUICE_OK;
}

static int32_t read_tensors(struct num_cursor *r, struct lm_gguf *g, uint64_t n) {
    uint32_t alignment = 32;
    int32_t status = lm_gguf_u32(g, "", "general.alignment", MAX_ALIGNMENT, &alignment, r->err);
    if (status)
        return status;
    if (alignment < 1 || (alignment & (alignment - 1)))
        return NUM_REFUSE(r, "%s: general.alignment is %" PRIu32 ", not a power of two", r->file,
                          alignment);
    if (n > MAX_TENSORS || n > num_left(r) / MIN_TENSOR)
        return NUM_REFUSE(r, "%s announces %" PRIu64 " tensors, more than can follow", r->file, n);
    struct place *places = calloc(n + 1, sizeof *places);
    g->tensors = calloc(n + 1, sizeof *g->tensors);
    g->names = malloc((n + 1) * (MAX_NAME + 1));
    if (!places || !g->tensors || !g->names)
        status = num_fail_memory(r->err, "a list of tensors", n * sizeof *places);
    for (; !status && g->n_tensors < n; g->n_tensors += !status)
        status = read_tensor(r, g->names + g->n_tensors * (MAX_NAME + 1), alignment,
                             &places[g->n_tensors]);
    if (!status)
        status = place_tensors(r, g, places, (r->at + alignment - 1) / alignment * alignment);
    free(places);
    return status;
}

static int32_t read_all(struct num_cursor *r, struct lm_gguf *g) {
    uint32_t version, parts = 1;
    uint64_t n_tensors, n_keys;
    const uint8_t *magic = num_take(r, 4);
    if (!magic || memcmp(magic, "GGUF", 4) != 0)
        return NUM_REFUSE(r, "%s is not a GGUF file: it does not begin with GGUF", r->file);
    if (!num_take_u32(r, &version) || (version != 2 && version != 3))
        return num_fail(r->err, SLUICE_UNSUPPORTED,
                        "%s is not a GGUF file of version 2 or 3, little-endian", r->file);
    if (!num_take_u64(r, &n_tensors) || !num_take_u64(r, &n_keys))
        return NUM_REFUSE(r, "%s is cut short: it ends within its header", r->file);
    int32_t status = read_keys(r, g, n_keys);
    if (!status)
        status = lm_gguf_u32(g, "", "split.count", UINT16_MAX, &parts, r->err);
    if (!status && parts > 1)
        return num_fail(r->err, SLUICE_UNSUPPORTED,
                        "%s is one of %" PRIu32 " parts of a model; join them with gguf-split "
                        "--merge first",
                        r->file, parts);
    return status ? status : read_tensors(r, g, n_tensors);
}

int32_t lm_gguf_parse(const void *data, size_t len, const char *file, struct lm_gguf *ret,
                      struct num_err *err) {
    struct num_cursor r = {.data = data, .len = len, .file = file, .err = err};
    struct lm_gguf g = {.file = file};
    int32_t status = read_all(&r, &g);
    if (status)
        lm_gguf_finish(&g);
    else
        *ret = g;
    return status;
}

void lm_gguf_finish(struct lm_gguf *g) {
    free(g->keys);
    free(g->tensors);
    free(g->names);
    *g = (struct lm_gguf){0};
}
