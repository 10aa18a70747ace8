/**
 * @file lawder_dsp.h
 * Convolutions on cores with Arm's DSP extension (Cortex-M4, M7, M33, M55): two products an instruction. Internal to the
 * kernels.
 *
 * Sums are those of the portable kernels in another order, and integers: the results are the same bits.
 */
#ifndef LAWDER_DSP_H
#define LAWDER_DSP_H

#include "lawder_arithmetic.h"

#if LW_DSP

#include <arm_acle.h>

/** Four neighbouring bytes, wherever they lie: these cores read words from any address. */
static inline uint32_t lw_load4(const int8_t *x)
{
    typedef struct {
        uint32_t word;
    } __attribute__((packed, may_alias)) unaligned;
    return ((const unaligned *)(const void *)x)->word;
}

/** Bytes 0 and 2 of a word as two int16. */
static inline int16x2_t lw_even(uint32_t four)
{
    return __sxtb16((int8x4_t)four);
}

/** Bytes 1 and 3. The rotation is part of the instruction, which compilers do not find by themselves. */
static inline int16x2_t lw_odd(uint32_t four)
{
    int16x2_t two;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(two) : "r"(four));
    return two;
}

/** Sum of (x - zero point) * weight. zero_points: twice in one word. */
static inline int32_t lw_dsp_dot(const int8_t *x, int16x2_t zero_points, const int8_t *weights, int32_t count)
{
    int32_t sum = 0, i = 0;
    for (; i + 4 <= count; i += 4) {
        const uint32_t a = lw_load4(x + i), b = lw_load4(weights + i);
        sum = __smlad(__ssub16(lw_even(a), zero_points), lw_even(b), sum);
        sum = __smlad(__ssub16(lw_odd(a), zero_points), lw_odd(b), sum);
    }
    for (; i < count; i++) {
        sum += (x[i] - (int16_t)zero_points) * weights[i];
    }
    return sum;
}

/** A zero point twice in one word. */
static inline int16x2_t lw_twice(int32_t zero_point)
{
    return (int16x2_t)(((uint32_t)zero_point & 0xffffu) * 0x10001u);
}

/**
 * One row of a convolution whose window is one pixel, at stride 1, or of a depthwise one. Returns 0, nothing written, for
 * what this file has no faster way for.
 */
int lw_dsp_pointwise_row(const lw_conv2d_params *p, const int8_t *x, int8_t *y);
int lw_dsp_pointwise_image_row(const lw_conv2d_params *p, const uint8_t *x, int8_t *y);
int lw_dsp_depthwise_row(const lw_conv2d_params *p, const int8_t *const *rows, int8_t *y);

#endif

#endif
