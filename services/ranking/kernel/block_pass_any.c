/* Whatever the compiler takes for the processor's common ground (SSE2, NEON): registers of 4 numbers, 16 of them or more. */
#define BLOCK_PASS block_pass_any
#define CONTEXT_PASS context_pass_any
#define LANES 4
#define ROWS 4
#define GROUPS 2
#include "block_pass.h"
#include "context_pass.h"
