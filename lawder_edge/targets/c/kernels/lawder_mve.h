/**
 * @file lawder_mve.h
 * Kernels on cores with Arm's vector extension MVE (Cortex-M55, M85). Internal to the kernels.
 *
 * LW_MVE is 1 where the compiler has it, unless LW_NO_MVE is defined. The results are the bits of the portable kernels:
 * vqrdmulh rounds as lw_high_mul does, and vrshl half up, from which halves of negative numbers are set right before.
 */
#ifndef LAWDER_MVE_H
#define LAWDER_MVE_H

#include "lawder_arithmetic.h"

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1) && !defined(LW_NO_MVE)
#define LW_MVE 1
#else
#define LW_MVE 0
#endif

#if LW_MVE

/** Sum of (x - zero point) * weight. */
int32_t lw_mve_dot(const int8_t *x, int32_t zero_point, const int8_t *weights, int32_t count);

/**
 * One row of a convolution whose window is one pixel, at stride 1, of a depthwise one, of any dense one; a sum (sign: 1 or -1), a product.
 * flip: 0, or -128 for the bytes of a picture. Those that return int return 0, nothing written, for what they cannot do.
 */
void lw_mve_pointwise_row(const lw_conv2d_params *p, const int8_t *x, int8_t flip, int8_t *y);
int lw_mve_depthwise_row(const lw_conv2d_params *p, const int8_t *const *rows, int8_t *y);
int lw_mve_dense_row(const lw_conv2d_params *p, const int8_t *const *rows, int8_t flip, int8_t *y);
int lw_mve_add(const lw_add_params *p, const lw_broadcast *shape, int32_t sign, const int8_t *a, const int8_t *b,
               int8_t *y);
int lw_mve_mul(const lw_mul_params *p, const lw_broadcast *shape, const int8_t *a, const int8_t *b, int8_t *y);

#endif

#endif
