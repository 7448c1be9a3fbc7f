/* A library that only has the name of CUDA's. */
__attribute__((visibility("default"))) int fake_cuda(void);

int fake_cuda(void) {
    return 0;
}
