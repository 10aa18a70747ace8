/**
 * @file lawder_arithmetic.h
 * Fixed-point numbers as TensorFlow Lite and gemmlowp round them. Internal to the kernels.
 */
#ifndef LAWDER_ARITHMETIC_H
#define LAWDER_ARITHMETIC_H

#include "lawder_kernels.h"

/**
 * 1 where there is Arm's DSP extension (Cortex-M4, M7, M33, M55), unless LW_NO_DSP is defined. Older cores with some of it
 * (ARMv5TE) have no pairs of products, and the words that are loaded are taken for little-endian.
 */
#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32) && defined(__GNUC__) && !defined(__ARM_BIG_ENDIAN) && \
    !defined(LW_NO_DSP)
#define LW_DSP 1
#else
#define LW_DSP 0
#endif

/** Marks a kernel that a function of the same name elsewhere replaces. */
#if defined(__GNUC__) || defined(__clang__) || defined(__ICCARM__)
#define LW_KERNEL __attribute__((weak))
#else
#define LW_KERNEL
#endif

/** Does not compile where >> of a negative number drops its sign, or where int is of 16 bits. */
typedef char lw_shift_keeps_the_sign[(-1 >> 1) == -1 ? 1 : -1];
typedef char lw_int_has_32_bits[sizeof(int) >= 4 ? 1 : -1];

/** a * b / 2^31, rounded to nearest. Not both -2^31. */
static inline int32_t lw_high_mul(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
}

/** x / 2^exponent, halves away from zero. exponent: 0..31. */
static inline int32_t lw_divide_by_power_of_two(int32_t x, int32_t exponent)
{
    const int32_t mask = (int32_t)(((uint32_t)1 << exponent) - 1);
    const int32_t threshold = (mask >> 1) + (x < 0);
    return (x >> exponent) + ((x & mask) > threshold);
}

/** x * 2^shift with bits lost at the top. shift: 0..30. */
static inline int32_t lw_shift_left(int32_t x, int32_t shift)
{
    return (int32_t)((uint32_t)x << shift);
}

/** x * multiplier * 2^(shift - 31), rounded after the product and again after a shift to the right. */
static inline int32_t lw_rescale(int32_t x, int32_t multiplier, int32_t shift)
{
    const int32_t left = shift > 0 ? shift : 0;
    return lw_divide_by_power_of_two(lw_high_mul(lw_shift_left(x, left), multiplier), left - shift);
}

/** As lw_high_mul where a is between -2^30 and 2^30: one instruction, and a shift, where there is Arm's DSP extension. */
static inline int32_t lw_high_mul_small(int32_t a, int32_t b)
{
#if LW_DSP
    int32_t high;
    __asm__("smmulr %0, %1, %2" : "=r"(high) : "r"(lw_shift_left(a, 1)), "r"(b));
    return high;
#else
    return lw_high_mul(a, b);
#endif
}

/** As lw_rescale where x * 2^shift is between -2^30 and 2^30. What shift alone decides is decided once in a loop. */
static inline int32_t lw_rescale_small(int32_t x, int32_t multiplier, int32_t shift)
{
    const int32_t left = shift > 0 ? shift : 0, right = left - shift;
    const int32_t half = right > 0 ? (int32_t)((uint32_t)1 << (right - 1)) : 0, away = right > 0 ? -1 : 0;
    const int32_t high = lw_high_mul_small(lw_shift_left(x, left), multiplier);
    return (high + half + ((high >> 31) & away)) >> right;
}

/** x between low and high, both -128..127. */
static inline int8_t lw_clamp(int32_t x, int32_t low, int32_t high)
{
    return (int8_t)(x < low ? low : x > high ? high : x);
}

/** What an output is held in, before its zero point is added. */
typedef struct {
    int32_t zero_point, least, most;
} lw_limits;

/** low, high: -128..127. */
static inline lw_limits lw_limits_of(int32_t zero_point, int32_t low, int32_t high)
{
    lw_limits out;
    out.zero_point = zero_point;
    out.least = low - zero_point;
    out.most = high - zero_point;
    return out;
}

/** A scaled sum, of any size, as int8: cut off first, so that nothing overflows. */
static inline int8_t lw_limited(int32_t scaled, lw_limits out)
{
    return (int8_t)((scaled < out.least ? out.least : scaled > out.most ? out.most : scaled) + out.zero_point);
}

/** An output position's source between two pixels: `fraction` of 1024 from lower to upper. */
typedef struct {
    int32_t lower, upper, fraction;
} lw_between;

/** scale, offset: in 1/1024 pixels, as of lw_resize_params; length: pixels of the input. */
static inline lw_between lw_source_of(int32_t position, int32_t scale, int32_t offset, int32_t length)
{
    const int32_t source = position * scale + offset;
    const int32_t above = (source + 1023) / 1024;
    lw_between b;
    b.lower = source > 0 ? source / 1024 : 0;
    b.upper = above < length - 1 ? above : length - 1;
    b.fraction = source - 1024 * b.lower;
    return b;
}

#endif
