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

/**
 * Four neighbouring bytes, wherever they lie: these cores read words from any address, unless CCR.UNALIGN_TRP is set or
 * the memory is of type Device, where that is a fault. Compile with -mno-unaligned-access for such, or -DLW_NO_DSP.
 */
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

/** What is between a sum and its int8 value. half: of 2^right. */
typedef struct {
    int32_t multiplier, half, right;
} lw_scaler;

/** What an int8 value is held in. */
typedef struct {
    int32_t zero_point, low, high;
} lw_range;

static inline lw_range lw_range_of(const lw_conv2d_params *p)
{
    lw_range out;
    out.zero_point = p->out_zero_point;
    out.low = p->out_min;
    out.high = p->out_max;
    return out;
}

/** Whether `scaled` gives what lw_rescale gives: sums below 2^30, and a shift to the right. taps: products of a sum. */
static inline int lw_can_scale(const lw_conv2d_params *p, int32_t taps)
{
    const int32_t most = (1 << 30) - 1 - taps * (255 * 128);
    for (int32_t channel = 0; channel < p->out_channels; channel++) {
        const int32_t bias = p->bias[channel];
        if (p->shift[channel] >= 0 || bias > most || bias < -most) {
            return 0;
        }
    }
    return 1;
}

static inline lw_scaler lw_scaler_of(const lw_conv2d_params *p, int32_t channel)
{
    lw_scaler s;
    s.multiplier = p->multiplier[channel];
    s.right = -p->shift[channel];
    s.half = (int32_t)((uint32_t)1 << (s.right - 1));
    return s;
}

/** As requantised in lawder_convolution.c. */
static inline int8_t lw_scaled(int32_t x, const lw_scaler *s, lw_range out)
{
    const int32_t high = lw_high_mul_small(x, s->multiplier);
    return lw_clamp(((high + (high >> 31) + s->half) >> s->right) + out.zero_point, out.low, out.high);
}

/**
 * One row of a convolution whose window is one pixel, at stride 1, or of a depthwise one. Returns 0, nothing written, for
 * what this file has no faster way for.
 */
int lw_dsp_pointwise_row(const lw_conv2d_params *p, const int8_t *x, int8_t *y);
int lw_dsp_pointwise_image_row(const lw_conv2d_params *p, const uint8_t *x, int8_t *y);
int lw_dsp_depthwise_row(const lw_conv2d_params *p, const int8_t *const *rows, int8_t *y);

/** One row of any dense convolution, likewise. is_image: the rows are bytes of a picture. */
int lw_dsp_dense_row(const lw_conv2d_params *p, const int8_t *const *rows, int is_image, int8_t *y);

#endif

#endif
