/*
 * What the emulation finds wrong in a kernel. Each case runs a kernel with one defect in a process
 * of its own, which has to end with the sentence that names it.
 */
#include "num/cuda/launch.cuh"
#include "num/cuda/mma.cuh"
#include "num/cuda/vec8.cuh"

#include <signal.h>
#include <vector>

#include "emu/emu.h"
#include "unit/test.h"

#define CHECK_CUDA(call) CHECK_STR(cudaGetErrorName(call), "cudaSuccess")

namespace {

enum defect {
    NONE,
    LEAVES_EARLY,
    OTHER_BARRIER,
    LANES_MISSING,
    LANE_NOT_IN_MASK,
    OTHER_MASK,
    SHUFFLE_FROM_OUTSIDE,
    READS_BEHIND_THE_END,
    READS_NULL,
    FORGETS_TO_WAIT,
    COPIES_TO_GLOBAL,
    COPIES_FROM_BETWEEN,
    COPIES_TO_BETWEEN,
    ROWS_BETWEEN,
    READS_PAIRS_BETWEEN,
    READS_EIGHT_BETWEEN,
    TRAPS,
};

__global__ void kernel(enum defect defect, float *x, int n) {
    float *tile = num::dynamic_shared<float>();
    int lane = threadIdx.x % 32;
    if (defect == LEAVES_EARLY && threadIdx.x == 40)
        return;
    if (defect == OTHER_BARRIER && threadIdx.x == 40)
        __syncthreads();
    else
        __syncthreads();
    if (defect == LANES_MISSING && lane != 3)
        __syncwarp();
    if (defect == LANE_NOT_IN_MASK)
        __syncwarp(0xfffffffe);
    if (defect == OTHER_MASK)
        __syncwarp(lane < 16 ? 0xffffffff : 0xfffffff0);
    if (defect == SHUFFLE_FROM_OUTSIDE && lane < 16)
        x[threadIdx.x] = __shfl_sync(0xffff, 1.0f, lane + 1);
    if (defect == READS_BEHIND_THE_END)
        x[threadIdx.x] = x[n + 4096];
    if (defect == READS_NULL) {
        volatile uintptr_t nowhere = 64; /* what the compiler knows, it warns of */
        x[threadIdx.x] = *(volatile float *)nowhere;
    }
    if (defect == FORGETS_TO_WAIT) {
        num::cp_async_16(tile + threadIdx.x * 4, x);
        num::cp_async_commit();
    }
    if (defect == COPIES_TO_GLOBAL)
        num::cp_async_16(x + threadIdx.x * 4, x);
    if (defect == COPIES_FROM_BETWEEN)
        num::cp_async_16(tile + threadIdx.x * 4, x + 2);
    if (defect == COPIES_TO_BETWEEN)
        num::cp_async_16(tile + threadIdx.x * 4 + 2, x);
    if (defect == ROWS_BETWEEN) { /* rows of 20 bytes */
        uint32_t to[4];
        num::ldmatrix_x4(to, tile + lane * 5);
        x[threadIdx.x] = __uint_as_float(to[0]);
    }
    if (defect == READS_PAIRS_BETWEEN)
        x[threadIdx.x] = (reinterpret_cast<const float2 *>(x + n / 256) + threadIdx.x)->y;
    if (defect == READS_EIGHT_BETWEEN) {
        float v[8];
        num::load8(reinterpret_cast<const __half *>(x + n / 128) + threadIdx.x * 8, v);
        x[threadIdx.x] = v[0];
    }
    if (defect == TRAPS)
        __trap();
}

__global__ void read_shared(float *ret) {
    __shared__ float fixed[64];
    float *dynamic = num::dynamic_shared<float>();
    if (blockIdx.x == 0)
        fixed[threadIdx.x] = dynamic[threadIdx.x] = 1.0f;
    ret[threadIdx.x] = fixed[threadIdx.x] + dynamic[threadIdx.x];
}

/* Blocks leave a number a thread; the one that is last adds them up. */
__global__ void add_up(bool waits, int *parts, unsigned *arrived, int *ret) {
    __shared__ bool last;
    parts[blockIdx.x * blockDim.x + threadIdx.x] = 1;
    __threadfence();
    if (waits)
        __syncthreads();
    if (threadIdx.x == 0)
        last = atomicAdd(arrived, 1) == gridDim.x - 1;
    __syncthreads();
    if (!last || threadIdx.x)
        return;
    for (unsigned i = 0; i < gridDim.x * blockDim.x; i++)
        *ret += parts[i];
}

} // namespace

/* The standard error of a process that runs `body`, which has to end by a signal. */
template <typename Body> static std::vector<char> last_words(Body body) {
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], 2);
        body();
        _exit(0);
    }
    close(ends[1]);
    std::vector<char> text(1 << 16);
    size_t n = 0;
    for (ssize_t got; (got = read(ends[0], &text[n], text.size() - n - 1)) > 0;)
        n += (size_t)got;
    close(ends[0]);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        TEST_FAIL("the defect was not found");
    return text;
}

static void run(enum defect defect) {
    float *x;
    CHECK_CUDA(cudaMalloc(&x, 256 * sizeof(float)));
    CHECK_CUDA(cudaMemset(x, 0, 256 * sizeof(float)));
    CHECK_CUDA(num::launch(kernel, 2, 64, 1024, nullptr, defect, x, 256));
    CHECK_CUDA(cudaDeviceSynchronize());
}

static void check_found(enum defect defect, const char *words) {
    std::vector<char> said = last_words([=] { run(defect); });
    CHECK_HAS(said.data(), words);
}

TEST(a_sound_kernel_passes) {
    run(NONE);
}

TEST(a_thread_that_left) {
    check_found(LEAVES_EARLY,
                "63 of 64 threads wait for ever and 1 have ended; one waits at __syncthreads");
}

TEST(different_barriers) {
    check_found(OTHER_BARRIER, "threads of a block meet at different barriers");
}

TEST(lanes_that_do_not_come) {
    check_found(LANES_MISSING, "__syncwarp in");
}

TEST(masks) {
    check_found(LANE_NOT_IN_MASK, "lane 0 is not in its own mask fffffffe");
    check_found(OTHER_MASK, "lanes of a warp meet at different operations");
    check_found(SHUFFLE_FROM_OUTSIDE,
                "takes the value of lane 16, which is not in the mask 0000ffff");
}

TEST(accesses) {
    check_found(READS_BEHIND_THE_END, "access outside any allocation");
    check_found(READS_NULL, "which is nowhere; block");
}

TEST(copies) {
    check_found(FORGETS_TO_WAIT, "cp.async of its own is under way");
    check_found(COPIES_TO_GLOBAL, "is not in shared memory");
    check_found(COPIES_FROM_BETWEEN, "which is no multiple of 16");
    check_found(COPIES_TO_BETWEEN, "or no multiple of 16");
    check_found(ROWS_BETWEEN, "ldmatrix");
}

/* A card stops where an address is no multiple of what is read at a time. */
TEST(accesses_that_are_not_aligned) {
    check_found(READS_PAIRS_BETWEEN, "aligned");
    check_found(READS_EIGHT_BETWEEN, "aligned");
}

TEST(traps) {
    check_found(TRAPS, "__trap()");
}

TEST(pointers_of_the_host) {
    auto words = last_words([] {
        float x[64];
        cudaError_t error = num::launch(read_shared, 1, 64, 256, nullptr, x);
        (void)error;
    });
    CHECK_HAS(words.data(), "argument 0 points to");
    words = last_words([] {
        float *x;
        CHECK_CUDA(cudaMalloc(&x, 64));
        *(volatile float *)x = 1.0f;
    });
    CHECK_HAS(words.data(), "the host touches device memory");
    words = last_words([] {
        float *x;
        CHECK_CUDA(cudaMalloc(&x, 1024));
        CHECK_CUDA(cudaFree(x));
        CHECK_CUDA(num::launch(read_shared, 1, 64, 256, nullptr, x));
        CHECK_CUDA(cudaDeviceSynchronize());
    });
    CHECK_HAS(words.data(), "access outside any allocation");
}

/* Shared memory of a block holds nothing of the block before it. */
TEST(shared_memory_starts_as_nan) {
    float *x, host[64];
    emu_set_seed(0);
    CHECK_CUDA(cudaMalloc(&x, sizeof host));
    CHECK_CUDA(num::launch(read_shared, 1, 64, 256, nullptr, x));
    CHECK_CUDA(cudaMemcpy(host, x, sizeof host, cudaMemcpyDeviceToHost));
    CHECK_NEAR(host[63], 2.0, 0);
    CHECK_CUDA(num::launch(read_shared, 2, 64, 256, nullptr, x));
    CHECK_CUDA(cudaMemcpy(host, x, sizeof host, cudaMemcpyDeviceToHost));
    CHECK(isnan(host[0]) && isnan(host[63]));
}

/* How many of 32 orders let a block count itself before all of it has written. */
TEST(who_counts_too_early) {
#if defined(__SANITIZE_ADDRESS__)
    SKIP("blocks run one after the other under AddressSanitizer");
#endif
    enum { BLOCKS = 3, THREADS = 64 };
    int *parts, *ret, sum, n_wrong[2] = {0, 0};
    unsigned *arrived;
    CHECK_CUDA(cudaMalloc(&parts, BLOCKS * THREADS * sizeof *parts));
    CHECK_CUDA(cudaMalloc(&arrived, sizeof *arrived));
    CHECK_CUDA(cudaMalloc(&ret, sizeof *ret));
    for (uint64_t seed = 1; seed <= 64; seed++) {
        emu_set_seed(seed / 2 + 1);
        CHECK_CUDA(cudaMemset(parts, 0, BLOCKS * THREADS * sizeof *parts));
        CHECK_CUDA(cudaMemset(arrived, 0, sizeof *arrived));
        CHECK_CUDA(cudaMemset(ret, 0, sizeof *ret));
        CHECK_CUDA(
            num::launch(add_up, BLOCKS, THREADS, 0, nullptr, seed % 2 == 0, parts, arrived, ret));
        CHECK_CUDA(cudaMemcpy(&sum, ret, sizeof sum, cudaMemcpyDeviceToHost));
        n_wrong[seed % 2] += sum != BLOCKS * THREADS;
    }
    printf("  %d of 32 orders\n", n_wrong[1]);
    CHECK_INT(n_wrong[0], 0);
    CHECK(n_wrong[1] > 4);
}

TEST(launches_are_checked) {
    float *x;
    CHECK_CUDA(cudaMalloc(&x, 4096));
    CHECK_INT(num::launch(read_shared, 1, 1025, 0, nullptr, x), cudaErrorInvalidConfiguration);
    CHECK_INT(num::launch(read_shared, dim3(1, 0, 1), 32, 0, nullptr, x),
              cudaErrorInvalidConfiguration);
    CHECK_INT(num::launch(read_shared, dim3(1, 65536, 1), 32, 0, nullptr, x),
              cudaErrorInvalidConfiguration);
    CHECK_INT(num::launch(read_shared, 1, 64, 200 * 1024, nullptr, x), cudaErrorInvalidValue);
    CHECK_INT(num::launch(read_shared, dim3(1, 1, 0), 32, 0, nullptr, x),
              cudaErrorInvalidConfiguration);
    CHECK_INT(num::launch(read_shared, dim3(1, 1, 65536), 32, 0, nullptr, x),
              cudaErrorInvalidConfiguration);
    CHECK_INT(num::launch(read_shared, 1, 0, 0, nullptr, x), cudaErrorInvalidConfiguration);
    CHECK_INT(num::launch(read_shared, 1, dim3(1, 1, 65), 0, nullptr, x),
              cudaErrorInvalidConfiguration);
    emu_fail_kernel(1, cudaErrorIllegalAddress);
    CHECK_CUDA(num::launch(read_shared, 1, 64, 256, nullptr, x));
    CHECK_INT(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
    CHECK_INT(num::launch(read_shared, 1, 64, 256, nullptr, x), cudaErrorIllegalAddress);
}

/* Past 48 KiB a kernel has to be allowed first; num::launch() does that, and never allows less
 * again. */
TEST(large_shared_memory_is_asked_for) {
    const void *kernel = (const void *)read_shared;
    cudaFuncAttributes has;
    float *x;
    CHECK_CUDA(cudaMalloc(&x, 256));
    CHECK_INT(emu_launch(kernel, 1, 64, 60 * 1024, nullptr, [] {}), cudaErrorInvalidValue);
    CHECK_CUDA(num::launch(read_shared, 1, 64, 60 * 1024, nullptr, x));
    CHECK_CUDA(num::launch(read_shared, 1, 64, 50 * 1024, nullptr, x));
    CHECK_CUDA(emu_launch(kernel, 1, 64, 60 * 1024, nullptr, [] {}));
    CHECK_CUDA(cudaFuncGetAttributes(&has, kernel));
    CHECK_INT(has.maxDynamicSharedSizeBytes, 60 * 1024);
    CHECK_CUDA(cudaDeviceSynchronize());
}

TEST_MAIN()
