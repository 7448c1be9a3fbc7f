/*
 * Checks of payloads, see portcheck.h: a small reader of safetensors headers, and checks of JSON by
 * key.
 *
 * Cheap by intent: of tensors the header is read, not the values; of JSON each segment, region and
 * turn is looked at once.
 *
 * Safetensors: u64 header length, header JSON {name: {dtype, shape, data_offsets: [begin, end]},
 * "__metadata__": {...}}, data (github.com/huggingface/safetensors, "Format").
 */
#include "ipc/portcheck.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

#define HEADER_MAX (100u << 20) /* of the format */
#define RATE       "16000"

#define wrong(err, ...) sl_err_set((err), SLUICE_INTERNAL, __VA_ARGS__)

/* ---- Safetensors ----------------------------------------------------------------------------- */

struct span {
    uint64_t begin, end;
};

static int element_size(const char *dtype) {
    static const struct {
        const char *name;
        int size;
    } sizes[] = {{"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1},
                 {"I16", 2},  {"U16", 2}, {"F16", 2}, {"BF16", 2},    {"I32", 4},
                 {"U32", 4},  {"F32", 4}, {"I64", 8}, {"U64", 8},     {"F64", 8}};
    for (size_t i = 0; dtype && i < sizeof sizes / sizeof *sizes; i++)
        if (strcmp(sizes[i].name, dtype) == 0)
            return sizes[i].size;
    return 0;
}

static bool read_u64(const json_t *value, uint64_t *ret) {
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *ret = (uint64_t)json_integer_value(value);
    return true;
}

static bool shape_bytes(const json_t *shape, int element, uint64_t *ret) {
    uint64_t bytes = (uint64_t)element;
    for (size_t i = 0; i < json_array_size(shape); i++) {
        uint64_t n;
        if (!read_u64(json_array_get(shape, i), &n) || !sl_mul_ok(bytes, n, &bytes))
            return false;
    }
    *ret = bytes;
    return json_is_array(shape);
}

static int check_tensor(const char *name, const json_t *t, uint64_t data_len, struct span *ret,
                        struct sl_err *err) {
    const json_t *offsets = json_object_get(t, "data_offsets");
    int element = element_size(sl_json_str(t, "dtype", NULL));
    uint64_t bytes;
    if (!element)
        return wrong(err, "tensor \"%.100s\" has no known dtype", name);
    if (!shape_bytes(json_object_get(t, "shape"), element, &bytes))
        return wrong(err, "tensor \"%.100s\" has no usable shape", name);
    if (json_array_size(offsets) != 2 || !read_u64(json_array_get(offsets, 0), &ret->begin) ||
        !read_u64(json_array_get(offsets, 1), &ret->end) || ret->end < ret->begin ||
        ret->end > data_len)
        return wrong(err, "tensor \"%.100s\" lies outside the file", name);
    if (ret->end - ret->begin != bytes)
        return wrong(err, "tensor \"%.100s\" has %llu bytes, its shape needs %llu", name,
                     (unsigned long long)(ret->end - ret->begin), (unsigned long long)bytes);
    return 0;
}

static int by_begin(const void *a, const void *b) {
    const struct span *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static int check_cover(struct span *spans, size_t n, uint64_t data_len, struct sl_err *err) {
    uint64_t at = 0;
    qsort(spans, n, sizeof *spans, by_begin);
    for (size_t i = 0; i < n; i++) {
        if (spans[i].begin != at)
            return wrong(err, "tensors %s at byte %llu of the data",
                         spans[i].begin < at ? "overlap" : "leave a gap", (unsigned long long)at);
        at = spans[i].end;
    }
    return at == data_len ? 0
                          : wrong(err, "%llu bytes after the last tensor",
                                  (unsigned long long)(data_len - at));
}

static int check_tensors(json_t *header, uint64_t data_len, struct sl_err *err) {
    sl_autofree struct span *spans = sl_xcalloc(json_object_size(header), sizeof *spans);
    size_t n = 0;
    const char *name;
    json_t *value;
    json_object_foreach(header, name, value) {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        int rc = check_tensor(name, value, data_len, &spans[n++], err);
        if (rc < 0)
            return rc;
    }
    return check_cover(spans, n, data_len, err);
}

/* *ret_header is owned. */
static int read_header(const unsigned char *data, size_t len, json_t **ret_header,
                       uint64_t *ret_data_len, struct sl_err *err) {
    uint64_t n = 0;
    for (int i = 0; len >= 8 && i < 8; i++)
        n |= (uint64_t)data[i] << (8 * i);
    if (len < 8 || n > HEADER_MAX || n > len - 8)
        return wrong(err, "not a safetensors file: its header is longer than the file");
    json_t *header;
    int rc = sl_json_parse((const char *)data + 8, (size_t)n, &header, err);
    if (rc < 0) {
        sl_err_wrap(err, "the safetensors header");
        return err ? (err->cls = SLUICE_INTERNAL) : SLUICE_INTERNAL;
    }
    if (!json_is_object(header)) {
        json_decref(header);
        return wrong(err, "the safetensors header is not an object");
    }
    *ret_header = header;
    *ret_data_len = len - 8 - n;
    return 0;
}

static int check_pcm(const json_t *header, struct sl_err *err) {
    const json_t *pcm = json_object_get(header, "pcm");
    const json_t *meta = json_object_get(header, "__metadata__");
    size_t others = json_object_size(header) - (pcm != NULL) - (meta != NULL);
    if (!pcm || others)
        return wrong(err, "audio holds %s", pcm ? "tensors besides \"pcm\"" : "no tensor \"pcm\"");
    if (strcmp(sl_json_str(pcm, "dtype", ""), "F32") != 0 ||
        json_array_size(json_object_get(pcm, "shape")) != 1)
        return wrong(err, "tensor \"pcm\" is not F32 with one dimension");
    const char *rate = sl_json_str(meta, "sample_rate", NULL);
    if (!rate || strcmp(rate, RATE) != 0)
        return wrong(err, "metadata sample_rate is %s%s%s, expected \"" RATE "\"", rate ? "\"" : "",
                     rate ? rate : "absent", rate ? "\"" : "");
    return 0;
}

static int check_safetensors(const void *data, size_t len, bool audio, struct sl_err *err) {
    sl_autojson json_t *header = NULL;
    uint64_t data_len = 0;
    int rc = read_header(data, len, &header, &data_len, err);
    if (rc == 0)
        rc = check_tensors(header, data_len, err);
    return rc < 0 || !audio ? rc : check_pcm(header, err);
}

static int check_audio(const void *data, size_t len, struct sl_err *err) {
    return check_safetensors(data, len, true, err);
}

static int check_any_tensors(const void *data, size_t len, struct sl_err *err) {
    return check_safetensors(data, len, false, err);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* A key that every element of a list must have. */
struct key {
    const char *name;
    enum { NUMBER, TEXT } kind;
};

static const struct key region_keys[] = {
    {"start", NUMBER}, {"end", NUMBER}, {"score", NUMBER}, {NULL}};
static const struct key turn_keys[] = {
    {"start", NUMBER}, {"end", NUMBER}, {"speaker", TEXT}, {NULL}};
static const struct key word_keys[] = {{"start", NUMBER}, {"end", NUMBER}, {"word", TEXT}, {NULL}};
static const struct key segment_keys[] = {
    {"id", NUMBER}, {"start", NUMBER}, {"end", NUMBER}, {"text", TEXT}, {NULL}};
static const struct key transcript_keys[] = {
    {"language", TEXT}, {"duration", NUMBER}, {"text", TEXT}, {NULL}};

static const char *missing_key(const json_t *object, const struct key *keys) {
    for (; keys->name; keys++) {
        const json_t *value = json_object_get(object, keys->name);
        bool fits = keys->kind == NUMBER ? json_is_number(value) : json_is_string(value);
        if (!fits)
            return keys->name;
    }
    return NULL;
}

/* Each element has the keys, and does not end before it starts. `where`: "segments[3].", or "". */
static int check_list(const json_t *object, const char *where, const char *list_name,
                      const struct key *keys, struct sl_err *err) {
    const json_t *list = json_object_get(object, list_name);
    if (!json_is_array(list))
        return wrong(err, "%s%s is not a list", where, list_name);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *e = json_array_get(list, i);
        const char *key = missing_key(e, keys);
        if (key)
            return wrong(err, "%s%s[%zu].%s is missing or of the wrong kind", where, list_name, i,
                         key);
        if (sl_json_num(e, "end", 0) < sl_json_num(e, "start", 0))
            return wrong(err, "%s%s[%zu].end is before its start", where, list_name, i);
    }
    return 0;
}

static int check_regions(const json_t *value, struct sl_err *err) {
    return check_list(value, "", "regions", region_keys, err);
}

static int check_turns(const json_t *value, struct sl_err *err) {
    int rc = check_list(value, "", "turns", turn_keys, err);
    return rc < 0 ? rc : check_list(value, "", "exclusive", turn_keys, err);
}

static int check_words(const json_t *segments, struct sl_err *err) {
    for (size_t i = 0; i < json_array_size(segments); i++) {
        char where[64];
        snprintf(where, sizeof where, "segments[%zu].", i);
        const json_t *segment = json_array_get(segments, i);
        if (!json_object_get(segment, "words"))
            continue;
        int rc = check_list(segment, where, "words", word_keys, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int check_transcript(const json_t *value, struct sl_err *err) {
    const char *key = missing_key(value, transcript_keys);
    if (key)
        return wrong(err, "%s is missing or of the wrong kind", key);
    int rc = check_list(value, "", "segments", segment_keys, err);
    return rc < 0 ? rc : check_words(json_object_get(value, "segments"), err);
}

static int check_json(const void *data, size_t len, int (*check)(const json_t *, struct sl_err *),
                      struct sl_err *err) {
    sl_autojson json_t *value = NULL;
    if (sl_json_parse(data, len, &value, err) < 0)
        return err ? (err->cls = SLUICE_INTERNAL) : SLUICE_INTERNAL;
    if (check && !json_is_object(value))
        return wrong(err, "it is not a JSON object");
    return check ? check(value, err) : 0;
}

static int check_regions_text(const void *data, size_t len, struct sl_err *err) {
    return check_json(data, len, check_regions, err);
}

static int check_transcript_text(const void *data, size_t len, struct sl_err *err) {
    return check_json(data, len, check_transcript, err);
}

static int check_turns_text(const void *data, size_t len, struct sl_err *err) {
    return check_json(data, len, check_turns, err);
}

static int check_any_json(const void *data, size_t len, struct sl_err *err) {
    return check_json(data, len, NULL, err);
}

/* ---- Text, and the table --------------------------------------------------------------------- */

static int check_text(const void *data, size_t len, struct sl_err *err) {
    size_t good = sl_utf8_valid(data, len);
    if (good < len)
        return wrong(err, "byte %zu is not valid UTF-8", good);
    const char *nul = len ? memchr(data, 0, len) : NULL;
    return nul ? wrong(err, "byte %zu is a NUL", (size_t)(nul - (const char *)data)) : 0;
}

int sl_port_check(const char *type, const void *data, size_t len, struct sl_err *err) {
    static const struct {
        const char *type;
        int (*check)(const void *, size_t, struct sl_err *);
    } checks[] = {
        {SLUICE_TYPE_AUDIO, check_audio},
        {SLUICE_TYPE_ATTENTION, check_any_tensors},
        {SLUICE_TYPE_EMBEDDINGS, check_any_tensors},
        {SLUICE_TYPE_REGIONS, check_regions_text},
        {SLUICE_TYPE_TURNS, check_turns_text},
        {SLUICE_TYPE_TRANSCRIPT, check_transcript_text},
        {SLUICE_TYPE_JSON, check_any_json},
        {SLUICE_TYPE_TEXT, check_text},
    };
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
        if (strcmp(checks[i].type, type) == 0)
            return checks[i].check(data, len, err);
    return 0;
}
