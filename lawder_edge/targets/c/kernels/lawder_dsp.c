/** @file lawder_dsp.c Convolutions with Arm's DSP extension; empty on other cores. */
#include "lawder_dsp.h"

#if LW_DSP

/** The most taps of a depthwise window, whose weights are on the stack. */
#define MAX_TAPS 49

/** The bias with what the zero point adds to every window that is full: `offset` times the sum of its weights. */
static int32_t folded(int32_t bias, int32_t offset, const int8_t *weights, int32_t count)
{
    int32_t sum = 0;
    for (int32_t i = 0; i < count; i++) {
        sum += weights[i];
    }
    return bias + offset * sum;
}

/** Two output channels of a row, from channel on: tiles of two pixels, whose weights are read once. */
static void pointwise_pair(const lw_conv2d_params *p, const int8_t *x, int32_t channel, int8_t *y)
{
    const int32_t depth = p->in_channels, step = p->out_channels;
    const int8_t *w0 = p->weights + channel * depth, *w1 = w0 + depth;
    const int32_t bias0 = folded(p->bias[channel], -p->in_zero_point, w0, depth);
    const int32_t bias1 = folded(p->bias[channel + 1], -p->in_zero_point, w1, depth);
    const lw_scaler s0 = lw_scaler_of(p, channel), s1 = lw_scaler_of(p, channel + 1);
    const lw_range out = lw_range_of(p);
    int32_t left = p->out_width;
    for (y += channel; left >= 2; left -= 2, x += 2 * depth, y += 2 * step) {
        int32_t a0 = bias0, a1 = bias1, b0 = bias0, b1 = bias1;
        for (int32_t i = 0; i < depth; i += 4) {
            const uint32_t u = lw_load4(w0 + i), v = lw_load4(w1 + i);
            const uint32_t a = lw_load4(x + i), b = lw_load4(x + depth + i);
            a0 = __smlad(lw_even(u), lw_even(a), a0);
            a1 = __smlad(lw_even(v), lw_even(a), a1);
            b0 = __smlad(lw_even(u), lw_even(b), b0);
            b1 = __smlad(lw_even(v), lw_even(b), b1);
            a0 = __smlad(lw_odd(u), lw_odd(a), a0);
            a1 = __smlad(lw_odd(v), lw_odd(a), a1);
            b0 = __smlad(lw_odd(u), lw_odd(b), b0);
            b1 = __smlad(lw_odd(v), lw_odd(b), b1);
        }
        y[0] = lw_scaled(a0, &s0, out);
        y[1] = lw_scaled(a1, &s1, out);
        y[step] = lw_scaled(b0, &s0, out);
        y[step + 1] = lw_scaled(b1, &s1, out);
    }
    if (left != 0) {
        y[0] = lw_scaled(bias0 + lw_dsp_dot(x, lw_twice(0), w0, depth), &s0, out);
        y[1] = lw_scaled(bias1 + lw_dsp_dot(x, lw_twice(0), w1, depth), &s1, out);
    }
}

int lw_dsp_pointwise_row(const lw_conv2d_params *p, const int8_t *x, int8_t *y)
{
    const int32_t depth = p->in_channels, channels = p->out_channels;
    if (!lw_can_scale(p, depth)) {
        return 0;
    }
    int32_t channel = 0;
    for (; depth % 4 == 0 && channel + 2 <= channels; channel += 2) {
        pointwise_pair(p, x, channel, y);
    }
    for (; channel < channels; channel++) {
        const int8_t *weights = p->weights + channel * depth;
        const int32_t bias = folded(p->bias[channel], -p->in_zero_point, weights, depth);
        const lw_scaler s = lw_scaler_of(p, channel);
        const lw_range out = lw_range_of(p);
        for (int32_t column = 0; column < p->out_width; column++) {
            y[column * channels + channel] =
                lw_scaled(bias + lw_dsp_dot(x + column * depth, lw_twice(0), weights, depth), &s, out);
        }
    }
    return 1;
}

int lw_dsp_pointwise_image_row(const lw_conv2d_params *p, const uint8_t *x, int8_t *y)
{
    const int32_t depth = p->in_channels, channels = p->out_channels, width = p->out_width;
    if (!lw_can_scale(p, 2 * depth)) {
        return 0;
    }
    for (int32_t channel = 0; channel < channels; channel++) {
        const int8_t *weights = p->weights + channel * depth;
        const int32_t bias = folded(p->bias[channel], -p->in_zero_point - 128, weights, depth);
        const lw_scaler s = lw_scaler_of(p, channel);
        const lw_range out = lw_range_of(p);
        const uint8_t *from = x;
        for (int32_t column = 0; column < width; column++) {
            int32_t sum = bias;
            for (int32_t i = 0; i < depth; i++) {
                sum += *from++ * weights[i];
            }
            y[column * channels + channel] = lw_scaled(sum, &s, out);
        }
    }
    return 1;
}

/** Four channels' weights of one tap as int16, as lw_even and lw_odd order them. */
typedef struct {
    int16x2_t even, odd;
} tap4;

/** Four channels' sums, by name: what is indexed does not stay in registers. */
typedef struct {
    int32_t a, b, c, d;
} sums4;

/** Adds products of a row of taps. from: four channels of the first pixel. step: channels of a pixel. */
static inline __attribute__((always_inline)) sums4 add_taps(sums4 sums, const int8_t *from, const tap4 *weights,
                                                            int32_t taps, int32_t step, int16x2_t zero_points)
{
#pragma GCC unroll 5
    for (int32_t tap = 0; tap < taps; tap++, from += step, weights++) {
        const uint32_t four = lw_load4(from);
        int16x2_t even = lw_even(four), odd = lw_odd(four);
        if (zero_points != 0) {
            even = __ssub16(even, zero_points);
            odd = __ssub16(odd, zero_points);
        }
        sums.a = __smlabb(even, weights->even, sums.a);
        sums.b = __smlabb(odd, weights->odd, sums.b);
        sums.c = __smlatt(even, weights->even, sums.c);
        sums.d = __smlatt(odd, weights->odd, sums.d);
    }
    return sums;
}

static inline __attribute__((always_inline)) void write4(sums4 sums, const lw_scaler *s, lw_range out, int8_t *y)
{
    y[0] = lw_scaled(sums.a, s, out);
    y[1] = lw_scaled(sums.b, s + 1, out);
    y[2] = lw_scaled(sums.c, s + 2, out);
    y[3] = lw_scaled(sums.d, s + 3, out);
}

/** Columns first..last - 1 of four channels, whose windows lie inside the row. taps: their width. full: with zero point. */
static inline __attribute__((always_inline)) void full_windows(const lw_conv2d_params *p, const int8_t *const *rows,
                                                               const tap4 *weights, int32_t taps, const sums4 *full,
                                                               const lw_scaler *s, int32_t first, int32_t last, int8_t *y)
{
    const int32_t step = p->out_channels, height = p->kernel_height, advance = p->stride_x * step;
    const lw_range out = lw_range_of(p);
    int32_t at = (first * p->stride_x - p->pad_left) * step;
    for (int32_t column = first; column < last; column++, at += advance) {
        sums4 sums = *full;
        for (int32_t ky = 0; ky < height; ky++) {
            if (rows[ky] != NULL) {
                sums = add_taps(sums, rows[ky] + at, weights + ky * taps, taps, step, 0);
            }
        }
        write4(sums, s, out, y + column * step);
    }
}

/* The usual widths, whose loop over the taps is none. */

static __attribute__((noinline)) void full_windows_3(const lw_conv2d_params *p, const int8_t *const *rows,
                                                     const tap4 *weights, const sums4 *full, const lw_scaler *s,
                                                     int32_t first, int32_t last, int8_t *y)
{
    full_windows(p, rows, weights, 3, full, s, first, last, y);
}

static __attribute__((noinline)) void full_windows_5(const lw_conv2d_params *p, const int8_t *const *rows,
                                                     const tap4 *weights, const sums4 *full, const lw_scaler *s,
                                                     int32_t first, int32_t last, int8_t *y)
{
    full_windows(p, rows, weights, 5, full, s, first, last, y);
}

/** As full_windows, where windows reach over the row's ends. */
static __attribute__((noinline)) void cut_windows(const lw_conv2d_params *p, const int8_t *const *rows, const tap4 *weights, const sums4 *bias,
                        const lw_scaler *s, int32_t first, int32_t last, int8_t *y)
{
    const int32_t step = p->out_channels, width = p->kernel_width;
    const lw_range out = lw_range_of(p);
    for (int32_t column = first; column < last; column++) {
        const int32_t start = column * p->stride_x - p->pad_left;
        const int32_t from = start < 0 ? -start : 0, to = start + width < p->in_width ? width : p->in_width - start;
        sums4 sums = *bias;
        for (int32_t ky = 0; ky < p->kernel_height; ky++) {
            if (rows[ky] != NULL && to > from) {
                sums = add_taps(sums, rows[ky] + (start + from) * step, weights + ky * width + from, to - from, step,
                                lw_twice(p->in_zero_point));
            }
        }
        write4(sums, s, out, y + column * step);
    }
}

/** Four channels of a row. rows, y: at the first of them. */
static __attribute__((noinline)) void depthwise4(const lw_conv2d_params *p, const int8_t *const *rows, int32_t channel, int8_t *y)
{
    const int32_t width = p->kernel_width, stride = p->stride_x, channels = p->out_channels;
    tap4 weights[MAX_TAPS];
    const int32_t *biases = p->bias + channel;
    const sums4 bias = {biases[0], biases[1], biases[2], biases[3]};
    sums4 full = bias;
    lw_scaler s[4];
    for (int32_t i = 0; i < 4; i++) {
        s[i] = lw_scaler_of(p, channel + i);
    }
    for (int32_t ky = 0; ky < p->kernel_height; ky++) {
        for (int32_t kx = 0; kx < width; kx++) {
            const int8_t *from = p->weights + (ky * width + kx) * channels + channel;
            const uint32_t four = lw_load4(from);
            weights[ky * width + kx].even = lw_even(four);
            weights[ky * width + kx].odd = lw_odd(four);
            if (rows[ky] != NULL) {
                full.a -= p->in_zero_point * from[0];
                full.b -= p->in_zero_point * from[1];
                full.c -= p->in_zero_point * from[2];
                full.d -= p->in_zero_point * from[3];
            }
        }
    }
    /* Windows that start before the row, those inside, and those that end after it. */
    const int32_t before = (p->pad_left + stride - 1) / stride, room = p->in_width - width + p->pad_left;
    const int32_t inside = room < 0 ? 0 : room / stride + 1;
    const int32_t first = before < p->out_width ? before : p->out_width;
    const int32_t last = inside < first ? first : inside < p->out_width ? inside : p->out_width;
    cut_windows(p, rows, weights, &bias, s, 0, first, y);
    if (width == 3) {
        full_windows_3(p, rows, weights, &full, s, first, last, y);
    } else if (width == 5) {
        full_windows_5(p, rows, weights, &full, s, first, last, y);
    } else {
        full_windows(p, rows, weights, width, &full, s, first, last, y);
    }
    cut_windows(p, rows, weights, &bias, s, last, p->out_width, y);
}

int lw_dsp_depthwise_row(const lw_conv2d_params *p, const int8_t *const *rows, int8_t *y)
{
    const int32_t channels = p->out_channels, taps = p->kernel_height * p->kernel_width;
    const int8_t *from[LW_MAX_WINDOW_ROWS];
    if (channels % 4 != 0 || p->in_channels != channels || p->dilation_x != 1 || taps > MAX_TAPS ||
        !lw_can_scale(p, taps)) {
        return 0;
    }
    for (int32_t channel = 0; channel < channels; channel += 4) {
        for (int32_t ky = 0; ky < p->kernel_height; ky++) {
            from[ky] = rows[ky] == NULL ? NULL : rows[ky] + channel;
        }
        depthwise4(p, from, channel, y + channel);
    }
    return 1;
}

#endif
