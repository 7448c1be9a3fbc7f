/* The kernels for SSE2, which every x86-64 has; plain vectors elsewhere. Compiled with the flags
 * named in CMakeLists.txt. */
#define NUM_ISA sse2
#define LANES   4
#define ROWS    2
#define VECS    4
#include "num/cpu/kernels.inc"
