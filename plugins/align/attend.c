/*
 * Attention over the frames of a run: one head and one block of queries to a task.
 */
#include "align/net_own.h"
#include "num/cpu/attend.h"

#define QUERIES 96 /* of a task: whole groups of 32 or 48 */

static void attend_task(void *ctx, uint32_t index, uint32_t thread) {
    struct al_net *net = ctx;
    size_t head = index % net->config.n_heads, first = index / net->config.n_heads * QUERIES;
    size_t ldq = (net->config.n_state + AL_PAD) * net->act_bytes;
    char *queries = net->queries + first * ldq + head * net->kv.d * net->act_bytes;
    struct num_attend attend = {.kernels = net->kernels,
                                .kv = &net->kv,
                                .head = net->heads + head * net->kv.head_words,
                                .n_keys = net->T,
                                .n_queries = net->T - first < QUERIES ? net->T - first : QUERIES,
                                .q = queries,
                                .ldq = ldq,
                                .out_type = net->act,
                                .out = queries,
                                .ld_out = ldq};
    num_attend(&attend, net->scratch + thread * net->scratch_bytes);
}

void al_attend(struct al_net *net) {
    size_t n_blocks = (net->T + QUERIES - 1) / QUERIES;
    num_pool_run(net->pool, (uint32_t)(n_blocks * net->config.n_heads), attend_task, net);
}
