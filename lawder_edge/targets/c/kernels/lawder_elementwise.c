/** @file lawder_elementwise.c Sums, products and functions of one value. */
#include "lawder_arithmetic.h"

/** TensorFlow Lite's headroom of sums, in bits. */
#define ADD_SHIFT 20

/** a + sign * b. sign: 1 or -1. */
static void add_signed(const lw_add_params *p, const lw_broadcast *shape, int32_t sign, const int8_t *a,
                       const int8_t *b, int8_t *y)
{
    for (uint32_t i = 0; i < shape->count[0]; i++) {
        for (uint32_t j = 0; j < shape->count[1]; j++) {
            const int8_t *from_a = a + i * shape->a_step[0] + j * shape->a_step[1];
            const int8_t *from_b = b + i * shape->b_step[0] + j * shape->b_step[1];
            for (uint32_t k = 0; k < shape->count[2]; k++) {
                const int32_t va = (from_a[k * shape->a_step[2]] - p->a_zero_point) * (1 << ADD_SHIFT);
                const int32_t vb = (from_b[k * shape->b_step[2]] - p->b_zero_point) * (1 << ADD_SHIFT);
                const int32_t sum = lw_rescale(va, p->a_multiplier, p->a_shift) +
                                    sign * lw_rescale(vb, p->b_multiplier, p->b_shift);
                const int32_t scaled = lw_rescale(sum, p->out_multiplier, p->out_shift);
                *y++ = lw_clamp(scaled + p->out_zero_point, p->out_min, p->out_max);
            }
        }
    }
}

LW_KERNEL void lw_add(const lw_add_params *p, const lw_broadcast *shape, const int8_t *a, const int8_t *b, int8_t *y)
{
    add_signed(p, shape, 1, a, b, y);
}

LW_KERNEL void lw_sub(const lw_add_params *p, const lw_broadcast *shape, const int8_t *a, const int8_t *b, int8_t *y)
{
    add_signed(p, shape, -1, a, b, y);
}

LW_KERNEL void lw_mul(const lw_mul_params *p, const lw_broadcast *shape, const int8_t *a, const int8_t *b, int8_t *y)
{
    for (uint32_t i = 0; i < shape->count[0]; i++) {
        for (uint32_t j = 0; j < shape->count[1]; j++) {
            const int8_t *from_a = a + i * shape->a_step[0] + j * shape->a_step[1];
            const int8_t *from_b = b + i * shape->b_step[0] + j * shape->b_step[1];
            for (uint32_t k = 0; k < shape->count[2]; k++) {
                const int32_t va = from_a[k * shape->a_step[2]] - p->a_zero_point;
                const int32_t vb = from_b[k * shape->b_step[2]] - p->b_zero_point;
                const int32_t scaled = lw_rescale(va * vb, p->multiplier, p->shift);
                *y++ = lw_clamp(scaled + p->out_zero_point, p->out_min, p->out_max);
            }
        }
    }
}

LW_KERNEL void lw_lookup(const int8_t table[256], uint32_t count, const int8_t *x, int8_t *y)
{
    for (uint32_t i = 0; i < count; i++) {
        y[i] = table[x[i] + 128];
    }
}

LW_KERNEL void lw_image(uint32_t count, const uint8_t *x, int8_t *y)
{
    for (uint32_t i = 0; i < count; i++) {
        y[i] = (int8_t)(x[i] - 128);
    }
}

LW_KERNEL void lw_probability(const uint8_t table[256], uint32_t count, const int8_t *x, uint8_t *y)
{
    for (uint32_t i = 0; i < count; i++) {
        y[i] = table[x[i] + 128];
    }
}

LW_KERNEL void lw_argmax(uint32_t pixels, uint32_t classes, const int8_t *x, uint8_t *y)
{
    for (uint32_t i = 0; i < pixels; i++, x += classes) {
        uint32_t best = 0;
        for (uint32_t k = 1; k < classes; k++) {
            best = x[k] > x[best] ? k : best;
        }
        y[i] = (uint8_t)best;
    }
}
