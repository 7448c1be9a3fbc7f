/*
 * Byte-pair merging of one piece of text: of all neighbours that join, the pair that goes first is
 * joined, until none joins. Time grows with n * log(n).
 */
#ifndef NUM_BPE_MERGE_H
#define NUM_BPE_MERGE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NUM_BPE_NONE UINT32_MAX

/* Bytes [at, at + len) of the piece; len is 0 once it was joined to the part on its left. */
struct num_bpe_part {
    uint32_t at, len;
    uint32_t previous, next; /* parts, by their index; NUM_BPE_NONE at the ends */
    int32_t token;           /* -1: none of the vocabulary */
};

struct num_bpe_pair {
    float order;
    uint32_t left; /* part */
    uint32_t len;  /* of both, when it was offered */
    int32_t to;
};

/*
 * What two neighbours make, or -1 where they do not join, and *ret_order, of which the least goes
 * first, of equal ones the leftmost. Numbers below 2^24 are exact in it.
 */
typedef int32_t num_bpe_join(const void *ctx, const struct num_bpe_part *left,
                             const struct num_bpe_part *right, float *ret_order);

struct num_bpe_work {
    struct num_bpe_part *parts; /* room for one a byte */
    struct num_bpe_pair *heap;  /* room for three a byte */
    uint32_t n_parts, n_heap;   /* 0 before a piece's first part is added */
    num_bpe_join *join;
    const void *ctx; /* for join */
};

/* Appends a part. */
void num_bpe_add(struct num_bpe_work *work, size_t at, size_t len, int32_t token);

/* Joins parts; what is left hangs together by `next` from part 0, where there is any. */
void num_bpe_merge(struct num_bpe_work *work);

#ifdef __cplusplus
}
#endif

#endif
