/*
 * Files of Silero weights: what is written is what is read, and every kind of damage has its
 * sentence.
 */
#include "vad.h"

#include "num/safetensors.h"

static struct num_err err;
static struct vad_silero_weights got;

static int32_t parse(const struct vad_file *f) {
    uint8_t *copy = malloc(f->len ? f->len : 1); /* exactly: a sanitizer sees a read past the end */
    memcpy(copy, f->data, f->len);
    err = (struct num_err){0};
    int32_t status = vad_silero_parse(copy, f->len, "w.bin", &got, &err);
    free(copy);
    return status;
}

static void check_fails(const struct vad_file *f, int32_t status, const char *says) {
    CHECK_INT(parse(f), status);
    CHECK_INT(err.status, status);
    CHECK_HAS(err.text, "w.bin: ");
    CHECK_HAS(err.text, says);
}

/* A good file; its tensors as they lie in it. */
static struct vad_file good(void) {
    struct vad_silero_weights *w = vad_random_weights();
    struct vad_file f = vad_ggml_file(w);
    free(w);
    return f;
}

static uint8_t *find(const struct vad_file *f, const char *name) {
    uint8_t *at = memmem(f->data, f->len, name, strlen(name));
    CHECK(at != NULL);
    return at;
}

TEST(ggml_is_read_whole) {
    struct vad_silero_weights *w = vad_random_weights();
    struct vad_file f = vad_ggml_file(w);
    CHECK_INT(parse(&f), SLUICE_OK);
    CHECK(memcmp(&got, w, sizeof got) == 0);
    free(w);
    free(f.data);
}

TEST(half_precision_is_read) {
    struct vad_file f = good(), half = {0};
    uint8_t *name = find(&f, "_model.encoder.3.reparam_conv.bias");
    int32_t type = 1;
    memcpy(name - 8, &type, 4); /* before: type, one dimension */
    uint8_t *data = name + strlen("_model.encoder.3.reparam_conv.bias");
    vad_put(&half, f.data, (size_t)(data - f.data));
    for (int i = 0; i < 128; i++)
        vad_put(&half, "\x00\xc1", 2); /* -2.5 */
    vad_put(&half, data + 128 * 4, f.len - (size_t)(data - f.data) - 128 * 4);
    CHECK_INT(parse(&half), SLUICE_OK);
    CHECK_NEAR(got.conv4_bias[127], -2.5, 0);
    free(f.data);
    free(half.data);
}

TEST(every_cut_is_noticed) {
    struct vad_file f = good();
    size_t whole = f.len;
    for (f.len = 0; f.len < whole; f.len += f.len < 400 ? 1 : 9973) {
        int32_t status = parse(&f);
        CHECK(status == SLUICE_INPUT || status == SLUICE_UNSUPPORTED);
        CHECK_HAS(err.text, "w.bin: ");
    }
    f.len = whole - 1;
    check_fails(&f, SLUICE_INPUT, "damaged or cut off in the tensor at byte");
    f.len = (size_t)(find(&f, "_model.stft") - f.data) - 24; /* before the last tensor's head */
    check_fails(&f, SLUICE_INPUT, "cut off, tensor _model.stft.forward_basis_buffer is missing");
    free(f.data);
}

static void check_patched(const char *name, int offset, int32_t value, int32_t status,
                          const char *says) {
    struct vad_file f = good();
    memcpy(find(&f, name) + offset, &value, sizeof value);
    check_fails(&f, status, says);
    free(f.data);
}

TEST(lies_are_noticed) {
    const char *conv = "_model.encoder.0.reparam_conv.weight"; /* before: 3 129 128 */
    check_patched(conv, -4, 127, SLUICE_UNSUPPORTED,
                  "tensor _model.encoder.0.reparam_conv.weight has the shape [127, 129, 3]");
    check_patched(conv, -4, 0x7fffffff, SLUICE_INPUT, "damaged or cut off");
    check_patched(conv, -4, 0, SLUICE_INPUT, "damaged or cut off");
    check_patched(conv, -4, -128, SLUICE_INPUT, "damaged or cut off");
    check_patched(conv, -16, 2, SLUICE_INPUT, "damaged or cut off");  /* type */
    check_patched(conv, -20, 99, SLUICE_INPUT, "damaged or cut off"); /* length of the name */
    check_patched(conv, -24, 5, SLUICE_INPUT, "damaged or cut off");  /* dimensions */
    check_patched("_model.stft", 0, 0, SLUICE_INPUT, "is not one of Silero's");
    check_patched("_model.decoder.rnn.bias_ih", 26 + 4 * 20, 0x7fc00000, SLUICE_INPUT,
                  "tensor _model.decoder.rnn.bias_ih holds values that are not finite");
    check_patched("silero-16k", 0, 0, SLUICE_UNSUPPORTED, "header is not that of a Silero model");
    check_patched("silero-16k", 22, 256, SLUICE_UNSUPPORTED, "header is not that"); /* window */
}

TEST(a_tensor_twice_is_noticed) {
    struct vad_file f = good();
    uint8_t *bias = find(&f, "_model.decoder.rnn.bias_ih");
    memcpy(bias + strlen("_model.decoder.rnn.bias_"), "hh", 2);
    check_fails(&f, SLUICE_INPUT, "is there twice");
    free(f.data);
}

/* A safetensors file of one tensor with 128 zeros. */
static struct vad_file one_tensor(const char *name, const char *dtype, int size) {
    struct vad_file f = {0};
    char header[256];
    static const char zeros[128 * 8];
    int len = snprintf(header, sizeof header,
                       "{\"%s\":{\"dtype\":\"%s\",\"shape\":[128],\"data_offsets\":[0,%d]}}", name,
                       dtype, 128 * size);
    uint64_t header_len = (uint64_t)len;
    vad_put(&f, &header_len, 8);
    vad_put(&f, header, (size_t)len);
    vad_put(&f, zeros, 128 * (size_t)size);
    return f;
}

TEST(safetensors_of_other_things_are_noticed) {
    struct vad_file f = one_tensor("conv1.bias", "F32", 4);
    check_fails(&f, SLUICE_UNSUPPORTED, "has no tensor stft_conv.weight");
    free(f.data);
    f = one_tensor("stft_conv.weight", "F32", 4);
    check_fails(&f, SLUICE_UNSUPPORTED, "tensor stft_conv.weight has the shape [128]");
    free(f.data);
}

TEST(safetensors_of_whole_numbers_are_noticed) {
    struct vad_file f = {0};
    struct num_tensor t = {.name = "stft_conv.weight", .dtype = NUM_U8, .n_dims = 2};
    void *header, *zeros = calloc(258, 256);
    size_t len;
    t.shape[0] = 258;
    t.shape[1] = 256;
    CHECK_INT(num_safetensors_header(&t, 1, NULL, 0, 0, &header, &len, &err), SLUICE_OK);
    vad_put(&f, header, len);
    vad_put(&f, zeros, 258 * 256);
    check_fails(&f, SLUICE_UNSUPPORTED, "tensor stft_conv.weight is U8, not F32, F16 or BF16");
    free(header);
    free(zeros);
    free(f.data);
}

static void check_load_fails(const char *path, const char *says) {
    err = (struct num_err){0};
    CHECK_INT(vad_silero_load(path, &got, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, says);
}

TEST(files_that_cannot_be_read) {
    check_load_fails("/nowhere/w.bin",
                     "/nowhere/w.bin: cannot be opened: No such file or directory");
    check_load_fails("/dev", "/dev/model.safetensors: cannot be opened: No such file");
    check_load_fails("/dev/null", "/dev/null: is no regular file");
    check_load_fails(SOURCE_DIR "/README.md", "README.md: ");
}

TEST_MAIN()
