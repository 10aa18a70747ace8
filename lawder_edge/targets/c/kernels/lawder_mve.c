/** @file lawder_mve.c Kernels with Arm's vector extension MVE; empty on other cores. */
#include "lawder_mve.h"

#if LW_MVE

#include <arm_mve.h>

/** What is between four sums and their int8 values. left, right: the shift, where it is above and below 0. */
typedef struct {
    int32x4_t multiplier, left, right;
} scaler;

/** As lw_rescale. */
static inline int32x4_t rescaled(int32x4_t x, scaler s)
{
    x = vqrdmulhq_s32(vshlq_s32(x, s.left), s.multiplier);
    return vrshlq_s32(vaddq_s32(x, vshrq_n_s32(vandq_s32(x, s.right), 31)), s.right);
}

static inline scaler scaler_of(int32x4_t multiplier, int32x4_t shift)
{
    scaler s;
    s.multiplier = multiplier;
    s.left = vmaxq_s32(shift, vdupq_n_s32(0));
    s.right = vminq_s32(shift, vdupq_n_s32(0));
    return s;
}

/** Four output channels' from `channel` on. */
static inline scaler scaler_at(const lw_conv2d_params *p, int32_t channel, mve_pred16_t used)
{
    return scaler_of(vldrwq_z_s32(p->multiplier + channel, used), vldrbq_z_s32(p->shift + channel, used));
}

/** Around the zero point, within low and high. */
static inline int32x4_t clamped(int32x4_t x, int32_t zero_point, int32_t low, int32_t high)
{
    return vminq_s32(vmaxq_s32(vqaddq_n_s32(x, zero_point), vdupq_n_s32(low)), vdupq_n_s32(high));
}

static inline void write4(int8_t *y, int32x4_t x, int32_t zero_point, int32_t low, int32_t high, mve_pred16_t used)
{
    vstrbq_p_s32(y, clamped(x, zero_point, low, high), used);
}

int32_t lw_mve_dot(const int8_t *x, int32_t zero_point, const int8_t *weights, int32_t count)
{
    int32_t sum = 0, of_weights = 0;
    for (; count > 0; count -= 16, x += 16, weights += 16) {
        const mve_pred16_t used = vctp8q((uint32_t)count);
        const int8x16_t w = vldrbq_z_s8(weights, used);
        sum = vmladavaq_s8(sum, vldrbq_z_s8(x, used), w);
        of_weights = vaddvaq_s8(of_weights, w);
    }
    return sum - zero_point * of_weights;
}

/** The bias with what the zero point adds to each sum. */
static int32_t folded(const lw_conv2d_params *p, int32_t channel)
{
    const int8_t *weights = p->weights + channel * p->in_channels;
    int32_t sum = 0;
    for (int32_t i = 0; i < p->in_channels; i++) {
        sum += weights[i];
    }
    return p->bias[channel] - p->in_zero_point * sum;
}

/** Four output channels of a row. Those of `used` are written; w: the four's weights, bias: what `folded` gives. */
static inline void pointwise4(const lw_conv2d_params *p, const int8_t *x, int8_t flip, const int8_t *const *w,
                              const int32_t *bias, scaler s, mve_pred16_t used, int8_t *y)
{
    const int32_t depth = p->in_channels, step = p->out_channels;
    const int32_t zero_point = p->out_zero_point, low = p->out_min, high = p->out_max;
    const int8x16_t flips = vdupq_n_s8(flip);
    for (int32_t column = p->out_width; column > 0; column--, x += depth, y += step) {
        int32_t a = bias[0], b = bias[1], c = bias[2], d = bias[3];
        for (int32_t i = 0; i < depth; i += 16) {
            const mve_pred16_t inside = vctp8q((uint32_t)(depth - i));
            const int8x16_t from = veorq_s8(vldrbq_z_s8(x + i, inside), flips);
            a = vmladavaq_s8(a, from, vldrbq_z_s8(w[0] + i, inside));
            b = vmladavaq_s8(b, from, vldrbq_z_s8(w[1] + i, inside));
            c = vmladavaq_s8(c, from, vldrbq_z_s8(w[2] + i, inside));
            d = vmladavaq_s8(d, from, vldrbq_z_s8(w[3] + i, inside));
        }
        const int32x4_t sums = {a, b, c, d};
        write4(y, rescaled(sums, s), zero_point, low, high, used);
    }
}

/** As pointwise4 of four channels whose depth is at most 16: their weights stay in registers. */
static void short_pointwise4(const lw_conv2d_params *p, const int8_t *x, int8_t flip, const int8_t *const *w,
                             const int32_t *bias, scaler s, int8_t *y)
{
    const int32_t depth = p->in_channels, step = p->out_channels;
    const int32_t zero_point = p->out_zero_point;
    const mve_pred16_t inside = vctp8q((uint32_t)depth);
    const int8x16_t w0 = vldrbq_z_s8(w[0], inside), w1 = vldrbq_z_s8(w[1], inside);
    const int8x16_t w2 = vldrbq_z_s8(w[2], inside), w3 = vldrbq_z_s8(w[3], inside);
    const int8x16_t flips = vdupq_n_s8(flip);
    const int32_t a = bias[0], b = bias[1], c = bias[2], d = bias[3];
    const int32x4_t low = vdupq_n_s32(p->out_min), high = vdupq_n_s32(p->out_max);
    for (int32_t column = p->out_width; column > 0; column--, x += depth, y += step) {
        const int8x16_t from = veorq_s8(vldrbq_z_s8(x, inside), flips);
        const int32x4_t sums = {vmladavaq_s8(a, from, w0), vmladavaq_s8(b, from, w1), vmladavaq_s8(c, from, w2),
                                vmladavaq_s8(d, from, w3)};
        const int32x4_t scaled = vqaddq_n_s32(rescaled(sums, s), zero_point);
        vstrbq_s32(y, vminq_s32(vmaxq_s32(scaled, low), high));
    }
}

void lw_mve_pointwise_row(const lw_conv2d_params *p, const int8_t *x, int8_t flip, int8_t *y)
{
    for (int32_t channel = 0; channel < p->out_channels; channel += 4) {
        const mve_pred16_t used = vctp32q((uint32_t)(p->out_channels - channel));
        const int8_t *w[4];
        int32_t bias[4];
        for (int32_t i = 0; i < 4; i++) {
            /* Where there are fewer than four left the last one is computed again, and not written. */
            const int32_t at = channel + i < p->out_channels ? channel + i : p->out_channels - 1;
            w[i] = p->weights + at * p->in_channels;
            bias[i] = folded(p, at);
        }
        if (p->in_channels <= 16 && channel + 4 <= p->out_channels) {
            short_pointwise4(p, x, flip, w, bias, scaler_at(p, channel, used), y + channel);
        } else {
            pointwise4(p, x, flip, w, bias, scaler_at(p, channel, used), used, y + channel);
        }
    }
}

/** The most values of a window, and output channels, for which there is room on the stack. */
#define MAX_VALUES 432
#define MAX_CHANNELS 96

/** count bytes to other ones, each changed by flip; those beyond the border, where from is null, are `value`. */
static inline int8_t *copy(int8_t *to, const int8_t *from, int32_t count, int8x16_t flips, int8_t value)
{
    for (int32_t left = count; left > 0; left -= 16, to += 16, from += from == NULL ? 0 : 16) {
        const mve_pred16_t used = vctp8q((uint32_t)left);
        const int8x16_t x = from == NULL ? vdupq_n_s8(value) : veorq_s8(vldrbq_z_s8(from, used), flips);
        vstrbq_p_s8(to, x, used);
    }
    return to - (count + 15) / 16 * 16 + count;
}

/** A row of a window, of an input of so many channels. row: null beyond the border. */
static inline int8_t *gather_row(const lw_conv2d_params *p, const int8_t *row, int32_t channels, int32_t start,
                                 int8x16_t flips, int8_t *to)
{
    const int32_t taps = p->kernel_width, dilation = p->dilation_x;
    if (row == NULL || (dilation == 1 && start >= 0 && start + taps <= p->in_width)) {
        return copy(to, row == NULL ? NULL : row + start * channels, taps * channels, flips, p->in_zero_point);
    }
    for (int32_t kx = 0; kx < taps; kx++) {
        const int32_t at = start + kx * dilation;
        const int is_inside = at >= 0 && at < p->in_width;
        to = copy(to, is_inside ? row + at * channels : NULL, channels, flips, p->in_zero_point);
    }
    return to;
}

/** The bytes of a column's window in the order of the weights. */
static void gather(const lw_conv2d_params *p, const int8_t *const *rows, int32_t column, int8x16_t flips, int8_t *to)
{
    const int32_t start = column * p->stride_x - p->pad_left, first = p->first_channels;
    for (int32_t ky = 0; ky < p->kernel_height; ky++) {
        to = gather_row(p, rows[ky], first, start, flips, to);
        if (first < p->in_channels) {
            to = gather_row(p, rows[p->kernel_height + ky], p->in_channels - first, start, flips, to);
        }
    }
}

/** Sums of four channels over the values of a window. w: of the first of them; the last ones may be the same again. */
static inline int32x4_t window_sums(const int8_t *x, int32_t count, const int8_t *const *w, const int32_t *bias)
{
    const int8_t *w0 = w[0], *w1 = w[1], *w2 = w[2], *w3 = w[3];
    int32_t a = bias[0], b = bias[1], c = bias[2], d = bias[3];
    for (; count >= 16; count -= 16, x += 16, w0 += 16, w1 += 16, w2 += 16, w3 += 16) {
        const int8x16_t from = vldrbq_s8(x);
        a = vmladavaq_s8(a, from, vldrbq_s8(w0));
        b = vmladavaq_s8(b, from, vldrbq_s8(w1));
        c = vmladavaq_s8(c, from, vldrbq_s8(w2));
        d = vmladavaq_s8(d, from, vldrbq_s8(w3));
    }
    if (count > 0) {
        const mve_pred16_t used = vctp8q((uint32_t)count);
        const int8x16_t from = vldrbq_z_s8(x, used);
        a = vmladavaq_s8(a, from, vldrbq_z_s8(w0, used));
        b = vmladavaq_s8(b, from, vldrbq_z_s8(w1, used));
        c = vmladavaq_s8(c, from, vldrbq_z_s8(w2, used));
        d = vmladavaq_s8(d, from, vldrbq_z_s8(w3, used));
    }
    const int32x4_t sums = {a, b, c, d};
    return sums;
}

int lw_mve_dense_row(const lw_conv2d_params *p, const int8_t *const *rows, int8_t flip, int8_t *y)
{
    const int32_t count = p->kernel_height * p->kernel_width * p->in_channels, channels = p->out_channels;
    const int32_t zero_point = p->out_zero_point, low = p->out_min, high = p->out_max;
    int8_t window[MAX_VALUES];
    int32_t bias[MAX_CHANNELS + 3];
    if (count > MAX_VALUES || channels > MAX_CHANNELS) {
        return 0;
    }
    for (int32_t channel = 0; channel < channels + 3; channel++) {
        /* Where there are fewer than four left the last one is computed again, and not written. */
        const int32_t at = channel < channels ? channel : channels - 1;
        bias[channel] = p->bias[at];
        for (int32_t i = 0; i < count; i += 16) {
            const mve_pred16_t used = vctp8q((uint32_t)(count - i));
            bias[channel] -= p->in_zero_point * vaddvq_s8(vldrbq_z_s8(p->weights + at * count + i, used));
        }
    }
    for (int32_t column = 0; column < p->out_width; column++, y += channels) {
        gather(p, rows, column, vdupq_n_s8(flip), window);
        for (int32_t channel = 0; channel < channels; channel += 4) {
            const mve_pred16_t used = vctp32q((uint32_t)(channels - channel));
            const int8_t *w[4];
            for (int32_t i = 0; i < 4; i++) {
                w[i] = p->weights + (channel + i < channels ? channel + i : channels - 1) * count;
            }
            const int32x4_t sums = window_sums(window, count, w, bias + channel);
            write4(y + channel, rescaled(sums, scaler_at(p, channel, used)), zero_point, low, high, used);
        }
    }
    return 1;
}

/** Four channels of a depthwise row. used: those that there are. */
typedef struct {
    int32_t channel;
    mve_pred16_t used;
    int32x4_t bias;
    scaler s;
} lanes;

/** Four values. is_full: a constant, whether all are used. */
static inline __attribute__((always_inline)) int32x4_t read4(const int8_t *x, int is_full, mve_pred16_t used)
{
    return is_full ? vldrbq_s32(x) : vldrbq_z_s32(x, used);
}

/** Of the columns from `column` to `end` - 1, whose windows may reach beyond the row. */
static inline __attribute__((always_inline)) void depthwise_edge(const lw_conv2d_params *p, const int8_t *const *rows,
                                                                 const lanes *l, int is_full, int32_t column,
                                                                 int32_t end, int8_t *y)
{
    const int32_t channels = p->out_channels, width = p->kernel_width, dilation = p->dilation_x;
    const int32_t zero_point = p->in_zero_point, step = dilation * channels;
    const mve_pred16_t used = l->used;
    for (; column < end; column++) {
        const int32_t start = column * p->stride_x - p->pad_left;
        /* The taps that lie inside the row: first..last - 1. */
        const int32_t first = start < 0 ? (-start + dilation - 1) / dilation : 0;
        const int32_t last = start + (width - 1) * dilation < p->in_width
                                 ? width : (p->in_width - start + dilation - 1) / dilation;
        const int8_t *weights = p->weights + first * channels + l->channel;
        const int32_t at = (start + first * dilation) * channels + l->channel;
        int32x4_t sums = l->bias;
        for (int32_t ky = 0; ky < p->kernel_height; ky++, weights += width * channels) {
            const int8_t *from = rows[ky] + at, *w = weights;
            for (int32_t taps = rows[ky] == NULL ? 0 : last - first; taps > 0; taps--, from += step, w += channels) {
                const int32x4_t x = vsubq_n_s32(read4(from, is_full, used), zero_point);
                sums = vaddq_s32(sums, vmulq_s32(x, read4(w, is_full, used)));
            }
        }
        write4(y + column * channels + l->channel, rescaled(sums, l->s), p->out_zero_point, p->out_min, p->out_max,
               used);
    }
}

/** Four columns at a time of four channels that there are, from `column` on, whose windows lie inside the row.
    Returns: the first column that is left. */
static inline int32_t depthwise_inside(const lw_conv2d_params *p, const int8_t *const *rows, const lanes *l,
                                       int32_t column, int32_t end, int8_t *y)
{
    const int32_t channels = p->out_channels, width = p->kernel_width;
    const int32_t next = p->stride_x * channels, step = p->dilation_x * channels;
    const int32_t zero_point = p->out_zero_point, low = p->out_min, high = p->out_max;
    const scaler s = l->s;
    int32x4_t of_weights = vdupq_n_s32(0);
    for (int32_t ky = 0; ky < p->kernel_height; ky++) {
        const int8_t *w = p->weights + ky * width * channels + l->channel;
        for (int32_t taps = rows[ky] == NULL ? 0 : width; taps > 0; taps--, w += channels) {
            of_weights = vaddq_s32(of_weights, vldrbq_s32(w));
        }
    }
    const int32x4_t bias = vsubq_s32(l->bias, vmulq_n_s32(of_weights, p->in_zero_point));
    for (; column + 4 <= end; column += 4) {
        const int32_t at = (column * p->stride_x - p->pad_left) * channels + l->channel;
        const int8_t *w = p->weights + l->channel;
        int8_t *to = y + column * channels + l->channel;
        int32x4_t a = bias, b = bias, c = bias, d = bias;
        for (int32_t ky = 0; ky < p->kernel_height; ky++) {
            if (rows[ky] == NULL) {
                w += width * channels;
                continue;
            }
            const int8_t *from = rows[ky] + at;
            for (int32_t taps = width; taps > 0; taps--, from += step, w += channels) {
                const int32x4_t v = vldrbq_s32(w);
                a = vaddq_s32(a, vmulq_s32(vldrbq_s32(from), v));
                b = vaddq_s32(b, vmulq_s32(vldrbq_s32(from + next), v));
                c = vaddq_s32(c, vmulq_s32(vldrbq_s32(from + 2 * next), v));
                d = vaddq_s32(d, vmulq_s32(vldrbq_s32(from + 3 * next), v));
            }
        }
        vstrbq_s32(to, clamped(rescaled(a, s), zero_point, low, high));
        vstrbq_s32(to + channels, clamped(rescaled(b, s), zero_point, low, high));
        vstrbq_s32(to + 2 * channels, clamped(rescaled(c, s), zero_point, low, high));
        vstrbq_s32(to + 3 * channels, clamped(rescaled(d, s), zero_point, low, high));
    }
    return column;
}

int lw_mve_depthwise_row(const lw_conv2d_params *p, const int8_t *const *rows, int8_t *y)
{
    const int32_t channels = p->out_channels, all = p->out_width;
    /* The first column whose window begins in the row, and after it the first whose window ends beyond. */
    const int32_t begins = (p->pad_left + p->stride_x - 1) / p->stride_x;
    const int32_t room = p->in_width - (p->kernel_width - 1) * p->dilation_x + p->pad_left + p->stride_x - 1;
    const int32_t inside = begins < all ? begins : all, ends = room > 0 ? room / p->stride_x : 0;
    const int32_t beyond = ends < all ? ends : all;
    if (p->in_channels != channels) {
        return 0;
    }
    for (int32_t channel = 0; channel < channels; channel += 4) {
        const mve_pred16_t used = vctp32q((uint32_t)(channels - channel));
        const lanes l = {channel, used, vldrwq_z_s32(p->bias + channel, used), scaler_at(p, channel, used)};
        if (channel + 4 <= channels) {
            depthwise_edge(p, rows, &l, 1, 0, inside, y);
            depthwise_edge(p, rows, &l, 1, depthwise_inside(p, rows, &l, inside, beyond, y), all, y);
        } else {
            depthwise_edge(p, rows, &l, 0, 0, all, y);
        }
    }
    return 1;
}

/** Four neighbours, or one repeated. step: 1 or 0. */
static inline int32x4_t load4(const int8_t *x, uint32_t step, uint32_t at, mve_pred16_t used)
{
    return step != 0 ? vldrbq_z_s32(x + at, used) : vdupq_n_s32(*x);
}

static int is_simple(const lw_broadcast *shape)
{
    return shape->a_step[2] <= 1 && shape->b_step[2] <= 1;
}

static scaler same(int32_t multiplier, int32_t shift)
{
    return scaler_of(vdupq_n_s32(multiplier), vdupq_n_s32(shift));
}

int lw_mve_add(const lw_add_params *p, const lw_broadcast *shape, int32_t sign, const int8_t *a, const int8_t *b,
               int8_t *y)
{
    const scaler of_a = same(p->a_multiplier, p->a_shift), of_b = same(p->b_multiplier, p->b_shift);
    const scaler out = same(p->out_multiplier, p->out_shift);
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
                const int32x4_t sum = vaddq_s32(rescaled(va, of_a), vmulq_n_s32(rescaled(vb, of_b), sign));
                write4(y + k, rescaled(sum, out), zy, low, high, used);
            }
        }
    }
    return 1;
}

int lw_mve_mul(const lw_mul_params *p, const lw_broadcast *shape, const int8_t *a, const int8_t *b, int8_t *y)
{
    const scaler out = same(p->multiplier, p->shift);
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
                write4(y + k, rescaled(vmulq_s32(va, vb), out), zy, low, high, used);
            }
        }
    }
    return 1;
}

#endif
