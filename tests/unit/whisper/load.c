/*
 * Loading a model folder: every defect is one sentence that names the file and what is wrong with
 * it.
 */
#include "unit/whisper/clips.h"

#include <sys/stat.h>

static char folder[TEST_PATH];

/* A private copy of the embedded model's files. */
static void copy_model(void) {
    char command[1024];
    make_test_folder(folder);
    snprintf(command, sizeof command, "cp '%s'/*.json '%s'/model.safetensors '%s'", MODEL_DIR,
             MODEL_DIR, folder);
    CHECK_INT(system(command), 0);
}

/* Writes `text` as a file of the copy; NULL removes it. */
static void put(const char *file, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    if (!text) {
        CHECK_INT(unlink(path), 0);
        return;
    }
    FILE *f = fopen(path, "w");
    CHECK(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

/* The copy's JSON file with `key` set to `value` (JSON text; NULL: without the key). */
static void set(const char *file, const char *key, const char *value) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    json_t *o = json_load_file(path, 0, NULL);
    CHECK(o != NULL);
    if (value)
        CHECK_INT(json_object_set_new(o, key, json_loads(value, JSON_DECODE_ANY, NULL)), 0);
    else
        json_object_del(o, key);
    CHECK_INT(json_dump_file(o, path, 0), 0);
    json_decref(o);
}

static void refuses(const char *file, const char *why) {
    struct wh_model m;
    struct num_err err = {0};
    struct wh_limits limits = {1, 1, 1};
    int32_t status = wh_model_load(folder, &wh_backend_cpu, &limits, &m, &err);
    printf("  %s\n", err.text);
    CHECK_INT(status, SLUICE_INPUT);
    CHECK_HAS(err.text, folder);
    CHECK_HAS(err.text, file);
    CHECK_HAS(err.text, why);
    CHECK(!strchr(err.text, '\n'));
}

TEST(reads_the_embedded_model) {
    struct wh_model m;
    model_open(&m, 1, 1, 1);
    CHECK(m.dims.n_mels == 80 && m.dims.n_state == 192 && m.dims.n_vocab == 1022);
    CHECK(m.dims.n_audio_ctx == 500 && m.dims.n_text_ctx == 128 && m.dims.n_alignment_heads == 2);
    CHECK(m.tokens.sot == 513 && m.tokens.transcribe == 516 && m.tokens.translate == 515);
    CHECK(m.tokens.no_speech == 519 && m.tokens.n_languages == 1 &&
          m.tokens.languages[0].token == 514);
    CHECK(m.rules.eot == 512 && m.rules.timestamp_begin == 521 && m.rules.max_initial == 100);
    CHECK(m.rules.n_suppress == 0 && m.rules.n_begin_suppress == 1 &&
          m.rules.begin_suppress[0] == 512);
    wh_model_finish(&m);
}

TEST(missing_and_broken_files) {
    copy_model();
    put("config.json", "{\"d_model\": 192,");
    refuses("config.json, line 1", "");
    put("config.json", "[]");
    refuses("config.json", "not a JSON object");
    put("config.json", NULL);
    refuses("config.json", "No such file");
    remove_test_files(folder);
    copy_model();
    put("vocab.json", "{\"a\": -1}");
    refuses("vocab.json", "token a");
    put("vocab.json", "{\"\xe4\xb8\xad\": 1}");
    refuses("vocab.json", "stands for no byte");
    remove_test_files(folder);
    copy_model();
    put("added_tokens.json", "{}");
    refuses("the tokenizer has no token", "<|endoftext|>");
    put("added_tokens.json", NULL);
    refuses("added_tokens.json", "Hugging Face Whisper folder");
    remove_test_files(folder);
    copy_model();
    put("model.safetensors", "hello, this is no weight file");
    refuses("model.safetensors", "not a safetensors file");
    put("model.safetensors", NULL);
    refuses("model.safetensors", "No such file");
    remove_test_files(folder);
}

TEST(sizes_that_do_not_fit) {
    copy_model();
    set("config.json", "d_model", "\"wide\"");
    refuses("config.json", "d_model must be a whole number");
    set("config.json", "d_model", "191");
    refuses("config.json", "cannot be split");
    set("config.json", "d_model", "96");
    refuses("model.safetensors", "model.encoder.conv1.weight has the shape [192, 80, 3] where "
                                 "config.json asks for [96, 80, 3]");
    set("config.json", "d_model", "192");
    set("config.json", "decoder_layers", "3");
    set("generation_config.json", "alignment_heads", "[[0, 1], [0]]");
    refuses("generation_config.json", "entry 1 of alignment_heads is not a layer and a head");
    set("generation_config.json", "alignment_heads", NULL);
    refuses("model.safetensors", "has no tensor model.decoder.layers.2.fc1.weight");
    set("config.json", "decoder_layers", "0");
    refuses("config.json", "decoder_layers");
    set("config.json", "decoder_layers", "2");
    set("config.json", "vocab_size", "4000000");
    set("config.json", "encoder_ffn_dim", "262144");
    refuses("model.safetensors",
            "fc1.weight has the shape [768, 192] where config.json asks for [262144, 192]");
    remove_test_files(folder);
}

TEST(a_cut_weight_file) {
    copy_model();
    char path[256];
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    CHECK_INT(chmod(path, 0600), 0);
    CHECK_INT(truncate(path, 6000000), 0);
    refuses("model.safetensors", "cut short");
    CHECK_INT(truncate(path, 5000), 0);
    refuses("model.safetensors", "cut short");
    CHECK_INT(truncate(path, 0), 0);
    refuses("model.safetensors", "it is empty");
    remove_test_files(folder);
}

TEST(generation_config_is_optional) {
    struct wh_model m;
    struct num_err err;
    struct wh_limits limits = {1, 1, 1};
    copy_model();
    put("generation_config.json", NULL);
    CHECK_INT(wh_model_load(folder, &wh_backend_cpu, &limits, &m, &err), 0);
    CHECK_INT(m.rules.max_initial, 50);
    CHECK_INT(m.rules.n_begin_suppress, 0);
    wh_model_finish(&m);
    remove_test_files(folder);
}

TEST(alignment_heads_of_another_model_are_not_taken) {
    struct wh_model m;
    struct num_err err;
    struct wh_limits limits = {1, 1, 1};
    copy_model();
    set("generation_config.json", "alignment_heads", "[[1, 0], [25, 6]]");
    CHECK_INT(wh_model_load(folder, &wh_backend_cpu, &limits, &m, &err), 0);
    CHECK_INT(m.dims.n_alignment_heads, m.dims.n_text_heads);
    CHECK(m.dims.alignment_heads[0].layer == 1 && m.dims.alignment_heads[2].head == 2);
    wh_model_finish(&m);
    remove_test_files(folder);
}

TEST(english_only_models_have_no_language_in_the_prompt) {
    struct wh_model m;
    struct num_err err;
    struct wh_limits limits = {1, 1, 1};
    copy_model();
    set("generation_config.json", "is_multilingual", "false");
    CHECK_INT(wh_model_load(folder, &wh_backend_cpu, &limits, &m, &err), 0);
    CHECK_INT(m.tokens.n_languages, 0);
    wh_model_finish(&m);
    set("generation_config.json", "is_multilingual", NULL);
    CHECK_INT(wh_model_load(folder, &wh_backend_cpu, &limits, &m, &err), 0);
    CHECK_INT(m.tokens.n_languages, 1);
    wh_model_finish(&m);
    remove_test_files(folder);
}

TEST_MAIN()
