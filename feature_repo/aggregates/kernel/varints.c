/* Protocol-buffer varints of a whole column: seven bits a byte, low bits first, the high bit of a byte: more follow. */
#include <stdint.h>

/* The varints of n values back to back in `out` (room for 10 n bytes), and the length of each. Returns their bytes. */
uint64_t varints(uint64_t n, const uint64_t *value, uint8_t *out, int64_t *length) {
    uint8_t *at = out;
    for (uint64_t i = 0; i < n; i++) {
        uint8_t *start = at;
        uint64_t rest = value[i];
        for (; rest > 127; rest >>= 7) *at++ = (uint8_t)(rest | 128);
        *at++ = (uint8_t)rest;
        length[i] = at - start;
    }
    return (uint64_t)(at - out);
}
