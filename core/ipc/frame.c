/*
 * Frames: encode and decode, see frame.h. Pure functions over a span, fuzzed.
 *
 * Each type has a signature, one letter a field: t text or bytes, u number, f real number. Three
 * vary in length: after a JOB's "ttuu" come 3 texts an input and 2 an output, by the counts in
 * fields 2 and 3; after a FORK's "uuuuu" 3 numbers a limit, by the count in field 4; after a
 * SANDBOX's "uuu" texts by those in fields 1 and 2.
 *
 * Nothing here touches a socket (channel.c does) or judges what a field says: the receiver checks
 * values.
 */
#include "ipc/frame.h"

#include <string.h>

#define MAGIC             0x31464c53u /* "SLF1" */
#define HEADER_SIZE       16u
#define JOB_FIXED_FIELDS  4
#define FORK_FIXED_FIELDS 5

#define SANDBOX_FIXED_FIELDS 3

struct signature {
    const char *fields;
    bool needs_job; /* job must not be 0 */
};

static const struct signature signatures[] = {
    [SL_FRAME_START] = {"ttttuuuuu", false}, [SL_FRAME_JOB] = {"ttuu", true},
    [SL_FRAME_CANCEL] = {"", false},         [SL_FRAME_STOP] = {"", false},
    [SL_FRAME_READY] = {"uu", false},        [SL_FRAME_REFUSED] = {"ut", false},
    [SL_FRAME_PROGRESS] = {"ft", true},      [SL_FRAME_LOG] = {"ut", false},
    [SL_FRAME_PART] = {"tt", true},          [SL_FRAME_METRIC] = {"tf", true},
    [SL_FRAME_COMMIT] = {"tu", true},        [SL_FRAME_DONE] = {"ut", true},
    [SL_FRAME_EXIT] = {"uuuu", false},       [SL_FRAME_FORK] = {"utuuu", false},
    [SL_FRAME_FORKED] = {"u", false},        [SL_FRAME_FAULT] = {"u", true},
    [SL_FRAME_SANDBOX] = {"uuu", false},
};

static const struct signature *signature_of(unsigned type) {
    bool known = type < sizeof signatures / sizeof *signatures && signatures[type].fields;
    return known ? &signatures[type] : NULL;
}

static void put16(unsigned char *at, uint32_t v) {
    at[0] = (unsigned char)v;
    at[1] = (unsigned char)(v >> 8);
}

static void put32(unsigned char *at, uint32_t v) {
    put16(at, v);
    put16(at + 2, v >> 16);
}

static uint32_t get16(const unsigned char *at) {
    return at[0] | (uint32_t)at[1] << 8;
}

static uint32_t get32(const unsigned char *at) {
    return get16(at) | get16(at + 2) << 16;
}

static size_t padded(size_t len) {
    return (len + 3) & ~(size_t)3;
}

/* ---- Encoding -------------------------------------------------------------------------------- */

void sl_frame_init(struct sl_frame_out *f, enum sl_frame_type type, uint32_t job) {
    f->type = (uint16_t)type;
    f->job = job;
    f->n_fields = 0;
    f->overflow = false;
    f->size = HEADER_SIZE;
}

void sl_frame_add(struct sl_frame_out *f, const void *data, size_t len) {
    if (len > SL_FRAME_MAX_SIZE || f->size + 4 + padded(len) > SL_FRAME_MAX_SIZE ||
        f->n_fields == SL_FRAME_MAX_FIELDS) {
        f->overflow = true;
        return;
    }
    unsigned char *at = f->data + f->size;
    put32(at, (uint32_t)len);
    if (len)
        memcpy(at + 4, data, len);
    memset(at + 4 + len, 0, padded(len) - len);
    f->size += 4 + padded(len);
    f->n_fields++;
}

void sl_frame_add_text(struct sl_frame_out *f, const char *text) {
    sl_frame_add(f, text, strlen(text));
}

void sl_frame_add_u64(struct sl_frame_out *f, uint64_t value) {
    unsigned char bytes[8];
    put32(bytes, (uint32_t)value);
    put32(bytes + 4, (uint32_t)(value >> 32));
    sl_frame_add(f, bytes, sizeof bytes);
}

void sl_frame_add_f64(struct sl_frame_out *f, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    sl_frame_add_u64(f, bits);
}

int sl_frame_finish(struct sl_frame_out *f, struct sl_err *err) {
    if (f->overflow)
        return sl_err_set(err, SLUICE_RESOURCE,
                          "a message of type %u is larger than %u bytes or %u fields", f->type,
                          SL_FRAME_MAX_SIZE, SL_FRAME_MAX_FIELDS);
    put32(f->data, MAGIC);
    put16(f->data + 4, f->type);
    put16(f->data + 6, (uint32_t)f->n_fields);
    put32(f->data + 8, f->job);
    put32(f->data + 12, 0);
    return 0;
}

/* ---- Decoding -------------------------------------------------------------------------------- */

static int bad(struct sl_err *err, const char *why, unsigned type) {
    return sl_err_set(err, SLUICE_INTERNAL, "not a message: %s (type %u)", why, type);
}

static int split_fields(const unsigned char *data, size_t len, struct sl_frame *f,
                        struct sl_err *err) {
    size_t at = HEADER_SIZE;
    for (int i = 0; i < f->n_fields; i++) {
        if (len - at < 4)
            return bad(err, "a field is cut off", f->type);
        uint32_t n = get32(data + at);
        at += 4;
        if (n > len - at || padded(n) > len - at)
            return bad(err, "a field is longer than the message", f->type);
        f->fields[i] = (struct sl_field){(const char *)data + at, n};
        at += padded(n);
    }
    return at == len ? 0 : bad(err, "bytes after the last field", f->type);
}

/* The number of fields that a JOB frame must have by its counts; -1 where they are out of range. */
static int job_fields(const struct sl_frame *f) {
    uint64_t n_in = sl_frame_u64(f, 2), n_out = sl_frame_u64(f, 3);
    if (n_in > SL_FRAME_MAX_FIELDS || n_out > SL_FRAME_MAX_FIELDS)
        return -1;
    return JOB_FIXED_FIELDS + 3 * (int)n_in + 2 * (int)n_out;
}

/* The same of a FORK frame. */
static int fork_fields(const struct sl_frame *f) {
    uint64_t n_limits = sl_frame_u64(f, 4);
    return n_limits > SL_FRAME_MAX_FIELDS ? -1 : FORK_FIXED_FIELDS + 3 * (int)n_limits;
}

/* The same of a SANDBOX frame. */
static int sandbox_fields(const struct sl_frame *f) {
    uint64_t n_read = sl_frame_u64(f, 1), n_write = sl_frame_u64(f, 2);
    bool too_many = n_read > SL_FRAME_MAX_FIELDS || n_write > SL_FRAME_MAX_FIELDS;
    return too_many ? -1 : SANDBOX_FIXED_FIELDS + (int)n_read + (int)n_write;
}

static int check_signature(const struct sl_frame *f, struct sl_err *err) {
    const struct signature *s = signature_of(f->type);
    if (!s)
        return bad(err, "unknown type", f->type);
    int want = (int)strlen(s->fields);
    if (f->n_fields < want)
        return bad(err, "fields are missing", f->type);
    for (int i = 0; i < want; i++)
        if (s->fields[i] != 't' && f->fields[i].len != 8)
            return bad(err, "a number is not 8 bytes long", f->type);
    if (f->type == SL_FRAME_JOB)
        want = job_fields(f);
    if (f->type == SL_FRAME_FORK)
        want = fork_fields(f);
    if (f->type == SL_FRAME_SANDBOX)
        want = sandbox_fields(f);
    if (f->n_fields != want)
        return bad(err, "wrong number of fields", f->type);
    return s->needs_job && f->job == 0 ? bad(err, "it names no job", f->type) : 0;
}

int sl_frame_decode(const void *data, size_t len, struct sl_frame *ret, struct sl_err *err) {
    const unsigned char *bytes = data;
    if (len < HEADER_SIZE || len > SL_FRAME_MAX_SIZE)
        return bad(err, "wrong length", 0);
    ret->type = (uint16_t)get16(bytes + 4);
    ret->n_fields = (uint16_t)get16(bytes + 6);
    ret->job = get32(bytes + 8);
    if (get32(bytes) != MAGIC || get32(bytes + 12) != 0)
        return bad(err, "wrong header", ret->type);
    if (ret->n_fields > SL_FRAME_MAX_FIELDS)
        return bad(err, "too many fields", ret->type);
    int rc = split_fields(bytes, len, ret, err);
    return rc < 0 ? rc : check_signature(ret, err);
}

uint64_t sl_frame_u64(const struct sl_frame *f, int i) {
    if (i < 0 || i >= f->n_fields || f->fields[i].len != 8)
        return 0;
    const unsigned char *at = (const unsigned char *)f->fields[i].data;
    return get32(at) | (uint64_t)get32(at + 4) << 32;
}

double sl_frame_f64(const struct sl_frame *f, int i) {
    uint64_t bits = sl_frame_u64(f, i);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

const char *sl_frame_text(const struct sl_frame *f, int i, char *buf, size_t size) {
    size_t len = i < 0 || i >= f->n_fields ? 0 : f->fields[i].len;
    if (len >= size)
        len = size - 1;
    if (len)
        memcpy(buf, f->fields[i].data, len);
    buf[len] = 0;
    return buf;
}
