/* Stored blocks with plain vectors of four: the fallback on every processor. */
#define QUANT_NAME sse2
#define LANES      4
#include "num/cpu/quant.inc"
