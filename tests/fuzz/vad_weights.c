/*
 * Any bytes as a file of Silero weights; and a whole file of zeros with some bytes changed, since
 * random bytes never make one of 1.2 MB. First byte 0: a file. Else edits of four bytes each, where
 * (3) and what (1), in a ggml (1) or safetensors file (2, with the header cut out of the input),
 * whose length the next two bytes reduce.
 */
#include <stdlib.h>
#include <string.h>

#include "audio/vad/silero_file.h"

#define FILE_LEN 1300000

struct tensor {
    const char *name;
    int32_t n_dims, dims[3];
};

static const struct tensor tensors[] = {
    {"encoder.0.reparam_conv.weight", 3, {3, 129, 128}},
    {"encoder.0.reparam_conv.bias", 1, {128}},
    {"encoder.1.reparam_conv.weight", 3, {3, 128, 64}},
    {"encoder.1.reparam_conv.bias", 1, {64}},
    {"encoder.2.reparam_conv.weight", 3, {3, 64, 64}},
    {"encoder.2.reparam_conv.bias", 1, {64}},
    {"encoder.3.reparam_conv.weight", 3, {3, 64, 128}},
    {"encoder.3.reparam_conv.bias", 1, {128}},
    {"decoder.rnn.weight_ih", 2, {128, 512}},
    {"decoder.rnn.weight_hh", 2, {128, 512}},
    {"decoder.rnn.bias_ih", 1, {512}},
    {"decoder.rnn.bias_hh", 1, {512}},
    {"decoder.decoder.2.weight", 1, {128}},
    {"decoder.decoder.2.bias", 0, {0}},
    {"stft.forward_basis_buffer", 3, {256, 1, 258}},
};

/* The good file; returns its length. */
static size_t make_ggml(uint8_t *ret) {
    static const int32_t head[] = {0x67676d6c, 10};
    static const int32_t shape[] = {6, 2,  0,  512, 64, 4,   129, 128, 3,   128, 64,
                                    3, 64, 64, 3,   64, 128, 3,   128, 128, 128, 1};
    size_t at = 0;
#define PUT(data, len) (memcpy(ret + at, data, len), at += (len))
    PUT(head, sizeof head);
    PUT("silero-16k", 10);
    PUT(shape, sizeof shape);
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        const struct tensor *t = &tensors[i];
        int32_t name_len = 7 + (int32_t)strlen(t->name), before[] = {t->n_dims, name_len, 0};
        size_t n = 1;
        for (int32_t d = 0; d < t->n_dims; d++)
            n *= (size_t)t->dims[d];
        PUT(before, sizeof before);
        PUT(t->dims, (size_t)t->n_dims * 4);
        PUT("_model.", 7);
        PUT(t->name, strlen(t->name));
        memset(ret + at, 0, n * 4);
        at += n * 4;
    }
#undef PUT
    return at;
}

static void check(const uint8_t *data, size_t size) {
    static struct vad_silero_weights weights;
    struct num_err err = {0};
    if (vad_silero_parse(data, size, "fuzz", &weights, &err) != SLUICE_OK && !err.text[0])
        __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3 || data[0] == 0) {
        check(data + (size > 0), size - (size > 0));
        return 0;
    }
    uint8_t *file = calloc(FILE_LEN, 1);
    size_t len = FILE_LEN;
    if (data[0] == 1)
        len = make_ggml(file);
    else
        memcpy(file, data + 3, size - 3 < FILE_LEN ? size - 3 : FILE_LEN);
    len -= (size_t)(data[1] + 256 * data[2]);
    for (size_t at = 3; data[0] == 1 && at + 4 <= size; at += 4)
        file[(data[at] + 256u * data[at + 1] + 65536u * data[at + 2]) % len] = data[at + 3];
    uint8_t *copy = malloc(len); /* exactly: a sanitizer sees a read past the end */
    memcpy(copy, file, len);
    check(copy, len);
    free(copy);
    free(file);
    return 0;
}
