/*
 * Silero's weights from ggml and safetensors files.
 *
 * One table says what every tensor is called in both and where it goes. Shapes are compared without
 * their dimensions of length 1, which the two formats set differently.
 *
 * The ggml file (whisper.cpp, models/convert-silero-vad-to-ggml.py), all little-endian int32:
 *
 *     "ggml" | 10, "silero-16k" | version: 3 | window, context | 4, four times inputs, outputs,
 * taps | LSTM inputs, LSTM states, last inputs, last outputs then tensors to the end: number of
 * dimensions, length of the name, type (0: F32, 1: F16), dimensions (the fastest first), name, data
 */
#include "audio/vad/silero_file.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "num/half.h"
#include "num/safetensors.h"

#define DIMS_MAX    4
#define NAME_LEN    64
#define PATH_LEN    4096
#define GGML_MAGIC  0x67676d6c
#define GGML_ARCH   "silero-16k"
#define WRONG_MODEL "only the 16 kHz network of Silero VAD 5 and 6 is understood"

struct place {
    const char *ggml, *safetensors; /* names */
    size_t at;                      /* in struct vad_silero_weights */
    uint64_t shape[DIMS_MAX];       /* without dimensions of 1, ended by 0 */
};

#define AT(member) offsetof(struct vad_silero_weights, member)
#define CONV(i)    "_model.encoder." i ".reparam_conv."
static const struct place places[] = {
    {"_model.stft.forward_basis_buffer", "stft_conv.weight", AT(basis), {258, 256}},
    {CONV("0") "weight", "conv1.weight", AT(conv1), {128, 129, 3}},
    {CONV("0") "bias", "conv1.bias", AT(conv1_bias), {128}},
    {CONV("1") "weight", "conv2.weight", AT(conv2), {64, 128, 3}},
    {CONV("1") "bias", "conv2.bias", AT(conv2_bias), {64}},
    {CONV("2") "weight", "conv3.weight", AT(conv3), {64, 64, 3}},
    {CONV("2") "bias", "conv3.bias", AT(conv3_bias), {64}},
    {CONV("3") "weight", "conv4.weight", AT(conv4), {128, 64, 3}},
    {CONV("3") "bias", "conv4.bias", AT(conv4_bias), {128}},
    {"_model.decoder.rnn.weight_ih", "lstm_cell.weight_ih", AT(lstm_input), {512, 128}},
    {"_model.decoder.rnn.bias_ih", "lstm_cell.bias_ih", AT(lstm_input_bias), {512}},
    {"_model.decoder.rnn.weight_hh", "lstm_cell.weight_hh", AT(lstm_state), {512, 128}},
    {"_model.decoder.rnn.bias_hh", "lstm_cell.bias_hh", AT(lstm_state_bias), {512}},
    {"_model.decoder.decoder.2.weight", "final_conv.weight", AT(output), {128}},
    {"_model.decoder.decoder.2.bias", "final_conv.bias", AT(output_bias), {0}},
};
#define N_PLACES (sizeof places / sizeof *places)

/* Converts `t` into its place after checking type and shape. */
static int32_t take_tensor(const struct place *place, const struct num_tensor *t, const char *file,
                           struct vad_silero_weights *ret, struct num_err *err) {
    size_t n = 0;
    bool same = true;
    for (uint32_t i = 0; i < t->n_dims && same; i++)
        if (t->shape[i] != 1)
            same = n < DIMS_MAX && place->shape[n] && t->shape[i] == place->shape[n++];
    if (!same || (n < DIMS_MAX && place->shape[n])) {
        char text[128];
        num_shape_text(t->shape, t->n_dims, text, sizeof text);
        return num_fail(err, SLUICE_UNSUPPORTED, "%s: tensor %s has the shape %s; " WRONG_MODEL,
                        file, t->name, text);
    }
    if (!num_tensor_is_float(t))
        return num_fail(err, SLUICE_UNSUPPORTED, "%s: tensor %s is %s, not F32, F16 or BF16", file,
                        t->name, num_dtype_name(t->dtype));
    float *to = (float *)((char *)ret + place->at);
    num_tensor_to_f32(t, to);
    for (uint64_t i = 0; i < t->n_elements; i++)
        if (!isfinite(to[i]))
            return num_fail(err, SLUICE_INPUT, "%s: tensor %s holds values that are not finite",
                            file, t->name);
    return SLUICE_OK;
}

/* ---- ggml ---- */

struct cursor {
    const uint8_t *at, *end;
};

static bool read_int(struct cursor *c, int32_t *ret) {
    if (c->end - c->at < 4)
        return false;
    memcpy(ret, c->at, 4);
    c->at += 4;
    return true;
}

/* Whether the next integers are `want` (n); passes them. */
static bool expect_ints(struct cursor *c, const int32_t *want, size_t n) {
    for (size_t i = 0; i < n; i++) {
        int32_t value;
        if (!read_int(c, &value) || value != want[i])
            return false;
    }
    return true;
}

static int32_t read_ggml_header(struct cursor *c, const char *file, struct num_err *err) {
    static const int32_t before[] = {GGML_MAGIC, sizeof GGML_ARCH - 1};
    static const int32_t after[] = {512, 64, 4,  129, 128, 3,   128, 64,  3, 64,
                                    64,  3,  64, 128, 3,   128, 128, 128, 1};
    int32_t version[3];
    if (expect_ints(c, before, 2) && c->end - c->at >= before[1] &&
        memcmp(c->at, GGML_ARCH, (size_t)before[1]) == 0) {
        c->at += before[1];
        if (read_int(c, &version[0]) && read_int(c, &version[1]) && read_int(c, &version[2]) &&
            expect_ints(c, after, sizeof after / sizeof *after))
            return SLUICE_OK;
    }
    return num_fail(err, SLUICE_UNSUPPORTED,
                    "%s: its header is not that of a Silero model; " WRONG_MODEL, file);
}

/* Reads the head of a tensor, up to its data. `name` (NAME_LEN) keeps the name. */
static bool read_ggml_tensor(struct cursor *c, char *name, struct num_tensor *ret) {
    int32_t n_dims, name_len, type;
    if (!read_int(c, &n_dims) || !read_int(c, &name_len) || !read_int(c, &type) || n_dims < 0 ||
        n_dims > DIMS_MAX || name_len < 1 || name_len >= NAME_LEN || type < 0 || type > 1)
        return false;
    *ret = (struct num_tensor){.name = name,
                               .dtype = type == 0 ? NUM_F32 : NUM_F16,
                               .n_dims = (uint32_t)n_dims,
                               .n_elements = 1};
    for (int32_t i = n_dims - 1; i >= 0; i--) {
        int32_t dim;
        if (!read_int(c, &dim) || dim < 1 ||
            __builtin_mul_overflow(ret->n_elements, (uint64_t)dim, &ret->n_elements))
            return false;
        ret->shape[i] = (uint64_t)dim;
    }
    uint64_t left = (uint64_t)(c->end - c->at);
    if (left < (uint64_t)name_len ||
        ret->n_elements > (left - (uint64_t)name_len) / num_dtype_size(ret->dtype))
        return false;
    memcpy(name, c->at, (size_t)name_len);
    name[name_len] = '\0';
    ret->data = c->at + name_len;
    c->at += (uint64_t)name_len + ret->n_elements * num_dtype_size(ret->dtype);
    return true;
}

static int32_t parse_ggml(const void *data, size_t len, const char *file,
                          struct vad_silero_weights *ret, struct num_err *err) {
    struct cursor c = {data, (const uint8_t *)data + len};
    bool seen[N_PLACES] = {false};
    size_t n_seen = 0;
    int32_t status = read_ggml_header(&c, file, err);
    while (status == SLUICE_OK && c.at < c.end) {
        char name[NAME_LEN];
        struct num_tensor t;
        size_t offset = (size_t)(c.at - (const uint8_t *)data), i = 0;
        if (!read_ggml_tensor(&c, name, &t))
            return num_fail(err, SLUICE_INPUT, "%s: damaged or cut off in the tensor at byte %zu",
                            file, offset);
        while (i < N_PLACES && strcmp(places[i].ggml, name) != 0)
            i++;
        if (i == N_PLACES || seen[i])
            return num_fail(err, SLUICE_INPUT, "%s: the tensor at byte %zu is %s", file, offset,
                            i < N_PLACES ? "there twice" : "not one of Silero's");
        seen[i] = true;
        n_seen++;
        status = take_tensor(&places[i], &t, file, ret, err);
    }
    for (size_t i = 0; status == SLUICE_OK && n_seen < N_PLACES && i < N_PLACES; i++)
        if (!seen[i])
            status = num_fail(err, SLUICE_INPUT, "%s: cut off, tensor %s is missing", file,
                              places[i].ggml);
    return status;
}

/* ---- safetensors ---- */

static int32_t parse_safetensors(const void *data, size_t len, const char *file,
                                 struct vad_silero_weights *ret, struct num_err *err) {
    struct num_safetensors st;
    int32_t status = num_safetensors_parse(data, len, file, &st, err);
    if (status != SLUICE_OK)
        return status;
    for (size_t i = 0; i < N_PLACES && status == SLUICE_OK; i++) {
        const struct num_tensor *t = num_safetensors_find(&st, places[i].safetensors);
        status = t ? take_tensor(&places[i], t, file, ret, err)
                   : num_fail(err, SLUICE_UNSUPPORTED, "%s: has no tensor %s; " WRONG_MODEL, file,
                              places[i].safetensors);
    }
    num_safetensors_close(&st);
    return status;
}

/* ---- files ---- */

int32_t vad_silero_parse(const void *data, size_t len, const char *name,
                         struct vad_silero_weights *ret, struct num_err *err) {
    uint32_t magic = 0;
    if (len >= sizeof magic)
        memcpy(&magic, data, sizeof magic);
    return magic == GGML_MAGIC ? parse_ggml(data, len, name, ret, err)
                               : parse_safetensors(data, len, name, ret, err);
}

/* The weights' file into `ret`: `path`, or the one in the folder that it is. */
static int32_t file_of(const char *path, char ret[PATH_LEN], struct num_err *err) {
    struct stat st;
    bool folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    int n = snprintf(ret, PATH_LEN, "%s%s", path, folder ? "/model.safetensors" : "");
    return n < PATH_LEN ? SLUICE_OK
                        : num_fail(err, SLUICE_INPUT, "%.200s...: this path is too long", path);
}

int32_t vad_silero_load(const char *path, struct vad_silero_weights *ret, struct num_err *err) {
    char file[PATH_LEN];
    struct stat st;
    int32_t status = file_of(path, file, err);
    if (status != SLUICE_OK)
        return status;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0) {
        num_fail(err, SLUICE_INPUT, "%s: cannot be opened: %s", file, strerror(errno));
    } else if (!S_ISREG(st.st_mode) || st.st_size == 0) {
        num_fail(err, SLUICE_INPUT, "%s: is %s, not a file of Silero's weights", file,
                 S_ISREG(st.st_mode) ? "empty" : "no regular file");
    } else {
        size_t len = (size_t)st.st_size;
        void *data = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            num_fail(err, SLUICE_RESOURCE, "%s: cannot be mapped: %s", file, strerror(errno));
        } else {
            err->status = vad_silero_parse(data, len, file, ret, err);
            munmap(data, len);
        }
    }
    if (fd >= 0)
        close(fd);
    return err->status;
}
