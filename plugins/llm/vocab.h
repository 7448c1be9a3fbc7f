/*
 * The inside of a tokenizer, shared by those who make it (tokenizer_json.c, tokenizer_gguf.c),
 * those who cut text (split.c, merge.c, unigram.c) and tokenizer.c.
 */
#ifndef LM_VOCAB_H
#define LM_VOCAB_H

#include "llm/charsmap.h"
#include "llm/tokenizer.h"

#define LM_MAX_TOKENS (1u << 20) /* the largest vocabularies have 262144 */
#define LM_MAX_SPLITS 4

enum lm_kind { LM_BYTE_BPE, LM_SPM_BPE, LM_UNIGRAM };

/* How a text is cut before tokens are joined. Regular expressions by their families, exactly. */
enum lm_split {
    LM_SPLIT_GPT2,
    LM_SPLIT_LLAMA3,
    LM_SPLIT_QWEN2,
    LM_SPLIT_DIGITS, /* every number a piece of its own */
    LM_SPLIT_BLANKS, /* before every U+2581 */
};

enum lm_prepend { LM_PREPEND_NEVER, LM_PREPEND_FIRST, LM_PREPEND_ALWAYS };

struct lm_token {
    uint32_t name, name_len;   /* where it lies in `text` */
    uint32_t bytes, bytes_len; /* ... and what it stands for */
    float score;
    bool used, special, added;
    bool lstrip, rstrip; /* added: takes the blanks before, behind it along */
};

struct lm_merge {
    int32_t left, right, to; /* left is -1 where the slot is free */
    int32_t rank;
};

struct lm_tokenizer {
    enum lm_kind kind;
    struct lm_token *tokens;
    uint32_t n_tokens, room_tokens;
    char *text; /* names, NUL-terminated, and bytes */
    size_t text_len, text_room;

    int32_t *slots; /* tokens that are not added, by name; a hash table */
    size_t n_slots;
    size_t longest_name;
    struct lm_merge *merges; /* a hash table, or NULL: neighbours join where their text is a token,
                                best score first */
    size_t n_merges;

    int32_t *added; /* tokens that are found in a text, by first byte, longest first */
    uint32_t n_added, first_added[257];

    enum lm_split splits[LM_MAX_SPLITS];
    uint32_t n_splits;
    bool nfc;        /* texts are brought into normal form C first */
    bool blanks;     /* U+0020 becomes U+2581 */
    bool normalises; /* texts go through charsmap.h instead, */
    bool trims;      /* ... which takes blanks out that are too many */
    struct lm_charsmap charsmap;
    bool prepend_space;      /* U+0020 goes before texts that begin with none */
    enum lm_prepend prepend; /* U+2581 goes before texts */
    bool prepend_unless;     /* ... unless they begin with one */
    bool ignore_merges;      /* a piece that is a token needs no merges */
    bool fuse_unk;           /* neighbours that are no token become one unknown */
    bool wide_scores;        /* sums of scores in double */
    int32_t bytes[256];      /* byte-level: their tokens; else those for what is no token; or -1 */
    bool byte_fallback;
    int32_t unk, bos, eos;
    float unk_score;
    int32_t prefix[8]; /* what every text begins with */
    uint32_t n_prefix;
};

/* ---- Making (vocab.c) ----------------------------------------------------------------------- */

struct lm_tokenizer *lm_tokenizer_new(void);

/* Sets token `id`. SLUICE_INPUT above LM_MAX_TOKENS. */
int32_t lm_vocab_set(struct lm_tokenizer *t, uint64_t id, const char *name, size_t len, float score,
                     struct num_err *err);
/* Makes tokens findable; room for n_merges. */
int32_t lm_vocab_index(struct lm_tokenizer *t, size_t n_merges, struct num_err *err);
/* The merge of the two names that stand one behind the other in `both`; false where they, or what
 * they make, are no tokens. The first of two equal ones counts. */
bool lm_vocab_merge(struct lm_tokenizer *t, const char *both, size_t left_len, size_t right_len,
                    int32_t rank);
/* What tokens stand for, bytes' tokens, and the list of added ones: last of all. */
int32_t lm_vocab_finish(struct lm_tokenizer *t, struct num_err *err);

/* The token of that name that is not added, or -1. */
int32_t lm_vocab_find(const struct lm_tokenizer *t, const char *name, size_t len);
const struct lm_merge *lm_vocab_pair(const struct lm_tokenizer *t, int32_t left, int32_t right);

/* ---- Cutting -------------------------------------------------------------------------------- */

/* Tokens as they are found. */
struct lm_out {
    int32_t *tokens;
    size_t n, room;
    bool failed; /* no memory */
};

void lm_out_add(struct lm_out *out, int32_t token);

/* Bytes of the first piece of the text (len > 0) by that rule. */
size_t lm_split_piece(enum lm_split split, const uint8_t *text, size_t len);

/* One piece into tokens (merge.c, unigram.c). */
void lm_merge_piece(const struct lm_tokenizer *t, const char *text, size_t len, struct lm_out *out);
void lm_unigram_piece(const struct lm_tokenizer *t, const char *text, size_t len,
                      struct lm_out *out);

/* What is no token: its bytes' tokens, or the unknown one. */
void lm_out_unknown(const struct lm_tokenizer *t, const char *text, size_t len, struct lm_out *out);

#endif
