/*
 * No CUDA library is in a process before a backend on a card is asked for: not in `sluice`, not in
 * a process that has loaded the whisper plugin, not in this one, which is linked with the kernels
 * where nvcc was found.
 */
#include <dlfcn.h>

#include "unit/test.h"

#ifdef SLUICE_HAVE_CUDA
#include "num/cuda/device.h"
#include "num/cuda/gemm.h"
#endif

static const char *const LIBRARIES[] = {"libcuda", "libcublas", "libcudnn", "libnvidia",
                                        "libnvrtc"};

static void check_absent(const char *line, const char *where) {
    for (size_t i = 0; i < sizeof LIBRARIES / sizeof *LIBRARIES; i++)
        if (strstr(line, LIBRARIES[i]))
            TEST_FAIL("%s: %s", where, line);
}

/* Lines of a file or of a program's output, by popen(). */
static int check_lines(FILE *file, const char *where) {
    char line[1024];
    int n_lines = 0;
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file)) {
        check_absent(line, where);
        n_lines++;
    }
    return n_lines;
}

static void check_process(const char *where) {
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(check_lines(maps, where) > 10);
    fclose(maps);
}

TEST(programs_need_no_cuda_library) {
    static const char *const programs[] = {SLUICE_PROGRAM, WORKER_PROGRAM, WHISPER_PLUGIN};
    char command[4096];
    for (size_t i = 0; i < 3; i++) {
        /* The libraries that the loader finds for it, without running it. */
        snprintf(command, sizeof command,
                 "LD_TRACE_LOADED_OBJECTS=1 /lib64/ld-linux-x86-64.so.2 '%s' 2>&1", programs[i]);
        FILE *lines = popen(command, "r");
        CHECK(check_lines(lines, programs[i]) > 2);
        CHECK_INT(pclose(lines), 0);
    }
}

TEST(the_plugin_loads_none) {
    void *plugin = dlopen(WHISPER_PLUGIN, RTLD_NOW | RTLD_LOCAL);
    if (!plugin)
        TEST_FAIL("%s", dlerror());
    CHECK(dlsym(plugin, "sluice_plugin_entry") != NULL);
    check_process("after loading the plugin");
    dlclose(plugin);
}

TEST(asking_for_a_card_loads_them) {
#ifdef SLUICE_HAVE_CUDA
    struct num_cuda_device device;
    struct num_cuda_gemm *gemm = NULL;
    struct num_err err = {0};
    check_process("before anything is asked for");
    int32_t status = num_cuda_device_open(0, &device, &err);
    CHECK(status == SLUICE_OK || status == SLUICE_UNSUPPORTED);
    if (status)
        CHECK(strlen(err.text) > 20);
    status = num_cuda_gemm_open(&gemm, &err);
    if (status == SLUICE_UNSUPPORTED) {
        CHECK_HAS(err.text, "libcublasLt.so.13");
        SKIP("%s", err.text);
    }
    num_cuda_gemm_close(gemm);
#else
    SKIP("nvcc was not found when this was built");
#endif
}

TEST_MAIN()
