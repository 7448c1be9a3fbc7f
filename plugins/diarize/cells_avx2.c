#define CELLS dz_cells_avx2
#include "diarize/cells.inc"
