/* The kernels for AVX-512 with its dot products of bfloat16 and of bytes (VNNI). Compiled with the
 * flags named in CMakeLists.txt. */
#define NUM_ISA avx512bf16
#define LANES   16
#define ROWS    12
#define VECS    2
#include "num/cpu/kernels.inc"
