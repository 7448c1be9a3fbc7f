/*
 * Safetensors: round trips, and every way a file can lie.
 */
#include "unit/test.h"

#include <float.h>

#include "num/half.h"
#include "num/safetensors.h"

/* A file of `header` and `n` zero bytes of data, parsed; returns the status. */
static int32_t parse(const char *header, size_t n_data, struct num_safetensors *st,
                     struct num_err *err) {
    static uint8_t file[4096];
    uint64_t n = strlen(header);
    memset(file, 0, sizeof file);
    memcpy(file, &n, 8);
    memcpy(file + 8, header, n);
    return num_safetensors_parse(file, 8 + n + n_data, "model.safetensors", st, err);
}

static void refuses(const char *header, size_t n_data, const char *why) {
    struct num_safetensors st;
    struct num_err err = {0};
    CHECK_INT(parse(header, n_data, &st, &err), SLUICE_INPUT);
    CHECK_INT(err.status, SLUICE_INPUT);
    CHECK_HAS(err.text, "model.safetensors");
    CHECK_HAS(err.text, why);
}

TEST(reads_what_it_writes) {
    const struct num_tensor in[] = {
        {.name = "pcm", .dtype = NUM_F32, .n_dims = 1, .shape = {3}},
        {.name = "none", .dtype = NUM_I64, .n_dims = 2, .shape = {0, 7}},
        {.name = "scalar", .dtype = NUM_U8},
    };
    const struct num_meta meta[] = {{"sample_rate", "16000"}, {"source", "caf\xc3\xa9 \"x\".wav"}};
    struct num_err err = {0};
    struct num_safetensors st;
    void *header;
    size_t len;
    CHECK_INT(num_safetensors_header(in, 3, meta, 2, 0, &header, &len, &err), 0);
    CHECK_INT(len % 8, 0);
    uint8_t *file = malloc(len + 13);
    memcpy(file, header, len);
    memcpy(file + len, (float[]){1, -2, 0.5f}, 12);
    file[len + 12] = 9;
    CHECK_INT(num_safetensors_parse(file, len + 13, "a", &st, &err), 0);
    CHECK_INT(st.n_tensors, 3);
    const struct num_tensor *pcm = num_safetensors_find(&st, "pcm");
    CHECK(pcm && pcm->dtype == NUM_F32 && pcm->n_dims == 1 && pcm->n_elements == 3);
    float x[3];
    num_tensor_to_f32(pcm, x);
    CHECK(x[0] == 1 && x[1] == -2 && x[2] == 0.5f);
    CHECK_INT(num_safetensors_find(&st, "none")->n_elements, 0);
    CHECK_INT(*(const uint8_t *)num_safetensors_find(&st, "scalar")->data, 9);
    CHECK(!num_tensor_is_float(num_safetensors_find(&st, "scalar")));
    CHECK(!num_safetensors_find(&st, "pc"));
    CHECK_STR(num_safetensors_meta(&st, "source"), "caf\xc3\xa9 \"x\".wav");
    CHECK(!num_safetensors_meta(&st, "rate"));
    num_safetensors_close(&st);
    free(header);
    free(file);
}

TEST(reserves_room_for_a_header_written_last) {
    struct num_tensor pcm = {.name = "pcm", .dtype = NUM_F32, .n_dims = 1, .shape = {0}};
    void *first, *last;
    size_t first_len, last_len;
    CHECK_INT(num_safetensors_header(&pcm, 1, NULL, 0, 4096, &first, &first_len, NULL), 0);
    pcm.shape[0] = UINT64_C(1) << 40;
    CHECK_INT(num_safetensors_header(&pcm, 1, NULL, 0, 4096, &last, &last_len, NULL), 0);
    CHECK_INT(first_len, 4096);
    CHECK_INT(last_len, 4096);
    free(first);
    free(last);
}

TEST(writer_refuses_what_no_reader_takes) {
    struct num_tensor twice[] = {{.name = "a", .dtype = NUM_F32}, {.name = "a", .dtype = NUM_F32}};
    struct num_tensor huge = {.name = "a", .dtype = NUM_F32, .n_dims = 2, .shape = {UINT64_MAX, 2}};
    struct num_meta bad = {"source", "\xff.wav"};
    struct num_err err;
    void *header;
    size_t len;
    CHECK_INT(num_safetensors_header(twice, 2, NULL, 0, 0, &header, &len, &err), SLUICE_INTERNAL);
    CHECK_INT(num_safetensors_header(&huge, 1, NULL, 0, 0, &header, &len, &err), SLUICE_INTERNAL);
    CHECK_INT(num_safetensors_header(NULL, 0, &bad, 1, 0, &header, &len, &err), SLUICE_INTERNAL);
}

TEST(refuses_lies) {
    struct num_safetensors st;
    struct num_err err;
    CHECK_INT(num_safetensors_parse("1234567", 7, "x", &st, &err), SLUICE_INPUT);
    CHECK_INT(num_safetensors_parse("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10, "x", &st, &err),
              SLUICE_INPUT);
    CHECK_INT(num_safetensors_parse("\x03\0\0\0\0\0\0\0{}", 10, "x", &st, &err), SLUICE_INPUT);
    refuses("[]", 0, "not a JSON object");
    refuses("{", 0, "not a JSON object");
    refuses("{\"a\":1}", 0, "entry a");
    refuses("{\"a\":{\"dtype\":\"F31\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "F31");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "shape");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}}", 4, "shape");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
            "shape");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "fit its shape");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}", 4, "cut short");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "cut short");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "data_offsets");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}",
            0, "fit its shape");
    refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
            "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
            2, "JSON");
    refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
            "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}",
            3, "overlaps");
    refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
            "\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[2,3]}}",
            3, "gap");
    refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 3,
            "2 bytes at the end");
    refuses("{\"__metadata__\":{\"a\":1}}", 0, "metadata a");
}

TEST(opener_names_the_file) {
    struct num_safetensors st;
    struct num_err err;
    CHECK_INT(num_safetensors_open("/nowhere/model.safetensors", &st, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, "/nowhere/model.safetensors: No such file");
    CHECK_INT(num_safetensors_open("/", &st, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, "not a safetensors file");
}

TEST(halves_are_exact) {
    CHECK(num_f16_to_f32(0x3c00) == 1 && num_f16_to_f32(0xc000) == -2);
    CHECK(num_f16_to_f32(0x7bff) == 65504 && num_f16_to_f32(0x0001) == 0x1p-24f);
    CHECK(num_f16_to_f32(0x03ff) == 1023 * 0x1p-24f && num_f16_to_f32(0x8400) == -0x1p-14f);
    CHECK(isinf(num_f16_to_f32(0xfc00)) && num_f16_to_f32(0xfc00) < 0 &&
          isnan(num_f16_to_f32(0x7e00)));
    CHECK(num_f16_to_f32(0) == 0 && signbit(num_f16_to_f32(0x8000)));
    CHECK(num_bf16_to_f32(0x3f80) == 1 && num_bf16_to_f32(0xc040) == -3 &&
          isnan(num_bf16_to_f32(0x7fc0)));
    CHECK_INT(num_f32_to_bf16(0x1.01p0f), 0x3f80); /* ties go to the even neighbour */
    CHECK_INT(num_f32_to_bf16(0x1.03p0f), 0x3f82);
    CHECK_INT(num_f32_to_bf16(-0x1.010002p0f), 0xbf81);
    CHECK_INT(num_f32_to_bf16(FLT_MAX), 0x7f80);
    for (uint32_t bits = 0; bits < 0x10000; bits++)
        CHECK_INT(num_f32_to_bf16(num_bf16_to_f32((uint16_t)bits)),
                  isnan(num_bf16_to_f32((uint16_t)bits)) ? bits | 0x40 : bits);
    CHECK_INT(num_f32_to_bf16(num_bits_to_f32(0x7fffffff)), 0x7fff);
    CHECK_INT(num_f32_to_bf16(num_bits_to_f32(0x7f800001)), 0x7fc0);
}

TEST_MAIN()
