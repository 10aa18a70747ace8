/** @file lawder_mve.c Dense convolutions and sums of products with Arm's vector extension MVE; empty on other cores. */
#include "lawder_mve.h"

#if LW_MVE

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

/** The bias of a channel of `count` weights with what the zero point adds to each sum. */
static int32_t folded(const lw_conv2d_params *p, int32_t count, int32_t channel)
{
    const int8_t *weights = p->weights + channel * count;
    int32_t sum = 0;
    __asm__ volatile("dlstp.8 lr, %[count]\n"
                     "1:\n"
                     "vldrb.8 q0, [%[weights]], #16\n"
                     "vaddva.s8 %[sum], q0\n"
                     "letp lr, 1b\n"
                     : [sum] "+Te"(sum), [weights] "+r"(weights)
                     : [count] "r"(count)
                     : "q0", "lr", "memory");
    return p->bias[channel] - p->in_zero_point * sum;
}

/** Four output channels from `channel` on, of so many windows of `count` values that lie one after the other. bias:
    what `folded` gives for each; where fewer than four are left it is that of the last one again, and not written. */
static void windows4(const lw_conv2d_params *p, const int8_t *x, int32_t windows, int32_t count, int32_t channel,
                     const int32_t *bias, int8_t *y)
{
    const int32_t channels = p->out_channels, left = channels - channel;
    const int32_t zero_point = p->out_zero_point, low = p->out_min, high = p->out_max;
    const mve_pred16_t used = vctp32q((uint32_t)left);
    const lw_mve_scaler s = lw_mve_scaler_at(p, channel, used);
    const int8_t *weights = p->weights + channel * count;
    const int32_t second = left > 1 ? count : 0, third = left > 2 ? count : 0, fourth = left > 3 ? count : 0;
    for (; windows > 0; windows--, x += count, y += channels) {
        const int8_t *from = x, *w0 = weights, *w1 = w0 + second, *w2 = w1 + third, *w3 = w2 + fourth;
        int32_t a = bias[0], b = bias[1], c = bias[2], d = bias[3];
        __asm__ volatile("dlstp.8 lr, %[count]\n"
                         "1:\n"
                         "vldrb.8 q0, [%[from]], #16\n"
                         "vldrb.8 q1, [%[w0]], #16\n"
                         "vmladava.s8 %[a], q0, q1\n"
                         "vldrb.8 q2, [%[w1]], #16\n"
                         "vmladava.s8 %[b], q0, q2\n"
                         "vldrb.8 q3, [%[w2]], #16\n"
                         "vmladava.s8 %[c], q0, q3\n"
                         "vldrb.8 q1, [%[w3]], #16\n"
                         "vmladava.s8 %[d], q0, q1\n"
                         "letp lr, 1b\n"
                         : [a] "+Te"(a), [b] "+Te"(b), [c] "+Te"(c), [d] "+Te"(d), [from] "+r"(from), [w0] "+r"(w0),
                           [w1] "+r"(w1), [w2] "+r"(w2), [w3] "+r"(w3)
                         : [count] "r"(count)
                         : "q0", "q1", "q2", "q3", "lr", "memory");
        const int32x4_t sums = {a, b, c, d};
        lw_mve_write4(y, lw_mve_rescaled(sums, s), zero_point, low, high, used);
    }
}

/** As windows4 of at most 16 values, changed by flip: the weights stay in registers. */
static void short_windows4(const lw_conv2d_params *p, const int8_t *x, int8_t flip, int32_t channel,
                           const int32_t *bias, int8_t *y)
{
    const int32_t depth = p->in_channels, step = p->out_channels, left = step - channel, zero_point = p->out_zero_point;
    const int8_t *w = p->weights + channel * depth;
    const mve_pred16_t inside = vctp8q((uint32_t)depth), used = vctp32q((uint32_t)left);
    const int8x16_t w0 = vldrbq_z_s8(w, inside), w1 = vldrbq_z_s8(w + (left > 1 ? depth : 0), inside);
    const int8x16_t w2 = vldrbq_z_s8(w + (left > 2 ? 2 * depth : 0), inside);
    const int8x16_t w3 = vldrbq_z_s8(w + (left > 3 ? 3 * depth : 0), inside);
    const int8x16_t flips = vdupq_n_s8(flip);
    const int32_t a = bias[0], b = bias[1], c = bias[2], d = bias[3];
    const lw_mve_scaler s = lw_mve_scaler_at(p, channel, used);
    const int32_t low = p->out_min, high = p->out_max;
    for (int32_t column = p->out_width; column > 0; column--, x += depth, y += step) {
        const int8x16_t from = veorq_s8(vldrbq_z_s8(x, inside), flips);
        const int32x4_t sums = {vmladavaq_s8(a, from, w0), vmladavaq_s8(b, from, w1), vmladavaq_s8(c, from, w2),
                                vmladavaq_s8(d, from, w3)};
        lw_mve_write4(y, lw_mve_rescaled(sums, s), zero_point, low, high, used);
    }
}

int lw_mve_pointwise_row(const lw_conv2d_params *p, const int8_t *x, int8_t flip, int8_t *y)
{
    const int32_t depth = p->in_channels, last = p->out_channels - 1;
    if (flip != 0 && depth > 16) {
        return 0;
    }
    for (int32_t channel = 0; channel <= last; channel += 4) {
        int32_t bias[4];
        for (int32_t i = 0; i < 4; i++) {
            bias[i] = folded(p, depth, channel + i < last ? channel + i : last);
        }
        if (depth <= 16) {
            short_windows4(p, x, flip, channel, bias, y + channel);
        } else {
            windows4(p, x, p->out_width, depth, channel, bias, y + channel);
        }
    }
    return 1;
}

/** The most values of windows that are gathered at a time, and output channels, for which there is room on the stack. */
#define MAX_VALUES 432
#define MAX_CHANNELS 96

/** count bytes, at least one, of the same value. Returns: behind the last one. */
static inline int8_t *repeat(int8_t *to, int32_t count, int8_t value)
{
    int8_t *const end = to + count;
    __asm__ volatile("dlstp.8 lr, %[count]\n"
                     "1:\n"
                     "vstrb.8 %q[x], [%[to]], #16\n"
                     "letp lr, 1b\n"
                     : [to] "+r"(to)
                     : [count] "r"(count), [x] "w"(vdupq_n_s8(value))
                     : "lr", "memory");
    return end;
}

/** A row of a window that reaches beyond its row, or whose taps are apart. row: null beyond the border. */
static int8_t *gather_edge(const lw_conv2d_params *p, const int8_t *row, int32_t channels, int32_t start,
                           int8x16_t flips, int8_t *to)
{
    const int32_t taps = p->kernel_width, dilation = p->dilation_x, width = p->in_width;
    const int8_t zero_point = p->in_zero_point;
    if (row == NULL) {
        return repeat(to, taps * channels, zero_point);
    }
    for (int32_t at = start; at < start + taps * dilation; at += dilation) {
        to = at >= 0 && at < width ? lw_mve_copy(to, row + at * channels, channels, flips)
                                   : repeat(to, channels, zero_point);
    }
    return to;
}

/** The bytes of a column's window in the order of the weights. */
static void gather(const lw_conv2d_params *p, const int8_t *const *rows, int32_t column, int8x16_t flips, int8_t *to)
{
    /* In registers: for all that a compiler knows, a copied byte may be one of the parameters. */
    const int32_t start = column * p->stride_x - p->pad_left, height = p->kernel_height, taps = p->kernel_width;
    const int32_t first = p->first_channels, second = p->in_channels - first;
    const int is_inside = p->dilation_x == 1 && start >= 0 && start + taps <= p->in_width;
    for (int32_t ky = 0; ky < height; ky++) {
        to = is_inside && rows[ky] != NULL ? lw_mve_copy(to, rows[ky] + start * first, taps * first, flips)
                                           : gather_edge(p, rows[ky], first, start, flips, to);
        if (second > 0) {
            const int8_t *row = rows[height + ky];
            to = is_inside && row != NULL ? lw_mve_copy(to, row + start * second, taps * second, flips)
                                          : gather_edge(p, row, second, start, flips, to);
        }
    }
}

int lw_mve_dense_row(const lw_conv2d_params *p, const int8_t *const *rows, int8_t flip, int8_t *y)
{
    const int32_t count = p->kernel_height * p->kernel_width * p->in_channels, channels = p->out_channels;
    int8_t window[MAX_VALUES];
    int32_t bias[MAX_CHANNELS + 3];
    if (count > MAX_VALUES || channels > MAX_CHANNELS) {
        return 0;
    }
    const int32_t most = MAX_VALUES / count;
    for (int32_t channel = 0; channel < channels + 3; channel++) {
        /* Where there are fewer than four left the last one is computed again, and not written. */
        bias[channel] = folded(p, count, channel < channels ? channel : channels - 1);
    }
    for (int32_t column = 0; column < p->out_width; column += most, y += most * channels) {
        const int32_t windows = p->out_width - column < most ? p->out_width - column : most;
        for (int32_t i = 0; i < windows; i++) {
            gather(p, rows, column + i, vdupq_n_s8(flip), window + i * count);
        }
        for (int32_t channel = 0; channel < channels; channel += 4) {
            windows4(p, window, windows, count, channel, bias + channel, y + channel);
        }
    }
    return 1;
}

#endif
