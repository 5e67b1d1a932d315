/* Processors with 16 registers of 8 numbers (AVX2): 4 x 3 sums, 3 groups and a weight stay in them. */
#if defined(__x86_64__)
#pragma GCC target("arch=x86-64-v3")
#endif
#define BLOCK_PASS block_pass_v3
#define CONTEXT_PASS context_pass_v3
#define LANES 8
#define ROWS 4
#define GROUPS 3
#include "block_pass.h"
#include "context_pass.h"
