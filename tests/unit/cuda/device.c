/*
 * What errors of the runtime become for the host, and the memory of a card of a given size.
 */
#include "num/cuda/device.h"

#include "emu/emu.h"
#include "unit/test.h"

TEST(opens_the_card) {
    struct num_cuda_device d;
    struct num_err err = {0};
    CHECK_INT(num_cuda_device_open(0, &d, &err), SLUICE_OK);
    CHECK_STR(d.name, "emulated card");
    CHECK_INT(d.capability, 80);
    CHECK(d.total_bytes >= d.free_bytes && d.sm_count > 0);
}

TEST(names_the_cards_there_are) {
    struct num_cuda_device d = {.index = 7};
    struct num_err err = {0};
    CHECK_INT(num_cuda_device_open(3, &d, &err), SLUICE_UNSUPPORTED);
    CHECK_HAS(err.text, "card 3 was asked for and 1 are visible");
    CHECK_INT(d.index, 7);
}

TEST(says_when_there_is_no_card_or_an_old_driver) {
    struct num_cuda_device d;
    struct num_err err = {0};
    emu_fail_call("cudaGetDeviceCount", 1, cudaErrorNoDevice);
    CHECK_INT(num_cuda_device_open(0, &d, &err), SLUICE_UNSUPPORTED);
    CHECK_HAS(err.text, "no NVIDIA card is visible");
    emu_fail_call("cudaGetDeviceCount", 1, cudaErrorInsufficientDriver);
    CHECK_INT(num_cuda_device_open(0, &d, &err), SLUICE_UNSUPPORTED);
    CHECK_HAS(err.text, "needs CUDA 13.0");
}

TEST(memory_has_a_cap_and_an_end) {
    struct num_err err = {0};
    void *block = NULL;
    emu_set_memory(1 << 20);
    CHECK_INT(num_cuda_block_alloc(&block, 4096, 1000, &err), SLUICE_RESOURCE);
    CHECK_HAS(err.text, "4096 bytes of the card's memory are needed and 1000 are allowed");
    CHECK_INT(num_cuda_block_alloc(&block, 2 << 20, 0, &err), SLUICE_RESOURCE);
    CHECK_HAS(err.text, "1048576 of 1048576 are free");
    CHECK(block == NULL);
    CHECK_INT(num_cuda_block_alloc(&block, 1 << 20, 1 << 20, &err), SLUICE_OK);
    num_cuda_block_free(block);
    num_cuda_block_free(NULL);
    struct emu_counts counts;
    emu_counts(&counts);
    CHECK_INT(counts.bytes_used, 0);
    CHECK_INT(counts.bytes_peak, 1 << 20);
}

TEST(sticky_errors_stay) {
    struct num_err err = {0};
    void *p;
    CHECK(!num_cuda_is_broken());
    emu_fail_call("cudaMalloc", 1, cudaErrorMemoryAllocation);
    CHECK_INT(num_cuda_fail(&err, "weights", cudaMalloc(&p, 16)), SLUICE_RESOURCE);
    CHECK_HAS(err.text, "weights: out of memory");
    CHECK(!num_cuda_is_broken());
    CHECK_INT(num_cuda_fail(&err, "weights", cudaMalloc(&p, 16)), SLUICE_OK);
    emu_fail_call("cudaMemset", 1, cudaErrorIllegalAddress);
    CHECK_INT(num_cuda_fail(&err, "weights", cudaMemset(p, 0, 16)), SLUICE_INTERNAL);
    CHECK_HAS(err.text, "cannot be used by this process any more");
    CHECK(num_cuda_is_broken());
    CHECK_INT(cudaMemset(p, 0, 16), cudaErrorIllegalAddress);
}

TEST_MAIN()
