/*
 * Texts into tokens, for tools/reference/llm_tokenizers.py:
 *
 *     llm_encode FILE.gguf|FOLDER FLAGS
 *
 * Standard input: for each text its length (u32) and its bytes. Standard output: for each the
 * number of tokens (u32), the tokens (i32), the length of the text that they decode to (u32) and
 * its bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llm/tokenizer_files.h"
#include "num/files.h"

static struct lm_tokenizer *load(const char *path) {
    struct lm_tokenizer *t = NULL;
    struct num_err err = {0};
    size_t len = strlen(path);
    if (len > 5 && strcmp(path + len - 5, ".gguf") == 0) {
        void *map;
        struct lm_gguf g = {0};
        if (!num_file_map(path, &map, &len, &err) && !lm_gguf_parse(map, len, path, &g, &err))
            lm_tokenizer_of_gguf(&g, &t, &err);
        lm_gguf_finish(&g);
    } else {
        char *text = NULL;
        if (!num_file_read(path, "tokenizer.json", false, "a tokenizer is wanted", &text, &len,
                           &err))
            lm_tokenizer_parse(text, len, NULL, 0, path, &t, &err);
        free(text);
    }
    if (!t) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    return t;
}

int main(int argc, char **argv) {
    uint32_t n;
    if (argc != 3)
        return 2;
    struct lm_tokenizer *t = load(argv[1]);
    while (fread(&n, 4, 1, stdin) == 1) {
        char *text = malloc(n + 1), *back;
        int32_t *tokens;
        size_t n_tokens;
        struct num_err err;
        if (fread(text, 1, n, stdin) != n ||
            lm_tokenizer_encode(t, text, n, (uint32_t)atoi(argv[2]), &tokens, &n_tokens, &err) ||
            lm_tokenizer_decode(t, tokens, n_tokens, false, &back, &err))
            return 1;
        uint32_t count = (uint32_t)n_tokens, len = (uint32_t)strlen(back);
        fwrite(&count, 4, 1, stdout);
        fwrite(tokens, 4, count, stdout);
        fwrite(&len, 4, 1, stdout);
        fwrite(back, 1, len, stdout);
        free(tokens);
        free(text);
        free(back);
    }
    lm_tokenizer_destroy(t);
    return 0;
}
