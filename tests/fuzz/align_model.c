/* config.json, preprocessor_config.json and vocab.json of a CTC model, its vocabulary of one
 * language of many, and a dictionary, chosen by the first byte. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "align/config.h"
#include "align/dictionary.h"
#include "align/vocab.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_config(const char *text, size_t len, bool preprocessor) {
    static const char plain[] =
        "{\"model_type\": \"hubert\", \"hidden_size\": 32, \"num_hidden_layers\": 1, "
        "\"num_attention_heads\": 1, \"intermediate_size\": 32, \"conv_dim\": [32, 32], "
        "\"conv_kernel\": [10, 3], \"conv_stride\": [5, 2]}";
    struct al_config c;
    struct num_err err;
    int32_t status = preprocessor ? al_config_parse(plain, sizeof plain - 1, text, len, &c, &err)
                                  : al_config_parse(text, len, NULL, 0, &c, &err);
    if (status == SLUICE_OK && (c.n_state % c.n_heads || al_config_stride(&c) == 0 ||
                                al_config_frames(&c, al_config_field(&c)) != 1))
        abort();
}

static void read_vocab(const char *text, size_t len, const char *language) {
    static const char *const words[] = {" Caf\u00e9's", "$25,000.00", "\xff\xc3 \xe6\x97", ""};
    struct al_vocab v;
    int32_t ids[16];
    if (al_vocab_parse(text, len, language, 100, -1, &v, NULL))
        return;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t n = al_vocab_spell(&v, words[i], ids, 16);
        for (size_t k = 0; k < n; k++)
            if (ids[k] < AL_STAR || ids[k] >= 100)
                abort();
    }
    al_vocab_finish(&v);
}

static void read_dictionary(const char *text, size_t len) {
    static const char vocab[] = "{\"<pad>\": 0, \"h\": 1, \"AH\": 2, \"l\": 3, \"o\u028a\": 4}";
    struct al_dictionary d;
    struct al_vocab v;
    int32_t ids[64];
    if (al_dictionary_parse(text, len, "dictionary", &d, NULL))
        return;
    if (al_vocab_parse(vocab, sizeof vocab - 1, "", 5, -1, &v, NULL))
        abort();
    for (size_t i = 0; i < d.n_entries; i++) {
        const char *phonemes = al_dictionary_find(&d, d.entries[i].word);
        if (!phonemes || al_dictionary_spell(&v, phonemes, ids, 64) > strlen(phonemes))
            abort();
    }
    al_vocab_finish(&v);
    al_dictionary_finish(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    const char *text = (const char *)data + 1;
    if (data[0] == 'v' || data[0] == 'l')
        read_vocab(text, size - 1, data[0] == 'l' ? "eng" : "");
    else if (data[0] == 'd')
        read_dictionary(text, size - 1);
    else
        read_config(text, size - 1, data[0] == 'p');
    return 0;
}
