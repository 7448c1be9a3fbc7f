/*
 * Streams, events, graphs and launches of the emulated card.
 *
 * A call puts an operation at the end of its stream. Nothing runs before somebody waits (or asks):
 * then operations run, one at a time, taken from the front of any stream whose front operation
 * depends on nothing that is still to run, chosen at random where there is a seed. An event is a
 * place in a stream. The default stream waits for every blocking stream and they for it, as the
 * legacy default stream of CUDA does.
 *
 * While a stream is captured its operations become nodes of a graph instead, each with the nodes it
 * depends on; launching the graph puts one operation on a stream, which runs the nodes in an order
 * that the dependencies allow. Whatever mode a capture has, all is refused that the strictest one
 * forbids, and what is only dangerous (copies of pageable memory).
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "internal.h"

struct node {
    std::vector<int> after;
    std::function<void(void *clock)> run;
};

/* How many nodes of each stream a stream, or an event, comes after. */
typedef std::map<cudaStream_t, int> place;

struct CUgraph_st {
    std::vector<node> nodes;
    cudaStream_t origin = nullptr;
    enum cudaStreamCaptureStatus status = cudaStreamCaptureStatusActive;
    /* the nodes of each captured stream, in order */
    std::map<cudaStream_t, std::vector<int>> of_stream;
    std::map<cudaStream_t, place> seen;
};

struct CUgraphExec_st {
    std::vector<node> nodes;
};

struct CUevent_st {
    cudaStream_t stream = nullptr;
    uint64_t seq = 0;
    CUgraph_st *capture = nullptr;
    place seen;
    bool timed = true, recorded = false;
    double time_ms = 0;
};

struct CUstream_st {
    std::deque<emu_op> ops;
    uint64_t n_put = 0, n_done = 0;
    bool blocking = true, destroyed = false;
    CUgraph_st *capture = nullptr;
    void *tsan = nullptr;
    char clock = 0;
};

struct streams {
    CUstream_st legacy;
    std::vector<CUstream_st *> all{&legacy};
    std::set<CUgraph_st *> captures; /* under way */
    std::set<CUevent_st *> events;
    std::set<CUgraph_st *> graphs;
    std::set<CUgraphExec_st *> execs;
    bool running = false;
};

static struct streams &streams(void) {
    static struct streams *streams = new struct streams;
    return *streams;
}

static cudaStream_t stream_of(cudaStream_t stream) {
    return stream == nullptr || stream == (cudaStream_t)1 ? &streams().legacy : stream;
}

static bool stream_known(cudaStream_t stream) {
    for (CUstream_st *s : streams().all)
        if (s == stream)
            return !s->destroyed;
    return false;
}

/* ---- running what was put on streams ---- */

static bool op_ready(const emu_op &op) {
    for (const emu_dependency &d : op.after)
        if (d.stream->n_done < d.seq)
            return false;
    return true;
}

static void run_front(CUstream_st *s) {
    emu_op op = std::move(s->ops.front());
    s->ops.pop_front();
#ifdef EMU_TSAN
    static char host_clock;
    void *caller = __tsan_get_current_fiber();
    if (!s->tsan)
        s->tsan = __tsan_create_fiber(0);
    EMU_RELEASE(&host_clock); /* both use this stack */
    EMU_BECOME(s->tsan);
    EMU_ACQUIRE(&host_clock);
#endif
    EMU_ACQUIRE(&s->clock);
    for (const emu_dependency &d : op.after)
        EMU_ACQUIRE(&d.stream->clock);
    EMU_RELEASE(&s->clock);
    if (emu().sticky == cudaSuccess)
        op.run(&s->clock);
    EMU_ACQUIRE(&s->clock);
    op.run = nullptr;
    EMU_RELEASE(&s->clock);
#ifdef EMU_TSAN
    EMU_RELEASE(&host_clock);
    EMU_BECOME(caller);
    EMU_ACQUIRE(&host_clock);
#endif
    s->n_done++;
}

/* Runs one operation of any stream; false where there is none. */
static bool run_one(void) {
    CUstream_st *ready[64];
    unsigned n = 0;
    for (CUstream_st *s : streams().all)
        if (!s->ops.empty() && n < 64 && op_ready(s->ops.front()))
            ready[n++] = s;
    if (n == 0)
        return false;
    run_front(ready[emu_random() % n]);
    return true;
}

/* Runs until stream s has done its first `seq` operations. */
static void run_until(CUstream_st *s, uint64_t seq) {
    struct streams &all = streams();
    if (all.running)
        return;
    if (s->n_done < seq) {
        all.running = true;
        emu_memory_open();
        while (s->n_done < seq)
            if (!run_one())
                emu_die("streams wait for each other in a circle");
        emu_memory_close();
        all.running = false;
    }
    EMU_ACQUIRE(&s->clock);
}

void emu_drain_all(void) {
    for (CUstream_st *s : streams().all)
        run_until(s, s->n_put);
}

/* ---- putting operations on streams ---- */

static void graph_put(CUgraph_st *g, CUstream_st *s, std::function<void(void *)> run) {
    node n;
    for (auto &[stream, count] : g->seen[s])
        if (count > 0)
            n.after.push_back(g->of_stream[stream][(size_t)count - 1]);
    n.run = std::move(run);
    g->of_stream[s].push_back((int)g->nodes.size());
    g->seen[s][s] = (int)g->of_stream[s].size();
    g->nodes.push_back(std::move(n));
}

static void stream_put(CUstream_st *s, std::function<void(void *)> run) {
    if (s->capture) {
        graph_put(s->capture, s, std::move(run));
        return;
    }
    emu_op op;
    op.run = std::move(run);
    struct streams &all = streams();
    if (s == &all.legacy) {
        for (CUstream_st *other : all.all)
            if (other != s && other->blocking && other->n_done < other->n_put)
                op.after.push_back({other, other->n_put});
    } else if (s->blocking && all.legacy.n_done < all.legacy.n_put)
        op.after.push_back({&all.legacy, all.legacy.n_put});
    EMU_RELEASE(&s->clock);
    s->ops.push_back(std::move(op));
    s->n_put++;
}

/* For calls that must not be made while a stream is captured. */
static cudaError_t refuse_capture(void) {
    for (CUgraph_st *capture : streams().captures)
        capture->status = cudaStreamCaptureStatusInvalidated;
    return streams().captures.empty() ? cudaSuccess : cudaErrorStreamCaptureUnsupported;
}

/* For the default stream while one that it waits for is captured. */
static cudaError_t refuse_implicit(const CUstream_st *s) {
    for (CUgraph_st *capture : streams().captures)
        if (s == &streams().legacy && capture->origin->blocking) {
            capture->status = cudaStreamCaptureStatusInvalidated;
            return cudaErrorStreamCaptureImplicit;
        }
    return cudaSuccess;
}

#define CHECK_STREAM(s)                                                                            \
    cudaStream_t s = stream_of(stream);                                                            \
    if (!stream_known(s))                                                                          \
        return emu_error(cudaErrorInvalidResourceHandle);                                          \
    if (cudaError_t implicit = refuse_implicit(s))                                                 \
    return emu_error(implicit)

/* What was destroyed, or never made, is no handle. */
#define CHECK_HANDLE(all, handle)                                                                  \
    if (streams().all.count(handle) == 0)                                                          \
    return emu_error(cudaErrorInvalidResourceHandle)

static cudaError_t synchronize(CUstream_st *s) {
    if (cudaError_t refused = refuse_capture())
        return emu_error(refused);
    emu().counts.n_host_waits++;
    run_until(s, s->n_put);
    return emu_error(emu().sticky);
}

/* ---- kernels ---- */

static void kernel_run(const emu_grid &grid, void *clock) {
    struct emu_state &state = emu();
    state.counts.n_kernels++;
    if (state.fail_kernel_in && --state.fail_kernel_in == 0) {
        state.sticky = state.fail_kernel;
        return;
    }
    emu_run_grid(&grid, clock);
}

cudaError_t emu_launch(const void *kernel, dim3 grid, dim3 block, size_t shared_bytes,
                       cudaStream_t stream, std::function<void()> run) {
    EMU_CALL();
    CHECK_STREAM(s);
    struct cudaDeviceProp prop;
    cudaGetDeviceProperties(&prop, 0);
    uint64_t n_threads = (uint64_t)block.x * block.y * block.z;
    bool grid_ok = grid.x && grid.y && grid.z && grid.x <= (unsigned)prop.maxGridSize[0] &&
                   grid.y <= (unsigned)prop.maxGridSize[1] &&
                   grid.z <= (unsigned)prop.maxGridSize[2];
    if (!grid_ok || n_threads == 0 || n_threads > EMU_BLOCK_THREADS || block.z > 64)
        return emu_error(cudaErrorInvalidConfiguration);
    if (shared_bytes > emu_dynamic_limit(kernel))
        return emu_error(cudaErrorInvalidValue);
    emu().counts.n_launches++;
    emu_grid g = {grid, block, shared_bytes, std::move(run)};
    stream_put(s, [g](void *clock) { kernel_run(g, clock); });
    return cudaSuccess;
}

void emu_check_argument(const void *p, int index) {
    std::lock_guard<std::recursive_mutex> guard(emu().lock);
    if (p && emu_is_host(p))
        emu_die("a launch: argument %d points to %p, memory of the host that is not pinned", index,
                p);
}

/* ---- copies ---- */

static bool span_ok(const void *p, size_t size) {
    return !emu_is_device(p) || emu_is_device_range(p, size);
}

struct copy {
    char *dst;
    const char *src;
    size_t dpitch, spitch, width, height;
};

static void copy_run(const struct copy &c) {
    emu().counts.n_copies++;
    for (size_t y = 0; y < c.height; y++) {
        EMU_READS(c.src + y * c.spitch, c.width);
        EMU_WRITES(c.dst + y * c.dpitch, c.width);
        memmove(c.dst + y * c.dpitch, c.src + y * c.spitch, c.width);
    }
}

static bool kind_ok(const void *dst, const void *src, enum cudaMemcpyKind kind) {
    bool to_device = emu_is_device(dst), from_device = emu_is_device(src);
    switch (kind) {
    case cudaMemcpyHostToHost:
        return !to_device && !from_device;
    case cudaMemcpyHostToDevice:
        return to_device && !from_device;
    case cudaMemcpyDeviceToHost:
        return !to_device && from_device;
    case cudaMemcpyDeviceToDevice: /* memory that a kernel can reach counts as the device's */
        return !(emu_is_host(dst) || emu_is_host(src));
    case cudaMemcpyDefault:
        return true;
    }
    return false;
}

static cudaError_t copy_put(struct copy c, enum cudaMemcpyKind kind, CUstream_st *s) {
    if (c.width == 0 || c.height == 0)
        return cudaSuccess;
    if (c.width > c.dpitch || c.width > c.spitch)
        return cudaErrorInvalidValue;
    if (!kind_ok(c.dst, c.src, kind))
        return cudaErrorInvalidMemcpyDirection;
    if (!span_ok(c.dst, (c.height - 1) * c.dpitch + c.width) ||
        !span_ok(c.src, (c.height - 1) * c.spitch + c.width))
        return cudaErrorInvalidValue;
    if (s->capture && (emu_is_host(c.dst) || emu_is_host(c.src)))
        return refuse_capture();
    if (!s->capture && !emu_is_device(c.src) && !emu_is_pinned(c.src)) {
        /* From pageable memory: it is read before the call returns. */
        std::vector<char> staged(c.width * c.height);
        for (size_t y = 0; y < c.height; y++)
            memcpy(&staged[y * c.width], c.src + y * c.spitch, c.width);
        stream_put(s, [staged = std::move(staged), c](void *) {
            struct copy from = c;
            from.src = staged.data();
            from.spitch = c.width;
            copy_run(from);
        });
    } else
        stream_put(s, [c](void *) { copy_run(c); });
    if (!s->capture && !emu_is_device(c.dst) && !emu_is_pinned(c.dst))
        run_until(s, s->n_put);
    return cudaSuccess;
}

cudaError_t cudaMemcpy2DAsync(void *dst, size_t dpitch, const void *src, size_t spitch,
                              size_t width, size_t height, enum cudaMemcpyKind kind,
                              cudaStream_t stream) {
    EMU_CALL();
    CHECK_STREAM(s);
    return emu_error(
        copy_put({(char *)dst, (const char *)src, dpitch, spitch, width, height}, kind, s));
}

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t count, enum cudaMemcpyKind kind,
                            cudaStream_t stream) {
    EMU_CALL();
    CHECK_STREAM(s);
    return emu_error(copy_put({(char *)dst, (const char *)src, count, count, count, 1}, kind, s));
}

cudaError_t cudaMemcpy2D(void *dst, size_t dpitch, const void *src, size_t spitch, size_t width,
                         size_t height, enum cudaMemcpyKind kind) {
    EMU_CALL();
    if (cudaError_t refused = refuse_capture())
        return emu_error(refused);
    CUstream_st *s = &streams().legacy;
    const bool pageable = emu_is_host(src) && emu_is_device(dst);
    if (cudaError_t failed = pageable ? synchronize(s) : cudaSuccess)
        return failed;
    if (cudaError_t failed =
            copy_put({(char *)dst, (const char *)src, dpitch, spitch, width, height}, kind, s))
        return emu_error(failed);
    /* From pageable memory it has been read; it may still be on its way. Within the device nobody
     * waits. */
    return pageable || (emu_is_device(src) && emu_is_device(dst)) ? cudaSuccess : synchronize(s);
}

cudaError_t cudaMemcpy(void *dst, const void *src, size_t count, enum cudaMemcpyKind kind) {
    EMU_CALL();
    return cudaMemcpy2D(dst, count, src, count, count, 1, kind);
}

cudaError_t cudaMemsetAsync(void *dst, int value, size_t count, cudaStream_t stream) {
    EMU_CALL();
    CHECK_STREAM(s);
    if (count == 0)
        return cudaSuccess;
    if (emu_is_host(dst) || !span_ok(dst, count))
        return emu_error(cudaErrorInvalidValue);
    stream_put(s, [=](void *) {
        EMU_WRITES(dst, count);
        memset(dst, value, count);
    });
    return cudaSuccess;
}

cudaError_t cudaMemset(void *dst, int value, size_t count) {
    EMU_CALL();
    if (cudaError_t refused = refuse_capture())
        return emu_error(refused);
    return cudaMemsetAsync(dst, value, count, nullptr);
}

/* ---- streams ---- */

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int priority) {
    EMU_CALL();
    (void)priority;
    auto *s = new CUstream_st;
    s->blocking = !(flags & cudaStreamNonBlocking);
    streams().all.push_back(s);
    *stream = s;
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) {
    EMU_CALL();
    return cudaStreamCreateWithPriority(stream, flags, 0);
}

cudaError_t cudaStreamCreate(cudaStream_t *stream) {
    EMU_CALL();
    return cudaStreamCreateWithPriority(stream, cudaStreamDefault, 0);
}

/* The structure stays: events may name it. */
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    EMU_CALL();
    if (!stream || !stream_known(stream))
        return emu_error(cudaErrorInvalidResourceHandle);
    if (cudaError_t refused = stream->capture ? refuse_capture() : cudaSuccess)
        return emu_error(refused);
    run_until(stream, stream->n_put);
    stream->destroyed = true;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    EMU_CALL();
    CHECK_STREAM(s);
    return synchronize(s);
}

cudaError_t cudaDeviceSynchronize(void) {
    EMU_CALL();
    if (cudaError_t refused = refuse_capture())
        return emu_error(refused);
    emu().counts.n_host_waits++;
    emu_drain_all();
    return emu_error(emu().sticky);
}

/* Asking lets one more operation run, so that a loop that asks comes to its end. */
static cudaError_t query(CUstream_st *s, uint64_t seq) {
    if (s->n_done < seq && !streams().running) {
        streams().running = true;
        emu_memory_open();
        run_one();
        emu_memory_close();
        streams().running = false;
    }
    if (emu().sticky)
        return emu_error(emu().sticky);
    if (s->n_done < seq)
        return cudaErrorNotReady;
    EMU_ACQUIRE(&s->clock);
    return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
    EMU_CALL();
    CHECK_STREAM(s);
    if (cudaError_t refused = refuse_capture())
        return emu_error(refused);
    return query(s, s->n_put);
}

cudaError_t emu_run_on_stream(cudaStream_t stream, std::function<void(void *)> run) {
    EMU_CALL();
    CHECK_STREAM(s);
    emu().counts.n_launches++;
    stream_put(s, std::move(run));
    return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t fn, void *user) {
    EMU_CALL();
    CHECK_STREAM(s);
    stream_put(s, [=](void *) {
        emu_memory_close();
        fn(user);
        emu_memory_open();
    });
    return cudaSuccess;
}

/* ---- events ---- */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) {
    EMU_CALL();
    *event = new CUevent_st;
    streams().events.insert(*event);
    (*event)->timed = !(flags & cudaEventDisableTiming);
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event) {
    EMU_CALL();
    return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    EMU_CALL_FREES();
    CHECK_HANDLE(events, event);
    emu_drain_all(); /* an operation may still write its time */
    streams().events.erase(event);
    delete event;
    return injected ? emu_error(injected) : cudaSuccess;
}

static double now_ms(void) {
    struct timespec t;
#ifdef EMU_TSAN /* it watches this call, and all streams use the host's stack */
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
#endif
    clock_gettime(CLOCK_MONOTONIC, &t);
#ifdef EMU_TSAN
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
#endif
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    EMU_CALL();
    CHECK_STREAM(s);
    CHECK_HANDLE(events, event);
    event->recorded = true;
    event->stream = s;
    event->capture = s->capture;
    if (s->capture) {
        event->seen = s->capture->seen[s];
        return cudaSuccess;
    }
    stream_put(s, [event](void *) { event->time_ms = now_ms(); });
    event->seq = s->n_put;
    return cudaSuccess;
}

static void place_join(place *into, const place &from) {
    for (auto &[stream, count] : from)
        if ((*into)[stream] < count)
            (*into)[stream] = count;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
    EMU_CALL();
    CHECK_STREAM(s);
    (void)flags;
    CHECK_HANDLE(events, event);
    if (!event->recorded)
        return cudaSuccess;
    if (event->capture) {
        if (event->capture->status != cudaStreamCaptureStatusActive ||
            (s->capture && s->capture != event->capture))
            return emu_error(cudaErrorStreamCaptureInvalidated);
        s->capture = event->capture;
        place_join(&s->capture->seen[s], event->seen);
        return cudaSuccess;
    }
    if (s->capture)
        return emu_error(cudaErrorStreamCaptureUnsupported);
    stream_put(s, [](void *) {});
    s->ops.back().after.push_back({event->stream, event->seq});
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
    EMU_CALL();
    CHECK_HANDLE(events, event);
    if (event->capture)
        return emu_error(cudaErrorInvalidResourceHandle);
    if (cudaError_t refused = refuse_capture())
        return emu_error(refused);
    return event->recorded ? query(event->stream, event->seq) : cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    EMU_CALL();
    CHECK_HANDLE(events, event);
    if (event->capture)
        return emu_error(cudaErrorInvalidResourceHandle);
    if (cudaError_t refused = refuse_capture())
        return emu_error(refused);
    emu().counts.n_host_waits++;
    if (event->recorded)
        run_until(event->stream, event->seq);
    return emu_error(emu().sticky);
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end) {
    EMU_CALL();
    CHECK_HANDLE(events, start);
    CHECK_HANDLE(events, end);
    if (!start->recorded || !end->recorded || !start->timed || !end->timed)
        return emu_error(cudaErrorInvalidResourceHandle);
    if (start->stream->n_done < start->seq || end->stream->n_done < end->seq)
        return cudaErrorNotReady;
    *ms = (float)(end->time_ms - start->time_ms);
    return cudaSuccess;
}

/* ---- graphs ---- */

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode) {
    EMU_CALL();
    (void)mode;
    CHECK_STREAM(s);
    if (s == &streams().legacy || s->capture)
        return emu_error(cudaErrorStreamCaptureUnsupported);
    s->capture = new CUgraph_st;
    s->capture->origin = s;
    streams().captures.insert(s->capture);
    streams().graphs.insert(s->capture);
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
    EMU_CALL_FREES();
    CHECK_STREAM(s);
    CUgraph_st *g = s->capture;
    if (!g || g->origin != s)
        return emu_error(cudaErrorStreamCaptureUnmatched);
    cudaError_t result = g->status == cudaStreamCaptureStatusInvalidated
                             ? cudaErrorStreamCaptureInvalidated
                             : injected;
    for (auto &[other, nodes] : g->of_stream)
        if (g->seen[s][other] < (int)nodes.size())
            result = result ? result : cudaErrorStreamCaptureUnjoined;
    for (CUstream_st *other : streams().all)
        if (other->capture == g)
            other->capture = nullptr;
    streams().captures.erase(g);
    if (result) {
        streams().graphs.erase(g);
        delete g;
        g = nullptr;
    } else
        g->status = cudaStreamCaptureStatusNone;
    *graph = g;
    return emu_error(result);
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status) {
    EMU_CALL();
    CHECK_STREAM(s);
    *status = s->capture ? s->capture->status : cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *n_nodes) {
    EMU_CALL();
    CHECK_HANDLE(graphs, graph);
    if (nodes)
        return emu_error(cudaErrorNotSupported);
    *n_nodes = graph->nodes.size();
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    EMU_CALL_FREES();
    CHECK_HANDLE(graphs, graph);
    streams().graphs.erase(graph);
    delete graph;
    return injected ? emu_error(injected) : cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph,
                                 unsigned long long flags) {
    EMU_CALL();
    (void)flags;
    CHECK_HANDLE(graphs, graph);
    *exec = new CUgraphExec_st{graph->nodes};
    streams().execs.insert(*exec);
    return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream) {
    EMU_CALL();
    CHECK_STREAM(s);
    (void)s;
    CHECK_HANDLE(execs, exec);
    return cudaSuccess;
}

cudaError_t cudaGraphExecUpdate(cudaGraphExec_t exec, cudaGraph_t graph,
                                cudaGraphExecUpdateResultInfo *info) {
    EMU_CALL();
    CHECK_HANDLE(execs, exec);
    CHECK_HANDLE(graphs, graph);
    bool same = exec->nodes.size() == graph->nodes.size();
    for (size_t i = 0; same && i < exec->nodes.size(); i++)
        same = exec->nodes[i].after == graph->nodes[i].after;
    info->result = same ? cudaGraphExecUpdateSuccess : cudaGraphExecUpdateErrorTopologyChanged;
    info->errorNode = info->errorFromNode = nullptr;
    if (!same)
        return emu_error(cudaErrorGraphExecUpdateFailure);
    emu_drain_all(); /* launches before this one keep what they were given */
    exec->nodes = graph->nodes;
    return cudaSuccess;
}

static void graph_run(const std::vector<node> &nodes, void *clock) {
    std::vector<char> done(nodes.size());
    std::vector<int> ready;
    for (size_t n_left = nodes.size(); n_left > 0; n_left--) {
        ready.clear();
        for (size_t i = 0; i < nodes.size() && ready.size() < 8; i++) {
            bool ok = !done[i];
            for (int before : nodes[i].after)
                ok = ok && done[(size_t)before];
            if (ok)
                ready.push_back((int)i);
        }
        int at = ready[emu_random() % ready.size()];
        if (emu().sticky == cudaSuccess)
            nodes[(size_t)at].run(clock);
        EMU_ACQUIRE(clock);
        EMU_RELEASE(clock);
        done[(size_t)at] = 1;
    }
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
    EMU_CALL();
    CHECK_STREAM(s);
    CHECK_HANDLE(execs, exec);
    emu().counts.n_launches++;
    stream_put(s, [exec](void *clock) { graph_run(exec->nodes, clock); });
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    EMU_CALL_FREES();
    CHECK_HANDLE(execs, exec);
    emu_drain_all();
    streams().execs.erase(exec);
    delete exec;
    return injected ? emu_error(injected) : cudaSuccess;
}

/* ---- memory: what waits for the streams ---- */

cudaError_t cudaFree(void *ptr) {
    EMU_CALL_FREES();
    if (cudaError_t refused = refuse_capture())
        return emu_error(refused);
    emu_drain_all();
    const cudaError_t error = emu_memory_free(ptr);
    return emu_error(injected ? injected : error);
}

cudaError_t cudaMalloc(void **ptr, size_t size) {
    EMU_CALL();
    if (cudaError_t refused = refuse_capture())
        return emu_error(refused);
    return emu_error(emu_memory_alloc(ptr, size));
}

cudaError_t cudaHostAlloc(void **ptr, size_t size, unsigned flags) {
    EMU_CALL();
    (void)flags;
    if (cudaError_t refused = refuse_capture())
        return emu_error(refused);
    return emu_error(emu_pinned_alloc(ptr, size));
}

cudaError_t cudaMallocHost(void **ptr, size_t size) {
    EMU_CALL();
    return cudaHostAlloc(ptr, size, cudaHostAllocDefault);
}

cudaError_t cudaFreeHost(void *ptr) {
    EMU_CALL_FREES();
    if (cudaError_t refused = refuse_capture())
        return emu_error(refused);
    emu_drain_all();
    const cudaError_t error = emu_pinned_free(ptr);
    return emu_error(injected ? injected : error);
}
