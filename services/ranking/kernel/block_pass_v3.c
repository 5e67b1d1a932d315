/* Processors with 16 registers of 8 numbers (AVX2): 6 x 1 sums of two registers each. */
#if defined(__x86_64__)
#pragma GCC target("arch=x86-64-v3")
#endif
#define BLOCK_PASS block_pass_v3
#define CONTEXT_PASS context_pass_v3
#define ROWS 6
#define PANELS 1
#include "block_pass.h"
#include "context_pass.h"
