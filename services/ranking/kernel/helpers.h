/* Work that several threads share, of which the caller is one; the others are kept from call to call. */
#ifndef HELPERS_H
#define HELPERS_H

/* Runs `work(argument)` in this thread and in up to `threads` - 1 helpers at the same time; returns when all have returned.

   Each run takes pieces of the work until there are none: a helper that does not come in time, or cannot be started, leaves its
   pieces to the others, and no caller waits for one that has not begun. Any thread may call, also while others do; a process
   that was forked starts helpers of its own. */
void together(void (*work)(void *), void *argument, int threads);
#endif
