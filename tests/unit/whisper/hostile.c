/*
 * Model files that are cut, lie, or mean harm: each gives one sentence that names the file and what
 * is wrong, and nothing is read that is not there (run it under AddressSanitizer).
 */
#include <sys/stat.h>

#include "unit/whisper/clips.h"
#include "unit/whisper/make_model.h"
#include "whisper/ggml.h"

static char folder[TEST_PATH];
static uint8_t *file; /* a small model file of whisper.cpp */
static size_t len;

static const char *in(const char *name) {
    static char path[160];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static struct made *small_model(enum num_weight_type type) {
    struct wh_dims dims = made_dims(80, 32, 320, 1);
    return made_create(&dims, type, 5);
}

static void read_small_file(void) {
    struct made *m = small_model(NUM_WEIGHT_Q8_0);
    make_test_folder(folder);
    made_write_ggml(m, in("m.bin"));
    FILE *f = fopen(in("m.bin"), "rb");
    file = malloc(1 << 20);
    len = fread(file, 1, 1 << 20, f);
    fclose(f);
    CHECK(len > 100000 && len < 1 << 20);
    made_free(m);
    remove_test_files(folder);
}

/* Parses `n` bytes of a copy that ends at the end of its block. */
static int32_t parse(const void *bytes, size_t n, struct num_err *err) {
    struct wh_ggml g;
    uint8_t *copy = malloc(n + 1);
    memcpy(copy, bytes, n);
    int32_t status = wh_ggml_parse(copy, n, "m.bin", &g, err);
    if (!status)
        wh_ggml_finish(&g);
    free(copy);
    return status;
}

static void refuses(const char *why) {
    struct num_err err = {0};
    CHECK_INT(parse(file, len, &err), SLUICE_INPUT);
    printf("  %s\n", err.text);
    CHECK_HAS(err.text, "m.bin");
    CHECK_HAS(err.text, why);
    CHECK(!strchr(err.text, '\n'));
}

/* Where the header's number i, or the tensor `name`, begins. */
static uint8_t *number(int i) {
    return file + 4 + 4 * i;
}

static uint8_t *tensor(const char *name) {
    uint8_t *at = memmem(file, len, name, strlen(name));
    CHECK(at != NULL);
    return at;
}

static void put(uint8_t *at, uint32_t value) {
    memcpy(at, &value, 4);
}

TEST(a_whole_file_parses) {
    struct num_err err = {0};
    read_small_file();
    CHECK_INT(parse(file, len, &err), 0);
}

TEST(cut_anywhere) {
    read_small_file();
    int at_end_of_tensor = 0;
    for (size_t n = 0; n < len; n += n < 5000 || n > len - 5000 ? 1 : 37) {
        struct num_err err = {0};
        int32_t status = parse(file, n, &err);
        at_end_of_tensor += status == 0; /* what is missing is then found by its name */
        if (status) {
            CHECK_INT(status, SLUICE_INPUT);
            CHECK_HAS(err.text, "m.bin");
            CHECK(strstr(err.text, "cut short") || strstr(err.text, "no tensors") ||
                  strstr(err.text, "leave no room") || strstr(err.text, "not a model file"));
        }
    }
    CHECK(at_end_of_tensor < 60);
}

TEST(a_file_that_ends_between_tensors) {
    struct num_err err = {0};
    struct wh_model m;
    struct wh_limits limits = {1, 1, 1};
    struct made *w = small_model(NUM_WEIGHT_F16);
    make_test_folder(folder);
    w->n_tensors--;
    made_write_ggml(w, in("m.bin"));
    CHECK_INT(wh_model_load(in("m.bin"), &wh_backend_cpu, &limits, &m, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, "m.bin has no tensor model.decoder.layer_norm.bias");
    w->n_tensors++;
    put((uint8_t *)&w->dims.n_text_ctx, 21);
    made_write_ggml(w, in("m.bin"));
    CHECK_INT(wh_model_load(in("m.bin"), &wh_backend_cpu, &limits, &m, &err), SLUICE_INPUT);
    CHECK_HAS(err.text,
              "embed_positions.weight has the shape [20, 32] where the header asks for [21, 32]");
    made_free(w);
    remove_test_files(folder);
}

TEST(lies_about_sizes) {
    read_small_file();
    uint8_t *vocabulary = file + 4 * 14 + 80 * 201 * 4;
    put(vocabulary, 0xffffffffu);
    refuses("announces a vocabulary of 4294967295 pieces");
    put(vocabulary, 320);
    put(vocabulary + 4, 0xfffffff0u);
    refuses("ends within piece 0");
    put(vocabulary + 4, 1);
    put(number(1), 0);
    refuses("n_audio_ctx is 0");
    put(number(1), 24);
    put(number(4), 70000);
    refuses("n_audio_layer is 70000");
    put(number(4), 2);
    put(number(6), 64);
    refuses("widths 32 and 64");
    put(number(6), 32);
    put(number(9), 128);
    refuses("mel filters are 80 x 201 where 128 x 201");
    put(number(9), 80);
    float weight = 0.5f;
    memcpy(file + 4 * 14 + 4 * (201 * 3 + 7), &weight, 4);
    refuses("band 3, bin 7 weighs 0.5");
    put(file, 0x46554747);
    refuses("begins with 46554747");
}

TEST(tensors_that_lie) {
    read_small_file();
    uint8_t *at = tensor("encoder.blocks.0.mlp.0.weight");
    put(at - 4, 0x7fffffff); /* rows */
    refuses("cut short: tensor encoder.blocks.0.mlp.0.weight takes");
    put(at - 4, 128);
    put(at - 8, 33);
    refuses("rows of 33 elements");
    put(at - 8, 32);
    put(at - 12, 4);
    refuses("ggml type 4");
    put(at - 12, 12);
    refuses("the block of Q4_K (256)");
    put(at - 12, 8);
    at[15] = '9';
    refuses("has a tensor encoder.blocks.9.mlp.0.weight");
    at[15] = '\n';
    refuses("has a tensor encoder.blocks.?.mlp.0.weight");
    at[15] = '0';
    put(at - 20, 9);
    refuses("a tensor with 9 dimensions");
    put(at - 20, 2);
    put(at - 16, 5000);
    refuses("a name of 5000 bytes");
}

TEST(a_tensor_that_comes_twice) {
    struct num_err err = {0};
    struct wh_model m;
    struct wh_limits limits = {1, 1, 1};
    struct made *w = small_model(NUM_WEIGHT_F16);
    make_test_folder(folder);
    struct made_tensor *last = &w->tensors[w->n_tensors - 1], *before = last - 1;
    strcpy(last->theirs, before->theirs);
    made_write_ggml(w, in("m.bin"));
    CHECK_INT(wh_model_load(in("m.bin"), &wh_backend_cpu, &limits, &m, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, "tensor model.decoder.layer_norm.weight is there twice");
    made_free(w);
    remove_test_files(folder);
}

/* ---- Folders -------------------------------------------------------------------------------- */

static void folder_refuses(const char *file_name, const char *why) {
    struct num_err err = {0};
    struct wh_model m;
    struct wh_limits limits = {1, 1, 1};
    CHECK_INT(wh_model_load(folder, &wh_backend_cpu, &limits, &m, &err), SLUICE_INPUT);
    printf("  %s\n", err.text);
    CHECK_HAS(err.text, file_name);
    CHECK_HAS(err.text, why);
}

static void write_text(const char *name, const char *text) {
    FILE *f = fopen(in(name), "w");
    CHECK(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

#define INDEX "model.safetensors.index.json"

/* The index with the file of one tensor replaced. */
static void move_tensor(const char *name, json_t *to) {
    json_t *index = json_load_file(in(INDEX), 0, NULL);
    json_object_set_new(json_object_get(index, "weight_map"), name, to);
    CHECK_INT(json_dump_file(index, in(INDEX), 0), 0);
    json_decref(index);
}

TEST(shards) {
    struct made *m = small_model(NUM_WEIGHT_F32);
    make_test_folder(folder);
    made_write_folder(m, folder, MADE_MULTI_SHARD);
    move_tensor("model.encoder.layer_norm.weight", json_string("../x.safetensors"));
    folder_refuses(INDEX, "../x.safetensors, which is not the name of a safetensors file");
    move_tensor("model.encoder.layer_norm.weight", json_integer(1));
    folder_refuses(INDEX, "(no string)");
    move_tensor("model.encoder.layer_norm.weight", json_string("model-00009-of-00009.safetensors"));
    folder_refuses("model-00009-of-00009.safetensors", "No such file");
    made_write_folder(m, folder, MADE_MULTI_SHARD);
    move_tensor("model.encoder.embed_positions.weight",
                json_string("model-00002-of-00003.safetensors"));
    folder_refuses(
        INDEX,
        "model.encoder.embed_positions.weight into model-00002-of-00003.safetensors, which does");
    made_write_folder(m, folder, MADE_MULTI_SHARD);
    CHECK_INT(truncate(in("model-00003-of-00003.safetensors"), 3000), 0);
    folder_refuses("model-00003-of-00003.safetensors", "cut short");
    made_write_folder(m, folder, MADE_MULTI_SHARD);
    char command[400];
    snprintf(command, sizeof command,
             "cp %s/model-00001-of-00003.safetensors %s/model-00002-of-00003.safetensors", folder,
             folder);
    CHECK_INT(system(command), 0);
    folder_refuses(INDEX, "is there twice");
    write_text(INDEX, "{\"weight_map\": []}");
    folder_refuses(INDEX, "no weight_map");
    write_text(INDEX, "{\"weight_map\": ");
    folder_refuses(INDEX, "line 1");
    unlink(in(INDEX));
    folder_refuses("model.safetensors", "No such file");
    made_free(m);
    remove_test_files(folder);
}

TEST(tokenizer_in_one_file) {
    struct made *m = small_model(NUM_WEIGHT_F32);
    make_test_folder(folder);
    made_write_folder(m, folder, MADE_ONE_TOKENIZER);
    write_text("tokenizer.json", "{\"model\": {\"type\": \"Unigram\", \"vocab\": {}}}");
    folder_refuses("tokenizer.json", "type Unigram");
    write_text("tokenizer.json",
               "{\"model\": {\"vocab\": {\"a\": 0}}, \"added_tokens\": [{\"id\": 3}]}");
    folder_refuses("tokenizer.json", "added token 0 has no \"content\"");
    write_text("tokenizer.json", "{\"model\": {\"vocab\": {\"a\": 99999999}}}");
    folder_refuses("tokenizer.json", "no usable number");
    write_text("tokenizer.json", "{");
    folder_refuses("tokenizer.json", "line 1");
    made_free(m);
    remove_test_files(folder);
}

TEST(a_folder_with_a_file_of_whisper_cpp) {
    struct num_err err = {0};
    struct wh_model m;
    struct wh_limits limits = {1, 1, 1};
    struct made *w = small_model(NUM_WEIGHT_F16);
    make_test_folder(folder);
    made_write_ggml(w, in("ggml-x.bin"));
    CHECK_INT(wh_model_load(folder, &wh_backend_cpu, &limits, &m, &err), 0);
    wh_model_finish(&m);
    made_write_ggml(w, in("ggml-y.bin"));
    folder_refuses("no config.json and 2 .bin files", "give the path of one");
    made_free(w);
    remove_test_files(folder);
}

TEST(things_that_are_no_model) {
    struct num_err err = {0};
    struct wh_model m;
    struct wh_limits limits = {1, 1, 1};
    make_test_folder(folder);
    folder_refuses("config.json", "Hugging Face Whisper folder or a .bin file");
    write_text("empty.bin", "");
    CHECK_INT(wh_model_load(in("empty.bin"), &wh_backend_cpu, &limits, &m, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, "it is empty");
    CHECK_INT(wh_model_load(in("none.bin"), &wh_backend_cpu, &limits, &m, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, "No such file");
    CHECK_INT(wh_model_load("/dev/zero", &wh_backend_cpu, &limits, &m, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, "no file");
    CHECK_INT(mkfifo(in("pipe"), 0600), 0);
    CHECK_INT(wh_model_load(in("pipe"), &wh_backend_cpu, &limits, &m, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, "no file");
    CHECK_INT(mkfifo(in("config.json"), 0600), 0);
    folder_refuses("config.json", "cannot open");
    remove_test_files(folder);
}

TEST_MAIN()
