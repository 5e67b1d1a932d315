/* Whatever the compiler takes for the processor's common ground (SSE2, NEON): 4 x 1 sums. */
#define BLOCK_PASS block_pass_any
#define CONTEXT_PASS context_pass_any
#define ROWS 4
#define PANELS 1
#include "block_pass.h"
#include "context_pass.h"
