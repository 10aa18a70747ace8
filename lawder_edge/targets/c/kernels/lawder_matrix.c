/** @file lawder_matrix.c Matrix products and softmax: what attention is made of. */
#include "lawder_arithmetic.h"

LW_KERNEL void lw_batch_matmul(const lw_matmul_params *p, const int8_t *a, const int8_t *b, int8_t *y)
{
    const uint32_t rows = p->rows, inner = p->inner, columns = p->columns;
    const lw_limits out = lw_limits_of(p->out_zero_point, INT8_MIN, INT8_MAX);
    for (uint32_t n = 0; n < p->batch; n++, a += rows * inner, b += inner * columns) {
        for (uint32_t i = 0; i < rows; i++) {
            for (uint32_t j = 0; j < columns; j++) {
                const int8_t *from_a = a + i * p->a_row, *from_b = b + j * p->b_column;
                int32_t sum = 0;
                for (uint32_t t = 0; t < inner; t++) {
                    sum += (from_a[t * p->a_column] - p->a_zero_point) * (from_b[t * p->b_row] - p->b_zero_point);
                }
                *y++ = lw_limited(lw_rescale(sum, p->multiplier, p->shift), out);
            }
        }
    }
}

/** x * 2^exponent, saturated. exponent: 1..30. */
static int32_t shift_left_saturated(int32_t x, int32_t exponent)
{
    const int32_t limit = (int32_t)(((uint32_t)1 << (31 - exponent)) - 1);
    return x > limit ? INT32_MAX : x < -limit - 1 ? INT32_MIN : lw_shift_left(x, exponent);
}

/** exp(a) as Q0.31, for a <= 0 as Q5.26. */
static int32_t exp_of_negative(int32_t a)
{
    /* exp(-2^i) as Q0.31 for i from -2 up, exp(-1/8) and 1/3. */
    static const int32_t powers[7] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
    const int32_t minus_eighth = 1895147668, third = 715827883;
    const int32_t quarter = 1 << 24;
    const int32_t a_mod_quarter = (a & (quarter - 1)) - quarter;
    const int32_t remainder = a_mod_quarter - a;
    /* A Taylor polynomial around -1/8. */
    const int32_t x = a_mod_quarter * (1 << 5) + (1 << 28);
    const int32_t x2 = lw_high_mul(x, x), x3 = lw_high_mul(x2, x), x4 = lw_high_mul(x2, x2);
    const int32_t cubic = lw_high_mul(lw_divide_by_power_of_two(x4, 2) + x3, third);
    const int32_t rest = lw_divide_by_power_of_two(cubic + x2, 1);
    int32_t result = minus_eighth + lw_high_mul(minus_eighth, x + rest);
    for (int32_t i = 0; i < 7; i++) {
        if (remainder & (quarter << i)) {
            result = lw_high_mul(result, powers[i]);
        }
    }
    return a == 0 ? INT32_MAX : result;
}

/** 1 / (1 + a) as Q0.31, for a in [0, 1] as Q0.31: three Newton steps. */
static int32_t reciprocal_of_one_plus(int32_t a)
{
    const int32_t half_denominator = (int32_t)(((int64_t)a + INT32_MAX + 1) / 2);
    int32_t x = 1515870810 + lw_high_mul(half_denominator, -1010580540); /* 48 / 17 and -32 / 17 as Q2.29 */
    for (int32_t step = 0; step < 3; step++) {
        const int32_t missing = (1 << 29) - lw_high_mul(half_denominator, x);
        x += shift_left_saturated(lw_high_mul(x, missing), 2);
    }
    return shift_left_saturated(x, 1);
}

static int32_t leading_zeros(uint32_t x)
{
    int32_t count = 0;
    while (count < 32 && !(x & 0x80000000u)) {
        x <<= 1;
        count++;
    }
    return count;
}

/** exp of a difference to the row's maximum. */
static int32_t power(const lw_softmax_params *p, int32_t difference)
{
    return exp_of_negative(lw_high_mul(lw_shift_left(difference, p->shift), p->multiplier));
}

LW_KERNEL void lw_softmax(const lw_softmax_params *p, const int8_t *x, int8_t *y)
{
    for (uint32_t row = 0; row < p->rows; row++, x += p->length, y += p->length) {
        int32_t largest = x[0], sum = 0;
        for (int32_t i = 1; i < p->length; i++) {
            largest = x[i] > largest ? x[i] : largest;
        }
        for (int32_t i = 0; i < p->length; i++) {
            if (x[i] - largest >= p->smallest) {
                sum += lw_divide_by_power_of_two(power(p, x[i] - largest), 12); /* Q12.19 */
            }
        }
        const int32_t headroom = leading_zeros((uint32_t)sum);
        const int32_t scale = reciprocal_of_one_plus((int32_t)(((uint32_t)sum << headroom) - 0x80000000u));
        const int32_t exponent = 12 - headroom + 23;
        for (int32_t i = 0; i < p->length; i++) {
            const int32_t difference = x[i] - largest;
            int32_t share = 0;
            if (difference >= p->smallest && exponent < 32) {
                share = lw_divide_by_power_of_two(lw_high_mul(scale, power(p, difference)), exponent);
            }
            y[i] = lw_clamp(share - 128, INT8_MIN, INT8_MAX);
        }
    }
}
