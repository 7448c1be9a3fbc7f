/* The kernels for AVX2 with FMA. Compiled with the flags named in CMakeLists.txt. */
#define NUM_ISA avx2
#define LANES   8
#define ROWS    6
#define VECS    2
#include "num/cpu/kernels.inc"
