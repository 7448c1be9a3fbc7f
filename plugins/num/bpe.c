/*
 * Byte-pair tokenizer: see bpe.h.
 *
 * GPT-2 writes each byte of a piece as one printable character: 188 bytes stand for themselves, the
 * other 68 for U+0100 and up, in order. Parsing runs twice over the JSON objects: once to check ids
 * and add up lengths, once to store, so that all bytes lie in one block.
 */
#include "num/bpe.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "num/utf8.h"

#define CODES 0x180 /* the characters above U+0100 end well below */

static bool stands_for_itself(int byte) {
    return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

/* code[c] = the byte that character c stands for, or -1. */
static void fill_codes(int16_t code[CODES]) {
    int next = 0x100;
    for (int c = 0; c < CODES; c++)
        code[c] = -1;
    for (int byte = 0; byte < 256; byte++)
        code[stands_for_itself(byte) ? byte : next++] = (int16_t)byte;
}

/* The bytes of a piece and how many; -1 where a character stands for none. ret may be NULL. */
static ptrdiff_t piece_bytes(const int16_t code[CODES], const char *piece, uint8_t *ret) {
    const uint8_t *text = (const uint8_t *)piece;
    size_t len = strlen(piece);
    ptrdiff_t n = 0;
    for (size_t i = 0; i < len; n++) {
        uint32_t c;
        size_t step = num_utf8_next(text + i, len - i, &c);
        if (step == 0 || c >= CODES || code[c] < 0)
            return -1;
        if (ret)
            ret[n] = (uint8_t)code[c];
        i += step;
    }
    return n;
}

struct parser {
    int16_t code[CODES];
    const char *folder;
    struct num_err *err;
    size_t n_tokens, n_bytes;
};

/* "<|endoftext|>": a special token among the pieces. */
static bool looks_special(const char *piece) {
    size_t len = strlen(piece);
    return len > 4 && memcmp(piece, "<|", 2) == 0 && memcmp(piece + len - 2, "|>", 2) == 0;
}

static int32_t measure(struct parser *p, json_t *object, const char *file, bool special) {
    const char *piece;
    json_t *value;
    if (!json_is_object(object))
        return num_fail(p->err, SLUICE_INPUT, "%s/%s is not a JSON object of token numbers",
                        p->folder, file);
    json_object_foreach(object, piece, value) {
        json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
        ptrdiff_t n = special || looks_special(piece) ? (ptrdiff_t)strlen(piece)
                                                      : piece_bytes(p->code, piece, NULL);
        if (id < 0 || id >= NUM_BPE_MAX_TOKENS)
            return num_fail(p->err, SLUICE_INPUT, "%s/%s: the token %.60s has no usable number",
                            p->folder, file, piece);
        if (n < 0)
            return num_fail(p->err, SLUICE_INPUT,
                            "%s/%s: the token %.60s holds a character that stands for "
                            "no byte",
                            p->folder, file, piece);
        p->n_tokens = (size_t)id >= p->n_tokens ? (size_t)id + 1 : p->n_tokens;
        p->n_bytes += (size_t)n;
    }
    return SLUICE_OK;
}

/* Stores the tokens of one file; `*at` is the next free byte. Two names of one number: the last
 * wins. */
static void fill(const struct parser *p, json_t *object, bool special, struct num_bpe *bpe,
                 size_t *at) {
    const char *piece;
    json_t *value;
    json_object_foreach(object, piece, value) {
        uint8_t *to = bpe->bytes + *at;
        bool literal = special || looks_special(piece);
        size_t n = literal ? strlen(piece) : (size_t)piece_bytes(p->code, piece, to);
        if (literal)
            memcpy(to, piece, n);
        bpe->tokens[json_integer_value(value)] = (struct num_bpe_token){to, (uint32_t)n, literal};
        *at += n;
    }
}

struct files {
    const char *vocab, *added; /* where they come from, for messages */
};

static const struct files two_files = {"vocab.json", "added_tokens.json"};
static const struct files one_file = {"tokenizer.json", "tokenizer.json"};

static int32_t build(struct parser *p, const struct files *files, json_t *vocab, json_t *added,
                     struct num_bpe *ret) {
    int32_t status = measure(p, vocab, files->vocab, false);
    if (!status && added)
        status = measure(p, added, files->added, true);
    if (status)
        return status;
    struct num_bpe bpe = {.n_tokens = p->n_tokens};
    bpe.tokens = calloc(p->n_tokens + 1, sizeof *bpe.tokens);
    bpe.bytes = malloc(p->n_bytes + 1);
    if (!bpe.tokens || !bpe.bytes) {
        num_bpe_finish(&bpe);
        return num_fail_memory(p->err, "a tokenizer",
                               p->n_tokens * sizeof *bpe.tokens + p->n_bytes);
    }
    size_t at = 0;
    fill(p, vocab, false, &bpe, &at);
    fill(p, added, true, &bpe, &at);
    *ret = bpe;
    return SLUICE_OK;
}

int32_t num_bpe_parse(const char *vocab, size_t vocab_len, const char *added, size_t added_len,
                      const char *folder, struct num_bpe *ret, struct num_err *err) {
    struct parser p = {.folder = folder, .err = err};
    json_error_t why;
    int32_t status;
    fill_codes(p.code);
    json_t *vocab_json = json_loadb(vocab, vocab_len, 0, &why), *added_json = NULL;
    if (!vocab_json)
        status =
            num_fail(err, SLUICE_INPUT, "%s/vocab.json, line %d: %s", folder, why.line, why.text);
    else if (added && !(added_json = json_loadb(added, added_len, 0, &why)))
        status = num_fail(err, SLUICE_INPUT, "%s/added_tokens.json, line %d: %s", folder, why.line,
                          why.text);
    else
        status = build(&p, &two_files, vocab_json, added_json, ret);
    json_decref(vocab_json);
    json_decref(added_json);
    return status;
}

/* {"content": id} of tokenizer.json's list of added tokens, a new reference; NULL with an error. */
static json_t *added_of(const struct parser *p, json_t *list) {
    json_t *added = json_object(), *entry;
    size_t i;
    json_array_foreach(list, i, entry) {
        const char *content = json_string_value(json_object_get(entry, "content"));
        json_t *id = json_object_get(entry, "id");
        if (!content || !id || json_object_set(added, content, id) < 0) {
            num_fail(p->err, SLUICE_INPUT,
                     "%s/tokenizer.json: added token %zu has no \"content\" and \"id\"", p->folder,
                     i);
            json_decref(added);
            return NULL;
        }
    }
    return added;
}

int32_t num_bpe_parse_tokenizer(const char *text, size_t len, const char *folder,
                                struct num_bpe *ret, struct num_err *err) {
    struct parser p = {.folder = folder, .err = err};
    json_error_t why;
    fill_codes(p.code);
    json_t *root = json_loadb(text, len, 0, &why);
    if (!root)
        return num_fail(err, SLUICE_INPUT, "%s/tokenizer.json, line %d: %s", folder, why.line,
                        why.text);
    json_t *model = json_object_get(root, "model");
    const char *type = json_string_value(json_object_get(model, "type"));
    json_t *vocab = json_object_get(model, "vocab");
    json_t *added = json_object_get(root, "added_tokens");
    int32_t status = SLUICE_OK;
    if (!json_is_object(vocab) || (type && strcmp(type, "BPE") != 0))
        status = num_fail(err, SLUICE_INPUT,
                          "%s/tokenizer.json holds a model of type %.40s; Whisper's is BPE with a "
                          "vocab",
                          folder, type ? type : "(none)");
    json_t *by_name = status ? NULL : added_of(&p, added);
    if (!status)
        status = by_name ? build(&p, &one_file, vocab, by_name, ret) : SLUICE_INPUT;
    json_decref(by_name);
    json_decref(root);
    return status;
}

int32_t num_bpe_build(const struct num_bpe_token *tokens, size_t n, struct num_bpe *ret,
                      struct num_err *err) {
    struct num_bpe bpe = {.n_tokens = n};
    size_t n_bytes = 0;
    for (size_t i = 0; i < n; i++)
        n_bytes += tokens[i].len;
    bpe.tokens = calloc(n + 1, sizeof *bpe.tokens);
    bpe.bytes = malloc(n_bytes + 1);
    if (!bpe.tokens || !bpe.bytes) {
        num_bpe_finish(&bpe);
        return num_fail_memory(err, "a tokenizer", n * sizeof *bpe.tokens + n_bytes);
    }
    uint8_t *to = bpe.bytes;
    for (size_t i = 0; i < n; i++) {
        if (!tokens[i].bytes)
            continue;
        bpe.tokens[i] = (struct num_bpe_token){to, tokens[i].len, tokens[i].special};
        if (tokens[i].len)
            memcpy(to, tokens[i].bytes, tokens[i].len);
        to += tokens[i].len;
    }
    *ret = bpe;
    return SLUICE_OK;
}

void num_bpe_finish(struct num_bpe *bpe) {
    free(bpe->tokens);
    free(bpe->bytes);
    *bpe = (struct num_bpe){0};
}

int32_t num_bpe_special(const struct num_bpe *bpe, const char *name) {
    size_t len = strlen(name);
    for (size_t i = 0; i < bpe->n_tokens; i++) {
        const struct num_bpe_token *t = &bpe->tokens[i];
        if (t->special && t->len == len && memcmp(t->bytes, name, len) == 0)
            return (int32_t)i;
    }
    return -1;
}

int32_t num_bpe_decode(const struct num_bpe *bpe, const int32_t *tokens, size_t n, char **ret_text,
                       struct num_err *err) {
    size_t len = 0;
    for (size_t i = 0; i < n; i++)
        if (tokens[i] >= 0 && (size_t)tokens[i] < bpe->n_tokens && !bpe->tokens[tokens[i]].special)
            len += bpe->tokens[tokens[i]].len;
    uint8_t *bytes = malloc(len + 1);
    char *text = malloc(3 * len + 1);
    if (!bytes || !text) {
        free(bytes);
        free(text);
        return num_fail_memory(err, "a text", 4 * len);
    }
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (tokens[i] < 0 || (size_t)tokens[i] >= bpe->n_tokens || bpe->tokens[tokens[i]].special)
            continue;
        const struct num_bpe_token *t = &bpe->tokens[tokens[i]];
        if (t->len)
            memcpy(bytes + at, t->bytes, t->len);
        at += t->len;
    }
    num_utf8_clean(bytes, len, text);
    free(bytes);
    *ret_text = text;
    return SLUICE_OK;
}
