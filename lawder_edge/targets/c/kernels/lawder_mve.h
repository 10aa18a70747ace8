/**
 * @file lawder_mve.h
 * Kernels on cores with Arm's vector extension MVE (Cortex-M55, M85). Internal to the kernels.
 *
 * LW_MVE is 1 where the compiler has it, and GNU's assembler syntax, unless LW_NO_MVE is defined. The results are the
 * bits of the portable kernels: vqrdmulh rounds as lw_high_mul does, and vrshl half up, from which halves of negative
 * numbers are set right before.
 *
 * dlstp and letp are a loop over `count` bytes, 16 a turn, whose last turn loads 0 for, adds and stores nothing of those
 * beyond. Compilers do not make them of what is written with intrinsics; two in three instructions of a short copy are
 * saved.
 */
#ifndef LAWDER_MVE_H
#define LAWDER_MVE_H

#include "lawder_arithmetic.h"

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1) && defined(__GNUC__) && !defined(LW_NO_MVE)
#define LW_MVE 1
#else
#define LW_MVE 0
#endif

#if LW_MVE

#include <arm_mve.h>

/** What is between four sums and their int8 values. left, right: the shift, where it is above and below 0. */
typedef struct {
    int32x4_t multiplier, left, right;
} lw_mve_scaler;

/** As lw_rescale. */
static inline int32x4_t lw_mve_rescaled(int32x4_t x, lw_mve_scaler s)
{
    x = vqrdmulhq_s32(vshlq_s32(x, s.left), s.multiplier);
    return vrshlq_s32(vaddq_s32(x, vshrq_n_s32(vandq_s32(x, s.right), 31)), s.right);
}

static inline lw_mve_scaler lw_mve_scaler_of(int32x4_t multiplier, int32x4_t shift)
{
    lw_mve_scaler s;
    s.multiplier = multiplier;
    s.left = vmaxq_s32(shift, vdupq_n_s32(0));
    s.right = vminq_s32(shift, vdupq_n_s32(0));
    return s;
}

/** Four output channels' from `channel` on. */
static inline lw_mve_scaler lw_mve_scaler_at(const lw_conv2d_params *p, int32_t channel, mve_pred16_t used)
{
    return lw_mve_scaler_of(vldrwq_z_s32(p->multiplier + channel, used), vldrbq_z_s32(p->shift + channel, used));
}

/** Around the zero point, within low and high. */
static inline int32x4_t lw_mve_clamped(int32x4_t x, int32_t zero_point, int32_t low, int32_t high)
{
    return vminq_s32(vmaxq_s32(vqaddq_n_s32(x, zero_point), vdupq_n_s32(low)), vdupq_n_s32(high));
}

static inline void lw_mve_write4(int8_t *y, int32x4_t x, int32_t zero_point, int32_t low, int32_t high,
                                 mve_pred16_t used)
{
    vstrbq_p_s32(y, lw_mve_clamped(x, zero_point, low, high), used);
}

/** count bytes, at least one, each XOR its byte of flips: 0, or -128 for a picture. Returns: behind the last one. */
static inline int8_t *lw_mve_copy(int8_t *to, const int8_t *from, int32_t count, int8x16_t flips)
{
    int8_t *const end = to + count;
    __asm__ volatile("dlstp.8 lr, %[count]\n"
                     "1:\n"
                     "vldrb.8 q0, [%[from]], #16\n"
                     "veor q0, q0, %q[flips]\n"
                     "vstrb.8 q0, [%[to]], #16\n"
                     "letp lr, 1b\n"
                     : [to] "+r"(to), [from] "+r"(from)
                     : [count] "r"(count), [flips] "w"(flips)
                     : "q0", "lr", "memory");
    return end;
}

/** Sum of (x - zero point) * weight. */
int32_t lw_mve_dot(const int8_t *x, int32_t zero_point, const int8_t *weights, int32_t count);

/**
 * One row of a convolution whose window is one pixel, at stride 1, of a depthwise one, of any dense one; a sum (sign: 1
 * or -1), a product. flip: 0, or -128 for the bytes of a picture. Those that return int return 0, nothing written, for
 * what they cannot do.
 */
int lw_mve_pointwise_row(const lw_conv2d_params *p, const int8_t *x, int8_t flip, int8_t *y);
int lw_mve_depthwise_row(const lw_conv2d_params *p, const int8_t *const *rows, int8_t *y);
int lw_mve_dense_row(const lw_conv2d_params *p, const int8_t *const *rows, int8_t flip, int8_t *y);
int lw_mve_add(const lw_add_params *p, const lw_broadcast *shape, int32_t sign, const int8_t *a, const int8_t *b,
               int8_t *y);
int lw_mve_mul(const lw_mul_params *p, const lw_broadcast *shape, const int8_t *a, const int8_t *b, int8_t *y);

/** One row. down: the share of the lower input row, of 1024. */
void lw_mve_resize_bilinear_row(const lw_resize_params *p, int32_t down, const int8_t *const *rows, int8_t *y);

void lw_mve_max_pool2d_row(const lw_pool_params *p, const int8_t *const *rows, int8_t *y);

#endif

#endif
