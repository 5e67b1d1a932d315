/* LANES numbers at once, 4, 8 or 16, and what is computed of them number by number. LANES is what a register holds: compilers
   take wider vectors too, but split them so badly that they are slower than single numbers. */
#ifndef LANES_H
#define LANES_H
#include <stdint.h>

typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t Bits __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#define INLINE static inline __attribute__((always_inline))
#define AT(pointer) (*(Lanes *)(pointer))
#define READ(pointer) (*(const Lanes *)(pointer))

/* number - 0 is the number itself, -0 too, so that nothing is computed; 0 + number would cost an addition for every number that
   a product broadcasts, half as much again on processors that add where they multiply. */
INLINE Lanes all(float number) { return number - (Lanes){}; }

INLINE Lanes choose(Bits mask, Lanes yes, Lanes no) { return (Lanes)(((Bits)yes & mask) | ((Bits)no & ~mask)); }

INLINE Lanes larger(Lanes a, Lanes b) { return choose(a > b, a, b); }

INLINE Lanes smaller(Lanes a, Lanes b) { return choose(a < b, a, b); }

/* e^x to 2 units in the last place (Cephes): x = n log 2 + r, a polynomial in r, then n into the exponent. */
INLINE Lanes exponential(Lanes x) {
    x = smaller(larger(x, all(-87.0f)), all(88.0f));
    Lanes shifted = x * 1.44269504088896341f + 12582912.0f; /* 1.5 * 2^23: the low bits are n, rounded */
    Lanes n = shifted - 12582912.0f;
    Lanes r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    Lanes p = all(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    return (Lanes)((Bits)p + ((Bits)shifted << 23));
}

/* GELU in its tanh form: x * sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)). */
INLINE Lanes gelu(Lanes x) { return x / (1.0f + exponential(-x * (x * x * 0.0713548162726f + 1.5957691216057308f))); }

/* place(0, by), place(1, by) and so on, for every lane. */
#define EVERY_4(place, by) place(0, by), place(1, by), place(2, by), place(3, by)
#define EVERY_8(place, by) EVERY_4(place, by), place(4, by), place(5, by), place(6, by), place(7, by)
#if LANES == 16
#define EVERY(place, by)                                                                                            \
    EVERY_8(place, by), place(8, by), place(9, by), place(10, by), place(11, by), place(12, by), place(13, by), place(14, by), \
        place(15, by)
#elif LANES == 8
#define EVERY EVERY_8
#else
#define EVERY EVERY_4
#endif
#define SELF(i, by) (i) + (by)
static const Bits ASCENDING = {EVERY(SELF, 0)};

/* Numbers of two vectors, by their places: those of a are 0 to LANES - 1, those of b the ones behind. */
#if defined(__clang__) || __GNUC__ >= 12
#define PICKED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define PICKED(a, b, ...) __builtin_shuffle(a, b, (Bits){__VA_ARGS__})
#endif

/* In a square of rows, numbers `by` rows below and `by` lanes to the left of others change places with them. */
#define LOW(i, by) ((i) & (by) ? LANES + (i) - (by) : (i))
#define HIGH(i, by) ((i) & (by) ? LANES + (i) : (i) + (by))
#define EXCHANGE(square, by)                                                             \
    _Pragma("GCC unroll 16") for (int i = 0; i < LANES; i++) if (!(i & (by))) {            \
        Lanes low = PICKED(square[i], square[i + (by)], EVERY(LOW, by));                 \
        square[i + (by)] = PICKED(square[i], square[i + (by)], EVERY(HIGH, by));         \
        square[i] = low;                                                                 \
    }

/* out (width, side) from a row of `width` numbers, a multiple of LANES, for each lane. */
INLINE void turn(float *out, const float *const *row, int width, long side) {
    for (int c = 0; c < width; c += LANES) {
        Lanes square[LANES];
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) square[i] = READ(row[i] + c);
#if LANES > 8
        EXCHANGE(square, 8)
#endif
#if LANES > 4
        EXCHANGE(square, 4)
#endif
        EXCHANGE(square, 2)
        EXCHANGE(square, 1)
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) AT(out + (c + i) * side) = square[i];
    }
}
#endif
