/** @file lawder_mve_elementwise.c Sums and products with Arm's vector extension MVE; empty on other cores. */
#include "lawder_mve.h"

#if LW_MVE

/** Four neighbours, or one repeated. step: 1 or 0. */
static inline int32x4_t load4(const int8_t *x, uint32_t step, uint32_t at, mve_pred16_t used)
{
    return step != 0 ? vldrbq_z_s32(x + at, used) : vdupq_n_s32(*x);
}

static int is_simple(const lw_broadcast *shape)
{
    return shape->a_step[2] <= 1 && shape->b_step[2] <= 1;
}

static lw_mve_scaler same(int32_t multiplier, int32_t shift)
{
    return lw_mve_scaler_of(vdupq_n_s32(multiplier), vdupq_n_s32(shift));
}

int lw_mve_add(const lw_add_params *p, const lw_broadcast *shape, int32_t sign, const int8_t *a, const int8_t *b,
               int8_t *y)
{
    const lw_mve_scaler of_a = same(p->a_multiplier, p->a_shift), of_b = same(p->b_multiplier, p->b_shift);
    const lw_mve_scaler out = same(p->out_multiplier, p->out_shift);
    const int32_t za = p->a_zero_point, zb = p->b_zero_point, zy = p->out_zero_point;
    const int32_t low = p->out_min, high = p->out_max;
    const uint32_t count = shape->count[2], a_step = shape->a_step[2], b_step = shape->b_step[2];
    if (!is_simple(shape)) {
        return 0;
    }
    for (uint32_t i = 0; i < shape->count[0]; i++) {
        for (uint32_t j = 0; j < shape->count[1]; j++, y += count) {
            const int8_t *from_a = a + i * shape->a_step[0] + j * shape->a_step[1];
            const int8_t *from_b = b + i * shape->b_step[0] + j * shape->b_step[1];
            for (uint32_t k = 0; k < count; k += 4) {
                const mve_pred16_t used = vctp32q(count - k);
                const int32x4_t va = vshlq_n_s32(vsubq_n_s32(load4(from_a, a_step, k, used), za), 20);
                const int32x4_t vb = vshlq_n_s32(vsubq_n_s32(load4(from_b, b_step, k, used), zb), 20);
                const int32x4_t other = vmulq_n_s32(lw_mve_rescaled(vb, of_b), sign);
                const int32x4_t sum = vaddq_s32(lw_mve_rescaled(va, of_a), other);
                lw_mve_write4(y + k, lw_mve_rescaled(sum, out), zy, low, high, used);
            }
        }
    }
    return 1;
}

int lw_mve_mul(const lw_mul_params *p, const lw_broadcast *shape, const int8_t *a, const int8_t *b, int8_t *y)
{
    const lw_mve_scaler out = same(p->multiplier, p->shift);
    const int32_t za = p->a_zero_point, zb = p->b_zero_point, zy = p->out_zero_point;
    const int32_t low = p->out_min, high = p->out_max;
    const uint32_t count = shape->count[2], a_step = shape->a_step[2], b_step = shape->b_step[2];
    if (!is_simple(shape)) {
        return 0;
    }
    for (uint32_t i = 0; i < shape->count[0]; i++) {
        for (uint32_t j = 0; j < shape->count[1]; j++, y += count) {
            const int8_t *from_a = a + i * shape->a_step[0] + j * shape->a_step[1];
            const int8_t *from_b = b + i * shape->b_step[0] + j * shape->b_step[1];
            for (uint32_t k = 0; k < count; k += 4) {
                const mve_pred16_t used = vctp32q(count - k);
                const int32x4_t va = vsubq_n_s32(load4(from_a, a_step, k, used), za);
                const int32x4_t vb = vsubq_n_s32(load4(from_b, b_step, k, used), zb);
                lw_mve_write4(y + k, lw_mve_rescaled(vmulq_s32(va, vb), out), zy, low, high, used);
            }
        }
    }
    return 1;
}

#endif
