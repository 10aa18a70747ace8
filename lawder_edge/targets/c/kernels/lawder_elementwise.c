/** @file lawder_elementwise.c Sums, products and functions of one value. */
#include "lawder_mve.h"

/** TensorFlow Lite's headroom of sums, in bits. */
#define ADD_SHIFT 20

/** An operand of a sum: its place in the three loops, and its scale. sign: 1 or -1. */
typedef struct {
    const int8_t *x;
    const uint32_t *step;
    int32_t zero_point, multiplier, shift, sign;
} operand;

/** wide is the operand of the larger scale, whose product with 1/2 needs no rounding. */
static inline void add_wide(const lw_add_params *p, const lw_broadcast *shape, operand wide, operand other, int8_t *y)
{
    /* In registers: for all that a compiler knows, a byte of y may be one of the parameters. */
    const int32_t multiplier = p->out_multiplier, shift = p->out_shift, zero_point = p->out_zero_point;
    const int32_t low = p->out_min, high = p->out_max, half = wide.sign * (1 << (ADD_SHIFT - 1));
    const uint32_t count = shape->count[2], wide_step = wide.step[2], other_step = other.step[2];
    for (uint32_t i = 0; i < shape->count[0]; i++) {
        for (uint32_t j = 0; j < shape->count[1]; j++) {
            const int8_t *from_wide = wide.x + i * wide.step[0] + j * wide.step[1];
            const int8_t *from_other = other.x + i * other.step[0] + j * other.step[1];
            for (uint32_t k = 0; k < count; k++, from_wide += wide_step, from_other += other_step) {
                const int32_t scaled_other =
                    lw_rescale_small((*from_other - other.zero_point) * (1 << ADD_SHIFT), other.multiplier, other.shift);
                const int32_t sum = (*from_wide - wide.zero_point) * half + other.sign * scaled_other;
                *y++ = lw_clamp(lw_rescale_small(sum, multiplier, shift) + zero_point, low, high);
            }
        }
    }
}

static inline void add_signed(const lw_add_params *p, const lw_broadcast *shape, int32_t sign, const int8_t *a,
                              const int8_t *b, int8_t *y)
{
#if LW_MVE
    if (lw_mve_add(p, shape, sign, a, b, y)) {
        return;
    }
#endif
    const operand first = {a, shape->a_step, p->a_zero_point, p->a_multiplier, p->a_shift, 1};
    const operand second = {b, shape->b_step, p->b_zero_point, p->b_multiplier, p->b_shift, sign};
    if (first.multiplier == 1 << 30 && first.shift == 0) {
        add_wide(p, shape, first, second, y);
    } else {
        add_wide(p, shape, second, first, y);
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

LW_KERNEL void lw_mul(const lw_mul_params *params, const lw_broadcast *shape, const int8_t *a, const int8_t *b,
                      int8_t *y)
{
#if LW_MVE
    if (lw_mve_mul(params, shape, a, b, y)) {
        return;
    }
#endif
    const lw_mul_params p = *params;
    const uint32_t count = shape->count[2], a_step = shape->a_step[2], b_step = shape->b_step[2];
    for (uint32_t i = 0; i < shape->count[0]; i++) {
        for (uint32_t j = 0; j < shape->count[1]; j++) {
            const int8_t *from_a = a + i * shape->a_step[0] + j * shape->a_step[1];
            const int8_t *from_b = b + i * shape->b_step[0] + j * shape->b_step[1];
            for (uint32_t k = 0; k < count; k++, from_a += a_step, from_b += b_step) {
                const int32_t va = *from_a - p.a_zero_point, vb = *from_b - p.b_zero_point;
                const int32_t scaled = lw_rescale_small(va * vb, p.multiplier, p.shift);
                *y++ = lw_clamp(scaled + p.out_zero_point, p.out_min, p.out_max);
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
