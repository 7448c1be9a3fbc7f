/* The kernels for AVX-512 (F, VL, DQ, BW). Compiled with the flags named in CMakeLists.txt. */
#define NUM_ISA avx512
#define LANES   16
#define ROWS    12
#define VECS    2
#include "num/cpu/kernels.inc"
