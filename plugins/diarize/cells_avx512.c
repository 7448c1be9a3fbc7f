#define CELLS dz_cells_avx512
#include "diarize/cells.inc"
