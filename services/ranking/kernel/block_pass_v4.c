/* Processors with 32 registers of 16 numbers (AVX-512): 8 x 3 sums, 3 groups and a weight stay in them. */
#if defined(__x86_64__)
#pragma GCC target("arch=x86-64-v4,prefer-vector-width=512")
#endif
#define BLOCK_PASS block_pass_v4
#define CONTEXT_PASS context_pass_v4
#define LANES 16
#define ROWS 8
#define GROUPS 3
#include "block_pass.h"
#include "context_pass.h"
