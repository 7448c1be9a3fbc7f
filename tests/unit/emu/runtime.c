/*
 * The emulated runtime as a host sees it: nothing runs before somebody waits, streams are in order
 * and cross only at events, graphs replay what was captured, memory is of a size.
 */
#include <cuda_runtime.h>

#include "emu/emu.h"
#include "unit/test.h"

#define CHECK_CUDA(call) CHECK_STR(cudaGetErrorName(call), "cudaSuccess")

static int *pinned(int n) {
    int *p;
    CHECK_CUDA(cudaMallocHost((void **)&p, (size_t)n * sizeof *p));
    return p;
}

static int *device(int n) {
    int *p;
    CHECK_CUDA(cudaMalloc((void **)&p, (size_t)n * sizeof *p));
    return p;
}

TEST(copies_wait_for_the_stream) {
    cudaStream_t s;
    int *host = pinned(4), *d = device(4);
    CHECK_CUDA(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
    host[0] = 5;
    CHECK_CUDA(cudaMemcpyAsync(d, host, sizeof(int), cudaMemcpyHostToDevice, s));
    host[0] = 6; /* pinned memory is read when the copy runs */
    CHECK_CUDA(cudaMemcpyAsync(host + 1, d, sizeof(int), cudaMemcpyDeviceToHost, s));
    CHECK_INT(host[1], -1);
    CHECK_INT(cudaStreamQuery(s), cudaErrorNotReady);
    CHECK_CUDA(cudaStreamSynchronize(s));
    CHECK_INT(host[1], 6);
    CHECK_CUDA(cudaStreamQuery(s));
    int stack = 7, back = 0; /* pageable memory is read, and written, before the call returns */
    CHECK_CUDA(cudaMemcpyAsync(d, &stack, sizeof(int), cudaMemcpyHostToDevice, s));
    stack = 8;
    CHECK_CUDA(cudaMemcpyAsync(&back, d, sizeof(int), cudaMemcpyDeviceToHost, s));
    CHECK_INT(back, 7);
}

TEST(memory_is_not_a_number_at_first) {
    float *d, host[3];
    CHECK_CUDA(cudaMalloc((void **)&d, sizeof host));
    CHECK_CUDA(cudaMemcpy(host, d, sizeof host, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 3; i++)
        CHECK(isnan(host[i]));
}

TEST(events_order_streams) {
    cudaStream_t a, b;
    cudaEvent_t ready;
    int *host = pinned(3), *d = device(1);
    CHECK_CUDA(cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking));
    CHECK_CUDA(cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking));
    CHECK_CUDA(cudaEventCreateWithFlags(&ready, cudaEventDisableTiming));
    CHECK_CUDA(cudaMemsetAsync(d, 1, sizeof(int), a));
    CHECK_CUDA(cudaEventRecord(ready, a));
    CHECK_CUDA(cudaMemsetAsync(d, 2, sizeof(int), a)); /* behind the event: b need not see it */
    CHECK_CUDA(cudaStreamWaitEvent(b, ready, 0));
    CHECK_INT(cudaEventQuery(ready), cudaErrorNotReady);
    CHECK_CUDA(cudaMemcpyAsync(host, d, sizeof(int), cudaMemcpyDeviceToHost, b));
    CHECK_CUDA(cudaStreamSynchronize(b));
    CHECK_CUDA(cudaEventDestroy(ready));
    CHECK(host[0] == 0x01010101 || host[0] == 0x02020202);
    CHECK_CUDA(cudaDeviceSynchronize());
}

/* How many of 32 orders let stream b read before stream a wrote, with nothing between them. */
TEST(without_an_event_the_order_is_open) {
    int n_early = 0;
    for (uint64_t seed = 1; seed <= 32; seed++) {
        cudaStream_t a, b;
        int *host = pinned(1), *d = device(1);
        emu_set_seed(seed);
        CHECK_CUDA(cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking));
        CHECK_CUDA(cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking));
        CHECK_CUDA(cudaMemsetAsync(d, 1, sizeof(int), a));
        CHECK_CUDA(cudaMemcpyAsync(host, d, sizeof(int), cudaMemcpyDeviceToHost, b));
        CHECK_CUDA(cudaDeviceSynchronize());
        n_early += host[0] == -1;
        CHECK_CUDA(cudaStreamDestroy(a));
        CHECK_CUDA(cudaStreamDestroy(b));
    }
    CHECK(n_early > 4 && n_early < 28);
}

TEST(the_default_stream_waits_for_blocking_ones) {
    for (uint64_t seed = 1; seed <= 8; seed++) {
        cudaStream_t blocking;
        int *host = pinned(2), *d = device(1);
        emu_set_seed(seed);
        CHECK_CUDA(cudaStreamCreate(&blocking));
        CHECK_CUDA(cudaMemsetAsync(d, 1, sizeof(int), blocking));
        CHECK_CUDA(cudaMemcpyAsync(host, d, sizeof(int), cudaMemcpyDeviceToHost, NULL));
        CHECK_CUDA(cudaMemsetAsync(d, 2, sizeof(int), blocking));
        CHECK_CUDA(cudaDeviceSynchronize());
        CHECK_INT(host[0], 0x01010101);
        CHECK_CUDA(cudaStreamDestroy(blocking));
    }
}

/* Two branches of a capture, forked and joined by events: both add their bytes. */
TEST(graphs_replay_branches) {
    for (uint64_t seed = 0; seed < 4; seed++) {
        cudaStream_t a, b;
        cudaEvent_t fork, join;
        cudaGraph_t graph;
        cudaGraphExec_t exec;
        size_t n_nodes;
        int *host = pinned(3), *d = device(2);
        emu_set_seed(seed);
        CHECK_CUDA(cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking));
        CHECK_CUDA(cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking));
        CHECK_CUDA(cudaEventCreate(&fork));
        CHECK_CUDA(cudaEventCreate(&join));
        CHECK_CUDA(cudaStreamBeginCapture(a, cudaStreamCaptureModeGlobal));
        CHECK_CUDA(cudaMemcpyAsync(d, host, sizeof(int), cudaMemcpyHostToDevice, a));
        CHECK_CUDA(cudaEventRecord(fork, a));
        CHECK_CUDA(cudaStreamWaitEvent(b, fork, 0));
        CHECK_CUDA(cudaMemcpyAsync(d + 1, d, sizeof(int), cudaMemcpyDeviceToDevice, b));
        CHECK_CUDA(cudaEventRecord(join, b));
        CHECK_CUDA(cudaStreamWaitEvent(a, join, 0));
        CHECK_CUDA(cudaMemsetAsync(d, 3, sizeof(int), a));
        CHECK_CUDA(cudaMemcpyAsync(host + 1, d, 2 * sizeof(int), cudaMemcpyDeviceToHost, a));
        CHECK_CUDA(cudaStreamEndCapture(a, &graph));
        CHECK_CUDA(cudaGraphGetNodes(graph, NULL, &n_nodes));
        CHECK_INT(n_nodes, 4);
        CHECK_CUDA(cudaGraphInstantiate(&exec, graph, 0));
        CHECK_CUDA(cudaGraphDestroy(graph));
        for (int i = 0; i < 3; i++) {
            host[0] = 100 + i;
            host[1] = host[2] = 0;
            CHECK_CUDA(cudaGraphLaunch(exec, b));
            CHECK_INT(host[1], 0);
            CHECK_CUDA(cudaStreamSynchronize(b));
            CHECK_INT(host[1], 0x03030303);
            CHECK_INT(host[2], 100 + i);
        }
        CHECK_CUDA(cudaGraphExecDestroy(exec));
        CHECK_CUDA(cudaEventDestroy(fork));
        CHECK_CUDA(cudaEventDestroy(join));
    }
}

TEST(a_capture_forbids_waiting) {
    cudaStream_t s;
    cudaGraph_t graph = (cudaGraph_t)&s;
    void *p = NULL;
    CHECK_CUDA(cudaStreamCreate(&s));
    CHECK_CUDA(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal));
    CHECK_INT(cudaStreamSynchronize(s), cudaErrorStreamCaptureUnsupported);
    CHECK_INT(cudaStreamEndCapture(s, &graph), cudaErrorStreamCaptureInvalidated);
    CHECK(graph == NULL);
    CHECK_CUDA(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal));
    CHECK_INT(cudaMalloc(&p, 16), cudaErrorStreamCaptureUnsupported);
    CHECK_INT(cudaStreamEndCapture(s, &graph), cudaErrorStreamCaptureInvalidated);
    CHECK_CUDA(cudaMalloc(&p, 16));
}

/* Each call that a card refuses during a capture, or that a graph must not hold, whatever the
 * mode. */
TEST(what_a_capture_forbids) {
    enum {
        WAIT,
        QUERY,
        ASK_EVENT,
        WAIT_EVENT,
        TAKE,
        GIVE,
        TAKE_PINNED,
        GIVE_PINNED,
        COPY,
        COPY_PAGEABLE,
        FILL,
        DESTROY,
        N
    };
    for (int i = 0; i < N; i++) {
        cudaStream_t s, other;
        cudaEvent_t event;
        cudaGraph_t graph;
        void *p = device(4), *q = pinned(4);
        int host[4] = {0};
        CHECK_CUDA(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
        CHECK_CUDA(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
        CHECK_CUDA(cudaEventCreate(&event));
        CHECK_CUDA(cudaEventRecord(event, other));
        CHECK_CUDA(cudaStreamBeginCapture(s, cudaStreamCaptureModeRelaxed));
        cudaError_t error = i == WAIT          ? cudaStreamSynchronize(other)
                            : i == QUERY       ? cudaStreamQuery(s)
                            : i == ASK_EVENT   ? cudaEventQuery(event)
                            : i == WAIT_EVENT  ? cudaEventSynchronize(event)
                            : i == TAKE        ? cudaMalloc(&p, 4)
                            : i == GIVE        ? cudaFree(p)
                            : i == TAKE_PINNED ? cudaMallocHost(&q, 4)
                            : i == GIVE_PINNED ? cudaFreeHost(q)
                            : i == COPY        ? cudaMemcpy(p, q, 4, cudaMemcpyHostToDevice)
                            : i == COPY_PAGEABLE
                                ? cudaMemcpyAsync(p, host, 4, cudaMemcpyHostToDevice, s)
                            : i == FILL ? cudaMemset(p, 0, 4)
                                        : cudaStreamDestroy(s);
        CHECK_INT(error, cudaErrorStreamCaptureUnsupported);
        CHECK_INT(cudaStreamEndCapture(s, &graph), cudaErrorStreamCaptureInvalidated);
    }
}

/* The default stream waits for streams that are not made to be independent of it. */
TEST(the_default_stream_during_a_capture) {
    for (int blocking = 0; blocking < 2; blocking++) {
        cudaStream_t s;
        cudaGraph_t graph;
        int *d = device(1);
        CHECK_CUDA(
            cudaStreamCreateWithFlags(&s, blocking ? cudaStreamDefault : cudaStreamNonBlocking));
        CHECK_CUDA(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
        CHECK_INT(cudaMemsetAsync(d, 0, 4, NULL),
                  blocking ? cudaErrorStreamCaptureImplicit : cudaSuccess);
        CHECK_INT(cudaStreamEndCapture(s, &graph),
                  blocking ? cudaErrorStreamCaptureInvalidated : cudaSuccess);
    }
}

TEST(what_was_destroyed_is_no_handle) {
    cudaStream_t s, gone;
    cudaEvent_t event;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    int *d = device(1);
    CHECK_CUDA(cudaStreamCreate(&s));
    CHECK_CUDA(cudaStreamCreate(&gone));
    CHECK_CUDA(cudaEventCreate(&event));
    CHECK_CUDA(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal));
    CHECK_CUDA(cudaMemsetAsync(d, 0, 4, s));
    CHECK_CUDA(cudaStreamEndCapture(s, &graph));
    CHECK_CUDA(cudaGraphInstantiate(&exec, graph, 0));
    CHECK_CUDA(cudaStreamDestroy(gone));
    CHECK_CUDA(cudaEventDestroy(event));
    CHECK_CUDA(cudaGraphDestroy(graph));
    CHECK_CUDA(cudaGraphExecDestroy(exec));
    CHECK_INT(cudaMemsetAsync(d, 0, 4, gone), cudaErrorInvalidResourceHandle);
    CHECK_INT(cudaStreamSynchronize(gone), cudaErrorInvalidResourceHandle);
    CHECK_INT(cudaStreamDestroy(gone), cudaErrorInvalidResourceHandle);
    CHECK_INT(cudaEventRecord(event, s), cudaErrorInvalidResourceHandle);
    CHECK_INT(cudaStreamWaitEvent(s, event, 0), cudaErrorInvalidResourceHandle);
    CHECK_INT(cudaEventQuery(event), cudaErrorInvalidResourceHandle);
    CHECK_INT(cudaEventSynchronize(event), cudaErrorInvalidResourceHandle);
    CHECK_INT(cudaEventDestroy(event), cudaErrorInvalidResourceHandle);
    CHECK_INT(cudaGraphInstantiate(&exec, graph, 0), cudaErrorInvalidResourceHandle);
    CHECK_INT(cudaGraphDestroy(graph), cudaErrorInvalidResourceHandle);
    CHECK_INT(cudaGraphLaunch(exec, s), cudaErrorInvalidResourceHandle);
    CHECK_INT(cudaGraphExecDestroy(exec), cudaErrorInvalidResourceHandle);
}

/* A copy from pageable memory has read it when the call returns, but independent streams do not
 * wait for where it goes. */
TEST(a_copy_from_pageable_memory_is_on_its_way) {
    uint64_t n_early = 0;
    for (uint64_t seed = 1; seed <= 32; seed++) {
        cudaStream_t s;
        int *back = pinned(1), *d = device(1), seven = 7;
        emu_set_seed(seed);
        CHECK_CUDA(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
        CHECK_CUDA(cudaMemcpy(d, &seven, sizeof seven, cudaMemcpyHostToDevice));
        seven = 8;
        CHECK_CUDA(cudaMemcpyAsync(back, d, sizeof *back, cudaMemcpyDeviceToHost, s));
        CHECK_CUDA(cudaStreamSynchronize(s));
        CHECK(*back == 7 || *back == -1);
        n_early += *back == -1;
        CHECK_CUDA(cudaMemcpy(back, d, sizeof *back, cudaMemcpyDeviceToHost));
        CHECK_INT(*back, 7);
        CHECK_CUDA(cudaStreamDestroy(s));
    }
    CHECK(n_early > 4 && n_early < 32);
}

TEST(a_branch_has_to_be_joined) {
    cudaStream_t a, b;
    cudaEvent_t fork;
    cudaGraph_t graph;
    int *d = device(1);
    CHECK_CUDA(cudaStreamCreate(&a));
    CHECK_CUDA(cudaStreamCreate(&b));
    CHECK_CUDA(cudaEventCreate(&fork));
    CHECK_CUDA(cudaStreamBeginCapture(a, cudaStreamCaptureModeThreadLocal));
    CHECK_CUDA(cudaEventRecord(fork, a));
    CHECK_CUDA(cudaStreamWaitEvent(b, fork, 0));
    CHECK_CUDA(cudaMemsetAsync(d, 0, sizeof(int), b));
    CHECK_INT(cudaStreamEndCapture(a, &graph), cudaErrorStreamCaptureUnjoined);
    CHECK_CUDA(cudaEventDestroy(fork));
}

/* A graph of one shape takes the arguments of another capture of that shape, and of no other. */
TEST(graphs_can_be_updated) {
    cudaStream_t s;
    cudaGraph_t graph[3];
    cudaGraphExec_t exec;
    cudaGraphExecUpdateResultInfo info;
    int *d = device(1), back;
    CHECK_CUDA(cudaStreamCreate(&s));
    for (int i = 0; i < 3; i++) {
        CHECK_CUDA(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal));
        CHECK_CUDA(cudaMemsetAsync(d, i + 1, sizeof(int), s));
        if (i == 2)
            CHECK_CUDA(cudaMemsetAsync(d, 9, sizeof(int), s));
        CHECK_CUDA(cudaStreamEndCapture(s, &graph[i]));
    }
    CHECK_CUDA(cudaGraphInstantiate(&exec, graph[0], 0));
    CHECK_CUDA(cudaGraphExecUpdate(exec, graph[1], &info));
    CHECK_INT(cudaGraphExecUpdate(exec, graph[2], &info), cudaErrorGraphExecUpdateFailure);
    CHECK_INT(info.result, cudaGraphExecUpdateErrorTopologyChanged);
    CHECK_CUDA(cudaGraphLaunch(exec, s));
    CHECK_CUDA(cudaMemcpy(&back, d, sizeof back, cudaMemcpyDeviceToHost));
    CHECK_INT(back, 0x02020202);
    CHECK_CUDA(cudaGraphExecDestroy(exec));
    for (int i = 0; i < 3; i++)
        CHECK_CUDA(cudaGraphDestroy(graph[i]));
}

TEST(the_card_is_of_a_size) {
    size_t free_bytes, total;
    void *p = NULL, *q = NULL;
    emu_set_memory(10000);
    CHECK_INT(cudaMalloc(&p, 10001), cudaErrorMemoryAllocation);
    CHECK_INT(cudaGetLastError(), cudaErrorMemoryAllocation);
    CHECK_INT(cudaGetLastError(), cudaSuccess);
    CHECK_CUDA(cudaMalloc(&p, 6000));
    CHECK((size_t)p % 256 == 0);
    CHECK_INT(cudaMalloc(&q, 6000), cudaErrorMemoryAllocation);
    CHECK_CUDA(cudaMemGetInfo(&free_bytes, &total));
    CHECK_INT(total, 10000);
    CHECK_INT(free_bytes, 10000 - 24 * 256);
    CHECK_CUDA(cudaFree(p));
    CHECK_INT(cudaFree(p), cudaErrorInvalidValue);
    CHECK_CUDA(cudaMalloc(&q, 6000));
}

TEST(copies_are_checked) {
    int *d = device(4), host[8] = {0};
    CHECK_INT(cudaMemcpy(d, host, sizeof host, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
    CHECK_INT(cudaMemcpy(d, host, 16, cudaMemcpyDeviceToHost), cudaErrorInvalidMemcpyDirection);
    CHECK_INT(cudaMemset(host, 0, 16), cudaErrorInvalidValue);
    CHECK_INT(cudaMemset(d + 2, 0, 16), cudaErrorInvalidValue);
    CHECK_CUDA(cudaMemcpy2D(d, 8, host, 16, 8, 2, cudaMemcpyDefault));
}

static void count_call(void *user) {
    ++*(int *)user;
}

TEST(calls_of_the_host_run_in_order) {
    cudaStream_t s;
    int n_calls = 0;
    CHECK_CUDA(cudaStreamCreate(&s));
    CHECK_CUDA(cudaLaunchHostFunc(s, count_call, &n_calls));
    CHECK_INT(n_calls, 0);
    CHECK_CUDA(cudaStreamSynchronize(s));
    CHECK_INT(n_calls, 1);
}

TEST(the_nth_call_fails) {
    void *p;
    emu_fail_call(NULL, 3, cudaErrorMemoryAllocation);
    CHECK_CUDA(cudaMalloc(&p, 16));
    CHECK_CUDA(cudaMalloc(&p, 16));
    CHECK_INT(cudaMalloc(&p, 16), cudaErrorMemoryAllocation);
    CHECK_CUDA(cudaMalloc(&p, 16));
    emu_fail_call("cudaStreamSynchronize", 1, cudaErrorLaunchFailure);
    CHECK_CUDA(cudaMalloc(&p, 16));
    CHECK_INT(cudaStreamSynchronize(NULL), cudaErrorLaunchFailure);
    CHECK_INT(cudaMalloc(&p, 16), cudaErrorLaunchFailure);
    CHECK_INT(cudaGetLastError(), cudaErrorLaunchFailure);
    CHECK_INT(cudaGetLastError(), cudaErrorLaunchFailure);
}

TEST_MAIN()
