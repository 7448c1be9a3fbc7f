/*
 * A program that writes a small language model of random weights into a folder, for tests that run
 * stages: made FOLDER. Its tokens are the bytes below 128, its context is 4096 of them, and what it
 * writes is noise.
 */
#include "unit/llm/make_model.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

static const char config_text[] =
    "{\"model_type\": \"llama\", \"vocab_size\": 128, \"hidden_size\": 32, \"intermediate_size\": "
    "48, \"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"num_key_value_heads\": 2, "
    "\"hidden_act\": \"silu\", \"rms_norm_eps\": 1e-05, \"max_position_embeddings\": 4096, "
    "\"rope_theta\": 10000.0, \"tie_word_embeddings\": false, \"bos_token_id\": 1, "
    "\"eos_token_id\": 2}";

int main(int argc, char **argv) {
    if (argc != 2 || (mkdir(argv[1], 0777) && errno != EEXIST)) {
        fprintf(stderr, "usage: made FOLDER, whose parent exists\n");
        return 1;
    }
    json_t *config = json_loads(config_text, 0, NULL);
    lm_made_folder(config, NUM_WEIGHT_F32, 1, argv[1]);
    json_decref(config);
    return 0;
}
