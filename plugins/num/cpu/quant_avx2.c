/* Stored blocks with AVX2; compiled with the flags named in CMakeLists.txt. */
#define QUANT_NAME avx2
#define LANES      8
#include "num/cpu/quant.inc"
