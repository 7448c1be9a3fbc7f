/* The kernels that every processor of its kind has: SSE2 on x86-64, NEON on 64-bit ARM, whose twice
 * as many registers hold more rows; plain vectors elsewhere. Compiled with the flags named in
 * CMakeLists.txt. */
#define LANES 4
#define VECS  4
#ifdef __aarch64__
#define NUM_ISA neon
#define ROWS    6
#else
#define NUM_ISA sse2
#define ROWS    2
#endif
#include "num/cpu/kernels.inc"
