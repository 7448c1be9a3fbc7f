/*
 * What a process costs that works on a card: from its start to the first kernel, and from its end
 * to its memory back.
 *
 *     bench_process
 *
 * Runs itself anew, one visible card, with CUDA's lazy and eager loading of kernels in turns.
 * Prints one JSON object a line, milliseconds, the median of ROUNDS: from the start of the process
 * to main, to the context, to room of 1 GiB, to the end of the first kernel (a sum and norm of
 * 1,500 rows), each since the one before; the end of the process, until its parent has its status;
 * and until the driver shows the memory that the card had free before, asked every millisecond.
 * NVML is opened at run time; without it the last is left out. Without a card it says that nothing
 * was measured, and exits with 77.
 */
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gpu/bench.h"
#include "num/cuda/norm.h"

enum { ROUNDS = 7, ROWS = 1500, WIDTH = 1280 };
#define ROOM     ((size_t)1 << 30)
#define SLACK    ((uint64_t)32 << 20) /* that the driver may keep or others may take */
#define GIVEN_UP 10e3                 /* ms that memory is waited for */

/* Moments of a process, in the order in which they come. */
enum moment { MAIN, CONTEXT, MEMORY, KERNEL, END, BACK, N_MOMENTS };
static const char *const names[] = {"start to main",      "to the context",
                                    "to room of 1 GiB",   "to the first kernel",
                                    "end of the process", "to its memory back"};

static double now_ms(void) {
    return 1e3 * bench_now_s();
}

/* ---- The process that is measured ------------------------------------------------------------ */

static void check(const char *what, cudaError_t error) {
    if (error)
        bench_die(what, cudaGetErrorString(error));
}

/* Tells the moments through fd and ends. */
static int be_measured(int fd) {
    double at[END] = {[MAIN] = now_ms()};
    check("the context", cudaFree(NULL));
    at[CONTEXT] = now_ms();
    char *room;
    check("memory", cudaMalloc((void **)&room, ROOM));
    at[MEMORY] = now_ms();
    float *base = (float *)room, *gamma = base + (size_t)ROWS * WIDTH;
    struct num_cuda_norm norm = {.rows = ROWS,
                                 .n = WIDTH,
                                 .base = base,
                                 .period = ROWS,
                                 .gamma = gamma,
                                 .beta = gamma,
                                 .ret = gamma + WIDTH};
    check("a kernel", num_cuda_norm_run(&norm, NUM_CUDA_BF16, NULL));
    check("a kernel", cudaDeviceSynchronize());
    at[KERNEL] = now_ms();
    if (write(fd, at, sizeof at) != (ssize_t)sizeof at)
        return 1;
    return 0;
}

/* ---- The driver's view ----------------------------------------------------------------------- */

struct nvml {
    void *card;
    int (*memory)(void *card, uint64_t ret_total_free_used[3]);
};

/* NVML's first card, as its reference manual has it; NULL card where the library is not there. */
static struct nvml open_nvml(void) {
    struct nvml n = {0};
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW);
    if (!library)
        return n;
    int (*init)(void), (*handle)(unsigned, void **);
    *(void **)&init = dlsym(library, "nvmlInit_v2");
    *(void **)&handle = dlsym(library, "nvmlDeviceGetHandleByIndex_v2");
    *(void **)&n.memory = dlsym(library, "nvmlDeviceGetMemoryInfo");
    if (!init || !handle || !n.memory || init() || handle(0, &n.card))
        n.card = NULL;
    return n;
}

static uint64_t used_bytes(const struct nvml *n) {
    uint64_t total_free_used[3];
    return n->memory(n->card, total_free_used) ? UINT64_MAX : total_free_used[2];
}

/* When the card's memory in use is `before` again, or GIVEN_UP later. */
static double wait_for_memory(const struct nvml *n, uint64_t before) {
    double until = now_ms() + GIVEN_UP;
    while (used_bytes(n) > before + SLACK && now_ms() < until)
        usleep(1000);
    return now_ms();
}

/* ---- Measuring ------------------------------------------------------------------------------- */

/* One process; ret_ms[m]: from the moment before to m. */
static void measure(const struct nvml *n, const char *loading, double ret_ms[N_MOMENTS]) {
    double at[N_MOMENTS], start = now_ms();
    int ends[2], status;
    char fd[16];
    if (pipe(ends))
        bench_die("a pipe", "none");
    snprintf(fd, sizeof fd, "%d", ends[1]);
    uint64_t before = n->card ? used_bytes(n) : 0;
    pid_t pid = fork();
    if (pid == 0) {
        setenv("CUDA_MODULE_LOADING", loading, 1);
        setenv("CUDA_VISIBLE_DEVICES", "0", 0);
        execl("/proc/self/exe", "bench_process", fd, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    ssize_t got = read(ends[0], at, sizeof(double) * END);
    close(ends[0]);
    double told = now_ms();
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status ||
        got != (ssize_t)(sizeof(double) * END))
        bench_die("the process that is measured", "failed");
    at[END] = now_ms();
    at[BACK] = n->card ? wait_for_memory(n, before) : at[END];
    for (int m = 0; m < N_MOMENTS; m++)
        ret_ms[m] = at[m] - (m == MAIN ? start : m == END ? told : at[m - 1]);
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc > 1)
        return be_measured(atoi(argv[1]));
    bench_need_card();
    static const char *const loading[] = {"LAZY", "EAGER"};
    struct nvml nvml = open_nvml();
    double ms[2][N_MOMENTS][ROUNDS], one[N_MOMENTS];
    for (int r = 0; r < ROUNDS; r++)
        for (int l = 0; l < 2; l++) {
            measure(&nvml, loading[l], one);
            for (int m = 0; m < N_MOMENTS; m++)
                ms[l][m][r] = one[m];
        }
    for (int l = 0; l < 2; l++)
        for (int m = 0; m < (nvml.card ? N_MOMENTS : BACK); m++) {
            qsort(ms[l][m], ROUNDS, sizeof(double), by_size);
            printf("{\"name\": \"process, %s loading: %s\", \"ms\": %.2f}\n", l ? "eager" : "lazy",
                   names[m], ms[l][m][ROUNDS / 2]);
        }
    return 0;
}
