/* Processors with 32 registers of 16 numbers (AVX-512): 12 x 2 sums, 2 columns and a number of the tile stay in them. */
#if defined(__x86_64__)
#pragma GCC target("arch=x86-64-v4,prefer-vector-width=512")
#endif
#define BLOCK_PASS block_pass_v4
#define CONTEXT_PASS context_pass_v4
#define ROWS 12
#define PANELS 2
#include "block_pass.h"
#include "context_pass.h"
