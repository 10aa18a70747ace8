/** @file lawder_convolution.c Dense and depthwise convolutions, a row at a time. */
#include "lawder_dsp.h"
#include "lawder_mve.h"

/** The taps of a window that lie inside an axis: first <= tap < end. */
typedef struct {
    int32_t first, end;
} tap_range;

/** start: position of the first tap, negative before the border. */
static tap_range taps_inside(int32_t start, int32_t taps, int32_t dilation, int32_t length)
{
    tap_range range;
    range.first = start < 0 ? (-start + dilation - 1) / dilation : 0;
    range.end = start + (taps - 1) * dilation < length ? taps : (length - start + dilation - 1) / dilation;
    return range;
}

/** The rows of an output row's window, of an input of so many channels. */
static void find_rows(const lw_conv2d_params *p, const int8_t *x, int32_t channels, int32_t out_row,
                      const int8_t **rows)
{
    for (int32_t tap = 0; tap < p->kernel_height; tap++) {
        const int32_t row = out_row * p->stride_y - p->pad_top + tap * p->dilation_y;
        rows[tap] = row >= 0 && row < p->in_height ? x + row * p->in_width * channels : NULL;
    }
}

/** Sum of (x - zero point) * weight. */
static inline int32_t dot(const int8_t *x, int32_t zero_point, const int8_t *weights, int32_t count)
{
#if LW_MVE
    return lw_mve_dot(x, zero_point, weights, count);
#elif LW_DSP
    return lw_dsp_dot(x, lw_twice(zero_point), weights, count);
#else
    int32_t sum = 0;
    for (int32_t i = 0; i < count; i++) {
        sum += (x[i] - zero_point) * weights[i];
    }
    return sum;
#endif
}

/** As `dot` of a picture's bytes, whose value is byte - 128. */
static inline int32_t dot_image(const uint8_t *x, int32_t zero_point, const int8_t *weights, int32_t count)
{
    int32_t sum = 0;
    for (int32_t i = 0; i < count; i++) {
        sum += (x[i] - 128 - zero_point) * weights[i];
    }
    return sum;
}

static inline int8_t requantised(const lw_conv2d_params *p, int32_t sum, int32_t channel, lw_limits out)
{
    return lw_limited(lw_rescale(sum, p->multiplier[channel], p->shift[channel]), out);
}

/** Sum over the taps of a window that are there, of an input of so many channels. weights: of its first tap. */
static inline int32_t window_sum(const lw_conv2d_params *p, const int8_t *const *rows, int32_t channels, int32_t start,
                                 tap_range inside, int is_image, const int8_t *weights)
{
    /* Neighbouring taps are one piece of memory, in the input as in the weights. */
    const int32_t run = p->dilation_x == 1 ? inside.end - inside.first : 1;
    int32_t sum = 0;
    for (int32_t ky = 0; ky < p->kernel_height; ky++) {
        if (rows[ky] == NULL) {
            continue;
        }
        for (int32_t kx = inside.first; kx < inside.end; kx += run) {
            const int8_t *from = rows[ky] + (start + kx * p->dilation_x) * channels;
            const int8_t *w = weights + ky * p->kernel_width * p->in_channels + kx * channels;
            sum += is_image ? dot_image((const uint8_t *)from, p->in_zero_point, w, run * channels)
                            : dot(from, p->in_zero_point, w, run * channels);
        }
    }
    return sum;
}

/** One row of a dense convolution. is_image: the rows are bytes of a picture. */
static inline void convolve_row(const lw_conv2d_params *p, const int8_t *const *rows, int is_image, int8_t *y)
{
    const int32_t filter = p->kernel_height * p->kernel_width * p->in_channels, first = p->first_channels;
    const lw_limits out = lw_limits_of(p->out_zero_point, p->out_min, p->out_max);
    for (int32_t column = 0; column < p->out_width; column++) {
        const int32_t start = column * p->stride_x - p->pad_left;
        const tap_range inside = taps_inside(start, p->kernel_width, p->dilation_x, p->in_width);
        for (int32_t channel = 0; channel < p->out_channels; channel++) {
            const int8_t *weights = p->weights + channel * filter;
            int32_t sum = p->bias[channel] + window_sum(p, rows, first, start, inside, is_image, weights);
            if (first < p->in_channels) {
                sum += window_sum(p, rows + p->kernel_height, p->in_channels - first, start, inside, 0,
                                  weights + p->kernel_width * first);
            }
            *y++ = requantised(p, sum, channel, out);
        }
    }
}

void lw_own_depthwise_conv2d_row(const lw_conv2d_params *p, const int8_t *const *rows, int8_t *y)
{
#if LW_MVE
    if (lw_mve_depthwise_row(p, rows, y)) {
        return;
    }
#elif LW_DSP
    if (lw_dsp_depthwise_row(p, rows, y)) {
        return;
    }
#endif
    const int32_t in_channels = p->in_channels, out_channels = p->out_channels;
    const int32_t multiplier = out_channels / in_channels;
    const lw_limits out = lw_limits_of(p->out_zero_point, p->out_min, p->out_max);
    for (int32_t column = 0; column < p->out_width; column++) {
        const int32_t start = column * p->stride_x - p->pad_left;
        const tap_range inside = taps_inside(start, p->kernel_width, p->dilation_x, p->in_width);
        for (int32_t channel = 0; channel < out_channels; channel++) {
            int32_t sum = p->bias[channel];
            for (int32_t ky = 0; ky < p->kernel_height; ky++) {
                if (rows[ky] == NULL) {
                    continue;
                }
                const int8_t *from = rows[ky] + channel / multiplier;
                const int8_t *weights = p->weights + ky * p->kernel_width * out_channels + channel;
                for (int32_t kx = inside.first; kx < inside.end; kx++) {
                    const int32_t value = from[(start + kx * p->dilation_x) * in_channels];
                    sum += (value - p->in_zero_point) * weights[kx * out_channels];
                }
            }
            *y++ = requantised(p, sum, channel, out);
        }
    }
}

#if LW_DSP || LW_MVE
/** Whether each output pixel is made of one input pixel, that of its own column. */
static int is_pointwise(const lw_conv2d_params *p, const int8_t *const *rows)
{
    return p->kernel_height == 1 && p->kernel_width == 1 && p->stride_x == 1 && p->pad_left == 0 && rows[0] != NULL &&
           p->first_channels == p->in_channels && p->out_width <= p->in_width;
}
#endif

void lw_own_conv2d_row(const lw_conv2d_params *p, const int8_t *const *rows, int8_t *y)
{
#if LW_MVE
    if (is_pointwise(p, rows) && lw_mve_pointwise_row(p, rows[0], 0, y)) {
        return;
    }
    if (lw_mve_dense_row(p, rows, 0, y)) {
        return;
    }
#elif LW_DSP
    /* Of a depth that is no multiple of four, gathered pixels are faster from four on. */
    const int is_even = p->in_channels % 4 == 0 || p->in_channels < 4;
    if (is_even && is_pointwise(p, rows) && lw_dsp_pointwise_row(p, rows[0], y)) {
        return;
    }
    if (lw_dsp_dense_row(p, rows, 0, y)) {
        return;
    }
#endif
    convolve_row(p, rows, 0, y);
}

LW_KERNEL void lw_conv2d_row(const lw_conv2d_params *p, const int8_t *const *rows, int8_t *y)
{
    lw_own_conv2d_row(p, rows, y);
}

LW_KERNEL void lw_depthwise_conv2d_row(const lw_conv2d_params *p, const int8_t *const *rows, int8_t *y)
{
    lw_own_depthwise_conv2d_row(p, rows, y);
}

LW_KERNEL void lw_conv2d_image_row(const lw_conv2d_params *p, const int8_t *const *rows, int8_t *y)
{
#if LW_MVE
    if (is_pointwise(p, rows) && lw_mve_pointwise_row(p, rows[0], INT8_MIN, y)) {
        return;
    }
    if (lw_mve_dense_row(p, rows, INT8_MIN, y)) {
        return;
    }
#elif LW_DSP
    if (is_pointwise(p, rows) && lw_dsp_pointwise_image_row(p, (const uint8_t *)rows[0], y)) {
        return;
    }
    if (lw_dsp_dense_row(p, rows, 1, y)) {
        return;
    }
#endif
    convolve_row(p, rows, 1, y);
}

LW_KERNEL void lw_conv2d(const lw_conv2d_params *p, const int8_t *x, int8_t *y)
{
    const int8_t *rows[LW_MAX_WINDOW_ROWS];
    for (int32_t row = 0; row < p->out_height; row++) {
        find_rows(p, x, p->in_channels, row, rows);
        lw_conv2d_row(p, rows, y + row * p->out_width * p->out_channels);
    }
}

LW_KERNEL void lw_conv2d_two(const lw_conv2d_params *p, const int8_t *a, const int8_t *b, int8_t *y)
{
    const int8_t *rows[LW_MAX_WINDOW_ROWS];
    for (int32_t row = 0; row < p->out_height; row++) {
        find_rows(p, a, p->first_channels, row, rows);
        find_rows(p, b, p->in_channels - p->first_channels, row, rows + p->kernel_height);
        lw_conv2d_row(p, rows, y + row * p->out_width * p->out_channels);
    }
}

LW_KERNEL void lw_conv2d_image(const lw_conv2d_params *p, const uint8_t *x, int8_t *y)
{
    const int8_t *rows[LW_MAX_WINDOW_ROWS];
    for (int32_t row = 0; row < p->out_height; row++) {
        find_rows(p, (const int8_t *)x, p->in_channels, row, rows);
        lw_conv2d_image_row(p, rows, y + row * p->out_width * p->out_channels);
    }
}

LW_KERNEL void lw_depthwise_conv2d(const lw_conv2d_params *p, const int8_t *x, int8_t *y)
{
    const int8_t *rows[LW_MAX_WINDOW_ROWS];
    for (int32_t row = 0; row < p->out_height; row++) {
        find_rows(p, x, p->in_channels, row, rows);
        lw_depthwise_conv2d_row(p, rows, y + row * p->out_width * p->out_channels);
    }
}
