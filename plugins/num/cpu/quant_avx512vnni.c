/* Stored blocks with AVX-512, its dot products of bytes (VNNI) and its bytes at any bit (VBMI). */
#define QUANT_NAME avx512vnni
#define LANES      16
#include "num/cpu/quant.inc"
